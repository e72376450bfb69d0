"""Data sets as the Hugging Face hub has them: which Parquet files are which split, in a folder, alone or on a server.

What a README.md says in its front matter counts (`configs`, `data_files`); else the names of files and folders, as the
hub has it: train-00000-of-00002.parquet, data/test-*.parquet, validation/0000.parquet. Below folders of other names lie
configurations, of which one is taken.
"""

import dataclasses
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from converters.archives.listing import nothing_to_convert
from converters.archives.packed import RandomFile
from converters.archives.plain_files import FileStamps, base_name, checked_path, shown, walk_files
from converters.tables.parquet_files import ParquetTable, RemoteFile, stem_of
from functa_store.errors import ArchiveError, FunctaStoreError
from functa_store.progress import Note, Report
from functa_store.sources.splits import split_of_word
from functa_store.store.storage.objects import open_objects

ENDPOINT = "https://huggingface.co"
"""The hub, unless HF_ENDPOINT names another one."""

_SHARD = re.compile(r"(?P<stem>.*?)-?(?P<number>\d{5,})-of-(?P<total>\d{5,})")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WORDS = re.compile(r"[-._ 0-9]+")
_FRONT_MATTER = re.compile(rb"\A\s*---\r?\n(.*?)\r?\n---\s*(\r?\n|\Z)", re.DOTALL)
_MOST_TEXT = 1 << 24
_PARTIAL = "/partial-"


