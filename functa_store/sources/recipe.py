"""Recipes of sources: the converter, archive and options from which another process opens the same examples."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from functa_store.sources.options import ArchiveOptions, SurveyOptions, hints, is_path
from functa_store.sources.source import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a source is opened again.

    Attributes:
        converter: Name of the converter.
        archive: Path of the archive, absolute, or what a converter takes otherwise, such as a URL.
        options: Its options as provenance keeps them.
        files: Paths of files and folders that options name, absolute.
        limit: How many examples were taken at most; None if all were.
    """

    converter: str
    archive: str
    options: dict[str, Any]
    files: dict[str, str]
    limit: int | None

    @classmethod
    def of(
        cls, converter: str, archive: str | os.PathLike[str], options: ArchiveOptions, survey: SurveyOptions
    ) -> "Recipe":
        """The recipe of what a converter opened."""
        kind = type(options)
        given = {name: getattr(options, name) for name in hints(kind) if is_path(kind, name)}
        files = {name: os.path.abspath(path) for name, path in given.items() if path is not None}
        plain = options.to_plain()
        return cls(converter=converter, archive=_absolute(archive), options=plain, files=files, limit=survey.limit)

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
