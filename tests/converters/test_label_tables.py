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
        (TABLE, {"split_column": "colour"}, r"column 'colour' says 'blue', expected train, validation or test"),
        (TABLE, {"split_column": "fold"}, r"has no column 'fold' beside the names, expected one of age"),
        (TABLE, {"holdout": 0.2}, r"splits are published in labels\.csv, column Split; leave out holdout"),
        (TABLE.replace("age", "a/b"), {}, r"column 'a/b' has the name"),
        (b"\xff\xfe\x00", {}, r"is no table that can be read"),
        (b"", {}, r"is no table that can be read"),
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
