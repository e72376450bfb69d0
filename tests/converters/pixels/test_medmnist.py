import zipfile

import numpy as np
import pytest

from converters.pixels.medmnist import open_medmnist
from functa_store.errors import ArchiveError, ConfigError
from tests.converters.pixels.files import pixels

COUNTS = {"train": 6, "val": 3, "test": 2}


def arrays(*grid, columns=1):
    found = {}
    for seed, (split, count) in enumerate(COUNTS.items()):
        found[f"{split}_images"] = pixels(count, *grid, seed=seed)
        found[f"{split}_labels"] = pixels(count, columns, seed=seed + 10) % 2
    return found


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("grid", "axes", "channels"),
    [((28, 28), "yx", 1), ((28, 28, 3), "yx", 3), ((28, 28, 1), "yx", 1), ((28, 28, 28), "zyx", 1)],
)
def test_medmnist_is_what_was_published(tmp_path, save, grid, axes, channels):
    given = arrays(*grid)
    save(tmp_path / "bloodmnist.npz", **given)
    source = open_medmnist(tmp_path / "bloodmnist.npz")
    assert source.ids == [f"{s}/{k:05}" for s, n in (("train", 6), ("validation", 3), ("test", 2)) for k in range(n)]
    assert source.split.tolist() == ["train"] * 6 + ["validation"] * 3 + ["test"] * 2
    assert source.domain.axes == tuple(axes)
    assert source.features.num_channels == channels
    pictures = np.concatenate([given[f"{split}_images"] for split in COUNTS])
    np.testing.assert_array_equal(np.stack([source.read(k) for k in range(11)]).reshape(pictures.shape), pictures)
    labels = np.concatenate([given[f"{split}_labels"] for split in COUNTS])
    np.testing.assert_array_equal(source.labels["class"].values, labels[:, 0])
    assert source.provenance["split"] == "published by arrays (test_images, train_images, val_images)"


def test_every_finding_is_a_label(tmp_path):
    given = arrays(28, 28, columns=14)
    np.savez_compressed(tmp_path / "chestmnist.npz", **given)
    source = open_medmnist(tmp_path / "chestmnist.npz")
    assert list(source.labels) == [f"label_{k:02}" for k in range(14)]
    np.testing.assert_array_equal(source.labels["label_13"].values[:6], given["train_labels"][:, 13])
    names = tuple(f"finding {k}" for k in range(14))
    assert list(open_medmnist(tmp_path / "chestmnist.npz", class_names=names).labels) == list(names)
    with pytest.raises(ConfigError, match="has 2 names, expected 14, one for each column"):
        open_medmnist(tmp_path / "chestmnist.npz", class_names=("a", "b"))


def test_an_unpacked_archive_is_the_same(tmp_path):
    given = arrays(28, 28)
    np.savez_compressed(tmp_path / "a.npz", **given)
    zipfile.ZipFile(tmp_path / "a.npz").extractall(tmp_path / "a")
    source = open_medmnist(tmp_path / "a")
    np.testing.assert_array_equal(source.read(7)[..., 0], given["val_images"][1])


def test_classes_can_be_named(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(8, 8))
    assert open_medmnist(tmp_path / "a.npz", class_names=("no", "yes")).labels["class"].names == ("no", "yes")


def test_arrays_as_keras_names_them_are_read(tmp_path):
    given = {
        "x_train": pixels(5, 8, 8),
        "y_train": np.arange(5),
        "x_test": pixels(2, 8, 8, seed=1),
        "y_test": np.arange(2),
    }
    np.savez(tmp_path / "mnist.npz", **given)
    source = open_medmnist(tmp_path / "mnist.npz")
    assert source.split.tolist() == ["train"] * 5 + ["test"] * 2
    np.testing.assert_array_equal(source.read(6)[..., 0], given["x_test"][1])
    assert source.labels["class"].values.tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert source.provenance["labels_by"] == {"class": "arrays y_train, y_test"}


