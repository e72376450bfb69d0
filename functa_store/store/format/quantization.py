"""Modulations as float16 or int8, and back."""

import dataclasses
import math

import numpy as np

from functa_store.config import ModulationDtype
from functa_store.errors import LearningError
from functa_store.support.memory import row_blocks

LEVELS = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Rounding:
    """The stored numbers of modulations: value = scale * stored + offset, or the value itself for floats.

    Args:
        dtype: How they are stored.
        scale: float32, one per dimension, or per channel of a grid, positive; None for floats.
        offset: float32, as many; None for floats.
    """

    dtype: ModulationDtype = "float32"
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None

    @property
    def stored(self) -> np.dtype:
        """Data type in the store, little endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def is_finite(self) -> bool:
        """Whether every stored number stands for a finite one, and a larger one for a larger one."""
        if self.scale is None or self.offset is None:
            return True
        with np.errstate(over="ignore", invalid="ignore"):
            ends = [self.scale * np.float32(level) + self.offset for level in (-LEVELS // 2, LEVELS // 2 - 1)]
        return bool(np.isfinite(ends).all() and (self.scale > 0).all())

    def to_stored(self, values: np.ndarray) -> np.ndarray:
        """Modulations as they are stored, each the nearest number that can be.

        Args:
            values: float32 of shape (rows, modulation) or (rows, *cells, channel).

        Returns:
            The same shape; in float32 the values themselves, not a copy.

        Raises:
            LearningError: If a value is beyond the range of float16.
        """
        if self.stored == values.dtype:
            return values
        stored = np.empty(values.shape, self.stored)
        for block in row_blocks(len(values), math.prod(values.shape[1:])):
            stored[block] = self._some_to_stored(values[block])
        return stored

    def _some_to_stored(self, values: np.ndarray) -> np.ndarray:
        if self.scale is None or self.offset is None:
            with np.errstate(over="ignore"):
                stored = values.astype(self.stored)
            if not np.isfinite(stored).all():
                raise LearningError(
                    f"a modulation holds {np.abs(values).max():.3g}, which {self.dtype} cannot; use float32 or int8"
                )
            return stored
        steps = np.rint((values - self.offset) / self.scale)
        return np.clip(steps, -LEVELS // 2, LEVELS // 2 - 1).astype(self.stored)

    def to_values(self, stored: np.ndarray) -> np.ndarray:
        """float32 modulations, computed in float32."""
        if self.scale is None or self.offset is None:
            return stored.astype(np.float32, copy=False)
        values = np.multiply(stored, self.scale, dtype=np.float32)
        values += self.offset
        return values


EXACT = Rounding()
"""Modulations in float32, as they were fitted."""


def choose_rounding(dtype: ModulationDtype, low: np.ndarray, high: np.ndarray) -> Rounding:
    """The rounding that covers a range in every dimension, or channel of a grid, all of it and no more.

    Args:
        dtype: How modulations are to be stored.
        low: Smallest value of each dimension, float32.
        high: Largest value of each dimension, float32.

    Returns:
        For int8, -128 stands for `low` and 127 for `high`; where both are equal, 0 stands for them.
    """
    if dtype != "int8":
        return Rounding(dtype)
    low, high = low.astype(np.float64), high.astype(np.float64)
    flat = high <= low
    scale = np.where(flat, 1.0, (high - low) / (LEVELS - 1)).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    offset = np.where(flat, low, low + scale.astype(np.float64) * (LEVELS // 2)).astype(np.float32)
    return Rounding(dtype, scale, offset)
