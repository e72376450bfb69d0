"""What every source must offer."""

import numpy as np
import pytest

from functa_store.errors import ArchiveError, TooManyRejectsError
from functa_store.sources.array_source import ArraySource
from functa_store.sources.source import (
    Label,
    NumberedIds,
    Reject,
    Source,
    check_rejects,
    check_source,
    class_counts,
    origin,
)
from functa_store.sources.splits import hold_out_every, hold_out_last

VALUES = np.zeros((20, 4, 5, 3), np.float32)


def test_an_array_is_a_source():
    source = ArraySource(VALUES)
    assert isinstance(source, Source)
    assert source.domain.resolution == (4, 5)
    assert source.read(3).shape == (4, 5, 3)


def test_every_tenth_example_is_held_out():
    assert np.flatnonzero(hold_out_every(25, 10) == "test").tolist() == [9, 19]


def test_the_last_tenth_is_held_out():
    assert np.sum(hold_out_last(1302) == "train") == 1171


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ids": ["a"] * 20}, "'a' is the id of 20 examples"),
        ({"ids": ["a", "b"]}, "ids has 2 values for 20 examples"),
        ({"split": np.array(["train"] * 19)}, "split has 19 values"),
        ({"split": np.array(["part-a"] * 20)}, "unknown splits"),
        ({"split": np.array(["test"] * 20)}, "nothing to learn from"),
        ({"labels": {"kind": Label(values=np.zeros(3))}}, "label kind has 3 values"),
        ({"axes": ("t",)}, "expected"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(options, words):
    with pytest.raises(ArchiveError, match=words):
        ArraySource(VALUES, **options)


def test_splits_may_be_a_list():
    source = ArraySource(VALUES)
    source.split = source.split.tolist()
    check_source(source)
    source.split[3] = "dev"
    with pytest.raises(ArchiveError, match=r"unknown splits \['dev'\]"):
        check_source(source)


def test_ids_that_are_numbers_equal_their_texts():
    ids = NumberedIds(np.array([3, 5]))
    assert ids == ["3", "5"]
    assert ids != ["3", "5", "7"]
    assert ids.__eq__(["3"]) is False  # not left to the other one
    assert ids != 3


def test_an_empty_source_is_refused():
    with pytest.raises(ArchiveError, match="no examples"):
        ArraySource(VALUES[:0])


def test_too_many_rejects_name_the_first_five_with_their_reasons():
    rejects = [Reject(member=f"{k}.png", reason="is empty") for k in range(7)]
    check_rejects("a.zip", "images", rejects, 70, 0.1)
    with pytest.raises(TooManyRejectsError, match=r"7 of 69 images .* 10\.0%.* 0\.png is empty; .* 4\.png .* 2 more"):
        check_rejects("a.zip", "images", rejects, 69, 0.1)


def test_where_splits_and_labels_come_from_is_said_with_their_counts():
    kind = Label(values=np.array([0] * 15 + [1] * 5), names=("cat", "dog", "eel"))
    source = ArraySource(VALUES, labels={"kind": kind, "age": np.arange(20)})
    assert origin(source) == (
        "splits every tenth example held out: 2 test, 18 train; label kind: 15 cat, 5 dog, 0 eel; label age"
    )
    source.provenance |= {"split": "published by folders (a, b)", "labels_by": {"kind": "folders"}}
    assert "splits published by folders (a, b): 2 test, 18 train; label kind by folders: 15 cat" in origin(source)
    source.provenance |= {"split": "last", "split_rule": "last tenth of the times held out"}
    assert origin(source).startswith("splits last tenth of the times held out: 2 test, 18 train; label kind")


def test_classes_that_are_numbers_alone_are_counted_by_them():
    digits = np.arange(20) % 3 + 5
    source = ArraySource(VALUES, labels={"class": digits, "age": np.arange(20)})
    assert "; label class: 7 of 5, 7 of 6, 6 of 7; label age" in origin(source)
    assert class_counts("class", source.labels["class"]) == {"5": 7, "6": 7, "7": 6}
    assert class_counts("class", Label(values=np.linspace(0, 1, 20))) == {}


def test_labels_of_one_giver_are_named_together():
    many = {f"a{k:02}": np.arange(20) for k in range(40)}
    source = ArraySource(VALUES, labels=many | {"age": np.arange(20)})
    source.provenance["labels_by"] = dict.fromkeys(many, "list.txt")
    told = origin(source).split("; ")
    assert told[1:] == [f"labels {', '.join(list(many)[:10])} and 30 others by list.txt", "label age"]
