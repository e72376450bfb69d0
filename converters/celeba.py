"""How are CelebA and CelebA-HQ converted?

Expected result: one example per image, 202,599 for CelebA with its published splits (162,770 train, 19,867
validation, 19,962 test), 40 attributes and `identity`; 30,000 for CelebA-HQ, the last tenth held out.
"""

import argparse
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from converters.archives import open_archive
from converters.celeba_labels import LABEL_FILES, find_label_files, read_labels
from converters.image_files import ImageOptions, parse_crop
from converters.image_source import (
    Catalogue,
    ImageSource,
    add_image_arguments,
    content_sha256,
    is_image,
    list_images,
)
from converters.presets import CELEBA_PRESETS
from converters.survey import SurveyOptions
from functa_store.errors import ArchiveError, ConfigError
from functa_store.progress import Report, silent
from functa_store.sources import hold_out_last

ALIGNED_WIDTH = 178
"""Width in pixels of CelebA's aligned images, which are 178 x 218."""

_ALIGNED_FOLDER = "img_align_celeba"


def open_celeba(
    path: str | os.PathLike[str],
    *,
    resolution: int = 64,
    crop: str | int | float = "square",
    mode: str = "rgb",
    background: str = "white",
    max_pixels: int = ImageOptions.max_pixels,
    labels: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    max_rejects: float = 0.01,
    check_first: int | None = None,
    report: Report = silent,
) -> ImageSource:
    """A source over CelebA as published, or over CelebA-HQ as images.

    Label files (list_attr_celeba.txt, list_eval_partition.txt, identity_CelebA.txt) are taken from the
    archive, else from beside it, there also from Anno/ and Eval/. Without a partition file the last tenth
    of the images is held out.

    Args:
        path: A folder, zip or tar, such as img_align_celeba.zip or data128x128/.
        resolution: Pixels per side of every example.
        crop: See `celeba_crop`.
        mode: "rgb" or "grey".
        background: Colour behind transparent pixels.
        max_pixels: Largest image that is decoded.
        labels: Folder of the label files instead; "none" for no labels.
        limit: Images at most, the first ones in sorted order.
        max_rejects: Fraction of the images that may be unreadable.
        check_first: Images to read now, for a dry run; None reads all.
        report: Told how far the survey is.

    Returns:
        The source, every image read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted, or labels and images do not fit.
    """
    options = ImageOptions(
        resolution=resolution, crop=celeba_crop(crop), mode=mode, background=background, max_pixels=max_pixels
    )
    survey = SurveyOptions(limit=limit, max_rejects=max_rejects, check_first=check_first)
    archive = open_archive(path)
    images = _aligned(list_images(archive))
    files = find_label_files(archive, os.fspath(path), None if labels is None else os.fspath(labels))
    rejected = {_stem(reject.member) for reject in archive.rejects if is_image(reject.member)}
    values, published = read_labels(files, _positions(archive.name, images), rejected)
    digests = {name: content_sha256(file.content) for name, file in files.items()}
    catalogue = Catalogue(
        images=images,
        labels=values,
        published=published,
        rule=hold_out_last,
        rule_name="last tenth held out",
        facts={"converter": "celeba", "crop": str(crop), "label_files": digests},
        label_files=LABEL_FILES,
    )
    return ImageSource(archive, catalogue, options, survey, report)


def celeba_crop(crop: str | int | float) -> str | float:
    """The crop that an option means, in the words of `ImageOptions`.

    An integer counts pixels of the published 178 x 218 images and scales with an image's own size.
    The literature takes a centred square of 108 (DCGAN), 128, 140 (NCSN, DDIM), 148 (VAE/GAN) or 178
    pixels, which is "square", the whole width; scores compare only at the same crop.

    Args:
        crop: "square", "none", pixels such as 140 or "140", or a fraction of the whole width such as 0.8.

    Returns:
        "square", "none", or a fraction.

    Raises:
        ConfigError: If the pixels are not from 1 to 178.
    """
    pixels = int(crop) if isinstance(crop, str) and crop.isdecimal() and len(crop) < 10 else crop
    if not isinstance(pixels, int):
        return parse_crop(pixels)
    if not 1 <= pixels <= ALIGNED_WIDTH:
        raise ConfigError(f"crop must be from 1 to {ALIGNED_WIDTH} pixels of a 178 x 218 image, got {pixels}")
    return pixels / ALIGNED_WIDTH


def _aligned(images: list[str]) -> list[str]:
    """The aligned images if there are any, not those "in the wild" that may lie beside them."""
    return [image for image in images if _ALIGNED_FOLDER in posixpath.dirname(image)] or images


def _positions(name: str, images: Sequence[str]) -> dict[str, int]:
    positions: dict[str, int] = {}
    for k, image in enumerate(images):
        stem = _stem(image)
        if (other := positions.get(stem)) is not None:
            raise ArchiveError(
                f"{name}: found {images[other]} and {image}, expected each image once, or one would be learned "
                "from and held out; name the folder that holds one of them"
            )
        positions[stem] = k
    return positions


def _stem(member: str) -> str:
    """Name without folder and suffix; a name that is rejected may have its folders behind backslashes."""
    return posixpath.splitext(posixpath.basename(member.replace("\\", "/")))[0]


class CelebaConverter:
    """Converts CelebA and CelebA-HQ; see `functa_store.plugins.Converter`."""

    summary = "CelebA as published (with labels and splits), or CelebA-HQ as images"
    presets = CELEBA_PRESETS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has."""
        add_image_arguments(parser)
        parser.add_argument(
            "--crop",
            metavar="CROP",
            help="square (default), none, pixels of a 178 x 218 image such as 140, or a fraction such as 0.8",
        )
        parser.add_argument("--labels", metavar="DIR", help="folder of the label files, or none")

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> ImageSource:
        """The source that the options describe; see `open_celeba`."""
        return open_celeba(archive, report=report, **{k: v for k, v in options.items() if v is not None})


converter = CelebaConverter()
