"""Files that make up one archive: those that a path, a pattern, a list or a folder names, in a documented order.

A folder, a zip or a tar is an archive by itself. Several files are one archive as if each were unpacked into a folder
of its own; splits, classes, scales, limits and rejects are then decided once, for all examples, by the same code that
decides them for a single file. Joining finished sources instead would have to undo what each has decided by itself:
which tenth is held out, between which values it is scaled, how its classes are numbered.
"""

import collections
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converters.archives.plain_files import open_plain, sha256_of, sha256_of_named, stamps_of, walk_files
from functa_store.errors import ArchiveError
from functa_store.sources.recipe import ARCHIVE_FILES

MOST_OPEN = 64
"""Files of one archive that are open at a time."""

MOST_DIGESTS = 1 << 12
"""Files whose digests provenance keeps one by one; of more there is that of all together alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchiveFiles:
    """The files of an archive.

    Attributes:
        name: What messages and provenance call all of them.
        typed: What was asked for, made absolute.
        paths: Of each file or folder, absolute, or its address, in order.
        names: Of each, below the folder that holds them all, with "/" between folders; they are unique.
        find: Finds them again, whatever the working folder is then.
    """

    name: str
    typed: tuple[str, ...]
    paths: tuple[str, ...]
    names: tuple[str, ...]
    find: "Callable[[], ArchiveFiles]" = dataclasses.field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.paths)

    def only(self, kind: str) -> str:
        """The path of the only one.

        Args:
            kind: What the archive is, for the message.

        Raises:
            ArchiveError: If there are several.
        """
        if len(self) > 1:
            raise ArchiveError(
                f"{self.name}: names {len(self)} files, such as {self.names[0]} and {self.names[1]}, expected one: "
                f"{kind} is published as one archive"
            )
        return self.paths[0]

    def stems(self, suffixes: Sequence[str]) -> list[str]:
        """Names without some suffixes, which stay where two would be called alike."""
        found = [_without_suffix(name, suffixes) for name in self.names]
        count = collections.Counter(found)
        return [name if count[stem] > 1 else stem for name, stem in zip(self.names, found, strict=True)]

    def digests(self) -> dict[str, str]:
        """SHA-256 of the content of each file by its name; of a folder, over names and digests of all in it.

        Raises:
            ArchiveError: If one cannot be read.
        """
        return {name: digest_of(path) for name, path in zip(self.names, self.paths, strict=True)}

    def described(self, *, read: bool) -> dict[str, Any]:
        """What provenance keeps of the files; `read` says whether they are read for their digests."""
        return described(self.names, self.digests() if read and 1 < len(self) <= MOST_DIGESTS else None)

    def check_unchanged(self) -> None:
        """Look for the files again.

        Raises:
            ArchiveError: If one is there that was not, or the other way round.
        """
        if set(self.typed) == set(self.paths):
            return
        now = set(self.find().paths)
        for what, paths in (("added", now.difference(self.paths)), ("removed", set(self.paths) - now)):
            if paths:
                raise ArchiveError(
                    f"{min(paths)}: was {what} while the files of {self.name} were being converted, so that the "
                    "functaset would be of no archive that exists; convert again into an empty path"
                )


class FilesStamps:
    """What tells whether files of a disk were changed, or others were added to them; see `plain_files.Stamps`.

    Args:
        files: Which.
    """

    def __init__(self, files: ArchiveFiles) -> None:
        self._files, self._stamps = files, [stamps_of(path) for path in files.paths]

    def check(self) -> None:
        """Compare them with what they were.

        Raises:
            ArchiveError: If one was changed, removed or added. Names it.
        """
        for stamps in self._stamps:
            stamps.check()
        self._files.check_unchanged()


def described(names: Sequence[str], digests: Mapping[str, str] | None) -> dict[str, Any]:
    """What provenance keeps of the files of an archive; nothing of a single one, or of more than `MOST_DIGESTS`.

    Args:
        names: Of all files.
        digests: By name; None in a dry run, which reads none of them.
    """
    if not 1 < len(names) <= MOST_DIGESTS:
        return {}
    return {ARCHIVE_FILES: dict(digests) if digests is not None else dict.fromkeys(names)}


def digest_of(path: str) -> str:
    """SHA-256 of a file, or over the lines "name, NUL, sha256" of all files of a folder, sorted by name.

    Raises:
        ArchiveError: If it cannot be read.
    """
    try:
        if not os.path.isdir(path):
            return sha256_of(open_plain(path))
        inside = sorted((os.path.relpath(file, path).replace(os.sep, "/"), file) for file, _ in walk_files(path))
        texts = ((os.fsencode(name).decode("utf-8", "backslashreplace"), file) for name, file in inside)
        return sha256_of_named((name, sha256_of(open_plain(file))) for name, file in texts)
    except OSError as error:
        raise ArchiveError(f"{error.filename or path}: cannot be read: {error.strerror}") from error


def _without_suffix(name: str, suffixes: Sequence[str]) -> str:
    found = next((suffix for suffix in suffixes if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(found)] if found and not name[: -len(found)].endswith("/") else name
