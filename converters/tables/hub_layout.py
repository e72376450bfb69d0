"""Data sets as the Hugging Face hub has them: which Parquet files are which split, in a folder, alone or on a server.

What a README.md says in its front matter counts (`configs`, `data_files`); else the names of files and folders, as the
hub has it: train-00000-of-00002.parquet, data/test-*.parquet, validation/0000.parquet. Below folders of other names lie
configurations, of which one is taken.
"""

import dataclasses
import functools
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from converters.archives.archive_files import ArchiveFiles, described
from converters.archives.listing import nothing_to_convert
from converters.archives.many_archives import LentFile, OpenFiles, is_remote
from converters.archives.packed import RandomBytes, RandomFile
from converters.archives.plain_files import FileStamps, base_name, checked_path, links_may_lead_to, walk_files
from converters.archives.remote_file import RemoteFile
from converters.tables.dataset_card import DatasetCard, matching
from converters.tables.parquet_files import ParquetTable, stem_of
from functa_store.errors import ArchiveError, FunctaStoreError
from functa_store.progress import Note, Report
from functa_store.sources.splits import split_of_word
from functa_store.store.storage.objects import open_objects
from functa_store.support.shortening import shown

ENDPOINT = "https://huggingface.co"
"""The hub, unless HF_ENDPOINT names another one."""

