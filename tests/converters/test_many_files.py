"""Archives that are many files are one archive, whatever kind they are."""

import hashlib
import os
import resource
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

import functa_store
from converters.archives import many_archives
from converters.archives.file_patterns import find_files
from converters.archives.remote_file import RemoteFile
from converters.arrays.arrays import open_array_archive
from converters.images.celeba import open_celeba
from converters.images.images import open_images
from converters.images.webdataset import open_webdataset
from converters.pixels.mnist import open_mnist
from converters.scenes.nerf import open_nerf
from converters.scenes.srn import open_srn
from converters.shapes.shapenet import open_shapenet
from converters.shapes.voxels import open_voxels
from converters.signals.audio import open_audio
from converters.signals.video import open_video
from converters.tables.huggingface import open_huggingface
from functa_store.errors import ArchiveError, MemberError, TooManyRejectsError
from functa_store.store.storage.objects import open_objects
from tests.kinds import archives


@pytest.fixture(name="parts")
def _parts(pack, encode_image):
    """Three zips of pictures of two classes, in folders of equal names."""
    for part in range(3):
        names = [f"{kind}/{k}.png" for kind in ("cat", "dog") for k in range(5)]
        pack({name: encode_image(10 * part + k) for k, name in enumerate(names)}, "zip", f"part-{part:03}")


def values(source, *examples):
    """What examples are in the unit of their archive."""
    return np.stack([source.features.to_values(source.features.of_raw(source.read(k))) for k in examples])


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_zips_of_a_pattern_are_one_archive(parts, tmp_path):
    source = open_images(str(tmp_path / "part-*.zip"), resolution=4)
    assert source.ids[:2] == ["part-000/cat/0.png", "part-000/cat/1.png"]
    assert len(set(source.ids)) == 30
    assert source.labels["class"].names == ("cat", "dog")  # numbers of parts are no classes
    assert np.flatnonzero(source.split == "test").tolist() == [9, 19, 29]  # of all, and not of each
    alone = open_images(tmp_path / "part-001.zip", resolution=4)
    np.testing.assert_array_equal(source.read(13), alone.read(3))


