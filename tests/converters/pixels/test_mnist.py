import gzip
import hashlib

import numpy as np
import pytest

from converters.pixels import mnist
from converters.pixels.mnist import open_mnist
from functa_store.errors import ArchiveError, ConfigError
from tests.converters.pixels.files import idx, idx_files, pixels, write_folder, write_tar


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_mnist_is_what_was_published(tmp_path, packed, kind):
    files, arrays = idx_files(packed=packed)
    path = write_folder(tmp_path, files) if kind == "folder" else write_tar(tmp_path / "mnist.tar", files)
    notes = []
    source = open_mnist(path, report=notes.append)
    assert source.ids == [f"train/{k:05}" for k in range(12)] + [f"test/{k:05}" for k in range(4)]
    assert source.split.tolist() == ["train"] * 12 + ["test"] * 4
    found = np.stack([source.read(k) for k in range(16)])
    np.testing.assert_array_equal(found[..., 0], np.concatenate([arrays["train"][0], arrays["t10k"][0]]))
    assert source.labels["class"].values.tolist() == [*range(10), 0, 1, 0, 1, 2, 3]
    assert source.labels["class"].names is None
    assert "nothing in it names the classes, which stay numbers" in str(notes)
    assert source.provenance["orientation"] == "as-stored"
    assert source.features.channels == ("grey",)


def test_emnist_is_turned_upright_and_named_by_its_mapping(tmp_path):
    """EMNIST stores columns where MNIST has rows; its letters are counted from 1."""
    files, arrays = idx_files("emnist-letters-", parts=("train", "test"), grid=(28, 20))
    files["emnist-letters-mapping.txt"] = b"".join(f"{k} {64 + k} {96 + k}\n".encode() for k in range(1, 27))
    path = write_folder(tmp_path, files)
    notes = []
    source = open_mnist(path, report=notes.append)
    np.testing.assert_array_equal(source.read(1)[..., 0], arrays["train"][0][1].T)
    assert source.domain.resolution == (20, 28)
    label = source.labels["class"]
    assert [label.names[k] for k in label.values[:4]] == ["(0)", "A/a", "B/b", "C/c"]
    assert source.provenance["labels_by"] == {"class": "emnist-letters-mapping.txt"}
    assert "are turned upright" in str(notes)
    as_stored = open_mnist(path, orientation="as-stored")
    np.testing.assert_array_equal(as_stored.read(1)[..., 0], arrays["train"][0][1])


@pytest.mark.parametrize("upright", [True, False])
def test_emnist_that_lies_on_its_side_is_said(tmp_path, upright):
    files, arrays = idx_files("emnist-digits-", parts=("train", "test"), packed=False)
    strokes = np.zeros_like(arrays["train"][0])
    strokes[:, 12:15, 4:24] = 255  # a stroke along the columns of the file
    files["emnist-digits-train-images-idx3-ubyte"] = idx(strokes if upright else strokes.transpose(0, 2, 1))
    notes = []
    open_mnist(write_folder(tmp_path, files), report=notes.append)
    assert ("times as wide as tall" in str(notes)) != upright
    assert ("--orientation as-stored turns them" in str(notes)) != upright


def test_sets_are_told_apart_by_folders_and_a_folder_is_no_name(tmp_path):
    """As torchvision's root has MNIST/raw and FashionMNIST/raw; a folder called emnist turns nothing."""
    files, arrays = idx_files()
    folders = {f"{folder}/raw/{name}": content for folder in ("MNIST", "emnist") for name, content in files.items()}
    path = write_folder(tmp_path, folders)
    with pytest.raises(ArchiveError, match="several sets of pictures, MNIST/raw, emnist/raw; name one by --dataset"):
        open_mnist(path)
    source = open_mnist(path, dataset="emnist")
    assert (source.provenance["dataset"], source.provenance["orientation"]) == ("emnist/raw", "as-stored")
    np.testing.assert_array_equal(source.read(0)[..., 0], arrays["train"][0][0])


def test_one_of_several_sets_is_asked_for(tmp_path):
    files = {}
    for name in ("balanced", "digits"):
        files |= idx_files(f"emnist-{name}-", parts=("train", "test"))[0]
    path = write_folder(tmp_path, files)
    with pytest.raises(
        ArchiveError, match="several sets of pictures, emnist-balanced, emnist-digits; name one by --dataset"
    ):
        open_mnist(path)
    with pytest.raises(ConfigError, match=r"dataset='letters' names 0 of emnist-balanced, emnist-digits"):
        open_mnist(path, dataset="letters")
    assert open_mnist(path, dataset="emnist-digits").provenance["dataset"] == "emnist-digits"


def test_a_file_is_taken_with_the_labels_beside_it(tmp_path):
    files, arrays = idx_files()
    write_folder(tmp_path, files)
    source = open_mnist(tmp_path / "train-images-idx3-ubyte.gz")
    assert source.split.tolist() == ["train"] * 12
    np.testing.assert_array_equal(source.labels["class"].values, arrays["train"][1])
    (tmp_path / "scans.idx").write_bytes(idx(arrays["train"][0]))
    alone = open_mnist(tmp_path / "scans.idx")
    assert alone.split.tolist() == ["train"] * 9 + ["test"] + ["train"] * 2
    assert alone.ids[0] == "images/00000"
    assert alone.labels == {}


