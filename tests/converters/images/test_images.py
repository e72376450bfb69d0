import numpy as np
import pytest

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
