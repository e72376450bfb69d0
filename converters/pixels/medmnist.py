"""Converter of MedMNIST: an .npz with an array of pictures, or volumes, and one of labels for each split.

Expected result: one example per picture at its own size, 28x28 (64, 128, 224), or per volume; published splits; label
`class`, or a label of 0 and 1 per finding. No array is read whole.
"""

import io
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.archives.archive import PlacedArchive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.inflated import kept_blocks, open_member, open_placed
from converters.archives.known_archives import names_the_right_converter
from converters.archives.listing import nothing_to_convert
from converters.archives.packed import RandomBytes
from converters.arrays.bounds import MAX_BYTES_BESIDE, check_examples
from converters.arrays.npy_files import MAX_HEADER_BYTES, read_npy_header
from converters.pixels.pixel_source import (
    PIXELS_PRESETS,
    Meaning,
    NumberedOptions,
    Part,
    PixelSource,
    class_names,
)
from converters.pixels.raw_arrays import RawArray
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.plugins import Converter
from functa_store.progress import Note, Report, silent
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import Source, name_problem
from functa_store.sources.splits import SPLITS, split_of_word

_NAME = re.compile(r"(?P<split>[A-Za-z]+)_(?P<what>images|labels)\.npy|(?P<keras>x|y)_(?P<of>[A-Za-z]+)\.npy")
_NUM_CHANNELS, _MOST_CHANNELS = (1, 3), 4


def open_medmnist(path: AnyArchive, *, report: Report = silent, **options: Any) -> Source:
    """A source over a data set of MedMNIST.

    Args:
        path: An .npz with train_images, train_labels, val_images, ..., or a folder of these as .npy; or with x_train,
            y_train, x_test and y_test, as Keras has MNIST.
        report: Told of what is odd.
        **options: Fields of `NumberedOptions` and `SurveyOptions`, such as `class_names=("benign", "malignant")`.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If it has no such arrays, or they are damaged or do not fit each other.
    """
    return converter.open(path, *split_options(NumberedOptions, options), report)


@names_the_right_converter("medmnist")
def _open(files: ArchiveFiles, options: NumberedOptions, survey: SurveyOptions, report: Report) -> Source:
    archive = open_placed(files.only("MedMNIST"))
    members = _find(archive)
    kept, num_bytes = kept_blocks(), _num_bytes(archive)
    arrays = {key: _open_npy(open_member(archive, member, kept), num_bytes) for key, member in members.items()}
    images = {split: array for (split, what), array in arrays.items() if what == "images"}
    columns = _label_names(archive.name, {split: arrays[split, "labels"] for split in images}, options.class_names)
    parts = [_part(split, images[split], arrays[split, "labels"], columns) for split in SPLITS if split in images]
    if left := sorted(set(archive.members) - set(members.values())):
        report(Note(message=f"{archive.name}: {len(left)} other arrays are left out, such as {left[0]}"))
    names = {}
    if options.class_names and len(columns) == 1:
        names = {"class": class_names(options.class_names, "class_names")}
    elif not options.class_names:
        what = "they stay numbers" if len(columns) == 1 else "labels are called by their columns"
        report(Note(message=f"{archive.name}: names no classes, so that {what}; --class-names gives them names"))
    giver = f"arrays {', '.join(_stem(members[split, 'labels']) for split in SPLITS if split in images)}"
    meaning = Meaning(
        converter="medmnist",
        published_by=f"published by arrays ({', '.join(sorted(_stem(members[split, 'images']) for split in images))})",
        names=names,
        labels_by=dict.fromkeys(columns, giver),
        unflipped="organs lie on one side of a body",
    )
    return options.augmented(PixelSource(archive, parts, meaning, options, survey, report), report)


def _stem(member: str) -> str:
    return posixpath.basename(member).removesuffix(".npy")


def _num_bytes(archive: PlacedArchive) -> int:
    return sum(archive.place(member).stored for member in archive.members)


def _find(archive: PlacedArchive) -> dict[tuple[str, str], str]:
    """The arrays of each split by ("train", "images")."""
    found: dict[tuple[str, str], str] = {}
    for member in archive.members:
        said = _NAME.fullmatch(posixpath.basename(member))
        split = split_of_word(said["split"] or said["of"]) if said else None
        if said and split:
            what = said["what"] or {"x": "images", "y": "labels"}[said["keras"]]
            other = found.setdefault((split, what), member)
            if other != member:
                raise ArchiveError(
                    f"{archive.name}: {other} and {member} are both of the split {split}; keep one of them"
                )
    if not any(what == "images" for _, what in found):
        raise nothing_to_convert(
            archive.name,
            archive.members,
            "arrays of MedMNIST",
            "train_images.npy, train_labels.npy and the like in an .npz, as MedMNIST is published, or x_train.npy and "
            "y_train.npy",
            archive.rejects,
        )
    for split, what in list(found):
        other = "labels" if what == "images" else "images"
        if (split, other) not in found:
            raise ArchiveError(
                f"{archive.name}: has {_stem(found[split, what])}, but no {other} beside it; fetch the archive again"
            )
    return found


