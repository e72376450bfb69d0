"""How does a store say which archive it was converted from, and how to read that again?"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from functa_store.errors import ConfigError, StoreMismatchError
from functa_store.plugins import converters
from functa_store.progress import Report
from functa_store.sources import Source

PATHS = ("DIR", "FILE", "PATH")
"""What the help of a converter calls options that are paths; a store keeps none."""


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
            "or use it from Python (functa_store.repair)"
        )
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    found[kind].add_arguments(parser)
    actions = {action.dest: action for action in parser._actions}
    kept = {name: _kept(action, provenance[name]) for name, action in actions.items() if name in provenance}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name.replace("-", "_") not in actions:
            raise ConfigError(f"--option {option}: expected NAME=VALUE, NAME one of {', '.join(sorted(actions))}")
        action = actions[name.replace("-", "_")]
        kept[action.dest] = _checked(action, value, f"--option {option}")
    limits = {"limit": provenance.get("limit"), "max_rejects": 1.0, "check_first": None}
    given = {name: value for name, value in kept.items() if value is not None}
    return found[kind].open(archive, {**given, **limits}, report)


def _kept(action: argparse.Action, value: Any) -> Any:
    """An option as a store keeps it, which a stranger may have written: a path is none that a store would keep."""
    if value is None or action.metavar in PATHS:
        return None
    return _checked(action, str(value), f"the store's option {action.dest}")


def _checked(action: argparse.Action, value: str, where: str) -> Any:
    try:
        converted = action.type(value) if callable(action.type) else value
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error
    if action.choices is not None and converted not in action.choices:
        raise ConfigError(f"{where}: found {converted!r}, expected one of {', '.join(map(str, action.choices))}")
    return converted
