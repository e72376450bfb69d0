"""Converter of WebDataset: tars in which files of one name, but for their endings, are one example.

Expected result: one example per name (key) that has an image, in the order of tars and sorted names; label `class` of
.cls, and a label per flat field of .json; splits by the names of the tars, else by a field
`split` of .json, else every tenth example held out.
"""

import collections
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.archives.archive import PlacedArchive
from converters.archives.archive_files import ArchiveFiles, FilesStamps
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.archives.tar_shards import PACKED, ShardFiles, TarShards, list_shard, shards_of
from converters.images.image_files import ImageOptions
from converters.images.images import IMAGES_PRESETS, Catalogue, ImageSource, Unsplit, is_image
from converters.images.sample_labels import SampleLabels, parse_fields
from converters.label_tables import CALLED_SPLIT
from functa_store.errors import ArchiveError, MemberError
from functa_store.plugins import Converter
from functa_store.progress import Note, Report, silent
from functa_store.sources.options import SurveyOptions, option, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import Label, Reject, Source
from functa_store.sources.splits import check_holdout, hold_out_rule, hold_out_share, split_of_word, splits_of_words
from functa_store.support.shortening import shown

_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")
"""WebDataset's rule: folder and name up to the first dot are the key."""

_META = re.compile(r"(^|/)__[^/]*__($|/)")
_NUMBER = re.compile(r"[0-9]+(?:[-_]of[-_][0-9]+)?$")
_APART = re.compile(r"[-_. ]+")
_CLASS, _FIELDS = "cls", "json"
_MOST_TEXT_BYTES = 1 << 20
_NUM_SHOWN = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class WebDatasetOptions(ImageOptions):
    """How every image of tars becomes one square of pixels, and which one of several.

    Attributes:
        image_suffix: What follows the first dot of an image's name, such as "jpg" or "rgb.png", where a key has several
            images; of more than one the first that a key has.
        unsplit: What becomes of tars that are named as no split where others are: left out, or learned from; None
            refuses such an archive.
        holdout: Share of the examples that is held out, evenly, where no splits are published; None means a tenth.
    """

    image_suffix: tuple[str, ...] = option((), metavar="SUFFIX,...")
    unsplit: Unsplit | None = None
    holdout: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_holdout(self.holdout)


def open_webdataset(path: AnyArchive, *, report: Report = silent, **options: Any) -> Source:
    """A source over the images of a WebDataset.

    Args:
        path: A tar, a folder of tars, a pattern such as "train-{000..099}.tar", or a list of these.
        report: Told how far the survey is.
        **options: Fields of `WebDatasetOptions` and `SurveyOptions`, such as `resolution=32` and `limit=100`.

    Returns:
        The source, every image read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If a tar is missing or damaged, or there is no image, or there are several per key.
    """
    return converter.open(path, *split_options(WebDatasetOptions, options), report)


@names_the_right_converter("webdataset")
def _open(files: ArchiveFiles, options: WebDatasetOptions, survey: SurveyOptions, report: Report) -> Source:
    shards, stamps = shards_of(files), FilesStamps(files)
    shards_taken, published, published_by = _splits(shards, options.unsplit)
    samples = _Samples(shards, tuple(suffix.lower().lstrip(".") for suffix in options.image_suffix))
    for number in shards_taken:
        samples.take(number, list_shard(shards.paths[number]))
    keys, members, places, order = samples.finished()
    for message in samples.notes(len(shards.paths) - len(shards_taken)):
        report(Note(message=f"{shards.name}: {message}"))
    archive = TarShards(shards, members, places, samples.rejects, stamps)
    labels = samples.columns.labels(samples.count, order)
    split = published if published is None else published[places[:, 0]]
    if published is None and (field := _split_field(labels)) is not None:
        words = labels.pop(field)
        split = splits_of_words(np.array(words.names)[words.values].tolist())
        published_by = f"published by the field {field} of .{_FIELDS}"
    for name, reason in samples.columns.left_out.items():
        report(Note(message=f"{shards.name}: the field {name} is no label: it {reason}"))
    lacking = sum(int(np.isnan(label.values).any()) for label in labels.values() if label.values.dtype.kind == "f")
    if lacking:
        report(Note(message=f"{shards.name}: {lacking} labels are NaN for examples that lack them"))
    if options.holdout is not None and split is not None:
        raise ArchiveError(f"{shards.name}: splits are {published_by}; leave out holdout={options.holdout}")
    catalogue = Catalogue(
        images=members,
        ids=keys,
        labels=labels,
        published=split,
        published_by=published_by,
        labels_by={name: f".{_CLASS}" if name == "class" and samples.has_class else f".{_FIELDS}" for name in labels},
        rule=functools.partial(hold_out_share, share=options.holdout),
        rule_name=hold_out_rule(share=options.holdout),
        facts={"converter": "webdataset", "shards": len(shards_taken)},
        left_out=samples.left_out,
    )
    return options.augmented(ImageSource(archive, catalogue, options, survey, report), report)


