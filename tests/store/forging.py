"""A stranger's stores: everything that says they are whole is recomputed, so that only their content can be judged."""

import collections
import contextlib
import dataclasses
import itertools
import json
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.zstd import Zstd

from functa_store.errors import FunctaStoreError, StoreFormatError
from functa_store.store.format.manifest import is_column, sha256_of
from functa_store.store.format.side_arrays import describe_array, zstd_size
from functa_store.store.format.spec import (
    FORMAT_VERSION,
    IDENTITY,
    ROOT,
    sha256_json,
)
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import check_key, record, too_long

Files = dict[str, bytes]


def read_files(store: Path) -> Files:
    """Every plain file of a store."""
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file() and not p.is_symlink()}


def seal(root: dict[str, Any], files: Files) -> bytes:
    """A root with the right manifest, fingerprint and checksum for what it and the other files say.

    A checksum that cannot be computed is left out, as old stores do.
    """
    functa = root["attributes"]["functa"]
    functa.pop("checksum", None)
    if "manifest_sha256" in functa:
        functa["manifest_sha256"] = sha256_of(refile(root, files))
    series = {name.removeprefix("manifest/").removesuffix("/zarr.json") for name in files if "manifest/" in name}
    records = {key: record(data) for key, data in files.items() if key != ROOT}
    functa["manifest"] = {key: {"bytes": found.bytes, "crc32c": found.crc32c} for key, found in sorted(records.items())}
    for key in [key for key in functa["manifest"] if key.partition("/c/")[0] in series and "/c/" in key]:
        del functa["manifest"][key]
    return sign(root)


def refile(root: dict[str, Any], files: Files) -> dict[str, np.ndarray]:
    """Write the arrays of a manifest anew, for the files that are there."""
    for key in [key for key in files if key.startswith("manifest/") and "/c/" in key]:
        del files[key]
    found: dict[str, dict[int, list[int]]] = collections.defaultdict(dict)
    for key, data in files.items():
        name, _, place = key.partition("/c/")
        number = place.partition("/")[0]
        if number.isdigit() and len(number) < 6 and (name in TABLES or is_column(name)):
            found[name][int(number)] = [int(record(data).crc32c, 16), len(data)]
    arrays = {}
    for name, rows in found.items():
        values = np.array([rows.get(i, [0, 0]) for i in range(max(rows) + 1)], np.uint32)
        arrays[name] = np.ascontiguousarray(values[:, 0]) if name in TABLES else values
        put(files, root, f"manifest/{name}", arrays[name])
    return arrays


def sign(root: dict[str, Any]) -> bytes:
    """A root with the right fingerprint and checksum, whatever its manifest says."""
    functa = root["attributes"]["functa"]
    functa.pop("checksum", None)
    with contextlib.suppress(ValueError, RecursionError):
        functa["fingerprint"] = sha256_json({key: functa[key] for key in IDENTITY if key in functa})
    with contextlib.suppress(ValueError, RecursionError):
        functa["checksum"] = sha256_json(root)
    return json.dumps(root).encode()


def forge(store: Path, change: Callable[[dict[str, Any]], None] = lambda functa: None) -> None:
    """Change the attributes of a store and make its checksums agree with whatever its files hold."""
    files = read_files(store)
    root = json.loads(files[ROOT])
    change(root["attributes"]["functa"])
    (store / ROOT).write_bytes(seal(root, files))