def test_provenance_has_each_file_and_all_of_them(parts, tmp_path):
    source = open_images(str(tmp_path / "part-*.zip"), resolution=4)
    digests = {f"part-{k:03}.zip": sha256(tmp_path / f"part-{k:03}.zip") for k in range(3)}
    assert source.provenance["archive_files"] == digests
    lines = "".join(f"{name}\0{digest}\n" for name, digest in digests.items())
    assert source.provenance["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert source.recipe.paths == tuple(str(tmp_path / name) for name in digests)
    assert "archive_files" not in open_images(tmp_path / "part-000.zip", resolution=4).provenance


def test_names_of_files_say_splits_and_classes_as_folders_do(pack, encode_image, tmp_path):
    for name, count in (("train-0", 3), ("train-1", 3), ("val-0", 2)):
        pack({f"{k}.png": encode_image(k) for k in range(count)}, "zip", name)
    source = open_images(tmp_path, resolution=4)  # a folder of zips
    assert source.split.tolist() == ["train"] * 6 + ["validation"] * 2
    assert source.labels == {}
    for name in ("cat-1", "cat-2", "dog-1"):
        pack({"1.png": encode_image(), "2.png": encode_image(1)}, "zip", name)
    source = open_images([tmp_path / f"{name}.zip" for name in ("dog-1", "cat-1", "cat-2")], resolution=4)
    assert source.labels["class"].names == ("cat", "dog")
    assert source.labels["class"].values.tolist() == [0, 0, 0, 0, 1, 1]


def test_a_list_is_read_as_it_is(parts, tmp_path):
    names = tmp_path / "files.txt"
    names.write_bytes(b"\xef\xbb\xbf# parts\r\n\r\npart-002.zip\r\n  part-000.zip  \r\n\n")
    files = find_files(f"@{names}")
    assert files.names == ("part-002.zip", "part-000.zip")
    assert len(open_images(f"@{names}", resolution=4).ids) == 20
    assert find_files([tmp_path / "part-001.zip", str(tmp_path / "part-{000..000}.zip")]).names == (
        "part-001.zip",
        "part-000.zip",
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("part-000.zip\npart-000.zip\n", r"names .*part-000\.zip twice"),
        ("part-000.zip\n./part-000.zip\n", r"names .*part-000\.zip twice"),
        ("part-000.zip\nlink.zip\n", r"names one file twice, as .*part-000\.zip and as .*link\.zip"),
        ("part-000.zip\n# none\npart-009.zip\n", r"files\.txt line 3: .*part-009\.zip: no such file"),
        ("\n# nothing\n", r"files\.txt: names no file"),
        ("p\0art-000.zip\n", r"files\.txt line 1: .*no such file"),
        ("part-*.zip\n", r"line 1: .*part-\*\.zip: no such file"),
        ("\xff\xfe", r"is no text in UTF-8"),
        (".\npart-000.zip\n", r"and the folder .* that it lies in"),
        ("part-000.zip\ns3://bucket/a.zip\n", "some files are on a disk and others are not"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(parts, tmp_path, lines, message):
    os.link(tmp_path / "part-000.zip", tmp_path / "link.zip")
    (tmp_path / "files.txt").write_bytes(lines.encode("latin-1"))
    with pytest.raises(ArchiveError, match=message):
        open_images(f"@{tmp_path / 'files.txt'}", resolution=4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("none-*.zip", r"none-\*\.zip: no file has such a name"),
        ("part-{000..005}.zip", r"part-003\.zip: no such file, which .*\{000\.\.005\}\.zip names"),
        ("@none.txt", r"none.txt: the list of files cannot be read: No such file .* @none\.txt is \./@none\.txt"),
        ("part-000.zip,none.zip", r"none\.zip: no such file"),
    ],
)
def test_what_is_not_there_is_named(parts, tmp_path, monkeypatch, spec, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArchiveError, match=message):
        open_images(spec, resolution=4)
    with pytest.raises(ArchiveError, match="empty list of files"):
        open_images([], resolution=4)
    for twice in (
        [str(tmp_path / "part-000.zip")] * 2,
        [tmp_path / "part-000.zip", "part-*.zip"],
        ["memory://a/b.zip"] * 2,
    ):
        with pytest.raises(ArchiveError, match="twice, so that its examples would count twice"):
            open_images(twice, resolution=4)


def test_a_damaged_file_among_many_is_named(parts, tmp_path):
    whole = (tmp_path / "part-001.zip").read_bytes()
    (tmp_path / "part-001.zip").write_bytes(whole[:-40])
    with pytest.raises(ArchiveError, match=rf"^{tmp_path}/part-001\.zip: the zip is truncated"):
        open_images(str(tmp_path / "part-*.zip"), resolution=4)


def test_rejects_count_over_all_files(parts, pack, encode_image, tmp_path):
    pack({"0.png": b"no picture", "1.png": encode_image()}, "zip", "part-003")
    with pytest.raises(TooManyRejectsError, match=r"1 of 32 images .*part-003/0\.png"):
        open_images(str(tmp_path / "part-*.zip"), resolution=4)
    source = open_images(str(tmp_path / "part-*.zip"), resolution=4, max_rejects=0.04)
    assert [reject.member for reject in source.rejects] == ["part-003/0.png"]
    assert len(open_images(str(tmp_path / "part-*.zip"), resolution=4, limit=12).ids) == 12


def test_folders_and_files_of_a_pattern_are_members_beside_zips(parts, pack, encode_image, tmp_path):
    pack({"cat/x.png": encode_image()}, "folder", "part-folder")
    (tmp_path / "part-picture.png").write_bytes(encode_image(1))
    source = open_images(str(tmp_path / "part-*"), resolution=4)
    assert source.ids[-2:] == ["part-folder/cat/x.png", "part-picture.png"]
    assert source.provenance["archive_files"].keys() >= {"part-folder", "part-picture.png"}


def test_what_a_conversion_writes_into_the_folder_is_no_part_of_it(parts, tmp_path):
    for pattern in (tmp_path, tmp_path / "*"):
        source = open_images(str(pattern), resolution=4)
        (tmp_path / "photos.functa").mkdir(exist_ok=True)
        (tmp_path / "photos.functa/zarr.json").write_text("{}")
        (tmp_path / "photos.functa.log").write_text("{}")
        source.check_unchanged()
        assert open_images(str(pattern), resolution=4).ids == source.ids
    (tmp_path / "link.zip").symlink_to("nowhere.zip")
    with pytest.raises(ArchiveError, match=r"link\.zip: cannot be read: No such file"):
        open_images(str(tmp_path / "*.zip"), resolution=4)


def test_a_folder_gives_no_files_that_lie_elsewhere(parts, pack, encode_image, tmp_path):
    (tmp_path / "zips").mkdir()
    (tmp_path / "zips/a.zip").symlink_to(tmp_path / "part-000.zip")
    with pytest.raises(ArchiveError, match=r"zips: 'a\.zip' is a link that leads out of the folder"):
        open_images(tmp_path / "zips", resolution=4)
    assert len(open_images(f"{tmp_path}/zips/*.zip", resolution=4).ids) == 10  # which is named
    (tmp_path / "cache/snapshots/1").mkdir(parents=True)  # as the hub keeps what was downloaded
    for part in range(2):
        blob = tmp_path / f"cache/blobs-{part}"
        blob.write_bytes((tmp_path / f"part-{part:03}.zip").read_bytes())
        (tmp_path / f"cache/snapshots/1/{part}.zip").symlink_to(blob)
    assert len(open_images(tmp_path / "cache/snapshots/1", resolution=4).ids) == 20


def test_two_members_of_one_name_are_refused(pack, encode_image, tmp_path):
    pack({"b/1.png": encode_image()}, "zip", "a")
    (tmp_path / "a").mkdir()
    pack({"1.png": encode_image(1)}, "zip", "a/b")
    with pytest.raises(ArchiveError, match=r"a\.zip and a/b\.zip both have a/b/1\.png"):
        open_images([tmp_path / "a.zip", tmp_path / "a/b.zip"], resolution=4)


def test_what_changes_while_it_is_converted_is_named(parts, tmp_path):
    source = open_images(str(tmp_path / "part-*.zip"), resolution=4)
    source.check_unchanged()
    (tmp_path / "part-9.zip").write_bytes((tmp_path / "part-000.zip").read_bytes())
    with pytest.raises(ArchiveError, match=r"part-9\.zip: was added while the files of part-\*\.zip"):
        source.check_unchanged()
    (tmp_path / "part-9.zip").unlink()
    os.utime(tmp_path / "part-002.zip")
    with pytest.raises(ArchiveError, match=r"part-002\.zip: was changed while"):
        source.check_unchanged()
    (tmp_path / "part-001.zip").unlink()
    with pytest.raises(ArchiveError, match=r"part-001\.zip: was removed while"):
        source.check_unchanged()


def test_few_files_are_open_at_a_time(pack, encode_image, tmp_path, monkeypatch):
    monkeypatch.setattr(many_archives, "MOST_OPEN", 3)
    for part in range(12):
        pack({"0.png": encode_image(part)}, "zip", f"part-{part}")
    before = len(os.listdir("/proc/self/fd"))
    source = open_images(str(tmp_path / "part-*.zip"), resolution=4)
    assert len(os.listdir("/proc/self/fd")) <= before + 3
    assert source.read(11).shape == source.read(0).shape == (4, 4, 3)


def put(folder, **files):
    objects = open_objects(folder)
    for name, data in files.items():
        objects.write(name.replace("__", "/"), data)


def test_zips_in_a_bucket_are_one_archive(parts, tmp_path):
    data = {f"sub__part-{k:03}.zip": (tmp_path / f"part-{k:03}.zip").read_bytes() for k in range(3)}
    put("memory://many/pictures", **data, notes_txt=b"")
    local = open_images(str(tmp_path / "part-*.zip"), resolution=4)
    for spec in (
        "memory://many/pictures/**/*.zip",
        "memory://many/pictures/",
        "memory://many/pictures/sub/part-{000..002}.zip",
    ):
        source = open_images(spec, resolution=4)
        assert source.ids == local.ids
        np.testing.assert_array_equal(source.read(17), local.read(17))
    assert source.recipe.paths[0] == "memory://many/pictures/sub/part-000.zip"
    source.check_unchanged()
    put("memory://many/pictures", **{"sub__part-001.zip": data["sub__part-002.zip"]})
    with pytest.raises(ArchiveError, match=r"part-001\.zip: was changed while"):
        source.check_unchanged()


def test_keys_with_characters_of_patterns_and_addresses_are_names(pack, encode_image):
    """They are found by a pattern or prefix, and opened again by a worker as they are."""
    keys = ["a[1]", "b,c", "d{e,f}", "g%20h", "i#j", "k l", "m?", "n*"]
    data = pack({"0.png": encode_image()}, "zip", "one").read_bytes()
    put("memory://odd/x", **{f"{key}.zip": data for key in keys})
    source = open_images("memory://odd/x/", resolution=4)
    assert source.ids == [f"{key}/0.png" for key in keys]
    assert list(source.provenance["archive_files"]) == [f"{key}.zip" for key in keys]
    source.check_unchanged()
    assert open_images(source.recipe.archive, resolution=4).ids == source.ids
    one = open_images("memory://odd/x/b*.zip", resolution=4)
    assert (one.ids, one.provenance["archive"]) == (["0.png"], "b,c.zip")
    assert open_images(one.recipe.archive, resolution=4).ids == ["0.png"]


def test_members_that_lie_side_by_side_in_a_bucket_take_one_request(pack, encode_image, monkeypatch):
    data = pack({f"{k:03}.png": encode_image(k) for k in range(60)}).read_bytes()
    put("memory://blocks/x", **{"a.zip": data})
    calls, read_at = [], RemoteFile.read_at
    monkeypatch.setattr(RemoteFile, "read_at", lambda *given: calls.append(given[1:]) or read_at(*given))
    source = open_images("memory://blocks/x/a.zip", resolution=4, check_first=0)
    del calls[:]
    for k in range(60):
        source.read(k)
    assert len(calls) <= len(data) // 2**16 + 1
    assert len(data) > 2**16


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("memory://none/*.zip", "no object has such a name"),
        ("memory://none/x/", r"no object of \.zip, \.tar lies below it"),
        ("memory://tars/a.tar", "is a tar on a server"),
        ("memory://none/a.zip", "no such file"),
        ("http://127.0.0.1:9/*.zip", "such a server does not list its files"),
    ],
)
def test_what_a_bucket_lacks_is_named(pack, encode_image, spec, message):
    put("memory://tars", **{"a.tar": pack({"0.png": encode_image()}, "tar").read_bytes()})
    with pytest.raises(ArchiveError, match=message):
        open_images(spec, resolution=4)


