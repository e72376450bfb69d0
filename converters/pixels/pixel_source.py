"""Pictures and volumes of one size, stored as bytes one after the other, as a source.

Expected result of its converters: one example per picture, in the archive's order and at its own size, so that bytes
stay what they are; published splits and labels.
"""

import dataclasses
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from converters.archives.archive import Archive
from converters.images.image_files import CHANNELS, ImageOptions, Mode
from converters.images.images import CELEBA_PRESETS
from converters.survey import provenance_of, published_split
from functa_store.config import ConvertConfig
from functa_store.domains.cells import CellGrid
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.plugins import Preset
from functa_store.progress import Report, Surveyed
from functa_store.sources.array_source import AXES
from functa_store.sources.augmentation import WHOLE, Augmentation
from functa_store.sources.augmented_source import AugmentOptions
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions, option
from functa_store.sources.pictures import flipped, part_pixels, square_pixels
from functa_store.sources.source import Label, Source, check_source
from functa_store.sources.splits import hold_out_every, hold_out_rule

PIXELS_FAST = Preset(
    summary="small pictures at their own size: the choices for images at 64x64, only a start",
    config=ConvertConfig(preset="pixels-fast"),
)

PIXELS_PRESETS = {"pixels-fast": PIXELS_FAST, **CELEBA_PRESETS}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelOptions(AugmentOptions):
    """What becomes of pictures that all have one size.

    Attributes:
        resolution: Pixels per side, if pictures are to be resized; None keeps them as they are.
        crop: "none" takes whole pictures, "square" the largest centred square, a fraction in (0, 1] that part of its
            side.
        mode: "rgb" or "grey" (luma after ITU-R BT.601); None keeps the channels of the archive.
    """

    resolution: int | None = None
    crop: str | int | float = "none"
    mode: Mode | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution is not None and self.resolution < 1:
            raise ConfigError(f"resolution must be at least 1, got {self.resolution}")
        self.window()
        if self.resolution is not None and self.resolution**2 > (most := ImageOptions.max_pixels):
            raise ConfigError(
                f"resolution={self.resolution} gives {self.resolution**2} pixels, expected at most {most}"
            )

    def window(self) -> str | float:
        """What `crop` means; see `ImageOptions.window`.

        Raises:
            ConfigError: If it means nothing.
        """
        return ImageOptions(crop=self.crop).window()


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberedOptions(PixelOptions):
    """What becomes of pictures that all have one size, and whose classes are numbers.

    Attributes:
        class_names: Names of the classes in the order of their numbers, or of labels of 0 and 1 in that of their
            columns.
    """

    class_names: tuple[str, ...] = option((), metavar="NAME,...")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Examples of an archive that follow each other.

    Attributes:
        name: Of the part; its examples have the ids NAME/00000, NAME/00001, ...
        count: How many there are.
        grid: Pixels along each axis of an example, (y, x) or (z, y, x).
        num_channels: 1 or 3.
        read: Gives the bytes of an example, shape (*grid, num_channels), by its number in the part.
        labels: Numbers of each example, by label.
        split: As published, or None.
    """

    name: str
    count: int
    grid: tuple[int, ...]
    num_channels: int
    read: Callable[[int], np.ndarray]
    labels: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    split: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Meaning:
    """What an archive says of its parts.

    Attributes:
        converter: Name of the converter.
        published_by: Who says splits, such as "published by files (test, train)".
        names: Of the classes of labels.
        labels_by: Who gives each label.
        facts: More for the provenance.
        unflipped: Why pictures are not flipped unless that is asked for, in words; empty where names of classes decide.
    """

    converter: str
    published_by: str
    names: Mapping[str, tuple[str, ...]]
    labels_by: Mapping[str, str]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unflipped: str = ""


class PixelSource(Source):
    """The examples of parts, one part after the other; see `functa_store.sources.source.Source`.

    Files were checked when they were opened: each has as many bytes as its examples need, so that none is a reject.

    Args:
        archive: Where the files are.
        parts: At least one, all of one grid and as many channels.
        meaning: What is known about them.
        options: What to make of each picture.
        limits: How much to take.
        report: Told how far it is.

    Raises:
        ConfigError: If pictures are to be resized that are volumes.
        ArchiveError: If parts do not fit each other, or a label is none of the classes that have names.
    """

    def __init__(
        self,
        archive: Archive,
        parts: Sequence[Part],
        meaning: Meaning,
        options: PixelOptions,
        limits: SurveyOptions,
        report: Report,
    ) -> None:
        self._archive, self._parts, self._options = archive, parts, options
        grid, num_channels = _one_shape(archive.name, parts)
        self._starts = np.cumsum([0, *(part.count for part in parts)])
        count = len(range(int(self._starts[-1]))[: limits.limit])
        self._resizes = _resizes(archive.name, grid, num_channels, options)
        self.ids = [f"{part.name}/{k:0{_digits(part)}}" for part in parts for k in range(part.count)][:count]
        published = _published(archive.name, parts)
        self.split = hold_out_every(count)
        if published is not None:
            self.split = published_split(archive.name, "image", published, np.arange(count))
        self.labels = _labels(archive.name, parts, meaning, self.ids, count)
        self.rejects, self.unflipped = [], meaning.unflipped
        channels = CHANNELS["rgb" if num_channels == 3 else "grey"] if options.mode is None else CHANNELS[options.mode]
        self.features = FeatureSpec(channels=channels, scale=1 / 255)
        self.domain = CellGrid(axes=AXES[len(grid)], resolution=grid)
        if self._resizes and count:
            self.domain = CellGrid(axes=("y", "x"), resolution=self.read(0).shape[:2])
        report(Surveyed(done=count, total=count, rejects=0))
        decided = {
            "split": hold_out_rule() if published is None else meaning.published_by,
            "labels_by": dict(meaning.labels_by),
        }
        read_as = provenance_of(archive, limits, options.to_plain(), decided, self.rejects)
        self.provenance = {**read_as, "converter": meaning.converter, **meaning.facts}
        check_source(self)

    def read(self, index: int) -> UInt8[np.ndarray, "*grid channel"]:
        """Pixels of one example, 0 to 255. Safe to call from threads.

        Raises:
            MemberError: If its file cannot be read any more.
        """
        return self.read_part(index, WHOLE)

    def read_part(self, index: int, augmentation: Augmentation) -> UInt8[np.ndarray, "*grid channel"]:
        """Pixels of a part of one example, which is a picture; see `AugmentableSource.read_part`."""
        number = int(np.searchsorted(self._starts, index, "right")) - 1
        part = self._parts[number]
        try:
            pixels = part.read(index - int(self._starts[number]))
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{self.ids[index]}: {error}") from error
        if self._resizes or not augmentation.is_whole:
            return _resized(pixels, self._options, augmentation)
        return flipped(pixels, augmentation) if augmentation.flip else pixels

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        self._archive.check_unchanged()


def class_names(texts: Sequence[str], where: str) -> tuple[str, ...]:
    """Names of classes, in the order of their numbers.

    Raises:
        ArchiveError: If one is there twice.
    """
    if repeated := [text for k, text in enumerate(texts) if text in texts[:k]]:
        raise ArchiveError(f"{where}: names the class {repeated[0]!r:.100} twice, expected different names")
    return tuple(texts)


def published_by_files(members: Iterable[str]) -> str:
    """Which files are splits, in the words of a source's provenance."""
    return f"published by files ({', '.join(sorted(map(posixpath.basename, members)))})"