def _open_npy(file: RandomBytes, num_bytes: int) -> RawArray:
    try:
        header = read_npy_header(io.BytesIO(file.read_at(0, min(file.size, MAX_HEADER_BYTES + 12))))  # type: ignore[arg-type]
    except MemberError as error:
        raise ArchiveError(f"{file.name}: {error}") from error
    if header.fortran_order and sum(n > 1 for n in header.shape) > 1:
        raise ArchiveError(
            f"{file.name}: is stored with its first axis fastest, so that no example lies together; save it again"
        )
    found = file.size - header.offset
    if header.num_bytes != found:
        raise ArchiveError(
            f"{file.name}: its header promises {header.num_bytes} bytes of values of shape {header.shape}, but {found} "
            "follow; fetch it again"
        )
    check_examples(file.name, header.shape, header.dtype.itemsize, num_bytes)
    return RawArray(file, header.dtype, header.shape, header.offset)


def _part(split: str, images: RawArray, labels: RawArray, columns: Sequence[str]) -> Part:
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) not in (3, 4, 5) or 0 in shape[1:]:
        raise ArchiveError(
            f"{images.file.name}: holds {images.dtype} of shape {shape}, expected bytes of shape (pictures, y, x), "
            "(pictures, y, x, 3) or (volumes, z, y, x); other arrays are converted by functa convert arrays"
        )
    if labels.shape[:1] != shape[:1]:
        raise ArchiveError(f"{labels.file.name}: has {labels.shape[0]} labels for the {shape[0]} pictures beside it")
    count, *axes = shape
    num_channels = axes.pop() if len(axes) > 2 and axes[-1] in _NUM_CHANNELS else 1
    grid = tuple(axes)
    if (
        len(shape) == 4
        and len(grid) == 3
        and len(set(grid)) > 1
        and (thin := [n for n in grid[::2] if n <= _MOST_CHANNELS])
    ):
        raise ArchiveError(
            f"{images.file.name}: has shape {shape}, which may be pictures of {thin[0]} channels as well as volumes; "
            "save pictures in shape (pictures, y, x) or (pictures, y, x, 3), and volumes with a last axis of 1 for "
            "their channel"
        )
    if len(grid) > 3:
        raise ArchiveError(f"{images.file.name}: has shape {shape}, expected one or three channels in the last axis")
    values = labels.whole(MAX_BYTES_BESIDE).reshape(count, len(columns))
    return Part(
        name=split,
        count=count,
        grid=grid,
        num_channels=num_channels,
        read=lambda k: images.rows(k, k + 1)[0].reshape(*grid, num_channels),
        labels=dict(zip(columns, np.ascontiguousarray(values.T), strict=True)),
        split=split,
    )


def _label_names(name: str, labels: Mapping[str, RawArray], given: Sequence[str]) -> list[str]:
    """Names of the labels: `class`, or one per column."""
    widths = set()
    for array in labels.values():
        if array.dtype.kind not in "biuf" or len(array.shape) not in (1, 2) or 0 in array.shape[1:]:
            raise ArchiveError(
                f"{array.file.name}: holds {array.dtype} of shape {array.shape}, expected numbers, one or a row for "
                "each picture"
            )
        widths.add(array.shape[1] if len(array.shape) == 2 else 1)
    if len(widths) > 1:
        raise ArchiveError(
            f"{name}: labels have {' and '.join(map(str, sorted(widths)))} columns, expected as many in each split"
        )
    (width,) = widths
    if width == 1:
        return ["class"]
    if not given:
        return [f"label_{k:0{len(str(width - 1))}}" for k in range(width)]
    if len(given) != width:
        raise ConfigError(
            f"{name}: class_names has {len(given)} names, expected {width}, one for each column of labels"
        )
    if problems := [problem for text in given if (problem := name_problem(text))]:
        raise ConfigError(f"{name}: class_names {problems[0]}")
    return list(class_names(given, "class_names"))


converter = Converter(
    summary="MedMNIST: an .npz with train_images, train_labels, val_images, ...; 2-D and 3-D",
    options=NumberedOptions,
    presets=PIXELS_PRESETS,
    open=_open,
    files=find_files,
)
