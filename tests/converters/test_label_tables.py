import dataclasses

import numpy as np
import pytest

from converters.images.images import converter, open_images
from functa_store.errors import ArchiveError
from functa_store.progress import silent
from functa_store.sources.options import SurveyOptions

ROWS = [
    f"{k}.png,{k},{'' if k == 3 else k / 2},{'red' if k % 2 else 'blue'},{'Testing' if k > 7 else 'train'}\n"
    for k in range(10)
]
TABLE = f"file,age,weight,colour,Split\n{''.join(ROWS)}other.png,1,1,red,val\n"


@pytest.fixture
def labelled(pack, encode_image, tmp_path):
    """Opens ten images in two folders, or the folders given, with a table."""

    def opened(content, folders=("a", "b"), **options):
        path = pack({f"{folders[k % len(folders)]}/{k}.png": encode_image(k) for k in range(10)})
        (tmp_path / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return open_images(path, resolution=4, labels=tmp_path / "labels.csv", **options)

    return opened


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_table_beside_the_images_gives_labels_and_splits(labelled, separator, mark):
    notes = []
    source = labelled(mark + TABLE.replace(",", separator).encode(), report=notes.append)
    numbers = [int(name.split("/")[1][0]) for name in source.ids]
    assert sorted(source.labels) == ["age", "class", "colour", "weight"]
    assert source.labels["age"].values.tolist() == numbers
    np.testing.assert_array_equal(source.labels["weight"].values, [np.nan if k == 3 else k / 2 for k in numbers])
    assert source.labels["colour"].names == ("blue", "red")
    assert source.labels["colour"].values.tolist() == [k % 2 for k in numbers]
    assert source.split.tolist() == ["test" if k > 7 else "train" for k in numbers]
    assert source.provenance["split"] == "published in labels.csv, column Split"
    assert source.provenance["labels_by"] == {"class": "folders"} | dict.fromkeys(
        ("age", "weight", "colour"), "labels.csv"
    )
    assert "1 rows are of no image that is taken" in str(notes)


@pytest.mark.parametrize("name", ["{k}", "{k}.png", "{folder}/{k}.png"])
def test_rows_are_found_by_name_in_any_form_and_order(labelled, name):
    rows = [f"{k * 10},{name.format(k=k, folder='ab'[k % 2])}\n" for k in range(10)]
    source = labelled("score,image\n" + "".join(rows[::-1]))
    assert source.labels["score"].values.tolist() == [10 * int(name.split("/")[1][0]) for name in source.ids]
    assert source.provenance["split"] == "every tenth example held out"


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (TABLE.replace("4.png", "44.png"), {}, r"column 'file' has no row for a/4\.png, expected one"),
        (TABLE + "4.png,1,1,red,train\n", {}, r"column 'file' has 2 rows \(the second in line 13\) for a/4\.png"),
        ("x,y\np,q\n", {}, r"found the columns x, y, expected one with names of images such as 0\.png"),
        (
            TABLE,
            {"split_column": "colour"},
            r"column 'colour' says 'blue' for 5 images, expected train, validation or test",
        ),
        (TABLE, {"split_column": "fold"}, r"has no column 'fold' beside the names, expected one of age"),
        (TABLE, {"holdout": 0.2}, r"splits are published in labels\.csv, column Split; leave out holdout"),
        (TABLE.replace("age", "a/b"), {}, r"column 'a/b' has the name"),
        (b"\xff\xfe\x00", {}, r"is no table that can be read"),
        (b"", {}, r"is no table that can be read"),
        (TABLE.replace("3.png,3,,", "3.png,3,"), {}, r"line 5 has 4 cells, expected 5"),
        (TABLE.replace("red,train\n", "red,train,7\n", 1), {}, r"line 3 has 6 cells, expected 5"),
        (TABLE.replace("weight", "age"), {}, r"has two columns 'age'"),
        (TABLE.replace("red,train", "red,", 1), {}, r"column 'Split' says '' for 1 images, .* rename the column"),
        (TABLE.replace("weight", "set").replace(",0.5,", ",0.0\0,"), {}, r"holds the character NUL"),
        (
            "name,set,split\n" + "".join(f"{k}.png,train,{'test' if k == 3 else 'train'}\n" for k in range(10)),
            {},
            r"columns 'set' and 'split' both say splits, and differ for 1 images; name one by --split-column",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused(labelled, content, options, words):
    with pytest.raises(ArchiveError, match=words):
        labelled(content, **options)


def test_a_table_that_contradicts_the_folders_is_refused(labelled):
    with pytest.raises(ArchiveError, match=r"says train of test/1\.png, which lies in a folder of test, and differs"):
        labelled(TABLE, folders=("train", "test"))


def test_a_source_with_a_table_comes_again_from_what_is_kept_of_it(labelled, tmp_path):
    source = labelled(TABLE, split_column="Split", masks="take")
    kept = converter.options.from_plain(source.provenance)
    assert (kept.split_column, kept.masks, kept.labels) == ("Split", "take", None)
    options = dataclasses.replace(kept, labels=str(tmp_path / "labels.csv"))
    again = converter.open(str(tmp_path / "archive.zip"), options, SurveyOptions(), silent)
    assert again.provenance == source.provenance
    assert again.split.tolist() == source.split.tolist()


def one_column(cells, head="x", separator=","):
    return f"name{separator}{head}\n" + "".join(f"{k}.png{separator}{cell}\n" for k, cell in enumerate(cells))


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        (["1_0", "10", *"12345678"], True),
        (["01234", "1234", *"12345678"], True),  # codes, of which numbers would be the same
        ([str(10**20 + 1), str(10**20), *"12345678"], True),
        ([str(2**53 + 1), "", *"12345678"], True),
        (["\u0661", "\u0662", *"12345678"], True),
        (["9" * 500, *"123456789"], True),
        (["010", "009", *"12345678"], False),
        ([str(2**53 + 1), str(2**53), *"12345678"], False),
        (["NA", "n/a", "null", "", "NaN", "1.5", "-inf", "1e3", ".5", "+2"], False),
    ],
)
def test_cells_are_numbers_only_if_these_keep_them_apart(labelled, cells, texts):
    label = labelled(one_column(cells), folders=("a",)).labels["x"]
    if texts:
        assert [label.names[k] for k in label.values] == cells
        return
    missing = ("NA", "n/a", "null", "", "NaN")
    expected = [np.nan if cell in missing else float(cell) if "." in "".join(cells) else int(cell) for cell in cells]
    assert label.names is None
    np.testing.assert_array_equal(label.values, expected)


