"""A store in a bucket is the store that a disk would hold, whatever the network does."""

import numpy as np
import pytest

from functa_store.errors import StoreExistsError, StoreFormatError
from functa_store.store.format.spec import ROOT
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from functa_store.store.storage import remote
from functa_store.store.storage.objects import StorageOptions, open_objects
from functa_store.store.storage.remote import RemoteObjects
from functa_store.store.storage.writer_lock import WORK_SUFFIX
from functa_store.store.writing.destination import check_output
from tests.remote.conftest import again, in_memory, read_objects
from tests.remote.servers import KINDS, Faults, Proxy
from tests.store.conftest import NUM_EXAMPLES, make_contents, make_values, read_all, write_shards


def test_a_store_in_a_bucket_is_that_of_a_disk_byte_for_byte(bucket, local):
    write_shards(bucket, make_contents())
    assert read_objects(bucket) == read_all(local)


def test_nothing_but_the_store_is_left_in_a_bucket(bucket):
    write_shards(bucket, make_contents())
    assert bucket.sibling(WORK_SUFFIX).sizes() == {}
    assert bucket.sibling(".other").sizes() == {}


def test_no_store_is_written_inside_another_of_a_bucket(bucket):
    location, storage = bucket.__reduce__()[1]
    assert check_output(f"{location}/base/x.functa", storage).state == "absent"
    write_shards(bucket, make_contents())
    with pytest.raises(StoreExistsError, match=r"lies inside .*pets\.functa, which is a store"):
        check_output(f"{location}/base/x.functa", storage)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faults", "seed"),
    [
        (Faults(refuse=0.2), 0),
        (Faults(throttle=0.2), 1),
        (Faults(cut=0.25), 2),
        (Faults(lose=0.2), 3),
        (Faults(refuse=0.07, throttle=0.07, cut=0.07, lose=0.07, delay=0.003), 4),
        (Faults(refuse=0.07, throttle=0.07, cut=0.07, lose=0.07), 5),
    ],
    ids=["refuse", "throttle", "cut", "lose", "mixed and slow", "mixed"],
)
def test_a_network_that_fails_loses_nothing(faults, seed, s3_port, url, local, monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    with Proxy(s3_port, faults, seed) as proxy:
        objects = open_objects(url, StorageOptions(endpoint=proxy.url))
        write_shards(objects, make_contents())
        assert objects.sibling(WORK_SUFFIX).sizes() == {}
        assert read_objects(objects) == read_all(local)
        reader = StoreReader(objects)
        np.testing.assert_array_equal(reader.modulations[::-1], make_values()[0][::-1])
        np.testing.assert_array_equal(reader.mse[:], make_values()[1])
        assert list(reader.ids) == make_contents().ids
        assert not verify(objects).damaged
        for kind in KINDS:
            assert (proxy.counts[kind] >= 5) == (getattr(faults, kind) > 0), kind


@pytest.mark.slow
def test_an_unfinished_store_is_that_of_its_finished_examples(bucket):
    with pytest.raises(KeyboardInterrupt):
        write_shards(bucket, make_contents(), stop_before=2)
    reader = StoreReader(again(bucket))
    assert (reader.spec.complete, reader.num_examples, reader.spec.examples.count) == (False, 16, NUM_EXAMPLES)
    np.testing.assert_array_equal(reader.modulations[:], make_values()[0][:16])
    assert list(reader.ids) == make_contents().ids[:16]
    found = verify(again(bucket))
    assert (found.complete, found.examples, found.damaged, found.foreign) == (False, 16, {}, [])


@pytest.mark.slow
def test_an_unfinished_store_ends_in_the_same_bytes(bucket, local):
    with pytest.raises(KeyboardInterrupt):
        write_shards(bucket, make_contents(), stop_before=2)
    before = {key: data for key, data in read_objects(bucket).items() if key != ROOT}
    write_shards(again(bucket), make_contents())
    assert read_objects(bucket) == read_all(local)
    assert before.items() <= read_all(local).items()
    assert bucket.sibling(WORK_SUFFIX).sizes() == {}


@pytest.mark.slow
def test_a_writer_that_died_before_the_root_can_be_resumed(bucket, local, monkeypatch):
    with monkeypatch.context() as patch:
        die_at_write(patch, lambda key, count: key == ROOT)
        with pytest.raises(KeyboardInterrupt):
            write_shards(bucket, make_contents())
    assert bucket.size(ROOT) is None
    assert bucket.sizes()
    write_shards(again(bucket), make_contents())
    assert read_objects(bucket) == read_all(local)


@pytest.mark.slow
def test_a_writer_may_die_at_any_object(local, monkeypatch):
    writes = len(local_writes := read_all(local)) + 5  # a root twice, the receipts of the skeleton and of three shards
    for last in [0, 1, 2, len(local_writes) // 2, *range(writes - 9, writes)]:
        objects = in_memory()
        with monkeypatch.context() as patch:
            die_at_write(patch, lambda key, count, last=last: count == last)
            with pytest.raises(KeyboardInterrupt):
                write_shards(objects, make_contents())
        write_shards(again(objects), make_contents())
        assert read_objects(objects) == read_all(local), last
        assert objects.sibling(WORK_SUFFIX).sizes() == {}


def die_at_write(monkeypatch, dies) -> None:
    """Interrupt the writer at the first object for which `dies(key, number of objects before it)`."""
    counts = iter(range(10**6))

    def dying(write):
        def write_or_die(self, key, *parts):
            if dies(key, next(counts)):
                raise KeyboardInterrupt
            return write(self, key, *parts)

        return write_or_die

    for name in ("write", "write_new", "replace"):
        monkeypatch.setattr(RemoteObjects, name, dying(getattr(RemoteObjects, name)))


def test_objects_that_are_not_there_count_as_removed(bucket):
    keys = [f"a/{i}" for i in range(40)]
    for key in keys[1:]:
        bucket.write(key, b"1")
    bucket.delete(keys)
    assert bucket.sizes() == {}
    bucket.delete(keys)


def test_some_ranges_are_those_bytes_and_nothing_shorter(bucket):
    bucket.write("a/b", b"0123456789")
    assert [bytes(part) for part in bucket.read_ranges("a/b", [7, 0, 3], [3, 1, 2])] == [b"789", b"0", b"34"]
    for starts in ([8], [10], [20], [0, 4, 8], [0, 9, 20]):
        with pytest.raises(StoreFormatError, match=r"a/b.*shorter"):
            bucket.read_ranges("a/b", starts, [3] * len(starts))
    with pytest.raises(FileNotFoundError, match="a/none"):
        bucket.read_ranges("a/none", [0], [5])
    with pytest.raises(StoreFormatError, match="10 bytes, expected at most 9"):
        bucket.read("a/b", 9)
