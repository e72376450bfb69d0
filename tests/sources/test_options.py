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
    SurveyOptions,
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Positive(ArchiveOptions):
    """Of defaults that say something, and of several types."""

    clean: bool = True
    width: int | None = 64
    names: tuple[str, ...] = ("a",)
    maybe: tuple[str, ...] | None = ("a",)
    empty: tuple[str, ...] | None = ()
    select: Mapping[str, tuple[str, ...]] = option({"level": ("5",)})
    chosen: Mapping[str, tuple[str, ...]] | None = option({"level": ("5",)})
    known: bool | None = None
    ready: bool | None = False
    sure: bool | None = True
    text: str | tuple[str, ...] | bool | None = "x"


TEXTS = st.text(",;= ab", max_size=4)
LISTS = st.lists(TEXTS.filter(bool), max_size=3).map(tuple)
MAPPINGS = st.dictionaries(TEXTS, LISTS.filter(bool), max_size=3)
TRUTH = st.none() | st.booleans()
ODD = st.builds(
    dict,
    clean=st.booleans(),
    width=st.none() | st.integers(0, 99),
    names=LISTS,
    maybe=st.none() | LISTS,
    empty=st.none() | LISTS,
    select=MAPPINGS,
    chosen=st.none() | MAPPINGS,
    known=TRUTH,
    ready=TRUTH,
    sure=TRUTH,
    text=TRUTH | TEXTS | LISTS,
)


@given(options=ODD)
def test_whatever_is_chosen_comes_back_from_json(options):
    options = Positive.of(**options)
    again = Positive.from_plain(json.loads(json.dumps(options.to_plain())))
    assert again == options
    assert [type(value) for value in dataclasses.astuple(again)] == [type(v) for v in dataclasses.astuple(options)]


def test_nothing_that_was_chosen_is_no_key_that_is_missing():
    nothing = {"clean": False, "width": None, "names": (), "select": {}}
    assert Positive.of(**nothing).to_plain().items() >= dict.fromkeys(nothing).items()
    assert Positive.from_plain(dict.fromkeys(nothing)) == Positive.of(**nothing)
    assert Positive.from_plain({}) == Positive()
    assert Options.from_plain(dict.fromkeys(hints(Options))) == Options()


def test_provenance_is_written_as_ever():
    options = Options.of(names=["t2m", "u"], select={"level": "500,850", "time": ["1979"]}, rate=2)
    expected = {"size": 4, "rate": 2, "crop": "square", "mode": "rgb", "flag": None, "names": "t2m,u"}
    assert options.to_plain() == expected | {"select": "level=500,850;time=1979"}
    assert Options().to_plain() == expected | {"rate": None, "names": None, "select": None}
    assert Options(flag=True).to_plain()["flag"] is True


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("names", ("t,2m", "u"), ["t,2m", "u"]),
        ("names", (" t",), [" t"]),
        ("select", {"le;vel": ("5",)}, {"le;vel": ["5"]}),
        ("select", {"level": ("5;6",)}, {"level": ["5;6"]}),
        ("select", {"le=vel": ("5",), "x": ("1", "2")}, {"le=vel": ["5"], "x": ["1", "2"]}),
        ("select", {"level": ("5,6",)}, {"level": ["5,6"]}),
    ],
)
def test_names_with_separators_are_kept_in_lists(name, value, plain):
    options = Options(**{name: value})
    assert (getattr(options, name), options.to_plain()[name]) == (value, plain)
    assert Options.from_plain(json.loads(json.dumps(options.to_plain()))) == options


def test_words_in_a_list_of_selections_have_their_separators():
    assert Options.of(select=["a=1,2;b=3", "a=4"]).select == {"a": ("1", "2", "4"), "b": ("3",)}


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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", 2**32, "size must be below 2.*, got 4294967296"),
        ("size", -(2**40), "size must be below 2"),
        pytest.param("crop", 10**5000, "crop must be below 2.*, got int that is too large to show", id="digits"),
        ("rate", float("inf"), "rate must be finite, got inf"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_no_store_could_give_back_is_refused_before_work(name, value, message):
    with pytest.raises(ConfigError, match=message):
        Options(**{name: value})


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("size", "4294967296", "it must be below 2.*, got 4294967296"),
        pytest.param("size", "9" * 5000, "it must be below 2", id="digits"),
        ("crop", "99999999999", "it must be below 2.*, got 99999999999"),
        pytest.param("crop", "-" + "9" * 5000, "it must be below 2", id="negative digits"),
        ("crop", "1e999", "it must be finite"),
        ("rate", "nan", "it must be finite, got nan"),
    ],
)
def test_a_word_for_too_large_a_number_says_so(name, word, message):
    with pytest.raises(ConfigError, match=message):
        from_word("it", hints(Options)[name], word)


def test_a_word_that_happens_to_name_a_number_may_be_a_text():
    assert [from_word("it", hints(Options)["crop"], word) for word in ("inf", "NaN", "7")] == ["inf", "NaN", 7]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limit": 2**40}, "limit must be below 2.*, got 1099511627776"),
        ({"limit": np.array([1, 2])}, "limit must be a whole number"),
        ({"check_first": True}, "check_first must be a whole number"),
        ({"max_rejects": True}, "max_rejects must be a number, got True"),
        ({"max_rejects": None}, "max_rejects must be a number, got None"),
        ({"max_rejects": np.array([0.1, 0.2])}, "max_rejects must be a number, got array"),
        ({"max_rejects": float("nan")}, r"max_rejects must be a fraction in \[0, 1\], got nan"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_how_much_is_taken_is_checked(values, message):
    with pytest.raises(ConfigError, match=message):
        SurveyOptions(**values)


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
