"""What every source must offer."""

import numpy as np
import pytest

from functa_store.errors import ArchiveError
from functa_store.sources import ArraySource, Label, Source, hold_out_every, hold_out_last

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
        ({"ids": ["a"] * 20}, "19 ids occur more than once"),
        ({"ids": ["a", "b"]}, "split has 20 values for 2 examples"),
        ({"split": np.array(["train"] * 19)}, "split has 19 values"),
        ({"split": np.array(["dev"] * 20)}, "unknown splits"),
        ({"split": np.array(["test"] * 20)}, "nothing to learn from"),
        ({"labels": {"kind": Label(values=np.zeros(3))}}, "labels/kind has 3 values"),
        ({"axes": ("t",)}, "expected"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(options, words):
    with pytest.raises(ArchiveError, match=words):
        ArraySource(VALUES, **options)


def test_an_empty_source_is_refused():
    with pytest.raises(ArchiveError, match="no examples"):
        ArraySource(VALUES[:0])