def _splits(shards: ShardFiles, unsplit: Unsplit | None) -> tuple[list[int], np.ndarray | None, str]:
    """The tars that are taken, the published split of each tar, and who says so."""
    found = [_split_of(name) for name in shards.names]
    if not any(found):
        return list(range(len(found))), None, "none"
    odd = [name for name, split in zip(shards.names, found, strict=True) if split is None]
    if odd and unsplit is None:
        few = ", ".join(map(shown, odd[:_NUM_SHOWN])) + (", ..." if len(odd) > _NUM_SHOWN else "")
        raise ArchiveError(
            f"{shards.name}: {len(odd)} of {len(found)} tars are named as no split, but others are: {few}. Say what "
            "becomes of these by --unsplit leave-out or --unsplit train"
        )
    taken = [k for k, split in enumerate(found) if split is not None or unsplit == "train"]
    words = ", ".join(sorted({split for split in found if split}))
    return taken, np.array([split or "train" for split in found], "U10"), f"published by names of tars ({words})"


def _split_field(labels: Mapping[str, Label]) -> str | None:
    """The label that says a split of every example, if there is one."""
    usual = (name for name, label in labels.items() if name.lower() in CALLED_SPLIT and label.names)
    return next((name for name in usual if all(map(split_of_word, labels[name].names or ()))), None)


def _split_of(name: str) -> str | None:
    """The split that a tar is named as: its own name counts before those of its folders."""
    for part in reversed(name.split("/")):
        stem = _NUMBER.sub("", part).rstrip("-_. ")
        words = [part, stem, *_APART.split(stem)]
        if len(splits := {split for word in words if word and (split := split_of_word(word))}) == 1:
            return splits.pop()
    return None


