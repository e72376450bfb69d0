"""Converter of CIFAR-10 and CIFAR-100, as published for C programs and for Python.

Expected result: one example per picture of 32x32, 50,000 train and 10,000 test as published; label `class` for
CIFAR-10, `fine` and `coarse` for CIFAR-100, with the names of the classes. Pickles are never executed.
"""

import itertools
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from converters.archives.archive import PlacedArchive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.inflated import kept_blocks, open_member, open_placed
from converters.archives.known_archives import names_the_right_converter
from converters.archives.listing import nothing_to_convert
from converters.archives.packed import RandomBytes
from converters.pixels.pixel_source import (
    PIXELS_PRESETS,
    Meaning,
    Part,
    PixelOptions,
    PixelSource,
    class_names,
    published_by_files,
)
from functa_store.errors import ArchiveError, MemberError
from functa_store.plugins import Converter
from functa_store.progress import Note, Report, silent
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import Source
from functa_store.support.inert_pickle import load_inert
from functa_store.support.shortening import shown

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_MOST_PICKLE_BYTES = 1 << 28
_MOST_TEXT_BYTES = 1 << 16
_NUM_BATCHES = 5


class _Layout(NamedTuple):
    """One of the forms in which CIFAR is published.

    Attributes:
        title: In words.
        labels: Label of each byte before a picture, or of each list beside the pictures.
        train: Base names of the training files.
        test: Of the test file.
        names: Of the files with names of classes; one of a text for each label, or one pickle.
        is_pickle: Whether they are pickles.
    """

    title: str
    labels: tuple[str, ...]
    train: re.Pattern[str]
    test: str
    names: tuple[str, ...]
    is_pickle: bool


_BATCH = r"data_batch_(\d+)"
_LAYOUTS = (
    _Layout(
        "CIFAR-10, binary version",
        ("class",),
        re.compile(rf"{_BATCH}\.bin"),
        "test_batch.bin",
        ("batches.meta.txt",),
        False,
    ),
    _Layout(
        "CIFAR-100, binary version",
        ("coarse", "fine"),
        re.compile(r"train\.bin"),
        "test.bin",
        ("coarse_label_names.txt", "fine_label_names.txt"),
        False,
    ),
    _Layout("CIFAR-10, Python version", ("class",), re.compile(_BATCH), "test_batch", ("batches.meta",), True),
    _Layout("CIFAR-100, Python version", ("coarse", "fine"), re.compile("train"), "test", ("meta",), True),
)
_LISTS = {"class": "labels", "coarse": "coarse_labels", "fine": "fine_labels"}
_NUM_CLASSES = {"class": 10, "coarse": 20, "fine": 100}
_NAME_LISTS = {"class": "label_names", "coarse": "coarse_label_names", "fine": "fine_label_names"}


def open_cifar(path: AnyArchive, *, report: Report = silent, **options: Any) -> Source:
    """A source over CIFAR-10 or CIFAR-100.

    Args:
        path: A .tar.gz as published (cifar-10-binary.tar.gz, cifar-100-python.tar.gz, ...), or unpacked.
        report: Told of what is odd.
        **options: Fields of `PixelOptions` and `SurveyOptions`, such as `limit=100`.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If it is none of them, or is damaged.
    """
    return converter.open(path, *split_options(PixelOptions, options), report)


@names_the_right_converter("cifar")
def _open(given: ArchiveFiles, options: PixelOptions, survey: SurveyOptions, report: Report) -> Source:
    archive = open_placed(given.only("CIFAR"))
    layout, files = _find(archive)
    if layout.is_pickle:
        parts = [_unpickled(archive, member, split, layout) for split, members in files.items() for member in members]
    else:
        kept = kept_blocks()
        parts = [
            _records(open_member(archive, member, kept), split, layout)
            for split, members in files.items()
            for member in members
        ]
    parts = [_joined([part for part in parts if part.split == split]) for split in files]
    names, by = _class_names(archive, layout, files)
    _check_numbers(archive.name, parts, layout, names)
    for problem in _incomplete(layout, files, names):
        report(Note(message=f"{archive.name}: {problem}"))
    meaning = Meaning(
        converter="cifar",
        published_by=published_by_files(itertools.chain.from_iterable(files.values())),
        names=names,
        labels_by={label: by.get(label, "the files of the pictures") for label in layout.labels},
        facts={"layout": layout.title},
    )
    return options.augmented(PixelSource(archive, parts, meaning, options, survey, report), report)


