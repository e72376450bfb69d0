"""Functasets of all kinds beside what `Functaset.decode` makes of them: `python -m tests.page.decodings FOLDER`.

The folder then holds stores, arrays of values, and `cases.json`, which says what each array is.
"""

import dataclasses
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import CellGrid
from functa_store.domains.domain import Domain, network_inputs
from functa_store.domains.scene import SceneVolume
from functa_store.domains.sphere import SphereGrid
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.quantization import choose_rounding
from functa_store.store.format.side_arrays import RATES, base_shapes
from functa_store.store.format.spec import Contents, RoundingLoss
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter

COUNT = 3
INDEX = 1
"""The example that is decoded."""

COLOURS = FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255)
LEVEL = FeatureSpec(channels=("value",))
WINDS = FeatureSpec(
    channels=("t2m", "u"),
    units=("K", "m s-1"),
    value_scale=(80.0, 40.0),
    value_offset=(230.0, -20.0),
    value_ranges=((230.0, 310.0), (-20.0, 20.0)),
)
LIGHT = FeatureSpec(
    channels=("red", "green", "blue", "density"),
    value_ranges=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 10.0)),
)
GLOBE = SphereGrid(latitudes=tuple(np.arange(82.5, -90, -15.0)), longitudes=tuple(np.arange(0.0, 360, 15)))
LAND = SphereGrid(
    latitudes=tuple(np.arange(30.0, 60, 3)),
    longitudes=tuple(np.arange(-20.0, 40, 5)),
    centre=(0.6, 0.1, 0.7),
    radius=0.5,
    mask="20 7 70 3 20",
)
SCENES = SceneVolume(
    resolution=(6, 5, 7), bound=0.6, views=2, held_out_views=0, image_size=(8, 8), near=0.8, far=1.8, num_samples=16
)
KINDS: dict[str, tuple[Domain, FeatureSpec, tuple[int, ...]]] = {
    "image": (CellGrid(axes=("y", "x"), resolution=(30, 18)), COLOURS, (20, 4)),
    "volume": (CellGrid(axes=("z", "y", "x"), resolution=(6, 10, 7)), LEVEL, (2, 4, 3)),
    "clip": (CellGrid(axes=("t", "y", "x"), resolution=(5, 8, 9)), COLOURS, (2, 3, 3)),
    "sound": (CellGrid(axes=("t",), resolution=(600,)), LEVEL, (40,)),
    "globe": (GLOBE, WINDS, (4, 8)),
    "land": (LAND, dataclasses.replace(WINDS, missing=True), (3, 4)),
    "scene": (SCENES, LIGHT, (2, 3, 2)),
}
"""Domain, values and cells of a modulation grid; points of some lie on the seams between cells."""

MODULATIONS: dict[str, dict[str, Any]] = {
    "latent": {"modulation_dim": 32},
    "shift": {"modulation": "shift", "modulation_dim": None},
    "nearest": {"modulation": "spatial", "modulation_dim": 6},
    "linear": {"modulation": "spatial", "modulation_dim": 6, "lookup": "linear"},
    "wide": {"modulation": "spatial", "modulation_dim": 6, "lookup": "linear", "map_kernel": 3, "map_bias": "per_cell"},
}
DTYPES = ("float32", "float16", "int8")
SIZES = ((16, 3), (192, 6), (192, 3), (16, 6))
"""Widths and depths."""

PARTS = {"region": ((0.2, 0.7), (0.1, 0.9), 11, 14), "zoom": ((0.37, 0.385), (0.61, 0.625), 9, 8)}
"""Parts of the last two axes, as fractions of them from their low ends, and points in them."""


