"""How are the examples of an array read a few at a time, and what is learned of them on the way?"""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from functa_store.errors import ArchiveError

BLOCK_BYTES = 16 << 20
"""Bytes that are read at once; more only where a chunk of the array has more, up to the next number."""

MOST_BLOCK_BYTES = 256 << 20
MOST_AXES = 3


@runtime_checkable
class ArrayLike(Protocol):
    """What is read only where it is indexed: a numpy or memory-mapped array, `h5py.Dataset`, `zarr.Array`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    @property
    def dtype(self) -> Any:
        """Kind of numbers."""
        ...

    def __getitem__(self, key: Any, /) -> Any:
        """A part of it, read."""
        ...


@runtime_checkable
class Examples(Protocol):
    """An array of examples, read in blocks.

    Attributes:
        shape: (examples, *resolution, channels).
        dtype: Of what is read.
        chunk: Examples that are stored together.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: int

    def block(self, start: int, stop: int) -> np.ndarray:
        """Some examples, shape (stop - start, *resolution, channels). Safe to call from threads."""
        ...


class ArrayExamples:
    """An array whose first axis is the examples'; see `Examples`.

    Args:
        values: The array; nothing of it is read yet.
        channels_axis: Which of its axes is the channels'; None if it has none.
        name: What errors call it.

    Raises:
        ArchiveError: If its numbers or axes cannot be learned.
    """

    def __init__(self, values: ArrayLike, *, channels_axis: int | None, name: str) -> None:
        self._values = values
        shape, ndim = tuple(values.shape), len(values.shape)
        if channels_axis is not None and not (0 < channels_axis < ndim or -ndim < channels_axis < 0):
            raise ArchiveError(
                f"{name}: channels_axis={channels_axis} is no axis of {shape} other than the first, the examples'"
            )
        self._axis = None if channels_axis is None else channels_axis % ndim
        self.dtype = np.dtype(values.dtype)
        grid = tuple(n for k, n in enumerate(shape) if k not in (0, self._axis))
        self.shape = (*shape[:1], *grid, 1 if self._axis is None else shape[self._axis])
        self.chunk = chunks[0] if (chunks := getattr(values, "chunks", None)) else 1
        check_array(self.shape, self.dtype, name, shape)

    def block(self, start: int, stop: int) -> np.ndarray:
        """See `Examples.block`."""
        found = np.asarray(self._values[start:stop])
        return found[..., None] if self._axis is None else np.moveaxis(found, self._axis, -1)


def check_array(shape: tuple[int, ...], dtype: np.dtype[Any], name: str, found: Any) -> None:
    """Refuse an array (examples, *resolution, channels) that no network could learn.

    Raises:
        ArchiveError: If it does not hold real numbers, is empty, or has other than 1 to 3 spatial axes.
    """
    if dtype.kind not in "biuf":
        raise ArchiveError(f"{name}: holds {dtype}, expected booleans, integers or floats")
    if not 1 <= len(shape) - 2 <= MOST_AXES:
        raise ArchiveError(
            f"{name}: shape {found} gives {len(shape) - 2} spatial axes beside examples and channels, expected 1 to "
            f"{MOST_AXES}; say which axis is the channels', or that there is none"
        )
    if 0 in shape:
        raise ArchiveError(f"{name}: shape {found} holds no value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """What one pass over some examples has found.

    Attributes:
        low: Smallest value of each example and channel; NaN where there is none.
        high: Largest value.
        problems: Why an example cannot be learned, by its index.
        sha256: Digest of the values, their type and shape.
    """

    low: Float64[np.ndarray, "examples channels"]
    high: Float64[np.ndarray, "examples channels"]
    problems: dict[int, str]
    sha256: str


def scan(examples: Examples, count: int, *, missing: bool, progress: Callable[[int, int], None]) -> Scan:
    """Read the first examples once, in blocks.

    Args:
        examples: The array.
        count: How many of them.
        missing: Whether NaN means that a value is missing; else it is a problem.
        progress: Told how many have been read, and how many of these cannot be learned.
    """
    num_channels = examples.shape[-1]
    low, high = np.full((count, num_channels), np.nan), np.full((count, num_channels), np.nan)
    problems: dict[int, str] = {}
    digest = hashlib.sha256(f"{examples.dtype.str} {(count, *examples.shape[1:])}".encode())
    rows = block_rows(examples)
    for start in range(0, count, rows):
        block = examples.block(start, min(start + rows, count))
        for index, example in enumerate(block, start):
            digest.update(np.ascontiguousarray(example).data)
            if problem := _problem(example, missing):
                problems[index] = problem
            else:
                points = example.reshape(-1, num_channels)
                low[index], high[index] = np.fmin.reduce(points), np.fmax.reduce(points)
        progress(start + len(block), len(problems))
    return Scan(low=low, high=high, problems=problems, sha256=digest.hexdigest())


def block_rows(examples: Examples) -> int:
    """Examples that are read at once: whole chunks, if that does not take too much memory."""
    example_bytes = max(1, int(np.prod(examples.shape[1:])) * examples.dtype.itemsize)
    rows = max(1, BLOCK_BYTES // example_bytes)
    if examples.chunk * example_bytes > MOST_BLOCK_BYTES:
        return rows
    return max(examples.chunk, rows // examples.chunk * examples.chunk)


def _problem(example: np.ndarray, missing: bool) -> str | None:
    if example.dtype.kind != "f":
        return None
    if np.isinf(example).any():
        return "holds infinite values"
    lacking = np.isnan(example)
    if lacking.all():
        return "holds no value: all are NaN"
    if lacking.any() and not missing:
        return f"holds {np.count_nonzero(lacking)} values that are NaN; say that NaN means missing, or fill them"
    return None
