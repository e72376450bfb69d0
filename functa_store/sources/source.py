"""The Source protocol: what an archive offers so that it can become a functaset, and checks of it."""

import abc
import collections
import dataclasses
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, SupportsIndex, overload, runtime_checkable

import numpy as np

from functa_store.domains.domain import Domain
from functa_store.errors import ArchiveError, TooManyRejectsError
from functa_store.sources.augmentation import augmentation_problems, augmentations_of, originals_of
from functa_store.sources.features import FeatureSpec
from functa_store.sources.recognise import why_no_source
from functa_store.sources.splits import SPLITS
from functa_store.support.memory import row_blocks

MOST_NAME_BYTES = 200
"""Of a label: its name is that of a folder on a disk, which takes 255, and of objects in a bucket."""

LABEL_DTYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
LABEL_DTYPES += ("float16", "float32", "float64")

CLASS = "class"
"""What a label is called whose integers are classes, named or not."""

BY_FOLDERS = "folders"
"""Who gives a label that is told by names of folders, as `provenance["labels_by"]` says it, or how that begins."""

_NUM_NAMED = 5
_MOST_CHARACTERS = 1000


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


class NumberedIds(Sequence[str]):
    """Ids that are numbers, each made a text when it is asked for; ids of as many examples would take 60 bytes each.

    Args:
        numbers: One of each example, no two of them equal.
    """

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | list[str]:
        """One id, or several."""
        found = self._numbers[index]
        return [str(number) for number in found.tolist()] if isinstance(index, slice) else str(found)

    def __eq__(self, other: object) -> bool:
        """Whether the ids of another sequence are the same."""
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(other) == len(self) and all(one == another for one, another in zip(self, other, strict=True))


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

    A source some of whose examples are augmentations of others says so by an attribute `augmentations`, see
    `augmented`.
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


def check_source(source: Source, *, to_learn: bool = True) -> None:
    """Check what every conversion relies on.

    Args:
        source: The examples.
        to_learn: Whether a base is learned from it, which needs a split "train".

    Raises:
        ArchiveError: If it is no source, ids repeat, lengths or shapes differ, a label or the provenance cannot be
            stored, a split has no known name, or none is "train".
    """
    if (problem := why_no_source(source)) is not None:
        raise ArchiveError(problem)
    name, n = source.provenance["archive"], len(source.ids)
    if n == 0:
        first = "".join(f"; {r.member} {r.reason}" for r in source.rejects[:1])
        refused = f": {len(source.rejects)} were refused{first}. Repair it, or ask for less" if first else ""
        raise ArchiveError(f"{name}: no examples{refused or '; is this the right archive?'}")
    if not isinstance(source.ids, NumberedIds):
        _check_ids(name, source.ids)
    split = np.asarray(source.split)
    lengths = {"split": len(source.split)} | {f"labels/{k}": len(v.values) for k, v in source.labels.items()}
    for what, length in lengths.items():
        if length != n:
            raise ArchiveError(f"{name}: {what} has {length} values for {n} examples")
    _check_labels(source)
    if (augmentations := augmentations_of(source)) is not None:
        for problem in augmentation_problems(augmentations, split, _values(source.labels)):
            raise ArchiveError(f"{name}: {problem}")
    observed, found = source.domain.observed, source.read(0).shape
    expected = (*observed, source.domain.num_columns(source.features.num_channels))
    if found != expected:
        raise ArchiveError(f"{name}: the first example has shape {found}, expected (*observed, channels) = {expected}")
    unknown = set[str]().union(*(np.unique(split[rows]).tolist() for rows in row_blocks(n))) - set(SPLITS)
    if unknown:
        raise ArchiveError(f"{name}: unknown splits {sorted(unknown)}, expected some of {SPLITS}")
    if to_learn and "train" not in split:
        raise ArchiveError(
            f"{name}: none of {n} examples is in the split 'train', so there is nothing to learn from; "
            "take more examples, or another split"
        )


