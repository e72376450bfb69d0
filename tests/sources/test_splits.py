"""Words for splits, and samples spread evenly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.sources.array_source import ArraySource
from functa_store.sources.source import name_problem
from functa_store.sources.splits import (
    SPLITS,
    evenly,
    evenly_centred,
    evenly_to_both_ends,
    hold_out_every,
    split_of_word,
    splits_of_words,
)


def test_archives_spell_splits_in_many_words_of_any_case():
    words = ["train", "Training", "train2017", "VAL", "valid_64x64", "validation", "dev", "test", "Testing", "test_set"]
    assert splits_of_words(words).tolist() == ["train"] * 3 + ["validation"] * 4 + ["test"] * 3
    assert [split_of_word(split) for split in SPLITS] == list(SPLITS)
    assert [split_of_word(word) for word in ("latest", "contest", "retrain", "test-fruits", "train1")] == [None] * 5


def test_a_word_that_names_no_split_is_not_cut_or_changed():
    assert splits_of_words(["train", "validation-2"]).tolist() == ["train", "validation-2"]


def test_a_split_beside_an_array_may_be_spelled_as_archives_do():
    source = ArraySource(np.zeros((3, 4, 4, 1), np.float32), split=np.array(["train", "val", b"TEST"], object))
    assert source.split.tolist() == ["train", "validation", "test"]


def test_every_tenth_example_is_held_out_by_default():
    assert np.flatnonzero(hold_out_every(25) == "test").tolist() == [9, 19]


@given(st.integers(0, 50), st.integers(0, 60))
def test_every_spread_has_distinct_ascending_indices_and_no_more_than_asked(total, most):
    for chosen in (evenly(np.arange(total), most), np.array(evenly_centred(total, most), int)):
        assert len(chosen) == min(total, most)
        assert (np.diff(chosen) > 0).all()
        assert all(0 <= k < total for k in chosen)


@given(st.integers(2, 50), st.integers(2, 60))
def test_a_spread_to_both_ends_has_the_first_and_the_last(total, most):
    chosen = evenly_to_both_ends(total, most)
    assert chosen[0] == 0
    assert chosen[-1] == total - 1
    assert len(chosen) == min(total, most)
    assert (np.diff(chosen) > 0).all()


@pytest.mark.parametrize("name", ["age", "_level", "5_o_Clock_Shadow", "höhe", "a b", "a" * 200])
def test_names_of_real_labels_are_taken(name):
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", ".hidden", "__init", "a/b", "a\\b", "zarr.json", "a\n", "a" * 201, "\udc80", 3])
def test_names_that_are_no_array_of_a_store_are_refused(name):
    assert "name" in str(name_problem(name))
