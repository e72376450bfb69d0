"""Array files of strangers: no code runs, no other file is read, and little memory is taken."""

import errno
import functools
import io
import json
import math
import multiprocessing
import os
import shutil
import struct
import time
import zipfile
import zlib

import h5py
import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr

from converters.arrays import bounds as array_bounds
from converters.arrays import hdf5_files
from converters.arrays.array_files import open_arrays
from converters.arrays.arrays import open_array_archive
from converters.arrays.hdf5_files import Hdf5Arrays
from converters.arrays.npy_files import ZipMembers
from converters.arrays.zarr_codecs import ALLOWED, COMPRESSORS, check_codecs
from converters.arrays.zarr_files import ZarrArrays, open_zarr_store
from converters.climate.climate import open_climate
from converters.shapes.voxels import open_voxels
from functa_store.errors import ArchiveError, MemberError, TooManyRejectsError
from functa_store.sources.array_source import ArraySource
from functa_store.sources.source import Label
from functa_store.sources.xarray_source import from_xarray

COUNT = 6
VALUES = np.random.default_rng(0).normal(280, 10, (COUNT, 4, 5)).astype(np.float32)
GRIDS = np.random.default_rng(1).random((COUNT, 4, 4, 4)) > 0.5
NAMES = np.array([f"n{k}" for k in range(COUNT)])
TRAIN = {"max_rejects": 1.0}


def weather():
    """Fields over latitude and longitude, with a coordinate of text."""
    lat, lon = np.arange(60, -61, -40.0), np.arange(0, 360, 72.0)
    coords = {
        "time": ("time", np.arange(COUNT) * 12, {"units": "hours since 1959-01-01"}),
        "lat": ("lat", lat, {"units": "degrees_north"}),
        "lon": ("lon", lon, {"units": "degrees_east"}),
        "kind": ("time", NAMES),
    }
    return xr.Dataset({"t2m": (("time", "lat", "lon"), VALUES, {"units": "K"})}, coords)


def zarr_store(path, version=2, **arrays):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    for name, array in (arrays or {"values": VALUES, "occupancy": GRIDS, "n": np.arange(COUNT)}).items():
        group.create_array(name, data=array, chunks=(2, *array.shape[1:]))
    return path


def change(path, **entries):
    """Replace entries of a JSON document."""
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


