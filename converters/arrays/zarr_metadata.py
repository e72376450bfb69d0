"""Metadata of a Zarr store, read and checked before a library sees them.

Every document is read here, within bounds, and what zarr and xarray open is what was read: they get these bytes. Of a
store with consolidated metadata both are checked, those of each array and the consolidated ones, whichever a library
takes.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from converters.arrays.bounds import (
    MAX_ARRAYS,
    MAX_DEPTH,
    MAX_ITEM_BYTES,
    check_chunk,
    check_number,
    check_promise,
    check_shape,
)
from converters.arrays.zarr_codecs import (
    MAX_TEXT_BYTES,
    TEXTS,
    Codecs,
    check_codecs,
)
from functa_store.errors import ArchiveError, MemberError

MAX_METADATA_BYTES = 1 << 24
"""Bytes of one document: consolidated metadata have about 1 KB an array."""

GROUP_V2, ARRAY_V2, ATTRIBUTES_V2, ALL_V2, V3 = ".zgroup", ".zarray", ".zattrs", ".zmetadata", "zarr.json"
DOCUMENTS = (GROUP_V2, ARRAY_V2, ATTRIBUTES_V2, ALL_V2, V3)

_POINTER_BYTES = 8
_INDEX_BYTES = 16
_V3_BYTES = {
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
    **{f"{kind}{8 * width}": width for kind in ("int", "uint") for width in (1, 2, 4, 8)},
    **{f"float{8 * width}": width for width in (2, 4, 8)},
    "numpy.datetime64": 8,
    "numpy.timedelta64": 8,
}
_V3_TEXTS = ("string", "bytes", "variable_length_bytes", "variable_length_utf8")
_V3_FIXED = ("fixed_length_utf32", "null_terminated_bytes", "raw_bytes", "fixed_length_ascii")


@runtime_checkable
class Files(Protocol):
    """What a Zarr store lies in, read by keys with "/" between parts."""

    name: str
    num_bytes: int

    def read(self, key: str, most: int, start: int | None = None, length: int | None = None) -> bytes | None:
        """Bytes of a file, all or a part (a negative start counts from the end); None if there is none.

        Raises:
            MemberError: If it has more than `most`, or cannot be read as a file of the store.
        """
        ...

    def folders(self, key: str) -> Iterator[str]:
        """Names of the folders in a folder."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZarrArray:
    """What the metadata of an array say, checked.

    Attributes:
        shape: Of the array.
        chunk: Shape of what is stored as one file: a chunk, or a shard.
        codecs: Of a chunk, or of a chunk in a shard.
        inner: Shape of a chunk in a shard; None if there are no shards.
        index_at_start: Whether the index of a shard comes first.
        index_bytes: Of the index of a shard.
        layout: All that must not differ between two documents of one array.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    codecs: Codecs
    inner: tuple[int, ...] | None
    index_at_start: bool
    index_bytes: int
    layout: Any

    @property
    def most_stored(self) -> int:
        """Bytes that a file of the array may have; incompressible values take a little more than they have."""
        widest = max(self.codecs.item_bytes, _POINTER_BYTES)
        texts = MAX_TEXT_BYTES * self.codecs.has_texts
        return 2 * math.prod(self.chunk) * widest + self.index_bytes + texts + (1 << 16)

    def check_stored(self, stored: bytes, is_part: bool) -> int:
        """Refuse bytes that would unpack to more than they should.

        Args:
            stored: A file of the array, or a part of it.
            is_part: Whether it is a part: of a shard, its index or one of its chunks.

        Returns:
            Bytes that they unpack to.

        Raises:
            MemberError: If they would; the message is the reason alone.
        """
        if self.inner is None:
            return self.codecs.check_packed(stored, math.prod(self.chunk))
        num_values = math.prod(self.inner)
        if not is_part:
            return sum(self.codecs.check_packed(chunk, num_values) for chunk in self._chunks(stored))
        return 0 if len(stored) == self.index_bytes else self.codecs.check_packed(stored, num_values)

    def _chunks(self, shard: bytes) -> Iterator[bytes]:
        """The chunks that the index of a whole shard tells of."""
        count = self.index_bytes // _INDEX_BYTES
        place = 0 if self.index_at_start else len(shard) - self.index_bytes
        if place < 0 or len(shard) < self.index_bytes:
            raise MemberError(f"has a shard of {len(shard)} bytes, shorter than its index")
        index = np.frombuffer(shard, "<u8", 2 * count, place).reshape(-1, 2)
        for start, length in index[(index != np.iinfo(np.uint64).max).any(axis=1)].tolist():
            yield shard[start : start + length]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZarrMetadata:
    """The documents of a store.

    Attributes:
        documents: Their bytes by key; there is no other one.
        arrays: What those of arrays say, by the array's path; "" is the store itself.
    """

    documents: Mapping[str, bytes]
    arrays: Mapping[str, ZarrArray]


def read_zarr_metadata(files: Files) -> ZarrMetadata:
    """All metadata of a store.

    Raises:
        ArchiveError: If there are none, they are damaged, or an array has codecs that are not let through or promises
            more than the store can hold. Names the array.
    """
    return _Walk(files).walked()


class _Walk:
    """Goes through a store from its root: only groups are looked into, never the chunks of an array."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._documents: dict[str, bytes] = {}
        self._arrays: dict[str, ZarrArray] = {}
        self._groups: set[str] = set()

    def walked(self) -> ZarrMetadata:
        ahead = [("", 0)]
        while ahead:
            path, depth = ahead.pop()
            if len(self._arrays) + len(self._groups) > MAX_ARRAYS or depth > MAX_DEPTH:
                raise ArchiveError(
                    f"{self._files.name}: holds more than {MAX_ARRAYS} arrays and groups, or {MAX_DEPTH} groups within "
                    "each other; convert a part of it"
                )
            try:
                found = {name: self._read(_join(path, name)) for name in DOCUMENTS}
                self._see(path, {name: value for name, value in found.items() if value is not None})
                if path in self._groups and path not in self._arrays:
                    ahead += [(_join(path, name), depth + 1) for name in sorted(self._files.folders(path))]
            except MemberError as error:
                raise ArchiveError(f"{self._files.name}/{path}: {error}") from error
            except RecursionError as error:
                raise ArchiveError(f"{self._files.name}/{path}: metadata nest too deeply; fetch it again") from error
        return ZarrMetadata(documents=self._documents, arrays=dict(sorted(self._arrays.items())))

    def _read(self, key: str) -> Any:
        """A document, kept; None if there is none."""
        content = self._files.read(key, MAX_METADATA_BYTES)
        if content is None:
            return None
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:  # ValueError: also bytes that are no text, integers too long
            raise MemberError(f"{key.rpartition('/')[2]} is no JSON that can be read: {error}") from error
        if not isinstance(value, dict):
            raise MemberError(f"{key.rpartition('/')[2]} holds {type(value).__name__}, expected a JSON object")
        self._documents[key] = content
        return value

    def _see(self, path: str, found: Mapping[str, dict[str, Any]]) -> None:
        """Enter the documents of a folder."""
        if GROUP_V2 in found:
            self._groups.add(path)
        if ARRAY_V2 in found:
            self._enter(path, found[ARRAY_V2], self._array_v2)
        if V3 in found:
            self._see_v3(path, found[V3], 0)
        for key, document in _entries(found.get(ALL_V2, {}).get("metadata")):
            inner, _, name = key.rpartition("/")
            if name == ARRAY_V2:
                self._enter(_join(path, inner), document, self._array_v2)
            elif name in (V3, ALL_V2):
                raise MemberError(f"{ALL_V2} holds {ascii(key)[:200]}, expected documents of version 2 alone")

    def _see_v3(self, path: str, document: Mapping[str, Any], depth: int) -> None:
        kind = document.get("node_type")
        if kind == "array":
            self._enter(path, document, self._array_v3)
        elif kind == "group" and depth <= MAX_DEPTH:
            self._groups.add(path)
            if (consolidated := document.get("consolidated_metadata")) is not None:
                listed = consolidated.get("metadata") if isinstance(consolidated, dict) else consolidated
                for key, inner in _entries(listed):
                    self._see_v3(_join(path, key), inner, depth + 1)
        else:
            raise MemberError(f"its metadata are of {ascii(kind)[:100]}, expected an array or a group")

    def _enter(self, path: str, document: Mapping[str, Any], parse: Any) -> None:
        if not _is_plain(path):
            raise MemberError(f"an array is called {ascii(path)[:200]}, which leads out of the store")
        where = f"{self._files.name}/{path}" if path else self._files.name
        found = parse(where, document)
        known = self._arrays.setdefault(path, found)
        if known.layout != found.layout:
            raise ArchiveError(
                f"{where}: its own and the consolidated metadata have different chunks, types or codecs, and so one "
                "of them is wrong; consolidate them again"
            )

    def _array_v2(self, where: str, document: Mapping[str, Any]) -> ZarrArray:
        shape = check_shape(where, document.get("shape"))
        chunk = check_shape(where, document.get("chunks"))
        filters, compressor = document.get("filters") or [], document.get("compressor")
        if not isinstance(filters, list):
            raise ArchiveError(f"{where}: its filters are no list; fetch it again")
        dtype = _dtype_v2(where, document.get("dtype"))
        item_bytes = _POINTER_BYTES if dtype.hasobject else dtype.itemsize
        codecs = check_codecs(where, [*filters, *([] if compressor is None else [compressor])], item_bytes)
        if dtype.hasobject and not codecs.has_texts:
            raise ArchiveError(
                f"{where}: holds Python objects, expected numbers, or texts by one of {', '.join(TEXTS)}"
            )
        self._check(where, shape, chunk, item_bytes, codecs)
        layout = (chunk, document.get("dtype"), filters, compressor, document.get("dimension_separator", "."), 2)
        return ZarrArray(
            shape=shape, chunk=chunk, codecs=codecs, inner=None, index_at_start=False, index_bytes=0, layout=layout
        )

    def _array_v3(self, where: str, document: Mapping[str, Any]) -> ZarrArray:
        shape, chunk = check_shape(where, document.get("shape")), _chunk_v3(where, document.get("chunk_grid"))
        if document.get("storage_transformers"):
            raise ArchiveError(f"{where}: has storage transformers, expected none; write it again")
        item_bytes, has_texts = _item_bytes_v3(where, document.get("data_type"))
        given = _list(where, document.get("codecs"))
        layout = (chunk, document.get("data_type"), given, document.get("chunk_key_encoding"), 3)
        inner, index_bytes, at_start, listed = None, 0, False, given
        if any(_name(codec) == "sharding_indexed" for codec in given):
            if len(given) != 1:
                raise ArchiveError(
                    f"{where}: has codecs beside its shards, expected them in the shards; write it again"
                )
            options = given[0].get("configuration")
            options = options if isinstance(options, dict) else {}
            inner = check_shape(where, options.get("chunk_shape"))
            listed, index = _list(where, options.get("codecs")), _list(where, options.get("index_codecs"))
            count = _count(where, chunk, inner)
            check_number(where, "chunks in a shard", count, self._files.num_bytes)
            index_bytes = count * _INDEX_BYTES + 4 * _check_index_codecs(where, index)
            at_start = options.get("index_location", "end") == "start"
        codecs = check_codecs(where, listed, item_bytes)
        if has_texts != codecs.has_texts:
            raise ArchiveError(f"{where}: holds texts of any length without one of {', '.join(TEXTS)}, or the reverse")
        self._check(where, shape, chunk, item_bytes, codecs, inner)
        return ZarrArray(
            shape=shape,
            chunk=chunk,
            codecs=codecs,
            inner=inner,
            index_at_start=at_start,
            index_bytes=index_bytes,
            layout=layout,
        )

    def _check(
        self,
        where: str,
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
        item_bytes: int,
        codecs: Codecs,
        inner: tuple[int, ...] | None = None,
    ) -> None:
        """Refuse what the store cannot hold, or memory cannot."""
        stored = self._files.num_bytes
        check_chunk(where, inner or chunk, codecs.item_bytes)
        check_promise(where, shape, item_bytes, stored)
        if len(chunk) != len(shape) or 0 in (chunk if 0 not in shape else ()):
            raise ArchiveError(f"{where}: shape {shape} has chunks of {chunk}, expected a length for each axis")
        check_number(where, "chunks", _count(where, shape, inner or chunk), stored)


