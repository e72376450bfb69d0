"""Normalization of modulations to mean 0 and standard deviation 1, and back."""

import functools
import hashlib
import sys
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.loaders.selection import of_split
from functa_store.store.writing.statistics import moments

A = TypeVar("A")

ROWS_AT_A_TIME = 16384
CONSTANT = 1e-6
"""A standard deviation below this share of the mean is rounding noise of float32."""


class Normalization:
    """Per dimension (value - mean) / std, for arrays of NumPy, JAX and torch, on any device.

    A dimension that does not vary is only shifted, so that nothing becomes infinite.

    Args:
        mean: float32, one per dimension.
        std: Standard deviations, not negative.

    Raises:
        ConfigError: If they differ in number, one is not finite, or a standard deviation is negative.
    """

    def __init__(self, mean: Float32[np.ndarray, " modulation"], std: Float32[np.ndarray, " modulation"]) -> None:
        if mean.shape != std.shape or not np.isfinite([mean, std]).all() or (std < 0).any():
            raise ConfigError(
                f"expected finite means and as many standard deviations that are not negative, got {mean}, {std}"
            )
        varies = std > CONSTANT * np.abs(mean)
        self.mean = mean.astype(np.float32)  # a copy: that of a store is read-only, which torch warns of
        self.std = np.where(varies, std, 1).astype(np.float32)

    @classmethod
    def of_all(cls, functaset: Functaset) -> "Normalization":
        """From the statistics that the store holds, which are over all examples, held-out ones included.

        Raises:
            StoreFormatError: If the store is unfinished, or its statistics are damaged.
        """
        statistics = functaset.store.statistics
        return cls(statistics["mean"], statistics["std"])

    @classmethod
    def of_split(cls, functaset: Functaset, split: str = "train") -> "Normalization":
        """From the examples of one split alone; reads them once, a few at a time.

        Raises:
            ConfigError: If the split is empty.
            StoreFormatError: If rows are missing or damaged.
        """
        examples = of_split(functaset, split)
        parts = (examples[start : start + ROWS_AT_A_TIME] for start in range(0, len(examples), ROWS_AT_A_TIME))
        statistics = moments(functaset.modulations[part] for part in parts)
        return cls(statistics["mean"], statistics["std"])

    def __repr__(self) -> str:
        return f"<Normalization of {len(self.mean)} dimensions>"

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of its numbers."""
        return hashlib.sha256(np.stack([self.mean, self.std]).tobytes()).hexdigest()

    def apply(self, modulations: A) -> A:
        """Normalised modulations; the last axis is the dimension."""
        mean, std = self._like(modulations)
        return (modulations - mean) / std  # type: ignore[operator]

    def invert(self, normalized: A) -> A:
        """Modulations again, such as `decode` and `decoder` take them."""
        mean, std = self._like(normalized)
        return normalized * std + mean  # type: ignore[operator]

    def _like(self, array: Any) -> tuple[Any, Any]:
        """Mean and std as arrays that an array can be computed with, where it lies."""
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(array, torch.Tensor):
            return tuple(
                torch.as_tensor(part, dtype=array.dtype, device=array.device) for part in (self.mean, self.std)
            )  # type: ignore[return-value]
        return self.mean, self.std
