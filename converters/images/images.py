"""Converter of any folder, zip or tar of images, and the presets for images.

Expected result: one example per JPEG, PNG or WebP image, in the order of sorted names. Top-level folders
named train, validation (val, valid) and test are the splits; without them every tenth example is held out.
Images in more than one folder get a label `class` with the folders' names.
"""

import os
from typing import Any

from converters.archives.archive import open_archive
from converters.folders import folder_splits_and_classes
from converters.images.image_files import ImageOptions
from converters.images.image_source import (
    Catalogue,
    ImageSource,
    list_images,
)
from converters.paper_recipe import of_the_papers
from functa_store.config import (
    ConvertConfig,
    NetworkConfig,
)
from functa_store.plugins import Converter, Preset
from functa_store.progress import Report, silent
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.splits import hold_out_every, hold_out_rule

# The defaults of every configuration are this recipe's, chosen on an inner validation split of 1,171
# portraits; docs/explanation/quality.md has the sweep.
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
        **of_the_papers(num_steps=500_000, batch_size=16, num_points=None),
    ),
    source={"resolution": 64, "crop": "square"},
)

IMAGES64_FAST = Preset(
    summary="any images at 64x64: a quarter of an hour of learning on 2 CPU cores",
    config=ConvertConfig(preset="images64-fast"),
    source={"resolution": 64, "crop": "square"},
)

_FACES = {"celeba64-fast": CELEBA64_FAST, "celeba64-paper": CELEBA64_PAPER}
_ANY = {"images64-fast": IMAGES64_FAST}
CELEBA_PRESETS = {**_FACES, **_ANY}
"""All presets of images work with each of their converters; the first one is its default."""

IMAGES_PRESETS = {**_ANY, **_FACES}


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
        rule=hold_out_every,
        rule_name=hold_out_rule(),
        facts={"converter": "images"},
    )
    return ImageSource(archive, catalogue, options, survey, report)


converter = Converter(
    summary="any folder, zip or tar of JPEG, PNG or WebP images",
    options=ImageOptions,
    presets=IMAGES_PRESETS,
    open=_open,
)
