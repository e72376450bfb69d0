"""`functa completion`."""

import argparse
from collections.abc import Iterator

from functa_store.cli.console import Results
from functa_store.support.optional import require

SHELLS = ("bash", "zsh", "fish")

PATHS = ("STORE", "ARCHIVE", "OUT", "IN", "FILE", "PARAMS", "MODULATIONS")
"""What arguments are called that take paths."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa completion`."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print a script that completes commands, kinds of archives, options and paths.

    Raises:
        MissingLibraryError: If shtab is not installed.
    """
    shtab = require("shtab", extra="completion")
    from functa_store.cli.main import whole_parser

    parser = whole_parser()
    for action in _actions(parser):
        if action.choices is None and action.metavar in PATHS:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # read by shtab
    Results().write(shtab.complete(parser, shell=args.shell) + "\n")


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a command line, those of its commands, too."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
