"""Images of any folder, zip or tar as a source, the converter of such archives, and its presets.

Expected result of the converter: one example per JPEG, PNG or WebP image, in the order of sorted names. Top-level
folders named train, validation (val, valid) and test are the splits; without them every tenth example is held out.
Images in more than one folder get a label `class` with the folders' names.
"""

import collections
import dataclasses
import functools
import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from converters.archives.archive import Archive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.archives.listing import has_suffix, not_wanted, nothing_to_convert
from converters.archives.many_archives import PACKED_SUFFIXES, open_archives, told_by
from converters.archives.memory_share import room
from converters.folders import FolderLayout
from converters.images.image_files import (
    CHANNELS,
    IMAGE_SUFFIXES,
    ImageOptions,
    read_image,
)
from converters.label_tables import check_agreement, read_label_table
from converters.masks import masks_beside
from converters.survey import (
    Survey,
    in_threads,
    provenance_of,
    published_split,
    survey,
)
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.domains.cells import CellGrid
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.plugins import Converter, Preset, paper_loops
from functa_store.progress import Note, Report, silent
from functa_store.sources.augmentation import WHOLE, Augmentation
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions, option, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import (
    BY_FOLDERS,
    Label,
    Reject,
    Source,
    check_source,
)
from functa_store.sources.splits import (
    check_holdout,
    hold_out_rule,
    hold_out_share,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What an archive says about its images before any is read; arrays follow `images`.

    Attributes:
        images: Members that are images, sorted.
        labels: Named labels.
        published: Split of each image as published, or None.
        published_by: Who says so, such as "published by folders (test, train)".
        labels_by: Who gives each label, such as {"class": "folders"}.
        rule: Split of so many examples if none is published.
        rule_name: The rule in words.
        facts: More for the provenance.
        label_files: Base names of members that are no images but are read otherwise.
        left_out: Images that are not taken, and why.
        ids: Of the examples, if they are not the names of the images.
    """

    images: Sequence[str]
    labels: Mapping[str, Label]
    published: np.ndarray | None
    published_by: str
    labels_by: Mapping[str, str]
    rule: Callable[[int], np.ndarray]
    rule_name: str
    facts: Mapping[str, Any]
    label_files: Sequence[str] = ()
    left_out: Sequence[Reject] = ()
    ids: Sequence[str] | None = None


class ImageSource(Source):
    """The images of an archive; see `functa_store.sources.source.Source`.

    Every image is read once here, in a few threads, so that damage shows before hours of
    learning. Features are sRGB values in [0, 1].

    Args:
        archive: Where the images are.
        catalogue: What is known about them.
        options: What to make of each image.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more images cannot be read than `limits` allow.
        ArchiveError: If nothing is left to learn from.
    """

    def __init__(
        self, archive: Archive, catalogue: Catalogue, options: ImageOptions, limits: SurveyOptions, report: Report
    ) -> None:
        self._archive, self._options = archive, options
        found = _survey_images(archive, catalogue.images, options, limits, report)
        keep = found.kept
        self.rejects = found.rejects
        if limits.limit is None:
            self.rejects += [*catalogue.left_out, *_no_images(archive, catalogue)]
        for reason, count in collections.Counter(reject.reason for reject in catalogue.left_out).items():
            report(Note(message=f"{archive.name}: {count:,} images are left out, since each {reason}"))
        channels = CHANNELS[options.mode]
        self.domain = CellGrid(axes=("y", "x"), resolution=(options.resolution,) * 2)
        self.features = FeatureSpec(channels=channels, scale=1 / 255)
        self._members = [catalogue.images[int(k)] for k in keep]
        self.ids = self._members if catalogue.ids is None else [catalogue.ids[int(k)] for k in keep]
        self.split = _split(archive.name, catalogue, keep)
        self.labels = {k: dataclasses.replace(v, values=v.values[keep]) for k, v in catalogue.labels.items()}
        read_as = {**options.to_plain(), "crop": options.window()}
        decided = {
            "split": catalogue.rule_name if catalogue.published is None else catalogue.published_by,
            "labels_by": dict(catalogue.labels_by),
        }
        self.provenance = {**provenance_of(archive, limits, read_as, decided, self.rejects), **catalogue.facts}
        check_source(self)

    def read(self, index: int) -> UInt8[np.ndarray, "y x channel"]:
        """Pixels of one example, 0 to 255. Safe to call from threads.

        Raises:
            MemberError: If the image cannot be read.
        """
        return self.read_part(index, WHOLE)

    def read_part(self, index: int, augmentation: Augmentation) -> UInt8[np.ndarray, "y x channel"]:
        """Pixels of a part of one example; see `AugmentableSource.read_part`."""
        try:
            with room():
                return read_image(self._archive.read(self._members[index]), self._options, augmentation)
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{self._members[index]}: {error}") from error

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        self._archive.check_unchanged()


def list_images(archive: Archive) -> list[str]:
    """Members that are images by their names.

    Raises:
        ArchiveError: If there are none.
    """
    images = [member for member in archive.members if is_image(member)]
    if not images:
        raise nothing_to_convert(
            archive.name, archive.members, "images", ".jpg, .png or .webp members", archive.rejects
        )
    return images


def without_masks(images: Sequence[str]) -> tuple[list[str], list[Reject]]:
    """Images that are no masks of others, and the masks as rejects."""
    masks = masks_beside(images)
    rejects = [Reject(member=mask, reason="is a mask of a picture beside it") for mask in masks]
    return sorted(set(images) - set(masks)), rejects


def is_image(member: str) -> bool:
    """Whether a member's name says that it is an image."""
    return has_suffix(member, IMAGE_SUFFIXES)


def _survey_images(
    archive: Archive, images: Sequence[str], options: ImageOptions, limits: SurveyOptions, report: Report
) -> Survey[None]:
    """Read every image that is taken once, and keep none."""
    taken = images[: limits.limit]
    listed = [r for r in archive.rejects if is_image(r.member) and (len(taken) == len(images) or r.member < taken[-1])]

    def inspect(k: int) -> None:
        read_image(archive.read(taken[k]), options)

    num_read = len(taken[: limits.check_first])
    return survey(archive.name, "images", taken, in_threads(inspect, num_read), num_read, limits, report, listed)


def _no_images(archive: Archive, catalogue: Catalogue) -> list[Reject]:
    if archive.members is catalogue.images:  # of a table, whose rows have no suffix
        return []

    def is_wanted(member: str) -> bool:
        return is_image(member) or posixpath.basename(member) in catalogue.label_files

    return not_wanted(archive.members, is_wanted, "is no image by its name")


def _split(name: str, catalogue: Catalogue, keep: np.ndarray) -> np.ndarray:
    if catalogue.published is None:
        return catalogue.rule(len(keep))
    return published_split(name, "image", catalogue.published, keep)


# The defaults of every configuration are this recipe's, chosen on an inner validation split of 1,171
# portraits; docs/benchmarks/photographs.md has the sweep.
CELEBA64_FAST = Preset(
    summary="faces at 64x64: a quarter of an hour of learning on 2 CPU cores",
    config=ConvertConfig(preset="celeba64-fast"),
    source={"resolution": 64, "crop": "square"},
)

# Dupont et al. 2022, "From data to functa", appendix on CelebA-HQ 64x64, and get_config() in
# https://github.com/google-deepmind/functa/blob/main/experiment_meta_learning.py: SIREN of 15 layers of 512,
# w0 = 30, 3 inner steps on all points, Adam 3e-6 for everything, batches of 16 per device, 5e5 steps, no schedule.
# The code defaults to 128 dimensions; the paper goes from 64 to 1024. Two things differ from the code: it starts
# the inner rates at random in (0.005, 0.1) where we start them all at 1e-2, and it does not clip the gradient.
CELEBA64_PAPER = Preset(
    summary="faces at 64x64 as in the functa paper: 500,000 outer steps, for accelerators",
    config=ConvertConfig(
        preset="celeba64-paper",
        network=NetworkConfig(width=512, depth=15, w0=30.0, modulation_dim=256),
        **paper_loops(num_steps=500_000, batch_size=16, num_points=None),
    ),
    source={"resolution": 64, "crop": "square"},
)

IMAGES64_FAST = Preset(
    summary="any images at 64x64: a quarter of an hour of learning on 2 CPU cores",
    config=ConvertConfig(preset="images64-fast"),
    source={"resolution": 64, "crop": "square"},
)

# docs/benchmarks/photographs.md has the sweep (`python -m benchmarks.sweep faces64-512`).
IMAGES64_SPATIAL = Preset(
    summary="any images at 64x64 as 4x4 cells of 32 numbers: a quarter of an hour of learning on 2 CPU cores",
    config=ConvertConfig(
        preset="images64-spatial",
        network=NetworkConfig(
            width=128, depth=5, w0=20.0, modulation="spatial", modulation_grid=(4, 4), modulation_dim=32
        ),
        outer=OuterLoopConfig(num_steps=3500, num_points=1024, learning_rate=1e-3, map_learning_rate=4e-3),
    ),
    source={"resolution": 64, "crop": "square"},
)

# docs/benchmarks/photographs.md has the sweep (`python -m benchmarks.sweep photographs256`). As measured: learning
# diverges by step 500 and goes on from an earlier state with half the rates. The fit's steps see a quarter of the
# points each, and few updates tune them, since each costs as much as thirty outer steps.
IMAGES256_SPATIAL = Preset(
    summary="photographs at 256x256 as 16x16 cells of 23 numbers: about half an hour of learning on 2 CPU cores",
    config=ConvertConfig(
        preset="images256-spatial",
        network=NetworkConfig(
            width=192, depth=5, w0=20.0, modulation="spatial", modulation_grid=(16, 16), modulation_dim=23
        ),
        outer=OuterLoopConfig(
            num_steps=2400, num_points=1024, learning_rate=5e-4, map_learning_rate=2e-3, num_monitored=16
        ),
        fit=FitConfig(num_steps=9, stride=2, tuning_steps=20),
    ),
    source={"resolution": 256, "crop": "square"},
)

# Bauer et al. 2023, "Spatial Functa", section 4 and appendix on CIFAR-10: SIREN of 6 layers of 256, w0 = 10, a grid of
# 8x8x16 mapped by a 1x1 convolution, looked up at the nearest cell, coordinates local to it, 3 inner steps with learned
# rates on all points, Adam 3e-5, batches of 128, 2e5 steps.
CIFAR10_PAPER = Preset(
    summary="CIFAR-10 as in Spatial Functa, 8x8 cells of 16 numbers: 200,000 outer steps, for accelerators",
    config=ConvertConfig(
        preset="cifar10-paper",
        network=NetworkConfig(
            width=256, depth=6, w0=10.0, modulation="spatial", modulation_grid=(8, 8), modulation_dim=16
        ),
        **paper_loops(num_steps=200_000, batch_size=128, num_points=None, learning_rate=3e-5),
    ),
    source={"resolution": 32},
)

_FACES = {"celeba64-fast": CELEBA64_FAST, "celeba64-paper": CELEBA64_PAPER}
_ANY = {
    "images64-fast": IMAGES64_FAST,
    "images64-spatial": IMAGES64_SPATIAL,
    "images256-spatial": IMAGES256_SPATIAL,
    "cifar10-paper": CIFAR10_PAPER,
}
CELEBA_PRESETS = {**_FACES, **_ANY}
"""All presets of images work with each of their converters; the first one is its default."""

IMAGES_PRESETS = {**_ANY, **_FACES}


Unsplit = Literal["leave-out", "train"]

_BESIDE_SPLITS = "lies in no folder named as a split, where others do"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderOptions(ImageOptions):
    """How every image of an archive becomes one square of pixels, and what images that are no examples become.

    Attributes:
        masks: Whether pictures that are named as masks of others beside them are left out, or taken as examples; see
            `converters.masks.masks_beside`.
        unsplit: What becomes of images that lie in no folder named as a split where others do: left out, or learned
            from; None refuses such an archive.
        labels: Table with a header (.csv, .tsv) beside the images: a column with their names, and any other columns.
        split_column: Column of that table with the split of each image; None takes one that is called so, if its words
            are those of splits.
        holdout: Share of the images that is held out, evenly, where no splits are published; None means a tenth.
    """

    masks: Literal["leave-out", "take"] = "leave-out"
    unsplit: Unsplit | None = None
    labels: str | None = option(None, metavar="FILE", is_path=True)
    split_column: str | None = option(None, metavar="COLUMN")
    holdout: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_holdout(self.holdout)

    def reopening(self) -> "FolderOptions":
        """See `ArchiveOptions.reopening`; with augmentations, whose labels count, everything is as it was."""
        return self if self.augment else dataclasses.replace(self, masks="take")


def open_images(path: AnyArchive, *, report: Report = silent, **options: Any) -> Source:
    """A source over any archive of images.

    Args:
        path: A folder, zip or tar; or a pattern or list of several, which are one archive.
        report: Told how far the survey is.
        **options: Fields of `FolderOptions` and `SurveyOptions`, such as `resolution=32` and `limit=100`.

    Returns:
        The source, every image read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    return converter.open(path, *split_options(FolderOptions, options), report)


@names_the_right_converter("images")
def _open(files: ArchiveFiles, options: FolderOptions, survey: SurveyOptions, report: Report) -> Source:
    archive = open_archives(files, IMAGE_SUFFIXES if len(files) > 1 else ())
    told = told_by(archive)
    images, left_out = list_images(archive), list[Reject]()
    if options.masks == "leave-out":
        images, left_out = without_masks(images)
    layout = FolderLayout.of(images, list(map(told, images)))
    if layout.outside and options.unsplit is None:
        raise ArchiveError(
            f"{archive.name}: {layout.outside_in_words}. Say what becomes of these by --unsplit leave-out or "
            "--unsplit train"
        )
    if layout.outside and options.unsplit == "leave-out":
        left_out += [Reject(member=image, reason=_BESIDE_SPLITS) for image in layout.outside]
        images = sorted(set(images) - set(layout.outside))
        layout = FolderLayout.of(images, list(map(told, images)))
    published, published_by = layout.published, layout.published_by
    labels = {} if layout.classes is None else {"class": layout.classes}
    labels_by, facts = dict.fromkeys(labels, BY_FOLDERS), dict[str, Any](converter="images")
    if options.split_column is not None and options.labels is None:
        raise ConfigError(f"split_column={options.split_column!r} names a column of a table; name that by labels")
    if options.labels is not None:
        table = read_label_table(options.labels, images, options.split_column)
        for title in labels.keys() & table.labels.keys():
            report(Note(message=f"{table.name}: its column {title} takes the place of the {title} that folders say"))
        for note in table.notes:
            report(Note(message=f"{table.name}: {note}"))
        labels |= table.labels
        labels_by |= dict.fromkeys(table.labels, table.name)
        facts["label_files"] = {table.name: table.sha256}
        if table.unused:
            report(Note(message=f"{table.name}: {table.unused:,} rows are of no image that is taken"))
        if table.published is not None:
            check_agreement(table, published, images)
            published, published_by = table.published, f"published in {table.name}, column {table.column}"
    if options.holdout is not None and published is not None:
        raise ArchiveError(f"{archive.name}: splits are {published_by}; leave out holdout={options.holdout}")
    catalogue = Catalogue(
        images=images,
        labels=labels,
        published=published,
        published_by=published_by,
        labels_by=labels_by,
        left_out=left_out,
        rule=functools.partial(hold_out_share, share=options.holdout),
        rule_name=hold_out_rule(share=options.holdout),
        facts=facts,
        label_files=() if options.labels is None else (os.path.basename(options.labels),),
    )
    return options.augmented(ImageSource(archive, catalogue, options, survey, report), report)


converter = Converter(
    summary="any folder, zip or tar of JPEG, PNG or WebP images",
    options=FolderOptions,
    presets=IMAGES_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=PACKED_SUFFIXES, remote=True),
)