class Forged:
    """Objects in memory, as strict as a disk; see `functa_store.store.storage.objects.Objects`."""

    def __init__(self, files: Files, work: Files | None = None, name: str = "forged") -> None:
        self.name, self.files, self.work = name, files, work or {}
        self.writable = self.lists = True
        self.block_bytes = 2**26
        self.requests: collections.Counter[str] = collections.Counter()

    def read(self, key: str, at_most: int) -> bytes:
        if (data := self.files.get(check_key(key))) is None:
            raise FileNotFoundError(key)
        if len(data) > at_most:
            raise too_long(self.name, key, len(data), at_most)
        return data

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        if (data := self.files.get(check_key(key))) is None:
            raise FileNotFoundError(key)
        parts = [data[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        if [len(part) for part in parts] != list(lengths):
            raise StoreFormatError(f"{self.name}/{key}: ends before a range does")
        return parts

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        raise NotImplementedError

    def write_new(self, key: str, *parts: bytes | memoryview) -> bool:
        raise NotImplementedError

    def replace(self, key: str, before: bytes, *parts: bytes | memoryview) -> bool:
        raise NotImplementedError

    def append_beside(self, suffix: str, data: bytes) -> None:
        raise NotImplementedError

    def delete(self, keys: Sequence[str]) -> None:
        raise NotImplementedError

    def below(self, folder: str) -> "Forged":
        raise NotImplementedError

    def size(self, key: str) -> int | None:
        return len(self.files[key]) if key in self.files else None

    def sizes(self, below: str = "") -> dict[str, int]:
        folder = f"{below}/" if below else ""
        return {key: len(data) for key, data in sorted(self.files.items()) if key.startswith(folder)}

    def sibling(self, suffix: str) -> "Forged":
        return Forged(self.work, name=self.name + suffix)


def everything(objects: Any) -> dict[str, Any]:
    """All that can be read from a store, with every checksum compared."""
    reader = StoreReader(objects, verify=True)
    found: dict[str, Any] = {"modulations": reader.modulations[:], "mse": reader.mse[:]}
    found |= {f"metrics/{name}": values[:] for name, values in reader.metrics.items()}
    found |= {"ids": reader.ids[:], "split": reader.split[:], "rejects": reader.rejects}
    found |= {f"labels/{name}": label[:] for name, label in reader.labels.items()}
    found |= {f"augmentation_{name}": rows[:] for name, rows in reader.augmentations.items()}
    found |= {f"base/{name}": array for name, array in reader.base.items()}
    found |= {"scale": reader.rounding.scale, "offset": reader.rounding.offset, "names": dict(reader.label_names)}
    found |= {
        f"statistics/{name}": array for name, array in (reader.statistics if reader.spec.complete else {}).items()
    }
    return found | {"spec": reader.spec, "state": (reader.spec.complete, len(reader), repr(reader))}


def equal(found: dict[str, Any], expected: dict[str, Any], apart_from: Sequence[str] = ()) -> bool:
    """Whether two stores hold the same, to the last bit."""
    return found.keys() == expected.keys() and all(
        _same(found[key], value) for key, value in expected.items() if key not in apart_from
    )


def _same(found: Any, expected: Any) -> bool:
    if not isinstance(expected, np.ndarray) or not isinstance(found, np.ndarray):
        return type(found) is type(expected) and found == expected
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return False
    return found.tolist() == expected.tolist() if found.dtype.kind == "T" else found.tobytes() == expected.tobytes()


# --- Arrays as this project writes them -------------------------------------------------------------------------


def frame(payload: bytes, declared: int | None = None) -> bytes:
    """A zstd frame of one segment, its payload in raw blocks, that declares another size if asked to."""
    size = len(payload) if declared is None else declared
    blocks = [payload[i : i + 2**17] for i in range(0, len(payload), 2**17)] or [b""]
    headers = [(len(block) << 3 | (i == len(blocks) - 1)).to_bytes(3, "little") for i, block in enumerate(blocks)]
    body = b"".join(itertools.chain.from_iterable(zip(headers, blocks, strict=True)))
    return b"\x28\xb5\x2f\xfd\xe0" + (size % 2**64).to_bytes(8, "little") + body


def bomb(size: int) -> bytes:
    """A zstd frame of so many zeros, 4 bytes for each 128 KiB."""
    lengths = [2**17] * (size // 2**17) + [size % 2**17]
    blocks = [(n << 3 | 2 | (i == len(lengths) - 1)).to_bytes(3, "little") + b"\0" for i, n in enumerate(lengths)]
    return b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + b"".join(blocks)


def texts(values: Sequence[bytes], count: int | None = None, lengths: Sequence[int] | None = None) -> bytes:
    """What the codec vlen-utf8 makes of strings, or pretends to."""
    sizes = [len(value) for value in values] if lengths is None else lengths
    pairs = zip(sizes, values, strict=True)
    head = struct.pack("<I", (len(values) if count is None else count) % 2**32)
    return head + b"".join(struct.pack("<I", size % 2**32) + value for size, value in pairs)


def put(files: Files, root: dict[str, Any], name: str, values: np.ndarray | Sequence[str]) -> None:
    """Write a small array, in one chunk, and describe it in the root if it is of the base or the rounding."""
    for key in [key for key in files if key.startswith(f"{name}/c")]:
        del files[key]
    is_text = not isinstance(values, np.ndarray)
    shape = [len(values)] if is_text else list(values.shape)
    endian = {"name": "bytes"}
    if not is_text and values.dtype.itemsize > 1:
        endian["configuration"] = {"endian": "little"}
    try:
        found = json.loads(files.get(f"{name}/zarr.json", b"{}"))
    except ValueError:  # forged before
        found = {}
    found |= {
        "shape": shape,
        "data_type": "string" if is_text else values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(n, 1) for n in shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [
            {"name": "vlen-utf8", "configuration": {}} if is_text else endian,
            {"name": "zstd", "configuration": {"level": 3, "checksum": False}},
        ],
    }
    files[f"{name}/zarr.json"] = json.dumps(found).encode()
    if 0 not in shape:
        payload = texts([value.encode() for value in values]) if is_text else values.tobytes()
        files["/".join([name, "c", *["0"] * len(shape)])] = bytes(Zstd(3).encode(payload))
    if is_text:
        return
    functa, described = root["attributes"]["functa"], json.loads(json.dumps(dataclasses.asdict(describe_array(values))))
    if name.startswith("base/"):
        functa["base"][name.removeprefix("base/")] = described
    elif name in ("scale", "offset"):
        functa["rounding"][name] = described


def unpack(data: bytes) -> bytes:
    """What is in a chunk.

    Raises:
        ValueError: If that is much, or not what its frame declares; it may be a stranger's.
    """
    size = zstd_size(data)
    if size is None or size > 2**20:
        raise ValueError(f"a chunk of {size} bytes")
    return bytes(Zstd().decode(data, out=np.empty(size, np.uint8))) if size else b""


def get(files: Files, name: str) -> np.ndarray:
    """Read a small array of numbers in one chunk."""
    found = json.loads(files[f"{name}/zarr.json"])
    data = files["/".join([name, "c", *["0"] * len(found["shape"])])]
    return np.frombuffer(unpack(data), found["data_type"]).reshape(found["shape"]).copy()


# --- Watching what reading costs -------------------------------------------------------------------------------


@contextlib.contextmanager
def bounded_memory(megabytes: int) -> Iterator[None]:
    """Let an allocation that takes the process further than this above what it has now fail (Linux)."""
    status = Path("/proc/self/status")
    if not status.exists():
        yield
        return
    now = re.search(r"VmData:\s+(\d+) kB", status.read_text())
    assert now is not None
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(now[1]) * 1024 + megabytes * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


LONGEST_MESSAGE = 20_000


class HangError(BaseException):
    """Something took too long; nothing catches it."""


@contextlib.contextmanager
def bounded_time(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer."""

    def stop(*_: Any) -> None:
        raise HangError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def survey(inputs: Iterable[tuple[str, Callable[[], Any]]], megabytes: int, seconds: float) -> collections.Counter[str]:
    """Run many inputs; count how they end, and fail with one example of each kind of crash.

    What takes longer than it may is run again: a busy machine is slow once, an attack every time.
    """
    ends: collections.Counter[str] = collections.Counter()
    crashes: dict[str, str] = {}
    slowest = (0.0, "", lambda: None)
    for what, run in inputs:
        started = time.process_time()
        try:
            with bounded_memory(megabytes), bounded_time(10 * seconds):
                run()
            ends["read"] += 1
        except FunctaStoreError as error:
            ends["refused"] += 1
            if len(str(error)) > LONGEST_MESSAGE:
                crashes.setdefault("long message", f"{len(str(error))} characters: {what}")
        except (Exception, HangError) as error:
            ends["crashed"] += 1
            place = _place(error)
            crashes.setdefault(re.sub(r"\d{3,}", "N", place.partition(" assert ")[0]), what)
        slowest = max(slowest, (time.process_time() - started, what, run), key=lambda ran: ran[0])
    if slowest[0] > seconds and (least := min(_cost(slowest[2]) for _ in range(3))) > seconds:
        crashes["slow"] = f"{least:.2f} s: {slowest[1]}"
    assert not crashes, f"{dict(ends)}\n" + "\n".join(f"{place}\n    {what[:600]}" for place, what in crashes.items())
    return ends


def _cost(run: Callable[[], Any]) -> float:
    """Seconds of this process that an input takes, however it ends."""
    started = time.process_time()
    with contextlib.suppress(Exception, HangError):
        run()
    return time.process_time() - started


def unchecked(module: str, *arguments: Any) -> None:
    """Run a module in a process without the checks of types at run time, which make reading six times slower."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-20_000:]


def _place(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "functa_store" in f.filename]
    where = f"{frames[-1].filename.rpartition('functa_store/')[2]}:{frames[-1].lineno}" if frames else "test"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:120]}"


# --- What a stranger, or a bad disk, may do ---------------------------------------------------------------------

HOSTILE = [
    *(
        0,
        -1,
        1,
        2,
        3,
        5,
        7,
        64,
        4096,
        2**31 - 1,
        2**31,
        2**32,
        2**40,
        2**53,
        2**62,
        2**63,
        2**64,
        10**9,
        10**15,
        10**400,
    ),
    *(0.0, -0.0, 0.5, 1.0, 8.0, 1e-320, 1e30, 1e300, 1.7e308, -1.7e308, float("nan"), float("inf"), float("-inf")),
    *(True, False, None, "", "x", "1", "NaN", "missing", "float64", "float32", "float16", "int8", "int64", "uint8"),
    *("bool", "string", "object", "pickle", "complex128", "datetime64[ns]", "<U8", "latent", "shift", "gzip", "blosc"),
    *("iou", "rmse", "mse_held_out", "cells", "sphere", "scene", "radiance", "spatial", "nearest", "linear"),
    *("bytes", "crc32c", "sharding_indexed", "vlen-utf8", "vlen-bytes", "\0", "\x1b[2J", "../x", "/etc/passwd", "a//b"),
    *(".", "..", "é" * 50, "x" * 5000, "x" * 200_000, "\ud800", [], [1], [0], [-1], [2**62], [[]], [None], ["x"], {}),
    *({"a": 1}, {"name": "bytes"}, [5, 4], [21, 4], [1] * 9, [1] * 1000, {str(i): i for i in range(300)}),
]
NAMES = [
    *(
        "../x",
        "/etc/passwd",
        "a//b",
        ".",
        "..",
        "",
        "a/./b",
        "a\\b",
        "a\0b",
        "\ud800",
        "x" * 300,
        "\x1b[2J",
        "a\nb",
        "c",
    ),
    *(
        "labels/../id/zarr.json",
        "labels/x/y/zarr.json",
        "labels//zarr.json",
        "labels/zarr.json/zarr.json",
        "zarr.json/x",
    ),
    *("labels/\x1b[2J/zarr.json", "labels/./zarr.json", "labels/x/zarr.json", "id/c/1", "base/x/zarr.json", "c/c/c"),
]
DTYPES = ["bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]
SIZES = [0, 1, 2, 3, 4, 5, 8, 16, 21, 64]
TABLES = ("modulations", "mse", "metrics")


class Stranger:
    """Changes a store at random, and makes it say that it is whole.

    Args:
        files: A store.
        work: What lies beside it.
        seed: Decides what is done.

    Attributes:
        did: What was done.
    """

    def __init__(self, files: Files, work: Files, seed: int | str) -> None:
        self.random = random.Random(seed)
        self.files, self.work, self.did = dict(files), dict(work), []
        self.root: Any = json.loads(files[ROOT])
        self.functa = self.root["attributes"]["functa"]
        self.tokens: dict[str, str] = {}
        self.extra: dict[str, Any] = {}

    def forge(self) -> Forged:
        """Do one to three things to a store and seal it."""
        ways = [
            *[self.change_root] * 4,
            *[self.change_metadata] * 3,
            *(self.retype, self.poison, self.reshape, self.payload, self.repack, self.lie_about_texts, self.damage_any),
            *(self.count, self.unfinish, self.network, self.axes, self.layout, self.names, self.drop, self.older),
            *(self.sphere, self.metrics),
        ]
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            way = self.random.choice(ways)
            self.did.append(way.__name__)
            with contextlib.suppress(LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError):
                way()  # what was done before may be in the way
        return self.sealed()

    def sealed(self) -> Forged:
        """The store as it is now, which says that it is whole."""
        attributes = self.root.get("attributes") if isinstance(self.root, dict) else None
        whole = isinstance(attributes, dict) and attributes.get("functa") is self.functa
        self.files[ROOT] = self._root() if whole else json.dumps(self.root).encode()
        for token, text in self.tokens.items():
            self.files = {key: data.replace(token.encode(), text.encode()) for key, data in self.files.items()}
        return Forged(self.files, self.work)

    def _root(self) -> bytes:
        manifest = self.functa.get("manifest")
        if not self.functa.get("complete") or not isinstance(manifest, dict) or self.extra.pop("keep", False):
            return sign(self.root)
        changed = {key: value for key, value in self.extra.items() if key != "keep"}
        sealed = seal(self.root, self.files)
        if not changed:
            return sealed
        self.functa["manifest"] |= changed
        return sign(self.root)

    # --- metadata

    def _mutate(self, tree: Any, where: str) -> None:
        """Change one leaf or branch of a JSON tree."""
        container, key = self.random.choice(list(_branches(tree)))
        old, value = container[key], self.random.choice(HOSTILE)
        action = self.random.randrange(12)
        if action == 0:
            del container[key]
        elif action == 1 and isinstance(container, dict):
            container[self.random.choice(["x", "missing", "\0", "functa", "__class__", "name"])] = value
        elif action == 2 and isinstance(container, dict):
            container[key.upper()] = container.pop(key)
        elif action == 3 and type(old) is int:
            container[key] = old + self.random.choice([-1, 1, 2**32, -old * 2, 0.5, 10**12])
        elif action == 4:
            container[key] = [old] if self.random.random() < 0.5 else {str(key): old}
        elif action == 5:
            other, place = self.random.choice(list(_branches(tree)))
            container[key] = json.loads(json.dumps(other[place]))
        elif action == 6 and isinstance(old, list):
            old.extend(json.loads(json.dumps(old)) or [value])
        elif action == 7:
            token, depth = f'"@{len(self.tokens)}@"', self.random.choice([50, 300, 900, 980, 100_000])
            opening, closing = self.random.choice(["[]", ('{"a":', "}")])
            self.tokens[token] = opening * depth + "1" + closing * depth
            container[key] = token[1:-1]
        elif action == 8 and isinstance(container, dict):
            token = f'"@{len(self.tokens)}@"'
            self.tokens[token] = f'1, "{key}": {json.dumps(value)}'
            container[key] = token[1:-1]
        else:
            container[key] = value
        self.did.append(f"{where}: {key!r}, action {action}: {str(old)[:60]} -> {str(value)[:60]}")

    def change_root(self) -> None:
        """Change what the root says."""
        tree = self.root if self.random.random() < 0.05 else self.functa
        if tree is self.functa and self.random.random() < 0.8:  # else most changes are in the manifest
            tree = {key: value for key, value in self.functa.items() if key not in ("manifest", "quality")}
            before = dict(tree)
            self._mutate(tree, ROOT)
            for key in before.keys() - tree.keys():
                del self.functa[key]
            self.functa.update(tree)
        else:
            self.extra["keep"] = self.random.random() < 0.5
            self._mutate(tree, ROOT)

    def change_metadata(self) -> None:
        """Change what an array says."""
        key = self.random.choice([key for key in self.files if key.endswith("/zarr.json")])
        tree = json.loads(self.files[key])
        for name in ("attributes", "dimension_names", "fill_value"):
            if self.random.random() < 0.8:
                tree.pop(name, None)
        self._mutate(tree, key)
        self.files[key] = json.dumps(tree).encode()

    def older(self) -> None:
        """Claim another version."""
        versions = range(-1, FORMAT_VERSION + 2)
        self.functa["format_version"] = self.random.choice([*versions, 10**400, True, "3", 3.0])

    # --- arrays, with everything that belongs to them

    def _array(self) -> str:
        names = [key.removesuffix("/zarr.json") for key in sorted(self.files) if key.endswith("/zarr.json")]
        return self.random.choice([n for n in names if any(k.startswith(f"{n}/c/") for k in self.files)])

    def _small(self) -> str:
        return next(name for name in iter(self._array, "") if not name.startswith(TABLES))

    def _values(self, shape: Sequence[int]) -> np.ndarray | list[str]:
        numbers = np.random.default_rng(self.random.randrange(2**32))
        if len(shape) == 1 and self.random.random() < 0.2:
            return [self.random.choice(["train", "", "ä", "x" * 500, "\0"]) for _ in range(shape[0])]
        with np.errstate(all="ignore"):
            return (numbers.normal(size=shape) * 50).astype(self.random.choice(DTYPES))

    def retype(self) -> None:
        """Give an array another type."""
        name = self._small()
        shape = [min(n, 1000) for n in json.loads(self.files[f"{name}/zarr.json"])["shape"]]
        self.did.append(name)
        put(self.files, self.root, name, self._values(shape))

    def reshape(self) -> None:
        """Give an array another shape."""
        name = self._small()
        shape = [self.random.choice(SIZES) for _ in range(self.random.choice([0, 1, 1, 2, 2, 3]))]
        self.did.append(f"{name} {shape}")
        put(self.files, self.root, name, self._values(shape))

    def poison(self) -> None:
        """Give weights values that no network has."""
        name = self.random.choice(sorted(f"base/{key}" for key in self.functa["base"]) + ["scale", "offset"] * 2)
        values = get(self.files, name)
        spoilt = self.random.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0, -1.0, 6e4])
        self.did.append(f"{name} {spoilt}")
        with np.errstate(all="ignore"):
            values.flat[self.random.randrange(values.size)] = spoilt
        put(self.files, self.root, name, values)

    def _chunk(self) -> str:
        return self.random.choice([k for k in sorted(self.files) if "/c/" in k and not k.startswith(TABLES)])

    def payload(self) -> None:
        """Change what is compressed in a chunk."""
        key = self._chunk()
        data = bytearray(unpack(self.files[key]))
        mutate_bytes(self.random, data)
        self.did.append(key)
        self.files[key] = self.random.choice([frame(bytes(data)), bytes(Zstd(1).encode(bytes(data)))])
        name = key.partition("/c/")[0]
        with contextlib.suppress(ValueError, KeyError):
            put(self.files, self.root, name, get(self.files, name))

    def repack(self) -> None:
        """Compress a chunk so that it claims something else, or is more than it claims."""
        key = self._chunk()
        data, old = unpack(self.files[key]), self.files[key]
        choices = {
            "declares": frame(
                data, self.random.choice([0, 1, len(data) - 1, len(data) + 1, 2**31, 2**40, 2**63, 2**64 - 1])
            ),
            "bomb": bomb(self.random.choice([2**20, 2**30, 2**32])),
            "second frame": old
            + self.random.choice([frame(data), bomb(2**30), bomb(2**33), b"\x50\x2a\x4d\x18\x04\0\0\0abcd"]),
            "as declared": frame(data, len(data))[:13] + bomb(2**30)[13:],
            "junk": old + b"junk",
            "descriptor": old[:4] + bytes([self.random.randrange(256)]) + old[5:],
            "skippable": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + old,
            "empty": b"",
            "head": b"\x28\xb5\x2f\xfd",
            "nothing": frame(b""),
        }
        what = self.random.choice(sorted(choices))
        self.did.append(f"{key} {what}")
        self.files[key] = choices[what]

    def lie_about_texts(self) -> None:
        """Strings whose numbers and lengths are wrong, or that are no text."""
        name = self.random.choice(["id", "split", "rejects/member", "rejects/reason"])
        count = json.loads(self.files[f"{name}/zarr.json"])["shape"][0]
        values = [b"train"] * (count := min(count, 1000))
        lies = [0, 1, count, count + 1, 2**31, 2**32 - 1, 100, -1]
        lengths = [len(value) for value in values]
        if lengths and self.random.random() < 0.5:
            lengths[self.random.randrange(count)] = self.random.choice(lies)
        if count and self.random.random() < 0.5:
            values[self.random.randrange(count)] = self.random.choice(
                [b"\xff", b"\xed\xa0\x80", b"\0", b"x" * 10**6, b"\xc3"]
            )
            lengths = [len(value) for value in values]
        claimed = self.random.choice([count, self.random.choice(lies)])
        self.did.append(f"{name} {claimed} {lengths[:5]}")
        self.files[f"{name}/c/0"] = frame(texts(values, claimed, lengths) + b"x" * self.random.choice([0, 0, 1, 100]))

    def damage_any(self) -> None:
        """Change bytes of any file."""
        key = self.random.choice(sorted(self.files.keys() - {ROOT}))
        data = bytearray(self.files[key])
        mutate_bytes(self.random, data)
        self.did.append(key)
        self.files[key] = bytes(data)

    # --- changes that agree with themselves

    def count(self) -> None:
        """Claim another number of examples, everywhere."""
        count = self.random.choice([0, 1, 4, 6, 1000, 65536, 65537, 10**6, 2**28, 10**9, 10**12, 10**15])
        self.did.append(f"{count} examples")
        self.functa["examples"]["count"] = count
        rows = self.random.choice([self.functa["layout"]["rows_per_shard"], 1, 2**10, 2**20, 2**28])
        layout = {"rows_per_shard": rows, "rows_per_chunk": self.random.choice([1, rows]), "mse_rows_per_chunk": rows}
        if self.random.random() < 0.7:
            self.functa["layout"] = layout
        names = [
            key.removesuffix("/zarr.json") for key in self.files if key.startswith("labels/") and key.count("/") == 2
        ]
        for name in ("id", "split", *self._tables(), *names):
            found = json.loads(self.files[f"{name}/zarr.json"])
            found["shape"][0] = count
            if name in TABLES:
                chunks = found["chunk_grid"]["configuration"]["chunk_shape"]
                inner = found["codecs"][0]["configuration"]["chunk_shape"]
                chunks[0] = rows
                inner[0] = layout["rows_per_chunk" if name == "modulations" else "mse_rows_per_chunk"]
            else:
                size = self.random.choice([min(count, 65536), count, 1])
                found["chunk_grid"]["configuration"]["chunk_shape"] = [max(size, 1)]
                bytes_each = 0 if found["data_type"] == "string" else np.dtype(found["data_type"]).itemsize
                self.files[f"{name}/c/0"] = bomb(min(max(size * bytes_each, 4), 2**32))
            self.files[f"{name}/zarr.json"] = json.dumps(found).encode()

    def unfinish(self) -> None:
        """Claim to be unfinished, with or without receipts."""
        self.functa["complete"] = False
        self.did.append("unfinished")
        if self.random.random() < 0.5:
            self.functa["manifest"], self.functa["quality"] = {}, {}
            if "manifest_sha256" in self.functa:
                self.functa["manifest_sha256"] = None
        with contextlib.suppress(ValueError, RecursionError):
            fingerprint = sha256_json({key: self.functa[key] for key in IDENTITY if key in self.functa})
            kept = {
                key: data
                for key, data in self.files.items()
                if not key.startswith(tuple(f"{name}/c" for name in TABLES)) and key != ROOT
            }
            beginnings = [(f"mse/c/{i}", f"modulations/c/{i}/", f"metrics/c/{i}/") for i in (0, 1)]
            shards = [{k: d for k, d in self.files.items() if k.startswith(any_of)} for any_of in beginnings]
            for name, files in {"skeleton": kept, "000000": shards[0], "000001": shards[1]}.items():
                if self.random.random() < 0.8:
                    records = {key: dataclasses.asdict(record(data)) for key, data in files.items()}
                    self.work[f"receipts/{name}.json"] = json.dumps(
                        {"fingerprint": fingerprint, "files": records}
                    ).encode()

    def network(self) -> None:
        """Claim another network."""
        network = self.functa["config"]["network"]
        key = self.random.choice(sorted(network))
        network[key] = self.random.choice(
            [1, 2, 1000, 10**5, 10**7, 10**8, 4 * 10**8, 2**31, 10**9, 30.0, "shift", None, 1e308, 1e-308]
        )
        if self.random.random() < 0.4:
            network |= {"width": 1, "modulation_dim": 1, "modulation": "latent"}
        if self.random.random() < 0.2:
            network |= {"modulation_dim": None, "modulation": "shift"}
        if self.random.random() < 0.3:
            grids = (
                [2, 3],
                [3, 2],
                [1, 1],
                [6],
                [0, 1],
                [1] * 8,
                [1] * 9,
                [1000] * 3,
                [2**16] * 2,
                [2**62, 1],
                [2**31],
            )
            network |= {"modulation": "spatial", "modulation_grid": self.random.choice(grids)}
            network |= {"lookup": self.random.choice(["nearest", "linear"]), "map_kernel": self.random.choice([1, 3])}
            network |= {"map_bias": self.random.choice(["shared", "per_cell"])}
        self.did.append(f"{key} {network}")

    def axes(self) -> None:
        """Sample on a domain of any number of axes."""
        number = self.random.choice([0, 1, 3, 31, 32, 33, 64, 65, 1000])
        resolution = self.random.choice([1, 2, 8, 10**4, 10**9, 10**200])
        self.did.append(f"{number} axes of {resolution}")
        self.functa["domain"] = {
            "axes": [self.random.choice(["x", "\x1b[2J", ""]) for _ in range(number)],
            "resolution": [resolution] * number,
            "cell_aspect": [self.random.choice([1.0, 0.0, -1.0, 1e308])] * number,
            "lengths": [self.random.choice([1.0, 0.0, 1e308])] * number,
            "units": [self.random.choice(["1", "m", "\x1b[2J"])] * number,
            "kind": "cells",
        }
        width = self.functa["config"]["network"]["width"]
        put(self.files, self.root, "base/sine_0/kernel", np.ones((number, min(width, 1000)), np.float32))

    def sphere(self) -> None:
        """Sample on a sphere of any latitudes, longitudes and mask."""
        number, last = self.random.choice([0, 1, 2, 8, 1000]), self.random.choice([0.0, 45.0, 90.0, 359.0, 1e308])
        degrees = [last * i / max(number, 1) for i in range(number)]
        self.did.append(f"{number} latitudes up to {last}")
        self.functa["domain"] = {
            "latitudes": [min(degree, self.random.choice([90.0, 1e308])) for degree in degrees],
            "longitudes": degrees,
            "centre": [self.random.choice([0.0, 1e308])] * 3,
            "radius": self.random.choice([1.0, 0.0, 1e-320, 1e308]),
            "area_weighting": True,
            "mask": self.random.choice(["", "x", "0 4", "1 " * 10**5 + "1"]),
            "kind": "sphere",
        }
        width = self.functa["config"]["network"]["width"]
        put(self.files, self.root, "base/sine_0/kernel", np.ones((3, min(width, 1000)), np.float32))

    def metrics(self) -> None:
        """Claim other metrics, with as many columns as there are if they can be."""
        chosen = self.random.choice([[], ["rmse"], ["iou"], ["mse_held_out", "iou"], ["iou", "accuracy", "rmse"]])
        self.did.append(f"metrics {chosen}")
        self.functa["features"]["metrics"] = chosen
        columns = [f"rmse_{c}" for c in self.functa["features"]["channels"]] if chosen == ["rmse"] else chosen
        columns = [*columns, "psnr_held_out"] if "mse_held_out" in columns else columns
        mean = self.random.choice([0.5, None, -1e308, "x"])
        for quality in self.functa["quality"].values():
            quality["metrics"] = dict.fromkeys(columns, mean)

    def _tables(self) -> list[str]:
        return [name for name in TABLES if f"{name}/zarr.json" in self.files]

    def layout(self) -> None:
        """Cut shards in another way, and say so everywhere."""
        rows = self.random.choice([1, 2, 8, 16, 2**20, 2**29, 2**31, 3, 0, -8])
        chunk, mse_chunk = self.random.choice([1, 2, rows]), self.random.choice([1, 2, rows])
        self.did.append(f"{rows} rows in chunks of {chunk} and {mse_chunk}")
        self.functa["layout"] = {"rows_per_shard": rows, "rows_per_chunk": chunk, "mse_rows_per_chunk": mse_chunk}
        count = self.functa["examples"]["count"]
        self.extra.update(keep=False)
        for name in self._tables():
            inner = chunk if name == "modulations" else mse_chunk
            found = json.loads(self.files[f"{name}/zarr.json"])
            found["chunk_grid"]["configuration"]["chunk_shape"][0] = rows
            found["codecs"][0]["configuration"]["chunk_shape"][0] = inner
            self.files[f"{name}/zarr.json"] = json.dumps(found).encode()
            row_bytes = np.dtype(found["data_type"]).itemsize * int(np.prod(found["shape"][1:]))
            size = rows * row_bytes + 16 * (rows // max(inner, 1)) + 4
            for i in range(min(-(-count // max(rows, 1)), 50)):
                key = "/".join([name, "c", str(i), *["0"] * (len(found["shape"]) - 1)])
                self.extra[key] = {"bytes": size, "crc32c": "00000000"}

    def names(self) -> None:
        """Names that lead elsewhere."""
        name = self.random.choice(NAMES)
        self.did.append(repr(name))
        if self.random.random() < 0.5:
            self.extra[name] = {
                "bytes": self.random.choice([0, 4, -1, 2**62]),
                "crc32c": self.random.choice(["", "0" * 8]),
            }
        else:
            label = self.random.choice(["labels", "base"])
            for key in [key for key in self.files if key.startswith("labels/animal/")]:
                self.files[key.replace("labels/animal", f"{label}/{name}")] = self.files[key]

    def drop(self) -> None:
        """Leave out, empty, cut or exchange files."""
        key, other = self.random.sample(sorted(self.files.keys() - {ROOT}), 2)
        self.did.append(f"{key}, {other}")
        damage_file(self.random, self.files, key, other)


def _branches(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON tree with each of its keys."""
    for key, value in list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _branches(value)


def mutate_bytes(numbers: random.Random, data: bytearray) -> None:
    """Change, insert, remove or repeat some bytes."""
    for _ in range(numbers.choice([1, 1, 2, 8])):
        at, length = numbers.randrange(len(data) + 1), numbers.choice([1, 2, 4, 16])
        action = numbers.randrange(6)
        if action == 0:
            data[at : at + length] = numbers.randbytes(length)
        elif action == 1:
            data[at:at] = numbers.randbytes(length)
        elif action == 2:
            del data[at : at + length]
        elif action == 3:
            data[at : at + length] = bytes([numbers.choice([0, 0xFF, 0x7F, 0x80])]) * length
        elif action == 4:
            del data[at:]
        elif at < len(data):
            data[at] ^= 1 << numbers.randrange(8)


def damage_file(numbers: random.Random, files: Files, key: str, other: str) -> None:
    """Leave out, empty, cut, lengthen or exchange a file."""
    action = numbers.randrange(6)
    if action == 0:
        del files[key]
    elif action == 1:
        files[key] = b""
    elif action == 2:
        files[key] = files[key][: numbers.randrange(len(files[key]) + 1)]
    elif action == 3:
        files[key] += numbers.randbytes(numbers.choice([1, 16, 4096]))
    elif action == 4:
        files[key], files[other] = files[other], files[key]
    else:
        files[key] = files[other]
