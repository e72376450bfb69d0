"""Examples in an array: their ids, splits and labels, values as features, and the source made of them."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from functa_store.domains.cells import CellGrid
from functa_store.domains.domain import Domain
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.progress import Report, Surveyed, silent
from functa_store.sources.array_blocks import ArrayExamples, ArrayLike, Scan, scan
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import (
    Label,
    NumberedIds,
    Reject,
    Source,
    check_rejects,
    check_source,
)
from functa_store.sources.splits import hold_out_every, hold_out_rule, splits_of_words

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
        """The meaning of what `raw` hands out."""
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


AnyLabel = Label | Sequence[Any] | np.ndarray
"""A label, or a number or text per example."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PerExample:
    """Names, splits and labels, one per example; what is left out takes the obvious.

    Attributes:
        ids: Unique names; None counts from "0".
        split: One of `SPLITS`, or a word for one, per example; None holds out every tenth of those that are taken.
        labels: Named labels.
    """

    ids: Sequence[str] | None
    split: np.ndarray | None
    labels: Mapping[str, Label]

    def check(self, name: str, count: int) -> None:
        """Refuse what is not one per example.

        Raises:
            ArchiveError: If something has another length; says what.
        """
        given: dict[str, Any] = {f"label {label}": values.values for label, values in self.labels.items()}
        given |= {what: values for what, values in (("ids", self.ids), ("split", self.split)) if values is not None}
        for what, values in given.items():
            if len(values) != count:
                raise ArchiveError(f"{name}: {what} has {len(values)} values for {count} examples")

    def id(self, row: int) -> str:
        """What an example of the whole array is called."""
        return str(row) if self.ids is None else str(self.ids[row])

    def taken(self, rows: np.ndarray) -> tuple[Sequence[str], np.ndarray, dict[str, Label]]:
        """Ids, split and labels of some examples."""
        ids = NumberedIds(rows) if self.ids is None else [self.id(int(row)) for row in rows]
        split = hold_out_every(len(rows)) if self.split is None else self.split[rows]
        labels = {name: dataclasses.replace(label, values=label.values[rows]) for name, label in self.labels.items()}
        return ids, split, labels


def per_example(
    ids: Sequence[str] | None, split: Sequence[str] | np.ndarray | None, labels: Mapping[str, AnyLabel] | None
) -> PerExample:
    """What a caller says of each example, as a source keeps it: texts become splits and classes.

    Raises:
        ArchiveError: If a label is neither numbers nor text.
    """
    return PerExample(
        ids=ids,
        split=None if split is None else splits_of_words(as_text(np.asarray(split)).tolist()),
        labels={key: _label(key, v) for key, v in (labels or {}).items()},
    )


def _label(key: str, given: AnyLabel) -> Label:
    label = given if isinstance(given, Label) else as_label(key, np.asarray(given))
    return dataclasses.replace(label, values=storable(np.asarray(label.values)))


def storable(values: np.ndarray) -> np.ndarray:
    """Numbers as a store can hold them: the long double of a platform, which no other one reads, as float64."""
    is_long = values.dtype.kind == "f" and values.dtype.itemsize > np.dtype(np.float64).itemsize
    return values.astype(np.float64) if is_long else values


def as_label(name: str, values: np.ndarray) -> Label:
    """A label of numbers, or of classes where the values are text.

    Raises:
        ArchiveError: If they are neither.
    """
    if values.ndim == 1 and values.dtype.kind in "biuf":
        return Label(values=values)
    if values.ndim == 1 and values.dtype.kind in "SUOT":
        return as_classes(values)
    raise ArchiveError(f"label {name}: found {values.dtype} of shape {values.shape}, expected a number or text each")


def as_classes(values: np.ndarray) -> Label:
    """A label of class numbers in the order of the sorted texts, which are its names."""
    names, numbers = np.unique(as_text(values), return_inverse=True)
    return Label(values=numbers.astype(np.int32), names=tuple(str(text) for text in names))


def as_text(values: np.ndarray) -> np.ndarray:
    """Text of bytes, text or numbers."""
    return np.array([v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values.tolist()], np.str_)


AXES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}