def test_arrays_of_files_follow_each_other_in_natural_order(tmp_path):
    stored = np.random.default_rng(0).normal(size=(12, 5, 2)).astype(np.float32)
    for part in (0, 2, 10):
        np.save(tmp_path / f"run{part}.npy", stored[part // 2 : part // 2 + 4])
    source = open_array_archive(str(tmp_path / "run*.npy"), axes="t")
    assert list(source.provenance["archive_files"]) == ["run0.npy", "run2.npy", "run10.npy"]
    whole = np.concatenate([stored[k : k + 4] for k in (0, 1, 5)])
    assert source.ids == [str(k) for k in range(12)]
    np.testing.assert_allclose(values(source, *range(12)), whole, rtol=1e-5, atol=1e-5)
    np.save(tmp_path / "whole.npy", whole)
    alone = open_array_archive(tmp_path / "whole.npy", axes="t")
    assert source.features == alone.features  # scaled between the values of all
    assert source.split.tolist() == alone.split.tolist()
    assert source.provenance["sha256"] == alone.provenance["sha256"]


def write_npz(path, count=3, shape=(4, 1), dtype=np.float32, **beside):
    values = np.random.default_rng(count).normal(size=(count, *shape)).astype(dtype)
    np.savez(path, values=values, **beside)
    return values


def test_labels_ids_and_splits_of_arrays_are_joined(tmp_path):
    first = write_npz(
        tmp_path / "a.npz", 3, kind=["x", "y", "x"], name=["a", "b", "c"], part=["train", "test", "train"]
    )
    second = write_npz(tmp_path / "b.npz", 2, kind=["zz", "x"], name=["long", "e"], part=["train", "validation"])
    given = {"labels": "kind", "ids": "name", "split_from": "part"}
    source = open_array_archive([tmp_path / "a.npz", tmp_path / "b.npz"], array="values", **given)
    assert source.ids == ["a", "b", "c", "long", "e"]
    assert source.labels["kind"].names == ("x", "y", "zz")
    assert source.labels["kind"].values.tolist() == [0, 1, 0, 2, 0]
    assert source.split.tolist() == ["train", "test", "train", "train", "validation"]
    np.testing.assert_allclose(values(source, 3, 2), [second[0], first[2]], rtol=1e-5, atol=1e-5)
    reverse = open_array_archive([tmp_path / "b.npz", tmp_path / "a.npz"], array="values", **given)
    assert reverse.ids == ["long", "e", "a", "b", "c"]  # as listed


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"shape": (5, 1)}, r"b\.npz: array 'values' has the shape \(3, 5, 1\) .*\(examples, 4, 1\) .* as in a\.npz"),
        ({"shape": (4, 2)}, r"b\.npz: array 'values' has the shape \(3, 4, 2\)"),
        ({"dtype": np.float64}, r"b\.npz: array 'values' .* of float64, expected .* of float32"),
        ({"kind": [1, 2]}, r"b\.npz: array 'kind' has the shape \(2,\), expected one value for each of 3 examples"),
        ({"kind": ["x", "y", "z"]}, r"b\.npz: array 'kind' holds <U1, expected int64 as in a\.npz"),
        ({}, r"b\.npz: there is no array 'kind', which a\.npz has"),
    ],
)
def test_files_that_differ_are_named(tmp_path, other, message):
    write_npz(tmp_path / "a.npz", kind=[1, 2, 3])
    write_npz(tmp_path / "b.npz", **other)
    with pytest.raises(ArchiveError, match=message):
        open_array_archive(str(tmp_path / "*.npz"), labels="kind")


