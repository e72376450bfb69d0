"""Which rows lie in which part of an array, and how do they come together?"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from functa_store.store.threads import map_in_threads

Selection = slice | np.ndarray
"""Rows of an array, at least one: a slice with bounds and a positive step, or integers from 0 on."""


def take(array: np.ndarray, rows: Selection) -> np.ndarray:
    """A copy of some rows."""
    return array[rows].copy() if isinstance(rows, slice) else array.take(rows, axis=0)


class Part(NamedTuple):
    """Some rows of one part, such as a shard.

    Attributes:
        position: Of the part among all of them.
        inside: The rows, counted from its first.
        where: Their places in the result.
    """

    position: int
    inside: Selection
    where: Selection


def gather(rows: Selection, per_part: int, read: Callable[[Part], np.ndarray], threads: int = 1) -> np.ndarray:
    """Rows of an array that is read part by part, in the order asked for.

    Args:
        rows: Which rows.
        per_part: Rows of a part.
        read: Gives the rows of one part in an array of their own.
        threads: Parts that are read at a time.
    """
    first, *others = by_part(rows, per_part)
    found = read(first)  # before memory is taken for as many rows as a stranger may claim
    if not others:
        return found
    count = len(range(rows.start, rows.stop, rows.step)) if isinstance(rows, slice) else len(rows)
    values = np.empty((count, *found.shape[1:]), found.dtype)
    values[first.where] = found
    for part, found in zip(others, _read_all(others, read, threads), strict=True):
        values[part.where] = found
    return values


def _read_all(parts: list[Part], read: Callable[[Part], np.ndarray], threads: int) -> Iterator[np.ndarray]:
    if threads == 1:
        yield from map(read, parts)
    else:
        yield from map_in_threads(read, parts, threads=threads, name="read")


def by_part(rows: Selection, per_part: int) -> list[Part]:
    """Rows, at least one, by the part of equal length that they lie in."""
    if isinstance(rows, slice):
        return list(_slice_by_part(range(rows.start, rows.stop, rows.step), per_part))
    which, inside = np.divmod(rows, per_part)
    order = np.argsort(which, kind="stable")
    touched, starts = np.unique(which[order], return_index=True)
    places = np.split(order, starts[1:])
    return [Part(position, inside[p], p) for position, p in zip(touched.tolist(), places, strict=True)]


def _slice_by_part(rows: range, per_part: int) -> Iterator[Part]:
    done = 0
    while done < len(rows):
        position, first = divmod(rows[done], per_part)
        inside = slice(first, min(per_part, rows.stop - position * per_part), rows.step)
        count = len(range(inside.start, inside.stop, inside.step))
        yield Part(position, inside, slice(done, done + count))
        done += count
