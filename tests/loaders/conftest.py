"""A small functaset to load, in float32 and int8, on a disk and in a bucket."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functa_store
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import CellGrid
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.format.quantization import choose_rounding
from functa_store.store.format.side_arrays import base_shapes
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import open_objects
from functa_store.store.writing.writer import StoreWriter

COUNT, SIZE = 90, 4
NETWORK = NetworkConfig(width=8, depth=3, w0=5.0, modulation_dim=SIZE)
CELLS = NetworkConfig(width=8, depth=3, w0=5.0, modulation="spatial", modulation_grid=(2, 3), modulation_dim=SIZE)


def make_rows(count: int = COUNT, network: NetworkConfig = NETWORK) -> np.ndarray:
    """Modulations whose last dimension or channel does not vary."""
    rows = np.random.default_rng(0).normal(3.0, 0.5, size=(count, *network.modulation_shape)).astype(np.float32)
    rows[..., -1] = 0.1
    return rows


def write(location: Any, dtype: Any = "float32", seed: int = 0, network: NetworkConfig = NETWORK) -> Functaset:
    rng, rows = np.random.default_rng(seed), make_rows(network=network)
    columns = rows.reshape(-1, SIZE)
    shapes = base_shapes(network, 2, 3) | {"inner_loop/learning_rate": (3, SIZE)}
    contents = Contents(
        domain=CellGrid(axes=("y", "x"), resolution=(8, 6)),
        features=FeatureSpec(channels=("red", "green", "blue")),
        config=ConvertConfig(network=network, rows_per_shard=16, modulation_dtype=dtype, seed=seed),
        base={name: rng.normal(scale=0.3, size=shape).astype(np.float32) for name, shape in shapes.items()},
        ids=[f"{i}.png" for i in range(COUNT)],
        split=np.array(["train", "test", "train"])[np.arange(COUNT) % 3],
        labels={
            "animal": Label(values=np.arange(COUNT) % 2, names=("cat", "dog")),
            "age": Label(values=np.linspace(0, 1, COUNT)),
        },
        rounding=choose_rounding(dtype, columns.min(axis=0), columns.max(axis=0)),
    )
    with StoreWriter.resume_or_create(open_objects(location), contents) as writer:
        for shard in writer.missing_shards():
            writer.write(shard, rows[shard.start : shard.stop], np.full(len(shard), 0.01, np.float32))
    return functa_store.open(location)


@pytest.fixture(scope="session")
def fs(tmp_path_factory: pytest.TempPathFactory) -> Functaset:
    return write(tmp_path_factory.mktemp("stores") / "small.functa")


@pytest.fixture(scope="session", params=["float32", "float16", "int8"])
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Functaset:
    """The functaset in each data type."""
    return write(tmp_path_factory.mktemp("stores") / f"{request.param}.functa", request.param)


@pytest.fixture(scope="session", params=["float32", "float16", "int8"])
def grids(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Functaset:
    """One whose modulations are grids of 2 x 3 cells, in each data type."""
    return write(tmp_path_factory.mktemp("stores") / f"{request.param}.functa", request.param, network=CELLS)


@pytest.fixture(scope="session")
def bucket() -> Functaset:
    return write("memory://loaders/small.functa")


@pytest.fixture(scope="session", name="write")
def write_fixture() -> Callable[..., Functaset]:
    return write
