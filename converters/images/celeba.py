"""Converter of CelebA and CelebA-HQ, with their label files.

Expected result: one example per image, 202,599 for CelebA with its published splits (162,770 train, 19,867
validation, 19,962 test), 40 attributes and `identity`; 30,000 for CelebA-HQ, the last tenth held out.
"""

import codecs
import csv
import dataclasses
import functools
import hashlib
import os
import posixpath
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from converters.archives.archive import Archive, read_file
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.archives.many_archives import PACKED_SUFFIXES, open_archives
from converters.archives.plain_files import checked_path
from converters.images.image_files import ImageOptions
from converters.images.images import (
    CELEBA_PRESETS,
    Catalogue,
    ImageSource,
    is_image,
    list_images,
    without_masks,
)
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.plugins import Converter
from functa_store.progress import Report, silent
from functa_store.sources.options import SurveyOptions, option, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import Label, Reject, Source, name_problem
from functa_store.sources.splits import SPLITS, hold_out_last
from functa_store.support.shortening import shown

ATTRIBUTES, PARTITION, IDENTITY = "list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt"
KAGGLE = {"list_attr_celeba.csv": ATTRIBUTES, "list_eval_partition.csv": PARTITION, "identity_CelebA.csv": IDENTITY}
"""The same as tables with a header, by the names that Kaggle gives them."""

LABEL_FILES = (ATTRIBUTES, PARTITION, IDENTITY)
PARTITION_SPLITS = np.array(SPLITS, "U10")
"""By their numbers in the partition file."""

_MOST_BYTES, _MOST_LINES, _MOST_VALUES = 1 << 26, 1 << 21, 1 << 26
_MOST_DIGITS = 18
_FOLDERS = ("", "Anno", "Eval")  # of the published CelebA


class LabelFile(NamedTuple):
    """A label file as found.

    Attributes:
        where: What messages call it.
        content: Its bytes.
    """

    where: str
    content: bytes

    @property
    def is_table(self) -> bool:
        """Whether it is a table with commas and a header, as Kaggle has it."""
        return self.where.endswith(".csv")


def find_label_files(archive: Archive, path: str, labels: str | None) -> dict[str, LabelFile]:
    """CelebA's label files, by their published names.

    Args:
        archive: Searched first, in all its folders.
        path: Where the archive lies; its folder, and Anno/ and Eval/ in there, are searched next.
        labels: A folder to search instead, together with its Anno/ and Eval/; "none" searches nowhere.

    Returns:
        Those that exist; none is fine unless `labels` asked for them.

    Raises:
        ArchiveError: If `labels` names a folder without label files, or one lies in the archive twice.
    """
    if labels == "none":
        return {}
    if labels is not None:
        found = _in_folder(checked_path(labels))
        if not found:
            raise ArchiveError(
                f"{labels}: no label file found, expected {', '.join(LABEL_FILES[:-1])} or {IDENTITY}, or the same as "
                ".csv, there or in its Anno/ or Eval/; name their folder, or leave the labels option out"
            )
        return found
    return _in_folder(os.path.dirname(os.path.abspath(path))) | _in_archive(archive)


def _in_folder(folder: str) -> dict[str, LabelFile]:
    found = {}
    for name in LABEL_FILES:
        names = (name, *(table for table, published in KAGGLE.items() if published == name))
        paths = [path for one in names if (path := _first(folder, one))]
        if len(paths) > 1:
            raise ArchiveError(f"{paths[1]}: found {paths[0]} as well, expected one of them; remove the other")
        for path in paths:
            try:
                found[name] = LabelFile(path, _checked(read_file(path)))
            except MemberError as error:
                raise ArchiveError(f"{path}: {error}") from error
    return found


def _first(folder: str, name: str) -> str | None:
    return next(filter(os.path.isfile, (os.path.join(folder, below, name) for below in _FOLDERS)), None)


def _in_archive(archive: Archive) -> dict[str, LabelFile]:
    found: dict[str, LabelFile] = {}
    for member in archive.members:
        name = posixpath.basename(member)
        name = KAGGLE.get(name, name)
        if name in LABEL_FILES:
            where = f"{archive.name}/{member}"
            if name in found:
                raise ArchiveError(
                    f"{where}: found {found[name].where} as well, expected one of them; remove the other"
                )
            try:
                found[name] = LabelFile(where, _checked(archive.read(member)))
            except MemberError as error:
                raise ArchiveError(f"{where}: {error}") from error
    return found


def _checked(content: bytes) -> bytes:
    if len(content) > _MOST_BYTES or content.count(b"\n") + content.count(b"\r") > _MOST_LINES:
        raise MemberError(
            f"has more than {_MOST_BYTES} bytes or {_MOST_LINES} lines, CelebA's own have less than half of that"
        )
    return content


