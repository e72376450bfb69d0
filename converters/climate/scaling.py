"""Scaling of fields to features, from moments seen one example at a time."""

import dataclasses
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, Float64

from functa_store.errors import ArchiveError, ConfigError
from functa_store.sources.array_source import lost_in_float32
from functa_store.sources.features import FeatureSpec

FieldScaling = Literal["minmax", "standard"]
"""`minmax`: the smallest training value is 0, the largest 1. `standard`: the training mean is 0.5, and 1 is three
standard deviations above it, so that features lie about [0, 1], too, and outliers squeeze nothing."""

SCALINGS = get_args(FieldScaling)
DEVIATIONS = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moments:
    """Of each channel of each example, missing values apart.

    Attributes:
        count: Values that are there.
        mean: Their mean.
        square: Sum of their squared distances from it.
        low: The smallest one.
        high: The largest one.
    """

    count: Float64[np.ndarray, "*examples channel"]
    mean: Float64[np.ndarray, "*examples channel"]
    square: Float64[np.ndarray, "*examples channel"]
    low: Float64[np.ndarray, "*examples channel"]
    high: Float64[np.ndarray, "*examples channel"]

    @classmethod
    def empty(cls, num_examples: int, num_channels: int) -> "Moments":
        """Of examples that have not been seen."""
        zeros = [np.zeros((num_examples, num_channels)) for _ in range(3)]
        ends = [np.full((num_examples, num_channels), end) for end in (np.inf, -np.inf)]
        return cls(count=zeros[0], mean=zeros[1], square=zeros[2], low=ends[0], high=ends[1])

    def see(
        self, example: int, values: Float32[np.ndarray, "lat lon channel"], present: Bool[np.ndarray, "..."]
    ) -> None:
        """Enter an example."""
        for channel in range(values.shape[-1]):
            there = values[..., channel][present[..., channel]].astype(np.float64)
            if len(there):
                mean = there.mean()
                row = (len(there), mean, ((there - mean) ** 2).sum(), there.min(), there.max())
                for field, number in zip(dataclasses.fields(self), row, strict=True):
                    getattr(self, field.name)[example, channel] = number

    def together(self, examples: Bool[np.ndarray, " examples"]) -> "Moments":
        """Of all values of some examples, added up in their order."""
        count = self.count[examples].sum(axis=0)
        mean = (self.count * self.mean)[examples].sum(axis=0) / np.maximum(count, 1)
        square = (self.square + self.count * (self.mean - mean) ** 2)[examples].sum(axis=0)
        low, high = self.low[examples].min(axis=0, initial=np.inf), self.high[examples].max(axis=0, initial=-np.inf)
        return Moments(count=count, mean=mean, square=square, low=low, high=high)


def check_rounding(name: str, channel: str, low: float, high: float) -> None:
    """Refuse values that become one when they are rounded to float32, as fields are.

    Args:
        name: Of the archive, for errors.
        channel: The variable.
        low: Its smallest value, before rounding.
        high: Its largest one.

    Raises:
        ArchiveError: If they do.
    """
    if problem := lost_in_float32(float(low), float(high), far=False):
        raise ArchiveError(f"{name}: {channel} {problem}")


def features_of(
    name: str, channels: tuple[str, ...], units: tuple[str, ...], training: Moments, scaling: str, *, missing: bool
) -> FeatureSpec:
    """What features mean, such that those of the training examples lie about [0, 1].

    Args:
        name: Of the archive, for errors.
        channels: Name of each variable.
        units: Unit of each.
        training: Moments of the training examples.
        scaling: See `FieldScaling`.
        missing: Whether values are missing.

    Raises:
        ArchiveError: If a variable has no value to learn from, or the training values lie too far apart.
        ConfigError: If there is no such scaling.
    """
    if scaling not in SCALINGS:
        raise ConfigError(f"scaling must be one of {', '.join(SCALINGS)}, got {scaling!r}")
    for channel, count in zip(channels, training.count, strict=True):
        if not count:
            raise ArchiveError(f"{name}: {channel} has no value in the training examples, so there is nothing to learn")
    low, high = training.low, training.high
    if scaling == "minmax":
        scale, offset = high - low, low
    else:
        scale = DEVIATIONS * np.sqrt(training.square / training.count)
        offset = training.mean - scale / 2
    if not (scale < np.finfo(np.float32).max).all():
        raise ArchiveError(
            f"{name}: training values from {low.tolist()} to {high.tolist()} of {channels} lie too far apart for "
            "float32; are fill values not declared as such?"
        )
    for channel, one in zip(channels, zip(low.tolist(), high.tolist(), strict=True), strict=True):
        if problem := lost_in_float32(*one, far=False, close=False):
            raise ArchiveError(f"{name}: {channel} {problem}")
    scale = np.where(scale > 0, scale, 1)  # of a constant, any will do
    above = low + np.maximum(1, np.abs(low) * 1e-3)  # which 1 alone would not be of huge values
    return FeatureSpec(
        channels=channels,
        units=units,
        value_scale=tuple(scale.tolist()),
        value_offset=tuple(offset.tolist()),
        value_ranges=tuple(zip(low.tolist(), np.where(high > low, high, above).tolist(), strict=True)),
        missing=missing,
        metrics=("rmse",),
    )
