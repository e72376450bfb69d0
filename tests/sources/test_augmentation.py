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
from functa_store.errors import ArchiveError, ConfigError
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
        (("7",), False),
        (("left kidney", "spleen"), False),
        (("LeftHand", "Face"), False),
        (("turnLeft", "stop"), False),
        (("eye_L", "eye_R"), False),
        (("eyeL", "eyeR"), False),
        (("eye-l", "eye-r"), False),
        (("LEFT2", "rest"), False),
        (("R2D2", "L4"), True),
        (("upright", "cleft"), True),
        (("ball", "car"), True),
        (("kidney_right", "spleen"), False),
        (("bright", "dark"), True),
    ],
)
def test_pictures_whose_classes_tell_left_from_right_are_not_flipped_unless_asked_for(classes, flips):
    source, notes = pictures(classes=classes), []
    found = functa_store.augmented(source, 20, report=notes.append)
    assert found.augmentations.flip.any() == flips
    assert found.provenance["augment_flip"] == ("horizontal" if flips else "none")
    said = "half of the augmentations are flipped, since no name of a class tells left from right; --augment-flip none"
    assert len(notes) == 1
    assert (said if flips else "augmentations are not flipped, since ") in notes[0].message
    assert flips or "--augment-flip horizontal" in notes[0].message
    assert functa_store.augmented(source, 20, flip="horizontal").augmentations.flip.any()


def test_an_id_that_an_augmentation_would_have_is_a_clear_error():
    source = pictures(count=4)
    source.ids = ["a", "a~1", "b", "c"]
    with pytest.raises(ArchiveError, match="'a~1' is the id of an example, and that of augmentation 1 of 'a'; rename"):
        functa_store.augmented(source, 1)


def test_what_has_no_pictures_is_refused():
    data = [np.zeros((6, 6, 3), np.uint8)] * 4
    sources = [functa_store.from_torch(data), functa_store.from_torch(data, mode="rgb"), ArraySource(np.stack(data))]
    for source in sources:
        with pytest.raises(ConfigError, match="are made of pictures, and examples are no pictures"):
            functa_store.augmented(source, 1, flip="horizontal", crop=1)


def test_arrays_among_pictures_are_rejects_and_not_found_while_learning():
    data = [Image.new("RGB", (6, 6))] * 19 + [np.zeros((6, 6, 3), np.uint8)]
    source = functa_store.from_torch(data, channels_axis="last", max_rejects=0.1)
    assert [(reject.member, reject.reason) for reject in source.rejects] == [
        ("19", "cannot be read: is ndarray, but the first example is a picture")
    ]


def test_augmenting_reads_no_augmentation(monkeypatch):
    source = pictures()
    monkeypatch.setattr(type(source), "read_part", lambda *_: pytest.fail("read"))
    assert len(functa_store.augmented(source, 2).ids) == 12 + 2 * 11


def test_what_is_augmented_already_is_refused():
    with pytest.raises(ConfigError, match="has augmentations already; augment the source that these were made of"):
        functa_store.augmented(functa_store.augmented(pictures(), 1), 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num": 0}, "^num must be from 1 to 1000, got 0"),
        ({"num": -1}, "^num must be from 1 to 1000, got -1"),
        ({"num": 2**40}, r"^num must be below 2\*\*32"),
        ({"crop": float("nan")}, "^crop must be finite"),
        ({"crop": 2}, r"^crop must be a share in \(0, 1\], got 2"),
        ({"seed": -1}, "^seed must be from 0 to 4294967295, got -1"),
        ({"crop": 1, "num": 2}, "^num=2 with flip='auto' and crop=1 would give copies"),
        ({"crop": 1, "flip": "none"}, "^num=1 with flip='none' and crop=1 would give copies"),
    ],
)
def test_messages_name_the_arguments_of_the_call(arguments, words):
    with pytest.raises(ConfigError, match=words):
        functa_store.augmented(pictures(), **({"num": 1} | arguments))


def test_what_is_not_cropped_is_the_mirrored_picture_once():
    source = pictures(count=40)
    found = functa_store.augmented(source, 1, crop=1)
    assert found.augmentations.flip[40:].all()
    for row in range(40, len(found.ids)):
        whole = source.read(int(found.augmentations.of[row]))
        np.testing.assert_array_equal(found.read(row), whole[:, ::-1])
    with pytest.raises(ConfigError, match="would give copies"):
        functa_store.augmented(pictures(classes=("left", "right")), 1, crop=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"augment": -1}, "augment must be from 0 to 1000, got -1"),
        ({"augment": 1001}, "augment must be from 0 to 1000, got 1001"),
        ({"augment": 1, "augment_crop": 0}, r"augment_crop must be a share in \(0, 1\], got 0"),
        ({"augment": 1, "augment_crop": 1.5}, r"augment_crop must be a share in \(0, 1\], got 1.5"),
        ({"augment": 1, "augment_seed": -1}, "augment_seed must be from 0"),
        ({"augment": 1, "augment_flip": "none", "augment_crop": 1}, "would give copies"),
        ({"augment": 50, "augment_flip": "horizontal", "augment_crop": 1}, "has one other version, the mirrored one"),
        ({"augment": 2, "augment_crop": 1}, "^augment=2 with augment_flip='auto' and augment_crop=1 would give copies"),
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


def test_arrays_that_say_of_no_example_that_it_is_an_augmentation_are_refused():
    whole = {"flip": np.zeros(5, bool), "top": np.zeros(5, np.float32), "left": np.zeros(5, np.float32)}
    found = Augmentations(of=np.arange(5), side=np.ones(5, np.float32), **whole)
    assert list(augmentation_problems(found, SPLIT, LABELS)) == [
        "no example is an augmentation, so that nothing is to be said of augmentations"
    ]


def test_originals_come_first():
    order = [0, 1, 3, 2, 4]
    arrays = {name: getattr(GOOD, name)[order] for name in ("flip", "top", "left", "side")}
    found = Augmentations(of=np.array([0, 1, 0, 3, 3]), **arrays)
    labels = {name: values[order] for name, values in LABELS.items()}
    assert list(augmentation_problems(found, SPLIT[order], labels)) == [
        "example 3 is an original behind an augmentation, expected all originals first"
    ]


def test_augmentations_of_another_type_are_a_clear_error():
    source = pictures()
    source.augmentations = {"of": np.arange(12)}
    with pytest.raises(ArchiveError, match="its attribute augmentations is dict, expected Augmentations or None"):
        check_source(source)


def test_a_source_of_anybodys_is_checked():
    found = functa_store.augmented(pictures(), 1)
    of = found.augmentations.of.copy()
    of[-1] = len(of)
    found.augmentations = dataclasses.replace(found.augmentations, of=of)
    with pytest.raises(ArchiveError, match="augmentation_of of example 22 is 23, expected 0 to 22"):
        check_source(found)
