"""Bounds of what an array file may ask for before anything of it is read, so that a small file takes little memory.

A header or a metadata document is a few bytes that can promise anything. What it promises is compared with what the
file holds: compression makes numbers smaller, but not without end.
"""

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from functa_store.errors import ArchiveError
from functa_store.support.shortening import brief, shown

MAX_CHUNK_BYTES = 1 << 28
"""Bytes of one chunk when it is unpacked. A chunk is unpacked whole, several times over by some filters; those that
are written in practice have 1 to 100 MB."""

MAX_EXAMPLE_BYTES = 1 << 28
"""Bytes of one example, which is in memory whole, as float64 too: 64 million numbers of float32."""

MAX_ARRAYS = 1 << 14
"""Arrays and groups of one file."""

MAX_DEPTH = 32
"""Groups within groups, and axes of an array."""

MAX_VALUES_BESIDE = 1 << 22
"""Values of an array that is read whole: ids, labels, a coordinate."""

MAX_BYTES_BESIDE = 1 << 27
"""Bytes of such an array."""

MAX_RATIO = 1 << 12
"""How many times smaller than its values an array may be stored. DEFLATE reaches 1,032, Zstandard more on zeros."""

ALWAYS_BYTES = 1 << 28
"""Bytes of values that are believed of any file, however small, such as one of nothing but fill values."""

ALWAYS_EXAMPLES = 1 << 13
"""Examples, or chunks, that are believed of any file; beyond, each takes at least a byte of it."""

ALWAYS_CHANNELS = 1 << 24
"""Examples times channels that are believed of any file; two numbers of each are kept."""

MAX_ITEM_BYTES = 1 << 16
"""Bytes of one value; text of a fixed length has the most."""


def check_shape(where: str, shape: Any) -> tuple[int, ...]:
    """The shape that metadata tell, if it is one.

    Raises:
        ArchiveError: If it is no list of a few lengths.
    """
    if (
        not isinstance(shape, list | tuple)
        or len(shape) > MAX_DEPTH
        or not all(type(n) is int and 0 <= n < 1 << 63 for n in shape)
    ):
        raise ArchiveError(f"{where}: found {shown(ascii(shape))} as its shape, expected at most {MAX_DEPTH} lengths")
    return tuple(shape)


def check_promise(where: str, shape: Sequence[int], item_bytes: int, stored: int) -> None:
    """Refuse an array that promises more than its file can hold.

    Args:
        where: File and array.
        shape: Its shape.
        item_bytes: Bytes of a value.
        stored: Bytes of the file, or of all files of the archive.

    Raises:
        ArchiveError: If it does.
    """
    promised = math.prod(shape) * item_bytes
    if promised > max(ALWAYS_BYTES, MAX_RATIO * stored):
        raise ArchiveError(
            f"{where}: shape {brief(tuple(shape))} promises {promised:.3g} bytes, but only {stored} are stored, which "
            f"is more than {MAX_RATIO} times less; is the file cut off? Fetch it again"
        )
    if item_bytes > MAX_ITEM_BYTES:
        raise ArchiveError(f"{where}: each value has {item_bytes} bytes, expected at most {MAX_ITEM_BYTES}")


def check_number(where: str, what: str, count: int, stored: int) -> None:
    """Refuse more examples or chunks than a file can hold.

    Raises:
        ArchiveError: If there are.
    """
    if count > max(ALWAYS_EXAMPLES, stored):
        raise ArchiveError(
            f"{where}: promises {count} {what} in {stored} bytes, expected at least a byte for each; is the file cut "
            "off? Fetch it again"
        )


def check_chunk(where: str, chunk: Sequence[int], item_bytes: int) -> int:
    """Bytes of a chunk when it is unpacked.

    Raises:
        ArchiveError: If it is too large to be unpacked.
    """
    num_bytes = math.prod(chunk) * item_bytes
    if num_bytes > MAX_CHUNK_BYTES:
        raise ArchiveError(
            f"{where}: one chunk {brief(tuple(chunk))} has {num_bytes} bytes when it is unpacked, expected at most "
            f"{MAX_CHUNK_BYTES}; write the array again in smaller chunks"
        )
    return num_bytes


