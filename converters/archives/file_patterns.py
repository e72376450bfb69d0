"""Files of an archive found by what is typed for it: paths, addresses, patterns, braces, lists and folders."""

import fnmatch
import functools
import glob
import itertools
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal
from urllib.parse import unquote

from converters.archives.archive_files import ArchiveFiles
from converters.archives.listing import natural_order
from converters.archives.plain_files import OUTPUTS, base_name, checked_path, links_may_lead_to, open_plain
from functa_store.errors import ArchiveError, FunctaStoreError
from functa_store.store.storage.objects import open_objects
from functa_store.support.redaction import redacted
from functa_store.support.shortening import shown

Folders = Literal["whole", "pure", "mixed"]

MOST_FILES = 1 << 17
"""Files of one archive."""

_MOST_LIST_BYTES = 1 << 26
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_ADDRESS = re.compile(r"(pipe|[a-z][a-z0-9+]*)://?|pipe:", re.IGNORECASE)
_UNLISTED = ("http://", "https://", "hf://")
_TEXTS = (".txt", ".md", ".json", ".csv", ".tsv", ".yaml", ".yml", ".sha256", ".md5")
_ZARR = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")  # a store, of however many files
_ENCODED = str.maketrans({character: f"%{ord(character):02X}" for character in "%?#*[]{},"})
"""What an address of a key has in place of characters that mean something in addresses and patterns."""
_LIST = "@"


def find_files(
    archive: Any,
    *,
    of: Collection[str] = (),
    folders: Folders = "pure",
    remote: bool = False,
    working_folder: str | None = None,
) -> ArchiveFiles:
    """The files that are meant.

    - A path or an address is one file, or one folder. A folder of archives (`of`) counts as these, in natural order.
    - "part-*.zip" and "**/*.zip" are patterns as of `glob`: all that are there, in natural order (part-2 before
      part-10). "part-{000..015}.zip" and "{a,b}.zip" are ranges and choices as shells write them: each must be there.
    - "a.zip,b-*.zip" are several of these.
    - "@files.txt" is a list: the file has a path or address in each line, as it is, without patterns; blank lines and
      those that begin with "#" do not count, relative paths are below the list's folder. Order is that of the lines.
    - A list or tuple of Python has one of these in each item.

    What is there by its very name is that, also if it has characters of patterns; a file whose name begins with "@" is
    "./@...".

    Args:
        archive: What was typed.
        of: Endings of files that are archives of this kind, which a prefix of a bucket means that ends in a slash.
        folders: What a folder of a disk means: "whole", itself; "pure", its archives if it holds nothing else but
            texts; "mixed", its archives whatever else it holds. A folder without any is itself.
        remote: Whether addresses of buckets and servers can be opened.
        working_folder: Where relative paths begin; None means that of the process.

    Returns:
        At least one.

    Raises:
        ArchiveError: If something is not there, is named twice, or there are more than `MOST_FILES`; says what.
    """
    texts, begin = _texts_of(archive), working_folder or os.getcwd()
    again = functools.partial(find_files, texts, of=of, folders=folders, remote=remote, working_folder=begin)
    finder = _Finder(tuple(of), folders, remote, texts, begin)
    paths = list(itertools.islice(finder.paths(), MOST_FILES + 1))
    name = shown(",".join(_base_of(part, begin) for text in texts for part in finder.typed_parts(text)))
    if len(paths) > MOST_FILES:
        raise ArchiveError(f"{name}: names more than {MOST_FILES} files")
    typed = tuple(_absolute(part, begin) for text in texts for part in finder.typed_parts(text))
    if len(paths) == 1:
        only = _base_of(paths[0], begin)
        return ArchiveFiles(name=only, typed=typed, paths=tuple(paths), names=(only,), find=again)
    _check_apart(name, paths)
    return ArchiveFiles(name=name, typed=typed, paths=tuple(paths), names=tuple(_names_of(name, paths)), find=again)


