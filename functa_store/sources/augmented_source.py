"""Pictures of a source and seeded augmentations of those of its training split, each an example of its own."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from functa_store.config import MOST_INTEGER
from functa_store.errors import ArchiveError, ConfigError
from functa_store.progress import Note, Report, silent
from functa_store.sources.augmentation import PARAMETERS, WHOLE, Augmentation, Augmentations, AugmentFlip, draw
from functa_store.sources.options import ArchiveOptions
from functa_store.sources.source import Label, Source, check_source, check_unchanged

_OPTIONS = ("augment", "augment_flip", "augment_crop", "augment_seed")
_MOST_AUGMENTATIONS = 1000

# Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks", section 4.1:
# crops of 224 from 256 pixels, and their reflections; of CIFAR's 32 pixels that is 28.
_SMALLEST_CROP = 0.875

_ONE_CHARACTER = re.compile(r"\w( - .*)?")  # also as torchvision calls the digits, "0 - zero"
_SIDES = re.compile(r"(?:^|[^a-z])(left|right)(?:$|[^a-z])", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentOptions(ArchiveOptions):
    """Which augmentations of training pictures become examples, too.

    Attributes:
        augment: Augmentations of each picture of the split "train", at most 1,000; each becomes an example of its own.
        augment_flip: "horizontal" flips half of them, "none" none; "auto" flips unless names of classes say that left
            and right differ: single characters, such as digits, or these words.
        augment_crop: Smallest share of the window's side that a random square crop keeps, in (0, 1]; 1 crops none.
            0.875 is that of AlexNet, 224 of 256 pixels.
        augment_seed: Decides which ones, together with each example's id.
    """

    augment: int = 0
    augment_flip: AugmentFlip = "auto"
    augment_crop: float | int = _SMALLEST_CROP
    augment_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.augment <= _MOST_AUGMENTATIONS:
            raise ConfigError(f"augment must be from 0 to {_MOST_AUGMENTATIONS}, got {self.augment}")
        if not 0 < self.augment_crop <= 1:
            raise ConfigError(f"augment_crop must be a share in (0, 1], got {self.augment_crop}")
        if self.augment_seed < 0:
            raise ConfigError(f"augment_seed must be from 0 to {MOST_INTEGER - 1}, got {self.augment_seed}")
        usual = {name: type(self).__dataclass_fields__[name].default for name in _OPTIONS}
        if not self.augment and (given := [name for name in _OPTIONS if getattr(self, name) != usual[name]]):
            raise ConfigError(f"{given[0]}={getattr(self, given[0])!r} needs augment=K, how many of each picture")
        if self.augment and self.augment_flip == "none" and self.augment_crop == 1:
            raise ConfigError(
                f"augment={self.augment} would give copies alone, since augment_flip='none' and augment_crop=1; "
                "give augment_crop below 1"
            )

    def to_plain(self) -> dict[str, Any]:
        """See `ArchiveOptions.to_plain`; without augmentations nothing is said of them."""
        found = super().to_plain()
        return found if self.augment else {name: value for name, value in found.items() if name not in _OPTIONS}

    def augmented(self, source: Source, report: Report) -> Source:
        """The source with the augmentations asked for: itself if there are none; errors as of `augmented`."""
        return source if not self.augment else AugmentedSource(source, AugmentOptions.of(**self._own()), report)

    def _own(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _OPTIONS}


@runtime_checkable
class AugmentableSource(Protocol):
    """What a source of pictures has beside the methods of `Source`, so that it can be augmented."""

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
    its id and the seed alone.

    Args:
        source: Pictures of a converter, or of `from_torch`, `from_huggingface` or `from_tfds`.
        num: Augmentations of each, 1 to 1,000.
        flip: "horizontal" flips half of them, "none" none; "auto" flips unless names of classes say that left and right
            differ: single characters, such as digits, or these words.
        crop: Smallest share of the side that a random square crop keeps, in (0, 1]; 1 crops none.
        seed: Decides which ones, at least 0 and below 2**32.
        report: Told of what the names of classes decide.

    Returns:
        The new source. Its attribute `augmentations` says which row is one of which other row, and how it was made.

    Raises:
        ConfigError: If a number is out of range, or its examples are no pictures.
        ArchiveError: If an example's id is that of an augmentation.
    """
    if not num:
        raise ConfigError(f"num must be from 1 to {_MOST_AUGMENTATIONS}, got {num}")
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
        name = source.provenance["archive"]
        if not isinstance(source, AugmentableSource) or len(source.domain.axes) != 2:
            what = f"{len(source.domain.axes)} axes" if isinstance(source, AugmentableSource) else "no pictures"
            raise ConfigError(f"{name}: augment={options.augment} is for pictures, and examples have {what}")
        self._source, self._pictures, num = source, source, options.augment
        flip = options.augment_flip
        if flip == "auto":
            flip, why = _flip_by_classes(source.labels)
            if why:
                report(Note(message=f"{name}: augmentations are not flipped, since {why}; --augment-flip flips them"))
        if flip == "none" and options.augment_crop == 1:
            raise ConfigError(f"{name}: augmentations that are neither flipped nor cropped are copies; give a crop")
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
        self.provenance = {**source.provenance, **{option: decided[option] for option in _OPTIONS}}
        check_source(self)
        if len(train):
            self.read(count)  # better refused now

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example; see `Source.read`."""
        if index < self._num_originals:
            return self._source.read(index)
        return self._pictures.read_part(int(self.augmentations.of[index]), self.augmentations[index])

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        check_unchanged(self._source)


def _flip_by_classes(labels: Mapping[str, Label]) -> tuple[AugmentFlip, str]:
    """Whether pictures may be flipped by what their classes are called, and why not, in words."""
    for name, label in labels.items():
        texts = label.names or ()
        if len(texts) > 1 and all(map(_ONE_CHARACTER.fullmatch, texts)):
            return "none", f"the classes of {name} are single characters, such as {texts[0]!r}"
        if sided := next((text for text in (name, *texts) if _SIDES.search(text)), None):
            return "none", f"{sided!r} of the label {name} tells left from right"
    return "horizontal", ""


def _new_ids(name: str, ids: Sequence[str], train: np.ndarray, num: int) -> list[str]:
    found = [f"{ids[row]}~{k}" for row in train for k in range(1, num + 1)]
    if taken := set(ids).intersection(found):
        example = min(taken)
        raise ArchiveError(
            f"{name}: {example!r} is the id of an example, and that of augmentation {example.rpartition('~')[2]} of "
            f"{example.rpartition('~')[0]!r}; rename it, or leave out augment={num}"
        )
    return found
