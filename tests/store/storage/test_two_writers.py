"""A process that stood still, or lost its lock, neither tears nor replaces what another one wrote."""

import json
import shutil
import time

import numpy as np
import pytest

from functa_store.conversion.agreement import clear
from functa_store.conversion.run_files import Checkpoints
from functa_store.errors import StorageError, StoreExistsError, StoreMismatchError
from functa_store.store.reading.verify import verify
from functa_store.store.storage import writer_lock as claim
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import open_objects, record, write_once
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter

CONVERSION = {"config": {"seed": 0}}


def test_a_process_whose_lock_was_removed_writes_nothing_into_the_folder_of_the_next_one(tmp_path):
    path = tmp_path / "x.functa"
    with sole_writer(open_objects(path)) as (store, work):
        mine = Checkpoints(work, "learning", CONVERSION)
        mine.save((np.zeros(2),))
        shutil.rmtree(f"{path}.work")
        with sole_writer(open_objects(path)) as (_, others_work):
            other = Checkpoints(others_work, "learning", {"config": {"seed": 1}})
            other.save((np.ones(2),))
            for write in (
                lambda: mine.save((np.zeros(2),)),
                lambda: store.write("zarr.json", b"{}"),
                lambda: store.write_new("modulations/c/0/0", b"{}"),
                lambda: store.append_beside(".log", b"line"),
                lambda: work.delete(["learning/learning.npz"]),
                lambda: clear(work),
            ):
                with pytest.raises(StoreExistsError, match=r"x\.functa\.work, by which this process had locked it"):
                    write()
            (kept,) = other.load((np.zeros(2),))
            np.testing.assert_array_equal(kept, np.ones(2))
            clear(others_work)
    assert not list(tmp_path.iterdir())


def test_a_snapshot_of_another_conversion_is_not_taken_for_ones_own(tmp_path):
    other = Checkpoints(LocalObjects(tmp_path / "other"), "learning", {"config": {"seed": 1}})
    mine = Checkpoints(LocalObjects(tmp_path / "mine"), "learning", CONVERSION)
    other.save((np.ones(2),))
    shutil.copy(tmp_path / "other/learning/learning.npz", tmp_path / "mine/learning/learning.npz")
    with pytest.raises(StoreMismatchError, match=r"snapshot of the conversion .* Delete it to repeat learning"):
        mine.load((np.zeros(2),))


def test_a_duplicate_that_comes_late_changes_nothing(contents, values, tmp_path, read_all):
    """It is written by a process without a lock on the store, such as one that stood still at its last moment."""
    path, (modulations, mse) = tmp_path / "x.functa", values
    with StoreWriter.resume_or_create(path, contents) as slow:
        shard = slow.missing_shards()[0]
        with StoreWriter.resume_or_create(path, contents) as fast:
            for missing in fast.missing_shards():
                fast.write(missing, *(table[missing.start : missing.stop] for table in values))
        before = read_all(path)
        slow.write(shard, modulations[:8], mse[:8])  # an equal one is done
        with pytest.raises(StoreMismatchError, match=r"modulations/c/1/0: found 148 bytes of checksum .* expected"):
            slow.write(slow.missing_shards()[0], modulations[8:16] + 1, mse[8:16])
    assert read_all(path) == before
    assert not verify(path).damaged


def test_a_finished_root_is_not_overwritten_by_a_process_that_stood_still(contents, values, tmp_path, read_all):
    path, before = tmp_path / "x.functa", {}

    def write_and_be_overtaken() -> None:
        with StoreWriter.resume_or_create(path, contents) as writer:
            for shard in writer.missing_shards():
                writer.write(shard, *(table[shard.start : shard.stop] for table in values))
            with StoreWriter.resume_or_create(path, contents):
                pass  # completes it
            root = json.loads((path / "zarr.json").read_text())
            (path / "zarr.json").write_text(json.dumps(root))  # as another release words it
            before.update(read_all(path))

    with pytest.raises(StoreExistsError, match="another process completed or changed"):
        write_and_be_overtaken()
    assert read_all(path) == before


def test_what_an_interrupted_writer_left_without_a_receipt_is_written_anew(
    store, write_shards, contents, read_all, tmp_path
):
    """Its last bits may be others, if it ran with another batch size."""
    path = tmp_path / "x.functa"
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, contents, stop_before=1)
    LocalObjects(path).write("modulations/c/1/0", b"other bits")
    LocalObjects(path).write("mse/c/2", b"other bits")
    (path.with_name("x.functa.work") / "receipts/000002.json").write_text("{}")
    write_shards(path, contents)
    assert read_all(path) == read_all(store)


def test_an_object_that_never_changes_is_written_once(tmp_path):
    objects = LocalObjects(tmp_path / "x")
    write_once(objects, "a", b"one", b"two")
    write_once(objects, "a", b"onetwo")
    expected = record(b"onetwo").crc32c
    for other in (b"onetw", b"onetwothree", b"twoone"):
        with pytest.raises(StoreMismatchError, match=f"{record(other).crc32c}|{expected}|at most 5"):
            write_once(objects, "a", other)
    assert objects.read("a", 10) == b"onetwo"


def test_an_object_that_vanishes_between_two_looks_is_written(tmp_path, monkeypatch):
    objects, write_new, is_taken = LocalObjects(tmp_path / "x"), LocalObjects.write_new, [True]
    monkeypatch.setattr(
        LocalObjects, "write_new", lambda self, *args: not (is_taken and is_taken.pop()) and write_new(self, *args)
    )
    write_once(objects, "a", b"one")
    assert objects.read("a", 10) == b"one"


def test_leases_go_by_a_clock_that_goes_on_while_the_machine_sleeps():
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(claim._now() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1
    before = claim._now()
    time.sleep(0.01)
    assert claim._now() > before


def test_what_ends_a_writer_is_told_and_its_lock_is_gone_even_if_clearing_up_fails(tmp_path, monkeypatch):
    path = tmp_path / "x.functa"

    def fail(self, below=""):
        raise StorageError("disk gone")

    def write_in_vain() -> None:
        with sole_writer(open_objects(path)):
            monkeypatch.setattr(LocalObjects, "sizes", fail)
            raise ValueError("the real error")

    with pytest.raises(ValueError, match="the real error"):
        write_in_vain()
    monkeypatch.undo()
    with sole_writer(open_objects(path)):
        pass
    assert not list(tmp_path.iterdir())
