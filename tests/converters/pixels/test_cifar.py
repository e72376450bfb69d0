import pickle

import numpy as np
import pytest

from converters.images.images import IMAGES_PRESETS
from converters.pixels.cifar import converter, open_cifar
from functa_store.errors import ArchiveError, ConfigError
from tests.converters.pixels.files import (
    CLASSES,
    binary_batch,
    pixels,
    python2_batch,
    python2_names,
    write_folder,
    write_tar,
)

TRAIN, TEST = [pixels(4, 32, 32, 3, seed=k) for k in range(1, 6)], pixels(3, 32, 32, 3, seed=9)
LABELS = [np.arange(4) + k for k in range(1, 6)]
TEST_LABELS = np.array([9, 0, 5])


def cifar10_binary():
    folder = "cifar-10-batches-bin/"
    batches = {f"{folder}data_batch_{k + 1}.bin": binary_batch(TRAIN[k], LABELS[k]) for k in range(5)}
    meta = ("\n".join(CLASSES) + "\n\n").encode()
    return {
        f"{folder}batches.meta.txt": meta,
        **batches,
        f"{folder}readme.html": b"-",
        f"{folder}test_batch.bin": binary_batch(TEST, TEST_LABELS),
    }


def cifar10_python():
    folder = "cifar-10-batches-py/"
    batches = {f"{folder}data_batch_{k + 1}": python2_batch(TRAIN[k], labels=LABELS[k]) for k in range(5)}
    meta = python2_names(label_names=CLASSES)
    return {
        f"{folder}batches.meta": meta,
        **batches,
        f"{folder}test_batch": python2_batch(TEST, labels=TEST_LABELS),
    }


FINE, COARSE = np.array([99, 0, 7, 7]), np.array([19, 0, 3, 3])
FINE_NAMES, COARSE_NAMES = [f"fine{k}" for k in range(100)], [f"coarse{k}" for k in range(20)]


def cifar100(is_python):
    test = FINE[:3], COARSE[:3]
    if is_python:
        return {
            "cifar-100-python/train": python2_batch(TRAIN[0], fine_labels=FINE, coarse_labels=COARSE),
            "cifar-100-python/test": python2_batch(TEST, fine_labels=test[0], coarse_labels=test[1]),
            "cifar-100-python/meta": python2_names(fine_label_names=FINE_NAMES, coarse_label_names=COARSE_NAMES),
        }
    return {
        "cifar-100-binary/train.bin": binary_batch(TRAIN[0], COARSE, FINE),
        "cifar-100-binary/test.bin": binary_batch(TEST, test[1], test[0]),
        "cifar-100-binary/fine_label_names.txt": "\n".join(FINE_NAMES).encode(),
        "cifar-100-binary/coarse_label_names.txt": "\n".join(COARSE_NAMES).encode(),
    }


@pytest.mark.parametrize("files", [cifar10_binary(), cifar10_python()], ids=["binary", "python"])
@pytest.mark.parametrize("kind", ["tar.gz", "tar", "folder"])
def test_cifar10_is_what_was_published(tmp_path, files, kind):
    path = write_folder(tmp_path, files) if kind == "folder" else write_tar(tmp_path / f"cifar-10.{kind}", files)
    notes = []
    source = open_cifar(path, report=notes.append)
    assert source.ids == [f"train/{k:05}" for k in range(20)] + [f"test/{k:05}" for k in range(3)]
    assert source.split.tolist() == ["train"] * 20 + ["test"] * 3
    np.testing.assert_array_equal([source.read(k) for k in range(23)], np.concatenate([*TRAIN, TEST]))
    np.testing.assert_array_equal(source.labels["class"].values, np.concatenate([*LABELS, TEST_LABELS]))
    assert source.labels["class"].names == CLASSES
    assert source.features.channels == ("red", "green", "blue")
    assert source.provenance["split"].startswith("published by files (data_batch_1")
    assert source.provenance["labels_by"] == {"class": "batches.meta" + (".txt" if "bin" in str([*files]) else "")}
    assert "Note" not in str(notes)


@pytest.mark.parametrize("is_python", [False, True])
def test_cifar100_has_fine_and_coarse_classes(tmp_path, is_python):
    source = open_cifar(write_tar(tmp_path / "cifar-100.tar.gz", cifar100(is_python)))
    assert source.labels["fine"].values.tolist() == [99, 0, 7, 7, 99, 0, 7]
    assert source.labels["coarse"].values.tolist() == [19, 0, 3, 3, 19, 0, 3]
    assert source.labels["fine"].names[99] == "fine99"
    assert source.labels["coarse"].names[19] == "coarse19"
    np.testing.assert_array_equal(source.read(4), TEST[0])


