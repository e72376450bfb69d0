"""A functaset, and what is in it."""

import numpy as np
import pytest
import xarray as xr

from functa_store.sources.source import Label
from tests.decode.stores import write_store

COUNT = 11
LABELS = {
    "animal": Label(values=np.arange(COUNT) % 2, names=("tabby cat", "dog")),
    "age": Label(values=np.linspace(0, 1, COUNT)),
}


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("xarray") / "pets.functa"
    write_store(path, count=COUNT, labels=LABELS)
    return path


@pytest.fixture
def dataset(path):
    """Opened without caches, so that what is counted is what was decoded."""
    return xr.open_dataset(path, engine="functa", clip=False, cache=False, cache_bytes=0)


@pytest.fixture
def counted(dataset):
    """The decoder behind the dataset, its counts from zero."""
    decoder = dataset.encoding["functa"].shared.functaset.tiled_decoder
    decoder.points_asked = decoder.points_evaluated = 0
    return decoder
