"""Converter of MNIST and its like: Fashion-MNIST, EMNIST, KMNIST, QMNIST, in the IDX format.

Expected result: one example per picture at its own size, 28x28, upright; label `class`; 60,000 train and 10,000 test
for MNIST, as published. Digits are numbers; EMNIST's mapping and the checksums of Fashion-MNIST give names.
"""

import dataclasses
import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from converters.archives.archive import OneFile, Place, PlacedArchive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.inflated import kept_blocks, open_member, open_placed
from converters.archives.known_archives import names_the_right_converter
from converters.archives.listing import nothing_to_convert
from converters.archives.plain_files import sha256_of_named
from converters.pixels.idx_files import IdxName, idx_name, read_idx
from converters.pixels.pixel_source import (
    PIXELS_PRESETS,
    Meaning,
    NumberedOptions,
    Part,
    PixelSource,
    class_names,
    published_by_files,
)
from converters.pixels.raw_arrays import RawArray
from functa_store.errors import ArchiveError, ConfigError
from functa_store.plugins import Converter
from functa_store.progress import Note, Report, silent
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import Source

_EXPECTED = "train-images-idx3-ubyte, t10k-images-idx3-ubyte and the like, compressed (.gz) or not"

# Fashion-MNIST's files are called as MNIST's. Names and MD5 of train-labels-idx1-ubyte.gz and t10k-labels-idx1-ubyte.gz
# as of https://github.com/zalandoresearch/fashion-mnist (README).
_FASHION = {"25c81989df183df01b3e8a0aad5dffbe", "bb300cfdad3c16e7a12a480ee83cd310"}
_FASHION_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

# https://github.com/facebookresearch/qmnist (README)
_QMNIST = (
    "class", "nist_series", "writer", "writer_digit", "nist_class", "nist_digit", "duplicate", "unused",
)  # fmt: skip

# Ink of upright characters spreads less along x than along y. If it spreads 1.15 times as far in the first 500
# pictures, they lie on their side.
_NUM_WEIGHED, _LYING = 500, 1.15
_MOST_TEXT_BYTES, _MOST_LABEL_BYTES = 1 << 16, 1 << 28

