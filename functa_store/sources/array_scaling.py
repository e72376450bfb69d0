"""Scaling of an array's values to features."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from functa_store.errors import ArchiveError
from functa_store.sources.array_blocks import Scan
from functa_store.sources.features import FeatureSpec

_STEPS = 256
"""Values that float32 must at least tell apart between the smallest and the largest one of a channel."""

_BYTES_AT_ONCE = 1 << 24


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """Values to features, channel by channel: (value - low) / span.

    Attributes:
        low: The value that becomes 0.
        span: How far from it the value that becomes 1 is; positive.
        as_bytes: Whether bytes stay bytes, which a `FeatureSpec` scales.
    """

    low: Float64[np.ndarray, " channel"]
    span: Float64[np.ndarray, " channel"]
    as_bytes: bool

    def raw(self, values: np.ndarray) -> np.ndarray:
        """What a source hands out of values: features as float32, or bytes."""
        if self.as_bytes:
            return values.astype(np.uint8)
        features = np.empty(values.shape, np.float32)
        rows = max(1, _BYTES_AT_ONCE // max(1, 8 * math.prod(values.shape[1:])))
        for start in range(0, len(values), rows):  # float64 of all at once would be many times the example
            features[start : start + rows] = (values[start : start + rows] - self.low) / self.span
        return features

    def features(
        self, channels: Sequence[str], units: Sequence[str], *, missing: bool, dtype: np.dtype[Any]
    ) -> FeatureSpec:
        """What is handed out means."""
        return FeatureSpec(
            channels=tuple(channels) or tuple(str(k) for k in range(len(self.low))),
            units=tuple(units),
            scale=1 / 255 if self.as_bytes and dtype == np.uint8 else 1.0,
            value_scale=tuple(self.span.tolist()),
            value_offset=tuple(self.low.tolist()),
            missing=missing,
            metrics=("rmse",),
        )


def find_scaling(
    name: str, dtype: np.dtype[Any], value_range: tuple[float | int, float | int] | None, found: Scan, rows: np.ndarray
) -> Scaling:
    """The scaling that spans a range; without one what bytes and booleans can be, or what some examples span.

    Args:
        name: What errors call the array.
        dtype: Of its values.
        value_range: Smallest and largest value.
        found: What reading the array has found.
        rows: The examples that may be learned from.

    Raises:
        ArchiveError: If float32, in which all is learned and decoded, cannot tell the values of a channel apart.
    """
    num_channels = found.low.shape[-1]
    as_bytes = value_range is None and (dtype.kind == "b" or dtype == np.uint8)
    if as_bytes:
        value_range = (0, 1) if dtype.kind == "b" else (0, 255)
    if value_range is not None:
        low, high = (np.full(num_channels, float(end)) for end in value_range)
    elif len(rows):
        low, high = np.fmin.reduce(found.low[rows]), np.fmax.reduce(found.high[rows])
    else:
        low, high = np.zeros(num_channels), np.ones(num_channels)  # `check_source` says that nothing is left
    low, high = np.nan_to_num(low), np.nan_to_num(high)  # a channel that is missing throughout
    _check_span(name, low, high)
    constant = np.maximum(1.0, np.abs(low))
    return Scaling(low=low, span=np.where(high > low, high - low, constant), as_bytes=as_bytes)


def _check_span(name: str, low: np.ndarray, high: np.ndarray) -> None:
    for channel in range(len(low)):
        if problem := lost_in_float32(float(low[channel]), float(high[channel])):
            raise ArchiveError(f"{name}: channel {channel} {problem}")


def lost_in_float32(low: float, high: float, *, far: bool = True, close: bool = True) -> str | None:
    """Why values of a range cannot be learned and decoded in float32, as all is, and what to do; None if they can.

    Args:
        low: The smallest value.
        high: The largest one, which may be the same.
        far: Whether values may be too far from 0.
        close: Whether they may be too close to each other.
    """
    float32 = np.finfo(np.float32)
    tiny, largest, span = float(float32.tiny), max(abs(low), abs(high)), high - low
    if far and largest > float(float32.max) / 4:
        reason, way_out = "too far out", "subtract an offset, or choose another unit"
    elif 0 < largest < tiny or 0 < span < _STEPS * tiny:
        reason, way_out = "too small", f"multiply them, such as by {_power_of_ten(max(span, largest))}"
    elif close and high > low and largest * float(float32.eps) > span / _STEPS:
        reason, way_out = "too close together", "subtract an offset, or choose another unit"
    else:
        return None
    return f"goes from {low!r} to {high!r}, {reason} for float32, in which all is learned and decoded; {way_out}"


def _power_of_ten(value: float) -> str:
    """The power of ten that takes a small value to about 1."""
    return f"1e{-math.floor(math.log10(value))}"