@pytest.mark.parametrize("damaged", ["a.npz", "b.npz"])
def test_a_damaged_array_of_a_file_is_named(tmp_path, damaged):
    """The message says what is wrong with it, and not that the other file differs."""
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name)
    content = bytearray((tmp_path / damaged).read_bytes())
    content[150] ^= 255  # in the header of the only array
    (tmp_path / damaged).write_bytes(content)
    with pytest.raises(ArchiveError, match=rf"{damaged}: array 'values' cannot be read: Bad CRC"):
        open_array_archive(str(tmp_path / "*.npz"), array="values")


def test_hdf5_and_zarr_files_are_joined_if_their_attributes_agree(tmp_path):
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    stored = np.random.default_rng(0).normal(size=(6, 4, 1)).astype(np.float32)
    for part, unit in enumerate("KK"):
        with h5py.File(tmp_path / f"{part}.h5", "w") as file:
            file["t"] = stored[3 * part : 3 * part + 3]
            file["t"].attrs["units"] = unit
        zarr.save_array(tmp_path / f"{part}.zarr", stored[3 * part : 3 * part + 3])
    for pattern in ("*.h5", "*.zarr"):
        source = open_array_archive(str(tmp_path / pattern))
        np.testing.assert_allclose(values(source, 4)[0], stored[4], rtol=1e-5, atol=1e-5)
    source.check_unchanged()
    with h5py.File(tmp_path / "1.h5", "a") as file:
        file["t"].attrs["units"] = "degC"
    with pytest.raises(ArchiveError, match=r"1\.h5: attributes of array 't' are .*degC.*expected .*'K'.* as in 0\.h5"):
        open_array_archive(str(tmp_path / "*.h5"))