def test_volumes_are_not_resized(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(8, 8, 8))
    with pytest.raises(ConfigError, match=r"resolution=64, .* are for pictures, and this holds volumes of \(8, 8, 8\)"):
        open_medmnist(tmp_path / "a.npz", resolution=64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val_labels": None}, "has val_images, but no labels beside it"),
        ({"val_labels": np.zeros((4, 1), np.uint8)}, "has 4 labels for the 3 pictures"),
        ({"val_labels": np.zeros((3, 2), np.uint8)}, "labels have 1 and 2 columns"),
        ({"val_images": np.zeros((3, 8, 9), np.uint8)}, r"validation has examples of \(8, 9\) pixels"),
        ({"val_images": np.zeros((3, 8, 8), np.uint16)}, r"holds uint16 of shape \(3, 8, 8\), expected bytes"),
        ({"val_images": np.asfortranarray(pixels(3, 8, 8))}, "stored with its first axis fastest"),
        ({"val_labels": np.array([["a"], ["b"], ["c"]])}, r"holds <U1 of shape \(3, 1\), expected numbers"),
        ({"train_images": None, "train_labels": None}, "none of 5 examples is in the split 'train'"),
        ({f"{s}_images": None for s in COUNTS}, "no arrays of MedMNIST; found 3 .npy"),
        ({f"{s}_images": pixels(n, 3, 8, 8) for s, n in COUNTS.items()}, "may be pictures of 3 channels as well"),
        ({f"{s}_images": pixels(n, 8, 8, 4) for s, n in COUNTS.items()}, "may be pictures of 4 channels as well"),
        (
            {"val_labels": np.full(3, 2**63 + 1, np.uint64), "test_labels": np.full(2, -1)},
            "class is uint8 of train, uint64 of validation, int64 of test, which no type holds without rounding",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(tmp_path, change, message):
    given = arrays(8, 8) | change
    np.savez(tmp_path / "a.npz", **{name: values for name, values in given.items() if values is not None})
    with pytest.raises(ArchiveError, match=message):
        open_medmnist(tmp_path / "a.npz")


def test_thin_volumes_have_a_last_axis_of_one(tmp_path):
    given = {"train_images": pixels(4, 3, 8, 5, 1), "train_labels": np.zeros(4)}
    np.savez(tmp_path / "a.npz", **given)
    source = open_medmnist(tmp_path / "a.npz")
    assert (source.domain.axes, source.domain.resolution) == (("z", "y", "x"), (3, 8, 5))
    np.testing.assert_array_equal(source.read(2), given["train_images"][2])


@pytest.mark.parametrize("columns", [1, 3])
def test_a_split_may_be_empty(tmp_path, columns):
    given = arrays(8, 8, columns=columns)
    given |= {"val_images": np.empty((0, 8, 8), np.uint8), "val_labels": np.empty((0, columns), np.uint8)}
    np.savez(tmp_path / "a.npz", **given)
    assert open_medmnist(tmp_path / "a.npz").split.tolist() == ["train"] * 6 + ["test"] * 2


@pytest.mark.parametrize("bad", [np.nan, 0.5])
def test_only_whole_numbers_are_classes_with_names(tmp_path, bad):
    given = arrays(8, 8) | {"train_labels": np.array([0.0, 1, 1, 0, 1, 0])}
    np.savez(tmp_path / "a.npz", **given)
    label = open_medmnist(tmp_path / "a.npz", class_names=("a", "b")).labels["class"]
    assert (label.values.dtype.kind, label.values[:6].tolist()) == ("i", [0, 1, 1, 0, 1, 0])
    given["train_labels"][2] = bad
    np.savez(tmp_path / "a.npz", **given)
    assert open_medmnist(tmp_path / "a.npz").labels["class"].values.dtype.kind == "f"
    with pytest.raises(ArchiveError, match=f"train/00002 has class {bad}, which numbers no class; leave out names"):
        open_medmnist(tmp_path / "a.npz", class_names=("a", "b"))


def test_objects_are_not_loaded(tmp_path):
    given = arrays(8, 8) | {"val_labels": np.array([["a"], [1], [None]], object)}
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(ArchiveError, match="holds Python objects, which are never loaded"):
        open_medmnist(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_inside_shows_before_anything_is_learned(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, **arrays(28, 28))
    content = bytearray(path.read_bytes())
    content[2000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="is damaged"):
        open_medmnist(path)


def test_other_arrays_are_said_to_be_left_out(tmp_path):
    notes = []
    np.savez(tmp_path / "a.npz", **arrays(8, 8), train_masks=np.zeros((6, 8, 8)))
    open_medmnist(tmp_path / "a.npz", report=notes.append)
    assert "1 other arrays are left out, such as train_masks.npy" in str(notes)
