"""Small conversions to write, and a small store to read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.domains.cells import CellGrid
from functa_store.sources.augmentation import Augmentations
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label, Reject
from functa_store.store.format.quantization import choose_rounding
from functa_store.store.format.side_arrays import MOMENTA, RATES, base_shapes
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter

NETWORK = NetworkConfig(width=8, depth=3, w0=20.0, modulation_dim=4)
NUM_EXAMPLES = 21


def make_contents(**changes: Any) -> Contents:
    """Contents of 21 examples in three shards of 8, one of them cut short."""
    rng = np.random.default_rng(0)
    config = changes.get("config", ConvertConfig(network=NETWORK, rows_per_shard=8))
    shapes = base_shapes(config.network, 2, 3) | {RATES: (3, config.network.cell_size)}
    split = np.array(["train", "validation", "test"])[np.arange(NUM_EXAMPLES) % 3]
    classes = Label(values=np.arange(NUM_EXAMPLES) % 2, names=("cat", "dog"))
    known = {
        "domain": CellGrid(axes=("y", "x"), resolution=(8, 8)),
        "features": FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255),
        "config": config,
        "base": {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
        "ids": [f"bild_{i}_ä.png" for i in range(NUM_EXAMPLES)],
        "split": split,
        "labels": {"animal": classes, "age": Label(values=np.linspace(0, 1, NUM_EXAMPLES))},
        "rejects": [Reject(member="broken.png", reason="truncated")],
        "provenance": {"archive": "pets.zip", "sha256": "00"},
        "reference": {"pca": {"components": 4, "psnr_mean": 20.5}},
    }
    return Contents(**known | changes)


def make_augmented(**changes: Any) -> Contents:
    """The same: the last six are augmentations of examples 0, 3 and 12, two of each."""
    of = np.concatenate([np.arange(15), [0, 0, 3, 3, 12, 12]])
    rows = np.arange(21) >= 15
    return make_contents(
        **{
            "split": np.array(["train", "validation", "test"])[of % 3],
            "labels": {"animal": Label(values=of % 2, names=("cat", "dog")), "age": Label(values=of / 20)},
            "augmentations": Augmentations(
                of=of,
                flip=rows & (np.arange(21) % 2 == 0),
                top=np.where(rows, 0.125, 0).astype(np.float32),
                left=np.where(rows, 0.25, 0).astype(np.float32),
                side=np.where(rows, 0.75, 1).astype(np.float32),
            ),
        }
        | changes
    )


def make_cells(grid: tuple[int, ...] = (2, 3), dtype: Any = "float32", **changes: Any) -> Contents:
    """The same with modulations that are grids of cells of 2 numbers; `changes` are those of the network."""
    network = NetworkConfig(width=8, depth=3, modulation="spatial", modulation_grid=grid, modulation_dim=2, **changes)
    shapes = base_shapes(network, len(grid), 3) | dict.fromkeys((RATES, MOMENTA), (3, 2))
    rng, columns = np.random.default_rng(0), make_values(network)[0].reshape(-1, 2)
    return make_contents(
        domain=CellGrid(axes=tuple("uvwtzyx"[-len(grid) :]), resolution=(4,) * len(grid)),
        config=ConvertConfig(network=network, rows_per_shard=8, modulation_dtype=dtype),
        base={name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
        rounding=choose_rounding(dtype, columns.min(axis=0), columns.max(axis=0)),
    )


def make_values(network: NetworkConfig = NETWORK) -> tuple[np.ndarray, np.ndarray]:
    """Modulations and errors of the 21 examples."""
    rng, shape = np.random.default_rng(1), (NUM_EXAMPLES, *network.modulation_shape)
    return rng.normal(size=shape).astype(np.float32), rng.random(NUM_EXAMPLES).astype(np.float32)


def make_metrics(contents: Contents) -> np.ndarray:
    """Metrics of the 21 examples; every fifth has no last one."""
    metrics = np.random.default_rng(2).random((NUM_EXAMPLES, len(contents.features.columns)), np.float32)
    metrics[::5, -1] = np.nan
    return metrics


def write_shards(path: Any, contents: Contents, stop_before: int | None = None) -> Any:
    """Write the missing shards up to `stop_before`, all of them if None."""
    values = make_values(contents.config.network) + (() if not contents.features.columns else (make_metrics(contents),))
    with sole_writer(open_objects(path)) as (store, _), StoreWriter.resume_or_create(store, contents) as writer:
        for shard in writer.missing_shards():
            if stop_before is not None and shard.index >= stop_before:
                raise KeyboardInterrupt
            writer.write(shard, *(table[shard.start : shard.stop] for table in values))
    return path


def read_all(path: Path) -> dict[str, bytes]:
    """Every file below a path."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture
def contents() -> Contents:
    return make_contents()


@pytest.fixture(name="make_contents")
def make_contents_fixture() -> Callable[..., Contents]:
    return make_contents


@pytest.fixture(name="write_shards")
def write_shards_fixture() -> Callable[..., Path]:
    return write_shards


@pytest.fixture(name="read_all")
def read_all_fixture() -> Callable[[Path], dict[str, bytes]]:
    return read_all


@pytest.fixture(scope="session")
def values() -> tuple[np.ndarray, np.ndarray]:
    return make_values()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete store; tests that change one copy it first."""
    return write_shards(tmp_path_factory.mktemp("complete") / "pets.functa", make_contents())
