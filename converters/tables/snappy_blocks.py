"""Parts of a page that Snappy has compressed, unpacked without the rest.

Snappy compresses 64 KiB at a time, and what it says of one block refers to that alone (snappy.cc calls it a fragment).
The elements of a stream say how many bytes each becomes; so one pass over them finds where blocks begin. Photographs
are hardly compressible: their blocks are a few literals each, and the pass takes a fraction of unpacking.
"""

from typing import NamedTuple

import numpy as np

from functa_store.support.optional import require

BLOCK = 1 << 16

_MOST_ELEMENTS = 1 << 18  # a fraction of a second; what has more is compressed well, and small


class SnappyBlocks(NamedTuple):
    """Blocks of one stream.

    Attributes:
        starts: Where each begins in the stream, and behind the last one where that ends.
        size: Bytes of all once they are unpacked.
    """

    starts: np.ndarray
    size: int

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """The part of the stream from which some of the unpacked bytes come."""
        return int(self.starts[start // BLOCK]), int(self.starts[-(-stop // BLOCK)])

    def unpack(self, part: bytes, start: int, stop: int) -> bytes | None:
        """Some of the unpacked bytes.

        Args:
            part: The stream's bytes in `span(start, stop)`.
            start: The first byte.
            stop: Behind the last one.

        Returns:
            None if blocks are not independent of each other, as another encoder may make them.
        """
        pa = require("pyarrow", extra="huggingface")
        first = start // BLOCK * BLOCK
        size = min(-(-stop // BLOCK) * BLOCK, self.size) - first
        try:
            data = pa.decompress(_length(size) + part, decompressed_size=size, codec="snappy", asbytes=True)
        except (pa.ArrowException, OSError, ValueError):
            return None
        return data[start - first : stop - first]


def find_blocks(stream: bytes) -> SnappyBlocks | None:
    """Where blocks begin; None if elements cross from one to another, are too many, or the stream is damaged."""
    try:
        size, position = _read_length(stream)
        starts, done, boundary = [position], 0, BLOCK
        for _ in range(_MOST_ELEMENTS):
            if position >= len(stream):
                break
            tag = stream[position]
            kind, count = tag & 3, tag >> 2
            if kind == 0 and count < 60:
                position, count = position + 2 + count, count + 1
            elif kind == 0:
                width = count - 59
                count = int.from_bytes(stream[position + 1 : position + 1 + width], "little") + 1
                position += 1 + width + count
            else:
                count = (count & 7) + 4 if kind == 1 else count + 1
                position += (0, 2, 3, 5)[kind]
            done += count
            if done > boundary:
                return None
            if done == boundary:
                starts.append(position)
                boundary += BLOCK
    except IndexError:
        return None
    if done != size or position != len(stream):
        return None
    return SnappyBlocks(np.array(starts if size % BLOCK == 0 else [*starts, position], np.int64), size)


def _read_length(stream: bytes) -> tuple[int, int]:
    value = shift = position = 0
    while True:
        byte = stream[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128 or shift > 35:
            return value, position


def _length(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
