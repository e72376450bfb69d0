"""An array in memory or in a file as a source."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.domains.cells import CellGrid
from functa_store.domains.domain import Domain
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.progress import Report, Surveyed, silent
from functa_store.sources.array_blocks import ArrayExamples, ArrayLike, scan
from functa_store.sources.array_labels import AnyLabel, per_example
from functa_store.sources.array_scaling import Scaling, find_scaling
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import (
    Reject,
    Source,
    check_rejects,
    check_source,
)
from functa_store.sources.splits import hold_out_rule

AXES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}


class ArraySource(Source):
    """The examples of an array: numpy's, memory-mapped, an `h5py.Dataset` or a `zarr.Array`; see `Source`.

    Every example is read once here, in blocks, and again where it is needed. The network learns values scaled to
    [0, 1]; what decodes is in the array's own unit. For an xarray object there is `from_xarray`.

    Args:
        values: Examples first, then one to three axes of space or time, then channels.
        channels_axis: Which axis is the channels', if it is not the last one; None if there is none.
        axes: Names of the axes in between, in order; none takes "x", "y, x" or "z, y, x".
        domain: Where each example is sampled, if more is known than `axes`.
        channels: Name of each channel; none counts from "0".
        units: Unit of each channel.
        value_range: Values that become the features 0 and 1. None takes 0 to 255 for bytes, 0 and 1 for booleans,
            and for other numbers the smallest and largest value of each channel among the training examples.
        missing: Whether NaN means that a value is missing; else an example with one is rejected.
        features: What the values mean, instead of the last four; then they are handed out as they are.
        ids: Unique names of the examples; None counts from "0".
        split: One of `SPLITS` per example; None holds out every tenth example as "test".
        labels: By name a `Label`, or a number or text per example.
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
        values: ArrayLike,
        *,
        channels_axis: int | None = -1,
        axes: Sequence[str] = (),
        domain: Domain | None = None,
        channels: Sequence[str] = (),
        units: Sequence[str] = (),
        value_range: tuple[float | int, float | int] | None = None,
        missing: bool = False,
        features: FeatureSpec | None = None,
        ids: Sequence[str] | None = None,
        split: Sequence[str] | np.ndarray | None = None,
        labels: Mapping[str, AnyLabel] | None = None,
        name: str = "array",
        limit: int | None = None,
        max_rejects: float | int = 0.0,
        check_first: int | None = None,
        report: Report = silent,
    ) -> None:
        _check_options(value_range, limit, max_rejects, check_first)
        _check_either(domain, {"axes": axes}, "domain")
        meaning = {"channels": channels, "units": units, "value_range": value_range, "missing": missing}
        _check_either(features, meaning, "features")
        self.values, self._examples = values, ArrayExamples(values, channels_axis=channels_axis, name=name)
        count, *resolution, num_channels = self._examples.shape
        self.domain = domain or _unit_grid(name, axes, tuple(resolution))
        _check_counts(name, num_channels, {"channels": channels, "units": units})
        told = per_example(ids, split, labels)
        told.check(name, count)
        total = min(count, limit or count)
        read = min(total, total if check_first is None else check_first)
        found = scan(
            self._examples,
            read,
            missing=missing if features is None else features.missing,
            progress=lambda done, rejects: report(Surveyed(done=done, total=read, rejects=rejects)),
        )
        self.rejects = [Reject(member=told.id(k), reason=reason) for k, reason in found.problems.items()]
        check_rejects(name, "examples", self.rejects, total, max_rejects)
        self._rows = np.array([k for k in range(total) if k not in found.problems], np.int64)
        self.ids, self.split, self.labels = told.taken(self._rows)
        self._scaling: Scaling | None = None
        if features is None:
            training = self._rows[(self.split == "train") & (self._rows < read)]
            self._scaling = find_scaling(name, self._examples.dtype, value_range, found, training)
            features = self._scaling.features(channels, units, missing=missing, dtype=self._examples.dtype)
        self.features = features
        self.provenance = {
            "archive": name,
            "sha256": found.sha256 if check_first is None else None,
            "split": hold_out_rule() if split is None else "published",
            "limit": limit,
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


def _check_options(
    value_range: tuple[float | int, float | int] | None,
    limit: int | None,
    max_rejects: float | int,
    check_first: int | None,
) -> None:
    if value_range is not None and not -math.inf < value_range[0] < value_range[1] < math.inf:
        raise ConfigError(f"value_range must be (low, high), low below high and both finite, got {value_range}")
    for option, value, lowest in (("limit", limit, 1), ("check_first", check_first, 0)):
        if value is not None and value < lowest:
            raise ConfigError(f"{option} must be at least {lowest}, got {value}")
    if not 0 <= max_rejects <= 1:
        raise ConfigError(f"max_rejects must be a fraction in [0, 1], got {max_rejects}")


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
