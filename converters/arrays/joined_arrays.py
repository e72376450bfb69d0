"""Arrays of several files as one: examples of each file follow those of the one before."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from converters.archives.archive_files import MOST_OPEN
from converters.arrays.npy_files import Npz
from functa_store.errors import ArchiveError, MemberError
from functa_store.support.memory import LRUCache, available_bytes

LEAST_KEPT_BYTES = 1 << 30
"""Bytes of arrays in memory, as those of .npz, that are kept whatever memory there is."""


class ArrayKind(NamedTuple):
    """What a file says of one of its arrays.

    Attributes:
        shape: Its shape.
        dtype: Its type, in words.
    """

    shape: tuple[int, ...]
    dtype: str


_UNREADABLE = ArrayKind((), "what cannot be read")


class JoinedArrays:
    """The arrays of several files, joined along their first axis; see `array_files.ArrayFile`.

    Args:
        paths: Of the files, in order.
        names: What errors call each.
        open_one: Opens one; what it gives is closed when it is dropped.

    Attributes:
        names: As given.
        num_bytes: Bytes of all files.
        sizes: Bytes of each.

    Raises:
        ArchiveError: If one cannot be opened.
    """

    def __init__(self, paths: Sequence[str], names: Sequence[str], open_one: Callable[[str], Any]) -> None:
        self._paths, self.names, self._open_one = paths, names, open_one
        self._opened: LRUCache[Any] = LRUCache(MOST_OPEN)
        self.sizes: list[int] = []
        self.num_bytes = 0
        self._kinds: dict[str, dict[int, ArrayKind]] = {}
        self._examples: str | None = None
        for number in range(len(paths)):
            arrays = self.file(number)
            self.sizes.append(arrays.num_bytes)
            self.num_bytes += arrays.num_bytes
            for key in arrays:
                try:
                    kind = _kind_of(arrays, key)
                except ArchiveError:  # such as objects, beside the array that is meant: whoever looks it up is told
                    kind = _UNREADABLE
                self._kinds.setdefault(key, {})[number] = kind

    def file(self, number: int) -> Any:
        """One of the files, open."""
        return self._opened.get_or_make(number, lambda: self._open_one(self._paths[number]), lambda _: 1)

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __contains__(self, key: object) -> bool:
        """Whether all files have an array.

        Raises:
            ArchiveError: If some have it and others have not, so that it would be of some examples alone.
        """
        there = self._kinds.get(key, {}) if isinstance(key, str) else {}
        if there and len(there) < len(self._paths):
            lacking = next(k for k in range(len(self._paths)) if k not in there)
            raise ArchiveError(
                f"{self.names[lacking]}: there is no array {key!r}, which {self.names[next(iter(there))]} has; files "
                "of one archive have the same arrays: name another one, or convert that file by itself"
            )
        return bool(there)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, examples of all files that have it together."""
        shapes = self.shapes(name)
        return (sum(shape[0] for shape in shapes if shape), *shapes[0][1:]) if shapes[0] else ()

    def shapes(self, key: str) -> list[tuple[int, ...]]:
        """Shape of an array in each file that has it."""
        return [kind.shape for _, kind in sorted(self._kinds[key].items())]

    def counts(self, key: str) -> list[int]:
        """Length of an array's first axis in each file."""
        return [shape[0] for shape in self.shapes(key)]

    def __getitem__(self, key: str) -> "JoinedRows":
        """The array of examples.

        Raises:
            ArchiveError: If one cannot be read, or files differ in the shape of one, or in its type. Names the first
                that does.
        """
        if key not in self:
            raise KeyError(key)
        kinds = [self._kinds[key][number] for number in range(len(self._paths))]
        if _UNREADABLE in kinds:
            _kind_of(self.file(kinds.index(_UNREADABLE)), key)  # says why
        for number, kind in enumerate(kinds[1:], 1):
            self._check_alike(key, number, kinds[0], kind)
        self._examples = key
        return JoinedRows(self, key, self.shape(key))

    def check_counts(self, key: str) -> None:
        """Refuse an array beside the examples that has not one value for each of them, file by file.

        Raises:
            ArchiveError: If it has not. Names the first file.
        """
        if self._examples is None:
            return
        for name, shape, count in zip(self.names, self.shapes(key), self.counts(self._examples), strict=True):
            if shape != (count,):
                raise ArchiveError(
                    f"{name}: array {key!r} has the shape {shape}, expected one value for each of {count} examples"
                )

    def check_attributes(self, key: str, said: Callable[[Any], Any]) -> None:
        """Refuse files that say other things of an array.

        Args:
            key: The array.
            said: Gives what an open file says of it, which can be compared.

        Raises:
            ArchiveError: If one says another thing than the first. Names it.
        """
        first = said(self.file(0))
        for number in range(1, len(self._paths)):
            if (found := said(self.file(number))) != first:
                raise ArchiveError(
                    f"{self.names[number]}: attributes of array {key!r} are {found}, expected {first} as in "
                    f"{self.names[0]}; numbers that mean different things are no one array: convert the file by itself"
                )

    def _check_alike(self, key: str, number: int, first: ArrayKind, kind: ArrayKind) -> None:
        if not kind.shape or not first.shape or kind.shape[1:] != first.shape[1:] or kind.dtype != first.dtype:
            what = f"array {key!r}" if key else "its array"
            raise ArchiveError(
                f"{self.names[number]}: {what} has the shape {kind.shape} of {kind.dtype}, expected (examples, "
                f"{', '.join(map(str, first.shape[1:]))}) of {first.dtype} as in {self.names[0]}, since files of one "
                "archive have examples of one shape and type; convert it by itself"
            )


