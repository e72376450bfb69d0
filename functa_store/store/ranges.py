"""Which bytes of a shard hold some rows, and which of them are fetched together?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from functa_store.store.parts import Selection

COALESCE = 2**20
"""Gap in bytes between two ranges up to which they are fetched by one request."""


def spans_of(starts: Sequence[int], lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Start and stop of what is fetched by one request each, ascending, for ranges with small gaps in between."""
    spans: list[tuple[int, int]] = []
    for start, length in sorted(zip(starts, lengths, strict=True)):
        if spans and start - spans[-1][1] <= COALESCE:
            spans[-1] = (spans[-1][0], max(spans[-1][1], start + length))
        else:
            spans.append((start, start + length))
    return spans


class Ranges(NamedTuple):
    """Where in a shard some rows lie, neighbours together.

    Attributes:
        starts: First byte of each range.
        lengths: Bytes of each range.
        places: Which of the rows of all ranges together is the first, second, ... that was asked for.
    """

    starts: list[int]
    lengths: list[int]
    places: Selection

    @classmethod
    def of(cls, inside: Selection, row_bytes: int) -> "Ranges":
        """The ranges of some rows, counted from the first of the shard; of a slice, with the little that is between."""
        if isinstance(inside, slice) and inside.step * row_bytes > COALESCE:
            inside = np.arange(inside.start, inside.stop, inside.step)
        if isinstance(inside, slice):
            count = range(inside.start, inside.stop, inside.step)[-1] + 1 - inside.start
            return cls([inside.start * row_bytes], [count * row_bytes], slice(0, count, inside.step))
        unique, places = np.unique(inside, return_inverse=True)
        runs = np.split(unique, np.flatnonzero(np.diff(unique) != 1) + 1)
        return cls([int(run[0]) * row_bytes for run in runs], [len(run) * row_bytes for run in runs], places)

    @property
    def fetched_bytes(self) -> int:
        """Bytes that are fetched: what lies between neighbours comes with them."""
        return sum(stop - start for start, stop in spans_of(self.starts, self.lengths))