class ArraySource(Source):
    """The examples of an array: numpy's, memory-mapped, an `h5py.Dataset` or a `zarr.Array`; see `Source`.

    Every example is read once here, in blocks, and again where it is needed. The network learns values scaled to
    [0, 1]; what decodes is in the array's own unit. For an xarray object there is `from_xarray`.

    Args:
        values: Examples first, then one to three axes of space or time, then channels; or what reads such an array.
        channels_axis: Which axis is the channels', if it is not the last one; None if there is none.
        axes: Names of the axes in between, in order; none takes "x", "y, x" or "z, y, x".
        domain: Where each example is sampled, if more is known than `axes`.
        channels: Name of each channel; none counts from "0".
        units: Unit of each channel.
        value_range: Values that become the features 0 and 1. None takes 0 to 255 for bytes, 0 and 1 for booleans,
            and for other numbers the smallest and largest value of each channel among the training examples.
        missing: Whether NaN means that a value is missing; else an example with one is rejected.
        features: What the values mean, instead of the last four, or what tells it when all examples have been read;
            then they are handed out as they are.
        ids: Unique names of the examples; None counts from "0".
        split: One of `SPLITS` per example; None holds out every tenth example as "test".
        labels: By name a `Label`, or a number or text per example.
        rejects: What cannot be used and is no row of the array.
        name: What the provenance and errors call the array.
        limit: Examples at most, the first ones.
        max_rejects: Fraction of the examples that may be rejected.
        check_first: Examples to read now, for a dry run; None reads all.
        report: Told how far the reading is.

    Attributes:
        values: The array as it was given.

    Raises:
        ConfigError: If an option is out of range, or two of them say the same thing.
        ArchiveError: If the array cannot be learned, or what is said of it does not fit its shape.
        TooManyRejectsError: If more examples cannot be learned than allowed.
    """

    def __init__(
        self,
        values: ArrayLike | ArrayExamples,
        *,
        channels_axis: int | None = -1,
        axes: Sequence[str] = (),
        domain: Domain | None = None,
        channels: Sequence[str] = (),
        units: Sequence[str] = (),
        value_range: tuple[float | int, float | int] | None = None,
        missing: bool = False,
        features: FeatureSpec | Callable[[Scan], FeatureSpec] | None = None,
        ids: Sequence[str] | None = None,
        split: Sequence[str] | np.ndarray | None = None,
        labels: Mapping[str, AnyLabel] | None = None,
        rejects: Sequence[Reject] = (),
        name: str = "array",
        limit: int | None = None,
        max_rejects: float | int = 0.0,
        check_first: int | None = None,
        report: Report = silent,
    ) -> None:
        _check_range(value_range)
        survey = SurveyOptions(limit=limit, max_rejects=max_rejects, check_first=check_first)
        _check_either(domain, {"axes": axes}, "domain")
        meaning = {"channels": channels, "units": units, "value_range": value_range, "missing": missing}
        _check_either(features, meaning, "features")
        self.values = values
        if not isinstance(values, ArrayExamples):
            values = ArrayExamples(values, channels_axis=channels_axis, name=name)
        self._examples = values
        count, *resolution, num_channels = self._examples.shape
        self.domain = domain or _unit_grid(name, axes, tuple(resolution))
        _check_counts(name, num_channels, {"channels": channels, "units": units})
        told = per_example(ids, split, labels)
        told.check(name, count)
        total = len(range(count)[: survey.limit])
        read = len(range(total)[: survey.check_first])
        refused, kept = list(rejects), np.ones(total, bool)

        def refuse(row: int, reason: str) -> None:
            kept[row] = False
            refused.append(Reject(member=told.id(row), reason=reason))
            check_rejects(name, "examples", refused, len(rejects) + total, survey.max_rejects)

        check_rejects(name, "examples", refused, len(rejects) + total, survey.max_rejects)
        found = scan(
            self._examples,
            read,
            missing=features.missing if isinstance(features, FeatureSpec) else missing,
            progress=lambda done: report(Surveyed(done=done, total=read, rejects=len(refused))),
            refuse=refuse,
        )
        self.rejects = refused
        self._rows = np.flatnonzero(kept)
        self.ids, self.split, self.labels = told.taken(self._rows)
        self._scaling: Scaling | None = None
        if features is None:
            training = self._rows[(self.split == "train") & (self._rows < read)]
            self._scaling = find_scaling(name, self._examples.dtype, value_range, found, training)
            features = self._scaling.features(channels, units, missing=missing, dtype=self._examples.dtype)
        self.features = features if isinstance(features, FeatureSpec) else features(found)
        self.provenance = {
            "archive": name,
            "sha256": found.sha256 if survey.check_first is None else None,
            "split": hold_out_rule() if split is None else "published",
            "limit": survey.limit,
            "rejects": len(self.rejects),
        }
        check_source(self)

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example, shape (*resolution, channels). Safe to call from threads.

        Raises:
            MemberError: If it cannot be read any more.
        """
        row = int(self._rows[index])
        try:
            values = self._examples.block(row, row + 1)[0]
        except MemberError as error:
            raise MemberError(f"{self.provenance['archive']}/{self.ids[index]}: {error}") from error
        return values if self._scaling is None else self._scaling.raw(values)


def _check_range(value_range: tuple[float | int, float | int] | None) -> None:
    if value_range is not None and not -math.inf < value_range[0] < value_range[1] < math.inf:
        raise ConfigError(f"value_range must be (low, high), low below high and both finite, got {value_range}")


def _check_either(whole: object, parts: Mapping[str, Any], name: str) -> None:
    if whole is not None and (given := [part for part, value in parts.items() if value]):
        raise ConfigError(f"{name} says all about {', '.join(parts)}; leave out {' and '.join(given)}, or {name}")


def _check_counts(name: str, num_channels: int, named: Mapping[str, Sequence[str]]) -> None:
    for what, names in named.items():
        if names and len(names) != num_channels:
            raise ArchiveError(f"{name}: found {len(names)} {what}, expected {num_channels}, one per channel")


def _unit_grid(name: str, axes: Sequence[str], resolution: tuple[int, ...]) -> CellGrid:
    if axes and len(axes) != len(resolution):
        raise ArchiveError(f"{name}: found {len(axes)} axes, expected {len(resolution)} for examples of {resolution}")
    return CellGrid(axes=tuple(axes) or AXES[len(resolution)], resolution=resolution)