def _find(archive: PlacedArchive) -> tuple[_Layout, dict[str, list[str]]]:
    """The layout whose files are there, and these by their split, batches in the order of their numbers."""
    found = []
    by_folder: dict[str, list[str]] = {}
    for member in archive.members:
        by_folder.setdefault(posixpath.dirname(member), []).append(posixpath.basename(member))
    for folder, names in by_folder.items():
        for layout in _LAYOUTS:
            train = sorted((name for name in names if layout.train.fullmatch(name)), key=_number)
            if not train or (layout.is_pickle and not {layout.test, *layout.names}.intersection(names)):
                continue
            files = {"train": train} | ({"test": [layout.test]} if layout.test in names else {})
            found.append((layout, {split: [posixpath.join(folder, name) for name in files[split]] for split in files}))
    if not found:
        raise nothing_to_convert(
            archive.name,
            archive.members,
            "batches of CIFAR",
            "data_batch_1.bin, train.bin, data_batch_1 or train as in CIFAR's archives for C and for Python",
            archive.rejects,
        )
    if len(found) > 1:
        titles = "; ".join(
            f"{layout.title} in {shown(posixpath.dirname(files['train'][0]) or '.')}" for layout, files in found
        )
        raise ArchiveError(f"{archive.name}: holds several versions ({titles}); convert one of the folders")
    return found[0]


def _check_numbers(name: str, parts: Sequence[Part], layout: _Layout, names: Mapping[str, Any]) -> None:
    """Refuse numbers of classes that CIFAR has not, unless other classes are named."""
    for part in parts:
        for label, values in part.labels.items():
            if label not in names and len(values) and values.max() >= _NUM_CLASSES[label]:
                raise ArchiveError(
                    f"{name}: {part.name}/{int(values.argmax()):05} has {label} {values.max()}, expected less than the "
                    f"{_NUM_CLASSES[label]} classes of {layout.title}; is the file damaged, or another archive?"
                )


def _number(name: str) -> int:
    found = re.search(r"_(\d{1,9})", name)
    return int(found[1]) if found else 0


def _incomplete(layout: _Layout, files: Mapping[str, Sequence[str]], names: Mapping[str, Any]) -> list[str]:
    """What the archive lacks of what was published, in words."""
    found = []
    if "class" in layout.labels and len(files["train"]) != _NUM_BATCHES:
        found.append(f"has {len(files['train'])} of the {_NUM_BATCHES} batches to train on")
    if "test" not in files:
        found.append(f"has no {layout.test}, so that nothing is held out")
    if lacking := [label for label in layout.labels if label not in names]:
        found.append(f"has no {' or '.join(layout.names)}, so that classes of {' and '.join(lacking)} are numbers")
    return found


