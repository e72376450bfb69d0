"""Conversion between raw numbers of an archive, features of a network and values for readers."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Float32, Num

from functa_store.errors import ConfigError
from functa_store.metrics import Metric, columns_of

PER_CHANNEL = ("units", "value_scale", "value_offset", "value_ranges")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """What the values of an example mean, and how stored values become features.

    features = raw * scale + offset, so that a source may hand out bytes. The network's output
    starts around 0.5: choose scale and offset such that features lie about [0, 1]. What a reader decodes are
    values, in the units of the archive: value = feature * value_scale + value_offset, channel by channel.

    Attributes:
        channels: Name of each channel, in order.
        units: Unit of the values of each channel; "1" where it has none. Empty means "1" for all.
        data_range: Smallest and largest value that a feature can take; PSNR is relative to it.
        scale: Factor from raw values to features, not 0.
        offset: Summand from raw values to features.
        value_scale: Factor from features to values, per channel; empty means 1 for all.
        value_offset: Summand from features to values, per channel; empty means 0 for all.
        value_ranges: Smallest and largest value of each channel, to which decoding clips; empty means the data
            range, as values.
        missing: Whether raw values that are not a number are missing, and count in no error; else they are refused.
        metrics: What is kept of each example's fit beside its error; see `functa_store.metrics`.

    Raises:
        ConfigError: If there is no channel, a number is out of range, or a list is not as long as the channels'.
    """

    channels: tuple[str, ...]
    units: tuple[str, ...] = ()
    data_range: tuple[float, float] = (0.0, 1.0)
    scale: float = 1.0
    offset: float = 0.0
    value_scale: tuple[float, ...] = ()
    value_offset: tuple[float, ...] = ()
    value_ranges: tuple[tuple[float, float], ...] = ()
    missing: bool = False
    metrics: tuple[Metric, ...] = ()

    def __post_init__(self) -> None:
        for name, value in {"units": "1", "value_scale": 1.0, "value_offset": 0.0}.items():
            if not getattr(self, name):
                object.__setattr__(self, name, (value,) * len(self.channels))
        if not self.value_ranges:
            ranges = zip(self.value_scale, self.value_offset, strict=False)
            low_and_high = [sorted(scale * end + offset for end in self.data_range) for scale, offset in ranges]
            object.__setattr__(self, "value_ranges", tuple((low, high) for low, high in low_and_high))
        self._check_channels()
        self._check_numbers()

    def _check_channels(self) -> None:
        per_channel = {name: getattr(self, name) for name in PER_CHANNEL}
        if any(len(values) != len(self.channels) for values in per_channel.values()):
            raise ConfigError(f"expected one value per channel {self.channels} in each of {per_channel}")
        if len(set(self.channels)) < len(self.channels) or len(set(self.metrics)) < len(self.metrics):
            raise ConfigError(f"channels {self.channels} or metrics {self.metrics} share a name")

    def _check_numbers(self) -> None:
        if not all(map(math.isfinite, (*self.value_scale, *self.value_offset))) or 0 in self.value_scale:
            raise ConfigError(
                f"value_scale and value_offset must be finite, value_scale not 0, got {self.value_scale} and "
                f"{self.value_offset}"
            )
        if not all(-math.inf < low < high < math.inf for low, high in self.value_ranges):
            raise ConfigError(f"expected (low, high) for each channel in value_ranges, got {self.value_ranges}")
        low, high = self.data_range
        if not self.channels or not -math.inf < low < high < math.inf:
            raise ConfigError(
                f"expected channels and a data range (low, high), got {self.channels} and {self.data_range}"
            )
        if not math.isfinite(self.scale) or not math.isfinite(self.offset) or self.scale == 0:
            raise ConfigError(f"scale and offset must be finite, scale not 0, got {self.scale} and {self.offset}")

    @property
    def num_channels(self) -> int:
        """Number of channels of a feature."""
        return len(self.channels)

    @property
    def span(self) -> float:
        """Distance between the ends of the data range."""
        return self.data_range[1] - self.data_range[0]

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of any channel."""
        low, high = zip(*self.value_ranges, strict=True)
        return min(low), max(high)

    @property
    def columns(self) -> tuple[str, ...]:
        """What the metrics of an example are called, one name per number."""
        return tuple(column for metric in self.metrics for column in columns_of(metric, self.channels))

    def of_raw(self, raw: Num[np.ndarray, "*shape channels"]) -> Float32[np.ndarray, "*shape channels"]:
        """Features of what a source hands out."""
        return raw.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)

    def to_values(self, features: Float[np.ndarray, "*shape channels"], *, clip: bool = False) -> np.ndarray:
        """Features in the units of the archive, changed in place.

        Args:
            features: float32.
            clip: To the ranges of the values.
        """
        if set(self.value_scale) != {1.0} or any(self.value_offset):
            features *= np.asarray(self.value_scale, features.dtype)
            features += np.asarray(self.value_offset, features.dtype)
        if clip:
            low, high = np.asarray(self.value_ranges, features.dtype).T
            np.clip(features, low, high, out=features)
        return features