def _check_ids(name: str, ids: Sequence[str]) -> None:
    for k, example in enumerate(ids):
        if not isinstance(example, str) or not example or "\0" in example or not _is_unicode(example):
            raise ArchiveError(
                f"{name}: example {k} has the id {example!r:.200}, expected a text of Unicode characters without NUL; "
                "rename it"
            )
    (commonest, count), *_ = collections.Counter(ids).most_common(1)
    if count > 1:
        raise ArchiveError(f"{name}: {commonest!r} is the id of {count} examples; ids must be unique")


def name_problem(name: Any) -> str | None:
    """What keeps a label's name from being that of a Zarr array, and so of folders on disks and objects in buckets.

    This is the one rule of label names, for sources, converters and stores: 1 to 200 bytes of printable Unicode
    without a slash or backslash, which do not begin with "." or "__" and are not "zarr.json".

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


def _values(labels: Mapping[str, Label]) -> dict[str, np.ndarray]:
    return {name: label.values for name, label in labels.items()}


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


_MOST_CLASSES = 10


def origin(source: Source) -> str:
    """Where the splits and labels of a source come from, and how many examples each has, in one line.

    `split_rule` says it of splits, `provenance["labels_by"]` of each label; labels of few classes are counted. What is
    an augmentation is counted by itself.
    """
    own = originals_of(source)
    counted = ", ".join(f"{count:,} {name}" for name, count in counts(np.asarray(source.split)[own]).items())
    parts = [f"splits {split_rule(source.provenance) or 'of the source'}: {counted}"]
    if num_augmentations := len(source.ids) - len(own):
        parts.append(f"{num_augmentations:,} augmentations of train")
    by, plain = source.provenance.get("labels_by", {}), []
    for name, label in source.labels.items():
        if not (classes := class_counts(name, dataclasses.replace(label, values=label.values[own]))):
            plain.append(name)
            continue
        of = "" if label.names else "of "
        few = ", ".join(f"{count:,} {of}{text}" for text, count in list(classes.items())[:_MOST_CLASSES])
        more = f" and {len(classes) - _MOST_CLASSES} other classes" if len(classes) > _MOST_CLASSES else ""
        parts.append(f"label {name}{f' by {by[name]}' if name in by else ''}: {few}{more}")
    return "; ".join(parts + [f"label{'s' if ',' in told else ''} {told}" for told in labels_by(plain, by)])


def labelled_by(provenance: Mapping[str, Any], label: str) -> str:
    """Who gives a label, by the provenance of a source or a store; empty if that does not say it."""
    by = provenance.get("labels_by")
    return str(by.get(label, "")) if isinstance(by, Mapping) else ""


def labels_by(names: Iterable[str], by: Mapping[str, str]) -> list[str]:
    """Labels with who gives them, those of one giver together: "Bald, Smiling and 38 others by FILE".

    Args:
        names: Of the labels.
        by: Who gives each; some may be missing.
    """
    together: dict[str, list[str]] = {}
    for name in names:
        together.setdefault(by.get(name, ""), []).append(name)
    found = []
    for whence, given in together.items():
        others = f" and {len(given) - _MOST_CLASSES} others" if len(given) > _MOST_CLASSES else ""
        found.append(f"{', '.join(given[:_MOST_CLASSES])}{others}{f' by {whence}' if whence else ''}")
    return found


def split_rule(provenance: Mapping[str, Any]) -> str | None:
    """Who published splits, or the rule that held out examples, in words; None if a source does not say."""
    return provenance.get("split_rule") or provenance.get("split")


def counts(values: np.ndarray) -> dict[str, int]:
    """How often each value occurs."""
    names, numbers = np.unique(values, return_counts=True)
    return {str(name): int(number) for name, number in zip(names, numbers, strict=True)}


def class_counts(name: str, label: Label) -> dict[str, int]:
    """Examples of each class by its name, or by its number where a label is called `class` and its numbers have none.

    None for labels that are no classes.
    """
    if label.names is None and (name != CLASS or label.values.dtype.kind not in "iu"):
        return {}
    numbers, found = np.unique(label.values, return_counts=True)
    occurring = dict(zip(numbers.tolist(), found.tolist(), strict=True))
    if label.names is None:
        return {str(number): count for number, count in occurring.items()}
    return {text: occurring.get(number, 0) for number, text in enumerate(label.names)}
