"""How does a store say which archive it was converted from, and how to read that again?"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from functa_store.errors import ConfigError, StoreMismatchError
from functa_store.plugins import converters
from functa_store.progress import Report
from functa_store.sources import Source


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


def reopen_archive(archive: str, provenance: Mapping[str, Any], options: Sequence[str], report: Report) -> Source:
    """The source of a store, read as it was when it was converted.

    Args:
        archive: Its path.
        provenance: What the store says.
        options: More options as "NAME=VALUE".
        report: Told how far the survey is.

    Raises:
        ConfigError: If an option is none, or has a wrong value.
        StoreMismatchError: If no installed converter reads such archives.
        ArchiveError: If the archive cannot be read.
    """
    kind, found = provenance.get("converter"), converters()
    if kind not in found:
        raise StoreMismatchError(
            f"{archive}: the store was converted by {kind!r}, expected one of {sorted(found)}; install that converter, "
            "or repair from Python with functa_store.repair(path, source)"
        )
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    found[kind].add_arguments(parser)
    actions = {action.dest: action for action in parser._actions}
    kept: dict[str, Any] = {name: provenance[name] for name in actions if provenance.get(name) is not None}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name.replace("-", "_") not in actions:
            raise ConfigError(f"--option {option}: expected NAME=VALUE, NAME one of {', '.join(sorted(actions))}")
        action = actions[name.replace("-", "_")]
        try:
            kept[action.dest] = action.type(value) if callable(action.type) else value
        except ValueError as error:
            raise ConfigError(f"--option {option}: {error}") from error
    limits = {"limit": provenance.get("limit"), "max_rejects": 1.0, "check_first": None}
    return found[kind].open(archive, {**kept, **limits}, report)
