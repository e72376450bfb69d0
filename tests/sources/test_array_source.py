"""Options of a source over an array; what it reads is tested beside the converter of arrays."""

import json

import numpy as np
import pytest

from functa_store.errors import ConfigError
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
