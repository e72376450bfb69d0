"""Pages of a Parquet column: where each lies, and a small file of one page, which pyarrow decodes as any other.

pyarrow decodes whole row groups. One of 1,000 photographs has 100 megabytes, of which a shuffled read wants one row.
Within it the column lies in pages of about a megabyte, each compressed by itself. Their headers, in Thrift's compact
protocol, say how many rows each has; a page behind a header of ours and before a footer of ours is a Parquet file of
one column, whatever its encoding and compression.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from converters.archives.memory_share import ROOM, take_room
from converters.archives.plain_files import shown
from functa_store.errors import MemberError
from functa_store.support.optional import require

MAGIC = b"PAR1"
LENGTH_BYTES = 4
"""Before each value of a page that is not encoded."""

_HEADER_BYTES, _MOST_HEADER_BYTES = 1 << 12, 1 << 22
_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
PLAIN = 0
"""Number of the encoding of values that are not encoded."""

_BY_DICTIONARY = (2, 8)
_BYTE_ARRAY, _REQUIRED, _OPTIONAL = 6, 0, 1
_CODECS = {"UNCOMPRESSED": 0, "SNAPPY": 1, "GZIP": 2, "BROTLI": 4, "LZ4": 7, "ZSTD": 6}
_ENCODINGS = (0, 2, 3, 6, 7, 8)  # all that texts and bytes may have; a reader looks at those of pages
_MOST_PAGES = 1 << 24
_DEEPEST = 32

ReadAt = Callable[[int, int], bytes]


class PageHeader(NamedTuple):
    """What the header of a page says.

    Attributes:
        kind: Of the page.
        packed: Bytes of its content as stored.
        unpacked: Bytes of its content.
        rows: How many; of an unrepeated column also values.
        encoding: Of its values, by Parquet's number.
        length: Bytes of the header.
    """

    kind: int
    packed: int
    unpacked: int
    rows: int
    encoding: int
    length: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pages:
    """Where the pages of a column chunk lie.

    Attributes:
        first_rows: First row of each page, ascending, and behind the last one the number of rows.
        offsets: Where each begins.
        lengths: Bytes of each, header included.
        unpacked: Bytes of each once it is unpacked.
        encodings: Of the values of each, by Parquet's number.
        contents: Where the content of each begins, if it is compressed as a whole; else 0.
        dictionary: Offset, length and unpacked bytes of the page with the dictionary; None if there is none.
    """

    first_rows: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    unpacked: np.ndarray
    encodings: np.ndarray
    contents: np.ndarray
    dictionary: tuple[int, int, int] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaf:
    """An unrepeated column of bytes or text.

    Attributes:
        codec: Name of its compression, as pyarrow has it.
        optional: Fields on its path, itself among them, that may be null.
    """

    codec: str
    optional: int


def find_pages(read_at: ReadAt, start: int, stop: int, num_rows: int) -> Pages:
    """The pages of a column chunk, from their headers.

    Args:
        read_at: Gives so many bytes from an offset on.
        start: Where the chunk begins.
        stop: Where it ends.
        num_rows: Rows that it must have.

    Raises:
        MemberError: If the headers are damaged, or tell of other rows; the message is the reason alone.
    """
    position, rows, dictionary = start, 0, None
    found: list[tuple[int, int, int, int, int, int]] = []
    while rows < num_rows:
        header = _read_header(read_at, position, stop)
        length = header.length + header.packed
        if position + length > stop:
            raise MemberError(f"is in a damaged page: it has {length} bytes, but the column ends {stop - position} on")
        if header.kind == _DICTIONARY:
            dictionary = position, length, header.unpacked
        elif header.kind in (_DATA, _DATA_V2):
            content = position + header.length if header.kind == _DATA else 0
            found.append((rows, position, length, header.unpacked, header.encoding, content))
            rows += header.rows
        elif header.kind != _INDEX:
            raise MemberError(f"is in a damaged page: its kind is {header.kind}, expected 0 to 3")
        position += length
        if len(found) > min(_MOST_PAGES, num_rows + 1):
            raise MemberError("is in a column of more pages than rows")
    if rows != num_rows:
        raise MemberError(f"is in a damaged column: its pages have {rows} rows, its row group {num_rows}")
    table = np.array(found, np.int64).reshape(-1, 6)
    return Pages(
        first_rows=np.append(table[:, 0], num_rows),
        offsets=table[:, 1],
        lengths=table[:, 2],
        unpacked=table[:, 3],
        encodings=table[:, 4],
        contents=table[:, 5],
        dictionary=dictionary,
    )


def read_page(read_at: ReadAt, pages: Pages, page: int, leaf: Leaf) -> Any:
    """The values of one page, as a `pyarrow.BinaryArray`, nulls included.

    Raises:
        MemberError: If it is damaged, or larger than memory should hold; the message is the reason alone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = int(pages.first_rows[page + 1] - pages.first_rows[page])
    dictionary, needed = b"", int(pages.unpacked[page] + 2 * pages.lengths[page])
    own = pages.dictionary if int(pages.encodings[page]) in _BY_DICTIONARY else None
    if own is not None:
        needed += own[1] + own[2]
    if needed > ROOM:
        raise MemberError(f"is in a page of {needed} bytes, more than the {ROOM} that are held in memory at once")
    take_room(needed)
    if own is not None:
        dictionary = read_at(own[0], own[1])
    content = read_at(int(pages.offsets[page]), int(pages.lengths[page]))
    unpacked = int(pages.unpacked[page]) + (own[2] if own else 0)
    try:
        file = pq.ParquetFile(pa.BufferReader(_one_page_file(leaf, rows, dictionary, content, unpacked)))
        column = file.read(use_threads=False).column(0)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise MemberError(f"is in a page that cannot be decoded: {shown(str(error))}") from error
    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    for _ in range(leaf.optional - 1):
        values = values.flatten()[0]  # of a null group null, too
    if len(values) != rows:
        raise MemberError(f"is in a damaged page: {len(values)} of {rows} rows")
    return values


