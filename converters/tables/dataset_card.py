"""What README.md and dataset_infos.json of a data set of the Hugging Face hub say: files, splits, classes and counts.

The front matter of a README.md is YAML. All that is written there without quotes is taken as the text that it is: a
class called no, off or 010 is no truth value and no octal number.
"""

import fnmatch
import functools
import hashlib
import itertools
import json
import posixpath
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from converters.archives.packed import RandomFile
from functa_store.errors import ArchiveError
from functa_store.support.shortening import shown

MOST_TEXT = 1 << 24
"""Bytes of a text that is read."""

_README, _INFOS = "README.md", "dataset_infos.json"
_FRONT_MATTER = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*---[ \t]*\r?\n(.*?)\r?\n---\s*(\r?\n|\Z)", re.DOTALL)
_MOST_ALTERNATIVES = 1000


class Config(NamedTuple):
    """A configuration that README.md lists with its files.

    Attributes:
        name: What it is called.
        patterns: Patterns of files by the word for their split; None where they name no split.
    """

    name: str
    patterns: Sequence[tuple[str | None, Sequence[str]]]


class DatasetCard:
    """README.md and dataset_infos.json of a data set, if there are such.

    Args:
        name: Of the data set, for messages.
        members: Path of each of its files, by its name.

    Attributes:
        digests: Of the two files, by name.

    Raises:
        ArchiveError: If one of them cannot be read.
    """

    def __init__(self, name: str, members: Mapping[str, str]) -> None:
        self._name = name
        texts = {member: _text(members[member], member) for member in (_README, _INFOS) if member in members}
        self.digests = {member: hashlib.sha256(text).hexdigest() for member, text in texts.items()}
        self._card = _front_matter(name, texts.get(_README, b""))
        self._infos = texts.get(_INFOS, b"")

    def configs(self) -> list[Config]:
        """Configurations that are listed with their files.

        Raises:
            ArchiveError: If one is none.
        """
        listed = self._card.get("configs")
        found: dict[str, Config] = {}
        for entry in listed if isinstance(listed, list) else []:
            if not isinstance(entry, dict) or not isinstance(entry.get("config_name", "default"), str):
                raise ArchiveError(
                    f"{self._name}/{_README}: configs has {reprlib.repr(entry):.200}, expected config_name "
                    "and data_files"
                )
            folder, files = str(entry.get("data_dir") or ""), entry.get("data_files")
            if not files and not folder:
                continue
            called = entry.get("config_name", "default")
            patterns = [
                (split, [posixpath.normpath(posixpath.join(folder, pattern)) for pattern in patterns])
                for split, patterns in _patterns(self._name, files or "**")
            ]
            found[called] = Config(called, patterns)
        return list(found.values())

    def features(self, config: str | None) -> Mapping[str, Any]:
        """Features of columns by name, as `datasets` has them in JSON; in YAML they are a list of names and types."""
        found = self._said(config).get("features")
        if isinstance(found, dict):
            return found
        features: dict[str, Any] = {}
        for entry in found if isinstance(found, list) else []:
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                continue
            kind = entry.get("dtype")
            if isinstance(kind, dict) and isinstance(described := kind.get("class_label"), dict):
                features[entry["name"]] = {"_type": "ClassLabel", "names": described.get("names")}
            elif kind in ("image", "audio"):
                features[entry["name"]] = {"_type": str(kind).capitalize()}
        return features

    def counts(self, config: str | None) -> dict[str, int]:
        """How many examples each split is said to have."""
        splits = self._said(config).get("splits")
        listed = splits.values() if isinstance(splits, dict) else splits if isinstance(splits, list) else []
        entries = [entry for entry in listed if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
        counted = {entry["name"]: str(entry.get("num_examples")) for entry in entries}
        return {split: int(count) for split, count in counted.items() if re.fullmatch(r"[0-9]{1,18}", count)}

    def _said(self, config: str | None) -> Mapping[str, Any]:
        """What is said of a configuration under `features` and `splits`."""
        found = self._card.get("dataset_info")
        listed = found if isinstance(found, list) else [found]
        entries = [entry for entry in listed if isinstance(entry, dict)]
        for entry in entries:
            if len(entries) == 1 or entry.get("config_name", "default") == (config or "default"):
                return entry
        if not self._infos:
            return {}
        try:
            by_config = json.loads(self._infos)
            entries = list(by_config.values())
            said = by_config.get(config or "default", entries[0] if len(entries) == 1 else {})
            return said if isinstance(said, dict) else {}
        except (ValueError, AttributeError, RecursionError) as error:
            raise ArchiveError(f"{self._name}/{_INFOS}: is no JSON of configurations: {shown(str(error))}") from error


def _text(path: str, member: str) -> bytes:
    file = RandomFile(path)
    if file.size > MOST_TEXT:
        raise ArchiveError(f"{member}: has {file.size} bytes, more than the {MOST_TEXT} of a text that is read")
    return file.read_at(0, file.size)


def _front_matter(name: str, readme: bytes) -> Mapping[str, Any]:
    """The YAML before a README.md."""
    import yaml

    if (found := _FRONT_MATTER.match(readme)) is None:
        return {}
    try:
        card = yaml.load(found[1], Loader=_text_loader())  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{name}/{_README}: its front matter is no YAML: {shown(str(error))}") from error
    return card if isinstance(card, dict) else {}


@functools.cache
def _text_loader() -> Any:
    """A loader of YAML for which all plain scalars are texts, but for those that are nothing."""
    import yaml

    class TextLoader(yaml.SafeLoader):
        yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML's own name

    TextLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null)?\Z"), ["~", "n", ""])
    return TextLoader


