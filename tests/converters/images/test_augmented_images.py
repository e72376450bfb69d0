"""Augmentations that converters of pictures make, pixel by pixel."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from converters.images.celeba import open_celeba
from converters.images.image_files import ImageOptions, read_image
from converters.images.images import open_images
from converters.images.webdataset import open_webdataset
from converters.pixels.cifar import open_cifar
from converters.pixels.medmnist import open_medmnist
from converters.pixels.mnist import open_mnist
from converters.tables.huggingface import open_huggingface
from functa_store import augmented
from functa_store.errors import ConfigError
from functa_store.sources.augmentation import Augmentation, augmentations_of, originals_of
from tests.kinds import archives

EIGHT = archives.EXAMPLES


@pytest.fixture
def files(encode_image):
    return {f"{k:03}.png": encode_image(k, (40, 30)) for k in range(12)}


def by_pillow(data, size, box, flip):
    """What Pillow makes of the pixels inside a box, left, upper, right and lower edge."""
    image = Image.open(io.BytesIO(data)).resize((size, size), Image.Resampling.LANCZOS, box=box)
    return np.asarray(ImageOps.mirror(image) if flip else image)


def test_a_part_is_taken_of_the_files_pixels_inside_the_crop_and_flipped_afterwards(encode_image):
    data = encode_image(0, (40, 30))
    options = ImageOptions(resolution=8, crop=0.8)  # 24 of 30 pixels, from (8, 3) on
    part = Augmentation(flip=True, top=0.25, left=0.125, side=0.5)
    expected = by_pillow(data, 8, (8 + 3, 3 + 6, 8 + 3 + 12, 3 + 6 + 12), flip=True)
    np.testing.assert_array_equal(read_image(data, options, part), expected)
    assert not np.array_equal(expected, expected[:, ::-1])


def test_what_is_only_flipped_is_the_mirror_of_the_original(encode_image):
    data, options = encode_image(1, (20, 20)), ImageOptions(resolution=20)
    whole = read_image(data, options)
    np.testing.assert_array_equal(read_image(data, options, Augmentation(flip=True)), whole[:, ::-1])
    np.testing.assert_array_equal(read_image(data, options, Augmentation()), whole)


def test_augmented_rows_are_the_parts_that_are_stored(pack, files):
    plain = open_images(pack(files), resolution=8)
    source = open_images(pack(files), resolution=8, augment=3, augment_crop=0.6)
    found = augmentations_of(source)
    assert source.ids[:12] == plain.ids
    assert len(source.ids) == 12 + 3 * 11  # every tenth one is held out
    flips = set()
    for row in range(12, len(source.ids)):
        name = source.ids[found.of[row]]
        assert source.ids[row].startswith(f"{name}~")
        flip, top, left, side = found[row]
        box = (5 + 30 * left, 30 * top, 5 + 30 * left + 30 * side, 30 * top + 30 * side)
        np.testing.assert_array_equal(source.read(row), by_pillow(files[name], 8, box, flip))
        assert 0.6 <= side <= 1
        flips.add(flip)
    assert flips == {True, False}
    for k in range(12):
        np.testing.assert_array_equal(source.read(k), plain.read(k))


def test_without_augmentations_a_source_is_what_it_was(pack, files):
    source = open_images(pack(files), resolution=8)
    assert augmentations_of(source) is None
    assert not [key for key in source.provenance if key.startswith("augment")]
    assert originals_of(source).tolist() == list(range(12))


def test_limits_and_neighbours_do_not_change_an_examples_augmentations(pack, files):
    options = {"resolution": 8, "augment": 2, "augment_seed": 5}
    whole = open_images(pack(files), **options)
    few = open_images(pack(files), limit=4, **options)
    other = open_images(pack({name: data for name, data in files.items() if name > "002"}, name="other"), **options)
    for source in (few, other):
        made = [name for name in source.ids if "~" in name and name in whole.ids]
        assert len(made) >= 8
        for name in made:
            here, there = source.ids.index(name), whole.ids.index(name)
            assert augmentations_of(source)[here] == augmentations_of(whole)[there]
            np.testing.assert_array_equal(source.read(here), whole.read(there))


def test_published_splits_and_classes_are_those_of_the_original(pack, encode_image):
    names = [f"{split}/{animal}/{k}.png" for split in ("train", "test", "val") for animal in "ab" for k in range(2)]
    source = open_images(pack({name: encode_image(k) for k, name in enumerate(names)}), resolution=8, augment=2)
    made = augmentations_of(source)
    rows = np.flatnonzero(~made.are_originals)
    assert [source.split[row] for row in rows] == ["train"] * 8
    assert not made.flip.any()  # classes are called a and b
    np.testing.assert_array_equal(source.labels["class"].values[rows], source.labels["class"].values[made.of[rows]])


@pytest.mark.parametrize(
    ("open_archive", "write", "options"),
    [
        (open_images, archives.images, {"resolution": 8}),
        (open_celeba, archives.images, {"resolution": 8}),
        (open_huggingface, archives.table, {"resolution": 8}),
        (open_webdataset, archives.webdataset, {"resolution": 8}),
        (open_cifar, archives.cifar, {}),
        (open_mnist, archives.mnist, {}),
    ],
)
def test_every_converter_of_pictures_makes_them(tmp_path, open_archive, write, options):
    path = write(tmp_path)
    source = open_archive(path, **options, augment=2)
    train = open_archive(path, **options).split == "train"
    assert len(source.ids) == EIGHT + 2 * train.sum()
    assert source.read(len(source.ids) - 1).shape == source.read(0).shape
    assert source.provenance["augment"] == 2


def test_small_pictures_are_cut_and_kept_at_their_size(tmp_path):
    path = archives.cifar(tmp_path)
    source, plain = open_cifar(path, augment=4, augment_crop=0.5), open_cifar(path)
    found, row = augmentations_of(source), EIGHT + 1
    flip, top, left, side = found[row]
    picture = Image.fromarray(plain.read(int(found.of[row])))
    box = (32 * left, 32 * top, 32 * (left + side), 32 * (top + side))
    expected = np.asarray(picture.resize((32, 32), Image.Resampling.LANCZOS, box=box))
    np.testing.assert_array_equal(source.read(row), expected[:, ::-1] if flip else expected)
    mirrored = open_cifar(path, augment=1, augment_crop=1)
    for k in range(EIGHT, len(mirrored.ids)):
        whole = plain.read(int(augmentations_of(mirrored).of[k]))
        np.testing.assert_array_equal(mirrored.read(k), whole[:, ::-1])


def test_pictures_that_are_not_square_keep_their_shape(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    pixels = np.random.default_rng(0).integers(0, 256, (12, 6, 10), dtype=np.uint8)
    path.write_bytes(b"\0\0\x08\3" + np.array(pixels.shape, ">u4").tobytes() + pixels.tobytes())
    source = open_mnist(path, augment=1, augment_crop=0.5)
    flip, top, left, side = augmentations_of(source)[12]
    assert (flip, source.ids[12]) == (False, "train/00000~1")
    box = (10 * left, 6 * top, 10 * (left + side), 6 * (top + side))
    expected = Image.fromarray(pixels[0]).resize((10, 6), Image.Resampling.LANCZOS, box=box)
    np.testing.assert_array_equal(source.read(12)[..., 0], np.asarray(expected))


def test_digits_and_medical_pictures_are_not_flipped_unless_asked_for(tmp_path):
    path, notes = archives.mnist(tmp_path), []
    named = {"class_names": tuple(f"class {k}" for k in "abcdefghij")}
    for options in ({}, named):
        for source in (
            open_mnist(path, augment=20, report=notes.append, **options),
            open_mnist(path, augment=20, augment_flip="auto", **options),
            augmented(open_mnist(path, **options), 20),
        ):
            assert not augmentations_of(source).flip.any()
            assert source.provenance["augment_flip"] == "none"
    said = (
        "augmentations are not flipped, since digits and letters read otherwise in a mirror; --augment-flip horizontal"
    )
    assert [said in getattr(note, "message", "") for note in notes].count(True) == 2
    for source in (
        open_mnist(path, augment=20, augment_flip="horizontal"),
        augmented(open_mnist(path), 20, flip="horizontal"),
    ):
        assert augmentations_of(source).flip.any()
    with pytest.raises(ConfigError, match="augment_flip='horizontal' needs augment=K"):
        open_mnist(path, augment_flip="horizontal")


def test_medical_pictures_are_cropped_and_not_flipped(tmp_path):
    path, rng = tmp_path / "organamnist.npz", np.random.default_rng(0)
    arrays = {f"{s}_images": rng.integers(0, 256, (n, 9, 9), np.uint8) for s, n in (("train", 6), ("val", 2))}
    arrays |= {f"{s}_labels": np.arange(n, dtype=np.uint8)[:, None] for s, n in (("train", 6), ("val", 2))}
    np.savez_compressed(path, **arrays)
    source = open_medmnist(path, augment=3, augment_crop=0.5)
    assert len(source.ids) == 8 + 3 * 6
    for found in (augmentations_of(source), augmentations_of(augmented(open_medmnist(path), 3, crop=0.5))):
        assert not found.flip.any()
        np.testing.assert_array_equal(found.side, augmentations_of(source).side)
    _, top, left, side = augmentations_of(source)[8]
    box = (9 * left, 9 * top, 9 * (left + side), 9 * (top + side))
    expected = Image.fromarray(arrays["train_images"][0]).resize((9, 9), Image.Resampling.LANCZOS, box=box)
    np.testing.assert_array_equal(source.read(8)[..., 0], np.asarray(expected))
    assert augmentations_of(open_medmnist(path, augment=3, augment_flip="horizontal")).flip.any()


def test_volumes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nodulemnist3d.npz: augmentations are made of pictures, and .* 3 axes"):
        open_medmnist(archives.medmnist(tmp_path), augment=2)
