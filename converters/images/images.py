"""Converter of any folder, zip or tar of images.

Expected result: one example per JPEG, PNG or WebP image, in the order of sorted names. Top-level folders
named train, validation (val, valid) and test are the splits; without them every tenth example is held out.
Images in more than one folder get a label `class` with the folders' names.
"""

import os
from typing import Any

from converters.archives.archive import open_archive
from converters.images.image_files import ImageOptions
from converters.images.image_source import (
    Catalogue,
    ImageSource,
    list_images,
)
from converters.images.presets import IMAGES_PRESETS
from converters.splits import folder_splits_and_classes
from functa_store.plugins import Converter
from functa_store.progress import Report, silent
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.splits import hold_out_every

_PERIOD = 10


def open_images(path: str | os.PathLike[str], *, report: Report = silent, **options: Any) -> ImageSource:
    """A source over any archive of images.

    Args:
        path: A folder, zip or tar.
        report: Told how far the survey is.
        **options: Fields of `ImageOptions` and `SurveyOptions`, such as `resolution=32` and `limit=100`.

    Returns:
        The source, every image read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    return _open(path, *split_options(ImageOptions, options), report)


def _open(path: str | os.PathLike[str], options: ImageOptions, survey: SurveyOptions, report: Report) -> ImageSource:
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


converter = Converter(
    summary="any folder, zip or tar of JPEG, PNG or WebP images",
    options=ImageOptions,
    presets=IMAGES_PRESETS,
    open=_open,
)
