"""One of each example and its augmentations in every epoch, or all of them, or none."""

import contextlib
import dataclasses
import json
import pickle

import numpy as np
import pytest

import functa_store
from functa_store.errors import ConfigError
from functa_store.loaders import Batches, BlockShuffle, Examples, Loader, TorchExamples, to_huggingface
from functa_store.loaders.augmentation_draws import OnePerOriginal, select_rows
from functa_store.sources.source import Label
from functa_store.store.format.receipts import Receipts
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import open_objects
from tests.loaders.conftest import write
from tests.store.conftest import make_augmented, make_contents, write_shards

OF = np.concatenate([np.arange(15), [0, 0, 3, 3, 12, 12]])
TRAIN = [0, 3, 6, 9, 12]
SHUFFLES = ["full", "none", BlockShuffle(size=2, mixed=2)]


@pytest.fixture(scope="module", name="augmented")
def _augmented(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "augmented.functa"
    return functa_store.open(write_shards(path, make_augmented()))


def rows(batches):
    return np.concatenate([batch["index"] for batch in batches]).tolist()


@pytest.mark.parametrize("shuffle", SHUFFLES, ids=str)
def test_an_epoch_has_one_row_of_each_example(augmented, shuffle):
    loader = Loader(augmented, 3, shuffle=shuffle, normalize=False)
    assert (loader.num_examples, len(loader)) == (15, 5)
    seen = set()
    for _ in range(20):
        batches = list(loader)
        found = rows(batches)
        assert sorted(OF[found].tolist()) == list(range(15))
        seen.update(found)
        for batch in batches:
            np.testing.assert_array_equal(batch["modulations"], augmented.modulations[batch["index"]])
            np.testing.assert_array_equal(batch["labels"]["age"], augmented.labels["age"][batch["index"]])
    assert seen == set(range(21))


def test_without_shuffling_examples_keep_their_order(augmented):
    for _ in range(3):
        assert OF[rows(Loader(augmented, 4, shuffle="none", seed=3))].tolist() == list(range(15))


def test_each_of_the_rows_comes_as_often_as_the_others():
    draws = OnePerOriginal(np.arange(4000), np.concatenate([np.arange(1000), np.repeat(np.arange(1000), 3)]))
    assert len(draws) == 1000
    drawn = np.concatenate([draws.draw(0, epoch, np.arange(1000)) for epoch in range(40)])
    which = np.where(drawn < 1000, 0, (drawn - 1000) % 3 + 1)
    shares = np.bincount(which) / len(which)
    np.testing.assert_allclose(shares, 0.25, atol=0.01)  # 4.6 standard deviations of 40,000 draws
    of_one = [draws.draw(0, epoch, np.array([7]))[0] for epoch in range(400)]
    assert np.bincount(np.where(np.array(of_one) < 1000, 0, 1)).min() > 70


def test_a_draw_depends_on_seed_epoch_and_example_alone(augmented):
    def drawn(loader, epochs=3):
        return [sorted(rows(loader)) for _ in range(epochs)]

    whole = drawn(Loader(augmented, 3, seed=5), 12)
    expected = whole[:3]
    for other in (
        Loader(augmented, 4, seed=5),
        Loader(augmented, 15, seed=5, shuffle="none"),
        Loader(augmented, 2, seed=5, shuffle=BlockShuffle(size=3, mixed=1)),
    ):
        assert drawn(other) == expected
    chosen = np.isin(OF, [12, 3])
    for part in ({"split": "train"}, {"index": np.flatnonzero(chosen)[::-1].copy()}, {"index": chosen}):
        loader = Loader(augmented, 2, seed=5, **part)
        for epoch, found in enumerate(drawn(loader, 12)):
            assert set(found) <= set(whole[epoch])
    assert expected[0] != expected[1]
    assert drawn(Loader(augmented, 3, seed=6)) != expected
    ranks = [Loader(augmented, 5, seed=5, shuffle="full", rank=rank, num_ranks=3) for rank in range(3)]
    for epoch in range(3):
        assert sorted(row for rank in ranks for row in rows(rank)) == expected[epoch]


@pytest.mark.parametrize("shuffle", SHUFFLES, ids=str)
def test_a_restored_state_and_batches_by_number_draw_the_same(augmented, shuffle):
    straight = [batch["index"].tolist() for batch in Loader(augmented, 4, shuffle=shuffle, num_epochs=3)]
    first = Loader(augmented, 4, shuffle=shuffle, num_epochs=3)
    batches = iter(first)
    begun = [next(batches)["index"].tolist() for _ in range(6)]
    second = Loader(augmented, 4, shuffle=shuffle, num_epochs=3)
    second.restore(json.loads(json.dumps(first.state())))
    assert begun + [batch["index"].tolist() for batch in second] == straight
    by_number = pickle.loads(pickle.dumps(Batches(Loader(augmented, 4, shuffle=shuffle, num_epochs=None))))
    assert [by_number[k]["index"].tolist() for k in range(len(straight))] == straight
    other = Loader(augmented, 4, shuffle=shuffle, num_epochs=3, augmentations="all")
    with pytest.raises(ConfigError, match="the state of a loader with other options"):
        other.restore(first.state())


def test_rows_are_read_once_from_the_first_to_the_last(augmented, monkeypatch):
    loader, read = Loader(augmented, 3, shuffle=SHUFFLES[2], seed=1), []
    table = type(loader.reading.table)
    whole = table.__getitem__
    monkeypatch.setattr(table, "__getitem__", lambda self, positions: read.append(positions) or whole(self, positions))
    list(loader)
    assert sum(map(len, read)) == 15
    assert all((np.diff(positions) > 0).all() for positions in read)


def test_all_rows_or_originals_alone(augmented):
    assert sorted(rows(Loader(augmented, 4, augmentations="all"))) == list(range(21))
    assert sorted(rows(Loader(augmented, 4, augmentations="none"))) == list(range(15))
    assert sorted(rows(Loader(augmented, 4, split="train", augmentations="all"))) == [*TRAIN, *range(15, 21)]


def test_a_split_brings_its_augmentations_and_one_without_any_is_unaffected(augmented):
    train = Loader(augmented, 2, split="train")
    seen = {row for _ in range(20) for row in rows(train)}
    assert (train.num_examples, seen) == (5, {*TRAIN, *range(15, 21)})
    batches = [rows(Loader(augmented, 2, split="test", seed=2, augmentations=how)) for how in ("one", "all", "none")]
    assert batches[0] == batches[1] == batches[2]
    states = [Loader(augmented, 2, split="test", augmentations=how).state() for how in ("one", "all", "none")]
    assert states[0] == states[1] == states[2]


def test_an_index_means_the_rows_that_it_names(augmented):
    assert sorted(rows(Loader(augmented, 2, index=[0, 3, 4]))) == [0, 3, 4]
    drawn = Loader(augmented, 1, index=[20, 4, 16, 15], shuffle="none")
    found = [rows(drawn) for _ in range(30)]
    assert {row for first, _, _ in found for row in [first]} == {20}
    assert {second for _, second, _ in found} == {4}
    assert {third for _, _, third in found} == {15, 16}
    mask = augmented.labels["animal"][:] == 0
    assert Loader(augmented, 1, index=mask).num_examples == 8  # of the 12 rows of even examples
    everything_of_3 = np.isin(augmented.augmentations["of"][:], [3])
    assert sorted(rows(Loader(augmented, 1, index=everything_of_3, augmentations="all"))) == [3, 17, 18]
    assert sorted(rows(Loader(augmented, 2, index=[3, 3, 4], augmentations="all"))) == [3, 3, 4]
    assert sorted(rows(Loader(augmented, 2, index=[3, 3]))) == [3, 3]  # nothing to draw from


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"index": [3, 3, 17]}, "index names example 3 twice, but augmentations='one' draws"),
        ({"index": [17], "augmentations": "none"}, "all examples of this index are augmentations"),
    ],
)
def test_what_cannot_be_drawn_is_refused(augmented, options, words):
    with pytest.raises(ConfigError, match=words):
        Loader(augmented, 1, **options)


