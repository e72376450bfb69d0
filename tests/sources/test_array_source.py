"""Options of a source over an array; what it reads is tested beside the converter of arrays."""

import json
import tracemalloc

import numpy as np
import pytest

from functa_store.errors import ArchiveError, ConfigError
from functa_store.sources.array_source import ArraySource


@pytest.mark.parametrize(
    "option", [{"limit": 2.5}, {"limit": True}, {"limit": 0}, {"check_first": 1.5}, {"max_rejects": "a"}]
)
@pytest.mark.usefixtures("unchecked")
def test_how_much_is_taken_is_checked_as_for_every_archive(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        ArraySource(np.zeros((12, 4, 4, 1), np.float32), **option)


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_are_kept_as_pythons():
    source = ArraySource(np.random.default_rng(0).random((12, 4, 4, 1)), limit=np.int64(5))
    assert json.dumps(source.provenance["limit"]) == "5"


def test_counted_ids_are_texts_that_no_memory_holds():
    values = np.ones((40_000, 2, 1), np.float32)
    values[[3, 39_998]] = np.nan
    tracemalloc.start()
    try:
        source = ArraySource(values, max_rejects=0.1)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 60 * len(values)  # the split has 40 bytes of each, and its row 8
    assert (source.ids[0], source.ids[3], source.ids[-1]) == ("0", "4", "39999")
    assert source.ids[2:5] == ["2", "4", "5"]
    assert source.ids == [str(k) for k in range(40_000) if k not in (3, 39_998)]
    assert source.ids != list(map(str, range(39_998)))
    assert [reject.member for reject in source.rejects] == ["3", "39998"]


def test_ids_that_are_given_are_still_compared():
    with pytest.raises(ArchiveError, match="'b' is the id of 2 examples"):
        ArraySource(np.ones((3, 2, 1), np.float32), ids=["a", "b", "b"])
