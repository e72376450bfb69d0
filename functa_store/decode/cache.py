"""Which decoded grids are kept, so that the same ones need not be decoded again?"""

from collections.abc import Callable, Hashable

import numpy as np
from jaxtyping import Float32, Int

from functa_store.errors import ConfigError
from functa_store.recent import Recent

DEFAULT_CACHE_BYTES = 256 * 2**20
"""Bytes of decoded grids that an open functaset keeps."""

Features = Float32[np.ndarray, "examples points channels"]


class GridCache:
    """Decoded examples by example and grid, those used last, within a number of bytes; threads may share it.

    A call that wants more than the limit passes it by, so that reading everything once pushes nothing out.

    Args:
        limit: Most bytes that are kept; 0 keeps nothing.

    Raises:
        ConfigError: If the limit is no whole number, or negative.
    """

    def __init__(self, limit: int = DEFAULT_CACHE_BYTES) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 0:
            raise ConfigError(f"cache_bytes must be a whole number of at least 0, got {limit!r}")
        self._kept: Recent[np.ndarray] = Recent(int(limit))

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
        self, examples: Int[np.ndarray, " examples"], grid: Hashable, decode: Callable[[np.ndarray], Features]
    ) -> Features:
        """Features of examples on a grid, of which only those that are not kept are decoded, each once.

        Args:
            examples: Which examples.
            grid: What tells one grid from another.
            decode: Decodes some of the examples.

        Returns:
            An array of its own, which may be changed.
        """
        distinct, places = np.unique(examples, return_inverse=True)
        found = [self._kept.get((example, grid)) for example in distinct.tolist()]
        missing = np.array([features is None for features in found], bool)
        fresh = decode(distinct[missing])
        for example, features in zip(distinct[missing].tolist(), fresh, strict=True):
            self._kept.put((example, grid), features.copy(), features.nbytes)
        if missing.all() and np.array_equal(distinct, examples):
            return fresh
        decoded = iter(fresh)
        together = [next(decoded) if features is None else features for features in found]
        return np.stack(together)[places] if together else fresh
