"""Augmentations as a seed and an id draw them, and sources that have them."""

import dataclasses
import hashlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import functa_store
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.sources.array_source import ArraySource
from functa_store.sources.augmentation import (
    WHOLE,
    Augmentation,
    Augmentations,
    augmentation_problems,
    originals_of,
)
from functa_store.sources.augmentation import draw as draw_all
from functa_store.sources.augmented_source import AugmentOptions
from functa_store.sources.source import check_source, origin


class Pictures:
    """PIL pictures with classes, as a data set of PyTorch's."""

    def __init__(self, count: int = 12, classes: tuple[str, ...] = ("cat", "dog")) -> None:
        self.classes = list(classes)
        self._pixels = np.random.default_rng(0).integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self._pixels[index]), index % len(self.classes)


def draw(seed, example, number, *, flips, smallest):
    """The last one of so many augmentations of an example."""
    found = draw_all(seed, [example], number, flips=flips, smallest=smallest)
    return Augmentation(*(found[name][-1].item() for name in Augmentation._fields))


def pictures(**options):
    return functa_store.from_torch(Pictures(**options), resolution=6)


def test_an_augmentation_is_the_digest_of_seed_number_and_id():
    flip, side, top, left = (
        int.from_bytes(hashlib.sha256(b"7/2/faces/1.png").digest()[8 * k : 8 * k + 8], "little") / 2**64
        for k in range(4)
    )
    found = draw(7, "faces/1.png", 2, flips=True, smallest=0.5)
    share = 0.5 + 0.5 * side
    assert found.flip == (flip < 0.5)
    np.testing.assert_allclose(found[1:], (top * (1 - share), left * (1 - share), share), rtol=1e-6)
    assert draw(7, "faces/1.png", 2, flips=False, smallest=1.0) == WHOLE
    assert draw(0, "a", 1, flips=True, smallest=0.875) == Augmentation(
        flip=False, top=0.009785857051610947, left=0.015614038333296776, side=0.9841910004615784
    )