def test_names_of_fashion_mnist_need_its_checksums(tmp_path, monkeypatch):
    files, _ = idx_files()
    path = write_folder(tmp_path / "fashion-mnist", files)
    assert open_mnist(path).labels["class"].names is None
    published = {hashlib.md5(files[f"{part}-labels-idx1-ubyte.gz"]).hexdigest() for part in ("train", "t10k")}
    monkeypatch.setattr(mnist, "_FASHION", published)
    source = open_mnist(path)
    assert source.labels["class"].names[9] == "Ankle boot"
    assert source.provenance["labels_by"] == {"class": "the checksums of Fashion-MNIST's files"}


def test_names_can_be_given_and_are_as_many_as_classes(tmp_path):
    path = write_folder(tmp_path, idx_files()[0])
    names = tuple("abcdefghij")
    assert open_mnist(path, class_names=names).labels["class"].names == names
    with pytest.raises(ArchiveError, match="train/00009 has class 9, expected 0 to 8, since class_names names 9"):
        open_mnist(path, class_names=names[:9])


def test_names_of_no_labels_are_refused(tmp_path):
    files = {name: content for name, content in idx_files()[0].items() if "images" in name}
    with pytest.raises(ArchiveError, match="has names of class, but no labels; leave out class_names"):
        open_mnist(write_folder(tmp_path, files), class_names=tuple("abcdefghij"))


def test_rows_of_qmnist_are_labels(tmp_path):
    files, _ = idx_files("qmnist-", parts=("train", "test"))
    for part, count in (("train", 12), ("test", 4)):
        del files[f"qmnist-{part}-labels-idx1-ubyte.gz"]
        rows = np.arange(8 * count, dtype=np.int32).reshape(count, 8) * 1000
        files[f"qmnist-{part}-labels-idx2-int.gz"] = gzip.compress(idx(rows))
    source = open_mnist(write_folder(tmp_path, files))
    assert source.labels["class"].values.tolist()[:3] == [0, 8000, 16000]
    assert source.labels["writer"].values.tolist()[:3] == [2000, 10000, 18000]
    assert len(source.labels) == 8


def test_a_packed_copy_beside_a_file_is_left_out(tmp_path):
    """As torchvision keeps both."""
    files, _ = idx_files(packed=False)
    notes = []
    source = open_mnist(write_folder(tmp_path, files | idx_files()[0]), report=notes.append)
    assert len(source.ids) == 16
    assert "train-images-idx3-ubyte.gz is left out, since train-images-idx3-ubyte lies beside it" in str(notes)


def spoiled(name, change):
    files, _ = idx_files(packed=False)
    return files | {name: change(files[name])}


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            spoiled(IMAGES, lambda b: b[:-5]),
            r"promises 12 x 28 x 28 numbers .* 9408 in all, but 9403 follow: it is trunc",
        ),
        (spoiled(IMAGES, lambda b: b + b"\0"), "it is longer than that; fetch it again"),
        (spoiled(IMAGES, lambda b: b"PK" + b[2:]), r"starts with b'PK\\x08\\x03', expected the header of an IDX file"),
        (spoiled(LABELS, lambda _: idx(np.zeros(11, np.uint8))), "holds 12 pictures, but train-labels.* 11 labels"),
        (
            spoiled(IMAGES, lambda _: idx(np.zeros((12, 28), np.uint8))),
            r"holds uint8 of shape \(12, 28\), expected bytes",
        ),
        (spoiled(IMAGES, lambda b: b[:4] + b"\xff" * 12), "its header promises 4294967295 x 4294967295"),
        ({LABELS: idx(np.zeros(3, np.uint8))}, "no pictures in IDX files"),
        ({"a.txt": b""}, "no pictures in IDX files; found 1 .txt"),
    ],
)
def test_what_is_damaged_is_said_with_its_place(tmp_path, files, message):
    with pytest.raises(ArchiveError, match=message):
        open_mnist(write_folder(tmp_path, files))


def test_labels_are_there_for_all_parts_or_none(tmp_path):
    files, _ = idx_files()
    del files["t10k-labels-idx1-ubyte.gz"]
    with pytest.raises(ArchiveError, match="test has no label class, but other parts have"):
        open_mnist(write_folder(tmp_path, files))


def test_splits_are_those_of_all_parts_or_of_none(tmp_path):
    files, _ = idx_files(parts=("train", "extra"))
    with pytest.raises(ArchiveError, match="extra is named as no split, but other parts are"):
        open_mnist(write_folder(tmp_path, files))


def test_pictures_of_two_sizes_are_refused(tmp_path):
    files, _ = idx_files(packed=False)
    files["t10k-images-idx3-ubyte"] = idx(pixels(4, 20, 20))
    with pytest.raises(ArchiveError, match=r"test has examples of \(20, 20\) pixels .* train of \(28, 28\)"):
        open_mnist(write_folder(tmp_path, files))
