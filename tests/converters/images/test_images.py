import numpy as np
import pytest

from converters.folders import folder_splits_and_classes
from converters.images import celeba, images
from converters.images.images import open_images
from functa_store.cli.convert import options_from, preset_from
from functa_store.cli.main import parse
from functa_store.errors import ArchiveError, ConfigError
from functa_store.sources.options import SurveyOptions


def test_folders_of_images_become_classes(pack, encode_image):
    names = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/deep/1.png"]
    source = open_images(pack({name: encode_image() for name in names}), resolution=4)
    assert source.labels["class"].names == ("cat", "dog", "dog/deep")
    assert source.labels["class"].values.tolist() == [0, 0, 1, 2]


def test_one_folder_is_no_class():
    assert folder_splits_and_classes(["all/1.png", "all/2.png"]) == (None, None)
    assert folder_splits_and_classes(["1.png"]) == (None, None)


def read_folders(names):
    """Split (or None) and class names and numbers of images that have classes."""
    split, classes = folder_splits_and_classes(names)
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
    split, classes = folder_splits_and_classes(["test/1.png", "train/1.png"])
    assert classes is None
    np.testing.assert_array_equal(split, ["test", "train"])


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
            folder_splits_and_classes(order)
    split, _ = folder_splits_and_classes(names, others=True)
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
    found, label = folder_splits_and_classes(names)
    assert (None if found is None else found.tolist()) == split
    assert (None if label is None else label.names) == classes


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_an_option_says_what_becomes_of_what_has_no_split(pack, encode_image, kind):
    files = {f"{place}/{k}.png": encode_image(k) for place in ("train", "test", "unlabeled") for k in range(3)}
    path, notes = pack(files, kind), []
    with pytest.raises(ArchiveError, match=r"unlabeled \(3\)\. Say what becomes of these by --unsplit leave-out or"):
        open_images(path, resolution=4)
    source = open_images(path, resolution=4, unsplit="leave-out", report=notes.append)
    assert source.split.tolist() == ["test"] * 3 + ["train"] * 3
    assert [reject.member for reject in source.rejects] == [f"unlabeled/{k}.png" for k in range(3)]
    assert "3 images are left out" in str(notes)
    source = open_images(path, resolution=4, unsplit="train")
    assert source.split.tolist() == ["test"] * 3 + ["train"] * 6
    assert source.labels["class"].names == (".", "unlabeled")


MASKED = {
    "CelebAMask-HQ": ([f"HQ-img/{k}.jpg" for k in range(12)], [f"mask-anno/0/{k:05}_hair.png" for k in range(10)]),
    "VOC": ([f"JPEGImages/2007_{k}.jpg" for k in range(5)], [f"SegmentationClass/2007_{k}.png" for k in range(4)]),
    "splits": ([f"train/images/{k}.png" for k in range(5)], [f"train/masks/{k}.png" for k in range(5)]),
    "beside": ([f"p{k}.png" for k in range(5)], [f"p{k}_mask.png" for k in range(5)]),
}


@pytest.mark.parametrize("layout", MASKED)
def test_masks_beside_their_pictures_are_no_examples(pack, encode_image, layout):
    pictures, masks = MASKED[layout]
    suffixes = {".jpg": "JPEG", ".png": "PNG"}
    path = pack({name: encode_image(k, fmt=suffixes[name[-4:]]) for k, name in enumerate([*pictures, *masks])})
    notes = []
    source = open_images(path, resolution=4, report=notes.append)
    assert source.ids == sorted(pictures)
    assert sorted(reject.member for reject in source.rejects) == sorted(masks)
    assert f"{len(masks)} images are left out, since each is a mask of a picture beside it" in str(notes)
    assert source.labels == {}
    assert len(open_images(path, resolution=4, masks="take").ids) == len(pictures) + len(masks)


def test_a_folder_called_labels_without_namesakes_is_a_class(pack, encode_image):
    path = pack({f"{place}/{place[0]}{k}.png": encode_image(k) for place in ("bottles", "labels") for k in range(5)})
    source = open_images(path, resolution=4)
    assert source.labels["class"].names == ("bottles", "labels")
    assert source.rejects == []


def test_a_limit_that_reaches_no_training_example_says_how_far_to_go(pack, encode_image):
    path = pack({f"{split}/{k}.png": encode_image() for split in ("test", "train") for k in range(5)})
    with pytest.raises(ArchiveError, match=r"none of the 3 images .* starts at image 6; raise the limit"):
        open_images(path, limit=3)
    source = open_images(path, limit=8)
    assert source.split.tolist() == ["test"] * 5 + ["train"] * 3
    assert source.provenance["split"] == "published by folders (test, train)"


@pytest.mark.parametrize("kind", ["images", "celeba"])
def test_the_command_line_options_reach_the_source(pack, encode_image, kind):
    path = str(pack({f"{k}.png": encode_image() for k in range(10)}))
    line = ["--resolution=6", "--crop=0.5", "--mode=grey", "--background=#000", "--max-pixels=900"]
    args = parse(["convert", kind, path, "out.functa", "--max-rejects=0.1", *line])
    options = options_from(args, preset_from(args))
    events = []
    source = args.converter.open(path, options, SurveyOptions(max_rejects=0.1), events.append)
    assert source.read(0).shape == (6, 6, 1)
    assert source.provenance["max_pixels"] == 900
    assert np.count_nonzero(source.split == "test") == 1
    assert events[-1].done == 10


@pytest.mark.parametrize("converter", [images.converter, celeba.converter])
def test_presets_name_themselves_and_only_options_of_their_converter(converter):
    for name, preset in converter.presets.items():
        assert preset.config.preset == name
        converter.options(**preset.source)


def test_a_share_is_held_out_evenly(pack, encode_image):
    path = pack({f"{k:02}.png": encode_image(k) for k in range(20)})
    source = open_images(path, resolution=4, holdout=0.25)
    assert np.flatnonzero(source.split == "test").tolist() == [3, 7, 11, 15, 19]
    assert source.provenance["split"] == "a share of 0.25 held out, evenly"
    tenth = open_images(path, resolution=4, holdout=0.1)
    np.testing.assert_array_equal(tenth.split, open_images(path, resolution=4).split)
    for options in ({"holdout": 1.0}, {"holdout": 0.0}, {"split_column": "fold"}):
        with pytest.raises(ConfigError):
            open_images(path, **options)
