"""Mutants of array files and climate archives: .npy, .npz, HDF5, Zarr of both versions, NetCDF-3 and -4."""

import contextlib
import functools
import io
import json
import os
import pathlib
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

os.environ["NUMCODECS_ALLOW_UNSAFE_PICKLE_DECODE"] = "1"  # so that a codec that is let through does run

import h5py
import numcodecs
import numpy as np
import xarray as xr
import zarr

from converters.arrays.arrays import open_array_archive
from converters.climate.climate import open_climate
from converters.shapes.voxels import open_voxels
from tests.fuzz import mutations
from tests.fuzz.harness import Kind

Files = dict[str, bytes]

_COUNT = 6
_GRIDS = np.random.default_rng(0).random((_COUNT, 4, 4, 4)) > 0.5
_VALUES = np.random.default_rng(1).normal(280, 10, (_COUNT, 3, 4)).astype(np.float32)
_NAMES = np.array([f"n{k}" for k in range(_COUNT)])
_ZEROS = 1 << 26
"""Bytes that a bomb unpacks to, many times over; more than any chunk of these archives has."""


class Payload:
    """Pickles to code that makes a file outside."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return os.mkdir, (os.path.abspath("outside/ran"),)


def _read_arrays(rng: random.Random, path: pathlib.Path) -> None:
    options: dict[str, object] = {"max_rejects": rng.choice((0.0, 1.0)), "check_first": rng.choice((None, None, 1))}
    if rng.random() < 0.5:
        options |= {"ids": "ids"} if rng.random() < 0.5 else {"labels": "labels"}
        options |= {"array": "values", "channels_axis": "none"} if rng.random() < 0.9 else {}
        source = open_array_archive(str(path), **options)
    else:
        source = open_voxels(str(path), **options)
    source.read(0)
    source.read(len(source.ids) - 1)
    source.check_unchanged()


def _read_climate(rng: random.Random, path: pathlib.Path) -> None:
    options: dict[str, object] = {"max_rejects": rng.choice((0.0, 1.0)), "check_first": rng.choice((None, None, 1))}
    options |= {"variable": "t2m"} if rng.random() < 0.3 else {}
    source = open_climate(str(path), **options)
    source.read(0)
    source.read(len(source.ids) - 1)
    source.check_unchanged()


def _read_either(rng: random.Random, path: pathlib.Path) -> None:
    (_read_climate if path.name.startswith("climate") else _read_arrays)(rng, path)


def _arrays() -> dict[str, np.ndarray]:
    return {"values": _VALUES, "occupancy": _GRIDS, "labels": np.arange(_COUNT) % 3, "ids": _NAMES}


# NumPy


@functools.cache
def _npy(name: str) -> bytes:
    file = io.BytesIO()
    np.save(file, _arrays()[name])
    return file.getvalue()


def _strange_npy(rng: random.Random) -> bytes:
    """An .npy whose header promises something else than follows."""
    if rng.random() < 0.2:
        file = io.BytesIO()
        np.save(file, np.array([[Payload()]] * _COUNT, object), allow_pickle=True)
        return file.getvalue()
    shape = tuple(rng.choice((*mutations.EXTREMES, _COUNT, 3, 4)) for _ in range(rng.randint(0, 5)))
    kind = rng.choice(("|u1", "<f8", "|O", "<U5", "|V999999999", "<f16", "<c16", "[('a','<f4')]", "(9999,)<f8"))
    descr = kind if kind.startswith("[") else repr(kind)
    header = f"{{'descr': {descr}, 'fortran_order': {rng.random() < 0.5}, 'shape': {shape}, }}"
    if rng.random() < 0.1:
        header = rng.choice(("(" * 9000, "{'a':" * 1500, "__import__('os').mkdir('outside/ran')", "9" * 5000, ""))
    length = len(header) if rng.random() < 0.8 else rng.choice((2**32 - 1, 65536, 10**6))
    start = b"\x93NUMPY" + bytes((rng.choice((1, 2, 3, 9)), 0))
    packed = struct.pack("<I", length % 2**32) if start[6] > 1 else struct.pack("<H", length % 2**16)
    return start + packed + header.encode() + rng.randbytes(rng.choice((0, 8, 96)))


def _write_npy(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    path = folder / "a.npy"
    whole = _npy(rng.choice(("values", "occupancy")))
    path.write_bytes(_strange_npy(rng) if rng.random() < 0.3 else mutations.of_bytes(rng, whole))
    return path


def _write_npz(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    names = list(_arrays()) if rng.random() < 0.7 else ["values"]
    members = {f"{name}.npy": _npy(name) for name in names}
    if rng.random() < 0.2:  # one for each shape
        members = {f"train/{'ab'[k % 2]}/{k}.npy": _npy("occupancy") for k in range(3)}
    if rng.random() < 0.5:
        name = rng.choice(list(members))
        members[name] = _strange_npy(rng) if rng.random() < 0.5 else mutations.of_bytes(rng, members[name])
    if rng.random() < 0.02:
        header = _npy("occupancy")[:128].replace(b"(6, 4, 4, 4)", b"(%d, 64, 64, 64)" % (_ZEROS // 2**18 * 9))
        members[rng.choice(list(members))] = header + bytes(_ZEROS)
    if rng.random() < 0.1:
        members[rng.choice(("../../outside/ran.npy", "/tmp/ran.npy", "a\\..\\b.npy", "é" * 200))] = _npy("labels")
    file = io.BytesIO()
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
    with zipfile.ZipFile(file, "w", rng.choice(methods), compresslevel=1) as made:
        for name, content in members.items():
            made.writestr(name, content)
    content = file.getvalue()
    path = folder / "a.npz"
    path.write_bytes(mutations.of_bytes(rng, content) if rng.random() < 0.6 else content)
    return path


# HDF5


def _make_hdf5(fill: Callable[[h5py.File], None]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        fill(made)
    return file.getvalue()


@functools.cache
def _hdf5(which: int) -> bytes:
    options: tuple[dict[str, object], ...] = (
        {},
        {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": True, "compression": "lzf"},
        {"chunks": True, "compression": "szip"},
        {"chunks": True, "scaleoffset": 2},
        {"maxshape": True, "chunks": True},
    )
    chosen = options[which]

    def fill(file: h5py.File) -> None:
        for name, array in _arrays().items():
            if array.dtype.kind == "U":
                file[name] = array.tolist()
            else:
                own = {"scaleoffset": 0} if "scaleoffset" in chosen and array.dtype.kind != "f" else {}
                sizes = {"maxshape": (None, *array.shape[1:])} if "maxshape" in chosen else {}
                given = array.astype("u1") if "scaleoffset" in chosen and array.dtype == bool else array
                small = given.ndim == 1 and chosen.get("compression") == "szip"  # which packs no few values
                file.create_dataset(name, data=given, **({} if small else chosen | own | sizes))
        file["group/more"] = np.arange(4)
        file.attrs["title"] = ["a", "b"]

    return _make_hdf5(fill)


def _spoil_hdf5(rng: random.Random, file: h5py.File, outside: pathlib.Path) -> None:
    """Put something harmful into a file instead of one of its arrays."""
    name = rng.choice(("values", "occupancy", "ids", "labels", "extra", "lat", "time"))
    shape = _arrays().get(name, _VALUES).shape
    if name in file:
        del file[name]
    match rng.randrange(11):
        case 0:
            file[name] = h5py.ExternalLink(str(outside / "secret.h5"), "/values")
        case 1:
            file[name] = h5py.SoftLink(rng.choice(("/nowhere", f"/{name}", "/group", "/")))
        case 2:
            place = (str(outside / "secret.bin"), 0, int(np.prod(shape)))
            file.create_dataset(name, shape=shape, dtype="u1", external=[place])
        case 3:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[...] = h5py.VirtualSource(str(outside / "secret.h5"), "values", shape=shape)
            file.create_virtual_dataset(name, layout)
        case 4:
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_chunk(shape)
            plist.set_filter(rng.choice((32015, 307, 65535)), h5py.h5z.FLAG_OPTIONAL, (1, 2))
            space = h5py.h5s.create_simple(shape)
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT8, space, plist)
        case 5:
            huge = tuple(rng.choice((2**10, 2**20, 2**31, 2**40)) for _ in shape)
            chunk = tuple(rng.choice((1, 64, 2**10)) for _ in shape)
            file.create_dataset(name, shape=huge, dtype=rng.choice(("u1", "f8")), chunks=chunk)
        case 6:
            made = file.create_dataset(name, shape=shape, dtype="u1", chunks=shape, compression="gzip")
            made.id.write_direct_chunk((0,) * len(shape), _bomb())
        case 7:
            deep = file
            for k in range(rng.choice((10, 60))):
                deep = deep.create_group(f"g{k}")
        case 8:
            file.create_dataset(name, shape[:1], dtype=rng.choice((h5py.vlen_dtype("i4"), h5py.ref_dtype)))
        case 9:
            kind = np.dtype(rng.choice(("c16", "f2", "<f16", "S9", "V5", [("a", "i4")], ("f4", (3,)))))
            file.create_dataset(name, data=np.zeros(shape[:1] if rng.random() < 0.5 else shape, kind))
        case _:
            file.attrs["strange"] = rng.choice(([f"{k}" for k in range(3000)], np.zeros(9000), "\x00", np.void(b"a")))


@functools.cache
def _bomb() -> bytes:
    """As if a chunk of few bytes: zlib's most, unpacked again and again in memory that doubles."""
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    return b"".join([packer.compress(zeros) for _ in range(2 * _ZEROS >> 20)]) + packer.flush()