def _entries(listed: Any) -> list[tuple[str, dict[str, Any]]]:
    """Documents in consolidated metadata; attributes and damage apart."""
    if listed is None:
        return []
    if not isinstance(listed, dict) or not all(isinstance(document, dict) for document in listed.values()):
        raise MemberError("its consolidated metadata are damaged; consolidate them again")
    if len(listed) > 4 * MAX_ARRAYS:
        raise MemberError(f"its consolidated metadata name {len(listed)} documents, expected at most {4 * MAX_ARRAYS}")
    return list(listed.items())


def _dtype_v2(where: str, found: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype([tuple(field) for field in found] if isinstance(found, list) else found)
    except Exception as error:  # whatever NumPy says of nonsense
        raise ArchiveError(f"{where}: holds {ascii(found)[:200]}, which is no type of numbers or texts") from error
    if not isinstance(found, str | list) or dtype.itemsize > MAX_ITEM_BYTES or (dtype.hasobject and dtype.kind != "O"):
        raise ArchiveError(f"{where}: holds {ascii(found)[:200]}, expected numbers or texts of moderate length")
    return dtype


def _item_bytes_v3(where: str, found: Any) -> tuple[int, bool]:
    """Bytes of a value, and whether it is a text of any length."""
    name, options = (found.get("name"), found.get("configuration")) if isinstance(found, dict) else (found, None)
    if name in _V3_TEXTS:
        return _POINTER_BYTES, True
    if isinstance(name, str) and name in _V3_BYTES:
        return _V3_BYTES[name], False
    if isinstance(name, str) and name in _V3_FIXED and isinstance(options, dict):
        length = options.get("length_bytes")
        if type(length) is int and 0 < length <= MAX_ITEM_BYTES:
            return length, False
    raise ArchiveError(f"{where}: holds {ascii(found)[:200]}, expected numbers or texts of moderate length")


def _chunk_v3(where: str, grid: Any) -> tuple[int, ...]:
    if not isinstance(grid, dict) or grid.get("name") != "regular" or not isinstance(grid.get("configuration"), dict):
        raise ArchiveError(f"{where}: has chunks {ascii(grid)[:200]}, expected regular ones")
    return check_shape(where, grid["configuration"].get("chunk_shape"))


def _list(where: str, found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise ArchiveError(f"{where}: found {ascii(found)[:200]}, expected a list of codecs; fetch it again")
    return found


def _name(codec: Any) -> Any:
    return codec.get("name") if isinstance(codec, dict) else codec


def _check_index_codecs(where: str, codecs: list[Any]) -> bool:
    """Whether the index of a shard has a checksum, the only thing that it may have."""
    names = [_name(codec) for codec in codecs]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        raise ArchiveError(f"{where}: the index of its shards has codecs {ascii(names)[:200]}, expected bytes, crc32c")
    return len(names) == 2


def _count(where: str, shape: tuple[int, ...], chunk: tuple[int, ...]) -> int:
    """How many chunks a shape has."""
    if len(shape) != len(chunk) or any(size == 0 and length for length, size in zip(shape, chunk, strict=True)):
        raise ArchiveError(f"{where}: {shape} has chunks of {chunk}, expected a length for each axis; fetch it again")
    return math.prod(-(-length // size) if size else 0 for length, size in zip(shape, chunk, strict=True))


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path and name else path or name


def _is_plain(path: str) -> bool:
    """Whether a path has no part that leads elsewhere."""
    return not path or (all(part not in ("", ".", "..") for part in path.split("/")) and not set(path) & set("\\\0"))