Orientation = Literal["as-stored", "transposed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MnistOptions(NumberedOptions):
    """Which pictures of IDX files become examples, and how they are turned.

    Attributes:
        dataset: Beginning of the files' names where a folder holds several sets of them, such as "emnist-balanced".
        orientation: "as-stored" takes pictures row by row, "transposed" column by column; None takes EMNIST's
            (emnist-*), which are published so, as transposed, and others as stored.
    """

    dataset: str | None = None
    orientation: Orientation | None = None


def open_mnist(path: AnyArchive, *, report: Report = silent, **options: Any) -> Source:
    """A source over pictures in IDX files.

    Args:
        path: A folder, zip or tar of them, or one file of pictures, with its labels beside it.
        report: Told of what is odd.
        **options: Fields of `MnistOptions` and `SurveyOptions`, such as `dataset="emnist-balanced"`.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If there are no such files, one is damaged, or pictures and labels do not fit.
    """
    return converter.open(path, *split_options(MnistOptions, options), report)


@names_the_right_converter("mnist")
def _open(given: ArchiveFiles, options: MnistOptions, survey: SurveyOptions, report: Report) -> Source:
    path = given.only("a data set in IDX files")
    archive = open_placed(path)
    if isinstance(archive, OneFile):
        archive = _FileAndLabels(os.path.abspath(path), archive)
    files = _find(archive, options.dataset, report)
    said, kept = next(iter(files.values())), kept_blocks()
    transposed = said.prefix.lower().startswith("emnist")
    if options.orientation is not None:
        transposed = options.orientation == "transposed"
    opened = {member: read_idx(open_member(archive, member, kept)) for member in files}
    parts = _parts(archive.name, files, opened, transposed)
    if said.prefix.lower().startswith("emnist"):
        for note in _orientation_notes(parts, transposed, is_asked=options.orientation is not None):
            report(Note(message=f"{archive.name}: {note}"))
    names, by = _names(archive, files, parts, options.class_names)
    labels_by = _labels_by(files, opened)
    if by is not None:
        labels_by["class"] = by
    elif "class" in labels_by:
        report(
            Note(
                message=f"{archive.name}: nothing in it names the classes, which stay numbers, as digits are; "
                "--class-names gives them names"
            )
        )
    meaning = Meaning(
        converter="mnist",
        published_by=published_by_files(member for member, said in files.items() if not said.is_labels),
        names={} if names is None else {"class": names},
        labels_by=labels_by,
        facts={"orientation": "transposed" if transposed else "as-stored", "dataset": said.data_set or None},
        unflipped="digits and letters read otherwise in a mirror",
    )
    return options.augmented(PixelSource(archive, parts, meaning, options, survey, report), report)


class _FileAndLabels:
    """A file of pictures, and those of its labels and of names of classes that lie beside it; see `Archive`."""

    def __init__(self, path: str, file: OneFile) -> None:
        folder, name = os.path.split(path)
        self.name, self.rejects = file.name, []
        said, beside = idx_name(name), [name]
        if said is not None:
            for other in sorted(os.listdir(folder)):
                its = idx_name(other)
                is_labels = its is not None and its.is_labels and its[:3] == said[:3]
                if other != name and (is_labels or other == _mapping_of(said)):
                    beside.append(other)
        self._files = {other: file if other == name else OneFile(os.path.join(folder, other)) for other in beside}
        self.members = sorted(self._files)

    def read(self, member: str) -> bytes:
        """See `Archive.read`."""
        return self._files[member].read(member)

    def place(self, member: str) -> Place:
        """See `PlacedArchive.place`."""
        return self._files[member].place(member)

    def sha256(self) -> str:
        """Digest of the file, or of the lines "name, NUL, sha256" of all files if there are several."""
        digests = {name: file.sha256() for name, file in sorted(self._files.items())}
        if len(digests) == 1:
            return next(iter(digests.values()))
        return sha256_of_named(digests.items())

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        for file in self._files.values():
            file.check_unchanged()


def _mapping_of(said: IdxName) -> str:
    return posixpath.join(said.folder, f"{said.prefix}-mapping.txt")


def _find(archive: PlacedArchive, wanted: str | None, report: Report) -> dict[str, IdxName]:
    """The files of one set of pictures, and what their names say."""
    sets: dict[str, dict[str, IdxName]] = {}
    for member in archive.members:
        said = idx_name(member)
        if said is None and isinstance(archive, _FileAndLabels) and len(archive.members) == 1:  # whatever it is called
            said = IdxName("", "", "", False, False)
        if said is not None:
            sets.setdefault(said.data_set, {})[member] = said
    sets = {name: files for name, files in sets.items() if any(not said.is_labels for said in files.values())}
    if not sets:
        raise nothing_to_convert(archive.name, archive.members, "pictures in IDX files", _EXPECTED, archive.rejects)
    if wanted is not None:
        chosen = [name for name in sets if wanted == (name or ".") or wanted in name.split("/")]
        if len(chosen) != 1:
            raise ConfigError(
                f"{archive.name}: dataset={wanted!r} names {len(chosen)} of {_listed(sets)}, expected one"
            )
    else:
        chosen = list(sets)
        whole = [name for name, files in sets.items() if _is_whole(files)]
        if len(chosen) > 1 and len(whole) == 1:
            report(
                Note(message=f"{archive.name}: takes {whole[0] or '.'}, of {_listed(sets)} the only one with labels")
            )
            chosen = whole
        if len(chosen) > 1:
            raise ArchiveError(
                f"{archive.name}: holds several sets of pictures, {_listed(sets)}; name one by --dataset"
            )
    return _without_copies(archive.name, sets[chosen[0]], report)


def _listed(sets: Mapping[str, Any]) -> str:
    return ", ".join(name or "." for name in sets)


def _is_whole(files: Mapping[str, IdxName]) -> bool:
    """Whether all pictures have labels."""
    parts = {is_labels: {said.part for said in files.values() if said.is_labels == is_labels} for is_labels in (0, 1)}
    return parts[0] == parts[1]


def _without_copies(name: str, files: Mapping[str, IdxName], report: Report) -> dict[str, IdxName]:
    """One file of each kind: compressed ones beside the same, unpacked, are left out, as torchvision leaves both."""
    kept: dict[tuple[str, bool], str] = {}
    for member, said in files.items():
        key = said.part, said.is_labels
        other = kept.setdefault(key, member)
        if other == member:
            continue
        if files[other].is_packed == said.is_packed:
            raise ArchiveError(f"{name}: {other} and {member} are files of one kind; take one of them out")
        kept[key], left = (other, member) if said.is_packed else (member, other)
        report(Note(message=f"{name}: {left} is left out, since {kept[key]} lies beside it"))
    return {member: files[member] for member in kept.values()}


def _parts(name: str, files: Mapping[str, IdxName], opened: Mapping[str, RawArray], transposed: bool) -> list[Part]:
    """The pictures of each file, train first, with their labels."""
    pictures = {said.part: member for member, said in files.items() if not said.is_labels}
    labels = {said.part: member for member, said in files.items() if said.is_labels}
    if extra := [labels[part] for part in labels if part not in pictures]:
        raise ArchiveError(f"{name}: {extra[0]} has no pictures beside it; fetch the whole archive, or take it out")
    order = sorted(pictures, key=lambda part: (files[pictures[part]].split != "train", part))
    splits = [files[pictures[part]].split for part in order]
    found = []
    for part, split in zip(order, splits, strict=True):
        images = opened[pictures[part]]
        if len(images.shape) != 3 or images.dtype.itemsize != 1 or images.dtype.kind != "u" or 0 in images.shape[1:]:
            raise ArchiveError(
                f"{images.file.name}: holds {images.dtype} of shape {images.shape}, expected bytes of shape (pictures, "
                "rows, columns)"
            )
        its = opened[labels[part]] if part in labels else None
        if its is not None and its.shape[0] != images.shape[0]:
            raise ArchiveError(
                f"{name}: {pictures[part]} holds {images.shape[0]} pictures, but {labels[part]} {its.shape[0]} labels; "
                "fetch both again"
            )
        is_alone = split is not None and splits.count(split) == 1
        found.append(
            Part(
                name=(split if is_alone else part) or "images",
                count=images.shape[0],
                grid=images.shape[:0:-1] if transposed else images.shape[1:],
                num_channels=1,
                read=_reader(images, transposed),
                labels={} if its is None else _columns(its),
                split=split,
            )
        )
    return found


def _orientation_notes(parts: Sequence[Part], transposed: bool, *, is_asked: bool) -> list[str]:
    """What is to be said of how EMNIST's characters are turned, in words."""
    other, notes = "as-stored" if transposed else "transposed", list[str]()
    if not is_asked:
        notes.append(
            f"EMNIST's pictures are stored column by column and are turned upright; --orientation {other} keeps them"
        )
    if (ratio := _width_to_height(parts)) > _LYING:
        notes.append(
            f"characters are {ratio:.2f} times as wide as tall, which upright ones are not: they may have been turned "
            f"before; --orientation {other} turns them"
        )
    return notes


def _width_to_height(parts: Sequence[Part]) -> float:
    """How much further ink spreads along x than along y, in the first pictures; written characters are taller."""
    part = parts[0]
    ink = sum(
        (part.read(k)[..., 0].astype(np.float64) for k in range(min(part.count, _NUM_WEIGHED))), np.zeros(part.grid)
    )
    if not ink.any():
        return 1.0
    spreads = []
    for axis in (0, 1):
        weights, place = ink.sum(axis=1 - axis) / ink.sum(), np.arange(part.grid[axis])
        spreads.append(float(weights @ (place - weights @ place) ** 2))
    return (spreads[1] / spreads[0]) ** 0.5 if spreads[0] else 1.0


def _reader(images: RawArray, transposed: bool) -> Callable[[int], UInt8[np.ndarray, "y x 1"]]:
    """What reads one picture, upright."""

    def read(k: int) -> UInt8[np.ndarray, "y x 1"]:
        grid = images.rows(k, k + 1)[0]
        return np.ascontiguousarray(grid.T if transposed else grid)[..., None]

    return read


def _columns(labels: RawArray) -> dict[str, np.ndarray]:
    """Labels by name: one, or the columns of QMNIST."""
    values = labels.whole(_MOST_LABEL_BYTES)
    if values.ndim == 1:
        return {"class": values}
    if values.ndim == 2:
        names = _QMNIST if values.shape[1] == len(_QMNIST) else [f"label_{k}" for k in range(values.shape[1])]
        return dict(zip(names, values.T, strict=True))
    raise ArchiveError(
        f"{labels.file.name}: has labels of shape {labels.shape}, expected one or a row for each picture"
    )


def _labels_by(files: Mapping[str, IdxName], opened: Mapping[str, RawArray]) -> dict[str, str]:
    givers = sorted(posixpath.basename(member) for member, said in files.items() if said.is_labels)
    first = next((opened[member] for member, said in files.items() if said.is_labels), None)
    return {} if first is None else dict.fromkeys(_columns(first), ", ".join(givers))


def _names(
    archive: PlacedArchive, files: Mapping[str, IdxName], parts: Sequence[Part], given: tuple[str, ...]
) -> tuple[tuple[str, ...] | None, str | None]:
    """Names of the classes, and who gives them."""
    if given:
        return class_names(given, "class_names"), "class_names"
    mapping = _mapping_of(next(iter(files.values())))
    if mapping in archive.members and any(said.is_labels for said in files.values()):
        return _mapped(archive, mapping), posixpath.basename(mapping)
    packed = [member for member, said in files.items() if said.is_labels and said.is_packed]
    if packed and len(packed) == len(parts):
        digests = {hashlib.md5(archive.read(member), usedforsecurity=False).hexdigest() for member in packed}
        if digests <= _FASHION:
            return _FASHION_NAMES, "the checksums of Fashion-MNIST's files"
    return None, None


def _mapped(archive: PlacedArchive, member: str) -> tuple[str, ...]:
    """Names by EMNIST's mapping: lines of a label and the ASCII codes of the characters that it stands for."""
    where = f"{archive.name}/{member}"
    file = open_member(archive, member, kept_blocks())
    if file.size > _MOST_TEXT_BYTES:
        raise ArchiveError(f"{where}: has {file.size} bytes, expected at most {_MOST_TEXT_BYTES}")
    found: dict[int, str] = {}
    for number, line in enumerate(file.read_at(0, file.size).decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) < 2 or not all(re.fullmatch(r"\d{1,3}", word) for word in words) or int(words[0]) in found:
            raise ArchiveError(
                f"{where} line {number}: found {line!r:.100}, expected a label and codes of characters, such as 10 65"
            )
        codes = [int(word) for word in words[1:]]
        if not all(32 < code < 127 for code in codes):
            raise ArchiveError(f"{where} line {number}: found {line!r:.100}, expected codes of ASCII from 33 to 126")
        found[int(words[0])] = "/".join(map(chr, codes))
    # Letters are counted from 1: the numbers stay as published, and those that are none keep their digits as names.
    return class_names([found.get(k, f"({k})") for k in range(max(found, default=-1) + 1)], where)


converter = Converter(
    summary="MNIST, Fashion-MNIST, EMNIST, KMNIST, QMNIST: pictures in IDX files",
    options=MnistOptions,
    presets=PIXELS_PRESETS,
    open=_open,
    files=find_files,
)
