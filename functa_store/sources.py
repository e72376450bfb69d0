"""What an archive offers so that it can become a functaset, and checks of it."""

import abc
import collections
import dataclasses
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from functa_store.domains import Domain
from functa_store.errors import ArchiveError, ConfigError, TooManyRejectsError
from functa_store.metrics import Metric, columns_of

SPLITS = ("train", "validation", "test")
PER_CHANNEL = ("units", "value_scale", "value_offset", "value_ranges")
MOST_NAME_BYTES = 200
"""Of a label: its name is that of a folder on a disk, which takes 255, and of objects in a bucket."""

LABEL_DTYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
LABEL_DTYPES += ("float16", "float32", "float64")

_NUM_NAMED = 5
_MOST_CHARACTERS = 1000


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
    """A member of an archive that was skipped, and why.

    Of either up to 1,000 characters are kept; what is no Unicode, as in a name of another encoding, is escaped.
    """

    member: str
    reason: str

    def __post_init__(self) -> None:
        for field in ("member", "reason"):
            text = str(getattr(self, field))[:_MOST_CHARACTERS].encode("utf-8", "backslashreplace").decode()
            object.__setattr__(self, field, text)


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

    domain: Domain
    features: FeatureSpec
    ids: Sequence[str]
    split: np.ndarray
    labels: Mapping[str, Label]
    rejects: Sequence[Reject]
    provenance: Mapping[str, Any]

    @abc.abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Raw values of one example, shape (*domain.observed, channels). Safe to call from threads.

        Raises:
            MemberError: If the member cannot be read.
        """
        ...


@runtime_checkable
class FileSource(Protocol):
    """What a source of files may have beside the methods of `Source`."""

    def check_unchanged(self) -> None:
        """Compare the archive's files with what they were when they were opened.

        Raises:
            ArchiveError: If one of them was changed, added or removed meanwhile.
        """
        ...


def check_unchanged(source: Source) -> None:
    """Refuse to complete a functaset of an archive that was changed while it was converted.

    Raises:
        ArchiveError: If it was, as far as the source can tell; see `FileSource`.
    """
    if isinstance(source, FileSource):
        source.check_unchanged()


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


def check_rejects(name: str, kind: str, rejects: Sequence[Reject], total: int, max_rejects: float) -> None:
    """Refuse an archive of which too much cannot be used.

    Args:
        name: The archive's.
        kind: What its members are, in the plural.
        rejects: Those that cannot be used, so far.
        total: How many there are.
        max_rejects: Fraction of them that may be rejected.

    Raises:
        TooManyRejectsError: If there are more; names the first ones with their reasons.
    """
    if len(rejects) > max_rejects * total:
        first = "; ".join(f"{r.member} {r.reason}" for r in rejects[:_NUM_NAMED])
        more = f"; and {len(rejects) - _NUM_NAMED} more" if len(rejects) > _NUM_NAMED else ""
        raise TooManyRejectsError(
            f"{name}: {len(rejects)} of {total} {kind} cannot be used so far, more than the {max_rejects:.1%} that "
            f"max_rejects allows: {first}{more}. Repair the archive or raise max_rejects."
        )


def check_source(source: Source) -> None:
    """Check what every conversion relies on.

    Raises:
        ArchiveError: If ids repeat, lengths or shapes differ, a label or the provenance cannot be
            stored, a split has no known name, or none is "train".
    """
    name, n = source.provenance["archive"], len(source.ids)
    if n == 0:
        first = "".join(f"; {r.member} {r.reason}" for r in source.rejects[:1])
        refused = f": {len(source.rejects)} were refused{first}. Repair it, or ask for less" if first else ""
        raise ArchiveError(f"{name}: no examples{refused or '; is this the right archive?'}")
    for k, example in enumerate(source.ids):
        if not isinstance(example, str) or not example or "\0" in example or not _is_unicode(example):
            raise ArchiveError(
                f"{name}: example {k} has the id {example!r:.200}, expected a text of Unicode characters without NUL; "
                "rename it"
            )
    (commonest, count), *_ = collections.Counter(source.ids).most_common(1)
    if count > 1:
        raise ArchiveError(f"{name}: {commonest!r} is the id of {count} examples; ids must be unique")
    lengths = {"split": len(source.split)} | {f"labels/{k}": len(v.values) for k, v in source.labels.items()}
    for what, length in lengths.items():
        if length != n:
            raise ArchiveError(f"{name}: {what} has {length} values for {n} examples")
    _check_labels(source)
    observed, found = source.domain.observed, source.read(0).shape
    expected = (*observed, source.domain.num_columns(source.features.num_channels))
    if found != expected:
        raise ArchiveError(f"{name}: the first example has shape {found}, expected (*observed, channels) = {expected}")
    unknown = set(np.unique(source.split)) - set(SPLITS)
    if unknown:
        raise ArchiveError(f"{name}: unknown splits {sorted(unknown)}, expected some of {SPLITS}")
    if "train" not in np.asarray(source.split):
        raise ArchiveError(
            f"{name}: none of {n} examples is in the split 'train', so there is nothing to learn from; "
            "take more examples, or another split"
        )


def name_problem(name: Any) -> str | None:
    """What keeps a label's name from being that of a Zarr array, and so of folders on disks and objects in buckets.

    Returns:
        In words; None if nothing does.
    """
    if not isinstance(name, str) or not name or not _is_unicode(name) or not name.isprintable():
        return f"has the name {name!r:.200}, expected printable Unicode characters"
    if name == "zarr.json" or name.startswith((".", "__")) or "/" in name or "\\" in name:
        return f"has the name {name!r:.200}, expected none with a slash or backslash, or that begins with . or __"
    if (length := len(name.encode())) > MOST_NAME_BYTES:
        return f"has a name of {length} bytes, expected at most {MOST_NAME_BYTES}: {name[:50]}..."
    return None


def label_problem(name: Any, label: Label) -> str | None:
    """What keeps a label from being stored, in words; None if nothing does."""
    if problem := name_problem(name):
        return problem
    if not isinstance(label.values, np.ndarray) or label.values.dtype.name not in LABEL_DTYPES:
        found = getattr(label.values, "dtype", type(label.values).__name__)
        return f"{name!r} has values of {found}, expected one of {', '.join(LABEL_DTYPES)}; give classes as integers"
    if label.names is not None and not all(isinstance(text, str) and _is_unicode(text) for text in label.names):
        return f"{name!r} has a class whose name is no Unicode text: {label.names!r:.200}"
    return None


def _check_labels(source: Source) -> None:
    name = source.provenance["archive"]
    for label, described in source.labels.items():
        if problem := label_problem(label, described):
            raise ArchiveError(f"{name}: a label {problem}")
    folded: dict[str, str] = {}
    for label in source.labels:
        if (other := folded.setdefault(unicodedata.normalize("NFC", label).casefold(), label)) != label:
            raise ArchiveError(
                f"{name}: labels {other!a} and {label!a} differ in their letters' case, or in how these are composed, "
                "alone, which is one folder on some disks; rename one of them"
            )
    try:
        json.dumps(dict(source.provenance), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ArchiveError(
            f"{name!r}: the archive's name and its provenance must hold plain, finite JSON values of Unicode text: "
            f"{error}"
        ) from error


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, as Python makes of a name in another encoding
        return False
    return True