def _patterns(name: str, files: Any) -> list[tuple[str | None, list[str]]]:
    """Patterns of files by the word for their split; one alone names no split."""
    if isinstance(files, dict):
        files = [{"split": split, "path": path} for split, path in files.items()]
    listed = files if isinstance(files, list) else [files]
    found: list[tuple[str | None, list[str]]] = []
    for entry in listed:
        split, path = (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else (None, entry)
        paths = [path] if isinstance(path, str) else path
        if (
            not isinstance(paths, list)
            or not all(isinstance(p, str) for p in paths)
            or not isinstance(split, str | None)
        ):
            raise ArchiveError(
                f"{name}/{_README}: data_files has {reprlib.repr(entry):.200}, expected split and path of files"
            )
        found.append((split, paths))
    return found


def matching(pattern: str, files: Sequence[str]) -> list[str]:
    """Those of some files that fit a shell's pattern, in which "**" crosses folders and "*" does not.

    Takes time in proportion to the lengths of both, whatever the pattern.

    Raises:
        ArchiveError: If the pattern has too many alternatives.
    """
    alternatives = [alternative.split("/") for alternative in _alternatives(pattern)]
    return [file for file in files if any(_fits(parts, file.split("/")) for parts in alternatives)]


def _alternatives(pattern: str) -> list[str]:
    """Patterns without braces, in which "**" is a name of its own."""
    parts = re.split(r"(\{[^{}]*\}|\*\*)", pattern)
    choices = []
    for k, part in enumerate(parts):
        alone = part == "**" and parts[k - 1][-1:] in ("", "/") and parts[k + 1][:1] in ("", "/")
        if part.startswith("{"):
            choices.append(part[1:-1].split(","))
        else:
            choices.append(["*", "*/**/*"] if part == "**" and not alone else [part])
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST_ALTERNATIVES:
        raise ArchiveError(f"{_README}: data_files has the pattern {pattern!r:.200}, which has too many alternatives")
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _fits(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the names of a path fit those of a pattern, of which "**" is any number of names."""
    reached = _skipping({0}, pattern)  # places in the pattern at which the rest of the path may go on
    for name in names:
        stays = {place for place in reached if place < len(pattern) and pattern[place] == "**"}
        moves = {
            place + 1 for place in reached - stays if place < len(pattern) and fnmatch.fnmatchcase(name, pattern[place])
        }
        reached = _skipping(stays | moves, pattern)
    return len(pattern) in reached


def _skipping(places: set[int], pattern: Sequence[str]) -> set[int]:
    found = set(places)
    for place in sorted(places):
        while place < len(pattern) and pattern[place] == "**":
            place += 1
            found.add(place)
    return found
