"""Shards are written by many processes at a time without a claim, and what comes late changes nothing."""

import json
import shutil

import numpy as np
import pytest

from functa_store.errors import StoreExistsError, StoreFormatError, StoreMismatchError
from functa_store.store.format.receipts import Receipts
from functa_store.store.reading.reader import read_examples
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import failed, open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.shard_writer import ShardWriter
from functa_store.store.writing.writer import StoreWriter, examples_of
from tests.store.conftest import make_augmented


class Begun:
    """An unfinished store of which nothing is written, and writers of its shards."""

    def __init__(self, path, contents, values):
        self.path, self.contents, self.spec = path, contents, contents.spec()
        self.shards = self.spec.layout.shards(self.spec.examples.count)
        self.values = values
        with sole_writer(open_objects(path)) as (store, _), StoreWriter.resume_or_create(store, contents):
            pass

    def writer(self, is_over=lambda: False, worker="here:1"):
        objects, examples = LocalObjects(self.path).existing(), examples_of(self.contents)
        return ShardWriter(objects, self.spec, self.contents.rounding, examples, is_over, worker)

    def rows(self, shard, add=0.0):
        modulations, mse = (table[shard.start : shard.stop] for table in self.values)
        return modulations + np.float32(add), mse

    def complete(self):
        with sole_writer(open_objects(self.path)) as (store, _):
            writer = StoreWriter.taken_up(store, self.spec)
            assert writer.look_again() == []
            writer.complete_if_done()


@pytest.fixture(name="begun")
def _begun(tmp_path, contents, values):
    return Begun(tmp_path / "pets.functa", contents, values)


def test_shards_of_many_writers_are_those_of_one(begun, store, read_all):
    writers = [begun.writer(), begun.writer()]
    for k, shard in enumerate(reversed(begun.shards)):
        writers[k % 2].write(shard, *begun.rows(shard))
    begun.complete()
    assert read_all(begun.path) == read_all(store)
    assert [entry.name for entry in begun.path.parent.iterdir()] == ["pets.functa"]


def test_an_equal_shard_counts_as_written_and_another_one_names_the_worker(begun, read_all):
    shard = begun.shards[0]
    begun.writer().write(shard, *begun.rows(shard))
    before = read_all(begun.path.parent)
    begun.writer().write(shard, *begun.rows(shard))
    with pytest.raises(StoreMismatchError, match=r"there:2: .*modulations/c/0/0: found .* expected"):
        begun.writer(worker="there:2").write(shard, *begun.rows(shard, 1e-6))
    assert read_all(begun.path.parent) == before


@pytest.mark.parametrize("add", [0.0, 1e-6])
@pytest.mark.parametrize("forgets", [False, True])
def test_what_is_written_after_the_completion_changes_nothing_and_leaves_nothing(begun, read_all, add, forgets):
    """Also if the writer does not notice, as it stood still between its look and its first write."""
    late = begun.writer(is_over=lambda: not forgets and not begun.path.with_name("pets.functa.work").exists())
    for shard in begun.shards:
        begun.writer().write(shard, *begun.rows(shard))
    begun.complete()
    before = read_all(begun.path.parent)
    expected = (StoreExistsError, "completed or begun anew") if not forgets else (Exception, "No such file|found")
    with pytest.raises(expected[0], match=expected[1]):
        late.write(begun.shards[1], *begun.rows(begun.shards[1], add))
    assert read_all(begun.path.parent) == before
    assert [entry.name for entry in begun.path.parent.iterdir()] == ["pets.functa"]


def test_a_receipt_that_comes_as_the_job_ends_is_taken_back(begun):
    """The work folder stays, since a user's file is in it."""
    answers = iter([False, True])
    shard = begun.shards[0]
    with pytest.raises(StoreExistsError, match="begun anew"):
        begun.writer(is_over=lambda: next(answers)).write(shard, *begun.rows(shard))
    assert Receipts(open_objects(begun.path), begun.spec.fingerprint).indices() == []


def test_a_store_that_was_deleted_is_not_made_again(begun):
    writer, shard = begun.writer(), begun.shards[0]
    shutil.rmtree(begun.path)
    shutil.rmtree(begun.path.with_name("pets.functa.work"))
    with pytest.raises(OSError, match="No such file"):
        writer.write(shard, *begun.rows(shard))
    assert list(begun.path.parent.iterdir()) == []


def test_a_shard_whose_folder_is_cleared_up_meanwhile_is_written_all_the_same(begun, monkeypatch):
    """As the next writer does that takes the store up, with what was not proven."""
    shard, left = begun.shards[0], [2]
    original = LocalObjects._written

    def removed(self, key, parts):
        if key.startswith("mse") and left[0]:
            left[0] -= 1
            gone = FileNotFoundError(2, "No such file")
            raise failed(self.name, key, "written", gone) from gone
        return original(self, key, parts)

    monkeypatch.setattr(LocalObjects, "_written", removed)
    begun.writer().write(shard, *begun.rows(shard))
    assert left == [0]
    assert Receipts(open_objects(begun.path), begun.spec.fingerprint).indices() == [0]


def test_a_damaged_receipt_is_none(begun):
    shard = begun.shards[0]
    begun.writer().write(shard, *begun.rows(shard))
    receipt = begun.path.with_name("pets.functa.work") / "receipts/000000.json"
    plain = json.loads(receipt.read_text())
    for change in (
        {"summary": {}},
        {"summary": {**plain["summary"], "mean": "?"}},
        {"files": {"mse/c/0": {"bytes": "1"}}},
    ):
        receipt.write_text(json.dumps({**plain, **change}))
        assert Receipts(open_objects(begun.path), begun.spec.fingerprint).done(begun.shards) == {}


def test_a_store_whose_skeleton_is_damaged_is_not_completed(begun):
    (begun.path / "labels/age/c/0").write_bytes(b"")
    with pytest.raises(StoreFormatError, match=r"labels/age/c/0: missing or damaged.*again"):
        StoreWriter.taken_up(open_objects(begun.path), begun.spec)


def test_what_a_store_keeps_of_its_examples_is_read_before_any_is_fitted(tmp_path, values):
    begun = Begun(tmp_path / "pets.functa", make_augmented(), values)
    records = Receipts(open_objects(begun.path), begun.spec.fingerprint).read_skeleton()
    found, expected = read_examples(open_objects(begun.path), begun.spec, records), examples_of(begun.contents)
    for name in ("ids", "split", "augmentation_of"):
        np.testing.assert_array_equal(getattr(found, name)[:], getattr(expected, name)[:])
    own = np.concatenate([found.are_own(shard) for shard in begun.spec.layout.shards(21)])
    np.testing.assert_array_equal(own, np.arange(21) < 15)
