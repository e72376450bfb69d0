"""Pages of a Parquet column: where each lies, and a small file of one page, which pyarrow decodes as any other.

pyarrow decodes whole row groups. One of 1,000 photographs has 100 megabytes, of which a shuffled read wants one row.
Within it the column lies in pages of about a megabyte, each compressed by itself. Their headers, in Thrift's compact
protocol, say how many rows each has; a page behind a header of ours and before a footer of ours is a Parquet file of
one column, whatever its encoding and compression.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from converters.archives.memory_share import ROOM, take_room
from converters.tables.thrift import Long, Struct, read_struct, write_struct
from functa_store.errors import MemberError
from functa_store.support.optional import require
from functa_store.support.shortening import shown

MAGIC = b"PAR1"
LENGTH_BYTES = 4
"""Before each value of a page that is not encoded."""

_HEADER_BYTES, _MOST_HEADER_BYTES = 1 << 12, 1 << 22
_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
PLAIN = 0
"""Number of the encoding of values that are not encoded."""

_BY_DICTIONARY = (2, 8)
_BYTE_ARRAY, _REQUIRED, _OPTIONAL = 6, 0, 1
UNCOMPRESSED, SNAPPY = 0, 1
"""Numbers of two compressions."""

_CODECS = (UNCOMPRESSED, SNAPPY, 2, 4, 6, 7)  # gzip, Brotli, Zstandard, LZ4 without Hadoop's frames
_ENCODINGS = (0, 2, 3, 6, 7, 8)  # all that texts and bytes may have; a reader looks at those of pages
_MOST_PAGES = 1 << 24

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
        codec: Number of its compression.
        optional: Fields on its path, itself among them, that may be null.
    """

    codec: int
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
    """The values of one page, nulls included, as a `pyarrow.BinaryArray`, or a `DictionaryArray` of these.

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
        # One value of a dictionary may stand for a million: as numbers of it they take no more than it does.
        encoded = [".".join(_path(leaf))] if own is not None else []
        source = pa.BufferReader(_one_page_file(leaf, rows, dictionary, content, unpacked))
        column = pq.ParquetFile(source, read_dictionary=encoded).read(use_threads=False).column(0)
        column.validate(full=True)  # numbers of a dictionary are not compared with its length before
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
    fields, length = read_struct(data, 0)
    kind, unpacked, packed = (fields.get(number, -1) for number in (1, 2, 3))
    detail = fields.get({_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}.get(kind, 0), {})
    rows, encoding = detail.get(3 if kind == _DATA_V2 else 1, 0), detail.get(4 if kind == _DATA_V2 else 2, -1)
    numbers = (kind, unpacked, packed, rows, encoding)
    if not all(isinstance(number, int) and -1 <= number < 1 << 31 for number in numbers):
        raise ValueError("it has sizes that are none")
    if min(unpacked, packed, rows) < 0:
        raise ValueError("it has negative sizes")
    return PageHeader(kind, packed, unpacked, rows, encoding, length)


def _path(leaf: Leaf) -> list[str]:
    return [*(f"g{k}" for k in range(leaf.optional - 1)), "values"]


def _one_page_file(leaf: Leaf, rows: int, dictionary: bytes, page: bytes, unpacked: int) -> bytes:
    """A Parquet file with one column, in groups where it is optional more than once, of one page."""
    path = _path(leaf)
    groups = path[:-1]
    root = write_struct({4: b"schema", 5: 1})
    nested = [write_struct({3: _OPTIONAL, 4: name.encode(), 5: 1}) for name in groups]
    value = write_struct({1: _BYTE_ARRAY, 3: _OPTIONAL if leaf.optional else _REQUIRED, 4: b"values"})
    size = len(dictionary) + len(page)
    column = {
        1: _BYTE_ARRAY,
        2: [*_ENCODINGS],
        3: [name.encode() for name in path],
        4: leaf.codec,
        5: Long(rows),
        6: Long(unpacked + size),
        7: Long(size),
        9: Long(len(MAGIC) + len(dictionary)),
    }
    if dictionary:
        column[11] = Long(len(MAGIC))
    chunk = Struct(write_struct({2: Long(len(MAGIC)), 3: Struct(write_struct(column))}))
    group = Struct(write_struct({1: [chunk], 2: Long(unpacked), 3: Long(rows)}))
    schema = [Struct(root), *map(Struct, nested), Struct(value)]
    footer = write_struct({1: 1, 2: schema, 3: Long(rows), 4: [group]})
    return b"".join([MAGIC, dictionary, page, footer, len(footer).to_bytes(4, "little"), MAGIC])


def can_unpack(codec: int) -> bool:
    """Whether pages of a compression, by its number, can be read."""
    return codec in _CODECS
