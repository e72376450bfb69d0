"""Pictures of a source and seeded augmentations of those of its training split, each an example of its own."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from functa_store.config import MOST_INTEGER
from functa_store.errors import ArchiveError, ConfigError
from functa_store.progress import Note, Report, silent
from functa_store.sources.augmentation import (
    PARAMETERS,
    WHOLE,
    Augmentation,
    Augmentations,
    AugmentFlip,
    augmentations_of,
    draw,
)
from functa_store.sources.options import ArchiveOptions, checked
from functa_store.sources.source import Label, Source, check_source, check_unchanged

OPTIONS = ("augment", "augment_flip", "augment_crop", "augment_seed")
"""Names of the options of augmentations."""

_PARAMETERS = ("num", "flip", "crop", "seed")
_MOST_AUGMENTATIONS = 1000

# Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks", section 4.1:
# crops of 224 from 256 pixels, and their reflections; of CIFAR's 32 pixels that is 28.
_SMALLEST_CROP = 0.875

_ONE_CHARACTER = re.compile(r"\w( - .*)?")  # also as torchvision calls the digits, "0 - zero"
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # turnLeft, left_eye
_SIDES = {"left", "right"}
_INITIALS = re.compile(r"(?<![A-Z0-9])[LR](?![A-Za-z0-9])|[ _.-][lr]$")  # eye_L, eyeR, L eye, eye-r


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentOptions(ArchiveOptions):
    """Which augmentations of training pictures become examples, too.

    Attributes:
        augment: Augmentations of each picture of the split "train", at most 1,000; each becomes an example of its own.
        augment_flip: "horizontal" flips half of them, "none" none; "auto" flips unless classes are numbers, or their
            names say that left and right differ: single characters, such as digits, these words, or L and R.
        augment_crop: Smallest share of the window's side that a random square crop keeps, in (0, 1]; 0.875 is that of
            AlexNet, 224 of 256 pixels. 1 crops none: the only augmentation is the mirrored picture then, for augment=1.
        augment_seed: Decides which ones, together with each example's id.
    """

    augment: int = 0
    augment_flip: AugmentFlip = "auto"
    augment_crop: float | int = _SMALLEST_CROP
    augment_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(0, self.augment, self.augment_flip, self.augment_crop, self.augment_seed, OPTIONS)
        usual = {name: type(self).__dataclass_fields__[name].default for name in OPTIONS}
        if not self.augment and (given := [name for name in OPTIONS if getattr(self, name) != usual[name]]):
            raise ConfigError(f"{given[0]}={getattr(self, given[0])!r} needs augment=K, how many of each picture")

    def to_plain(self) -> dict[str, Any]:
        """See `ArchiveOptions.to_plain`; without augmentations nothing is said of them."""
        found = super().to_plain()
        return found if self.augment else {name: value for name, value in found.items() if name not in OPTIONS}

    def augmented(self, source: Source, report: Report) -> Source:
        """The source with the augmentations asked for: itself if there are none; errors as of `augmented`."""
        own = {name: getattr(self, name) for name in OPTIONS}
        return source if not self.augment else AugmentedSource(source, AugmentOptions(**own), report)


def _check(
    least: int, num: int, flip: AugmentFlip, crop: float | int, seed: int, names: tuple[str, str, str, str]
) -> None:
    """Refuse numbers that are out of range or would give copies, calling them by some names.

    Raises:
        ConfigError: If one of them is.
    """
    if not least <= num <= _MOST_AUGMENTATIONS:
        raise ConfigError(f"{names[0]} must be from {least} to {_MOST_AUGMENTATIONS}, got {num}")
    if not 0 < crop <= 1:
        raise ConfigError(f"{names[2]} must be a share in (0, 1], got {crop}")
    if not 0 <= seed < MOST_INTEGER:
        raise ConfigError(f"{names[3]} must be from 0 to {MOST_INTEGER - 1}, got {seed}")
    if num and crop == 1 and (num > 1 or flip == "none"):
        raise ConfigError(
            f"{names[0]}={num} with {names[1]}={flip!r} and {names[2]}=1 would give copies: without crops a picture "
            f"has one other version, the mirrored one; give a {names[2]} below 1, or {names[0]}=1 with "
            f"{names[1]}='horizontal'"
        )


@runtime_checkable
class AugmentableSource(Source, Protocol):
    """What a source of pictures has beside the methods of `Source`, so that it can be augmented.

    It may have two attributes more: `has_pictures`, False where its examples are none after all, and `unflipped`, which
    says in words why its pictures are not flipped unless that is asked for.
    """

    def read_part(self, index: int, augmentation: Augmentation) -> np.ndarray:
        """Raw values of a part of one example, in the shape of a whole one. Safe to call from threads.

        Where pictures are resized, the part is taken of what is resized, so that it is as sharp as can be.

        Raises:
            MemberError: If the member cannot be read.
        """
        ...


def augmented(
    source: Source,
    num: int,
    *,
    flip: AugmentFlip = "auto",
    crop: float | int = _SMALLEST_CROP,
    seed: int = 0,
    report: Report = silent,
) -> Source:
    """A source with augmentations of its training pictures, as `functa convert ... --augment NUM` has them.

    The examples of the source keep their rows and ids. Behind them follow `num` augmentations of each one of the split
    "train", with the ids "ID~1", "ID~2", ... and the labels of their originals. An example's augmentations depend on
    its id and these arguments alone; with flip="auto", also on whether anything says that left and right differ.

    Args:
        source: Pictures of a converter, or of `from_torch`, `from_huggingface` or `from_tfds`.
        num: Augmentations of each, 1 to 1,000.
        flip: "horizontal" flips half of them, "none" none; "auto" flips unless classes are numbers (`open_mnist`,
            `open_medmnist`), or their names say that left and right differ: single characters, such as digits, these
            words, or L and R.
        crop: Smallest share of the side that a random square crop keeps, in (0, 1]; 1 crops none, and gives the
            mirrored picture for num=1.
        seed: Decides which ones, at least 0 and below 2**32.
        report: Told of what "auto" decides.

    Returns:
        The new source. Its attribute `augmentations` says which row is one of which other row, and how it was made.

    Raises:
        ConfigError: If a number is out of range, there would be copies, the source has augmentations already, or its
            examples are no pictures.
        ArchiveError: If an example's id is that of an augmentation.
    """
    num, flip = checked("num", int, num), checked("flip", AugmentFlip, flip)
    crop, seed = checked("crop", float | int, crop), checked("seed", int, seed)
    _check(1, num, flip, crop, seed, _PARAMETERS)
    options = AugmentOptions(augment=num, augment_flip=flip, augment_crop=crop, augment_seed=seed)
    return options.augmented(source, report)


class AugmentedSource(Source):
    """A source followed by augmentations of its training pictures, those of one picture together; see `augmented`.

    Args:
        source: The originals.
        options: Which augmentations, at least one.
        report: Told of what the names of classes decide.

    Attributes:
        augmentations: Which row is one of which, and how it was made.
    """

    def __init__(self, source: Source, options: AugmentOptions, report: Report) -> None:
        name, num, flip = source.provenance["archive"], options.augment, options.augment_flip
        if augmentations_of(source) is not None:
            raise ConfigError(f"{name}: has augmentations already; augment the source that these were made of")
        if not isinstance(source, AugmentableSource) or not getattr(source, "has_pictures", True):
            raise ConfigError(f"{name}: augmentations are made of pictures, and examples are no pictures")
        if (axes := len(source.domain.axes)) != 2:
            raise ConfigError(f"{name}: augmentations are made of pictures, and examples have {axes} axes")
        self._pictures = source
        if flip == "auto":
            flip, why = _decide_flip(source, options.augment_crop == 1)
            report(Note(message=f"{name}: {why}"))
        _check(1, num, flip, options.augment_crop, options.augment_seed, OPTIONS)
        count, train = len(source.ids), np.flatnonzero(np.asarray(source.split) == "train")
        self._num_originals = count
        rows = np.concatenate([np.arange(count), np.repeat(train, num)])
        self.ids = [*source.ids, *_new_ids(name, source.ids, train, num)]
        smallest, originals = float(options.augment_crop), (source.ids[row] for row in train.tolist())
        drawn = draw(options.augment_seed, originals, num, flips=flip == "horizontal", smallest=smallest)
        whole = {name: np.full(count, getattr(WHOLE, name), dtype) for name, dtype in PARAMETERS.items()}
        parameters = {name: np.concatenate([whole[name], drawn[name]]) for name in PARAMETERS}
        self.augmentations = Augmentations(of=rows.astype(np.int64), **parameters)
        self.domain, self.features, self.rejects = source.domain, source.features, source.rejects
        self.split = np.asarray(source.split)[rows]
        self.labels = {k: dataclasses.replace(label, values=label.values[rows]) for k, label in source.labels.items()}
        decided = dataclasses.asdict(options) | {"augment_flip": flip}
        self.provenance = {**source.provenance, **{option: decided[option] for option in OPTIONS}}
        check_source(self)

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example; see `Source.read`."""
        if index < self._num_originals:
            return self._pictures.read(index)
        return self._pictures.read_part(int(self.augmentations.of[index]), self.augmentations[index])

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        check_unchanged(self._pictures)


