"""Bytes of a chunk of a small array."""

import math
from typing import Any

import numpy as np
from numcodecs.vlen import VLenUTF8
from numcodecs.zstd import Zstd

BYTES_PER_TEXT, FREE_TEXT_BYTES = 4096, 2**20
"""A chunk of n texts may have n times the first, and the second in any case."""

FREE_BYTES, MOST_EXPANSION = 2**24, 256
"""A chunk of more bytes than the first may be as many times longer than it is compressed as the second: weights are
1.1 times, and a stranger's zeros 30,000 times."""

TEXT = np.dtypes.StringDType()


def codecs_of(data_type: str) -> list[dict[str, Any]]:
    """The codecs that this project writes."""
    if data_type == "string":
        first: dict[str, Any] = {"name": "vlen-utf8", "configuration": {}}
    elif np.dtype(data_type).itemsize == 1:
        first = {"name": "bytes"}
    else:
        first = {"name": "bytes", "configuration": {"endian": "little"}}
    return [first, {"name": "zstd", "configuration": {"checksum": False}}]


def text_limit(count: int) -> int:
    """Most bytes that a chunk of so many strings may have before it is compressed."""
    return FREE_TEXT_BYTES + BYTES_PER_TEXT * count


def packed_limit(length: int) -> int:
    """Most bytes that zstd makes of so many."""
    return length + length // 128 + 4096


def numbers_of(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The numbers of a chunk.

    Args:
        data: Its bytes as they are stored.
        shape: Of the chunk.
        dtype: In the byte order of this machine; stored is little endian.

    Raises:
        ValueError: If the bytes are not those of so many numbers.
        RuntimeError: If zstd cannot read them.
    """
    length = math.prod(shape) * dtype.itemsize
    unpacked = _unpack(data, length, exactly=True)
    return np.frombuffer(unpacked, dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)


def texts_of(data: bytes, count: int) -> np.ndarray:
    """The strings of a chunk; raises as `numbers_of` does."""
    unpacked = _unpack(data, text_limit(count), exactly=False)
    if (found := int.from_bytes(unpacked[:4], "little")) != count:
        raise ValueError(f"a chunk of {found} strings, expected {count}")
    return np.array(list(VLenUTF8().decode(unpacked)), TEXT)


def _unpack(data: bytes, length: int, *, exactly: bool) -> bytes:
    size = zstd_size(data)
    if size is None or size > length or (exactly and size != length):
        raise ValueError(f"its zstd frame declares {size} bytes, expected {length}")
    if size > max(FREE_BYTES, MOST_EXPANSION * len(data)):
        raise ValueError(f"its {len(data):,} bytes declare {size:,}, more than {MOST_EXPANSION} times as many")
    return bytes(Zstd().decode(data, out=np.empty(size, np.uint8)))  # another frame may follow the first


def zstd_size(data: bytes) -> int | None:
    """Bytes that a zstd frame says it holds; None if it is no frame, or does not say (RFC 8878, section 3.1.1)."""
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = data[4]
    single_segment, dictionary = descriptor >> 5 & 1, (0, 1, 2, 4)[descriptor & 3]
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    if not width:
        return None
    start = 5 + (1 - single_segment) + dictionary
    size = int.from_bytes(data[start : start + width], "little")
    return size + 256 if width == 2 else size
