"""Labels of functasets that name different classes are one label, whose numbers stand for the classes of all."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import functa_store
from functa_store.cli.main import main
from functa_store.errors import ConfigError
from functa_store.loaders import Loader
from functa_store.progress import Note
from functa_store.sources.label_values import NO_CLASS
from functa_store.sources.source import Label
from functa_store.store.reading.joined_labels import all_classes, numbers_among, renumbered
from tests.decode.stores import write_store

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = st.lists(st.sampled_from("abcdefg"), unique=True, max_size=5).map(tuple)


@given(st.lists(NAMES, min_size=1, max_size=4), st.data())
def test_a_number_of_all_stands_for_the_class_that_the_number_of_one_stood_for(several, data):
    classes = all_classes(several)
    assert classes[: len(several[0])] == several[0]
    assert sorted(classes) == sorted(set().union(*several))
    for names in several:
        values = np.array(data.draw(st.lists(st.integers(-2, len(names) + 1), min_size=1)), np.int16)
        found = renumbered(values, numbers_among(names, classes, np.dtype(np.int8)))
        expected = [names[value] if 0 <= value < len(names) else None for value in values]
        assert [classes[number] if number != -1 else None for number in found] == expected


def functasets(folder, *labels):
    """One functaset of each label, called "animal", all of one base, whose ids follow each other."""
    folder.mkdir(exist_ok=True)
    write_store(folder / "base.functa")
    base, found, start = functa_store.open(folder / "base.functa"), [], 0
    for number, label in enumerate(labels):
        count = 2 if label is None else len(label.values)
        ids = [str(start + k) for k in range(count)]
        labels_of = {} if label is None else {"animal": label}
        rows = np.full((count, 4), number, np.float32)
        base.derive(folder / f"{number}.functa", rows, ids=ids, labels=labels_of)
        found.append(functa_store.open(folder / f"{number}.functa"))
        start += count
    return found


def label(values, names, dtype="int32"):
    return Label(values=np.array(values, dtype), names=names)


@pytest.fixture(name="several")
def _several(tmp_path):
    """Classes as they are, in another order, renamed, and without one."""
    return functasets(
        tmp_path,
        label([0, 1, 1, 0], ("cat", "dog")),
        label([0, 1], ("dog", "cat")),
        label([0, 1, 2], ("cow", NO_CLASS, "dog")),
        label([0], ("cat",)),
    )


TOLD = ["cat", "dog", "dog", "cat", "dog", "cat", "cow", NO_CLASS, "dog", "cat"]


def test_all_readers_know_the_classes_of_all(several):
    whole = functa_store.concat(several)
    names = whole.label_names["animal"]
    assert names == ("cat", "dog", "cow", NO_CLASS)
    assert [names[number] for number in whole.labels["animal"][:]] == TOLD
    assert whole.labels["animal"][[6, 0, -1]].tolist() == [2, 0, 0]
    assert whole[6].labels["animal"] == 2
    dogs = whole.select(where={"animal": ["dog", 2]})
    assert dogs.ids[:].tolist() == ["1", "2", "4", "6", "8"]
    assert [names[number] for number in dogs.labels["animal"][:]] == ["dog", "dog", "dog", "cow", "dog"]
    (batch,) = Loader(whole, 10, shuffle="none", where={"animal": "cat"})
    assert batch["index"].tolist() == [0, 3, 5, 9]
    assert Loader(several, 10, labels=["animal"]).functaset.label_names == whole.label_names
    variable = xr.open_dataset(whole, engine="functa").animal
    assert variable.attrs["flag_meanings"] == f"cat dog cow {NO_CLASS}"
    np.testing.assert_array_equal(variable, whole.labels["animal"][:])
    copied = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(copied.labels["animal"][:], whole.labels["animal"][:])


@pytest.mark.slow
def test_what_is_merged_and_cut_has_the_classes_of_all(several, tmp_path):
    whole = functa_store.concat(several)
    functa_store.merge(several, tmp_path / "merged.functa")
    merged = functa_store.open(tmp_path / "merged.functa")
    assert merged.label_names == whole.label_names
    np.testing.assert_array_equal(merged.labels["animal"][:], whole.labels["animal"][:], strict=True)
    lacking, notes = functasets(tmp_path / "lacking", label([0], ("cat",)), None), []
    functa_store.merge(lacking, tmp_path / "lacks.functa", report=notes.append)
    assert any("left out: 'animal' (" in note.message for note in notes if isinstance(note, Note))
    cows = ["subset", str(tmp_path / "merged.functa"), str(tmp_path / "cows.functa"), "--where", "animal=cow"]
    assert main(cows) == 0
    assert functa_store.open(tmp_path / "cows.functa").ids[:].tolist() == ["6"]


def test_arrays_as_they_are_stored_are_refused_where_their_numbers_differ(several):
    with pytest.raises(ConfigError, match=r"another order in some of these; take functaset\.labels\['animal'\]"):
        functa_store.concat(several).tensorstore_spec("labels/animal")
    again = functa_store.concat([several[0], several[3]])
    assert again.tensorstore_spec("labels/animal")["driver"] == "stack"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other", "numbers", "dtype"),
    [
        pytest.param(
            label([1, 2, -1], ("a", "b")), label([0], ("c",)), [1, -1, -1, 2], "int32", id="numbers without a name"
        ),
        pytest.param(label([1], ("a", "b"), "uint8"), label([0], ("c",), "uint8"), [1, 2], "int16", id="unsigned"),
        pytest.param(label([True], ("a", "b"), "bool"), label([0], ("c",), "bool"), [1, 2], "int8", id="truth values"),
        pytest.param(label([0], ("a",), "uint64"), label([0], ("c",), "int8"), [0, 1], "int64", id="64 bits"),
        pytest.param(
            label([199], tuple(map(str, range(200))), "uint8"), label([0], ("c",), "uint8"), [199, 200], "int16",
            id="more classes than 8 bits count",
        ),
    ],
)  # fmt: skip
def test_numbers_keep_their_meaning_whatever_their_type(tmp_path, one, other, numbers, dtype):
    found = functa_store.concat(functasets(tmp_path, one, other)).labels["animal"][:]
    np.testing.assert_array_equal(found, np.array(numbers, dtype), strict=True)


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (label([0], ("a",)), label([0], None), "some have names of its classes and others have none"),
        (label([0], ("a",)), None, r"1\.functa has none"),
        (label([0.5], ("a",), "float32"), label([0], ("b",)), "its classes differ, and are numbered by float32"),
        (label([0], ("a", "a")), label([0], ("b",)), "its classes differ, and two of them have one name"),
    ],
)
def test_labels_that_do_not_go_together_are_named_with_the_reason(tmp_path, one, other, why):
    several = functasets(tmp_path, one, other)
    whole = functa_store.concat(several)
    assert whole.labels == {}
    with pytest.raises(ConfigError, match=rf"labels \['animal'\] are not those of all .*{why}"):
        Loader(whole, 2)


def test_classes_of_one_name_stay_apart_where_all_have_the_same(tmp_path):
    twice = ("a", "a")
    whole = functa_store.concat(functasets(tmp_path, label([0, 1], twice), label([1], twice)))
    assert whole.label_names["animal"] == twice
    assert whole.labels["animal"][:].tolist() == [0, 1, 1]


def test_a_committed_part_whose_numbers_are_its_own_is_read_by_names():
    """As the page does, see `web/tests/golden.test.ts`."""
    grown = functa_store.open(GOLDEN / "grown_v8_classes.functa")
    assert grown.label_names["animal"] == ("cat", "dog", "owl")
    assert grown.labels["animal"][:].tolist() == [0, 1, 1, 0, 1, 1, 2]
