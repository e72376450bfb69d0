"""Single values of a column of bytes in a Parquet file, read where they lie or from the page they are in."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.archives.listing import check_size
from converters.archives.memory_share import take_room
from converters.archives.packed import RandomBytes
from converters.archives.remote_file import RemoteFile
from converters.tables.parquet_pages import (
    LENGTH_BYTES,
    PLAIN,
    SNAPPY,
    UNCOMPRESSED,
    Leaf,
    Pages,
    ReadAt,
    find_pages,
    places_in_page,
    read_page,
)
from converters.tables.snappy_blocks import BLOCK, SnappyBlocks, find_blocks
from functa_store.errors import MemberError
from functa_store.support.memory import LRUCache

PAGE_BYTES = 128 << 20
"""Bytes of unpacked pages that stay in memory."""

_FETCHED_AT_ONCE = 1 << 25
_LOCKS = 16
_CHUNK = -1


class BytesColumn:
    """Values of a column of bytes, read one by one; safe to call from threads.

    Of a column that is not compressed, as `datasets` writes images today, a value is read from where it lies in the
    file once its page was seen; of one that Snappy has compressed, pyarrow's default, the blocks of 64 KiB around it
    are unpacked. Of others the page is unpacked, and stays in memory for a while.

    Args:
        file: Where it is.
        group_rows: As for `ParquetTable`.
        spans: Where the column begins and ends in each row group.
        codecs: Compression of each.
        optional: As for `Leaf`.
    """

    def __init__(
        self,
        file: RandomBytes,
        group_rows: np.ndarray,
        spans: Sequence[tuple[int, int]],
        codecs: Sequence[int],
        optional: int,
    ) -> None:
        self._file, self._group_rows, self._spans = file, group_rows, spans
        self._leaves = [Leaf(codec=codec, optional=optional) for codec in codecs]
        self._pages: dict[int, Pages | str] = {}
        self._places: dict[int, np.ndarray] = {}
        self._blocks: dict[tuple[int, int], SnappyBlocks] = {}
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def read(self, row: int, kept: LRUCache[Any]) -> bytes | None:
        """The value of a row; None if it is null.

        Args:
            row: Of the file.
            kept: Unpacked pages.

        Raises:
            MemberError: If it cannot be read; the message is the reason alone.
        """
        group = int(np.searchsorted(self._group_rows, row, side="right")) - 1
        inside = row - int(self._group_rows[group])
        places = self._places.get(group)
        if places is not None and (place := int(places[inside, 0])):
            if place < 0:
                return None
            if (found := self._value_at(group, inside, place, int(places[inside, 1]))) is not None:
                return found
        with self._locks[group % _LOCKS]:  # threads that survey want the same page at once
            pages = self._pages_of(group, kept)
            page = int(np.searchsorted(pages.first_rows, inside, side="right")) - 1
            values = kept.get((id(self), group, page))
            if values is None:
                values = self._read_page(group, pages, page, kept)
                kept.put((id(self), group, page), values, values.nbytes)
        value = values[inside - int(pages.first_rows[page])]
        value = getattr(value, "value", value)  # of a dictionary's
        if value is None or not value.is_valid:
            return None
        data = value.as_buffer()
        check_size(data.size)
        return data.to_pybytes()

    def most_unpacked(self, kept: LRUCache[Any]) -> int:
        """Bytes of the largest page of the first row group, and of its dictionary, if a value cannot be read alone."""
        group = int(np.argmax(np.diff(self._group_rows) > 0))
        try:
            pages = self._pages_of(group, kept)
        except MemberError:  # of which a reject says more
            return 0
        if self._leaves[group].codec in (UNCOMPRESSED, SNAPPY) and pages.dictionary is None:
            return 0
        return int(pages.unpacked.max(initial=0)) + (0 if pages.dictionary is None else pages.dictionary[2])

    def _value_at(self, group: int, inside: int, place: int, length: int) -> bytes | None:
        """A value whose place in its file, or in its unpacked page, is known; None if it is not there alone."""
        check_size(length)
        if self._leaves[group].codec == UNCOMPRESSED:
            take_room(2 * length)
            data = self._file.read_at(place - LENGTH_BYTES, LENGTH_BYTES + length)
            return data[LENGTH_BYTES:] if int.from_bytes(data[:LENGTH_BYTES], "little") == length else None
        pages = self._pages[group]
        if isinstance(pages, str):
            raise MemberError(pages)
        page = int(np.searchsorted(pages.first_rows, inside, side="right")) - 1
        blocks = self._blocks[group, page]
        start, stop = blocks.span(place - LENGTH_BYTES, place + length)
        take_room(stop - start + 2 * (length + 2 * BLOCK))
        part = self._file.read_at(int(pages.contents[page]) + start, stop - start)
        data = blocks.unpack(part, place - LENGTH_BYTES, place + length)
        if data is None or int.from_bytes(data[:LENGTH_BYTES], "little") != length:
            return None
        return data[LENGTH_BYTES:]

    def _pages_of(self, group: int, kept: LRUCache[Any]) -> Pages:
        if group not in self._pages:
            start, stop = self._spans[group]
            rows = int(self._group_rows[group + 1] - self._group_rows[group])
            try:
                if isinstance(self._file, RemoteFile) and stop - start <= _FETCHED_AT_ONCE:
                    take_room(stop - start)
                    kept.put((id(self), group, _CHUNK), self._file.read_at(start, stop - start), stop - start)
                self._pages[group] = find_pages(self._seen(group, kept), start, stop, rows)
            except MemberError as error:
                self._pages[group] = str(error)
        found = self._pages[group]
        if isinstance(found, str):
            raise MemberError(found)
        return found

    def _seen(self, group: int, kept: LRUCache[Any]) -> ReadAt:
        """How a column chunk is read: one on a server that was fetched as a whole, since its pages were not known."""
        chunk, (start, stop) = kept.get((id(self), group, _CHUNK)), self._spans[group]

        def read_at(offset: int, count: int) -> bytes:
            if chunk is None or offset + count > stop:
                return self._file.read_at(offset, count)
            return chunk[offset - start : offset - start + count]

        return read_at

    def _read_page(self, group: int, pages: Pages, page: int, kept: LRUCache[Any]) -> Any:
        leaf = self._leaves[group]
        values = read_page(self._seen(group, kept), pages, page, leaf)
        if pages.encodings[page] != PLAIN or (group, page) in self._blocks:
            return values
        if leaf.codec == UNCOMPRESSED:
            places = places_in_page(int(pages.offsets[page] + pages.lengths[page]), values)
        elif leaf.codec == SNAPPY and pages.contents[page]:
            start = int(pages.contents[page])
            stream = self._seen(group, kept)(start, int(pages.offsets[page] + pages.lengths[page]) - start)
            if (blocks := find_blocks(stream)) is None:
                return values
            self._blocks[group, page] = blocks
            places = places_in_page(blocks.size, values)
        else:
            return values
        if group not in self._places:
            rows = int(self._group_rows[group + 1] - self._group_rows[group])
            self._places[group] = np.zeros((rows, 2), np.int64)  # 0 is not known yet
        first = int(pages.first_rows[page])
        self._places[group][first : first + len(places)] = places
        return values
