"""The archive of a store, opened again as its provenance says."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from functa_store.cli.arguments import MOST_INTEGER
from functa_store.cli.console import shortened
from functa_store.errors import ConfigError, StoreMismatchError
from functa_store.plugins import converters
from functa_store.progress import Report
from functa_store.sources.source import Source

PATHS = ("DIR", "FILE", "PATH")
"""What the help of a converter calls options that are paths; a store keeps none."""

FLAGS = {"true": True, "false": None}
"""What --option says of an option that has no value on the command line."""

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
    if not isinstance(kind, str) or kind not in found:
        raise StoreMismatchError(
            f"{archive}: the store was converted by {_brief(kind)}, expected one of {sorted(found)}; install that "
            "converter, or use it from Python (functa_store.repair)"
        )
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    found[kind].add_arguments(parser)
    actions = {action.dest: action for action in parser._actions}
    kept = {name: _kept(action, provenance[name]) for name, action in actions.items() if name in provenance}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name.replace("-", "_") not in actions:
            names = ", ".join(sorted(actions))
            raise ConfigError(f"--option {shortened(option, BRIEF)}: expected NAME=VALUE, NAME one of {names}")
        action = actions[name.replace("-", "_")]
        kept[action.dest] = _typed(action, value, f"--option {shortened(option, BRIEF)}")
    limits = {"limit": _limit(provenance.get("limit")), "max_rejects": 1.0, "check_first": None}
    given = {name: value for name, value in kept.items() if value is not None}
    return found[kind].open(archive, {**given, **limits}, report)


def _limit(value: Any) -> int | None:
    """How many examples were taken at most, as a store keeps it."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST_INTEGER):
        return value
    raise ConfigError(f"the store's limit: found {_brief(value)}, expected a positive number")


def _kept(action: argparse.Action, value: Any) -> Any:
    """An option as a store keeps it, which a stranger may have written: a path is none that a store would keep."""
    if value is None or action.metavar in PATHS:
        return None
    where = f"the store's option {action.dest}"
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: found {_brief(value)}, expected true or false")
        return value or None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{where}: found {_brief(value)}, expected a text or a number")
    return _checked(action, str(value), where)


def _typed(action: argparse.Action, value: str, where: str) -> Any:
    if action.nargs == 0:
        if value not in FLAGS:
            raise ConfigError(f"{where}: expected one of {', '.join(FLAGS)} after the equals sign")
        return FLAGS[value]
    return _checked(action, value, where)


def _checked(action: argparse.Action, value: str, where: str) -> Any:
    try:
        converted = action.type(value) if callable(action.type) else value
    except (ValueError, TypeError, OverflowError, argparse.ArgumentTypeError) as error:
        kind = getattr(action.type, "__name__", "value")
        raise ConfigError(f"{where}: found {_brief(value)}, which is no {kind}") from error
    if isinstance(converted, int) and abs(converted) >= MOST_INTEGER:
        raise ConfigError(f"{where}: found {_brief(converted)}, expected a number below 2**32")
    if action.choices is not None and converted not in action.choices:
        raise ConfigError(f"{where}: found {_brief(converted)}, expected one of {', '.join(map(str, action.choices))}")
    return converted


def _brief(value: Any) -> str:
    return shortened(repr(value), BRIEF)
