"""Examples by number, of any data set at hand, as a source: what each becomes, and what is known of it as labels."""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageColor

from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.progress import Note, Report
from functa_store.sources.array_blocks import MOST_AXES
from functa_store.sources.array_source import ArraySource
from functa_store.sources.augmentation import WHOLE, Augmentation
from functa_store.sources.features import FeatureSpec
from functa_store.sources.label_values import label_of_values
from functa_store.sources.pictures import CHANNELS, READABLE_MODES, Mode, flat, square_pixels, upright
from functa_store.sources.source import Label, check_source, name_problem
from functa_store.sources.splits import check_holdout, hold_out_rule, hold_out_share, split_of_word, splits_of_words

_READ_TWICE = 8
_TIMES, _READS = 3, 24
_MOST_IMAGE_CHANNELS = 4
_GREY_MODES = ("1", "L", "LA", "La")
_FIRST = 100
_SAID = ("resolution", "crop", "mode", "background", "channels_axis", "value_range")
_COLOURS = {1: CHANNELS["grey"], 3: CHANNELS["rgb"], 4: (*CHANNELS["rgb"], "alpha")}


class Examples(NamedTuple):
    """Examples of one split.

    Attributes:
        word: The word for the split; None if nothing says it.
        read: Gives an example and what is known of it by name, by its number.
        size: How many there are.
    """

    word: str | None
    read: Callable[[int], tuple[Any, Mapping[str, Any]]]
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleForm:
    """What every example becomes.

    Attributes:
        resolution: Pixels per side of pictures; None takes the size of the first one, which all must have.
        crop: "square" or "none", or a fraction of the largest centred square, of pictures.
        mode: Of pictures: "rgb" or "grey"; None takes what the first one is.
        background: What shows through transparent pixels of pictures.
        channels_axis: Which axis of an array or tensor is the channels': "first", "last" or "none"; None takes the
            first one of tensors, the last one of arrays, if it has up to four, and none of examples with less than
            three axes.
        value_range: Values that become the features 0 and 1; None takes bytes as they are and expects [0, 1] of floats.
        size: Pixels per side that all pictures have, if nothing says to resize them.
        grey_alone: Whether pictures in colour are none, since the first one is grey and nothing says a mode.
    """

    resolution: int | None = None
    crop: str | float | int = "square"
    mode: Mode | None = None
    background: str = "white"
    channels_axis: str | None = None
    value_range: tuple[float | int, float | int] | None = None
    size: int | None = None
    grey_alone: bool = False

    def __post_init__(self) -> None:
        if self.resolution is not None and not (isinstance(self.resolution, int) and self.resolution > 0):
            raise ConfigError(f"resolution must be a positive whole number, got {self.resolution!r}")
        if self.crop not in ("square", "none") and (isinstance(self.crop, str) or not 0 < self.crop <= 1):
            raise ConfigError(f"crop must be 'square', 'none' or a fraction in (0, 1], got {self.crop!r}")
        if self.mode not in (None, *CHANNELS) or self.channels_axis not in (None, "first", "last", "none"):
            raise ConfigError(f"mode or channels_axis is none that is known: {self.mode!r}, {self.channels_axis!r}")
        try:
            ImageColor.getrgb(self.background)
        except ValueError as error:
            raise ConfigError(f"background must be a colour name or '#rrggbb', got {self.background!r}") from error

    @property
    def has_pictures(self) -> bool:
        """Whether examples are pictures, once that is decided."""
        return self.resolution is not None

    def decided_by(self, first: Any) -> "ExampleForm":
        """The form in which all that is left open is what the first example is.

        Raises:
            ArchiveError: If it can be no example, or its axes are not clear.
        """
        if isinstance(first, Image.Image):
            mode = self.mode or ("grey" if first.mode in _GREY_MODES else "rgb")
            width, height = upright(first).size
            if self.resolution is None and width != height:
                raise ConfigError(f"pictures of {width} x {height} are not square; say resolution=")
            size = width if self.resolution is None else None
            grey_alone = self.mode is None and mode == "grey"
            return dataclasses.replace(
                self, mode=mode, resolution=self.resolution or width, size=size, grey_alone=grey_alone
            )
        array = _as_array(first)
        if self.resolution is not None:
            raise ConfigError("resolution is for pictures, and examples are arrays; resize them in the data set")
        if self.channels_axis is not None:
            return self
        if array.ndim < 3:
            return dataclasses.replace(self, channels_axis="none")
        is_tensor = not isinstance(first, np.ndarray)
        axis, other = (0, -1) if is_tensor else (-1, 0)
        if array.ndim > 3 or array.shape[axis] > _MOST_IMAGE_CHANNELS:
            seems = ", and the other end may be that" if array.shape[other] <= _MOST_IMAGE_CHANNELS else ""
            raise ConfigError(
                f"examples have the shape {array.shape}, of which the {'first' if is_tensor else 'last'} axis does not "
                f"look like channels{seems}; say channels_axis='first', 'last' or 'none'"
            )
        return dataclasses.replace(self, channels_axis="first" if is_tensor else "last")

    def values(self, example: Any, part: Augmentation = WHOLE) -> np.ndarray:
        """An example, or a part of a picture, as an array, channels last.

        Raises:
            MemberError: If it cannot be one; the message is the reason alone.
        """
        if isinstance(example, Image.Image):
            return self._pixels(example, part)
        if self.has_pictures:
            raise MemberError(f"is {type(example).__name__}, but the first example is a picture")
        array = _as_array(example)
        if self.channels_axis == "none":
            return array[..., None]
        if array.ndim < 2:
            raise MemberError(f"has the shape {array.shape}, expected axes and channels")
        return np.moveaxis(array, 0, -1) if self.channels_axis == "first" else array

    def _pixels(self, image: Image.Image, part: Augmentation) -> np.ndarray:
        if self.mode is None or self.resolution is None:
            raise MemberError("is a picture, but the first example is none")
        if image.mode not in READABLE_MODES:
            raise MemberError(f"has colour mode {image.mode}, expected 8-bit grey, RGB or RGBA")
        if self.grey_alone and image.mode not in _GREY_MODES:
            raise MemberError(f"is {image.mode}, but the first picture is grey; say mode='rgb' or mode='grey' for all")
        turned = flat(upright(image), self.mode, self.background)
        if self.size is not None and turned.size != (self.size, self.size):
            raise MemberError(
                f"is {turned.size[0]} x {turned.size[1]}, expected {self.size} x {self.size} as the first one; say "
                "resolution= to resize all"
            )
        if self.crop == "none" and turned.size[0] != turned.size[1]:
            raise MemberError(f"is {turned.size[0]} x {turned.size[1]}, not square; choose crop='square'")
        return square_pixels(turned, self.resolution, self.crop, part)