def read_labels(
    files: Mapping[str, LabelFile], position: Mapping[str, int], rejected: Collection[str]
) -> tuple[dict[str, Label], np.ndarray | None]:
    """Labels and published split of every image.

    Args:
        files: From `find_label_files`.
        position: Number of each image by its name without folder and suffix: the label files
            say .jpg also where the images are published as .png.
        rejected: Names, written alike, of images that the archive lists but cannot give; their
            rows are ignored.

    Returns:
        The 40 attributes as int8 of -1 and 1 by their names, and `identity` as int32; and one of
        train, validation and test per image, or None without a partition file.

    Raises:
        ArchiveError: If a file is malformed, or its rows are not exactly those of the images,
            or an attribute has a name that a store cannot hold.
    """
    labels: dict[str, Label] = {}
    if file := files.get(ATTRIBUTES):
        rows = _lines(file)
        header, names = _read_header(file, rows)
        _check_attributes(file, rows[header][0], names, {"identity": IDENTITY} if IDENTITY in files else {})
        values = _read_rows(file, rows[header + 1 :], position, rejected, len(names), {-1, 1})
        labels |= {n: Label(values=v.astype(np.int8)) for n, v in zip(names, values.T, strict=True)}
    if file := files.get(IDENTITY):
        labels["identity"] = Label(values=_read_rows(file, _single(file), position, rejected, 1)[:, 0])
    if file := files.get(PARTITION):
        return labels, PARTITION_SPLITS[_read_rows(file, _single(file), position, rejected, 1, {0, 1, 2})[:, 0]]
    return labels, None


def _lines(file: LabelFile) -> list[tuple[int, str]]:
    """Lines by number, without those of nothing but white space, whatever Unicode counts as such."""
    lines = (line.decode("utf-8", "replace") for line in file.content.removeprefix(codecs.BOM_UTF8).splitlines())
    found = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if file.is_table:
        found = [(number, " ".join("_".join(cell.split()) for cell in _cells(line))) for number, line in found]
    return found


