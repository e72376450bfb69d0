"""The archive of a store, opened again as its provenance says."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from functa_store.cli.arguments import MOST_INTEGER
from functa_store.cli.console import shortened
from functa_store.cli.options import parsed_options
from functa_store.errors import ConfigError, StoreMismatchError
from functa_store.plugins import converters
from functa_store.progress import Report
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import Source

BRIEF = 100
"""Characters of a value in a message."""


def add_archive_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the archive, and what a store does not say about how it was read."""
    parser.add_argument("--archive", metavar="ARCHIVE", required=required, help="the archive that was converted")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option of functa convert that the store does not keep, such as labels=DIR",
    )


def reopen_archive(archive: str, provenance: Mapping[str, Any], words: Sequence[str], report: Report) -> Source:
    """The source of a store, read as it was when it was converted.

    Args:
        archive: Its path.
        provenance: What the store says.
        words: More options as "NAME=VALUE".
        report: Told how far the survey is.

    Raises:
        ConfigError: If an option is none, or has a wrong value.
        StoreMismatchError: If no installed converter reads such archives.
        ArchiveError: If the archive cannot be read.
    """
    kind, found = provenance.get("converter"), converters()
    if not isinstance(kind, str) or kind not in found:
        raise StoreMismatchError(
            f"{archive}: the store was converted by {_brief(kind)}, expected one of {sorted(found)}; install that "
            "converter, or use it from Python (functa_store.repair)"
        )
    options = found[kind].options
    try:
        kept = options.from_plain(provenance)
    except ConfigError as error:
        raise ConfigError(f"the store's option {error}") from error
    given = parsed_options(options, words, most=BRIEF)
    survey = SurveyOptions(limit=_limit(provenance.get("limit")), max_rejects=1.0)
    return found[kind].open(archive, dataclasses.replace(kept, **given), survey, report)


def _limit(value: Any) -> int | None:
    """How many examples were taken at most, as a store keeps it."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST_INTEGER):
        return value
    raise ConfigError(f"the store's limit: found {_brief(value)}, expected a positive number")


def _brief(value: Any) -> str:
    return shortened(repr(value), BRIEF)