# The digits of earlier versions of `datasets` behind it, as in train-00000-of-00002-b6bcaabd86f0ac98, say no split.
_SHARD = re.compile(r"(?P<stem>.*?)-?(?P<number>\d{5,})-of-(?P<total>\d{5,})(?:-[0-9a-f]{8,32})?")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WORDS = re.compile(r"[-._ 0-9]+")
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
        given: What was asked for, if that was several files.
    """

    name: str
    files: Sequence[Placed]
    published_by: str
    features: Mapping[str, Any]
    texts: Mapping[str, str]
    facts: Mapping[str, Any]
    given: ArchiveFiles | None = None

    def __post_init__(self) -> None:
        stamps = [file.table.stamps() for file in self.files]
        object.__setattr__(self, "_stamps", [found for found in stamps if found is not None])

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """Digest of each file by what it is called: of its content on a disk, of footer and length on a server."""
        return {file.table.place: file.table.identity(whole=True) for file in self.files}

    def described(self, *, read: bool) -> dict[str, Any]:
        """What provenance keeps of the files; `read` says whether they are read for their digests."""
        return described([file.table.place for file in self.files], self.digests if read else None)

    def sha256(self) -> str:
        """Digest over the digests of all files, and of texts that decide something."""
        digest = hashlib.sha256()
        for place, identity in self.digests.items():
            digest.update(f"{place}\0{identity}\n".encode())
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
        if self.given is not None:
            self.given.check_unchanged()


def open_tables(given: ArchiveFiles, config: str | None, report: Report) -> TableFiles:
    """The Parquet files of a data set.

    Args:
        given: A folder, a .parquet file, the URL of one, "hf://datasets/NAME", or the NAME of a data set on the hub; or
            several .parquet files or URLs.
        config: Which configuration; None takes the only one.
        report: Told what is odd.

    Raises:
        ArchiveError: If there are none, or the choice among configurations or splits is not clear.
    """
    if len(given) > 1:
        return _of_files(given, config)
    text = given.paths[0]
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
    if _NAME.fullmatch(text) and not text.lower().endswith(".parquet"):
        return _of_hub(text, config, report)
    raise ArchiveError(f"{path}: no such file or folder, and no name of a data set on the hub, such as ylecun/mnist")


def _of_files(given: ArchiveFiles, config: str | None) -> TableFiles:
    """Several files as those of one configuration, their splits by their names."""
    opened, files = OpenFiles(), dict(zip(map(_usable, given.names), given.paths, strict=True))
    if odd := next((name for name in files if not name.lower().endswith(".parquet")), None):
        raise ArchiveError(f"{given.name}: {shown(odd)} is no .parquet by its name, expected several such files")
    chosen, by_split, published_by = _choose(given.name, {"default": (_by_names(list(files)), "file names")}, config)
    order = _in_order(by_split)
    tables = (ParquetTable(_random_access(files[file], opened), _place(split, file)) for split, file in order)
    placed = [Placed(table, split) for table, (split, _) in zip(tables, order, strict=True)]
    return TableFiles(
        name=given.name,
        files=_with_unique_places(placed, [file for _, file in order]),
        published_by=published_by if any(by_split) else "none",
        features={},
        texts={},
        facts={} if chosen is None else {"configuration": chosen},
        given=given,
    )


def _random_access(path: str, opened: OpenFiles) -> RandomBytes:
    if not is_remote(path):
        return LentFile(path, opened)
    is_of_hub = path.startswith("hf://datasets/") and path.lower().endswith(".parquet")
    return RemoteFile(_url_of(path) if is_of_hub else path)


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
    members, opened = _members(path), OpenFiles()
    name = base_name(path)
    tables = sorted(member for member in members if member.lower().endswith(".parquet"))
    if not tables:
        raise _no_tables(name, members)
    card = DatasetCard(name, members)
    configs = _configs_of_card(card, tables) or _configs_of_names(name, tables)
    chosen, by_split, published_by = _choose(name, configs, config)
    _check_once(name, by_split)
    _check_shards(name, [file for files in by_split.values() for file in files])
    placed = [
        Placed(ParquetTable(LentFile(members[file], opened), _place(split, file)), split)
        for split, file in _in_order(by_split)
    ]
    _compare_counts(name, card.counts(chosen), placed, report)
    return TableFiles(
        name=name,
        files=_with_unique_places(placed, [file for _, file in _in_order(by_split)]),
        published_by=published_by,
        features=card.features(chosen),
        texts=card.digests,
        facts={} if chosen is None else {"configuration": chosen},
    )


def _members(path: str) -> dict[str, str]:
    """Real path of every file in a folder by its name below it, hidden ones left out.

    A link may lead to a file inside the folder; in a snapshot of the hub's cache, to one of the same data set's blobs.
    """
    real, inside = os.path.realpath(path), links_may_lead_to(path)
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


_Configs = dict[str, tuple[dict[str | None, list[str]], str]]
"""Files by the word for their split, and who says so, by configuration."""


def _configs_of_card(card: DatasetCard, tables: Sequence[str]) -> _Configs:
    """Configurations that the front matter of README.md lists with their files."""
    found: _Configs = {}
    for config in card.configs():
        by_split: dict[str | None, list[str]] = {}
        for split, patterns in config.patterns:
            for pattern in patterns:
                by_split.setdefault(split, []).extend(matching(pattern, tables) or [f"{_MISSING}{pattern}"])
        if set(by_split) == {None}:
            found[config.name] = _by_names([file for files in by_split.values() for file in files]), "file names"
        else:
            found[config.name] = by_split, "README.md"
    return found


_MISSING = "\0"


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
    if not any(by_split.values()):
        raise ArchiveError(f"{name}: README.md names no Parquet files for {shown(chosen)}; correct its front matter")
    words = ", ".join(sorted(map(shown, filter(None, by_split))))
    return (config or (chosen if chosen != "default" else None)), by_split, f"published by {says} ({words})"


def _check_shards(name: str, files: Sequence[str]) -> None:
    """Refuse a split of which shards are missing, or were saved twice: names say how many there are."""
    shards: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for file in sorted(set(files)):
        if found := _SHARD.fullmatch(stem_of(file)):
            key = (posixpath.dirname(file), found["stem"])
            shards.setdefault(key, []).append((int(found["total"]), int(found["number"]), posixpath.basename(file)))
    for (folder, stem), found in shards.items():
        total = found[0][0]
        numbers = {number for _, number, _ in found}
        if len(numbers) < len(found) or {of for of, _, _ in found} != {total}:
            raise ArchiveError(
                f"{name}: has {posixpath.join(folder, stem)}-* from several savings, among them {shown(found[0][2])} "
                f"and {shown(found[-1][2])}, so that rows would count twice; remove those of the earlier one"
            )
        if len(numbers) < total:
            first = next(k for k in range(total) if k not in numbers)
            raise ArchiveError(
                f"{name}: has {len(numbers)} of {total} files {posixpath.join(folder, stem)}-*-of-{total:05}*.parquet; "
                f"number {first:05} is missing; fetch the others, or convert a single file by its own path"
            )


def _check_once(name: str, by_split: Mapping[str | None, Sequence[str]]) -> None:
    """Refuse a file that is listed for two splits: what is held out would be learned from."""
    splits: dict[str, str | None] = {}
    for split, files in by_split.items():
        for file in files:
            if splits.setdefault(file, split) != split:
                raise ArchiveError(
                    f"{name}: README.md lists {shown(file)} for the splits {splits[file]} and {split}, so that what is "
                    "held out would be learned from; correct its data_files"
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


def _compare_counts(name: str, counts: Mapping[str, int], placed: Sequence[Placed], report: Report) -> None:
    """Tell where a README.md counts other examples than there are."""
    for split, expected in counts.items():
        found = sum(file.table.num_rows for file in placed if file.split == split)
        if found and found != expected:
            message = f"{name}: its description counts {expected:,} examples in {split}, found {found:,}"
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
    if not path:
        name, _, revision = f"{owner}/{second}".rstrip("/").partition("@")
        if revision:
            raise ArchiveError(f"{address}: the hub lists Parquet files of no revision; name a single file")
        return _of_hub(name, config, report)
    if not path.lower().endswith(".parquet"):
        raise ArchiveError(f"{address}: expected the name of a .parquet file, or that of the data set alone")
    url = _url_of(address)
    return _single(RemoteFile(url), url, config)


def _url_of(address: str) -> str:
    """Where the hub has the file of hf://datasets/OWNER/NAME@REVISION/PATH."""
    owner, second, path = address.removeprefix("hf://datasets/").split("/", 2)
    name, _, revision = f"{owner}/{second}".partition("@")
    return f"{_endpoint()}/datasets/{name}/resolve/{revision or 'main'}/{path}"


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
