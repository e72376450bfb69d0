import gzip
import pickle

import numpy as np
import pytest

from converters.archives import known_archives
from converters.archives.known_archives import recognised
from functa_store.errors import ArchiveError
from functa_store.plugins import converters
from functa_store.progress import silent
from functa_store.sources.options import SurveyOptions
from tests.converters.pixels.files import idx_files, pixels, write_folder, write_tar
from tests.converters.pixels.test_cifar import cifar10_binary, cifar10_python, cifar100
from tests.kinds.archives import png, write_zip

WDS = {
    f"{k}.{suffix}": content
    for k in range(3)
    for suffix, content in (("png", png(pixels(4, 4, 3, seed=k))), ("cls", b"1"))
}


def medmnist(folder):
    path = folder / "bloodmnist.npz"
    np.savez_compressed(path, train_images=pixels(4, 8, 8), train_labels=pixels(4, 1) % 2)
    return path


def pickled(folder, name="celeba_params_256_latents.npz"):
    (folder / name).write_bytes(pickle.dumps({"latent_modulated_siren/modulated_siren_layer_0": 1}, protocol=4))
    return folder / name


def written(folder, name, content):
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(content)
    return folder / name


ARCHIVES = {
    "cifar": [
        lambda folder: write_tar(folder / "cifar-10-binary.tar.gz", cifar10_binary()),
        lambda folder: write_tar(folder / "cifar-10-python.tar.gz", cifar10_python()),
        lambda folder: write_tar(folder / "cifar-100-python.tar", cifar100(True)),
        lambda folder: write_folder(folder / "unpacked", cifar100(False)),
        lambda folder: write_folder(folder / "unpacked", cifar10_python()) / "cifar-10-batches-py/data_batch_1",
    ],
    "mnist": [
        lambda folder: write_folder(folder / "raw", idx_files()[0]),
        lambda folder: write_folder(folder / "raw", idx_files()[0]) / "t10k-images-idx3-ubyte.gz",
        lambda folder: write_folder(folder / "raw", idx_files(packed=False)[0]) / "t10k-images-idx3-ubyte",
        lambda folder: write_tar(folder / "mnist.tgz", idx_files(packed=False)[0]),
    ],
    "medmnist": [medmnist],
    "webdataset": [
        lambda folder: write_tar(folder / "shard-0.tar", WDS),
        lambda folder: write_tar(folder / "shards/0.tar.gz", WDS) if (folder / "shards").mkdir() is None else folder,
        lambda folder: write_tar(folder / "0.tar", WDS).parent,
    ],
    "huggingface": [
        lambda folder: written(folder, "data/train-00000-of-00001.parquet", b"PAR1....PAR1").parent,
        lambda folder: written(folder, "train.parquet", b"PAR1....PAR1"),
        lambda folder: written(folder, "train/data-00000-of-00001.arrow", b"ARROW1").parent,
    ],
    "nerf": [
        lambda folder: written(folder, "fern/poses_bounds.npy", b"x").parent.parent,
        lambda folder: written(folder, "lego/transforms_train.json", b"{}").parent,
        lambda folder: write_folder(folder, {"sparse/0/cameras.bin": b"-", "sparse/0/images.bin": b"-"}),
    ],
    "import-deepmind": [pickled],
    "srn": [
        lambda folder: write_folder(folder, {f"a/{n}": b"0" for n in ("intrinsics.txt", "rgb/0.png", "pose/0.txt")})
    ],
    "images": [lambda folder: write_zip(folder / "a.zip", {"1.png": png(pixels(4, 4, 3))})],
    "audio": [lambda folder: written(folder, "a/1.wav", b"RIFF").parent],
    "climate": [lambda folder: written(folder, "era5.nc", b"CDF\1")],
}
CASES = [(kind, number) for kind, makes in ARCHIVES.items() for number in range(len(makes))]


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_archives_are_told_apart(tmp_path, kind, number):
    found = recognised(ARCHIVES[kind][number](tmp_path))
    assert found is not None
    assert found.kind == kind
    assert found.command == ("functa import-deepmind" if kind == "import-deepmind" else f"functa convert {kind}")


WRONG = {
    "images": ["cifar", "mnist", "medmnist", "huggingface", "import-deepmind", "audio"],
    "arrays": ["cifar", "mnist", "medmnist", "huggingface", "webdataset", "nerf", "import-deepmind", "images"],
    "voxels": ["cifar", "mnist", "medmnist", "import-deepmind"],
    "climate": ["cifar", "huggingface", "webdataset"],
    "audio": ["cifar", "mnist", "webdataset", "images"],
    "video": ["cifar", "mnist", "webdataset"],
    "srn": ["cifar", "nerf", "images"],
    "shapenet": ["cifar", "mnist", "webdataset", "nerf"],
    "celeba": ["cifar", "mnist"],
}


