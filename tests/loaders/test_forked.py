"""A forked process is told what it may not do, instead of waiting for ever."""

import os

import pytest

from functa_store.errors import ConfigError
from functa_store.loaders import Loader


@pytest.fixture
def as_if_forked(monkeypatch):
    """Called, this process has the number of a child."""
    child = os.getpid() + 1
    return lambda: monkeypatch.setattr(os, "getpid", lambda: child)


def test_a_forked_process_reads_from_a_disk_and_from_memory_but_not_from_a_bucket(fs, bucket, as_if_forked):
    disk, untouched, kept = Loader(fs, 90), Loader(bucket, 90), Loader(bucket, 90)
    list(kept)
    as_if_forked()
    for loader in (disk, kept):
        assert len(list(loader)) == 1
    with pytest.raises(ConfigError, match="reaching a server is not possible"):
        list(untouched)