def test_pickles_of_python_3_are_read_as_those_of_python_2(tmp_path):
    files = cifar10_python()
    for name in list(files):
        if "batch_" in name:
            batch = {b"data": TRAIN[0].transpose(0, 3, 1, 2).reshape(4, -1), b"labels": [1, 2, 3, 4]}
            files[name] = pickle.dumps(batch, protocol=4)
    source = open_cifar(write_folder(tmp_path, files))
    np.testing.assert_array_equal(source.read(5), TRAIN[0][1])


def test_a_pickle_executes_nothing(tmp_path):
    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / "made"), "w")

    files = cifar10_python()
    files["cifar-10-batches-py/data_batch_2"] = pickle.dumps({b"data": Hostile(), b"labels": []}, protocol=2)
    with pytest.raises(ArchiveError, match=r"data_batch_2: is a pickle that names .*nothing was executed"):
        open_cifar(write_tar(tmp_path / "a.tar.gz", files))
    assert not (tmp_path / "made").exists()


def spoil(files, name, change):
    (member,) = (member for member in files if member.endswith(name))
    return files | {member: change(files[member])}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (spoil(cifar10_binary(), "data_batch_3.bin", lambda b: b[:-1]), "12291 bytes, expected a multiple of 3073"),
        (
            spoil(cifar10_binary(), "test_batch.bin", lambda b: b"\x0b" + b[1:]),
            "test/00000 has class 11, expected 0 to 9",
        ),
        (spoil(cifar10_python(), "data_batch_1", lambda b: b[:-200]), "data_batch_1: is no whole pickle"),
        (
            spoil(cifar10_python(), "data_batch_1", lambda _: python2_batch(TRAIN[0], labels=[1, 2])),
            "labels has 2 numbers for 4 pictures",
        ),
        (cifar10_binary() | cifar10_python(), "holds several versions"),
    ],
)
def test_what_is_damaged_is_said_with_its_place(tmp_path, files, message):
    with pytest.raises(ArchiveError, match=message):
        open_cifar(write_tar(tmp_path / "cifar.tar.gz", files))


def test_a_truncated_archive_is_refused(tmp_path):
    path = write_tar(tmp_path / "cifar.tar.gz", cifar10_binary())
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(ArchiveError, match="is truncated: what is packed does not end; fetch it again"):
        open_cifar(path)


def test_what_is_missing_is_said(tmp_path):
    files = {
        name: content for name, content in cifar10_binary().items() if "batch_5" not in name and "meta" not in name
    }
    notes = []
    source = open_cifar(write_folder(tmp_path, files), report=notes.append)
    assert "has 4 of the 5 batches to train on" in str(notes)
    assert "has no batches.meta.txt, so that classes of class are numbers" in str(notes)
    assert source.labels["class"].names is None
    hostile = spoil(files, "data_batch_1.bin", lambda b: b"\x0a" + b[1:])
    with pytest.raises(ArchiveError, match=r"train/00000 has class 10, expected less than the 10 classes"):
        open_cifar(write_folder(tmp_path, hostile))


def test_pictures_are_resized_only_if_asked(tmp_path):
    path = write_tar(tmp_path / "cifar.tar.gz", cifar10_binary())
    assert open_cifar(path, crop="square").read(0).tobytes() == TRAIN[0][0].tobytes()
    small = open_cifar(path, resolution=16, mode="grey")
    assert small.read(0).shape == (*small.domain.resolution, 1) == (16, 16, 1)
    assert abs(float(small.read(0).mean()) - float(TRAIN[0][0].mean())) < 8


def test_pictures_are_not_made_larger_than_memory(tmp_path):
    with pytest.raises(ConfigError, match="resolution=100000 gives 10000000000 pixels, expected at most"):
        open_cifar(write_tar(tmp_path / "a.tar", cifar10_binary()), resolution=100_000)


def test_every_preset_of_images_works_for_pixels(tmp_path):
    path = write_tar(tmp_path / "cifar.tar.gz", cifar10_binary())
    for name in IMAGES_PRESETS:
        preset = converter.presets[name]
        side = {"cifar10-paper": 32, "images256-spatial": 256}.get(name, 64)
        assert open_cifar(path, **preset.source, limit=2).read(0).shape == (side, side, 3)
    assert open_cifar(path, **converter.presets["pixels-fast"].source, limit=2).read(0).shape == (32, 32, 3)


def test_a_dry_run_does_not_hash(tmp_path):
    source = open_cifar(write_tar(tmp_path / "cifar.tar.gz", cifar10_binary()), check_first=4)
    assert source.provenance["sha256"] is None
    assert len(source.ids) == 23


def test_a_change_meanwhile_is_noticed(tmp_path):
    path = write_tar(tmp_path / "cifar.tar.gz", cifar10_binary())
    source = open_cifar(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ArchiveError, match="was changed while it was being converted"):
        source.check_unchanged()
