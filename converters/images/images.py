"""Converter of any folder, zip or tar of images.

Expected result: one example per JPEG, PNG or WebP image, in the order of sorted names. Top-level folders
named train, validation (val, valid) and test are the splits; without them every tenth example is held out.
Images in more than one folder get a label `class` with the folders' names.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from converters.archives.archive import open_archive
from converters.images.image_files import ImageOptions, parse_crop
from converters.images.image_source import (
    Catalogue,
    ImageSource,
    add_image_arguments,
    list_images,
)
from converters.images.presets import IMAGES_PRESETS
from converters.splits import folder_splits_and_classes
from converters.survey import SurveyOptions
from functa_store.progress import Report, silent
from functa_store.sources.splits import hold_out_every

_PERIOD = 10


def open_images(
    path: str | os.PathLike[str],
    *,
    resolution: int = 64,
    crop: str | int | float = "square",
    mode: str = "rgb",
    background: str = "white",
    max_pixels: int = ImageOptions.max_pixels,
    limit: int | None = None,
    max_rejects: float = 0.01,
    check_first: int | None = None,
    report: Report = silent,
) -> ImageSource:
    """A source over any archive of images.

    Args:
        path: A folder, zip or tar.
        resolution: Pixels per side of every example.
        crop: "square", "none" or a fraction of the largest centred square; see `ImageOptions`.
        mode: "rgb" or "grey".
        background: Colour behind transparent pixels.
        max_pixels: Largest image that is decoded.
        limit: Images at most, the first ones in sorted order.
        max_rejects: Fraction of the images that may be unreadable.
        check_first: Images to read now, for a dry run; None reads all.
        report: Told how far the survey is.

    Returns:
        The source, every image read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    options = ImageOptions(
        resolution=resolution, crop=parse_crop(crop), mode=mode, background=background, max_pixels=max_pixels
    )
    survey = SurveyOptions(limit=limit, max_rejects=max_rejects, check_first=check_first)
    archive = open_archive(path)
    images = list_images(archive)
    published, classes = folder_splits_and_classes(images)
    catalogue = Catalogue(
        images=images,
        labels={} if classes is None else {"class": classes},
        published=published,
        rule=lambda n: hold_out_every(n, _PERIOD),
        rule_name="every tenth example held out",
        facts={"converter": "images"},
    )
    return ImageSource(archive, catalogue, options, survey, report)


class ImagesConverter:
    """Converts any archive of images; see `functa_store.plugins.Converter`."""

    summary = "any folder, zip or tar of JPEG, PNG or WebP images"
    presets = IMAGES_PRESETS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has."""
        add_image_arguments(parser)
        parser.add_argument(
            "--crop", metavar="CROP", help="square (default), none, or a fraction of the largest centred square"
        )

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> ImageSource:
        """The source that the options describe; see `open_images`."""
        return open_images(archive, report=report, **{k: v for k, v in options.items() if v is not None})


converter = ImagesConverter()