def _digits(part: Part) -> int:
    return max(5, len(str(max(0, part.count - 1))))


def _one_shape(name: str, parts: Sequence[Part]) -> tuple[tuple[int, ...], int]:
    """The grid and channels that all parts have."""
    first = parts[0]
    for part in parts:
        if (part.grid, part.num_channels) != (first.grid, first.num_channels):
            raise ArchiveError(
                f"{name}: {part.name} has examples of {part.grid} pixels and {part.num_channels} channels, "
                f"{first.name} of {first.grid} and {first.num_channels}; convert them one by one"
            )
    return first.grid, first.num_channels


def _published(name: str, parts: Sequence[Part]) -> np.ndarray | None:
    """The split of each example, if parts are splits."""
    splits = [part.split for part in parts]
    if None not in splits:
        return np.repeat(np.array(splits, "U10"), [part.count for part in parts])
    if any(splits):
        odd = next(part.name for part in parts if part.split is None)
        raise ArchiveError(f"{name}: {odd} is named as no split, but other parts are; convert it by itself")
    return None


def _resizes(name: str, grid: tuple[int, ...], num_channels: int, options: PixelOptions) -> bool:
    """Whether anything is asked for that changes pixels."""
    window = options.window()
    if len(grid) != 2:
        if options.resolution is not None or window != "none" or options.mode not in (None, "grey"):
            raise ConfigError(
                f"{name}: resolution={options.resolution}, crop={options.crop!r} and mode={options.mode!r} are for "
                f"pictures, and this holds volumes of {grid} cells, which are kept as they are; leave them out, and "
                "take a preset without them"
            )
        return False
    if window == "none" and options.resolution is not None and grid[0] != grid[1]:
        raise ConfigError(f"{name}: pictures are {grid[1]} x {grid[0]}, not square; choose the crop 'square', too")
    keeps_size = options.resolution is None or grid == (options.resolution,) * 2
    keeps_crop = window == "none" or (window in ("square", 1.0) and grid[0] == grid[1])
    keeps_mode = options.mode is None or len(CHANNELS[options.mode]) == num_channels
    return not (keeps_size and keeps_crop and keeps_mode)