def _texts_of(archive: Any) -> list[str]:
    """What was typed, in parts if it is a list of Python."""
    is_list = isinstance(archive, Sequence) and not isinstance(archive, str | bytes)
    items: list[Any] = list(archive) if is_list else [archive]
    if not items:
        raise ArchiveError("found an empty list of files, expected one path at least")
    for item in items:
        if not isinstance(item, str) or "\0" in item or not item:
            checked_path(item)  # says what is wrong
    return [_text_of(item) for item in items]


def _text_of(item: str | os.PathLike[str]) -> str:
    """A text as it is; a path, which is no list: Path("./@x.zip") forgets its beginning."""
    text = os.fspath(item)
    return text if isinstance(item, str) or not text.startswith(_LIST) else os.path.join(os.curdir, text)


class _Finder:
    """Files of some texts; see `find_files`."""

    def __init__(self, of: tuple[str, ...], folders: Folders, remote: bool, texts: Sequence[str], begin: str) -> None:
        self._of, self._folders, self._remote, self._texts, self._begin = of, folders, remote, texts, begin

    def paths(self) -> Iterator[str]:
        for text in self._texts:
            yield from self._of_text(text)

    def typed_parts(self, text: str) -> list[str]:
        """The parts of a text that commas separate, if it is no single name."""
        is_single = text.startswith((_LIST, *_UNLISTED)) or self._is_there(text)
        return [text] if is_single else [part.strip() for part in _at_commas(text) if part.strip()] or [text]

    def _of_text(self, text: str) -> Iterator[str]:
        if text.startswith(_LIST):
            yield from self._of_list(self._path(text[1:]))
            return
        for part in self.typed_parts(text):
            if self._is_there(part):
                yield from self._of_place(self._path(part))
                continue
            for pattern in _without_braces(part):
                yield from self._of_pattern(pattern, text, is_plain=self._texts == [pattern])

    def _of_pattern(self, pattern: str, text: str, *, is_plain: bool) -> Iterator[str]:
        if _ADDRESS.match(pattern):
            yield from self._of_address(pattern)
            return
        path = self._path(pattern)
        if os.path.exists(path):
            yield from self._of_place(path)
        elif glob.has_magic(pattern):
            matches = map(self._path, glob.iglob(pattern, root_dir=self._begin, recursive=True))
            if pattern.endswith("/**") or pattern == "**":  # as in buckets: folders are named by what is in them
                matches = (match for match in matches if not os.path.isdir(match))
            if not (found := sorted((one for one in matches if not one.endswith(OUTPUTS)), key=natural_order)):
                raise ArchiveError(
                    f"{shown(pattern)}: no file has such a name, expected some; is the folder the right one?"
                )
            for match in found:
                yield from self._of_place(match)
        elif is_plain:
            yield pattern  # whoever opens it says what is missing, or knows it as something else
        else:
            of = f", which {shown(text)} names" if pattern != text else ""
            raise ArchiveError(f"{path}: no such file{of}; fetch it, or name those that are there")

    def _path(self, text: str) -> str:
        checked_path(text)
        return os.path.abspath(os.path.join(self._begin, text))

    def _is_there(self, text: str) -> bool:
        return os.path.exists(os.path.join(self._begin, text))

    def _of_place(self, path: str) -> Iterator[str]:
        """A file, or all archives of a folder that holds nothing else."""
        if self._folders != "whole" and os.path.isdir(path) and (found := self._inside(path)):
            yield from found
        else:
            yield path

    def _inside(self, path: str) -> list[str]:
        """Archives in a folder and those below it, in natural order; none if the folder is something itself."""
        is_one = path.lower().endswith(self._of) or any(os.path.exists(os.path.join(path, name)) for name in _ZARR)
        found, folders, real = list[str](), [path] if self._of and not is_one else [], links_may_lead_to(path)
        while folders:
            try:
                entries = list(os.scandir(folders.pop()))
            except OSError as error:
                raise ArchiveError(f"{error.filename}: cannot be listed: {error.strerror}") from error
            for entry in entries:
                name = entry.name.lower()
                if name.startswith(".") or name == "__macosx" or name.endswith(OUTPUTS):
                    continue
                if name.endswith(self._of):
                    if not os.path.realpath(entry.path).startswith(real):
                        raise ArchiveError(
                            f"{path}: {entry.name!a} is a link that leads out of the folder; replace it by the file, "
                            "or name the files by a pattern or a list"
                        )
                    found.append(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif self._folders == "pure" and not name.endswith(_TEXTS) and "." in name:
                    return []
        return sorted(found, key=natural_order)

    def _of_list(self, path: str) -> Iterator[str]:
        for number, line in _lines(path):
            if _ADDRESS.match(line):
                yield from self._of_address(line, is_pattern=False)
                continue
            file = os.path.join(os.path.dirname(path), line)
            if "\0" in line or not os.path.exists(checked_path(file)):
                raise ArchiveError(f"{path} line {number}: {file}: no such file; fetch it, or take out the line")
            yield os.path.abspath(file)

    def _of_address(self, text: str, *, is_pattern: bool = True) -> Iterator[str]:
        if not self._remote or text.lower().startswith("pipe:"):
            raise ArchiveError(f"{shown(redacted(text))}: is an address, expected files on a disk; fetch them first")
        if is_pattern and text.startswith(_UNLISTED):
            if "*" in text:
                raise ArchiveError(
                    f"{shown(redacted(text))}: such a server does not list its files; name each of them, as by "
                    "{000..015} or in a list (@files.txt)"
                )
            is_pattern = False
        is_pattern &= glob.has_magic(text)
        if not is_pattern and (not text.endswith("/") or not self._of):
            yield text
            return
        parts = text.split("/")
        fixed = next((k for k, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
        folder, rest = "/".join(parts[:fixed]), parts[fixed:]
        try:
            keys = open_objects(unquote(folder)).sizes()
        except FunctaStoreError as error:
            raise ArchiveError(f"{shown(redacted(text))}: cannot be listed: {error}") from error
        found = [key for key in keys if (_matches(rest, key.split("/")) if is_pattern else self._is_meant(key))]
        if not found:
            what = "has such a name" if is_pattern else f"of {', '.join(self._of)} lies below it"
            raise ArchiveError(
                f"{shown(redacted(text))}: no object {what}, expected some; is the prefix the right one?"
            )
        yield from (f"{folder}/{key.translate(_ENCODED)}" for key in sorted(found, key=natural_order))

    def _is_meant(self, key: str) -> bool:
        return key.lower().endswith(self._of) and not any(part.startswith(".") for part in key.split("/"))


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a list that names something.

    Raises:
        ArchiveError: If it cannot be read, is no text, or names nothing.
    """
    try:
        with open(open_plain(path), "rb") as file:
            data = file.read(_MOST_LIST_BYTES + 1)
    except OSError as error:
        hint = f"; a file of the name {_LIST}{base_name(path)} is ./{_LIST}{base_name(path)}"
        raise ArchiveError(f"{path}: the list of files cannot be read: {error.strerror}{hint}") from error
    if len(data) > _MOST_LIST_BYTES:
        raise ArchiveError(f"{path}: has more than {_MOST_LIST_BYTES} bytes, expected a list of files, one in a line")
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ArchiveError(f"{path}: is no text in UTF-8 ({error}), expected a list of files, one in a line") from error
    found = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not found:
        raise ArchiveError(f"{path}: names no file, expected a path or an address in each line")
    yield from found


def _matches(pattern: Sequence[str], key: Sequence[str]) -> bool:
    """Whether the parts of a key are those of a pattern; "**" is any number of folders, hidden ones apart."""
    if not pattern:
        return not key
    first, *rest = pattern
    if first == "**":
        if _matches(rest, key):
            return True
        return bool(key) and not key[0].startswith(".") and _matches(pattern, key[1:])
    if not key or (key[0].startswith(".") and not first.startswith(".")) or not fnmatch.fnmatchcase(key[0], first):
        return False
    return _matches(rest, key[1:])


def _check_apart(name: str, paths: Sequence[str]) -> None:
    """Refuse a file that is named twice, by whatever names, or with a folder that it lies in.

    Raises:
        ArchiveError: If one is.
    """
    seen: dict[Any, str] = {}
    for path in paths:
        if path in seen:
            raise ArchiveError(f"{name}: names {shown(redacted(path))} twice, so that its examples would count twice")
        seen[path] = path
    for path in paths:
        if not _ADDRESS.match(path):
            try:
                found = os.stat(path)
            except OSError as error:
                raise ArchiveError(
                    f"{path}: cannot be read: {error.strerror}; remove it, or what links to it"
                ) from error
            if (other := seen.setdefault((found.st_dev, found.st_ino), path)) != path:
                raise ArchiveError(
                    f"{name}: names one file twice, as {other} and as {path}, so that its examples would count twice"
                )
    for path in paths:
        above = path
        while (above := os.path.dirname(above)) not in ("", "/") and not _ADDRESS.match(path):
            if above in seen:
                raise ArchiveError(f"{name}: names {path} and the folder {above} that it lies in; name one of them")


def _names_of(name: str, paths: Sequence[str]) -> list[str]:
    """Paths below the folder that holds them all, as texts that can be stored."""
    places = {found[0].lower() if (found := _ADDRESS.match(path)) else "" for path in paths}
    if len(places) > 1:
        raise ArchiveError(f"{name}: some files are on a disk and others are not; copy them to one place")
    folders = [path.split("/")[:-1] for path in paths]
    shared = sum(1 for _ in itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False)))
    names = ["/".join(path.split("/")[shared:]) for path in paths]
    if "" not in places:
        names = [unquote(one) for one in names]
    return [_storable(one) for one in names]


def _storable(text: str) -> str:
    """A text whose bytes that are no UTF-8 are escaped."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _base_of(text: str, begin: str) -> str:
    """Last part of a path or address; of a pattern, from the first folder that is one: "*/x" of runs/*/x."""
    path = os.path.abspath(os.path.join(begin, text))
    is_address = _ADDRESS.match(text) is not None
    if is_address or not os.path.exists(path):
        parts = text.rstrip("/").split("/")
        first = next((k for k, part in enumerate(parts) if glob.has_magic(part) or "{" in part), len(parts) - 1)
        if is_address or first < len(parts) - 1:
            return shown(redacted(_storable("/".join(parts[first:]))))
    return base_name(text if text.startswith(_LIST) and not os.path.exists(path) else path)


def _absolute(text: str, begin: str) -> str:
    """A text that means the same in another working folder; what may be no path stays as it is."""
    if _ADDRESS.match(text):
        return text
    path = os.path.abspath(os.path.join(begin, text.removeprefix(_LIST)))
    if text.startswith(_LIST):
        return _LIST + path
    return path if os.path.exists(path) or glob.has_magic(text) or "{" in text else text


def _at_commas(text: str) -> list[str]:
    """Parts between commas, empty ones too; commas inside braces do not count."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _without_braces(text: str) -> Iterator[str]:
    """The texts that ranges {000..099} and choices {a,b} stand for, as shells write them; outer braces come first."""
    begin = text.find("{")
    end = _closing(text, begin)
    if begin < 0 or end is None:
        yield text
        return
    inside = text[begin + 1 : end]
    parts = _at_commas(inside)
    choices: Iterator[str]
    if len(parts) > 1:
        choices = itertools.chain.from_iterable(map(_without_braces, parts))
    elif span := _RANGE.fullmatch(inside):
        first, last = int(span[1]), int(span[2])
        is_padded = any(len(bound) > 1 and bound.startswith("0") for bound in span.groups())
        width = max(map(len, span.groups())) if is_padded else 0
        step = 1 if last >= first else -1
        choices = (f"{k:0{width}}" for k in range(first, last + step, step))
    else:
        choices = (f"{{{choice}}}" for choice in _without_braces(inside))
    for choice in choices:
        for rest in _without_braces(text[end + 1 :]):
            yield text[:begin] + choice + rest


def _closing(text: str, begin: int) -> int | None:
    """Where the brace ends that begins somewhere, if it does."""
    depth = 0
    for k in range(max(begin, 0), len(text)):
        depth += (text[k] == "{") - (text[k] == "}")
        if depth == 0:
            return k
    return None
