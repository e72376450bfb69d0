"""One small archive of pictures, and what a single process makes of it."""

import dataclasses

import pytest

import functa_store
from functa_store.conversion.workers.engine import Elsewhere
from tests.workers.jobs import CONFIG, files, never_learned, open_pictures, pictures


@pytest.fixture(scope="session", name="folder")
def _folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="session", name="archive")
def _archive(folder):
    return pictures(folder)


@pytest.fixture(scope="session", name="references")
def _references(folder, archive):
    """Files of the functasets of a single process, by data type."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        never_learned(patch)
        for dtype in ("float32", "int8"):
            path = folder / f"{dtype}.functa"
            functa_store.convert(open_pictures(archive), path, dataclasses.replace(CONFIG, modulation_dtype=dtype))
            found[dtype] = files(path)
    return found


@pytest.fixture(name="begin")
def _begin(archive, tmp_path, monkeypatch):
    """Begins a conversion, and leaves its shards to workers."""
    never_learned(monkeypatch)

    def begin(dtype="float32", name="x", **options):
        path = tmp_path / f"{name}.functa"
        config = dataclasses.replace(CONFIG, modulation_dtype=dtype)
        functa_store.convert(open_pictures(archive, **options), path, config, engine=Elsewhere())
        return path

    return begin
