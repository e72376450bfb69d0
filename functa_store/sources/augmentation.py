"""Augmentations of pictures: seeded flips and crops, and the rows of a functaset that are such of other rows."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from functa_store.errors import ArchiveError

AugmentFlip = Literal["auto", "horizontal", "none"]

PARAMETERS: Mapping[str, str] = {"flip": "bool", "top": "float32", "left": "float32", "side": "float32"}
"""What says how each row was made, and the type of its numbers."""

OF = "augmentation_of"
ARRAYS: Mapping[str, str] = {OF: "int64"} | {f"augmentation_{name}": dtype for name, dtype in PARAMETERS.items()}
"""What a store's arrays of augmentations are called, and their types."""

Box = tuple[float | int, float | int, float | int, float | int]
"""Left, upper, right and lower edge in pixels."""

_OF_A_DRAW = 2.0**-64
_ROUNDING = 1e-6


class Augmentation(NamedTuple):
    """What is taken of a picture's window (that of the option `crop`) and how.

    Attributes:
        flip: Whether left and right are exchanged, once the part is cut out.
        top: Upper edge of the part, as a fraction of the window's height.
        left: Its left edge, as a fraction of the width.
        side: Its height and width, as fractions of the window's.
    """

    flip: bool = False
    top: float = 0.0
    left: float = 0.0
    side: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether the part is the whole window."""
        return (self.top, self.left, self.side) == (0.0, 0.0, 1.0)

    def within(self, window: Box) -> Box:
        """The part of a window, at fractions of pixels."""
        if self.is_whole:
            return window
        left, upper, right, lower = window
        width, height = right - left, lower - upper
        new_left, new_upper = left + self.left * width, upper + self.top * height
        return new_left, new_upper, min(right, new_left + self.side * width), min(lower, new_upper + self.side * height)


WHOLE = Augmentation()
"""A whole window as it is, which originals are."""


def draw(
    seed: int, examples: Iterable[str], num: int, *, flips: bool, smallest: float
) -> dict[str, Shaped[np.ndarray, " augmentation"]]:
    """Augmentations that ids, their numbers and a seed decide, on every machine; those of one example together.

    The four quarters of the SHA-256 of the text "SEED/NUMBER/ID" are read as little-endian integers and divided by
    2**64: whether to flip (below one half, and whenever `smallest` is 1), the side, evenly from `smallest` to 1, and
    the upper and the left edge, evenly over where a part of that side lies inside the window. Fractions are rounded to
    float32, as they are stored.

    Args:
        seed: At least 0.
        examples: Ids of the originals.
        num: Augmentations of each, numbered from 1.
        flips: Whether half of them are flipped: all of them, if they are not cropped.
        smallest: Of the sides, above 0 and at most 1.

    Returns:
        The arrays of `PARAMETERS`.
    """
    texts = (f"{seed}/{number}/{example}" for example in examples for number in range(1, num + 1))
    digests = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
    flip, side, top, left = np.frombuffer(digests, "<u8").reshape(-1, 4).T * _OF_A_DRAW
    share = (smallest + (1 - smallest) * side).astype(np.float32)
    room = 1 - share.astype(np.float64)
    return {
        "flip": ((flip < 0.5) | (smallest == 1)) & flips,
        "top": (top * room).astype(np.float32),
        "left": (left * room).astype(np.float32),
        "side": share,
    }


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Augmentations:
    """Which examples are augmentations of which, and how they were made. All arrays have one value per example.

    `augmentation_problems` checks them.

    Attributes:
        of: Row of the original, int64; that of the example itself if it is one.
        flip: See `Augmentation`, bool; False of originals.
        top: The same, float32; 0 of originals.
        left: The same, float32; 0 of originals.
        side: The same, float32; 1 of originals.
    """

    of: np.ndarray
    flip: np.ndarray
    top: np.ndarray
    left: np.ndarray
    side: np.ndarray

    def __len__(self) -> int:
        return len(self.of)

    def __getitem__(self, row: int) -> Augmentation:
        """How one example was made."""
        return Augmentation(bool(self.flip[row]), float(self.top[row]), float(self.left[row]), float(self.side[row]))

    @property
    def are_originals(self) -> Bool[np.ndarray, " example"]:
        """Which examples are none."""
        return self.of == np.arange(len(self.of))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All of them by the names in `ARRAYS`."""
        return {name: getattr(self, name.removeprefix("augmentation_")) for name in ARRAYS}