def check_beside(where: str, shape: Sequence[int], item_bytes: int) -> None:
    """Refuse an array that is too large to be read whole beside the examples.

    Raises:
        ArchiveError: If it is.
    """
    count = math.prod(shape)
    if count > MAX_VALUES_BESIDE or count * item_bytes > MAX_BYTES_BESIDE:
        raise ArchiveError(
            f"{where}: shape {brief(tuple(shape))} of {item_bytes} bytes each is read whole, expected at most "
            f"{MAX_VALUES_BESIDE} values and {MAX_BYTES_BESIDE} bytes; is it an array of examples?"
        )


def check_all_beside(path: str, arrays: Iterable[tuple[str, Sequence[int], int]]) -> None:
    """Refuse arrays of no or one axis that are too large to be read whole, each or all together.

    Args:
        path: The file.
        arrays: Name, shape and bytes of a value of each of its arrays.

    Raises:
        ArchiveError: If they are.
    """
    total = 0
    for name, shape, item_bytes in arrays:
        if len(shape) < 2:
            check_beside(f"{path}/{name}", shape, item_bytes)
            total += math.prod(shape) * item_bytes
    if total > 2 * MAX_BYTES_BESIDE:
        raise ArchiveError(
            f"{path}: its coordinates and other arrays of one axis have {total} bytes, expected at most "
            f"{2 * MAX_BYTES_BESIDE}; write those that are wanted into a file of their own"
        )


def check_example(where: str, shape: Sequence[int], item_bytes: int) -> None:
    """Refuse examples that are too large to be held in memory.

    Raises:
        ArchiveError: If they are.
    """
    num_bytes = math.prod(shape) * item_bytes
    if num_bytes > MAX_EXAMPLE_BYTES:
        raise ArchiveError(
            f"{where}: one example {brief(tuple(shape))} has {num_bytes} bytes, expected at most {MAX_EXAMPLE_BYTES}; "
            "take fewer points, or cut examples into parts"
        )


def check_examples(where: str, shape: Sequence[int], item_bytes: int, stored: int, num_channels: int = 1) -> None:
    """Refuse an array of examples that is more than its file can hold, or examples that are more than memory can.

    Raises:
        ArchiveError: If it is.
    """
    check_promise(where, shape, item_bytes, stored)
    if shape:
        check_number(where, "examples", shape[0], stored)
        check_example(where, shape[1:], item_bytes)
        if shape[0] * num_channels > max(ALWAYS_CHANNELS, stored):
            raise ArchiveError(
                f"{where}: has {num_channels} channels in each of {shape[0]} examples, expected fewer; is another axis "
                "the channels'?"
            )


def check_code_points(where: str, texts: np.ndarray) -> None:
    """Refuse texts that Python cannot hold: an array of text is any 32-bit numbers, Unicode ends at 0x10FFFF.

    Args:
        where: Names the array in an error.
        texts: Of kind "U".

    Raises:
        ArchiveError: If one has a number beyond.
    """
    numbers = np.ascontiguousarray(texts, texts.dtype.newbyteorder("=")).reshape(-1).view(np.uint32)
    if numbers.size and (largest := int(numbers.max())) > sys.maxunicode:
        raise ArchiveError(
            f"{where}: is text with a code point {largest:#x}, expected at most {sys.maxunicode:#x}, where Unicode "
            "ends; fetch it again"
        )


@contextlib.contextmanager
def in_bounded_memory(path: str) -> Iterator[None]:
    """Turns what Python raises when memory, or its stack, is full into an error about an archive.

    Raises:
        ArchiveError: If the body does.
    """
    try:
        yield
    except (MemoryError, RecursionError) as error:
        raise ArchiveError(
            f"{path}: more memory is needed than there is: {error or type(error).__name__}; take fewer or smaller "
            "examples, or a machine with more"
        ) from error
