"""Cache of decoded grids, bounded by bytes."""

from collections.abc import Callable, Hashable

import numpy as np
from jaxtyping import Float32, Shaped

from functa_store.config import whole
from functa_store.support.memory import LRUCache

DEFAULT_CACHE_BYTES = 256 * 2**20
"""Bytes of decoded grids that an open functaset keeps."""

Features = Float32[np.ndarray, "examples points channels"]

DecodeRows = Callable[[np.ndarray], None]
"""Writes the examples of some rows of features into them."""


class GridCache:
    """Decoded examples by example and grid, those used last, within a number of bytes; threads may share it.

    A call that wants more than the limit passes it by, so that reading everything once pushes nothing out.

    Args:
        limit: Most bytes that are kept; 0 keeps nothing.

    Raises:
        ConfigError: If the limit is no whole number, or negative.
    """

    def __init__(self, limit: int = DEFAULT_CACHE_BYTES) -> None:
        self._kept: LRUCache[np.ndarray] = LRUCache(whole("cache_bytes", limit, 0))

    @property
    def limit(self) -> int:
        """Most bytes that are kept."""
        return self._kept.limit

    @property
    def num_bytes(self) -> int:
        """Bytes that are kept."""
        return self._kept.cost

    def takes(self, num_bytes: int) -> bool:
        """Whether the features of a call can be kept."""
        return num_bytes <= self.limit

    def through(
        self,
        features: Features,
        examples: Shaped[np.ndarray, " examples"],
        grid: Hashable | None,
        decode: DecodeRows,
    ) -> None:
        """Write examples on a grid into an array; only those that are not kept are decoded, each once.

        Memory holds them there, and once more as far as they are kept.

        Args:
            features: Where to write them.
            examples: What tells examples apart: their places, or the digests of free modulations.
            grid: What tells one grid from another; None for points that are not kept.
            decode: Writes the examples of some rows into them.
        """
        distinct, first, same = np.unique(examples, return_index=True, return_inverse=True)
        if grid is None:
            decode(first)
        else:
            self._keep(features, dict(zip(first.tolist(), distinct.tolist(), strict=True)), grid, decode)
        for row in np.flatnonzero(first[same] != np.arange(len(examples))):
            features[row] = features[first[same[row]]]

    def _keep(self, features: Features, of_row: dict[int, Hashable], grid: Hashable, decode: DecodeRows) -> None:
        """Write the example of each row, and keep those that were not kept."""
        missing = [row for row, example in of_row.items() if not self._write(features, row, (example, grid))]
        if missing:
            decode(np.array(missing))
        for row in missing:
            self._kept.put((of_row[row], grid), features[row].copy(), features[row].nbytes)

    def _write(self, features: Features, row: int, key: Hashable) -> bool:
        """Whether an example was kept, which is in its row then."""
        if (kept := self._kept.get(key)) is None:
            return False
        features[row] = kept
        return True
