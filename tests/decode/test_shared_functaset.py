"""A process opens each store once."""

import gc
import pickle
import shutil
import threading

import numpy as np
import pytest

from functa_store.decode import shared_functaset as shared
from functa_store.decode.shared_functaset import MOST_OPEN, open_shared
from functa_store.errors import NoFunctasetError, StoreMismatchError
from tests.decode.stores import write_store


@pytest.fixture(name="path")
def _path(tmp_path):
    write_store(tmp_path / "small.functa")
    return tmp_path / "small.functa"


def travelled(handle):
    return pickle.loads(pickle.dumps(handle))


def forget(monkeypatch):
    """Be another process."""
    monkeypatch.setattr(shared, "_OPEN", shared._Open())


def test_all_that_arrive_share_one_functaset_and_one_decoder(path, monkeypatch):
    handle = open_shared(path)
    assert travelled(handle).functaset is handle.functaset
    forget(monkeypatch)
    first, second = travelled(handle), travelled(handle)
    assert first.functaset is not handle.functaset
    assert first.functaset.tiled_decoder is second.functaset.tiled_decoder
    np.testing.assert_array_equal(first.functaset.decode(3), handle.functaset.decode(3))


def test_whoever_opens_sees_what_is_there_now(path):
    """A replaced store has the same address: the fingerprint says what was converted, not which bytes are there."""
    before = open_shared(path)
    kept = before.functaset.decode(3)
    repaired = open_shared(path)
    assert repaired.address == before.address
    assert repaired.functaset is not before.functaset
    assert travelled(before).functaset is repaired.functaset
    np.testing.assert_array_equal(before.functaset.decode(3), kept)


def test_a_handle_is_small(path):
    assert len(pickle.dumps(open_shared(path))) < 1000


@pytest.mark.parametrize("options", [{"verify": True}, {"cache_bytes": 0}])
def test_what_is_opened_otherwise_is_another_functaset(path, options):
    assert open_shared(path, **options).functaset is not open_shared(path).functaset


def test_threads_that_come_together_open_once(path, monkeypatch):
    handle, found = open_shared(path), []
    forget(monkeypatch)
    data = pickle.dumps(handle)
    threads = [threading.Thread(target=lambda: found.append(pickle.loads(data).functaset)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_another_store_at_the_path_is_refused(path, monkeypatch):
    data = pickle.dumps(open_shared(path))
    forget(monkeypatch)
    shutil.rmtree(path)
    with pytest.raises(NoFunctasetError):
        _ = pickle.loads(data).functaset
    write_store(path, seed=1)
    with pytest.raises(StoreMismatchError, match="Open it again"):
        _ = pickle.loads(data).functaset


def test_an_unfinished_store_that_has_gone_on_is_refused(tmp_path, monkeypatch):
    write_store(tmp_path / "unfinished.functa", num_shards=1)
    data = pickle.dumps(open_shared(tmp_path / "unfinished.functa"))
    forget(monkeypatch)
    assert len(pickle.loads(data).functaset) == 4
    forget(monkeypatch)
    write_store(tmp_path / "unfinished.functa", num_shards=2)
    with pytest.raises(StoreMismatchError, match="has other shards by now"):
        _ = pickle.loads(data).functaset


def test_no_more_stay_open_than_are_in_use_and_a_few(path, tmp_path, monkeypatch):
    forget(monkeypatch)
    in_use = open_shared(path)
    assert in_use.functaset is not None
    for i in range(MOST_OPEN + 3):
        shutil.copytree(path, tmp_path / f"{i}.functa")
        open_shared(tmp_path / f"{i}.functa")
    gc.collect()
    assert len(shared._OPEN._in_use) == MOST_OPEN + 1
    assert travelled(in_use).functaset is in_use.functaset