class Placed(NamedTuple):
    """A Parquet file of a data set.

    Attributes:
        table: The file, its footer read.
        split: The word for its split; None if nothing says it.
    """

    table: ParquetTable
    split: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TableFiles:
    """The files of one configuration of a data set, in order.

    Attributes:
        name: Of the data set.
        files: The train split's first, then validation, test, and others.
        published_by: Who says which file is of which split, in words.
        features: What a README.md or dataset_infos.json says of columns, by name, as `datasets` has it in JSON.
        texts: Digests of files beside the tables that decide something.
        facts: More for the provenance.
    """

    name: str
    files: Sequence[Placed]
    published_by: str
    features: Mapping[str, Any]
    texts: Mapping[str, str]
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        stamps = [file.table.stamps() for file in self.files]
        object.__setattr__(self, "_stamps", [found for found in stamps if found is not None])

    def sha256(self) -> str:
        """Digest over the files: of their content on a disk, of footers and lengths on a server."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.table.place}\0{file.table.identity(whole=True)}\n".encode())
        for name, text in sorted(self.texts.items()):
            digest.update(f"{name}\0{text}\n".encode())
        return digest.hexdigest()

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        stamps: Sequence[FileStamps] = getattr(self, "_stamps", ())
        for stamp in stamps:
            stamp.check()
        for file in self.files:
            file.table.check_unchanged()


def open_tables(archive: str | os.PathLike[str], config: str | None, report: Report) -> TableFiles:
    """The Parquet files of a data set.

    Args:
        archive: A folder, a .parquet file, the URL of one, "hf://datasets/NAME", or the NAME of a data set on the hub.
        config: Which configuration; None takes the only one.
        report: Told what is odd.

    Raises:
        ArchiveError: If there are none, or the choice among configurations or splits is not clear.
    """
    text = os.fspath(archive) if isinstance(archive, str | os.PathLike) else archive
    if not isinstance(text, str):
        raise ArchiveError(f"found {text!r:.200}, expected a folder, a .parquet file, a URL or a data set's name")
    if text.startswith("hf://"):
        return _of_hub_address(text, config, report)
    if "://" in text:
        return _single(RemoteFile(text), text, config)
    path = checked_path(text)
    if os.path.isdir(path):
        return _of_folder(path, config, report)
    if os.path.isfile(path):
        return _single(RandomFile(path), path, config)
    if os.path.exists(path):
        raise ArchiveError(f"{path}: found a pipe or device, expected a folder or a .parquet file")
    if _NAME.fullmatch(text) and not text.endswith(".parquet"):
        return _of_hub(text, config, report)
    raise ArchiveError(f"{path}: no such file or folder, and no name of a data set on the hub, such as ylecun/mnist")


def _single(file: RandomFile | RemoteFile, path: str, config: str | None) -> TableFiles:
    """One file by itself; its name says no split, since there is no other one."""
    if config is not None:
        raise ArchiveError(f"{path}: is one file; leave out --config-name {config}")
    table = ParquetTable(file, _usable(stem_of(path.rstrip("/"))))
    return TableFiles(
        name=base_name(path), files=[Placed(table, None)], published_by="none", features={}, texts={}, facts={}
    )


def _usable(name: str) -> str:
    """A name as ids and messages may have it.

    Raises:
        ArchiveError: If a terminal would obey it.
    """
    if not name.isprintable():
        raise ArchiveError(f"found a file called {name!a:.200}, expected printable characters; rename it")
    return name


def _of_folder(path: str, config: str | None, report: Report) -> TableFiles:
    members = _members(path)
    name = base_name(path)
    tables = sorted(member for member in members if member.endswith(".parquet"))
    if not tables:
        raise _no_tables(name, members)
    texts = {
        member: _text(members[member], member) for member in ("README.md", "dataset_infos.json") if member in members
    }
    card = _card(name, texts.get("README.md", b""))
    configs = _configs_of_card(name, card, tables) or _configs_of_names(name, tables)
    chosen, by_split, published_by = _choose(name, configs, config)
    _check_shards(name, [file for files in by_split.values() for file in files])
    placed = [
        Placed(ParquetTable(RandomFile(members[file]), _place(split, file)), split)
        for split, file in _in_order(by_split)
    ]
    said = _said(name, card, texts.get("dataset_infos.json", b""), chosen)
    _compare_counts(name, said, placed, report)
    return TableFiles(
        name=name,
        files=_with_unique_places(placed, [file for _, file in _in_order(by_split)]),
        published_by=published_by,
        features=_features_said(said),
        texts={member: hashlib.sha256(text).hexdigest() for member, text in texts.items()},
        facts={} if chosen is None else {"configuration": chosen},
    )


def _members(path: str) -> dict[str, str]:
    """Real path of every file in a folder by its name below it, hidden ones left out.

    A link may lead to a file inside the folder; in a snapshot of the hub's cache, to one of the same data set's blobs.
    """
    real = os.path.realpath(path)
    above, snapshots = os.path.split(os.path.dirname(real))
    inside = os.path.join(above if snapshots == "snapshots" else real, "")
    found = {}
    for file, _ in walk_files(real):
        member = os.path.relpath(file, real).replace(os.sep, "/")
        if any(part.startswith(".") for part in member.split("/")):
            continue
        target = os.path.realpath(file)
        if not target.startswith(inside):
            raise ArchiveError(f"{path}: {member} is a link that leads out of the folder; replace it by the file")
        found[_usable(member)] = target
    return found


def _no_tables(name: str, members: Mapping[str, str]) -> ArchiveError:
    if any(member.endswith(".arrow") for member in members):
        return ArchiveError(
            f"{name}: found .arrow files, as datasets' save_to_disk writes them, expected .parquet; open it by "
            "datasets.load_from_disk(PATH) and convert that by functa_store.from_huggingface, or write Parquet files "
            "by its to_parquet"
        )
    error = nothing_to_convert(name, list(members), "Parquet files", "a folder with .parquet files")
    return ArchiveError(
        f"{error}; a folder, zip or tar of images, sounds or films has its own converter, see functa convert --help"
    )


def _text(path: str, member: str) -> bytes:
    file = RandomFile(path)
    if file.size > _MOST_TEXT:
        raise ArchiveError(f"{member}: has {file.size} bytes, more than the {_MOST_TEXT} of a text that is read")
    return file.read_at(0, file.size)


def _card(name: str, readme: bytes) -> Mapping[str, Any]:
    """The YAML front matter of a README.md."""
    import yaml

    if (found := _FRONT_MATTER.match(readme)) is None:
        return {}
    try:
        card = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{name}/README.md: its front matter is no YAML: {shown(str(error))}") from error
    return card if isinstance(card, dict) else {}


_Configs = dict[str, tuple[dict[str | None, list[str]], str]]
"""Files by the word for their split, and who says so, by configuration."""


def _configs_of_card(name: str, card: Mapping[str, Any], tables: Sequence[str]) -> _Configs:
    """Configurations that the front matter of README.md lists with their files."""
    listed = card.get("configs")
    found: _Configs = {}
    for entry in listed if isinstance(listed, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("config_name", "default"), str):
            raise ArchiveError(f"{name}/README.md: configs has {entry!r:.200}, expected config_name and data_files")
        config, folder = entry.get("config_name", "default"), str(entry.get("data_dir") or "")
        if (files := entry.get("data_files")) is None and not folder:
            continue
        if files is None:
            inside = [file for file in tables if file.startswith(folder.strip("/") + "/")]
            found[config] = _by_names(inside), "file names"
            continue
        by_split: dict[str | None, list[str]] = {}
        for split, patterns in _patterns(name, files):
            for pattern in patterns:
                glob = _glob(posixpath.join(folder, pattern))
                matching = [file for file in tables if glob.fullmatch(file)]
                if not matching:
                    by_split.setdefault(split, []).append(f"{_MISSING}{pattern}")
                by_split.setdefault(split, []).extend(matching)
        if set(by_split) == {None}:
            found[config] = _by_names([file for files in by_split.values() for file in files]), "file names"
        else:
            found[config] = by_split, "README.md"
    return found


_MISSING = "\0"


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
            raise ArchiveError(f"{name}/README.md: data_files has {entry!r:.200}, expected split and path")
        found.append((split, paths))
    return found


def _glob(pattern: str) -> re.Pattern[str]:
    """A shell's pattern, in which "**" crosses folders and "*" does not."""
    text, k = "", 0
    pattern = pattern.removeprefix("./")
    while k < len(pattern):
        if pattern.startswith("**/", k):
            text, k = text + "(?:.*/)?", k + 3
        elif pattern.startswith("**", k):
            text, k = text + ".*", k + 2
        elif (close := pattern.find("]", k + 2)) > 0 and pattern[k] == "[":
            inside = pattern[k + 1 : close].replace("\\", "\\\\")
            text, k = f"{text}[{'^' + inside[1:] if inside.startswith('!') else inside}]", close + 1
        elif (close := pattern.find("}", k)) > 0 and pattern[k] == "{":
            words = "|".join(map(re.escape, pattern[k + 1 : close].split(",")))
            text, k = f"{text}(?:{words})", close + 1
        else:
            text, k = text + {"*": "[^/]*", "?": "[^/]"}.get(pattern[k], re.escape(pattern[k])), k + 1
    try:
        return re.compile(text)
    except re.error as error:
        raise ArchiveError(f"README.md: data_files has the pattern {pattern!r:.200}, which is none: {error}") from error