class _Samples:
    """Examples gathered from one tar after the other.

    Args:
        shards: The tars.
        wanted: Suffixes of the images that are taken; none takes the only one.

    Attributes:
        columns: Labels, by the number of each example as it was found.
        count: Examples found.
        rejects: Images that cannot be used.
        left_out: Keys without an image.
        has_class: Whether .cls give a label.
    """

    def __init__(self, shards: ShardFiles, wanted: Sequence[str]) -> None:
        self._shards, self._wanted = shards, wanted
        self.columns, self.count, self.rejects, self.left_out = SampleLabels(), 0, list[Reject](), list[Reject]()
        self.has_class = False
        self._keys: list[str] = []
        self._members: list[str] = []
        self._places: list[np.ndarray] = []
        self._ignored: collections.Counter[str] = collections.Counter()
        self._texts: dict[int, str] = {}  # of .cls that are no number
        self._num_numbers = 0
        self._num_images_left = 0
        self._renamed: set[str] = set()

    def take(self, number: int, shard: PlacedArchive) -> None:
        """Note the examples of a tar, and read their labels."""
        name, groups = self._shards.names[number], dict[str, dict[str, str]]()
        problems = self._problems(name, shard)
        for member in shard.members:
            found = _KEY.fullmatch(member)
            if found is None or _META.search(member):
                self._ignored["named as none of an example"] += 1
                continue
            suffix = found[2].lower()
            if groups.setdefault(found[1], {}).setdefault(suffix, member) != member:
                problems.setdefault(found[1], f"has two members .{suffix}, whose letters' case alone differs")
        places = []
        for key, members in groups.items():
            image = self._image_of(name, key, members)
            if image is None:
                if key not in problems:
                    endings = ", ".join(f".{suffix}" for suffix in sorted(members))
                    self.left_out.append(
                        Reject(member=f"{name}/{key}", reason=f"is a key without an image, of {endings}")
                    )
                continue
            where = f"{name}/{members[image]}"
            problem = problems.get(key) or self._read_labels(shard, members)
            if problem is not None:
                self.rejects.append(Reject(member=where, reason=problem))
                continue
            place = shard.place(members[image])
            places.append((number, place.start, place.size))
            self._keys.append(key)
            self._members.append(where)
            self.count += 1
        self._places.append(np.array(places, np.int64).reshape(-1, 3))

    def _problems(self, name: str, shard: PlacedArchive) -> dict[str, str]:
        """Why keys cannot be used that a tar's listing has refused a member of."""
        problems: dict[str, str] = {}
        for reject in shard.rejects:
            found = _KEY.fullmatch(reject.member)
            if found is None or is_image(reject.member):
                self.rejects.append(Reject(member=f"{name}/{reject.member}", reason=reject.reason))
            if found is not None:
                problems.setdefault(found[1], f"its .{found[2]} {reject.reason}")
        return problems

    def _image_of(self, shard: str, key: str, members: dict[str, str]) -> str | None:
        """The suffix of the image that a key gives.

        Raises:
            ArchiveError: If there are several, and nobody says which one.
        """
        images = [suffix for suffix in members if is_image(f"x.{suffix}")]
        for suffix in members:
            if suffix not in images and suffix not in (_CLASS, _FIELDS):
                self._ignored[f".{suffix}"] += 1
        if self._wanted:
            taken = next((suffix for suffix in self._wanted if suffix in members), None)
            self._num_images_left += len(images) - (taken in images)
            return taken
        if len(images) > 1:
            endings = ", ".join(f".{suffix}" for suffix in sorted(images))
            raise ArchiveError(
                f"{self._shards.name}: {shard}/{key} has {len(images)} images, {endings}; say by --image-suffix which "
                f"one is the example, such as --image-suffix {sorted(images, key=len)[0]}"
            )
        return images[0] if images else None

    def _read_labels(self, shard: PlacedArchive, members: dict[str, str]) -> str | None:
        """Note the labels of the next example; gives why they cannot be read, or None."""
        fields: dict[str, Any] = {}
        try:
            if _FIELDS in members:
                try:
                    fields = parse_fields(_read_small(shard, members[_FIELDS]))
                except ValueError as error:
                    return f"its .{_FIELDS} cannot be read: {shown(str(error))}"
            if _CLASS in members:
                word = _read_small(shard, members[_CLASS]).decode("utf-8", "backslashreplace").strip()
                if not word:
                    return f"its .{_CLASS} is empty"
                if "class" in fields:
                    self._renamed.add("class")
                    fields["json_class"] = fields.pop("class")
                self.has_class = True
                if re.fullmatch(r"[+-]?[0-9]{1,18}", word):
                    self._num_numbers += 1
                    fields["class"] = int(word)
                else:
                    self._texts[self.count] = word
        except MemberError as error:
            return f"its labels cannot be read: {error}"
        self.columns.add(self.count, fields)
        return None

    def finished(self) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
        """Ids, members and places of all examples in their order, and the numbers that they were found by.

        Raises:
            ArchiveError: If there is none.
        """
        if not self._members and not self.rejects:
            others = collections.Counter(reject.reason for reject in self.left_out)
            found = [f"{count} {name}" for name, count in (self._ignored + others).most_common(_NUM_SHOWN)]
            raise ArchiveError(
                f"{self._shards.name}: no images; found {', '.join(found) or 'nothing that can be used'}, expected a "
                ".jpg, .png or .webp beside the other members of each key"
            )
        is_kept = np.ones(self.count, bool)
        if self._num_numbers:
            for number, word in self._texts.items():
                is_kept[number] = False
                reason = f"its .{_CLASS} is {word!r:.50}, expected a number as the others are"
                self.rejects.append(Reject(member=self._members[number], reason=reason))
        else:
            for number, word in self._texts.items():
                self.columns.add(number, {"class": word})
        order = np.array(sorted(np.flatnonzero(is_kept).tolist(), key=self._members.__getitem__), np.int64)
        repeats = len(set(self._keys)) < len(self._keys)
        keys = [self._key(k, repeats) for k in order.tolist()]
        self.rejects.sort(key=lambda reject: reject.member)
        places = np.concatenate([np.empty((0, 3), np.int64), *self._places])
        return keys, [self._members[k] for k in order.tolist()], places[order], order

    def _key(self, number: int, repeats: bool) -> str:
        if not repeats:
            return self._keys[number]
        found = _KEY.fullmatch(self._members[number])
        return found[1] if found else self._members[number]

    def notes(self, num_left: int) -> list[str]:
        """What is left out or odd, in words."""
        found = []
        if num_left:
            found.append(f"{num_left} tars that are named as no split are left out")
        if self._ignored:
            few = ", ".join(f"{count:,} {name}" for name, count in self._ignored.most_common(_NUM_SHOWN))
            found.append(f"members that are neither images nor labels are left out: {few}")
        if self._num_images_left:
            found.append(f"{self._num_images_left:,} images of other suffixes are left out")
        if self._renamed:
            found.append("the field class of .json is the label json_class, since .cls gives class")
        if self._texts and self._num_numbers:
            found.append(f"{len(self._texts)} .cls are no numbers")
        return found


def _read_small(shard: PlacedArchive, member: str) -> bytes:
    """A member with labels.

    Raises:
        MemberError: If it is longer than labels are, or cannot be read.
    """
    if (size := shard.place(member).size) > _MOST_TEXT_BYTES:
        raise MemberError(f"{shown(member)} has {size} bytes, more than the {_MOST_TEXT_BYTES} that are read")
    return shard.read(member)


converter = Converter(
    summary="WebDataset: tars of images with labels in .cls and .json beside each",
    options=WebDatasetOptions,
    presets=IMAGES_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=(".tar", *PACKED), folders="mixed"),
)