def test_functasets_without_augmentations_are_the_same_with_each_choice(tmp_path):
    plain = write(tmp_path / "plain.functa")
    one, all_rows, none = (Loader(plain, 8, seed=1, augmentations=how) for how in ("one", "all", "none"))
    assert rows(one) == rows(all_rows) == rows(none)
    assert one.state() == all_rows.state()
    assert "augmentations" not in one.state()["options"]


@pytest.mark.parametrize("kind", [Examples, TorchExamples])
def test_examples_by_number_are_all_rows_or_originals(augmented, kind):
    assert len(kind(augmented)) == 21
    originals = kind(augmented, split="train", augmentations="none")
    assert [int(originals[k]["index"]) for k in range(len(originals))] == TRAIN
    with pytest.raises(ConfigError, match="by number know nothing; use Loader or Batches, or give 'all' or 'none'"):
        kind(augmented, augmentations="one")


def test_a_table_for_hugging_face_names_originals_by_their_ids(augmented):
    table = to_huggingface(augmented, split="train")
    assert table.column_names == ["id", "split", "modulation", "augmentation_of", "age", "animal"]
    assert table["augmentation_of"][:] == [f"bild_{row}_ä.png" for row in [*TRAIN, 0, 0, 3, 3, 12, 12]]
    assert to_huggingface(augmented, augmentations="none")["id"][:] == augmented.ids[:15].tolist()


def test_from_a_bucket_the_same_are_drawn(augmented, tmp_path):
    objects = open_objects("memory://augmented/augmented.functa")
    write_shards(objects, make_augmented())
    bucket = functa_store.open(objects)
    for shuffle in SHUFFLES:
        assert rows(Loader(bucket, 4, shuffle=shuffle)) == rows(Loader(augmented, 4, shuffle=shuffle))


def test_an_original_that_is_not_there_yet_is_null_in_the_table(tmp_path):
    path = tmp_path / "part.functa"
    with contextlib.suppress(KeyboardInterrupt):
        write_shards(path, make_augmented(), stop_before=2)  # rows 0 to 15
    Receipts(open_objects(path), StoreReader(path).spec.fingerprint).forget([StoreReader(path).shards[0]])
    table = to_huggingface(functa_store.open(path))
    assert table["augmentation_of"][:] == [f"bild_{row}_ä.png" for row in range(8, 15)] + [None]


def test_a_label_may_be_called_as_the_column_of_augmentations_where_there_is_none(tmp_path):
    label = {"augmentation_of": Label(values=np.arange(21))}
    plain = write_shards(tmp_path / "plain.functa", dataclasses.replace(make_contents(), labels=label))
    assert to_huggingface(functa_store.open(plain))["augmentation_of"][:] == list(range(21))
    made = make_augmented(labels={"augmentation_of": Label(values=np.zeros(21, np.int64))})
    with pytest.raises(ConfigError, match=r"cannot export labels \['augmentation_of'\]"):
        to_huggingface(functa_store.open(write_shards(tmp_path / "augmented.functa", made)))


def test_the_order_of_an_index_does_not_change_what_is_drawn(augmented):
    for epoch in range(8):
        up, down = (select_rows(augmented, None, index, None, "one") for index in ([3, 17, 18], [18, 3, 17]))
        drawn = [rows[draws.draw(0, epoch, np.array([0]))][0] for rows, draws in (up, down)]
        assert drawn[0] == drawn[1]