def cases() -> Iterator[tuple[str, str, str, str, int, int]]:
    """Name, kind, modulation, type, width and depth; each two of these come together at least once."""
    for number, (kind, modulation) in enumerate(itertools.product(KINDS, MODULATIONS)):
        dtype, (width, depth) = DTYPES[number % 3], SIZES[(number + number // 12) % 4]
        yield f"{kind}_{modulation}_{dtype}_{width}x{depth}", kind, modulation, dtype, width, depth


def base_of(network: NetworkConfig, domain: Domain, channels: int) -> dict[str, np.ndarray]:
    """Weights of the sizes that learned ones have; those of the first layer by the frequencies of pictures."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in base_shapes(network, network_inputs(domain, network), channels).items():
        size = {"sine_0/kernel": 1.0, "map/kernel": 0.1, "linear/kernel": 1.5 / shape[0] ** 0.5}
        wide = size.get(name, (6 / shape[0]) ** 0.5 / network.w0 if name.endswith("kernel") else 0.05)
        found[name] = rng.uniform(-wide, wide, shape).astype(np.float32)
    return found | {RATES: np.full((3, network.cell_size), 0.01, np.float32)}


def write(path: Path, kind: str, modulation: str, dtype: Any, width: int, depth: int) -> None:
    """A functaset of random modulations."""
    domain, features, grid = KINDS[kind]
    radiance: dict[str, Any] = {"head": "radiance"} if kind == "scene" else {}
    spatial: dict[str, Any] = (
        {"modulation_grid": grid} if MODULATIONS[modulation].get("modulation") == "spatial" else {}
    )
    network = NetworkConfig(width=width, depth=depth, w0=30.0, **MODULATIONS[modulation], **spatial, **radiance)
    size = 0.02 if modulation == "shift" else 0.5
    rows = np.random.default_rng(1).normal(scale=size, size=(COUNT, *network.modulation_shape)).astype(np.float32)
    columns = rows.reshape(-1, rows.shape[-1])
    contents = Contents(
        domain=domain,
        features=features,
        config=ConvertConfig(network=network, modulation_dtype=dtype, rows_per_shard=2),
        base=base_of(network, domain, features.num_channels),
        ids=[f"{i}" for i in range(COUNT)],
        split=np.array(["train"] * COUNT),
        labels={},
        provenance={"archive": "random"},
        rounding=choose_rounding(dtype, columns.min(axis=0), columns.max(axis=0)),
        rounding_loss=None
        if dtype == "float32"
        else RoundingLoss(examples=1, mse_mean=1e-6, mse_max=2e-6, psnr_loss=1e-4, psnr_loss_max=2e-4),
    )
    with sole_writer(open_objects(path)) as (store, _), StoreWriter.resume_or_create(store, contents) as writer:
        for shard in writer.missing_shards():
            writer.write(shard, rows[shard.start : shard.stop], np.full(len(shard), 0.01, np.float32))


def decoded(folder: Path, name: str, kind: str) -> dict[str, Any]:
    """Values of one example as arrays in the folder, and what the page is to ask for to get the same."""
    functaset = Functaset(StoreReader(folder / f"{name}.functa"))
    domain, tiles = functaset.domain, []
    np.save(folder / f"{name}_native.npy", functaset.decode(INDEX, clip=False)[0])
    ends = axis_ends(domain)
    for part, (rows, columns, height, width) in PARTS.items():
        along = [*[(0.3, 0.5)] * (len(ends) - 2), rows, columns][-len(ends) :]
        region = [
            (low + a * (high - low), low + b * (high - low)) for (low, high), (a, b) in zip(ends, along, strict=True)
        ]
        points = [*[1] * (len(ends) - 2), height, width][-len(ends) :]
        values = functaset.decode(INDEX, points, region=region, clip=False)[0]
        np.save(folder / f"{name}_{part}.npy", values)
        if isinstance(domain, SphereGrid) and domain.latitudes[0] > domain.latitudes[-1]:
            region[0] = (region[0][1], region[0][0])  # in the direction of the archive
        at = [(low + high) / 2 for low, high in region]
        tiles.append(
            {"part": part, "region": {"rows": region[-2:][0], "columns": region[-1], "at": at}, "points": points}
        )
    found = {"name": name, "kind": kind, "index": INDEX, "tiles": tiles}
    if isinstance(domain, SceneVolume):
        origins, directions = rays()
        rows = functaset.modulations[[INDEX]]
        colours = functaset.ray_decoder(
            functaset.base, rows, jnp.asarray(origins[None]), jnp.asarray(directions[None])
        )[0]
        np.save(folder / f"{name}_rays.npy", np.asarray(colours))
        found |= {"origins": origins.ravel().tolist(), "directions": directions.ravel().tolist()}
    return found


def axis_ends(domain: Domain) -> list[tuple[float, float]]:
    """Where the domain begins and ends along each axis: fractions, or degrees."""
    if not isinstance(domain, SphereGrid):
        return [(0.0, 1.0)] * len(domain.axes)
    return [(domain.covered.south, domain.covered.north), (domain.covered.west, domain.covered.east)]


def rays() -> tuple[np.ndarray, np.ndarray]:
    """Origins around the scene and unit vectors, (rays, 3); some miss it."""
    rng = np.random.default_rng(2)
    origins = rng.normal(size=(60, 3))
    origins *= 1.3 / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = rng.uniform(-0.7, 0.7, (60, 3)) - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return origins.astype(np.float32), directions.astype(np.float32)


def main(folder: Path) -> None:
    """All of them."""
    described = []
    for name, kind, modulation, dtype, width, depth in cases():
        write(folder / f"{name}.functa", kind, modulation, dtype, width, depth)
        described.append(decoded(folder, name, kind))
    (folder / "cases.json").write_text(json.dumps(described))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
