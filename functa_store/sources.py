"""What must an archive offer so that it can become a functaset?"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from functa_store.errors import ArchiveError, ConfigError
from functa_store.grids import CellGrid

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """What the values of an example mean, and how stored values become features.

    features = raw * scale + offset, so that a source may hand out bytes. The network's output
    starts around 0.5: choose scale and offset such that features lie about [0, 1].

    Attributes:
        channels: Name of each channel, in order.
        units: Unit of the features; "1" if dimensionless.
        data_range: Smallest and largest value that a feature can take; PSNR is relative to it.
        scale: Factor from raw values to features, not 0.
        offset: Summand from raw values to features.

    Raises:
        ConfigError: If there is no channel, or a number is out of range.
    """

    channels: tuple[str, ...]
    units: str = "1"
    data_range: tuple[float, float] = (0.0, 1.0)
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Label:
    """One label of every example.

    Attributes:
        values: One integer or float per example.
        names: What the integers 0, 1, ... stand for, if they are class numbers.
    """

    values: np.ndarray
    names: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reject:
    """A member of an archive that was skipped, and why."""

    member: str
    reason: str


@runtime_checkable
class Source(Protocol):
    """Random access to the examples of an archive.

    Attributes:
        domain: Where each example is sampled.
        features: What its values mean.
        ids: One unique name per example, in the archive's order.
        split: One of `SPLITS` per example.
        labels: Named labels, one value per example.
        rejects: Members that were skipped.
        provenance: JSON-ready facts about the archive: at least `archive` (its name) and `sha256`.
    """

    domain: CellGrid
    features: FeatureSpec
    ids: Sequence[str]
    split: np.ndarray
    labels: Mapping[str, Label]
    rejects: Sequence[Reject]
    provenance: Mapping[str, Any]

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example, shape (*domain.resolution, channels). Safe to call from threads.

        Raises:
            MemberError: If the member cannot be read.
        """
        ...


class ArraySource:
    """A source over one array in memory (or memory-mapped), examples first, channels last.

    Args:
        values: Shape (examples, *resolution, channels); features, or raw values for `features`.
        axes: Names of the resolution axes, in order.
        features: What the values mean; None takes channels named by number in [0, 1].
        ids: Unique names; None counts from "0".
        split: One of `SPLITS` per example; None holds out every tenth example as "test".
        labels: Named labels.
        name: What the provenance calls the array.

    Raises:
        ArchiveError: If shapes do not match each other.
    """

    def __init__(
        self,
        values: np.ndarray,
        *,
        axes: tuple[str, ...] = ("y", "x"),
        features: FeatureSpec | None = None,
        ids: Sequence[str] | None = None,
        split: np.ndarray | None = None,
        labels: Mapping[str, Label] | None = None,
        name: str = "array",
    ) -> None:
        if values.ndim != len(axes) + 2:
            raise ArchiveError(
                f"{name}: values have shape {values.shape}, expected (examples, {', '.join(axes)}, channels)"
            )
        num_examples, num_channels = values.shape[0], values.shape[-1]
        self.values = values
        self.domain = CellGrid(axes=axes, resolution=values.shape[1:-1])
        self.features = features or FeatureSpec(channels=tuple(str(c) for c in range(num_channels)))
        self.ids: Sequence[str] = [str(i) for i in range(num_examples)] if ids is None else list(ids)
        self.split = hold_out_every(num_examples, 10) if split is None else np.asarray(split)
        self.labels: Mapping[str, Label] = dict(labels or {})
        self.rejects: Sequence[Reject] = []
        self.provenance: Mapping[str, Any] = {"archive": name, "sha256": _sha256(values)}
        check_source(self)

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example."""
        return np.asarray(self.values[index])


def hold_out_every(num_examples: int, period: int) -> np.ndarray:
    """Split that holds out every `period`-th example: indices period - 1, 2 period - 1, ..."""
    split = np.full(num_examples, "train", dtype="U10")
    split[period - 1 :: period] = "test"
    return split


def hold_out_last(num_examples: int, fraction: float = 0.1) -> np.ndarray:
    """Split that trains on the first floor((1 - fraction) * n) examples and holds out the rest."""
    split = np.full(num_examples, "train", dtype="U10")
    split[int(num_examples * (1 - fraction)) :] = "test"
    return split


def check_source(source: Source) -> None:
    """Check what every conversion relies on.

    Raises:
        ArchiveError: If ids repeat, lengths or shapes differ, a label or the provenance cannot be
            stored, a split has no known name, or none is "train".
    """
    name, n = source.provenance["archive"], len(source.ids)
    if n == 0:
        raise ArchiveError(f"{name}: no examples; is this the right archive?")
    if len(set(source.ids)) != n:
        raise ArchiveError(f"{name}: {n - len(set(source.ids))} ids occur more than once; ids must be unique")
    lengths = {"split": len(source.split)} | {f"labels/{k}": len(v.values) for k, v in source.labels.items()}
    for what, length in lengths.items():
        if length != n:
            raise ArchiveError(f"{name}: {what} has {length} values for {n} examples")
    _check_labels(source)
    expected = (*source.domain.resolution, source.features.num_channels)
    if (found := source.read(0).shape) != expected:
        raise ArchiveError(
            f"{name}: the first example has shape {found}, expected (*resolution, channels) = {expected}"
        )
    unknown = set(np.unique(source.split)) - set(SPLITS)
    if unknown:
        raise ArchiveError(f"{name}: unknown splits {sorted(unknown)}, expected some of {SPLITS}")
    if "train" not in np.asarray(source.split):
        raise ArchiveError(
            f"{name}: none of {n} examples is in the split 'train', so there is nothing to learn from; "
            "take more examples, or another split"
        )


def _check_labels(source: Source) -> None:
    name = source.provenance["archive"]
    for label, described in source.labels.items():
        if (
            not label
            or label == "zarr.json"
            or label.startswith((".", "__"))
            or "/" in label
            or described.values.dtype.kind not in "biuf"
        ):
            raise ArchiveError(
                f"{name}: label {label!r} of {described.values.dtype}, expected a plain name and numbers; "
                "give classes as integers with names"
            )
    try:
        json.dumps(dict(source.provenance), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArchiveError(f"{name}: the provenance must hold plain, finite JSON values: {error}") from error


def _sha256(values: np.ndarray) -> str:
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape}".encode())
    for example in values:
        digest.update(np.ascontiguousarray(example).data)
    return digest.hexdigest()