def _configs_of_names(name: str, tables: Sequence[str]) -> _Configs:
    """Configurations by the folders that name no split."""
    by_config: dict[str, list[str]] = {}
    for file in tables:
        folders = [part for part in posixpath.dirname(file).split("/") if part and part != "data"]
        config = "/".join(part for part in folders if split_of_word(part) is None)
        by_config.setdefault(config, []).append(file)
    return {config or "default": (_by_names(files), "file names") for config, files in by_config.items()}


def _by_names(files: Sequence[str]) -> dict[str | None, list[str]]:
    """Files by the word for their split in their names, or in those of their folders."""
    found: dict[str | None, list[str]] = {}
    for file in files:
        found.setdefault(None if file.startswith(_MISSING) else _word_of(file), []).append(file)
    return found


def _word_of(file: str) -> str | None:
    """The word for a split in a file's name, without the number of its shard, or in that of a folder, the last one."""
    stem = stem_of(file)
    shard = _SHARD.fullmatch(stem)
    words = (shard["stem"] if shard else stem, *reversed(posixpath.dirname(file).split("/")))
    if (found := next((word for word in words if split_of_word(word) is not None), None)) is not None:
        return found
    if shard:
        return words[0] or None  # such as train_sft-00000-of-00001, whose split is called so
    for word in words:
        named = [part for part in _WORDS.split(word) if split_of_word(part) is not None]
        if len({split_of_word(part) for part in named}) == 1:
            return named[0]
    return None


