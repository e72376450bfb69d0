import numpy as np
import pytest

from converters.folders import folder_splits_and_classes
from converters.images import celeba, images
from converters.images.images import open_images
from functa_store.cli.convert import options_from, preset_from
from functa_store.cli.main import parse
from functa_store.errors import ArchiveError
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


def test_other_folders_beside_the_splits_make_them_classes():
    names = ["extra/1.png", "test/1.png", "train/1.png"]
    assert read_folders(names) == (None, ("extra", "test", "train"), [0, 1, 2])


def test_a_limit_that_reaches_no_training_example_says_how_far_to_go(pack, encode_image):
    path = pack({f"{split}/{k}.png": encode_image() for split in ("test", "train") for k in range(5)})
    with pytest.raises(ArchiveError, match=r"none of the 3 images .* starts at image 6; raise the limit"):
        open_images(path, limit=3)
    source = open_images(path, limit=8)
    assert source.split.tolist() == ["test"] * 5 + ["train"] * 3
    assert source.provenance["split"] == "published"


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
