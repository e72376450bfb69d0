"""An archive of images as a source, surveyed once beforehand."""

import dataclasses
import hashlib
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from converters.archives.archive import Archive
from converters.archives.listing import has_suffix, not_wanted, nothing_to_convert
from converters.archives.memory_share import room
from converters.images.image_files import (
    CHANNELS,
    IMAGE_SUFFIXES,
    ImageOptions,
    read_image,
)
from converters.survey import (
    Survey,
    in_threads,
    published_split,
    survey,
)
from functa_store.domains.cells import CellGrid
from functa_store.errors import MemberError
from functa_store.progress import Report
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import (
    Label,
    Reject,
    Source,
    check_source,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What an archive says about its images before any is read; arrays follow `images`.

    Attributes:
        images: Members that are images, sorted.
        labels: Named labels.
        published: Split of each image as published, or None.
        rule: Split of so many examples if none is published.
        rule_name: The rule in words.
        facts: More for the provenance.
        label_files: Base names of members that are no images but are read otherwise.
    """

    images: Sequence[str]
    labels: Mapping[str, Label]
    published: np.ndarray | None
    rule: Callable[[int], np.ndarray]
    rule_name: str
    facts: Mapping[str, Any]
    label_files: Sequence[str] = ()


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
        self.rejects = found.rejects if limits.limit else [*found.rejects, *_no_images(archive, catalogue)]
        channels = CHANNELS[options.mode]
        self.domain = CellGrid(axes=("y", "x"), resolution=(options.resolution,) * 2)
        self.features = FeatureSpec(channels=channels, scale=1 / 255)
        self.ids = [catalogue.images[int(k)] for k in keep]
        self.split = _split(archive.name, catalogue, keep)
        self.labels = {k: dataclasses.replace(v, values=v.values[keep]) for k, v in catalogue.labels.items()}
        self.provenance = {
            "archive": archive.name,
            "sha256": archive.sha256() if limits.check_first is None else None,
            **options.to_plain(),
            "crop": options.window(),
            "limit": limits.limit,
            "split": catalogue.rule_name if catalogue.published is None else "published",
            "rejects": len(self.rejects),
            **catalogue.facts,
        }
        if limits.check_first is None:
            archive.check_unchanged()
        check_source(self)

    def read(self, index: int) -> UInt8[np.ndarray, "y x channel"]:
        """Pixels of one example, 0 to 255. Safe to call from threads.

        Raises:
            MemberError: If the image cannot be read.
        """
        try:
            with room():
                return read_image(self._archive.read(self.ids[index]), self._options)
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{self.ids[index]}: {error}") from error

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
        raise nothing_to_convert(archive.name, archive.members, "images", ".jpg, .png or .webp members")
    return images


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
    def is_wanted(member: str) -> bool:
        return is_image(member) or posixpath.basename(member) in catalogue.label_files

    return not_wanted(archive.members, is_wanted, "is no image by its name")


def content_sha256(data: bytes) -> str:
    """Hexadecimal digest of a label file, for the provenance."""
    return hashlib.sha256(data).hexdigest()


def _split(name: str, catalogue: Catalogue, keep: np.ndarray) -> np.ndarray:
    if catalogue.published is None:
        return catalogue.rule(len(keep))
    return published_split(name, "image", catalogue.published, keep)