def _spoiled(rng: random.Random, content: bytes, outside: pathlib.Path) -> bytes:
    """An HDF5 file with something harmful in it, bytes of it damaged, or both."""
    if rng.random() < 0.4:
        file = io.BytesIO(content)
        with h5py.File(file, "r+") as made:
            for _ in range(rng.randint(1, 2)):
                with contextlib.suppress(
                    OSError, ValueError, KeyError, TypeError, RuntimeError
                ):  # some do not go together
                    _spoil_hdf5(rng, made, outside)
        content = file.getvalue()
        if rng.random() < 0.7:
            return content
    return mutations.of_bytes(rng, content)


def _write_hdf5(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    path.write_bytes(_spoiled(rng, _hdf5(rng.randrange(6)), outside))
    return path


# NetCDF


def _dataset() -> xr.Dataset:
    lat, lon = np.arange(60, -61, -30.0), np.arange(0, 360, 60.0)
    fields = np.random.default_rng(0).normal(280, 10, (_COUNT, len(lat), len(lon))).astype(np.float32)
    coords = {
        "time": ("time", np.arange(_COUNT) * 12, {"units": "hours since 1959-01-01"}),
        "lat": ("lat", lat, {"units": "degrees_north"}),
        "lon": ("lon", lon, {"units": "degrees_east"}),
        "kind": ("time", np.array(["a", "b"] * (_COUNT // 2))),
        "crs": np.array("a projection", object),
    }
    return xr.Dataset({"t2m": (("time", "lat", "lon"), fields, {"units": "K"})}, coords, {"title": "a fuzz"})


@functools.cache
def _netcdf4(which: int) -> bytes:
    packed = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768, "zlib": True}
    chosen = ({}, packed, {"chunksizes": (2, 5, 6), "zlib": True, "shuffle": True})[which]
    path = pathlib.Path("made.nc")
    _dataset().to_netcdf(path, engine="h5netcdf", encoding={"t2m": chosen})
    return path.read_bytes()


@functools.cache
def _netcdf3(which: int) -> bytes:
    made = _dataset() if which else _dataset().drop_vars("kind")
    path = pathlib.Path("made.nc")
    unlimited = ["time"] if which < 2 else []
    made.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT", unlimited_dims=unlimited)
    return path.read_bytes()


def _write_netcdf4(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    return _write_members(rng, folder, outside, lambda: _spoiled(rng, _netcdf4(rng.randrange(3)), outside))


def _write_netcdf3(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    def mutant() -> bytes:
        whole = _netcdf3(rng.randrange(3))
        header = rng.choice((len(whole), 300, 900))  # more often where sizes are told
        return mutations.of_bytes(rng, whole[:header]) + whole[header:]

    return _write_members(rng, folder, outside, mutant)


def _write_members(
    rng: random.Random, folder: pathlib.Path, outside: pathlib.Path, mutant: Callable[[], bytes]
) -> pathlib.Path:
    """One file, or a folder with it and a link, a pipe or a damaged file beside it."""
    if rng.random() < 0.9:
        (folder / "climate.nc").write_bytes(mutant())
        return folder / "climate.nc"
    path = folder / "climate"
    path.mkdir()
    (path / "a.nc").write_bytes(mutant())
    match rng.randrange(3):
        case 0:
            (path / "b.nc").symlink_to(outside / rng.choice(("secret.h5", "secret.bin", "none")))
        case 1:
            os.mkfifo(path / "b.nc")
        case _:
            (path / "b.nc").write_bytes(mutant())
    return path if rng.random() < 0.7 else path / "*.nc"


# Zarr


def _files_of(folder: pathlib.Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@functools.cache
def _zarr(version: int, which: int) -> Files:
    path = pathlib.Path(f"made-{version}-{which}.zarr")
    if which in (0, 1):
        _dataset().chunk(time=2).to_zarr(path, zarr_format=version, consolidated=which == 0)
        return {f"climate/{key}": content for key, content in _files_of(path).items()}
    group = zarr.open_group(path, mode="w", zarr_format=version)
    for name, array in _arrays().items():
        shards = {"shards": (4, *array.shape[1:])} if version == 3 and which == 3 else {}
        if array.dtype.kind == "U":
            made = group.create_array(name, shape=array.shape, dtype=str, chunks=(3,))
            made[:] = array.astype(object)
        else:
            group.create_array(name, data=array, chunks=(2, *array.shape[1:]), **_codecs(version, which), **shards)
    zarr.consolidate_metadata(group.store)
    return {f"arrays/{key}": content for key, content in _files_of(path).items()}


def _codecs(version: int, which: int) -> dict[str, object]:
    if version == 2:
        codec = (numcodecs.Zlib(), numcodecs.GZip(), numcodecs.BZ2(), numcodecs.LZ4(), numcodecs.Blosc())[which - 2]
        return {"compressors": codec}
    return {"compressors": (zarr.codecs.GzipCodec(), zarr.codecs.BloscCodec(), zarr.codecs.ZstdCodec())[which % 3]}


_STRANGE_CODECS = (
    *({"id": "pickle"}, {"id": "json2"}, {"id": "msgpack2"}, {"id": "vlen-array", "dtype": "<i4"}, {"id": "base64"}),
    *({"id": "categorize", "labels": ["a"], "dtype": "|O"}, {"id": "zfpy"}, {"id": "nonsense"}, {"id": "lzma"}),
    {"id": "astype", "encode_dtype": "i1", "decode_dtype": "<U999999"},
    {"id": "delta", "dtype": "<f8", "astype": "|O"},
    *({"name": "numcodecs.pickle"}, {"name": "pickle"}, {"name": "numcodecs.json2"}, {"name": "crc32c"}),
    {"name": "bytes", "configuration": {"endian": "little", "id": "pickle"}},
    {"name": "numcodecs.zlib", "configuration": {"id": "pickle"}},
    {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}], "index_codecs": []}},
)
_BOMBS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("zlib", zlib.compress),
    ("gzip", lambda data: numcodecs.GZip().encode(data)),
    ("bz2", lambda data: numcodecs.BZ2().encode(data)),
    ("zstd", lambda data: numcodecs.Zstd().encode(data)),
    ("lz4", lambda data: numcodecs.LZ4().encode(data)),
    ("blosc", lambda data: numcodecs.Blosc().encode(data)),
)


@functools.cache
def _packed_bomb(which: int) -> bytes:
    return bytes(_BOMBS[which][1](bytes(_ZEROS)))


def _spoil_zarr(rng: random.Random, files: Files, folder: pathlib.Path, outside: pathlib.Path) -> None:
    """Change one thing about a store; what is no file of it is made in the folder at once."""
    documents = [key for key in files if os.path.basename(key).startswith((".z", "zarr.json"))]
    arrays = [key for key in documents if key.endswith(".zarray") or b'"node_type": "array"' in files[key]]
    chunks = [key for key in files if key not in documents]
    if not documents or not chunks or not arrays:
        return
    key, chunk = rng.choice(documents), rng.choice(chunks)
    match rng.randrange(10):
        case 0 | 1:
            files[key] = mutations.of_json_text(rng, files[key]).encode("utf-8", "surrogatepass")
        case 2:
            files[key] = mutations.of_bytes(rng, files[key])
        case 3:
            files[chunk] = mutations.of_bytes(rng, files[chunk])
        case 4:
            files[rng.choice(arrays)] = _with_codec(rng, files[rng.choice(arrays)])
            files[chunk] = pickle.dumps(Payload())
        case 5:
            _plant_node(rng, folder / chunk, outside)
            del files[chunk]
        case 6:
            place = folder / os.path.dirname(chunk)
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(outside)
                for below in [k for k in files if k.startswith(f"{os.path.dirname(chunk)}/")]:
                    del files[below]
        case 7:
            which = rng.randrange(len(_BOMBS))
            array = rng.choice(arrays)
            files[array] = _compressed(files[array], _BOMBS[which][0])
            for below in [k for k in chunks if k.startswith(f"{os.path.dirname(array)}/")]:
                files[below] = _packed_bomb(which)
        case 8:
            array = rng.choice(arrays)
            value = json.loads(files[array])
            value["shape"] = [rng.choice((2**10, 2**20, 2**31, 2**40)) for _ in value.get("shape", [])]
            if rng.random() < 0.5 and "chunks" in value:
                value["chunks"] = [rng.choice((1, 2**10, 2**20)) for _ in value["shape"]]
            files[array] = json.dumps(value).encode()
        case _:
            files[rng.choice(chunks)] = b""


def _with_codec(rng: random.Random, document: bytes) -> bytes:
    """Metadata of an array with a codec that is none of data."""
    value, codec = json.loads(document), rng.choice(_STRANGE_CODECS)
    if "codecs" in value:
        value["codecs"] = [codec] if rng.random() < 0.5 else [codec, *value["codecs"]]
    elif rng.random() < 0.5:
        value |= {"filters": [codec] if rng.random() < 0.5 else [{"id": "vlen-utf8"}, codec], "dtype": "|O"}
    else:
        value |= {"compressor": codec}
    return json.dumps(value).encode()


def _compressed(document: bytes, name: str) -> bytes:
    value = json.loads(document)
    if "codecs" in value:
        value["codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": f"numcodecs.{name}"}]
    else:
        value |= {"compressor": {"id": name}, "filters": None}
    return json.dumps(value).encode()


def _plant_node(rng: random.Random, place: pathlib.Path, outside: pathlib.Path) -> None:
    """A link or pipe where a chunk or document should be."""
    if place.exists() or place.is_symlink() or place.parent.is_symlink():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    match rng.randrange(4):
        case 0:
            place.symlink_to(outside / "secret.bin")
        case 1:
            os.mkfifo(place)
        case 2:
            place.symlink_to("/dev/zero")
        case _:
            place.symlink_to(place.name)


def _write_zarr(version: int) -> Callable[[random.Random, pathlib.Path, pathlib.Path], pathlib.Path]:
    def write(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
        files = dict(_zarr(version, rng.randrange(7 if version == 2 else 5)))
        root = next(iter(files)).partition("/")[0]
        for _ in range(rng.randint(1, 2)):
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                _spoil_zarr(rng, files, folder, outside)  # what it parses may be damaged already
        if root == "arrays" and rng.random() < 0.2:
            return _zipped(rng, files, folder)
        (folder / root).mkdir(exist_ok=True)
        for key, content in files.items():
            place = folder / key
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists() and not place.is_symlink():
                place.write_bytes(content)
        return folder / root

    return write


def _zipped(rng: random.Random, files: Files, folder: pathlib.Path) -> pathlib.Path:
    path = folder / "arrays.zarr.zip"
    with zipfile.ZipFile(path, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as made:
        for key, content in files.items():
            made.writestr(key.partition("/")[2], content)
        if rng.random() < 0.2:
            made.writestr(rng.choice(("../ran", "/tmp/ran", "values/../../ran")), b"")
    if rng.random() < 0.5:
        path.write_bytes(mutations.of_bytes(rng, path.read_bytes()))
    return path


def _plant(outside: pathlib.Path) -> None:
    (outside / "secret.h5").write_bytes(_hdf5(0))
    np.save(outside / "secret.npy", _VALUES)


KINDS = {
    "npy": Kind(write=_write_npy, read=_read_arrays, plant=_plant),
    "npz": Kind(write=_write_npz, read=_read_arrays, plant=_plant),
    "hdf5": Kind(write=_write_hdf5, read=_read_arrays, plant=_plant),
    "netcdf3": Kind(write=_write_netcdf3, read=_read_climate, plant=_plant),
    "netcdf4": Kind(write=_write_netcdf4, read=_read_climate, plant=_plant),
    "zarr2": Kind(write=_write_zarr(2), read=_read_either, plant=_plant),
    "zarr3": Kind(write=_write_zarr(3), read=_read_either, plant=_plant),
}
