"""Columns whose types, files or rows differ: which values become examples, labels and ids."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from converters.tables.huggingface import open_huggingface
from functa_store.errors import ArchiveError
from functa_store.progress import Note
from tests.converters.tables.tables import BYTES, IMAGE, files, pictures, png, write

NAN = float("nan")
ENCODED = list(map(png, pictures(6)))


def notes_of(archive, **options):
    told = []
    source = open_huggingface(archive, report=told.append, resolution=8, **options)
    return source, [event.message for event in told if isinstance(event, Note)]


def label_of(path, column, features=None):
    source, notes = notes_of(write(path / "t.parquet", {"image": files(ENCODED), "label": column}, features))
    label = source.labels.get("label")
    return notes if label is None else (label.names, label.values)


def two_files(path, first, second, features=None):
    """A data set of two files of three rows, whose other columns differ."""
    for number, (columns, images) in enumerate(((first, ENCODED[:3]), (second, ENCODED[3:]))):
        write(path / f"train-0000{number}-of-00002.parquet", {"image": files(images), **columns}, features)
    return notes_of(path)


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint8(), pa.uint64(), pa.float32(), pa.float64(), pa.decimal128(5, 0), None]
)
def test_missing_classes_are_the_class_none_whatever_holds_the_numbers(tmp_path, kind):
    """pandas makes floats of whole numbers among which some are missing."""
    column = pa.array([1, 0, None] * 2, kind) if kind else pa.array([True, False, None] * 2)
    names, values = label_of(tmp_path, column, IMAGE)
    assert names == ("cat", "dog", "(none)")
    assert values.tolist() == [1, 0, 2] * 2


def test_fractions_are_no_classes(tmp_path):
    for wrong in (0.5, float("inf")):
        with pytest.raises(ArchiveError, match="holds float64, but its classes have names"):
            label_of(tmp_path, pa.array([0.0, wrong, 1.0] * 2), IMAGE)


def test_texts_may_be_of_any_type(tmp_path):
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string())):
        column = pa.array(["b", None, "a"] * 2, pa.string()).cast(kind)
        names, values = label_of(tmp_path, column)
        assert (names, values.tolist()) == (("a", "b", "(none)"), [1, 2, 0] * 2)


def test_columns_without_a_value_are_no_labels(tmp_path):
    for kind in (pa.null(), pa.int32(), pa.string()):
        assert label_of(tmp_path, pa.nulls(6, kind)) == [
            "t.parquet: column 'label' is left out, since it has no values"
        ]


def test_decimals_that_floats_do_not_tell_apart_are_left_out(tmp_path):
    names, values = label_of(tmp_path, pa.array([decimal.Decimal("0.1"), None, decimal.Decimal("2.25")] * 2))
    np.testing.assert_array_equal(values, [0.1, NAN, 2.25] * 2)
    assert names is None
    exact = [decimal.Decimal(10**17 + k) for k in range(6)]
    assert "more digits than the 15" in label_of(tmp_path, pa.array(exact))[0]
    names, values = label_of(tmp_path, pa.array([decimal.Decimal(k) for k in range(6)], pa.decimal128(38, 0)))
    assert values.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([0, 1, 0], ["x", "y", "x"], "is numbers in one file, but texts in another one"),
        (["x", "y", "x"], [0, 1, 0], "is texts in one file, but numbers in another one"),
        ([5, 1, 5], [True, False, True], "is numbers in one file, but truth values in another one"),
        (["x", "y", "x"], [[1]] * 3, "is texts in one file, but list<element: int64> in another one"),
        ([1, 2, 1], [datetime.datetime(2020, 1, 1)] * 3, "is numbers in one file, but timestamp"),
    ],
)
def test_a_column_of_two_kinds_is_no_label(tmp_path, first, second, reason):
    """Numbers of one file may not become places among the texts of another one."""
    source, notes = two_files(tmp_path, {"label": first}, {"label": second})
    assert source.labels == {}
    assert reason in source.provenance["columns_left_out"]["label"]
    assert any("'label' is left out" in note for note in notes)


@pytest.mark.parametrize("turned", [False, True])
def test_a_file_that_lacks_all_values_has_no_type_for_them(tmp_path, turned):
    nothing = pa.nulls(3)
    for k, (values, features, names, expected, missing) in enumerate(
        [
            (["y", "x", "y"], None, ("x", "y", "(none)"), [1, 0, 1], [2, 2, 2]),
            ([1, 0, 1], IMAGE, ("cat", "dog", "(none)"), [1, 0, 1], [2, 2, 2]),
            ([7, 8, 9], None, None, [7, 8, 9], [NAN] * 3),
        ]
    ):
        parts, wanted = [{"label": values}, {"label": nothing}], [expected, missing]
        if turned:
            parts, wanted = parts[::-1], wanted[::-1]
        source, _ = two_files(tmp_path / str(k), *parts, features)
        assert source.labels["label"].names == names
        np.testing.assert_array_equal(source.labels["label"].values, np.concatenate(wanted))


def test_a_column_that_the_first_file_lacks_is_told(tmp_path):
    source, notes = two_files(tmp_path, {}, {"label": [0, 1, 0]})
    assert source.labels == {}
    assert any("'label' is left out, since it is in train/train-00001-of-00002, but not in" in note for note in notes)


def test_what_versions_of_a_library_say_differently_of_a_column_is_no_contradiction(tmp_path):
    """Files of one data set may have been written years apart."""
    for k, features in enumerate(
        [
            {"image": {"_type": "Image"}, "word": {"dtype": "string", "_type": "Value"}},
            {"image": {"mode": None, "_type": "Image"}, "word": {"dtype": "large_string", "_type": "Value"}},
        ]
    ):
        columns = {"image": files(ENCODED[3 * k : 3 * k + 3]), "word": ["a", "b", "a"]}
        write(tmp_path / f"train-0000{k}-of-00002.parquet", columns, features)
    source, _ = notes_of(tmp_path)
    assert source.labels["word"].values.tolist() == [0, 1, 0] * 2
    assert np.array_equal([source.read(k) for k in range(6)], pictures(6))


@pytest.mark.parametrize("first", [[], [None] * 3])
def test_the_kind_of_a_column_is_found_behind_files_without_values(tmp_path, first):
    write(tmp_path / "train-00000-of-00002.parquet", {"image": files(first)})
    write(tmp_path / "train-00001-of-00002.parquet", {"image": files(ENCODED)})
    source, _ = notes_of(tmp_path, max_rejects=0.5)
    assert np.array_equal(source.read(0), pictures(6)[0])
    assert len(source.rejects) == len(first)


def test_the_kind_of_a_column_is_found_behind_many_missing_rows(tmp_path):
    path = write(tmp_path / "t.parquet", {"image": pa.array([None] * 150 + [{"bytes": ENCODED[5]}] * 150, BYTES)})
    source, _ = notes_of(path, max_rejects=0.6)
    assert np.array_equal(source.read(0), pictures(6)[5])


def test_bytes_may_be_views(tmp_path):
    source, _ = notes_of(write(tmp_path / "t.parquet", {"image": pa.array(ENCODED, pa.binary_view())}))
    assert np.array_equal([source.read(k) for k in range(6)], pictures(6))


def test_ids_may_be_of_any_text_type_and_must_be_there(tmp_path):
    for kind in (pa.string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        key = pa.array([f"k{k}" for k in range(6)]).cast(kind)
        path = write(tmp_path / "t.parquet", {"image": files(ENCODED), "key": key})
        assert notes_of(path, ids="key")[0].ids == [f"k{k}" for k in range(6)]
    for wrong in ("name", "image.name"):
        with pytest.raises(ArchiveError, match=rf"has no column '{wrong}', expected one of 'image', 'key'"):
            notes_of(path, ids=wrong)


@pytest.mark.parametrize(
    ("kinds", "dtype"),
    [
        ((pa.uint8(), pa.int64()), np.int64),
        ((pa.uint8(), pa.float32()), np.float32),
        ((pa.float32(), pa.float64()), np.float64),
    ],
)
def test_arrays_of_two_number_types_keep_all_values(tmp_path, kinds, dtype):
    """A value of 300 in the second file is none of the bytes that the first one has."""
    rows = [[[0, 1, 5]] * 3, [[0, 300 if kinds[1] == pa.int64() else 0.25, 1]] * 3]
    for number in (0, 1):
        column = pa.array(rows[number], pa.list_(kinds[number]))
        write(tmp_path / f"train-0000{number}-of-00002.parquet", {"x": column})
    source = open_huggingface(tmp_path)
    assert source.values.dtype == dtype
    found = np.concatenate([source.values[0:1], source.values[3:4]])
    np.testing.assert_array_equal(found, [rows[0][0], rows[1][0]])


def test_arrays_beside_texts_or_truth_values_are_refused(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", {"x": [[0, 1, 5]] * 3})
    write(tmp_path / "train-00001-of-00002.parquet", {"x": [["a", "b", "c"]] * 3})
    with pytest.raises(ArchiveError, match="has no column 'x' of lists of numbers, expected one as in other files"):
        open_huggingface(tmp_path)
    write(tmp_path / "train-00001-of-00002.parquet", {"x": [[True, False, True]] * 3})
    with pytest.raises(ArchiveError, match="truth values in some files and numbers in others: int64 in train"):
        open_huggingface(tmp_path)


@pytest.mark.parametrize("first", [None, [], [None, 1.0, 2.0]])
def test_a_first_row_that_is_no_array_is_a_reject(tmp_path, first):
    rows = [first] + [[0.0, k / 9, 1.0] for k in range(1, 10)]
    source = open_huggingface(write(tmp_path / "t.parquet", {"x": rows}), max_rejects=0.1)
    assert [reject.member for reject in source.rejects] == ["t/0"]
    np.testing.assert_allclose([source.read(k)[1, 0] for k in range(9)], [k / 9 for k in range(1, 10)], rtol=1e-6)