def test_blanks_and_a_separator_at_the_end_of_lines_change_nothing(labelled):
    """A published split is not lost to a blank, and no column is moved under the title of another one."""
    padded = TABLE.replace(",", " , ")
    plain, blanks = labelled(TABLE), labelled(padded)
    trailing = labelled("\n".join([TABLE.split("\n")[0], *(f"{row}," for row in TABLE.split("\n")[1:] if row), ""]))
    index = [f"{k if k else ''},{row}" for k, row in enumerate(TABLE.split("\n")[:-1])]
    for other in (blanks, trailing, labelled("\n".join(index))):
        assert other.split.tolist() == plain.split.tolist()
        assert sorted(other.labels) == sorted(plain.labels)
        np.testing.assert_array_equal(other.labels["weight"].values, plain.labels["weight"].values)


def test_rows_name_images_as_windows_does(labelled):
    rows = "".join(f".\\{'ab'[k % 2]}\\{k}.png,{k}\n" for k in range(10))
    source = labelled(f"file,score\n{rows}".replace(".\\", "./"))
    assert source.labels["score"].values.tolist() == [int(name.split("/")[1][0]) for name in source.ids]


def test_a_table_of_utf16_is_read(labelled):
    assert labelled(TABLE.encode("utf-16")).labels["colour"].names == ("blue", "red")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (one_column("0123456789", "split"), "column split says '0', which names no split, so that it is taken for a l"),
        (one_column([f"{k}" * 2000 for k in "abcdefghij"]), "column x is no label: it holds texts of up to 2,000"),
        (one_column("ababababab", "class"), "column class takes the place of the class that folders say"),
        (one_column("ababababab", ""), "a column without a title is left out"),
    ],
)
def test_what_is_doubtful_in_a_table_is_said(labelled, content, words):
    notes = []
    labelled(content, report=notes.append)
    assert words in str(notes)