def _choose(name: str, configs: _Configs, config: str | None) -> tuple[str | None, dict[str | None, list[str]], str]:
    """The configuration that is meant, its files by split, and who says so."""
    listed = ", ".join(map(shown, sorted(configs)[:50]))
    if config is None and len(configs) > 1:
        raise ArchiveError(f"{name}: has {len(configs)} configurations; name one of {listed} by --config-name")
    if config is not None and config not in configs:
        raise ArchiveError(f"{name}: has no configuration {config!r}, expected one of {listed}")
    chosen = config or next(iter(configs))
    by_split, says = configs[chosen]
    missing = [file[1:] for files in by_split.values() for file in files if file.startswith(_MISSING)]
    if missing:
        raise ArchiveError(
            f"{name}: README.md names the files {', '.join(map(shown, missing[:5]))}, which are not there; fetch them, "
            "or take them out of its front matter"
        )
    words = ", ".join(sorted(map(shown, filter(None, by_split))))
    return (config or (chosen if chosen != "default" else None)), by_split, f"published by {says} ({words})"


def _check_shards(name: str, files: Sequence[str]) -> None:
    """Refuse a split of which shards are missing: names say how many there are."""
    shards: dict[tuple[str, str, int], set[int]] = {}
    for file in files:
        if found := _SHARD.fullmatch(stem_of(file)):
            key = (posixpath.dirname(file), found["stem"], int(found["total"]))
            shards.setdefault(key, set()).add(int(found["number"]))
    for (folder, stem, total), numbers in shards.items():
        if len(numbers) < total:
            first = next(k for k in range(total) if k not in numbers)
            raise ArchiveError(
                f"{name}: has {len(numbers)} of {total} files {posixpath.join(folder, stem)}-*-of-{total:05}.parquet; "
                f"number {first:05} is missing; fetch the others, or convert a single file by its own path"
            )


_ORDER = ("train", "validation", "test")


def _in_order(by_split: Mapping[str | None, Sequence[str]]) -> list[tuple[str | None, str]]:
    def key(split: str | None) -> tuple[int, str]:
        known = split_of_word(split) if split is not None else None
        return (_ORDER.index(known) if known is not None else len(_ORDER)), split or ""

    return [(split, file) for split in sorted(by_split, key=key) for file in sorted(set(by_split[split]))]


def _place(split: str | None, file: str) -> str:
    """What ids call a file: its split, and its name without suffix."""
    return posixpath.join(_usable(split or ""), stem_of(file))


def _with_unique_places(placed: Sequence[Placed], files: Sequence[str]) -> list[Placed]:
    """The same files, called by their whole paths where two have one name."""
    if len({file.table.place for file in placed}) < len(placed):
        for file, path in zip(placed, files, strict=True):
            file.table.place = posixpath.splitext(path)[0]
    if len({file.table.place for file in placed}) < len(placed):
        raise ArchiveError(f"{placed[0].table.place}: one file is listed for several splits; correct the README.md")
    return list(placed)


def _said(name: str, card: Mapping[str, Any], infos: bytes, config: str | None) -> Mapping[str, Any]:
    """What README.md or dataset_infos.json says of a configuration under `features` and `splits`."""
    found = card.get("dataset_info")
    listed = found if isinstance(found, list) else [found]
    entries = [entry for entry in listed if isinstance(entry, dict)]
    for entry in entries:
        if len(entries) == 1 or entry.get("config_name", "default") == (config or "default"):
            return entry
    if not infos:
        return {}
    try:
        by_config = json.loads(infos)
        entries = list(by_config.values())
        said = by_config.get(config or "default", entries[0] if len(entries) == 1 else {})
        return said if isinstance(said, dict) else {}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ArchiveError(f"{name}/dataset_infos.json: is no JSON of configurations: {shown(str(error))}") from error


