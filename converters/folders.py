"""Folders of an archive: splits and classes that they name, of members by themselves or of examples by their files."""

import collections
import dataclasses
import posixpath
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from functa_store.errors import ArchiveError
from functa_store.sources.source import BY_FOLDERS, Label
from functa_store.sources.splits import HOLD_OUT_PERIOD, hold_out_every, hold_out_last, hold_out_rule, split_of_word
from functa_store.support.shortening import shown


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FolderLayout:
    """What the folders of some members say, below the folder that holds them all; arrays and labels follow the members.

    Folders are named as splits where those of one level have names of "train" and of a held-out split, as in
    train/cat/1.png or cat/train/1.png; or where all at the top have such names. Else one called "train" is a class.

    Attributes:
        num_members: How many there are.
        words: Names of the folders that are named as splits, sorted; empty if there are none.
        outside: Members that lie in no folder named as a split, where others do.
        published: The split of each member, "train" of those outside; None if no folders are named so.
        classes: The class of each member, if the remaining folders differ.
    """

    num_members: int
    words: Sequence[str]
    outside: Sequence[str]
    published: np.ndarray | None
    classes: Label | None

    @classmethod
    def of(cls, members: Sequence[str], told: Sequence[str] | None = None) -> "FolderLayout":
        """That of members with "/" between folders, at least one.

        Args:
            members: Their names.
            told: Names by which folders tell splits and classes of each, if these are others.
        """
        places = [posixpath.dirname(member) for member in told or members]
        folders = _folders(places)
        level = _level_of_splits(folders.values())
        word = {}
        if level is not None:
            word = {folder: parts[level] for folder, parts in folders.items() if _split_at(parts, level)}
        split = {folder: split_of_word(name) or "" for folder, name in word.items()}
        cut = {
            folder: "/".join(part for k, part in enumerate(parts) if k != level or folder not in word) or "."
            for folder, parts in folders.items()
        }
        names = sorted(set(cut.values()))
        number = {name: k for k, name in enumerate(names)}
        classes = Label(values=np.array([number[cut[place]] for place in places], np.int32), names=tuple(names))
        return cls(
            num_members=len(members),
            words=sorted(set(word.values())),
            outside=[member for member, place in zip(members, places, strict=True) if word and place not in word],
            published=np.array([split.get(place, "train") for place in places], "U10") if word else None,
            classes=classes if len(names) > 1 else None,
        )

    @property
    def published_by(self) -> str:
        """Which folders are named as splits, in the words of a source's provenance."""
        return f"published by folders ({', '.join(self.words)})" if self.words else "none"

    @property
    def outside_in_words(self) -> str:
        """Which folders are named as splits, and what lies in none of them."""
        odd = collections.Counter(posixpath.dirname(member) or member for member in self.outside)
        shown_ones = ", ".join(f"{shown(place)} ({count})" for place, count in odd.most_common(5))
        more = f" and {len(odd) - 5} other folders" if len(odd) > 5 else ""
        return (
            f"the folders {', '.join(map(shown, self.words))} are named as splits, but {len(self.outside)} of "
            f"{self.num_members} files lie in none of them: {shown_ones}{more}"
        )

    def without_outside(self) -> "FolderLayout":
        """This layout, where nobody says what lies outside of splits.

        Raises:
            ArchiveError: If some members lie in folders named as splits, and others in none.
        """
        if self.outside:
            raise ArchiveError(f"{self.outside_in_words}; move these into one of them, or take them out")
        return self


def _folders(places: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The parts of each folder's name below the one that holds all members."""
    folders = sorted(set(places))
    common = posixpath.commonpath(folders)
    below = {folder: folder[len(common) :].strip("/") for folder in folders}
    return {folder: tuple(name.split("/")) if name else () for folder, name in below.items()}


def _split_at(parts: Sequence[str], level: int) -> str | None:
    return split_of_word(parts[level]) if level < len(parts) else None


def _level_of_splits(folders: Collection[Sequence[str]]) -> int | None:
    """The first level of folders, from 0, that are named as splits."""
    for level in range(max(map(len, folders))):
        splits = {_split_at(parts, level) for parts in folders}
        if ("train" in splits and len(splits - {None}) > 1) or (level == 0 and None not in splits):
            return level
    return None


class FileGroups(NamedTuple):
    """Examples of files: the split of every example, those of one file together, and labels.

    Attributes:
        split: Of every example.
        rule: That of the splits, in words.
        labels: The number of each example's file, and its class if the files lie in more than one folder.
        labels_by: Who gives each label, as provenance keeps it.
    """

    split: np.ndarray
    rule: str
    labels: dict[str, Label]
    labels_by: dict[str, str]


def group_by_files(places: Sequence[str], group: str, part: str, told: Callable[[str], str] = str) -> FileGroups:
    """Splits and labels of examples by the files that they come from.

    Splits are as published if folders are named as splits, else every tenth file is held out; of fewer than ten files,
    which leave no choice, the last tenth of the examples.

    Args:
        places: The file that each example comes from, with "/" between folders.
        group: What a file is called, and the label with its number.
        part: What an example is called.
        told: Gives the name of a file by which folders tell its split and class.

    Raises:
        ArchiveError: If some files lie in folders named as splits, and others in none.
    """
    numbers = {file: k for k, file in enumerate(dict.fromkeys(places))}
    if not numbers:
        return FileGroups(np.empty(0, "U10"), "none", {}, {})
    layout = FolderLayout.of(list(numbers), list(map(told, numbers))).without_outside()
    file_of = np.array([numbers[place] for place in places], np.int32)
    if layout.published is not None:
        split, rule = layout.published[file_of], layout.published_by
    elif len(numbers) < HOLD_OUT_PERIOD:
        split, rule = hold_out_last(len(places)), f"last tenth of the {part}s held out"
        split[0] = "train"  # a single one, too, is there to learn from
    else:
        split, rule = hold_out_every(len(numbers))[file_of], hold_out_rule(group)
    labels, labels_by = {group: Label(values=file_of)}, {group: f"{group}s"}
    if (classes := layout.classes) is not None:
        labels["class"] = dataclasses.replace(classes, values=classes.values[file_of])
        labels_by["class"] = BY_FOLDERS
    return FileGroups(split, rule, labels, labels_by)