def _resized(
    pixels: UInt8[np.ndarray, "y x channel"], options: PixelOptions, part: Augmentation
) -> UInt8[np.ndarray, "rows columns new"]:
    """A part of a picture in the mode, cut and resized as options ask for."""
    image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0])
    if options.mode is not None:
        image = image.convert("RGB" if options.mode == "rgb" else "L")
    window = options.window()
    if window == "none" and options.resolution is None:
        return part_pixels(image, image.size, (0, 0, *image.size), part)
    return square_pixels(image, options.resolution, window, part)


def _labels(name: str, parts: Sequence[Part], meaning: Meaning, ids: Sequence[str], count: int) -> dict[str, Label]:
    if unlabelled := [label for label in meaning.names if not any(label in part.labels for part in parts)]:
        raise ArchiveError(f"{name}: has names of {unlabelled[0]}, but no labels; leave out class_names")
    labels = {}
    for label in {label: None for part in parts for label in part.labels}:
        if lacking := [part.name for part in parts if label not in part.labels]:
            raise ArchiveError(
                f"{name}: {lacking[0]} has no label {label}, but other parts have; fetch the whole archive"
            )
        values = np.concatenate(columns := [part.labels[label] for part in parts])
        if values.dtype.kind == "f" and any(
            (c.astype(values.dtype).astype(c.dtype) != c)[c == c].any() for c in columns
        ):
            types = ", ".join(f"{part.labels[label].dtype} of {part.name}" for part in parts)
            raise ArchiveError(f"{name}: {label} is {types}, which no type holds without rounding; save them as one")
        values = values[:count]
        names = meaning.names.get(label)
        if names is not None and values.dtype.kind == "f":
            if len(wrong := np.flatnonzero(values != np.floor(values))):  # NaN differs from itself
                k = int(wrong[0])
                raise ArchiveError(f"{name}: {ids[k]} has {label} {values[k]}, which numbers no class; leave out names")
            values = np.clip(values, -1, len(names)).astype(np.int64)
        if names is not None and len(wrong := np.flatnonzero((values < 0) | (values >= len(names)))):
            k = int(wrong[0])
            raise ArchiveError(
                f"{name}: {ids[k]} has {label} {values[k]}, expected 0 to {len(names) - 1}, since "
                f"{meaning.labels_by.get(label)} names {len(names)} classes; is the file damaged?"
            )
        labels[label] = Label(values=values, names=names)
    return labels