OPTIONS = {"climate": {"variable": ("t",)}, "audio": {"samples": 64}}


@pytest.mark.parametrize(("wrong", "right"), [(wrong, right) for wrong, rights in WRONG.items() for right in rights])
def test_the_wrong_converter_names_the_right_one(tmp_path, wrong, right):
    converter = converters()[wrong]
    for k, make in enumerate(ARCHIVES[right]):
        (folder := tmp_path / str(k)).mkdir()
        options = converter.options(**OPTIONS.get(wrong, {}))
        with pytest.raises(
            ArchiveError, match=rf"looks like .*: convert it by `functa (convert )?{right}`\. `functa con"
        ):
            converter.open(make(folder), options, SurveyOptions(), silent)


def test_an_error_of_the_right_converter_stays_as_it_is(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"1.png": b"damaged"})
    converter = converters()["images"]
    with pytest.raises(ArchiveError) as error:
        converter.open(path, converter.options(), SurveyOptions(max_rejects=1), silent)
    assert "looks like" not in str(error.value)


def test_images_of_a_webdataset_come_with_a_note(tmp_path):
    notes = []
    converter = converters()["images"]
    converter.open(write_tar(tmp_path / "0.tar", WDS), converter.options(resolution=4), SurveyOptions(), notes.append)
    assert "whose labels are not read here, but by `functa convert webdataset`" in str(notes)


def test_texts_beside_images_in_a_folder_make_no_webdataset(tmp_path):
    found = recognised(write_folder(tmp_path, WDS))
    assert found is not None
    assert found.kind == "images"


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"PK\3\4", gzip.compress(b"", mtime=0)[:12], b"\x80\x04", bytes(1024)]
)
def test_damage_is_of_no_kind(tmp_path, content):
    assert recognised(written(tmp_path, "a.bin", content)) is None
    assert recognised(tmp_path / "absent") is None
    assert known_archives.recognised(None) is None


def test_what_only_has_the_names_of_another_kind_is_not_taken_for_it(tmp_path):
    """Arrays of floats are no pictures, and a transforms.json of something else has no cameras."""
    for name, kind in (("images", "medmnist"), ("other", "arrays")):
        values = np.zeros((3, 4, 4), np.uint8 if name == "images" else np.float32)
        np.savez(tmp_path / f"{name}.npz", x_train=values, y_train=np.zeros(3), x_test=values, y_test=np.zeros(3))
        np.savez_compressed(tmp_path / f"{name}c.npz", x_train=values, y_train=np.zeros(3))
        assert [recognised(tmp_path / f"{name}{end}.npz").kind for end in ("", "c")] == [kind] * 2  # type: ignore[union-attr]
    converter = converters()["images"]
    for content, said in (("{}", False), ('{"frames": [{"transform_matrix": 1}]}', True)):
        path = write_zip(tmp_path / "a.zip", {"1.png": WDS["1.png"], "transforms.json": content.encode()})
        notes = []
        converter.open(path, converter.options(resolution=4), SurveyOptions(), notes.append)
        assert ("cameras are not read here" in str(notes)) == said


def test_arrays_of_any_word_for_a_split_are_those_of_medmnist(tmp_path):
    pictures, labels = np.zeros((3, 4, 4), np.uint8), np.zeros(3)
    np.savez(tmp_path / "a.npz", training_images=pictures, training_labels=labels, x_train=pictures, y_train=labels)
    converter = converters()["medmnist"]
    with pytest.raises(ArchiveError, match=r"^a.npz: training_images.npy and x_train.npy are both of the split train"):
        converter.open(str(tmp_path / "a.npz"), converter.options(), SurveyOptions(), silent)


def test_tars_of_images_alone_are_for_webdataset(tmp_path):
    """Images are read of one tar, and not of a folder of tars."""
    (tmp_path / "shards").mkdir()
    path = write_tar(tmp_path / "shards/val-0.tar", {"1.png": WDS["1.png"]})
    assert recognised(tmp_path / "shards").kind == "webdataset"  # type: ignore[union-attr]
    converter = converters()["webdataset"]
    for shards in (path, tmp_path / "shards"):
        with pytest.raises(ArchiveError, match=r"^(val-0.tar|shards): none of 1 examples is in the split 'train'"):
            converter.open(str(shards), converter.options(resolution=4), SurveyOptions(), silent)