def test_a_folder_of_arrays_is_one_archive(tmp_path):
    (tmp_path / "runs/deep").mkdir(parents=True)
    (tmp_path / "runs/notes.md").write_text("of these")
    for name in ("1", "deep/2"):
        np.save(tmp_path / f"runs/{name}.npy", np.zeros((2, 4, 1), np.float32) + len(name))
    assert list(open_array_archive(tmp_path / "runs").provenance["archive_files"]) == ["1.npy", "deep/2.npy"]


def test_voxels_of_files_are_one_archive(tmp_path):
    shapes = archives.shapes()
    for part in range(2):
        np.savez(tmp_path / f"{part}.npz", occupancy=shapes[4 * part : 4 * part + 4], labels=np.arange(4) % 2)
    source = open_voxels(str(tmp_path / "*.npz"))
    assert len(source.ids) == 8
    assert source.labels["labels" if "labels" in source.labels else "class"].values.tolist() == [0, 1] * 4
    np.testing.assert_array_equal(source.read(6)[..., 0], shapes[6])
    np.savez(tmp_path / "2.npz", a=shapes[0], b=shapes[1])
    with pytest.raises(ArchiveError, match=r"2\.npz: there is no array 'occupancy'"):
        open_voxels(str(tmp_path / "*.npz"))


