"""Small functasets of random modulations, written in milliseconds."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.domains.cells import CellGrid
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.format.side_arrays import base_shapes
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import Objects
from functa_store.store.writing.writer import StoreWriter

NETWORK = NetworkConfig(width=8, depth=3, w0=5.0, modulation_dim=4)
IMAGES = CellGrid(axes=("y", "x"), resolution=(8, 6))


def write_store(
    place: Path | Objects,
    *,
    count: int = 12,
    domain: CellGrid = IMAGES,
    channels: tuple[str, ...] = ("red", "green", "blue"),
    labels: Mapping[str, Label] | None = None,
    seed: int = 0,
    mse: float = 0.01,
    num_shards: int | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """A functaset in shards of 4 examples, of which only the first `num_shards` are written if that is given."""
    rng = np.random.default_rng(seed)
    shapes = base_shapes(NETWORK, domain.num_axes, len(channels)) | {"inner_loop/learning_rate": (3, 4)}
    contents = Contents(
        domain=domain,
        features=FeatureSpec(channels=channels, units=("K",) * len(channels)),
        config=ConvertConfig(network=NETWORK, rows_per_shard=4),
        base={name: rng.normal(scale=0.3, size=shape).astype(np.float32) for name, shape in shapes.items()},
        ids=[f"{i}.png" for i in range(count)],
        split=np.array(["train", "test"])[np.arange(count) % 2],
        labels=labels or {},
        provenance={"archive": "random.zip", **(provenance or {})},
    )
    with contextlib.suppress(KeyboardInterrupt), StoreWriter.resume_or_create(place, contents) as writer:
        for shard in writer.missing_shards():
            if shard.index == num_shards:
                raise KeyboardInterrupt
            rows = rng.normal(scale=0.3, size=(len(shard), 4)).astype(np.float32)
            writer.write(shard, rows, np.full(len(shard), mse, np.float32))
