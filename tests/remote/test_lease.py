"""One process at a time writes a store in a bucket, and one that died holds it no longer than `LEASE_SECONDS`."""

import time

import pytest

from functa_store.errors import StoreExistsError
from functa_store.store.storage import remote
from functa_store.store.storage import writer_lock as claim
from functa_store.store.storage.objects import StorageOptions, open_objects
from functa_store.store.storage.writer_lock import LEASE, WORK_SUFFIX, sole_writer
from tests.remote.conftest import again, read_objects
from tests.remote.servers import Faults, Proxy
from tests.store.conftest import make_contents, read_all, write_shards

SECONDS = 0.6


@pytest.fixture(autouse=True)
def _short_leases(monkeypatch):
    monkeypatch.setattr(claim, "LEASE_SECONDS", SECONDS)
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)


def lease_of(store) -> bytes:
    return store.sibling(WORK_SUFFIX).read(LEASE, 100)


@pytest.mark.slow
def test_a_second_writer_is_refused_while_the_first_lives(bucket):
    """However long it takes: the first renews its lease."""
    with sole_writer(bucket) as (store, work):
        for wait in (0.0, 2 * SECONDS):
            time.sleep(wait)
            with pytest.raises(StoreExistsError, match="another process is writing"), sole_writer(again(bucket)):
                pass
        store.write("a", b"1")
        work.write("b", b"2")
    assert read_objects(bucket) == {"a": b"1"}


def test_the_next_writer_need_not_wait(bucket):
    with sole_writer(bucket):
        pass
    began = time.monotonic()
    with sole_writer(again(bucket)) as (store, _):
        assert time.monotonic() - began < SECONDS / 2
        store.write("a", b"1")


def test_a_writer_that_fails_lets_the_next_one_in(bucket):
    with pytest.raises(KeyboardInterrupt), sole_writer(bucket):
        raise KeyboardInterrupt
    assert bucket.sibling(WORK_SUFFIX).sizes() == {}


@pytest.mark.slow
def test_the_lease_of_a_dead_process_is_taken_over_when_it_is_over(s3, local):
    s3.sibling(WORK_SUFFIX).write(LEASE, b"dead 7")
    began = time.monotonic()
    write_shards(s3, make_contents())
    assert time.monotonic() - began >= SECONDS
    assert read_objects(s3) == read_all(local)
    assert s3.sibling(WORK_SUFFIX).sizes() == {}


def test_of_two_that_wait_for_a_dead_process_one_may_write(memory):
    memory.sibling(WORK_SUFFIX).write(LEASE, b"dead 7")
    with sole_writer(memory):
        with pytest.raises(StoreExistsError, match="another process is writing"), sole_writer(again(memory)):
            pass
        assert not lease_of(memory).startswith(b"dead")


def test_who_lost_the_store_notices_when_renewing(s3):
    """It leaves the lease to the one who has it."""
    with sole_writer(s3) as (store, work):
        again(s3).sibling(WORK_SUFFIX).write(LEASE, b"other 1")
        time.sleep(SECONDS)
        for objects in (store, work, store.sibling(".x"), work.below("y")):
            with pytest.raises(StoreExistsError, match="another process went on"):
                objects.write("a", b"1")
            with pytest.raises(StoreExistsError, match="another process went on"):
                objects.delete(["a"])
            with pytest.raises(StoreExistsError, match="another process went on"):
                objects.append_beside(".log", b"1")
    assert lease_of(s3) == b"other 1"


@pytest.mark.slow
def test_who_stood_still_and_lost_the_store_cannot_write(bucket, monkeypatch):
    """It must notice before its first write, not at its next renewal."""
    with monkeypatch.context() as patch:
        patch.setattr(claim, "RENEWALS", 0.01)
        first = sole_writer(bucket)
        store, _ = first.__enter__()
        time.sleep(0.2)  # until its thread sleeps: from now on it stands still
    try:
        with sole_writer(again(bucket)) as (other, _):
            other.write("a", b"other")
            with pytest.raises(StoreExistsError, match="another process went on"):
                store.write("a", b"first")
            assert read_objects(bucket) == {"a": b"other"}
    finally:
        first.__exit__(None, None, None)


@pytest.mark.slow
def test_who_stood_still_and_lost_nothing_goes_on(memory, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(claim, "RENEWALS", 0.01)
        first = sole_writer(memory)
        store, _ = first.__enter__()
        time.sleep(2 * SECONDS)
    store.write("a", b"first")
    first.__exit__(None, None, None)
    assert read_objects(memory) == {"a": b"first"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults", [Faults(lose=0.4), Faults(cut=0.5), Faults(refuse=0.4)], ids=["lose", "cut", "refuse"]
)
def test_a_network_that_fails_takes_the_store_from_nobody(faults, s3_port, url):
    with Proxy(s3_port, faults, seed=2) as proxy:
        objects = open_objects(url, StorageOptions(endpoint=proxy.url))
        with sole_writer(objects) as (store, _):
            time.sleep(2 * SECONDS)
            store.write("a", b"1")
        assert objects.sibling(WORK_SUFFIX).sizes() == {}


def test_the_lease_outlives_a_server_that_is_away_for_a_while(s3, proxy):
    with sole_writer(s3) as (store, _):
        proxy.faults = Faults(refuse=1.0)
        time.sleep(SECONDS / 3)
        proxy.faults = Faults()
        time.sleep(SECONDS)
        store.write("a", b"1")