def test_sounds_of_files_are_one_archive(tmp_path):
    for part in range(2):
        (tmp_path / f"s{part}").mkdir()
        folder = archives.sounds(tmp_path / f"s{part}")
        with zipfile.ZipFile(tmp_path / f"speech-{part}.zip", "w") as packed:
            for file in sorted(folder.iterdir()):
                packed.write(file, file.name)
    source = open_audio(str(tmp_path / "speech-*.zip"), samples=64)
    assert source.ids[:1] + source.ids[-1:] == ["speech-0/0.wav#0", "speech-1/7.wav#0"]
    assert "class" not in source.labels
    files = open_audio(str(tmp_path / "s*/sounds/*.wav"), samples=64)
    assert files.ids[0] == "s0/sounds/0.wav#0"
    assert files.labels["class"].names == ("s0/sounds", "s1/sounds")
    np.testing.assert_array_equal(files.read(9), source.read(9))
    with wave.open(str(tmp_path / "s1/sounds/x.wav"), "wb") as other:
        other.setnchannels(2)
        other.setsampwidth(2)
        other.setframerate(8000)
        other.writeframes(bytes(256))
    with pytest.raises(TooManyRejectsError, match=r"s1/sounds/x\.wav"):
        open_audio(str(tmp_path / "s*/sounds/*.wav"), samples=64, channels="keep")