def test_half_are_flipped_and_sides_and_places_are_spread_evenly():
    drawn = [draw(0, str(k), 1, flips=True, smallest=0.6) for k in range(2000)]
    sides, places = np.array([one.side for one in drawn]), np.array([one.top / (1 - one.side) for one in drawn])
    assert 0.46 < np.mean([one.flip for one in drawn]) < 0.54
    np.testing.assert_allclose(np.quantile(sides, [0, 0.25, 0.5, 0.75, 1]), [0.6, 0.7, 0.8, 0.9, 1], atol=0.02)
    np.testing.assert_allclose(np.quantile(places, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.04)


@given(st.text(), st.integers(1, 9), st.floats(0.01, 1), st.integers(1, 4000), st.integers(1, 4000))
def test_every_part_is_inside_its_window(example, number, smallest, width, height):
    part = draw(0, example, number, flips=True, smallest=smallest)
    left, upper, right, lower = part.within((3, 5, 3 + width, 5 + height))
    assert 3 <= left < right <= 3 + width
    assert 5 <= upper < lower <= 5 + height


def test_originals_keep_their_rows_and_augmentations_of_each_follow_together():
    source = pictures()
    found = functa_store.augmented(source, 2)
    train = np.flatnonzero(source.split == "train")
    assert len(source.ids) == 12
    assert len(train) == 11
    assert found.ids == [*source.ids, *(f"{source.ids[row]}~{k}" for row in train for k in (1, 2))]
    of = np.concatenate([np.arange(12), np.repeat(train, 2)])
    np.testing.assert_array_equal(found.augmentations.of, of)
    np.testing.assert_array_equal(found.split, source.split[of])
    np.testing.assert_array_equal(found.labels["class"].values, source.labels["class"].values[of])
    assert found.labels["class"].names == ("cat", "dog")
    assert set(found.split[12:]) == {"train"}
    np.testing.assert_array_equal(found.read(4), source.read(4))
    for row in (12, 17):
        np.testing.assert_array_equal(found.read(row), source.read_part(int(of[row]), found.augmentations[row]))
    np.testing.assert_array_equal(originals_of(found), np.arange(12))
    said = {"augment": 2, "augment_flip": "horizontal", "augment_crop": 0.875, "augment_seed": 0}
    assert said.items() <= found.provenance.items()
    assert "1 test, 11 train; 22 augmentations of train; label class by the data set: 6 cat, 6 dog" in origin(found)


def test_an_examples_augmentations_depend_on_its_id_and_the_seed_alone():
    few, many = (functa_store.augmented(pictures(count=count), 3) for count in (5, 12))
    for name in few.ids:
        if "~" in name:
            assert few.augmentations[few.ids.index(name)] == many.augmentations[many.ids.index(name)]
    other = functa_store.augmented(pictures(count=5), 3, seed=1)
    assert other.ids == few.ids
    assert (other.augmentations.top[5:] != few.augmentations.top[5:]).all()


@pytest.mark.parametrize(
    ("classes", "flips"),
    [
        (("cat", "dog"), True),
        (("0", "1"), False),
        (("0 - zero", "1 - one"), False),
        (("a", "b"), False),
        (("left kidney", "spleen"), False),
        (("kidney_right", "spleen"), False),
        (("bright", "dark"), True),
    ],
)
def test_pictures_whose_classes_tell_left_from_right_are_not_flipped_unless_asked_for(classes, flips):
    source, notes = pictures(classes=classes), []
    found = functa_store.augmented(source, 20, report=notes.append)
    assert found.augmentations.flip.any() == flips
    assert found.provenance["augment_flip"] == ("horizontal" if flips else "none")
    assert [("--augment-flip" in note.message) for note in notes] == [True] * (not flips)
    assert functa_store.augmented(source, 20, flip="horizontal").augmentations.flip.any()


def test_an_id_that_an_augmentation_would_have_is_a_clear_error():
    source = pictures(count=4)
    source.ids = ["a", "a~1", "b", "c"]
    with pytest.raises(ArchiveError, match="'a~1' is the id of an example, and that of augmentation 1 of 'a'; rename"):
        functa_store.augmented(source, 1)


def test_what_has_no_pictures_is_refused():
    arrays = functa_store.from_torch([np.zeros((6, 6, 3), np.uint8)] * 4)
    with pytest.raises(MemberError, match="only PIL pictures are flipped and cropped"):
        functa_store.augmented(arrays, 1)
    with pytest.raises(ConfigError, match="augment=1 is for pictures, and examples have no pictures"):
        functa_store.augmented(ArraySource(np.zeros((4, 6, 6, 3), np.uint8)), 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"augment": -1}, "augment must be from 0 to 1000, got -1"),
        ({"augment": 1001}, "augment must be from 0 to 1000, got 1001"),
        ({"augment": 1, "augment_crop": 0}, r"augment_crop must be a share in \(0, 1\], got 0"),
        ({"augment": 1, "augment_crop": 1.5}, r"augment_crop must be a share in \(0, 1\], got 1.5"),
        ({"augment": 1, "augment_seed": -1}, "augment_seed must be from 0"),
        ({"augment": 1, "augment_flip": "none", "augment_crop": 1}, "would give copies alone"),
        ({"augment_crop": 0.5}, "augment_crop=0.5 needs augment=K"),
        ({"augment_flip": "none"}, "augment_flip='none' needs augment=K"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        AugmentOptions(**options)


def test_options_without_augmentations_leave_provenance_as_it_was():
    assert AugmentOptions().to_plain() == {}
    asked = AugmentOptions(augment=3, augment_crop=0.5)
    assert AugmentOptions.from_plain(asked.to_plain()) == asked


GOOD = Augmentations(
    of=np.array([0, 1, 2, 0, 2]),
    flip=np.array([False, False, False, True, False]),
    top=np.array([0, 0, 0, 0.25, 0], np.float32),
    left=np.array([0, 0, 0, 0.5, 0.1], np.float32),
    side=np.array([1, 1, 1, 0.5, 0.9], np.float32),
)
SPLIT, LABELS = np.array(["train", "test", "train", "train", "train"]), {"age": np.array([1, 2, np.nan, 1, np.nan])}


def changed(name, row, value):
    array = getattr(GOOD, name).copy()
    array[row] = value
    return dataclasses.replace(GOOD, **{name: array})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (changed("of", 3, 5), "augmentation_of of example 3 is 5, expected 0 to 4"),
        (changed("of", 3, -1), "augmentation_of of example 3 is -1, expected 0 to 4"),
        (changed("of", 3, 4), "example 3 is an augmentation of 4, which is itself one of 2"),
        (changed("of", 3, 1), "example 3 is of the split train, but its original 1 of test"),
        (changed("of", 3, 2), "example 3 has the label age 1.0, but its original 2 nan"),
        (changed("of", 1, 0), "example 1 is of the split test, but its original 0 of train"),
        (changed("side", 3, 0), "example 3 is a part that is not inside its picture"),
        (changed("side", 3, np.nan), "example 3 is a part that is not inside its picture"),
        (changed("left", 3, 0.6), "example 3 is a part that is not inside its picture"),
        (changed("top", 3, -0.1), "example 3 is a part that is not inside its picture"),
        (changed("flip", 1, True), "example 1 is an original, but flipped or cropped"),
        (dataclasses.replace(GOOD, of=GOOD.of[:4]), r"int64 of shape \(4,\), expected int64 of shape \(5,\)"),
        (dataclasses.replace(GOOD, top=GOOD.top[:4]), r"augmentation_top is float32 of shape \(4,\)"),
    ],
)
def test_what_contradicts_itself_is_found(wrong, words):
    problem = next(augmentation_problems(wrong, SPLIT, LABELS))
    assert re.search(words, problem), problem


def test_what_agrees_is_no_problem():
    assert list(augmentation_problems(GOOD, SPLIT, LABELS)) == []
    test = np.where(np.isin(GOOD.of, [0]), "test", SPLIT)
    assert "augmentation in the split test, expected train alone" in next(augmentation_problems(GOOD, test, LABELS))


def test_a_source_of_anybodys_is_checked():
    found = functa_store.augmented(pictures(), 1)
    of = found.augmentations.of.copy()
    of[-1] = len(of)
    found.augmentations = dataclasses.replace(found.augmentations, of=of)
    with pytest.raises(ArchiveError, match="augmentation_of of example 22 is 23, expected 0 to 22"):
        check_source(found)