def _cells(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _single(file: LabelFile) -> list[tuple[int, str]]:
    """Lines of a file with one value for each image; a table has a header before them."""
    return _lines(file)[file.is_table :]


def _read_header(file: LabelFile, rows: Sequence[tuple[int, str]]) -> tuple[int, list[str]]:
    """Which line names the attributes, and their names: that behind the number of rows, or the first one of a table."""
    if file.is_table:
        if not rows or len(rows[0][1].split()) < 2:
            raise ArchiveError(f"{file.where} line 1: found no header, expected image_id,5_o_Clock_Shadow,...")
        return 0, rows[0][1].split()[1:]
    count = rows[0][1].strip() if rows else "nothing"
    if not count.isdecimal() or len(count) > _MOST_DIGITS or int(count) != len(rows) - 2:
        raise ArchiveError(
            f"{file.where} line 1: found {shown(count)!r}, expected the number of rows below the header, "
            f"which is {max(0, len(rows) - 2)}; fetch the file again"
        )
    return 1, rows[1][1].split()


def _check_attributes(file: LabelFile, number: int, names: list[str], given: dict[str, str]) -> None:
    """Refuse names that would overwrite another label or that a store cannot hold."""
    for name in names:
        problem = name_problem(name)
        if name in given:
            problem = f"has the name {shown(name)!r}, expected one that {given[name]} has not given already"
        if problem:
            raise ArchiveError(f"{file.where} line {number}: an attribute {problem}; rename it or fetch the file again")
        given[name] = "this line"


def _read_rows(
    file: LabelFile,
    rows: Sequence[tuple[int, str]],
    position: Mapping[str, int],
    rejected: Collection[str],
    num_columns: int,
    allowed: set[int] | None = None,
) -> Int32[np.ndarray, "image column"]:
    if len(position) * num_columns > _MOST_VALUES:
        raise _misfit(file, f"names {num_columns} columns", f"at most {_MOST_VALUES // len(position)} for each image")
    values = np.zeros((len(position), num_columns), np.int32)
    line_of = np.zeros(len(position), np.int64)
    for number, line in rows:
        name, *numbers = line.split()
        stem = posixpath.splitext(name)[0]
        k = position.get(stem)
        if k is None and stem in rejected:
            continue
        if k is None:
            raise _misfit(file, f"line {number}: found a row for {shown(name)}", "an image that is in the archive")
        if line_of[k]:
            raise _misfit(
                file, f"line {number}: found a second row for {shown(name)}", f"only that of line {line_of[k]}"
            )
        values[k], line_of[k] = _parse(file, number, numbers, num_columns, allowed), number
    if not line_of.all():
        lacking = [name for name, k in position.items() if not line_of[k]]
        end = f"line {rows[-1][0] if rows else 1}: found the end of the file"
        raise _misfit(file, end, f"a row for image {lacking[0]}", len(lacking))
    return values


def _parse(file: LabelFile, number: int, numbers: list[str], num_columns: int, allowed: set[int] | None) -> list[int]:
    try:
        values = [int(n) for n in numbers if len(n) <= _MOST_DIGITS]
    except ValueError:
        values = []
    if len(values) != num_columns or (allowed and not allowed.issuperset(values)) or max(map(abs, values)) >= 1 << 31:
        found = " ".join(numbers[:5]) + (" ..." if len(numbers) > 5 else "")
        kind = f"from {sorted(allowed)}" if allowed else "below 2**31"
        raise ArchiveError(
            f"{file.where} line {number}: found {len(numbers)} values, {shown(found)!r}, "
            f"expected {num_columns} integers {kind}; fetch the file again"
        )
    return values


def _misfit(file: LabelFile, found: str, expected: str, count: int = 1) -> ArchiveError:
    more = f" and {count - 1} other images" if count > 1 else ""
    return ArchiveError(
        f"{file.where} {found}, expected {expected}{more}; is the archive complete, and are the labels its own? "
        "The labels option names another folder of label files, or 'none'"
    )


ALIGNED_WIDTH = 178
"""Width in pixels of CelebA's aligned images, which are 178 x 218."""

_IMAGE_FOLDERS = ("img_align_celeba", "CelebA-HQ-img")
"""Folders that hold the images where others lie beside them: those in the wild, or masks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CelebaOptions(ImageOptions):
    """How every image of CelebA becomes one square of pixels, and where its labels are.

    Attributes:
        crop: "square", "none", pixels of a published 178 x 218 image such as 140, or a fraction of the largest
            centred square such as 0.8; see `celeba_crop`.
        labels: Folder of the label files, instead of the archive and the folder beside it; "none" for no labels.
    """

    labels: str | None = option(None, metavar="DIR", is_path=True)

    def window(self) -> str | float:
        """What `crop` means: "square", "none", or a fraction of the largest centred square."""
        return celeba_crop(self.crop)


def open_celeba(path: AnyArchive, *, report: Report = silent, **options: Any) -> Source:
    """A source over CelebA as published, or over CelebA-HQ as images.

    Label files (list_attr_celeba.txt, list_eval_partition.txt, identity_CelebA.txt) are taken from the
    archive, else from beside it, there also from Anno/ and Eval/. Without a partition file the last tenth
    of the images is held out.

    Args:
        path: A folder, zip or tar, such as img_align_celeba.zip or data128x128/; or a pattern or list of several.
        report: Told how far the survey is.
        **options: Fields of `CelebaOptions` and `SurveyOptions`, such as `resolution=64` and `labels="Anno"`.

    Returns:
        The source, every image read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted, or labels and images do not fit.
    """
    return converter.open(path, *split_options(CelebaOptions, options), report)


@names_the_right_converter("celeba")
def _open(files: ArchiveFiles, options: CelebaOptions, survey: SurveyOptions, report: Report) -> Source:
    archive = open_archives(files)
    everything = list_images(archive)
    images, masks = without_masks(_aligned(everything))
    left_out = masks + [
        Reject(member=image, reason=f"lies beside the folder {posixpath.dirname(images[0])}")
        for image in sorted(set(everything) - set(images) - {mask.member for mask in masks})
    ]
    found = find_label_files(archive, files.paths[0], options.labels)
    rejected = {_stem(reject.member) for reject in archive.rejects if is_image(reject.member)}
    values, published = read_labels(found, _positions(archive.name, images), rejected)
    digests = {posixpath.basename(file.where): hashlib.sha256(file.content).hexdigest() for file in found.values()}
    names = {name: posixpath.basename(file.where) for name, file in found.items()}
    catalogue = Catalogue(
        images=images,
        labels=values,
        published=published,
        published_by=f"published in {names.get(PARTITION)}",
        labels_by={label: names[IDENTITY if label == "identity" else ATTRIBUTES] for label in values},
        left_out=left_out,
        rule=hold_out_last,
        rule_name="last tenth held out",
        facts={"converter": "celeba", "crop": str(options.crop), "label_files": digests},
        label_files=(*LABEL_FILES, *KAGGLE),
    )
    return options.augmented(ImageSource(archive, catalogue, options, survey, report), report)


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
        return ImageOptions(crop=pixels).window()
    if not 1 <= pixels <= ALIGNED_WIDTH:
        raise ConfigError(f"crop must be from 1 to {ALIGNED_WIDTH} pixels of a 178 x 218 image, got {pixels}")
    return pixels / ALIGNED_WIDTH


def _aligned(images: list[str]) -> list[str]:
    """The images of CelebA or CelebA-HQ by their folder, not those "in the wild" or the masks beside them."""
    for folder in _IMAGE_FOLDERS:
        if found := [image for image in images if folder in posixpath.dirname(image)]:
            return found
    return images


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


converter = Converter(
    summary="CelebA as published (with labels and splits), or CelebA-HQ as images",
    options=CelebaOptions,
    presets=CELEBA_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=PACKED_SUFFIXES, remote=True),
)
