"""Recipes of sources: the converter, archive and options from which another process opens the same examples."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from functa_store.sources.options import ArchiveOptions, SurveyOptions, hints, is_path
from functa_store.sources.source import Source

ARCHIVE_FILES = "archive_files"
"""What provenance calls the digests of an archive's files by their names, if there are several."""

AnyArchive = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A path, a pattern, or what else a converter takes; or several of these, which are one archive together."""


def in_words(archive: AnyArchive) -> str:
    """An archive for messages."""
    if isinstance(archive, str | os.PathLike):
        return os.fspath(archive)
    return f"{os.fspath(archive[0])} and {len(archive) - 1} more" if archive else "no files"


def plain(archive: AnyArchive) -> str | list[str]:
    """An archive as plain JSON."""
    return os.fspath(archive) if isinstance(archive, str | os.PathLike) else [os.fspath(one) for one in archive]


@runtime_checkable
class HasPaths(Protocol):
    """The files of an archive.

    Attributes:
        paths: Of each, in order: absolute, or what a converter takes otherwise, such as a URL.
    """

    @property
    def paths(self) -> Sequence[str]: ...  # noqa: D102  # above


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a source is opened again.

    Attributes:
        converter: Name of the converter.
        paths: Of the files of the archive, in order: absolute, or what a converter takes otherwise, such as a URL.
        options: Its options as provenance keeps them.
        files: Paths of files and folders that options name, absolute.
        limit: How many examples were taken at most; None if all were.
    """

    converter: str
    paths: tuple[str, ...]
    options: dict[str, Any]
    files: dict[str, str]
    limit: int | None

    @classmethod
    def of(
        cls,
        converter: str,
        paths: Sequence[str | os.PathLike[str]],
        options: ArchiveOptions,
        survey: SurveyOptions,
    ) -> "Recipe":
        """The recipe of what a converter opened."""
        kind = type(options)
        given = {name: getattr(options, name) for name in hints(kind) if is_path(kind, name)}
        files = {name: os.path.abspath(path) for name, path in given.items() if path is not None}
        plain = options.to_plain()
        places = tuple(map(_absolute, paths))
        return cls(converter=converter, paths=places, options=plain, files=files, limit=survey.limit)

    @property
    def archive(self) -> str | tuple[str, ...]:
        """What the converter opens: the only path, or all of them."""
        return self.paths[0] if len(self.paths) == 1 else self.paths

    def options_of(self, kind: type[ArchiveOptions], given: Mapping[str, Any]) -> ArchiveOptions:
        """The options, some of them replaced.

        Raises:
            ConfigError: If a value is none that the option may have.
        """
        return dataclasses.replace(kind.from_plain(self.options), **{**self.files, **given})


@runtime_checkable
class HasRecipe(Protocol):
    """A source that a converter opened.

    Attributes:
        recipe: How another process opens it.
    """

    recipe: Recipe


def recipe_of(source: Source) -> Recipe | None:
    """How another process opens a source; None if it was made in Python and cannot be opened elsewhere."""
    return source.recipe if isinstance(source, HasRecipe) else None


def _absolute(archive: str | os.PathLike[str]) -> str:
    """A path that means the same in another working folder; a URL, and what is no path, as it is."""
    text = os.fspath(archive)
    return os.path.abspath(text) if os.path.exists(text) else text