def _decide_flip(source: Source, are_whole: bool) -> tuple[AugmentFlip, str]:
    """Whether pictures are flipped if nobody says so, and a note on it; of whole ones, all are."""
    if why := getattr(source, "unflipped", "") or _sided(source.labels):
        return "none", f"augmentations are not flipped, since {why}; --augment-flip horizontal flips them"
    said = "no name of a class tells left from right" if source.labels else "there are no classes"
    which = "all augmentations" if are_whole else "half of the augmentations"
    return "horizontal", f"{which} are flipped, since {said}; --augment-flip none flips none"


def _sided(labels: Mapping[str, Label]) -> str:
    """Why names of labels and classes say that left and right differ, in words; empty if they do not."""
    for name, label in labels.items():
        texts = label.names or ()
        if texts and all(map(_ONE_CHARACTER.fullmatch, texts)):
            return f"the classes of {name} are single characters, such as {texts[0]!r}"
        if sided := next((text for text in (name, *texts) if _has_side(text)), None):
            return f"{sided!r} of the label {name} tells left from right"
    return ""


def _has_side(text: str) -> bool:
    """Whether a name has one of the words "left" and "right", or their initials beside other letters."""
    is_word = any(word.lower() in _SIDES for word in _WORDS.findall(text))
    return is_word or (len(text) > 1 and _INITIALS.search(text) is not None)


def _new_ids(name: str, ids: Sequence[str], train: np.ndarray, num: int) -> list[str]:
    found = [f"{ids[row]}~{k}" for row in train for k in range(1, num + 1)]
    if taken := set(ids).intersection(found):
        example = min(taken)
        raise ArchiveError(
            f"{name}: {example!r} is the id of an example, and that of augmentation {example.rpartition('~')[2]} of "
            f"{example.rpartition('~')[0]!r}; rename it, or leave out augment={num}"
        )
    return found
