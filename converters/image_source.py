"""How does an archive of images become a source, with every image read once beforehand?"""

import argparse
import collections
import dataclasses
import hashlib
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from converters.archives import Archive
from converters.image_files import CHANNELS, ImageOptions, read_image
from converters.survey import SurveyOptions, is_image, survey_images
from functa_store.domains import Domain
from functa_store.errors import ArchiveError, MemberError
from functa_store.grids import CellGrid
from functa_store.progress import Report
from functa_store.sources import FeatureSpec, Label, Reject, check_source


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


class ImageSource:
    """The images of an archive; see `functa_store.sources.Source`.

    Every image is read once here, in a few threads, so that damage shows before hours of
    learning. Features are sRGB values in [0, 1].

    Args:
        archive: Where the images are.
        catalogue: What is known about them.
        options: What to make of each image.
        survey: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more images cannot be read than `survey` allows.
        ArchiveError: If nothing is left to learn from.
    """

    domain: Domain
    ids: Sequence[str]
    labels: Mapping[str, Label]
    rejects: Sequence[Reject]
    provenance: Mapping[str, Any]

    def __init__(
        self, archive: Archive, catalogue: Catalogue, options: ImageOptions, survey: SurveyOptions, report: Report
    ) -> None:
        self._archive, self._options = archive, options
        keep, rejects = survey_images(archive, catalogue.images, options, survey, report)
        self.rejects = rejects if survey.limit else [*rejects, *_no_images(archive, catalogue)]
        channels = CHANNELS[options.mode]
        self.domain = CellGrid(axes=("y", "x"), resolution=(options.resolution,) * 2)
        self.features = FeatureSpec(channels=channels, scale=1 / 255)
        self.ids = [catalogue.images[int(k)] for k in keep]
        self.split = _split(archive.name, catalogue, keep)
        self.labels = {k: dataclasses.replace(v, values=v.values[keep]) for k, v in catalogue.labels.items()}
        self.provenance = {
            "archive": archive.name,
            "sha256": archive.sha256() if survey.check_first is None else None,
            **dataclasses.asdict(options),
            "limit": survey.limit,
            "split": catalogue.rule_name if catalogue.published is None else "published",
            "rejects": len(self.rejects),
            **catalogue.facts,
        }
        check_source(self)

    def read(self, index: int) -> UInt8[np.ndarray, "y x channel"]:
        """Pixels of one example, 0 to 255. Safe to call from threads.

        Raises:
            MemberError: If the image cannot be read.
        """
        try:
            return read_image(self._archive.read(self.ids[index]), self._options)
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{self.ids[index]}: {error}") from error


def list_images(archive: Archive) -> list[str]:
    """Members that are images by their names.

    Raises:
        ArchiveError: If there are none.
    """
    images = [member for member in archive.members if is_image(member)]
    if not images:
        kinds = collections.Counter(posixpath.splitext(m)[1].lower() or "no suffix" for m in archive.members)
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "none that can be used"
        raise ArchiveError(f"{archive.name}: no images; found {found}, expected .jpg, .png or .webp members")
    return images


def _no_images(archive: Archive, catalogue: Catalogue) -> Iterator[Reject]:
    """Members that do not even claim to be images; named, but no reason to stop."""
    for member in archive.members:
        if not is_image(member) and posixpath.basename(member) not in catalogue.label_files:
            yield Reject(member=member, reason="is no image by its name")


def content_sha256(data: bytes) -> str:
    """Hexadecimal digest of a label file, for the provenance."""
    return hashlib.sha256(data).hexdigest()


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ImageOptions` but for the crop, whose meaning is the converter's."""
    parser.add_argument("--resolution", type=int, metavar="N", help="pixels per side of every example")
    parser.add_argument("--mode", choices=tuple(CHANNELS), help="channels (default: rgb)")
    parser.add_argument("--background", metavar="COLOUR", help="behind transparent pixels (default: white)")
    parser.add_argument("--max-pixels", type=int, metavar="N", help="refuse larger images (default: 67108864)")


def _split(name: str, catalogue: Catalogue, keep: np.ndarray) -> np.ndarray:
    if catalogue.published is None:
        return catalogue.rule(len(keep))
    split = catalogue.published[keep]
    if len(split) and "train" not in split and "train" in catalogue.published:
        first = int(np.flatnonzero(catalogue.published == "train")[0])
        raise ArchiveError(
            f"{name}: none of the {len(split)} images taken is in the published split 'train', which starts at "
            f"image {first + 1}; raise the limit above that"
        )
    return split