def _as_array(example: Any) -> np.ndarray:
    """An array or tensor as numpy's."""
    if hasattr(example, "detach"):  # a tensor, which may be on a device
        example = example.detach().cpu()
        example = example.float() if str(example.dtype) == "torch.bfloat16" else example  # which numpy has not
    array = np.asarray(example)
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise MemberError(f"is {type(example).__name__} of {array.dtype}, expected a picture, a tensor or an array")
    return array


class ExampleValues:
    """Examples of several splits in a row as one array, read where it is indexed; see `array_blocks.ArrayLike`.

    Args:
        parts: The splits.
        form: What each example becomes, all of it decided.
        shape: Of an example.
        dtype: Of its numbers.
        lock: Held while an example is read, since data sets need not be safe to call from threads; None holds nothing.

    Attributes:
        shape: (examples, *that of one).
        dtype: See above.
        known: By name, what is known of each example; None of those that were not read or do not have it.
    """

    def __init__(
        self,
        parts: Sequence[Examples],
        form: ExampleForm,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        lock: Any,
    ) -> None:
        self._parts, self._form, self._lock = parts, form, lock
        self._stops = np.cumsum([part.size for part in parts])
        self.shape, self.dtype = (int(self._stops[-1]), *shape), dtype
        self.known: dict[str, list[Any]] = {}

    def __getitem__(self, key: slice) -> np.ndarray:
        """Some examples.

        Raises:
            MemberError: If one is not as the others; the data set may raise anything else.
        """
        found = np.stack([self.read(k) for k in range(*key.indices(self.shape[0]))])
        if self.dtype.kind == "f" and self._form.value_range is None:
            low, high = (float(ends.reduce(found, axis=None)) for ends in (np.fmin, np.fmax))
            if low < 0 or high > 1:
                raise MemberError(
                    f"goes from {low:.3g} to {high:.3g}, expected [0, 1]; leave a Normalize out of the data set's "
                    "transform, or say value_range=(low, high)"
                )
        return found

    def read(self, index: int, augmentation: Augmentation = WHOLE) -> np.ndarray:
        """One example, or a part of a picture, channels last; errors as above."""
        part = int(np.searchsorted(self._stops, index, side="right"))
        first = int(self._stops[part]) - self._parts[part].size
        if self._lock is None:
            example, known = self._parts[part].read(index - first)
        else:
            with self._lock:
                example, known = self._parts[part].read(index - first)
        for name, value in known.items():
            self.known.setdefault(name, [None] * self.shape[0])[index] = value
        values = self._form.values(example, augmentation)
        if values.shape != self.shape[1:]:
            raise MemberError(
                f"has the shape {values.shape} (channels last), expected {self.shape[1:]} as the first one"
            )
        if values.dtype != self.dtype:
            raise MemberError(f"holds {values.dtype}, expected {self.dtype} as the first one")
        return values


