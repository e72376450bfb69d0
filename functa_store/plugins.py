"""Kinds of archives: the Converter protocol, presets, and their discovery by entry point."""

import argparse
import dataclasses
import importlib.metadata
import logging
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from functa_store.config import ConvertConfig
from functa_store.progress import Report
from functa_store.sources.source import Source

GROUP = "functa_store.converters"

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """A named, measured choice of every option of a conversion.

    Attributes:
        summary: One line: for which data and machine, and what to expect.
        config: The conversion.
        source: Defaults of the converter's own options, such as {"resolution": 64}.
    """

    summary: str
    config: ConvertConfig
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@runtime_checkable
class Converter(Protocol):
    """What an entry point of the group `functa_store.converters` names.

    Attributes:
        summary: One line for `functa convert --help`.
        presets: Its presets; the first one is the default.
    """

    summary: str
    presets: Mapping[str, Preset]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has; default None means "as the preset says"."""
        ...

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> Source:
        """The source that the options describe; reads every member once and reports it as `Surveyed`.

        `options` holds the preset's source defaults, overlaid by what the user typed, plus
        `limit` (examples at most, or None), `max_rejects` (fraction) and `check_first`
        (members to read now; None means all, a dry run needs only a few).

        Raises:
            ArchiveError: If the archive cannot be converted.
        """
        ...


def converters() -> dict[str, Converter]:
    """Every installed converter by its command-line name; one that cannot be imported is left out with a warning."""
    found: dict[str, Converter] = {}
    for entry in sorted(importlib.metadata.entry_points(group=GROUP)):
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # a broken plugin must not take the others with it
            logger.warning("converter %s is left out: %s fails (%r)", entry.name, entry.value, error)
    return found
