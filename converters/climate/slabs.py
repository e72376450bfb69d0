"""Reading of one field after another without unpacking a stored chunk again for each."""

import itertools
import math
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from converters.climate.fields import Fields
from functa_store.errors import MemberError
from functa_store.support.lru_cache import LRUCache

SLAB_BYTES = 2**26
CACHE_BYTES = 2**28


class Slabs:
    """The examples of some fields, read in slabs that follow the chunks of the archive; a few slabs are kept.

    Args:
        fields: What to read.
        num_longitudes: Columns that are taken, from the first.

    Attributes:
        steps: Examples of a slab along each example dimension.
        low: The smallest value of each variable of wider numbers that has been read, before it is rounded to float32.
        high: The largest one.
    """

    def __init__(self, fields: Fields, num_longitudes: int) -> None:
        self._fields, self._num_longitudes = fields, num_longitudes
        points = len(fields.latitudes) * num_longitudes * len(fields.arrays)
        self.steps = _fitting(fields.sizes, _chunks(fields), 4 * points)
        self.low, self.high = np.full(len(fields.arrays), np.inf), np.full(len(fields.arrays), -np.inf)
        self._kept = LRUCache[np.ndarray](CACHE_BYTES, keeps_last=True)
        self._lock = threading.Lock()

    def read(self, example: int) -> Float32[np.ndarray, "lat lon channel"]:
        """The values of an example, in the units of the archive. Safe to call from threads.

        Raises:
            MemberError: If the archive cannot be read there.
        """
        place = np.unravel_index(example, self._fields.sizes) if self._fields.sizes else ()
        key = tuple(int(i) // step for i, step in zip(place, self.steps, strict=True))
        within = tuple(int(i) % step for i, step in zip(place, self.steps, strict=True))
        with self._lock:  # the libraries under it read one thing at a time, too
            slab = self._kept.get_or_make(key, lambda: self._load(key), lambda slab: slab.nbytes)
        return slab[within]

    def in_order(self, num_examples: int) -> Iterator[int]:
        """The first examples, slab by slab."""
        corners = (range(0, size, step) for size, step in zip(self._fields.sizes, self.steps, strict=True))
        for corner in itertools.product(*corners):
            ends = zip(corner, self.steps, self._fields.sizes, strict=True)
            inside = itertools.product(*(range(low, min(low + step, size)) for low, step, size in ends))
            for place in inside:
                example = int(np.ravel_multi_index(place, self._fields.sizes)) if place else 0
                if example < num_examples:
                    yield example

    def _load(self, key: tuple[int, ...]) -> np.ndarray:
        window = {
            dim: slice(i * step, (i + 1) * step)
            for dim, i, step in zip(self._fields.dims, key, self.steps, strict=True)
        }
        try:
            read = [array.isel(window).values for array in self._fields.arrays]
        except Exception as error:  # whatever a damaged chunk makes the library under xarray raise
            raise MemberError(f"cannot be read: {type(error).__name__}: {error}") from error
        for k, values in enumerate(read):
            if values.dtype.itemsize <= np.dtype(np.float32).itemsize:
                continue  # it is exact
            finite = values[np.isfinite(values)]
            if finite.size:
                self.low[k] = min(self.low[k], float(finite.min()))
                self.high[k] = max(self.high[k], float(finite.max()))
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which the survey rejects
            return np.stack([values[..., : self._num_longitudes].astype(np.float32) for values in read], axis=-1)


def _chunks(fields: Fields) -> tuple[int, ...]:
    """Examples of a stored chunk along each example dimension; 1 where there are no chunks."""
    array = fields.arrays[0]
    sizes = array.encoding.get("preferred_chunks") or {}
    if array.chunks is not None:
        sizes = {str(dim): max(along) for dim, along in zip(array.dims, array.chunks, strict=True)}
    return tuple(int(sizes.get(dim, 1)) for dim in fields.dims)


def _fitting(sizes: Sequence[int], chunks: Sequence[int], example_bytes: int) -> tuple[int, ...]:
    """Chunks cut down, along the first dimensions first, until a slab is not too large."""
    steps = [max(1, min(size, chunk)) for size, chunk in zip(sizes, chunks, strict=True)]
    for axis in range(len(steps)):
        others = math.prod(steps[:axis] + steps[axis + 1 :]) * example_bytes
        steps[axis] = max(1, min(steps[axis], SLAB_BYTES // max(others, 1)))
    return tuple(steps)