class JoinedRows:
    """An array of several files, read where it is indexed; see `array_blocks.ArrayLike`.

    Arrays that are read whole, those of .npz, stay in memory up to a quarter of what is free.

    Args:
        arrays: The files.
        key: Name of the array.
        shape: Of all files together.

    Attributes:
        shape: As given.
        dtype: Of its numbers.
        chunks: Of the first file, if it has any.
    """

    def __init__(self, arrays: JoinedArrays, key: str, shape: tuple[int, ...]) -> None:
        self.shape, self._arrays, self._key = shape, arrays, key
        self._starts = np.concatenate([[0], np.cumsum(arrays.counts(key), dtype=np.int64)])
        limit = max(LEAST_KEPT_BYTES, available_bytes() // 4)
        self._least = limit // MOST_OPEN
        self._kept: LRUCache[Any] = LRUCache(limit, keeps_last=True)
        first = self._values(0)
        self.dtype, self.chunks = first.dtype, getattr(first, "chunks", None)

    def __getitem__(self, key: slice, /) -> np.ndarray:
        start, stop, _ = key.indices(self.shape[0])
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        parts = []
        for number in range(first, len(self._starts) - 1):
            low, high = int(self._starts[number]), int(self._starts[number + 1])
            if low >= stop:
                break
            if (begin := max(start, low)) < (end := min(stop, high)):
                parts.append(np.asarray(self._values(number)[begin - low : end - low]))
        if not parts:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _values(self, number: int) -> Any:
        """The array of one file, in memory or not."""
        return self._kept.get_or_make(number, lambda: self._opened(number), self._cost)

    def _opened(self, number: int) -> Any:
        arrays = self._arrays.file(number)
        try:
            return arrays.read(self._key) if isinstance(arrays, Npz) else arrays[self._key]
        except MemberError as error:
            raise ArchiveError(f"{self._arrays.names[number]}: array {self._key!r} cannot be read: {error}") from error

    def _cost(self, values: Any) -> int:
        is_held = isinstance(values, np.ndarray) and not isinstance(values, np.memmap)
        return max(self._least, values.nbytes if is_held else 0)


def _kind_of(arrays: Any, key: str) -> ArrayKind:
    if isinstance(arrays, Npz):
        header = arrays.header(key)
        return ArrayKind(header.shape, str(header.dtype))
    array = arrays[key]
    return ArrayKind(tuple(array.shape), str(array.dtype))