class DatasetSource(ArraySource):
    """The examples of a data set at hand; see `Source`. Its identity is the digest of all values.

    Args:
        parts: Examples by split, each read with what is known of it.
        form: What each example becomes.
        classes: Published names of classes by label.
        labels: Labels of all examples that are known beforehand.
        name: What provenance and errors call it.
        published_by: Who says splits, in words.
        by: Who gives labels, in words.
        holdout: Share that is held out where nothing says splits.
        limit: Examples at most, the first ones.
        max_rejects: Fraction of the examples that may be rejected.
        locked: Whether one thread at a time reads.
        report: Told how far the reading is.

    Attributes:
        has_pictures: Whether they are PIL pictures, which can be augmented.

    Raises:
        ArchiveError: If examples cannot be learned, or differ when they are read again.
    """

    values: ExampleValues

    def __init__(
        self,
        parts: Sequence[Examples],
        form: ExampleForm,
        *,
        classes: Mapping[str, Sequence[str]],
        labels: Mapping[str, Label] | None = None,
        name: str,
        published_by: str,
        by: str,
        holdout: float | None,
        limit: int | None,
        max_rejects: float | int,
        locked: bool,
        report: Report,
    ) -> None:
        parts = [part for part in parts if part.size]
        if not parts:
            raise ArchiveError(f"{name}: no examples; it is empty")
        check_holdout(holdout)
        split, rule = _split(name, parts, holdout, published_by)
        first, decided = _first(name, parts, form)
        values = ExampleValues(parts, decided, first.shape, first.dtype, threading.Lock() if locked else None)
        _check_repeats(name, values)
        self.has_pictures = decided.has_pictures
        super().__init__(
            values,
            channels_axis=-1,
            ids=[f"{part.word}/{k}" if part.word else str(k) for part in parts for k in range(part.size)],
            split=split,
            labels=labels or {},
            name=name,
            limit=limit,
            max_rejects=max_rejects,
            report=report,
            **_meaning(decided, first),
        )
        gathered = _gathered(name, values.known, self._rows, classes, report)
        self.labels = {**self.labels, **gathered}
        self.provenance = {
            **self.provenance,
            "split": rule,
            "labels_by": dict.fromkeys(self.labels, by),
            **{key: getattr(decided, key) for key in _SAID if getattr(decided, key) is not None},
        }
        check_source(self)

    def read_part(self, index: int, augmentation: Augmentation) -> np.ndarray:
        """Raw values of a part of one example, which must be a PIL picture; see `AugmentableSource.read_part`."""
        try:
            values = self.values.read(int(self._rows[index]), augmentation)
        except MemberError as error:
            raise MemberError(f"{self.provenance['archive']}/{self.ids[index]}: {error}") from error
        return values if self._scaling is None else self._scaling.raw(values)


