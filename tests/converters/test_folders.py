import numpy as np
import pytest

from converters.folders import FolderLayout, group_by_files
from functa_store.errors import ArchiveError


@pytest.mark.parametrize("names", [["all/1.png", "all/2.png"], ["1.png"]])
def test_one_folder_is_no_class(names):
    layout = FolderLayout.of(names)
    assert (layout.published, layout.classes, layout.words, layout.outside) == (None, None, [], [])
    assert layout.published_by == "none"


def read_folders(names):
    """Split (or None) and class names and numbers of images that have classes."""
    layout = FolderLayout.of(names).without_outside()
    split, classes = layout.published, layout.classes
    assert classes is not None
    return None if split is None else split.tolist(), classes.names, classes.values.tolist()


def test_images_beside_the_folders_are_a_class_of_their_own():
    assert read_folders(["1.png", "cat/1.png"]) == (None, (".", "cat"), [0, 1])


@pytest.mark.parametrize("above", ["", "imagenette/", "data/v2/"])
def test_top_level_folders_named_as_splits_are_the_published_splits(above):
    names = ["Val/cat/1.png", "test/dog/1.png", "train/cat/1.png", "train/dog/1.png"]
    split = ["validation", "test", "train", "train"]
    assert read_folders([above + name for name in names]) == (split, ("cat", "dog"), [0, 1, 0, 1])


def test_splits_without_classes_have_no_label():
    layout = FolderLayout.of(["test/1.png", "train/1.png"])
    assert layout.classes is None
    np.testing.assert_array_equal(layout.published, ["test", "train"])
    assert layout.published_by == "published by folders (test, train)"


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        (["train/a/1.png", "test/a/2.png", "preview.png"], r"1 of 3 files lie in none of them: preview\.png \(1\)"),
        (["train/1.png", "val/2.png", "unlabeled/3.png", "unlabeled/4.png"], r"2 of 4 .*: unlabeled \(2\)"),
        (["cat/train/1.png", "cat/test/1.png", "dog/1.png"], r"1 of 3 .*: dog \(1\)"),
    ],
)
def test_what_lies_in_no_folder_of_a_split_is_asked_about(names, odd):
    for order in (names, names[::-1]):
        with pytest.raises(ArchiveError, match=odd):
            FolderLayout.of(order).without_outside()
    split = FolderLayout.of(names).published
    assert split.tolist()[-1] == "train"
    assert "train" not in split.tolist()[1:2]


@pytest.mark.parametrize(
    ("names", "split", "classes"),
    [
        (["Testing/1.png", "Training/1.png"], ["test", "train"], None),
        (["test_set/cat/1.png", "training_set/cat/1.png"], ["test", "train"], None),
        (["cat/test/1.png", "cat/train/1.png", "dog/train/1.png"], ["test", "train", "train"], ("cat", "dog")),
        (["train2017/1.png", "val2017/1.png"], ["train", "validation"], None),
        (["seg_test/sea/1.png", "seg_train/ice/1.png"], ["test", "train"], ("ice", "sea")),
        (["valid_64x64/1.png", "train_64x64/1.png"], ["validation", "train"], None),
        (["bus/1.png", "car/1.png", "train/1.png"], None, ("bus", "car", "train")),
        (["contest/1.png", "latest/1.png", "retrain/1.png"], None, ("contest", "latest", "retrain")),
    ],
)
def test_splits_go_by_many_names_and_at_any_level(names, split, classes):
    """A vehicle called train is a class: no held-out split lies beside it."""
    layout = FolderLayout.of(names).without_outside()
    assert (None if layout.published is None else layout.published.tolist()) == split
    assert (None if layout.classes is None else layout.classes.names) == classes


def test_examples_of_one_file_are_held_out_together():
    groups = group_by_files([f"{k:02}.wav" for k in range(11) for _ in range(2)], "file", "window")
    assert np.flatnonzero(groups.split == "test").tolist() == [18, 19]
    assert groups.rule == "every tenth file held out"
    assert groups.labels["file"].values.tolist() == [k for k in range(11) for _ in range(2)]
    assert groups.labels_by == {"file": "files"}


def test_files_in_folders_give_splits_and_classes_of_their_examples():
    places = ["test/cat/a.wav", "train/cat/b.wav", "train/dog/c.wav", "train/dog/c.wav"]
    groups = group_by_files(places, "file", "window")
    assert groups.split.tolist() == ["test", "train", "train", "train"]
    assert groups.rule == "published by folders (test, train)"
    assert groups.labels["class"].values.tolist() == [0, 0, 1, 1]
    assert groups.labels["class"].names == ("cat", "dog")
    assert groups.labels_by == {"file": "files", "class": "folders"}


def test_of_few_files_the_last_examples_are_held_out():
    groups = group_by_files(["a.wav"] * 10, "file", "window")
    assert np.flatnonzero(groups.split == "test").tolist() == [9]
    assert groups.rule == "last tenth of the windows held out"
    assert group_by_files(["a.wav"], "file", "window").split.tolist() == ["train"]
    assert len(group_by_files([], "file", "window").split) == 0