def _features_said(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Features by name as in JSON; in YAML they are a list of names and types."""
    found = said.get("features")
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


def _compare_counts(name: str, said: Mapping[str, Any], placed: Sequence[Placed], report: Report) -> None:
    """Tell where a README.md counts other examples than there are."""
    splits = said.get("splits")
    listed = splits.values() if isinstance(splits, dict) else splits if isinstance(splits, list) else []
    for entry in listed:
        if not isinstance(entry, dict) or not isinstance(expected := entry.get("num_examples"), int):
            continue
        found = sum(file.table.num_rows for file in placed if file.split == entry.get("name"))
        if found and found != expected:
            message = f"{name}: its description counts {expected:,} examples in {entry.get('name')}, found {found:,}"
            report(Note(message=message))


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or ENDPOINT


def _of_hub_address(address: str, config: str | None, report: Report) -> TableFiles:
    """A data set, or one file of it, by an address such as hf://datasets/NAME or hf://datasets/NAME/data/1.parquet."""
    rest = address.removeprefix("hf://").removeprefix("datasets/")
    owner, _, path = rest.partition("/")
    second, _, path = path.partition("/")
    if not address.startswith("hf://datasets/") or not owner or rest.endswith("/"):
        raise ArchiveError(f"{address}: expected hf://datasets/NAME, or hf://datasets/NAME/FILE.parquet")
    name, _, revision = f"{owner}/{second}".rstrip("/").partition("@")
    if not path:
        if revision:
            raise ArchiveError(f"{address}: the hub lists Parquet files of no revision; name a single file")
        return _of_hub(name, config, report)
    if not path.endswith(".parquet"):
        raise ArchiveError(f"{address}: expected the name of a .parquet file, or that of the data set alone")
    url = f"{_endpoint()}/datasets/{name}/resolve/{revision or 'main'}/{path}"
    return _single(RemoteFile(url), url, config)


def _of_hub(name: str, config: str | None, report: Report) -> TableFiles:
    """The Parquet files that the hub lists for a data set: those that were uploaded, or what it has made of others."""
    if not _NAME.fullmatch(name):
        raise ArchiveError(f"{name:.200}: is no name of a data set on the hub, such as ylecun/mnist")
    where = f"{_endpoint()}/api/datasets/{name}"
    try:
        listing = json.loads(open_objects(where).read("parquet", _MOST_TEXT))
        configs = {
            shown_config: {split: [_checked_url(url) for url in urls] for split, urls in splits.items()}
            for shown_config, splits in listing.items()
        }
    except FileNotFoundError as error:
        raise ArchiveError(
            f"{name}: no such file or folder here, and no public data set with Parquet files at {_endpoint()}; one "
            f"that is gated or private is fetched first, by `hf download --repo-type dataset {name} --local-dir DIR`"
        ) from error
    except (FunctaStoreError, OSError) as error:
        raise ArchiveError(
            f"{name}: no such file or folder here, and the hub cannot be asked for it: {error}"
        ) from error
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ArchiveError(f"{where}/parquet: the answer lists no Parquet files: {shown(str(error))}") from error
    if not any(configs.values()):
        raise ArchiveError(f"{name}: the hub lists no Parquet files for it; download it and convert what is in it")
    chosen, by_split, _ = _choose(
        name, {c: ({s: list(u) for s, u in splits.items()}, "the hub") for c, splits in configs.items()}, config
    )
    if partial := sorted(split for split, urls in by_split.items() if split and any(_PARTIAL in url for url in urls)):
        message = f"{name}: the hub has only a first part of {', '.join(partial)} as Parquet; the rest is not converted"
        report(Note(message=message))
    placed = []
    for split in dict.fromkeys(split for split, _ in _in_order(by_split)):
        for url in by_split[split]:  # in the hub's order
            place = posixpath.join(_usable(split or ""), _usable(stem_of(unquote(url))))
            placed.append(Placed(ParquetTable(RemoteFile(url), place), split))
    return TableFiles(
        name=name,
        files=_with_unique_places(placed, [file.table.place for file in placed]),
        published_by=f"published by the hub ({', '.join(sorted(filter(None, by_split)))})",
        features={},
        texts={},
        facts=({} if chosen is None else {"configuration": chosen}) | ({"partial": partial} if partial else {}),
    )


def _checked_url(url: Any) -> str:
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"found {url!r:.200}, expected the URL of a file")
    return url
