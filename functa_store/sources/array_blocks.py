"""Blocks of an array's examples: reading a few at a time, and scans over all of them."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from functa_store.errors import ArchiveError, MemberError

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


class Look:
    """One pass over examples: why some cannot be learned, and a digest of all; a subclass may have its own rules.

    Args:
        header: Type and shape, which the digest begins with.
        missing: Whether NaN means that a value is missing.
    """

    def __init__(self, header: str, *, missing: bool) -> None:
        self._digest, self._missing = hashlib.sha256(header.encode()), missing

    def __call__(self, example: np.ndarray, /) -> str | None:
        """Why an example cannot be learned; None if it can. Asked once of each that can be read, in order."""
        self._digest.update(np.ascontiguousarray(example).data)
        if example.dtype.kind != "f":
            return None
        if np.isinf(example).any():
            return "holds infinite values"
        lacking = np.isnan(example)
        if lacking.all():
            return "holds no value: all are NaN"
        if lacking.any() and not self._missing:
            return f"holds {np.count_nonzero(lacking)} values that are NaN; say that NaN means missing, or fill them"
        return None

    def sha256(self) -> str:
        """Digest of the values of all examples, their type and shape."""
        return self._digest.hexdigest()


class ArrayExamples:
    """An array of examples, read in blocks; a subclass may read them, or look at them, in its own way.

    Attributes:
        shape: (examples, *resolution, channels).
        dtype: Of what is read.
        chunk: Examples that are stored together.

    Args:
        values: The array; nothing of it is read yet.
        channels_axis: Which of its axes is the channels'; None if it has none.
        name: What errors call it.

    Raises:
        ArchiveError: If its numbers or axes cannot be learned.
    """

    def __init__(self, values: ArrayLike, *, channels_axis: int | None, name: str) -> None:
        _check_kind(values, name)
        self._values = values
        shape, ndim = tuple(values.shape), len(values.shape)
        if channels_axis is not None and not (0 < channels_axis < ndim or -ndim < channels_axis < 0):
            raise ArchiveError(
                f"{name}: channels_axis={channels_axis} is no axis of {shape} other than the first, the examples'"
            )
        self._axis = None if channels_axis is None else channels_axis % ndim
        self.dtype = _numbers(values.dtype, name)
        grid = tuple(n for k, n in enumerate(shape) if k not in (0, self._axis))
        self.shape = (*shape[:1], *grid, 1 if self._axis is None else shape[self._axis])
        self.chunk = chunks[0] if (chunks := getattr(values, "chunks", None)) else 1
        _check_shape(self.shape, name, shape)

    def look(self, count: int, *, missing: bool) -> Look:
        """What judges each of the first `count` examples when all are read once.

        Args:
            count: How many.
            missing: Whether NaN means that a value is missing; else it is a problem.
        """
        return Look(f"{self.dtype.str} {(count, *self.shape[1:])}", missing=missing)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Some examples, shape (stop - start, *resolution, channels). Safe to call from threads.

        Raises:
            MemberError: If they cannot be read; the message is the reason alone.
        """
        try:
            found = np.asarray(self._values[start:stop])
        except Exception as error:  # files closed, chunks damaged: each library raises what it likes
            raise MemberError(f"cannot be read: {error}") from error
        return found[..., None] if self._axis is None else np.moveaxis(found, self._axis, -1)


def _check_kind(values: Any, name: str) -> None:
    """Refuse what could be read, but without all that it says."""
    if isinstance(values, np.ma.MaskedArray):
        raise ArchiveError(
            f"{name}: found a masked array; hand over values.filled(np.nan), as floats, and missing=True"
        )
    if hasattr(values, "coords"):  # xarray's; h5py has dims, too
        raise ArchiveError(f"{name}: found {type(values).__name__}, whose dimensions have names; use from_xarray")
    if not isinstance(values, ArrayLike):
        raise ArchiveError(
            f"{name}: found {type(values).__name__}, expected an array such as numpy.asarray makes of it"
        )


def _numbers(dtype: Any, name: str) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ArchiveError(
            f"{name}: holds {dtype}, which is no type of numpy; hand over a numpy array of it"
        ) from error
    if found.kind not in "biuf":
        raise ArchiveError(f"{name}: holds {found}, expected booleans, integers or floats")
    return found


def _check_shape(shape: tuple[int, ...], name: str, found: tuple[int, ...]) -> None:
    """Refuse an array (examples, *resolution, channels) that no network could learn."""
    if not 1 <= len(shape) - 2 <= MOST_AXES:
        raise ArchiveError(
            f"{name}: shape {found} gives {len(shape) - 2} spatial axes beside examples and channels, expected 1 to "
            f"{MOST_AXES}; say which axis is the channels', or that there is none"
        )
    if 0 in shape[1:]:
        raise ArchiveError(f"{name}: shape {found} holds no value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """What one pass over some examples has found.

    Attributes:
        low: Smallest value of each example and channel; NaN where there is none.
        high: Largest value.
        sha256: What the look at all of them gave; see `Look`.
    """

    low: Float64[np.ndarray, "examples channels"]
    high: Float64[np.ndarray, "examples channels"]
    sha256: str


def scan(
    examples: ArrayExamples,
    count: int,
    *,
    missing: bool,
    progress: Callable[[int], None],
    refuse: Callable[[int, str], None],
) -> Scan:
    """Read the first examples once, in blocks.

    Args:
        examples: The array.
        count: How many of them.
        missing: Whether NaN means that a value is missing; else it is a problem.
        progress: Told how many have been looked at.
        refuse: Told which one cannot be learned, and why.
    """
    num_channels, look = examples.shape[-1], examples.look(count, missing=missing)
    low, high = np.full((count, num_channels), np.nan), np.full((count, num_channels), np.nan)
    for index, example, problem in _each(examples, count):
        if problem := problem or look(example):
            refuse(index, problem)
        else:
            low[index] = np.fmin.reduce(example.reshape(-1, num_channels))
            high[index] = np.fmax.reduce(example.reshape(-1, num_channels))
        del example  # before the next one, which may be large, is read
        progress(index + 1)
    return Scan(low=low, high=high, sha256=look.sha256())


def _each(examples: ArrayExamples, count: int) -> Iterator[tuple[int, np.ndarray, str | None]]:
    """Every example, with no values and the reason where it cannot be read."""
    rows = block_rows(examples)
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        try:
            yield from ((index, example, None) for index, example in enumerate(examples.block(start, stop), start))
        except MemberError:  # a damaged chunk of the block: which examples are in it?
            for index in range(start, stop):
                try:
                    yield index, examples.block(index, index + 1)[0], None
                except MemberError as error:
                    yield index, np.empty(0), str(error)


def block_rows(examples: ArrayExamples) -> int:
    """Examples that are read at once: whole chunks, if that does not take too much memory."""
    example_bytes = max(1, int(np.prod(examples.shape[1:])) * examples.dtype.itemsize)
    rows = max(1, BLOCK_BYTES // example_bytes)
    if examples.chunk * example_bytes > MOST_BLOCK_BYTES:
        return rows
    return max(examples.chunk, rows // examples.chunk * examples.chunk)