def places_in_page(end: int, values: Any) -> np.ndarray:
    """Where each value of a page that is not encoded lies, a row of (place, length), or (-1, 0) if it is null.

    Values stand in a row, up to the end, with the length of each in the 4 bytes before it.

    Args:
        end: Where the page ends.
        values: What `read_page` gave.
    """
    pc = require("pyarrow.compute", extra="huggingface")
    lengths = pc.fill_null(pc.binary_length(values), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    taken = np.where(lengths < 0, 0, lengths + LENGTH_BYTES)
    places = np.where(lengths < 0, -1, end - int(taken.sum()) + np.cumsum(taken) - lengths)
    return np.stack([places, np.maximum(lengths, 0)], axis=1)


def _read_header(read_at: ReadAt, position: int, stop: int) -> PageHeader:
    count = _HEADER_BYTES
    while True:
        there = min(count, stop - position)
        data = read_at(position, there) if there > 0 else b""
        try:
            return _parse_header(data)
        except IndexError:
            if count >= _MOST_HEADER_BYTES or there < count:
                raise MemberError("is in a damaged page: its header has no end") from None
            count *= 32
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise MemberError(f"is in a damaged page: its header is none ({error})") from None


def _parse_header(data: bytes) -> PageHeader:
    fields, length = _read_struct(data, 0, 0)
    kind, unpacked, packed = fields[1], fields[2], fields[3]
    detail = fields.get({_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}.get(kind, 0), {})
    rows = detail.get(3 if kind == _DATA_V2 else 1, 0)
    if min(unpacked, packed, rows) < 0:
        raise ValueError("it has negative sizes")
    return PageHeader(kind, packed, unpacked, rows, detail.get(4 if kind == _DATA_V2 else 2, -1), length)


def _read_struct(data: bytes, position: int, depth: int) -> tuple[dict[int, Any], int]:
    """Fields of a Thrift struct by number, and where it ends; texts and lists are passed over.

    Raises:
        IndexError: If the data ends before.
        ValueError: If it is none.
    """
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[position]) != 0:
        position += 1
        if head >> 4:
            number += head >> 4
        else:
            number, position = _read_integer(data, position)
        fields[number], position = _read_value(data, position, head & 15, depth)
    for needed in (1, 2, 3) if depth == 0 else ():
        if not isinstance(fields.get(needed), int):
            raise ValueError(f"it lacks the field {needed}")
    return fields, position + 1