class Ran:
    """A pickle that leaves a folder behind."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(name="ran")
def _ran(tmp_path, monkeypatch):
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    return tmp_path / "ran"


def spoil_with_pickles(array, ran, codecs=({"id": "vlen-utf8"}, {"id": "pickle"})):
    """Make an array of version 2 one whose chunks run code when they are read."""
    change(array / ".zarray", dtype="|O", filters=list(codecs), compressor=None, fill_value=None)
    packed = numcodecs.Pickle().encode(np.array([Ran(ran)], object))
    for chunk in array.iterdir():
        if not chunk.name.startswith("."):
            chunk.write_bytes(bytes(packed))


@pytest.mark.parametrize("check_first", [None, 1])
def test_pickles_in_zarr_are_refused_and_do_not_run(tmp_path, ran, check_first):
    path = zarr_store(tmp_path / "a.zarr")
    spoil_with_pickles(path / "n", ran)
    for convert in (
        lambda: open_array_archive(path, array="values", channels_axis="none", ids="n", check_first=check_first),
        lambda: open_array_archive(path, array="values", channels_axis="none", check_first=check_first),
        lambda: open_voxels(path, labels="n", check_first=check_first),
    ):
        with pytest.raises(ArchiveError, match=r"a\.zarr/n: its codec 'pickle' is none .* might run code .* trust"):
            convert()
    fields = tmp_path / "fields.zarr"
    weather().to_zarr(fields, zarr_format=2, consolidated=False)
    spoil_with_pickles(fields / "kind", ran)
    with pytest.raises(ArchiveError, match=r"fields\.zarr/kind: its codec 'pickle'"):
        open_climate(fields, check_first=check_first)
    assert not ran.exists()


@pytest.mark.parametrize("hidden", ["own", "consolidated"])
def test_pickles_are_found_in_an_arrays_own_metadata_and_in_consolidated_ones(tmp_path, ran, hidden):
    fields = tmp_path / "fields.zarr"
    weather().to_zarr(fields, zarr_format=2, consolidated=True)
    consolidated = (fields / ".zmetadata").read_bytes()
    spoil_with_pickles(fields / "kind", ran)
    if hidden == "consolidated":
        spoiled = json.loads((fields / "kind/.zarray").read_text())
        change(fields / "kind/.zarray", **json.loads(consolidated)["metadata"]["kind/.zarray"])
        both = json.loads(consolidated)
        both["metadata"]["kind/.zarray"] = spoiled
        (fields / ".zmetadata").write_text(json.dumps(both))
    with pytest.raises(ArchiveError, match="its codec 'pickle'"):
        open_climate(fields)
    assert not ran.exists()


def test_metadata_that_disagree_on_how_chunks_are_packed_are_refused(tmp_path):
    fields = tmp_path / "fields.zarr"
    weather().to_zarr(fields, zarr_format=2, consolidated=True)
    change(fields / "t2m/.zarray", compressor={"id": "zlib", "level": 1})
    with pytest.raises(ArchiveError, match="its own and the consolidated metadata have different"):
        open_climate(fields)


@pytest.mark.parametrize(
    "codec",
    [
        *("pickle", "json2", "msgpack2", "vlen-array", "categorize", "base64", "zfpy", "pcodec", "no such codec"),
        *("numcodecs.pickle", "numcodecs.json2", "numcodecs.vlen-array", "Pickle", "pickle ", "n5_wrapper"),
    ],
)
def test_no_codec_but_those_of_plain_data_is_let_through(tmp_path, codec):
    for place in ("compressor", "filters"):
        path = zarr_store(tmp_path / f"{place}.zarr", values=VALUES)
        change(path / "values/.zarray", **{place: {"id": codec} if place == "compressor" else [{"id": codec}]})
        with pytest.raises(ArchiveError, match=r"values: its codec .* none of those"):
            open_array_archive(path)
    path = zarr_store(tmp_path / "a3.zarr", 3, values=VALUES)
    plain, strange = {"name": "bytes", "configuration": {"endian": "little"}}, {"name": codec}
    sharded = {"chunk_shape": [1, 4, 5], "codecs": [plain, strange], "index_codecs": [plain]}
    for codecs in ([plain, strange], [{"name": "sharding_indexed", "configuration": sharded}], [codec]):
        change(path / "values/zarr.json", codecs=codecs)
        with pytest.raises(ArchiveError, match=r"values: its codec .* none of those"):
            open_array_archive(path)


def test_a_codec_is_what_it_is_called_not_what_its_options_say(tmp_path):
    path = zarr_store(tmp_path / "a.zarr", 3, values=VALUES)
    change(path / "values/zarr.json", codecs=["bytes", {"name": "numcodecs.zlib", "configuration": {"id": "pickle"}}])
    with pytest.raises(ArchiveError, match=r"values: found the codec .*'id': 'pickle'"):
        open_array_archive(path)


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
def test_consolidated_metadata_of_version_3_are_checked(tmp_path):
    path = zarr_store(tmp_path / "a.zarr", 3, values=VALUES)
    zarr.consolidate_metadata(path)
    root = json.loads((path / "zarr.json").read_text())
    root["consolidated_metadata"]["metadata"]["values"]["codecs"] = [{"name": "numcodecs.pickle"}]
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(ArchiveError, match="its codec 'pickle'"):
        open_array_archive(path)


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("version", [2, 3])
def test_codecs_of_plain_data_are_let_through(tmp_path, version):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    made = {}
    if version == 2:
        packed = [numcodecs.Zlib(), numcodecs.GZip(), numcodecs.BZ2(), numcodecs.LZMA(), numcodecs.LZ4()]
        for codec in [*packed, numcodecs.Zstd(), numcodecs.Blosc()]:
            made[codec.codec_id] = group.create_array(codec.codec_id, data=VALUES, compressors=codec)
        filters = [numcodecs.Delta("f4"), numcodecs.FixedScaleOffset(0, 8, "f4", "i2"), numcodecs.Quantize(3, "f4")]
        for codec in [*filters, numcodecs.AsType("f8", "f4"), numcodecs.BitRound(9), numcodecs.Shuffle(4)]:
            made[codec.codec_id] = group.create_array(codec.codec_id, data=VALUES, filters=[codec])
        made["packbits"] = group.create_array("packbits", data=GRIDS, filters=[numcodecs.PackBits()])
    else:
        codecs = zarr.codecs
        for codec in (codecs.BloscCodec(), codecs.GzipCodec(), codecs.ZstdCodec(), codecs.ZstdCodec(checksum=True)):
            made[str(len(made))] = group.create_array(str(len(made)), data=VALUES, compressors=codec)
        sharded = {"chunks": (1, 4, 5), "shards": (3, 4, 5)}
        made["sharded"] = group.create_array("sharded", data=VALUES, **sharded)
        made["checked"] = group.create_array(
            "checked", data=VALUES, compressors=[codecs.GzipCodec(), codecs.Crc32cCodec()]
        )
        made["turned"] = group.create_array("turned", data=VALUES, filters=[codecs.TransposeCodec(order=(2, 0, 1))])
        made["delta"] = group.create_array("delta", data=VALUES, filters=[codecs.numcodecs.Delta(dtype="float32")])
    text = group.create_array("text", shape=(COUNT,), dtype=str, chunks=(4,))
    text[:] = NAMES.astype(object)
    found = ZarrArrays(open_zarr_store(str(tmp_path / "a.zarr")))
    assert set(found) == {*made, "text"}
    assert found["text"][:].tolist() == NAMES.tolist()
    for name, array in made.items():
        np.testing.assert_array_equal(found[name][:], array[:])
        np.testing.assert_array_equal(found[name][2:3], array[2:3])


def bomb(codec, num_bytes):
    return bytes(numcodecs.get_codec({"id": codec}).encode(bytes(num_bytes)))


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("codec", COMPRESSORS)
@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_that_unpacks_to_more_than_its_values_is_not_unpacked(tmp_path, codec, version):
    path = zarr_store(tmp_path / "a.zarr", version, values=VALUES)
    if version == 2:
        change(path / "values/.zarray", compressor={"id": codec}, filters=None)
        chunks = [path / f"values/{k}.0.0" for k in range(3)]
    else:
        plain = {"name": "bytes", "configuration": {"endian": "little"}}
        change(path / "values/zarr.json", codecs=[plain, {"name": f"numcodecs.{codec}", "configuration": {}}])
        chunks = [path / f"values/c/{k}/0/0" for k in range(3)]
    content = bytes(numcodecs.get_codec({"id": codec}).encode(VALUES[:2]))
    for chunk in chunks:
        chunk.write_bytes(content)
    chunks[1].write_bytes(bomb(codec, 1 << 24))
    source = open_array_archive(path, channels_axis="none", **TRAIN)
    assert [reject.member for reject in source.rejects] == ["2", "3"]
    assert any(words in source.rejects[0].reason for words in ("unpacks to", "bytes stored in"))


SPOILT_BLOSC = {
    "a byte is missing": lambda content: content[:-1],
    "no whole header": lambda content: content[:15],
    "nothing": lambda content: b"",
    "a byte too many": lambda content: content + b"x",
    "promises gigabytes": lambda content: content[:12] + struct.pack("<I", 0x66B70038) + content[16:],
    "promises nothing": lambda content: content[:12] + struct.pack("<I", 0) + content[16:],
}


@pytest.mark.parametrize("damage", SPOILT_BLOSC)
@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_of_blosc_that_is_not_as_long_as_it_says_is_not_unpacked(tmp_path, version, damage):
    """The library reads as much as the header says: a crash."""
    path = zarr_store(tmp_path / "a.zarr", version, values=VALUES)
    content = bytes(numcodecs.Blosc().encode(VALUES[:2]))
    if version == 2:
        change(path / "values/.zarray", compressor={"id": "blosc"}, filters=None)
        chunks = [path / f"values/{k}.0.0" for k in range(3)]
    else:
        plain = {"name": "bytes", "configuration": {"endian": "little"}}
        blosc = {"typesize": 4, "cname": "zstd", "clevel": 5, "shuffle": "shuffle", "blocksize": 0}
        change(path / "values/zarr.json", codecs=[plain, {"name": "blosc", "configuration": blosc}])
        chunks = [path / f"values/c/{k}/0/0" for k in range(3)]
    for chunk in chunks:
        chunk.write_bytes(content)
    chunks[1].write_bytes(SPOILT_BLOSC[damage](content))
    source = open_array_archive(path, channels_axis="none", **TRAIN)
    assert [reject.member for reject in source.rejects] == ["2", "3"]
    assert "has a damaged chunk" in source.rejects[0].reason or "of a header" in source.rejects[0].reason


def test_zstandard_frames_that_do_not_tell_their_size_are_measured_by_their_blocks():
    codecs = check_codecs("a", [{"id": "zstd"}], 1)
    block = (5 << 3 | 1 << 1).to_bytes(3, "little") + b"x"  # 5 bytes of x, by run length
    frame = struct.pack("<IBB", 0xFD2FB528, 0, 0x58) + block * 3 + (1 | 7 << 3 | 1 << 1).to_bytes(3, "little") + b"y"
    codecs.check_packed(frame, 22)
    long = (1 << 20 | 1 << 1).to_bytes(3, "little") + b"x"
    with pytest.raises(MemberError, match="unpacks to"):
        codecs.check_packed(struct.pack("<IBB", 0xFD2FB528, 0, 0x58) + long * 99, 22)


def test_texts_whose_number_is_more_than_a_chunk_holds_are_refused(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("values", data=VALUES)
    group.create_array("ids", shape=(COUNT,), dtype=str, chunks=(COUNT,), compressors=None)[:] = NAMES.astype(object)
    chunk = tmp_path / "a.zarr/ids/0"
    chunk.write_bytes(struct.pack("<I", 2**32 - 1) + chunk.read_bytes()[4:])
    with pytest.raises(ArchiveError, match=r"'ids': cannot be read: .*texts"):
        open_array_archive(tmp_path / "a.zarr", array="values", channels_axis="none", ids="ids")


def test_texts_that_are_long_in_all_chunks_together_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("converters.arrays.zarr_files.MAX_TEXT_BYTES", 3 * 2**10)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("values", data=VALUES)
    group.create_array("ids", shape=(COUNT,), dtype=str, chunks=(1,))[:] = np.array(["x" * 2**10] * COUNT, object)
    with pytest.raises(ArchiveError, match="its texts have more than 3072 bytes"):
        open_array_archive(tmp_path / "a.zarr", array="values", channels_axis="none", ids="ids")


def test_texts_that_are_read_again_count_once(tmp_path, monkeypatch):
    monkeypatch.setattr("converters.arrays.zarr_files.MAX_TEXT_BYTES", 3 * 2**10)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("ids", shape=(2,), dtype=str, chunks=(1,))[:] = np.array(["x" * 2**10] * 2, object)
    store = open_zarr_store(str(tmp_path / "a.zarr"))
    for k in range(20):
        assert store.read(f"ids/{k % 2}")


def test_texts_in_many_chunks_are_counted_in_no_time(tmp_path):
    store = open_zarr_store(str(zarr_store(tmp_path / "a.zarr")))
    start = time.monotonic()
    for k in range(100_000):
        store._count_texts((f"ids/{k}", None), 9)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"shape": [COUNT, 2**15, 2**18], "chunks": [1, 2**15, 2**18]}, r"one chunk .* expected at most 268435456"),
        ({"shape": [2**50, 4, 5]}, r"promises .* bytes, but only \d+ are stored"),
        ({"shape": [2**20, 4, 5], "chunks": [1, 4, 5]}, r"promises 1048576 chunks"),
        ({"shape": [2**64, 4, 5]}, "as its shape"),
        ({"shape": [-1, 4, 5]}, "as its shape"),
        ({"shape": [True, 4, 5]}, "as its shape"),
        ({"chunks": [0, 4, 5]}, "has chunks of"),
        ({"chunks": [2, 4]}, "has chunks of"),
        ({"dtype": "<U99999999"}, "texts of moderate length"),
        ({"dtype": "|O"}, "Python objects"),
        ({"filters": [{"id": "zlib"}]}, "compressed twice"),
        ({"filters": [{"id": "delta", "dtype": "<f4", "astype": "|O"}]}, "expected plain numbers"),
        ({"filters": [{"id": "astype", "encode_dtype": "|i1", "decode_dtype": "<f8"}]}, "takes numbers of 64 bits"),
        ({"filters": [{"id": "bitround", "keepbits": 4}] * 20}, "has 21 codecs"),
    ],
)
def test_metadata_that_promise_what_is_not_there_are_refused_before_anything_is_read(tmp_path, entries, words):
    path = zarr_store(tmp_path / "a.zarr", values=VALUES)
    change(path / "values/.zarray", compressor={"id": "zlib"}, **entries)
    with pytest.raises(ArchiveError, match=words):
        open_array_archive(path)


def test_a_store_of_nothing_but_fill_values_is_no_archive_of_millions(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(10**7, 2, 2), chunks=(10**6, 2, 2), dtype="u1", fill_value=1)
    with pytest.raises(ArchiveError, match="promises 10000000 examples"):
        open_array_archive(tmp_path / "a.zarr")
    zarr.create_array(tmp_path / "b.zarr", shape=(2, 2**15, 2**14), chunks=(1, 2**15, 2**13), dtype="u1", fill_value=1)
    with pytest.raises(ArchiveError, match=r"promises .* bytes, but only"):
        open_array_archive(tmp_path / "b.zarr", channels_axis="none")


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"shape": ' + "1" * 5000 + "}", "[]"]
)
def test_metadata_that_nest_without_end_are_refused(tmp_path, content):
    path = zarr_store(tmp_path / "a.zarr", values=VALUES)
    for document in (path / "values/.zarray", path / ".zgroup", path / ".zattrs", path / "values/zarr.json"):
        before = document.read_text() if document.exists() else None
        document.write_text(content)
        with pytest.raises(ArchiveError, match=r"no JSON that can be read|expected a JSON object"):
            open_array_archive(path)
        document.unlink() if before is None else document.write_text(before)


def test_a_document_of_more_than_a_few_megabytes_is_not_read(tmp_path):
    path = zarr_store(tmp_path / "a.zarr", values=VALUES)
    with open(path / ".zattrs", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ArchiveError, match=r"bytes stored in \.zattrs, expected at most"):
        open_array_archive(path)


def test_arrays_and_groups_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("converters.arrays.zarr_metadata.MAX_ARRAYS", 3)
    monkeypatch.setattr("converters.arrays.hdf5_files.MAX_ARRAYS", 3)
    with pytest.raises(ArchiveError, match="more than 3 arrays and groups"):
        open_array_archive(zarr_store(tmp_path / "a.zarr", **dict.fromkeys("abcd", VALUES)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in "abcd":
            file[name] = VALUES
    with pytest.raises(ArchiveError, match="more than 3 arrays and groups"):
        open_array_archive(tmp_path / "a.h5")


def test_groups_within_groups_are_counted(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group.create_group("/".join("g" * 40))
        file.create_group("/".join("g" * 40))
    for path in (tmp_path / "a.zarr", tmp_path / "a.h5"):
        with pytest.raises(ArchiveError, match="32 groups within each other"):
            open_array_archive(path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ["file", "loop", "pipe", "device", "folder"])
def test_no_link_pipe_or_device_is_read_as_a_chunk(tmp_path, version, kind):
    path = zarr_store(tmp_path / "a.zarr", version, values=VALUES)
    chunk = path / ("values/1.0.0" if version == 2 else "values/c/1/0/0")
    secret = tmp_path / "secret"
    secret.write_bytes(chunk.read_bytes())
    chunk.unlink()
    if kind == "pipe":
        os.mkfifo(chunk)
    elif kind == "folder" and version == 3:
        chunk.parent.rmdir()
        chunk.parent.parent.rmdir()
        (tmp_path / "elsewhere/0").mkdir(parents=True)
        secret.rename(tmp_path / "elsewhere/0/0")
        chunk.parent.parent.symlink_to(tmp_path / "elsewhere")
    else:
        chunk.symlink_to({"loop": chunk.name, "device": "/dev/zero"}.get(kind, str(secret)))
    source = open_array_archive(path, channels_axis="none", **TRAIN)
    assert [reject.member for reject in source.rejects] == ["2", "3"]
    words = {"pipe": "is a pipe", "loop": "cannot be read"}
    assert words.get(kind, "is a link out of the archive") in source.rejects[0].reason


def test_links_that_stay_in_a_store_are_followed(tmp_path):
    path = zarr_store(tmp_path / "a.zarr", 2, values=VALUES)
    (path / "values/1.0.0").unlink()
    (path / "values/1.0.0").symlink_to("0.0.0")
    source = open_array_archive(path, channels_axis="none")
    np.testing.assert_array_equal(source.read(2), source.read(0))


@pytest.mark.parametrize("linked", ["values/.zarray", "values"])
def test_metadata_behind_a_link_out_of_a_store_are_refused(tmp_path, linked):
    path = zarr_store(tmp_path / "a.zarr", 2, values=VALUES)
    (path / linked).rename(tmp_path / "elsewhere")
    (path / linked).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArchiveError, match="is a link out of the archive"):
        open_array_archive(path)


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_shard_in_a_zip_is_not_unpacked_for_each_chunk_in_it(tmp_path, method, monkeypatch):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("values", data=VALUES, chunks=(1, 4, 5), shards=(COUNT, 4, 5))
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w", method) as archive:
        for path in (tmp_path / "a.zarr").rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(tmp_path / "a.zarr"))
    unpacked, read = [], ZipMembers.read
    monkeypatch.setattr(ZipMembers, "read", lambda *given: unpacked.append(given[1]) or read(*given))
    found = ZarrArrays(open_zarr_store(str(tmp_path / "a.zarr.zip")))["values"]
    for k in range(COUNT):
        np.testing.assert_array_equal(found[k], VALUES[k])
    assert unpacked.count("values/c/0/0/0") == (method == zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize("name", ["../a", "values/../../a", "/tmp/a", "..\\a"])
def test_members_of_a_zip_that_lead_out_of_it_are_refused(tmp_path, name):
    store = zarr_store(tmp_path / "a.zarr", 2, values=VALUES)
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as archive:
        for path in store.rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(store))
        archive.writestr(name, b"")
    with pytest.raises(ArchiveError, match=r"leads out of the archive|an absolute name"):
        open_array_archive(tmp_path / "a.zarr.zip")


def hdf5(path, fill=lambda file: None):
    with h5py.File(path, "w") as file:
        file["values"], file["ids"], file["n"] = VALUES, NAMES.tolist(), np.arange(COUNT)
        fill(file)
    return path


def _external(file, name, other):
    del file[name]
    file.create_dataset(name, VALUES.shape, "f4", external=[(str(other), 0, VALUES.nbytes)])


def _virtual(file, name, other):
    del file[name]
    layout = h5py.VirtualLayout(VALUES.shape, "f4")
    layout[...] = h5py.VirtualSource(str(other), "values", shape=VALUES.shape)
    file.create_virtual_dataset(name, layout)


def _unlimited_virtual(file, name, other):
    del file[name]
    layout = h5py.VirtualLayout(VALUES.shape, "f4", maxshape=(None, *VALUES.shape[1:]))
    source = h5py.VirtualSource(str(other), "values", shape=VALUES.shape, maxshape=(None, *VALUES.shape[1:]))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset(name, layout)


def _link(file, name, other):
    del file[name]
    file[name] = h5py.ExternalLink(str(other), "values")


ELSEWHERE = {
    "external storage": _external,
    "is virtual": _virtual,
    "virtual": _unlimited_virtual,
    "another file": _link,
}


@pytest.mark.parametrize("words", ELSEWHERE)
@pytest.mark.parametrize("name", ["values", "n", "some/group/deep"])
def test_values_of_hdf5_that_lie_in_other_files_are_not_read(tmp_path, words, name):
    other = hdf5(tmp_path / "other.h5")

    def fill(file):
        if name not in file:
            file[name] = VALUES
        ELSEWHERE[words](file, name, other)

    path = hdf5(tmp_path / "a.h5", fill)
    for convert in (open_array_archive, open_voxels):
        with pytest.raises(ArchiveError, match=rf"{name}'?.*{words}.* not followed; copy"):
            convert(path)


@pytest.mark.parametrize("words", ELSEWHERE)
@pytest.mark.parametrize("name", ["t2m", "lat", "kind"])
def test_values_behind_netcdf_that_lie_in_other_files_are_not_read(tmp_path, words, name):
    other, path = hdf5(tmp_path / "other.h5"), tmp_path / "a.nc"
    weather().to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "r+") as file:
        if name == "lat":  # a scale of dimensions is attached to others
            name = "lat2"
            file[name] = VALUES
        ELSEWHERE[words](file, name, other)
    with pytest.raises(ArchiveError, match=rf"{name}'?.*{words}.* not followed; copy"):
        open_climate(path)


@pytest.mark.parametrize("target", ["/nowhere", "/g/link", "/g/other"])
def test_links_within_hdf5_that_lead_to_nothing_are_refused(tmp_path, target):
    def fill(file):
        file["g/link"], file["g/other"] = h5py.SoftLink(target), h5py.SoftLink("/g/link")

    with pytest.raises(ArchiveError, match="leads to nothing, or to itself"):
        open_array_archive(hdf5(tmp_path / "a.h5", fill))


def test_groups_of_hdf5_that_hold_each_other_are_gone_through_once(tmp_path):
    def fill(file):
        file["g/up"], file["g/self"] = file["/"], file.create_group("g/h")
        file["g/h/g"] = file["g"]

    assert list(Hdf5Arrays(str(hdf5(tmp_path / "a.h5", fill)))) == ["ids", "n", "values"]


def test_filters_that_are_plug_ins_are_refused(tmp_path):
    def fill(file):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((2, 4))
        plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        h5py.h5d.create(file.id, b"packed", h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple((6, 4)), plist)

    with pytest.raises(ArchiveError, match=r"packed: is packed by filter 32015 .* plug-in .* rewrite the file"):
        open_array_archive(hdf5(tmp_path / "a.h5", fill), array="values")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf"},
        {"compression": "szip"},
        {"scaleoffset": 6},
    ],
)
def test_filters_that_are_built_in_are_let_through(tmp_path, options):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("values", data=VALUES, chunks=(2, 4, 5), **options)
    source = open_array_archive(tmp_path / "a.h5", channels_axis="none")
    np.testing.assert_allclose(source.features.to_values(source.read(5))[..., 0], VALUES[5], rtol=1e-5)


@functools.cache
def zeros_of_zlib(num_bytes=300 << 20):
    """A chunk of 300 kB that unpacks to a thousand times as much."""
    packer = zlib.compressobj(6)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(num_bytes >> 20)]) + packer.flush()


@pytest.mark.slow
def test_a_chunk_of_hdf5_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    packed = zeros_of_zlib()

    def fill(file):
        made = file.create_dataset("x", (4, 64, 2**14), "u1", chunks=(2, 64, 2**14), compression="gzip")
        made[...] = 1
        made.id.write_direct_chunk((2, 0, 0), packed)

    path = hdf5(tmp_path / "a.h5", fill)
    source = open_array_archive(path, array="x", channels_axis="none", **TRAIN)
    assert [reject.member for reject in source.rejects] == ["2", "3"]
    assert "unpacks to" in source.rejects[0].reason


def test_a_chunk_of_netcdf_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    lat, lon = np.linspace(80, -80, 128), np.arange(0, 360, 1.0)
    made = (
        weather()
        .drop_vars(["t2m", "lat", "lon"])
        .assign_coords(lat=("lat", lat, {"units": "degrees_north"}), lon=("lon", lon, {"units": "degrees_east"}))
    )
    made["t2m"] = ("time", "lat", "lon"), np.random.default_rng(0).random((COUNT, 128, 360), np.float32)
    encoding = {"t2m": {"chunksizes": (2, 128, 360), "zlib": True}}
    made.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding=encoding)
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        file["t2m"].id.write_direct_chunk((2, 0, 0), zeros_of_zlib())
    with pytest.raises(TooManyRejectsError, match=r"1959-01-02T00:00 .*unpacks to"):
        open_climate(tmp_path / "a.nc")
    assert len(open_climate(tmp_path / "a.nc", max_rejects=0.5).ids) == 4


@pytest.mark.parametrize(
    ("shape", "chunks", "words"),
    [
        ((COUNT, 2**15, 2**15), (1, 2**15, 2**15), "one chunk .* expected at most"),
        ((2**50, 4, 5), (2, 4, 5), "promises .* (bytes, but only|chunks)"),
        ((2**22, 4, 5), (1, 4, 5), "promises 4194304 chunks"),
    ],
)
def test_hdf5_that_promises_what_is_not_there_is_refused(tmp_path, shape, chunks, words):
    def fill(file):
        file.create_dataset("x", shape, "u1", chunks=chunks, compression="gzip")

    with pytest.raises(ArchiveError, match=words):
        open_array_archive(hdf5(tmp_path / "a.h5", fill), array="values")


def test_a_million_texts_that_are_all_the_same_long_one_are_not_read_at_once(tmp_path, monkeypatch):
    """In HDF5 texts lie in a heap, and any number of values may point at one of them."""
    path = hdf5(tmp_path / "a.h5", lambda file: file.create_dataset("long", data=["x" * 100_000] + ["y"] * 999))
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        start = file["long"].id.get_offset()
    content[start:] = content[start : start + 16] * 1000 + content[start + 16_000 :]
    path.write_bytes(content)
    with h5py.File(path) as file:
        assert set(file["long"][:9].tolist()) == {b"x" * 100_000}
    with pytest.raises(ArchiveError, match="texts of more bytes than the file"):
        open_array_archive(path, array="values", labels="long")
    with pytest.raises(ArchiveError, match="texts of more bytes than the file"):
        Hdf5Arrays(str(path), attributes=True)


def test_a_heap_in_which_hdf5_would_stand_still_is_refused(tmp_path):
    path = hdf5(tmp_path / "a.h5")
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="damaged heap: object 0 in it has 0 bytes"):
        open_array_archive(path, array="values", channels_axis="none", ids="ids")


def lists(*values):
    """An array whose values are arrays."""
    found = np.empty(len(values), object)
    found[:] = values
    return found


def test_bytes_that_are_called_like_a_heap_are_none(tmp_path):
    def fill(file):
        file.attrs["note"] = b"palette GCOL of 1998 and some more text here"
        file["n"].attrs["note"] = "GCOL"

    path = hdf5(tmp_path / "a.h5", fill)
    for attributes in (False, True):
        assert set(Hdf5Arrays(str(path), attributes=attributes)) == {"values", "ids", "n"}


def test_heaps_that_overlap_are_not_gone_through_again_and_again(tmp_path, monkeypatch):
    def fill(file):
        file.attrs["heaps"] = np.full(60_000, 77, "u1")
        file["pad"] = np.zeros(1 << 18)

    path = hdf5(tmp_path / "a.h5", fill)
    content = bytearray(path.read_bytes())
    start = content.index(b"M" * 60_000)
    for k in range(start, start + 59_968, 32):  # each is all the rest of the file
        heap = struct.pack("<8sQHIxxQ", b"GCOL\1\0\0\0", len(content) - k, 0, 0, len(content) - k - 16)
        content[k : k + len(heap)] = heap
    path.write_bytes(content)
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *given: read.append(found := pread(*given)) or found)
    with pytest.raises(ArchiveError, match="damaged heap"):
        Hdf5Arrays(str(path), attributes=True)
    assert sum(map(len, read)) < 4 * len(content)


LISTS = h5py.vlen_dtype("i4")
IN_HEAPS = {
    "text": ("x" * 3000, None),
    "texts": (["x" * 3000], None),
    "table of texts": ([["x" * 3000] * 2] * 3, None),
    "lists": (lists(np.full(750, 0x78787878, "i4")), LISTS),
    "texts in pairs": (np.array([("x" * 3000, 1)], [("text", h5py.string_dtype()), ("n", "i4")]), None),
    "texts in rows": (np.array([(["x" * 3000, ""],)], [("texts", h5py.string_dtype(), (2,))]), None),
}


def damage_last_heap(path):
    content = bytearray(path.read_bytes())
    heap = content.rindex(b"GCOL", 0, content.index(b"x" * 3000))
    content[heap + 16 : heap + 32] = bytes(16)
    path.write_bytes(content)


@pytest.mark.slow
def test_no_heap_behind_netcdf_is_read_unchecked(tmp_path):
    """HDF5 stands still in a damaged one, and so this is tried in another process, which can be killed."""
    weather().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    paths = []
    for kind, (data, dtype) in IN_HEAPS.items():
        for place in ("coordinate", "attribute"):
            paths.append(shutil.copy(tmp_path / "a.nc", tmp_path / f"{kind}-{place}.nc"))
            with h5py.File(paths[-1], "r+") as file:
                if place == "attribute":
                    file["t2m"].attrs.create("more", data, dtype=dtype)
                else:
                    file.create_dataset("crs", data=data, dtype=dtype)
                    file["t2m"].attrs["coordinates"] = np.bytes_("crs")
            damage_last_heap(paths[-1])
    tried = multiprocessing.get_context("spawn").Process(target=_open_refused, args=(paths,))
    tried.start()
    tried.join(60)
    tried.kill()
    assert tried.exitcode == 0


def _open_refused(paths):
    for path in paths:
        with pytest.raises(ArchiveError, match=r"damaged heap|texts or lists within its values"):
            open_climate(path)


def test_texts_and_lists_of_any_shape_beside_fields_are_no_fault(tmp_path):
    weather().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        file["crs"] = "x" * 3000
        file["t2m"].attrs["coordinates"] = np.bytes_("crs")
    assert open_climate(tmp_path / "a.nc").ids
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        file.create_dataset("lists", (2, 3), LISTS)[1, 2] = [1, 2]
        file["table"] = [["a", "b"]] * 3
        file["none"] = h5py.Empty(h5py.string_dtype())
        file.create_dataset("empty", (0, 3), h5py.string_dtype())
    arrays = Hdf5Arrays(str(tmp_path / "a.nc"), attributes=True)
    found = [arrays.read_texts(name) for name in ("none", "empty", "crs", "table")]
    assert found == [[], [], [b"x" * 3000], [b"a", b"b"] * 3]


def test_pairs_with_texts_are_no_labels(tmp_path):
    pairs = np.array([("x" * 3000, 1)] * COUNT, [("text", h5py.string_dtype()), ("n", "i4")])
    path = hdf5(tmp_path / "a.h5", lambda file: file.create_dataset("pairs", data=pairs))
    with pytest.raises(ArchiveError, match="'pairs': holds lists or references"):
        open_array_archive(path, array="values", labels="pairs")


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 4), (2, 3, 5), (4, 0, 2), (5, 1)])
@pytest.mark.parametrize("most", [1, 2, 5, 1000])
def test_parts_of_an_array_go_through_it_once(shape, most):
    array = np.arange(math.prod(shape)).reshape(shape)
    parts = [array[key].ravel().tolist() for key in hdf5_files._parts(shape, most)]
    assert [value for part in parts for value in part] == array.ravel().tolist()
    assert max(map(len, parts), default=0) <= most


@pytest.mark.parametrize("value", [[f"{k}" for k in range(5000)], np.zeros(2**20)])
def test_attributes_of_absurd_size_are_refused(tmp_path, value):
    weather().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with h5py.File(tmp_path / "b.nc", "w", libver="latest") as new, h5py.File(tmp_path / "a.nc") as old:
        for name in old:
            old.copy(name, new)
        new["t2m"].attrs["absurd"] = value
        new["t2m"].attrs["more"] = np.arange(3)
    with open(tmp_path / "b.nc", "ab") as file:
        file.truncate(16 << 20)
    with pytest.raises(ArchiveError, match=r"t2m: attribute b?'absurd' has .* remove it"):
        open_climate(tmp_path / "b.nc")


def npy(descr="<f4", shape=(2, 3), content=b"", version=1, length=None):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    told = struct.pack("<H" if version == 1 else "<I", len(header) if length is None else length)
    return b"\x93NUMPY" + bytes((version, 0)) + told + header + content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy(shape=(10**12, 10**3)), r"promises (4000000000000000|1e\+15) bytes|occupancies have shape"),
        (npy(shape=(2**40, 2**20, 2**20, 2**20)), "promises|at most 268435456 cells"),
        (npy(shape=(-1, 3)), "damaged header"),
        (npy(shape=(1,) * 40), "damaged header"),
        (npy(version=2, length=2**32 - 1), "header of 4294967295 bytes"),
        (npy("|O", content=bytes(99)), "Python objects, which are never loaded"),
        (npy("<U99999999"), "promises|occupancies have shape"),
        (npy(version=7), "version 7.0"),
        (b"\x93NUMPY\1\0" + struct.pack("<H", 9000) + b"(" * 9000, "damaged header"),
        (b"\x93NUMPY\1\0\xff", "ends within its header"),
    ],
)
def test_headers_of_numpy_that_promise_anything_are_refused_before_memory_is_taken(tmp_path, content, words):
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("values.npy", content)
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        for convert in (open_array_archive, open_voxels):
            with pytest.raises(ArchiveError, match=words) as caught:
                convert(path)
            assert "allow_pickle" not in str(caught.value)


def test_a_member_of_an_npz_that_inflates_to_gigabytes_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("converters.arrays.npy_files.ALWAYS_NPZ_BYTES", 1 << 20)
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("values.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy("|u1", (6, 2**10, 2**10)))
        for _ in range(6):
            member.write(bytes(1 << 20))
    with pytest.raises(ArchiveError, match=r"would be read whole; save it as \.npy"):
        open_array_archive(tmp_path / "a.npz", channels_axis="none")


def test_a_member_that_is_longer_than_the_zip_says_is_cut_off_there(tmp_path):
    file = io.BytesIO()
    np.save(file, VALUES)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("values.npy", file.getvalue() + bytes(1 << 20))
    content = (tmp_path / "a.npz").read_bytes()
    content = content.replace(struct.pack("<I", len(file.getvalue()) + (1 << 20)), struct.pack("<I", 200))
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"promises 480 bytes of values .* but has 72|Bad CRC-32"):
        open_array_archive(tmp_path / "a.npz")


@pytest.mark.parametrize("told", [None, 1])
def test_a_zip_of_too_many_members_is_not_parsed(tmp_path, monkeypatch, told):
    monkeypatch.setattr("converters.arrays.npy_files.MAX_MEMBERS", 2)
    np.savez(tmp_path / "a.npz", a=VALUES, b=VALUES, c=VALUES)
    if told:
        content = bytearray((tmp_path / "a.npz").read_bytes())
        content[-14:-10] = struct.pack("<2H", told, told)
        (tmp_path / "a.npz").write_bytes(content)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArchiveError, match=r"holds 3 members, expected at most 2; split it"):
        open_array_archive(tmp_path / "a.npz")


def test_a_zarr_store_in_a_zip_is_parsed_once(tmp_path, monkeypatch):
    zarr_store(tmp_path / "a.zarr")
    shutil.make_archive(str(tmp_path / "a.zarr"), "zip", tmp_path / "a.zarr")
    opened, parse = [], zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda path: opened.append(path) or parse(path))
    assert set(open_arrays(tmp_path / "a.zarr.zip")) == {"values", "occupancy", "n"}
    assert len(opened) == 1


def test_npz_members_of_methods_that_inflate_without_bounds_are_refused(tmp_path):
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
            archive.writestr("values.npy", npy())
        with pytest.raises(ArchiveError, match="expected none or DEFLATE"):
            open_array_archive(tmp_path / "a.npz")


@pytest.mark.parametrize("pattern", ["", "*.nc"])
def test_links_out_of_a_folder_of_fields_are_refused(tmp_path, pattern):
    (tmp_path / "many").mkdir()
    weather().isel(time=slice(0, 3)).to_netcdf(tmp_path / "many/a.nc", engine="h5netcdf")
    weather().isel(time=slice(3, 6)).to_netcdf(tmp_path / "elsewhere.nc", engine="h5netcdf")
    (tmp_path / "many/b.nc").symlink_to(tmp_path / "elsewhere.nc")
    with pytest.raises(ArchiveError, match=r"'b\.nc' is a link out of the archive, to .*elsewhere.* copy"):
        open_climate(os.path.join(tmp_path, "many", pattern))
    (tmp_path / "many/b.nc").unlink()
    (tmp_path / "many/b.nc").symlink_to("a.nc")
    with pytest.raises(ArchiveError, match=r"cannot be put together|names one file twice"):
        open_climate(os.path.join(tmp_path, "many", pattern))


def test_a_path_that_is_a_link_itself_is_followed(tmp_path):
    store = zarr_store(tmp_path / "a.zarr", values=VALUES)
    weather().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    for path in (store, tmp_path / "a.nc"):
        (tmp_path / f"link-{path.name}").symlink_to(path)
    assert len(open_array_archive(tmp_path / "link-a.zarr", channels_axis="none").ids) == COUNT
    assert len(open_climate(tmp_path / "link-a.nc").ids) == COUNT


def test_a_field_that_memory_could_not_hold_is_refused_before_it_is_read(tmp_path, monkeypatch):
    weather().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    monkeypatch.setattr(array_bounds, "MAX_EXAMPLE_BYTES", 79)
    with pytest.raises(ArchiveError, match=r"t2m: one example \(4, 5, 1\) has 160 bytes, expected at most 79"):
        open_climate(tmp_path / "a.nc")


def test_memory_that_is_full_is_an_error_about_the_archive(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise MemoryError("Unable to allocate 3 TiB")

    monkeypatch.setattr("functa_store.sources.array_source.scan", fail)
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(ArchiveError, match=r"a\.npy: more memory is needed than there is: Unable to allocate 3 TiB"):
        open_array_archive(tmp_path / "a.npy")


# Ranges that float32 cannot hold

RANGES = [(1e-300, 2e-300), (0, 1e-300), (1e-310, 1e-310), (0, 3e-37), (1e-40, 2e-40)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_values_that_float32_takes_for_nothing_are_refused_before_learning(tmp_path, low, high):
    values = np.random.default_rng(0).uniform(low, high, VALUES.shape)
    values[0, 0, :2] = low, high
    with pytest.raises(ArchiveError, match=r"goes from .*, too small for float32, .*; multiply them, such as by 1e"):
        ArraySource(values, channels_axis=None)
    with pytest.raises(ArchiveError, match="too small for float32"):
        from_xarray(xr.DataArray(values, dims=("n", "y", "x")), example_dim="n")
    with pytest.raises(ArchiveError, match="too small for float32"):
        ArraySource(VALUES, channels_axis=None, value_range=(0, 1e-300))
    made = weather()
    made["t2m"] = ("time", "lat", "lon"), values
    made.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    for scaling in ("minmax", "standard"):
        with pytest.raises(ArchiveError, match=r"t2m goes from .*, too small for float32"):
            open_climate(tmp_path / "a.nc", scaling=scaling)


@pytest.mark.parametrize(("low", "high"), [(1e9, 1e9 + 1e-3), (-1e9 - 1e-3, -1e9), (1e17, 1e17 + 64), (1, 1 + 1e-7)])
def test_values_that_float32_cannot_tell_apart_are_refused_before_learning(tmp_path, low, high):
    values = np.random.default_rng(0).uniform(low, high, VALUES.shape)
    values[0, 0, :2] = low, high
    with pytest.raises(ArchiveError, match="too close together for float32"):
        ArraySource(values, channels_axis=None)
    made = weather()
    made["t2m"] = ("time", "lat", "lon"), values
    made.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(ArchiveError, match=r"t2m goes from .* too close together for float32"):
        open_climate(tmp_path / "a.nc")


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1.0, 1e30])
def test_values_of_any_other_size_decode_to_what_they_were(tmp_path, scale):
    values = VALUES.astype(np.float64) * scale
    source = ArraySource(values, channels_axis=None)
    np.testing.assert_allclose(source.features.to_values(source.read(3))[..., 0], values[3], rtol=1e-5)
    made = weather()
    made["t2m"] = ("time", "lat", "lon"), values
    made.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    fields = open_climate(tmp_path / "a.nc")
    np.testing.assert_allclose(fields.features.to_values(fields.read(3))[..., 0], values[3], rtol=1e-5)


# Labels


@pytest.mark.parametrize("write", ["npz", "h5", "zarr"])
def test_labels_of_long_doubles_become_doubles(tmp_path, write):
    age = np.arange(COUNT) / np.longdouble(3)
    if write == "npz":
        np.savez(tmp_path / "a.npz", values=VALUES, occupancy=GRIDS, labels=age)
    elif write == "h5":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["values"], file["occupancy"], file["labels"] = VALUES, GRIDS, age
    else:
        return
    path = tmp_path / f"a.{write}"
    source = open_array_archive(path, array="values", channels_axis="none", labels="labels")
    assert source.labels["labels"].values.dtype == np.float64
    np.testing.assert_allclose(source.labels["labels"].values, age.astype(float))
    assert open_voxels(path).labels["class"].values.dtype == np.float64


def test_labels_given_as_long_doubles_become_doubles():
    age = np.arange(COUNT, dtype=np.longdouble)
    source = ArraySource(VALUES, channels_axis=None, labels={"a": age, "b": Label(values=age)})
    assert {label.values.dtype for label in source.labels.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros(COUNT, complex),
        np.zeros(COUNT, [("a", "i4")]),
        np.zeros(COUNT, "M8[s]"),
        np.zeros(COUNT, "m8[s]"),
        np.zeros(COUNT, "V3"),
    ],
)
def test_labels_that_are_neither_numbers_nor_text_are_refused(tmp_path, labels):
    np.savez(tmp_path / "a.npz", values=VALUES, occupancy=GRIDS, labels=labels)
    for convert in (
        lambda: open_array_archive(tmp_path / "a.npz", array="values", labels="labels"),
        lambda: open_array_archive(tmp_path / "a.npz", array="values", ids="labels"),
        lambda: open_array_archive(tmp_path / "a.npz", array="values", split_from="labels"),
        lambda: open_voxels(tmp_path / "a.npz"),
    ):
        with pytest.raises(ArchiveError, match="expected a number or text for each example"):
            convert()


def test_one_text_of_a_megabyte_among_thousands_takes_no_gigabytes(tmp_path):
    texts = ["x" * 10**6, *["y"] * 999]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["values"], file["ids"] = np.zeros((1000, 2, 2)), texts
    with pytest.raises(ArchiveError, match="one of its 1000 texts has 1000000 characters"):
        open_array_archive(tmp_path / "a.h5", array="values", ids="ids")


@pytest.mark.parametrize("dtype", ["<U4", ">U4"])
def test_texts_of_numbers_that_are_no_characters_are_refused(tmp_path, dtype):
    texts = np.array([f"{i:04}" for i in range(COUNT)], dtype)
    texts.view(f"{dtype[0]}u4")[2] = 0x110000
    np.savez(tmp_path / "a.npz", values=VALUES, occupancy=GRIDS, labels=texts)
    for convert in (
        lambda: open_array_archive(tmp_path / "a.npz", array="values", labels="labels"),
        lambda: open_array_archive(tmp_path / "a.npz", array="values", ids="labels"),
        lambda: open_array_archive(tmp_path / "a.npz", array="values", split_from="labels"),
        lambda: open_voxels(tmp_path / "a.npz"),
    ):
        with pytest.raises(ArchiveError, match="code point 0x110000, expected at most 0x10ffff"):
            convert()


# Archives that change


def _touch(path):
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "zarr"])
@pytest.mark.parametrize("convert", [open_array_archive, open_voxels])
def test_an_array_file_that_changes_is_noticed(tmp_path, kind, convert):
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(path, GRIDS)
    elif kind == "npz":
        np.savez(path, values=GRIDS)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["values"] = GRIDS
    else:
        zarr_store(path, values=GRIDS)
    options = {"channels_axis": "none"} if convert is open_array_archive else {}
    source = convert(path, **options)
    source.check_unchanged()
    if kind == "zarr":
        (path / "values/more").write_bytes(b"")
        with pytest.raises(ArchiveError, match=r"(?s)changed, added or removed .*more"):
            source.check_unchanged()
        (path / "values/more").unlink()
        source.check_unchanged()
        _touch(path / "values/1.0.0.0")
    else:
        _touch(path)
    with pytest.raises(ArchiveError, match="while it was being converted"):
        source.check_unchanged()


@pytest.mark.parametrize("change", ["added", "removed", "changed"])
def test_a_folder_of_fields_that_changes_is_noticed(tmp_path, change):
    (tmp_path / "many").mkdir()
    for k in range(2):
        weather().isel(time=slice(3 * k, 3 * k + 3)).to_netcdf(tmp_path / f"many/{k}.nc", engine="h5netcdf")
    sources = [open_climate(path) for path in (tmp_path / "many", f"{tmp_path}/many/*.nc")]
    for source in sources:
        source.check_unchanged()
    if change == "added":
        weather().to_netcdf(tmp_path / "many/2.nc", engine="h5netcdf")
    elif change == "removed":
        (tmp_path / "many/1.nc").unlink()
    else:
        _touch(tmp_path / "many/1.nc")
    for source in sources:
        with pytest.raises(ArchiveError, match=f"was {change} while it was being converted"):
            source.check_unchanged()


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_a_store_of_fields_that_changes_is_noticed(tmp_path):
    weather().to_zarr(tmp_path / "a.zarr", consolidated=False)
    source = open_climate(tmp_path / "a.zarr")
    source.check_unchanged()
    _touch(tmp_path / "a.zarr/zarr.json")
    with pytest.raises(ArchiveError, match=r"latest is .*zarr\.json"):
        source.check_unchanged()


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path, monkeypatch):
    weather().to_zarr(tmp_path / "a.zarr", consolidated=False)
    source, scandir = open_climate(tmp_path / "a.zarr"), os.scandir

    def refuse(path):
        if str(path).endswith("lat"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ArchiveError, match=r"a\.zarr/lat: cannot be read: Permission denied; allow it"):
        source.check_unchanged()
    with pytest.raises(ArchiveError, match=r"a\.zarr/lat: cannot be read: Permission denied; allow it"):
        open_climate(tmp_path / "a.zarr")
    with pytest.raises(ArchiveError, match=r"a\.zarr/lat: cannot be read: Permission denied; allow it"):
        open_array_archive(tmp_path / "a.zarr", array="t2m", channels_axis="none")


def test_every_codec_that_is_let_through_is_known_to_numcodecs_or_zarr():
    known = {*numcodecs.registry.codec_registry, *numcodecs.registry.entries}
    assert set(ALLOWED) <= known | {"bytes", "endian", "transpose"}