def test_clips_of_files_are_one_archive(tmp_path):
    clips = np.random.default_rng(0).integers(0, 256, (4, 4, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", clips[:3])
    np.save(tmp_path / "b.npy", clips[3])
    source = open_video(str(tmp_path / "*.npy"), frames=4, resolution=8)
    assert source.ids == ["a.npy[0]#0", "a.npy[1]#0", "a.npy[2]#0", "b.npy[0]#0"]
    np.testing.assert_array_equal(source.read(3), clips[3])


def test_shapes_and_scenes_of_files_are_one_archive(tmp_path):
    shapes = archives.shapes()
    for synset in ("02691156", "02958343"):
        members = {f"m{k}/models/model_normalized.solid.binvox": archives.binvox(shapes[k]) for k in range(3)}
        archives.write_zip(tmp_path / f"{synset}.zip", members)
    by_pattern, by_folder = open_shapenet(str(tmp_path / "*.zip"), resolution=8), open_shapenet(tmp_path, resolution=8)
    assert by_pattern.ids == by_folder.ids == sorted(f"{s}/m{k}" for s in ("02691156", "02958343") for k in range(3))
    assert by_pattern.provenance["sha256"] == by_folder.provenance["sha256"]
    assert by_pattern.labels["class"].names == by_folder.labels["class"].names
    (tmp_path / "scenes").mkdir()
    whole = archives.scenes(tmp_path / "scenes")
    with zipfile.ZipFile(whole) as packed:
        for split in ("train", "test"):
            names = [name for name in packed.namelist() if name.startswith(f"cars_{split}/")]
            parts = {name.split("/", 1)[1]: packed.read(name) for name in names}
            archives.write_zip(tmp_path / f"scenes/cars_{split}-00.zip", parts)
    source, alone = (open_srn(path, resolution=8) for path in (str(tmp_path / "scenes/cars_*-00.zip"), whole))
    assert source.split.tolist() == alone.split.tolist()
    assert source.ids[-1] == alone.ids[-1].replace("cars_train", "cars_train-00")


def test_cameras_of_files_are_one_archive(tmp_path):
    with zipfile.ZipFile(archives.nerf(tmp_path)) as packed:
        for split in ("train", "test"):
            names = [name for name in packed.namelist() if name.startswith(f"{split}/")]
            members = {name.split("/", 1)[1]: packed.read(name) for name in names}
            archives.write_zip(tmp_path / f"{split}.zip", {**members})
    source, alone = (
        open_nerf(path, resolution=8, held_out_split="test") for path in (f"{tmp_path}/t*.zip", tmp_path / "nerf.zip")
    )
    assert source.ids == alone.ids
    assert source.split.tolist() == alone.split.tolist()
    np.testing.assert_array_equal(source.read(5), alone.read(5))


def test_labels_beside_files_are_of_all_of_them(pack, encode_image, tmp_path):
    names = [f"{k:06}.jpg" for k in range(1, 7)]
    for part in range(2):
        pack({name: encode_image(fmt="JPEG") for name in names[3 * part : 3 * part + 3]}, "zip", f"img_{part}")
    rows = "".join(f"{name} {1 if k % 2 else -1} -1\n" for k, name in enumerate(names))
    (tmp_path / "list_attr_celeba.txt").write_text(f"6\nBald Smiling\n{rows}")
    source = open_celeba(f"{tmp_path}/img_*.zip", resolution=4, crop="square")
    assert source.labels["Bald"].values.tolist() == [-1, 1] * 3
    table = "".join(f"{name},{k}\n" for k, name in enumerate(names))
    (tmp_path / "table.csv").write_text(f"file,age\n{table}")
    source = open_images(tmp_path, resolution=4, labels=str(tmp_path / "table.csv"))  # a folder of zips and texts
    assert source.labels["age"].values.tolist() == list(range(6))
    assert source.ids[3] == "img_1/000004.jpg"


def test_tables_of_a_pattern_are_one_archive(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(archives.table(tmp_path))
    for name, start, count in (("train-0", 0, 3), ("train-1", 3, 3), ("test-0", 6, 2)):
        pq.write_table(table.slice(start, count), tmp_path / f"{name}.parquet")
    source = open_huggingface(str(tmp_path / "t*-*.parquet"), resolution=8)
    assert source.split.tolist() == ["train"] * 6 + ["test"] * 2
    assert list(source.provenance["archive_files"]) == ["train/train-0", "train/train-1", "test/test-0"]
    put("memory://tables/x", **{f.name: f.read_bytes() for f in tmp_path.glob("t*-*.parquet")})
    for place in ("memory://tables/x/*.parquet", "memory://tables/x/"):
        assert open_huggingface(place, resolution=8).ids == source.ids
    (tmp_path / "train-2.parquet").write_bytes((tmp_path / "train-1.parquet").read_bytes())
    with pytest.raises(ArchiveError, match=r"train-2\.parquet: was added"):
        source.check_unchanged()


def test_tars_of_a_list_of_webdataset_are_one_archive(pack, encode_image, tmp_path):
    for part in range(2):
        pack({f"{part}{k}.png": encode_image(k) for k in range(3)}, "tar", f"shard-{part}")
    source = open_webdataset([tmp_path / "shard-1.tar", tmp_path / "shard-0.tar"], resolution=4)
    assert source.ids == [f"{part}{k}" for part in range(2) for k in range(3)]
    assert source.provenance["archive_files"] == {f"shard-{k}.tar": sha256(tmp_path / f"shard-{k}.tar") for k in (1, 0)}


def test_kinds_of_one_archive_take_one(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pytest.raises(ArchiveError, match="names 2 files, such as a and b, expected one"):
        open_mnist([tmp_path / "a", tmp_path / "b"])


def test_files_are_found_again_in_another_folder(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = open_images("part-*.zip", resolution=4)
    monkeypatch.chdir("/")
    source.check_unchanged()
    images = functa_store.converters()["images"]
    again = images.open(source.recipe.archive, source.recipe.options_of(images.options, {}), *_usual())
    assert again.ids == source.ids
    (tmp_path / "part-001.zip").unlink()
    with pytest.raises(ArchiveError, match=r"part-001\.zip: no such file"):
        images.open(source.recipe.archive, source.recipe.options_of(images.options, {}), *_usual())


@pytest.mark.parametrize("folder", ["with, comma", "w[1]", "w{a,b}", "@w", "w*"])
def test_names_of_the_working_folder_are_no_patterns(pack, encode_image, tmp_path, monkeypatch, folder):
    below = tmp_path / folder
    below.mkdir()
    for name in ("a", "b", "@c"):
        pack({f"{name}.png": encode_image()}, "zip", f"{folder}/{name}")
    (below / "list.txt").write_text("a.zip\nb.zip\n")
    monkeypatch.chdir(below)
    for spec, count in (("[ab].zip", 2), ("{a,b}.zip", 2), ("a.zip,@c.zip", 2), ("@list.txt", 2), ("*.zip", 3)):
        source = open_images(spec, resolution=4)
        assert len(source.ids) == count
        source.check_unchanged()  # as at the end of a conversion


def _usual():
    return functa_store.plugins.SurveyOptions(), lambda event: None


def test_a_name_with_characters_of_patterns_is_a_name(pack, encode_image, tmp_path, monkeypatch):
    path = pack({"0.png": encode_image()}, "zip", "a[1],{b}*")
    assert open_images(path, resolution=4).ids == ["0.png"]
    odd = pack({"0.png": encode_image()}, "zip", "@odd")
    assert open_images(odd, resolution=4).ids == ["0.png"]
    monkeypatch.chdir(tmp_path)
    assert open_images(Path("@odd.zip"), resolution=4).ids == ["0.png"]  # only texts are lists
    both = many_archives.open_archives(find_files([path, odd]))
    assert both.members == ["@odd/0.png", "a[1],{b}*/0.png"]
    with pytest.raises(MemberError, match="is not in the archive"):
        both.read("x")


def test_limits_of_open_files_are_kept(pack, encode_image, tmp_path):
    """More zips than a process may have files open are one archive."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    data = pack({"0.png": encode_image(size=(4, 4))}, "zip", "one").read_bytes()
    for part in range(150):
        (tmp_path / f"p-{part}.zip").write_bytes(data)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 80, hard))
    try:
        source = open_images(str(tmp_path / "p-*.zip"), resolution=4, check_first=0)
        assert [source.read(k).shape for k in range(0, 150, 30)] == [(4, 4, 3)] * 5
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