def _records(file: RandomBytes, split: str, layout: _Layout) -> Part:
    """A binary file: for each picture its labels, a byte each, and then its three planes."""
    num_labels = len(layout.labels)
    record = num_labels + _PIXELS
    if not file.size or file.size % record:
        raise ArchiveError(
            f"{file.name}: has {file.size} bytes, expected a multiple of {record} as of {layout.title}: it is "
            "truncated, or another file; fetch it again"
        )
    count = file.size // record
    labels = np.empty((count, num_labels), np.uint8)
    rows = max(1, (1 << 20) // record)
    try:
        for start in range(0, count, rows):
            stop = min(count, start + rows)
            block = np.frombuffer(file.read_at(start * record, (stop - start) * record), np.uint8)
            labels[start:stop] = block.reshape(-1, record)[:, :num_labels]
    except MemberError as error:
        raise ArchiveError(f"{file.name}: {error}") from error

    def read(k: int) -> np.ndarray:
        return _picture(np.frombuffer(file.read_at(k * record + num_labels, _PIXELS), np.uint8))

    return _part(split, count, read, dict(zip(layout.labels, labels.T, strict=True)))


def _picture(planes: UInt8[np.ndarray, " 3072"]) -> UInt8[np.ndarray, "32 32 3"]:
    """Pixels of three planes, red, green and blue, each row by row."""
    return np.ascontiguousarray(planes.reshape(3, _SIDE, _SIDE).transpose(1, 2, 0))


def _part(split: str, count: int, read: Callable[[int], np.ndarray], labels: Mapping[str, np.ndarray]) -> Part:
    return Part(name=split, count=count, grid=(_SIDE, _SIDE), num_channels=3, read=read, labels=labels, split=split)


def _joined(parts: Sequence[Part]) -> Part:
    """The batches of a split as one part."""
    starts = np.cumsum([0, *(part.count for part in parts)])

    def read(k: int) -> np.ndarray:
        number = int(np.searchsorted(starts, k, "right")) - 1
        return parts[number].read(k - int(starts[number]))

    labels = {label: np.concatenate([part.labels[label] for part in parts]) for label in parts[0].labels}
    return _part(str(parts[0].split), int(starts[-1]), read, labels)


def _unpickled(archive: PlacedArchive, member: str, split: str, layout: _Layout) -> Part:
    """A pickled dictionary of an array of pictures, a row of planes each, and lists of labels."""
    where = f"{archive.name}/{member}"
    found = _dictionary(archive, member, _MOST_PICKLE_BYTES)
    data = found.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _PIXELS:
        kind = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ArchiveError(f"{where}: data is {kind}, expected bytes of shape (pictures, {_PIXELS})")
    labels = {}
    for label in layout.labels:
        values = found.get(_LISTS[label])
        if isinstance(values, np.ndarray):
            values = values.tolist()
        if not isinstance(values, list) or not all(type(v) is int and 0 <= v < 256 for v in values):
            raise ArchiveError(f"{where}: has no list {_LISTS[label]} of numbers of classes, as {layout.title} has")
        if len(values) != len(data):
            raise ArchiveError(f"{where}: {_LISTS[label]} has {len(values)} numbers for {len(data)} pictures")
        labels[label] = np.array(values, np.uint8)
    return _part(split, len(data), lambda k: _picture(data[k]), labels)


def _dictionary(archive: PlacedArchive, member: str, most: int) -> dict[str, Any]:
    """A pickled dictionary by its keys as text; Python 2 wrote them as bytes."""
    where = f"{archive.name}/{member}"
    try:
        found = load_inert(_content(archive, member, most))
    except MemberError as error:
        raise ArchiveError(f"{where}: {error}") from error
    if not isinstance(found, dict):
        raise ArchiveError(f"{where}: is a pickled {type(found).__name__}, expected a dictionary as CIFAR has it")
    return {_text(key): value for key, value in found.items()}


def _content(archive: PlacedArchive, member: str, most: int) -> bytes:
    file = open_member(archive, member, kept_blocks())
    if file.size > most:
        raise ArchiveError(f"{file.name}: has {file.size} bytes, expected at most {most}, as CIFAR's own")
    return file.read_at(0, file.size)


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _class_names(
    archive: PlacedArchive, layout: _Layout, files: Mapping[str, Sequence[str]]
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Names of the classes of each label that has some, and the file that gives them."""
    names, by, folder = {}, {}, posixpath.dirname(files["train"][0])
    for k, label in enumerate(layout.labels):
        member = posixpath.join(folder, layout.names[min(k, len(layout.names) - 1)])
        if member not in archive.members:
            continue
        where = f"{archive.name}/{member}"
        if layout.is_pickle:
            listed = _dictionary(archive, member, _MOST_TEXT_BYTES).get(_NAME_LISTS[label])
            if not isinstance(listed, list) or not all(isinstance(text, str | bytes) for text in listed):
                raise ArchiveError(f"{where}: has no list {_NAME_LISTS[label]} of texts, as {layout.title} has")
            texts = [_text(text) for text in listed]
        else:
            lines = _text(_content(archive, member, _MOST_TEXT_BYTES)).splitlines()
            texts = [line.strip() for line in lines if line.strip()]
        names[label], by[label] = class_names(texts, where), posixpath.basename(member)
    return names, by


converter = Converter(
    summary="CIFAR-10 or CIFAR-100, binary or Python version, as published (.tar.gz) or unpacked",
    options=PixelOptions,
    presets=PIXELS_PRESETS,
    open=_open,
    files=find_files,
)
