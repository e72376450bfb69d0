import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.errors import ConfigError
from functa_store.sources.options import (
    ArchiveOptions,
    descriptions,
    from_word,
    hints,
    option,
    overlaid_options,
    split_options,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(ArchiveOptions):
    """For tests.

    Attributes:
        size: Cells
            along an axis.
        rate: Per second.
    """

    exclusive = (("size", "rate"),)

    size: int = 4
    rate: float | int | None = None
    crop: str | int | float = "square"
    mode: Literal["rgb", "grey"] = "rgb"
    flag: bool = False
    names: tuple[str, ...] = option((), metavar="NAME,...")
    select: Mapping[str, tuple[str, ...]] = option({}, metavar="DIM=VALUE")
    labels: str | None = option(None, metavar="DIR", is_path=True)


NAMES = st.text("abcxyz0189", min_size=1, max_size=5)
ANY = st.builds(
    dict,
    size=st.integers(0, 2**32 - 1),
    rate=st.none() | st.floats(-1e9, 1e9) | st.integers(-9, 9),
    crop=st.sampled_from(["none", "square"]) | st.integers(1, 178) | st.floats(0.1, 1),
    mode=st.sampled_from(["rgb", "grey"]),
    flag=st.booleans(),
    names=st.lists(NAMES).map(tuple),
    select=st.dictionaries(NAMES, st.lists(NAMES, min_size=1).map(tuple)),
)


@given(options=ANY)
def test_options_come_back_from_json(options):
    options = Options.of(**options)
    assert Options.from_plain(json.loads(json.dumps(options.to_plain()))) == options


@given(options=ANY)
def test_words_mean_what_they_say(options):
    options = Options.of(**options)
    for name in ("size", "crop", "mode", "names", "select"):
        value = getattr(options, name)
        if value not in ((), {}):
            word = options.to_plain()[name]
            assert from_word(name, hints(Options)[name], str(word)) == value


def test_no_list_is_an_empty_one():
    assert Options.of(names=None, select=None) == Options()


def test_a_number_that_may_be_broken_is_one():
    found = from_word("rate", hints(Options)["rate"], "1")
    assert (found, type(found)) == (1.0, float)
    assert from_word("rate", hints(Options)["rate"], "none") is None
    assert from_word("crop", hints(Options)["crop"], "none") == "none"


def test_a_path_stays_out_of_a_store(tmp_path):
    options = Options.of(labels=Path(tmp_path))
    assert options.labels == str(tmp_path)
    assert "labels" not in options.to_plain()
    assert Options.from_plain({"labels": str(tmp_path)}).labels is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", "4", "size must be a whole number, got '4'"),
        ("size", 4.5, "size must be a whole number"),
        ("size", True, "size must be a whole number"),
        ("rate", "x", "rate must be a number or a whole number or none"),
        ("mode", "cmyk", "mode must be one of rgb, grey"),
        ("flag", 1, "flag must be true or false"),
        ("names", 3, "names must be names with commas between them"),
        ("select", "level", "select must be NAME=VALUE"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(name, value, message):
    with pytest.raises(ConfigError, match=message):
        Options.of(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("size", 2**32), ("rate", float("inf")), ("rate", float("nan"))])
def test_a_number_of_a_stranger_is_of_a_usual_size(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be"):
        Options.from_plain({name: value})


def test_numbers_of_other_libraries_are_pythons():
    options = Options.of(size=np.int64(5), rate=np.float32(0.5))
    assert (type(options.size), type(options.rate)) == (int, float)


def test_keywords_are_those_of_the_archive_and_of_its_survey():
    options, survey = split_options(Options, {"size": 5, "limit": 3, "names": "a, b"})
    assert (options, survey.limit) == (Options(size=5, names=("a", "b")), 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sise', expected some of size"):
        split_options(Options, {"sise": 5})


def test_what_the_user_says_displaces_what_it_excludes():
    assert overlaid_options(Options, {"rate": 1.0, "mode": "grey"}, {"size": 3}) == {"size": 3, "mode": "grey"}
    assert overlaid_options(Options, {"rate": 1.0}, {"rate": 2.0}) == {"rate": 2.0}


def test_descriptions_are_those_of_the_docstring():
    assert descriptions(Options) == {"size": "Cells along an axis.", "rate": "Per second."}