def augmentations_of(source: Any) -> Augmentations | None:
    """Which examples of a source are augmentations; None if none is.

    Raises:
        ArchiveError: If it says so by an object of another type.
    """
    found = getattr(source, "augmentations", None)
    if found is None or isinstance(found, Augmentations):
        return found
    raise ArchiveError(
        f"{source.provenance['archive']}: its attribute augmentations is {type(found).__name__}, expected "
        "Augmentations or None"
    )


def originals_of(source: Any) -> np.ndarray:
    """Rows of a source's examples that are no augmentations, ascending."""
    found = augmentations_of(source)
    return np.arange(len(source.ids)) if found is None else np.flatnonzero(found.are_originals)


def originals_problem(of: np.ndarray, count: int) -> str | None:
    """What keeps an array from saying the original of each of so many examples, in words; None if nothing does."""
    if of.shape != (count,) or of.dtype != np.int64:
        return f"augmentation_of is {of.dtype} of shape {of.shape}, expected int64 of shape ({count},)"
    if len(wrong := np.flatnonzero((of < 0) | (of >= count))):
        return f"augmentation_of of example {wrong[0]} is {of[wrong[0]]}, expected 0 to {count - 1}"
    if len(wrong := np.flatnonzero(of[of] != of)):
        return f"example {wrong[0]} is an augmentation of {of[wrong[0]]}, which is itself one of {of[of[wrong[0]]]}"
    return None


def augmentation_problems(found: Augmentations, split: np.ndarray, labels: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What contradicts itself about augmentations, in words.

    Args:
        found: They.
        split: The split of each example.
        labels: The values of each label by its name.
    """
    if problem := originals_problem(found.of, len(split)):
        yield problem
        return
    for name, dtype in PARAMETERS.items():
        values = getattr(found, name)
        if values.shape != found.of.shape or values.dtype != dtype:
            yield f"augmentation_{name} is {values.dtype} of shape {values.shape}, expected {dtype} of {found.of.shape}"
            return
    top, left, side = (np.asarray(array, np.float64) for array in (found.top, found.left, found.side))
    inside = (side > 0) & (top >= 0) & (left >= 0) & (np.maximum(top, left) + side <= 1 + _ROUNDING)
    if len(wrong := np.flatnonzero(~inside)):  # what is no number is not inside either
        yield f"example {wrong[0]} is a part that is not inside its picture: {found[int(wrong[0])]}"
    own = found.are_originals
    if len(wrong := np.flatnonzero(own & (found.flip | (top != 0) | (left != 0) | (side != 1)))):
        yield f"example {wrong[0]} is an original, but flipped or cropped: {found[int(wrong[0])]}"
    rows = np.flatnonzero(~own)
    if len(wrong := rows[split[rows] != split[found.of[rows]]]):
        row, original = wrong[0], found.of[wrong[0]]
        yield f"example {row} is of the split {split[row]}, but its original {original} of {split[original]}"
    if len(wrong := rows[split[rows] != "train"]):
        yield f"example {wrong[0]} is an augmentation in the split {split[wrong[0]]}, expected train alone"
    for name, values in labels.items():
        here, there = values[rows], values[found.of[rows]]
        if len(wrong := rows[(here != there) & ((here == here) | (there == there))]):
            row, original = wrong[0], found.of[wrong[0]]
            yield f"example {row} has the label {name} {values[row]}, but its original {original} {values[original]}"
    if own.all():
        yield "no example is an augmentation, so that nothing is to be said of augmentations"
    if len(wrong := np.flatnonzero(own & (np.cumsum(~own) > 0))):
        yield f"example {wrong[0]} is an original behind an augmentation, expected all originals first"