def _read_value(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, position
    if kind == 3:
        return data[position], position + 1
    if kind in (4, 5, 6):
        return _read_integer(data, position)
    if kind == 7:
        return None, position + 8
    if kind == 8:
        length, position = _read_unsigned(data, position)
        if position + length > len(data):
            raise IndexError
        return None, position + length
    if kind == 12:
        return _read_struct(data, position, depth + 1)
    raise ValueError(f"it has a field of kind {kind}")


def _read_unsigned(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError("it has a number of more than 64 bits")


def _read_integer(data: bytes, position: int) -> tuple[int, int]:
    value, position = _read_unsigned(data, position)
    return value >> 1 ^ -(value & 1), position


def _one_page_file(leaf: Leaf, rows: int, dictionary: bytes, page: bytes, unpacked: int) -> bytes:
    """A Parquet file with one column, in groups where it is optional more than once, of one page."""
    groups = [f"g{k}" for k in range(leaf.optional - 1)]
    path = [*groups, "values"]
    root = _struct({4: b"schema", 5: 1})
    nested = [_struct({3: _OPTIONAL, 4: name.encode(), 5: 1}) for name in groups]
    value = _struct({1: _BYTE_ARRAY, 3: _OPTIONAL if leaf.optional else _REQUIRED, 4: b"values"})
    size = len(dictionary) + len(page)
    column = {
        1: _BYTE_ARRAY,
        2: [*_ENCODINGS],
        3: [name.encode() for name in path],
        4: _CODECS[leaf.codec],
        5: _Long(rows),
        6: _Long(unpacked + size),
        7: _Long(size),
        9: _Long(len(MAGIC) + len(dictionary)),
    }
    if dictionary:
        column[11] = _Long(len(MAGIC))
    chunk = _Struct(_struct({2: _Long(len(MAGIC)), 3: _Struct(_struct(column))}))
    group = _Struct(_struct({1: [chunk], 2: _Long(unpacked), 3: _Long(rows)}))
    schema = [_Struct(root), *map(_Struct, nested), _Struct(value)]
    footer = _struct({1: 1, 2: schema, 3: _Long(rows), 4: [group]})
    return b"".join([MAGIC, dictionary, page, footer, len(footer).to_bytes(4, "little"), MAGIC])


def can_unpack(codec: str) -> bool:
    """Whether pages of a compression, as pyarrow calls it, can be read one by one."""
    return codec in _CODECS


class _Long(int):
    """An integer that Thrift keeps as one of 64 bits."""


class _Struct(bytes):
    """A struct that is written already."""


def _struct(fields: Mapping[int, Any]) -> bytes:
    """A Thrift struct of integers, texts, structs and lists of one kind."""
    parts, before = [], 0
    for number in sorted(fields):
        kind, content = _written(fields[number])
        parts += [bytes([(number - before) << 4 | kind]), content]
        before = number
    return b"".join(parts) + b"\0"


def _written(value: Any) -> tuple[int, bytes]:
    """Thrift's number for a kind of value, and the value."""
    if isinstance(value, _Struct):
        return 12, value
    if isinstance(value, bytes):
        return 8, _unsigned(len(value)) + value
    if isinstance(value, list):
        written = [_written(item) for item in value]
        head = bytes([len(written) << 4 | written[0][0]])  # of up to 14 items
        if len(written) > 14:
            head = bytes([0xF0 | written[0][0]]) + _unsigned(len(written))
        return 9, head + b"".join(content for _, content in written)
    return 6 if isinstance(value, _Long) else 5, _unsigned(value << 1 if value >= 0 else ~(value << 1))


def _unsigned(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