def _first(name: str, parts: Sequence[Examples], form: ExampleForm) -> tuple[np.ndarray, ExampleForm]:
    """The values of the first example that can be read, and the form that it decides.

    Raises:
        ConfigError: If an option must say more.
        ArchiveError: If none of the first ones can be read.
    """
    problem = ""
    for part in parts:
        for index in range(min(part.size, _FIRST)):
            try:
                example, _ = part.read(index)
                decided = form.decided_by(example)
                return decided.values(example), decided
            except ConfigError as error:
                raise ConfigError(f"{name}: the first example: {error}") from error
            except MemberError as error:
                problem = problem or str(error)
            except Exception as error:  # of anybody's code
                problem = problem or f"cannot be read: {type(error).__name__}: {error}"
    raise ArchiveError(f"{name}: none of the first examples can be learned; the first one {problem}")


def _split(name: str, parts: Sequence[Examples], holdout: float | None, published_by: str) -> tuple[np.ndarray, str]:
    words, total = [part.word for part in parts], sum(part.size for part in parts)
    if holdout is not None and all(split_of_word(word or "") == "train" for word in words):
        return hold_out_share(total, holdout), f"a share of {holdout:g} held out, evenly"
    if None not in words:
        if holdout is not None:
            raise ConfigError(f"{name}: splits are {published_by}; leave out holdout={holdout}")
        if unknown := [word for word in words if word is not None and split_of_word(word) is None]:
            raise ConfigError(
                f"{name}: found the split {unknown[0]!r:.100}, expected train, validation or test; pass "
                "those that are meant as a dict by such names"
            )
        return np.repeat(splits_of_words(map(str, words)), [part.size for part in parts]), published_by
    return hold_out_share(total, holdout), hold_out_rule(share=holdout)


def _meaning(form: ExampleForm, first: np.ndarray) -> dict[str, Any]:
    """What numbers mean: colours of pictures and bytes, floats in [0, 1], or what a range spans."""
    channels = first.shape[-1]
    is_image = first.ndim == MOST_AXES and channels in _COLOURS
    names = _COLOURS[channels] if is_image else tuple(str(k) for k in range(channels))
    if form.value_range is None and first.dtype == np.uint8:
        return {"features": FeatureSpec(channels=names, scale=1 / 255)}
    if form.value_range is None and first.dtype.kind == "f":
        return {"features": FeatureSpec(channels=names)}
    return {"channels": names, "value_range": form.value_range}


def _check_repeats(name: str, values: ExampleValues) -> None:
    """Refuse a data set that gives something else when it is asked again, as one that augments at random does."""
    count = values.shape[0]
    for index in sorted({k * count // _READ_TWICE for k in range(_READ_TWICE)}):
        try:
            first, *again = [values.read(index) for _ in range(max(_TIMES, _READS // count))]
        except Exception:  # the survey says why
            continue
        if not all(np.array_equal(first, other, equal_nan=first.dtype.kind == "f") for other in again):
            raise ArchiveError(
                f"{name}: example {index} differs when it is read again, as with a transform that crops, flips or "
                "colours at random; pass the data set without it"
            )


def _gathered(
    name: str,
    known: Mapping[str, Sequence[Any]],
    rows: np.ndarray,
    classes: Mapping[str, Sequence[str]],
    report: Report,
) -> dict[str, Label]:
    """Labels of what was known of examples when they were read; notes what is none."""
    found: dict[str, Label] = {}
    for key, values_of_all in known.items():
        values = [values_of_all[row] for row in rows.tolist()]
        label = name_problem(key) or label_of_values(f"{name}: label {key}", values, classes.get(key))
        if isinstance(label, str):
            report(Note(message=f"{name}: {key!r} is no label, since it {label}"))
        else:
            found[key] = label
    return found
