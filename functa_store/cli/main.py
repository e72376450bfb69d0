"""The command line: parsing, running, exit codes."""

import argparse
import importlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from rich.text import Text

from functa_store import __version__
from functa_store.cli.console import (
    LogLines,
    Results,
    Steady,
    for_messages,
    shortened,
    show_line,
    write_json_line,
)
from functa_store.errors import FunctaStoreError
from functa_store.support import interrupts
from functa_store.support.interrupts import INTERRUPTED
from functa_store.support.printable import printable
from functa_store.support.redaction import redacted

UNFORESEEN, FAILED = 1, 2

COMMANDS = {
    "convert": ("convert:add_arguments", "convert an archive to a functaset"),
    "work": (
        "work:add_arguments",
        "fit missing shards of an unfinished functaset, beside other processes that do the same",
    ),
    "finish": ("work:add_finish_arguments", "complete a functaset whose shards functa work has written"),
    "encode": (
        "without_learning:add_encode_arguments",
        "fit the examples of another archive with the base of a functaset",
    ),
    "append": ("grow:add_append_arguments", "add the new examples of an archive to a functaset, fitted with its base"),
    "merge": ("grow:add_merge_arguments", "write several functasets of one base as one"),
    "subset": ("grow:add_subset_arguments", "write some examples of a functaset as one of their own"),
    "derive": (
        "without_learning:add_derive_arguments",
        "make a functaset of generated or edited modulations in a file",
    ),
    "presets": ("presets:add_arguments", "list presets, show one, or write one to a file for editing"),
    "info": ("info:add_arguments", "describe a functaset: size, quality, what was rejected"),
    "score": (
        "score:add_arguments",
        "score a functaset as training data: accuracies of classifiers on it and on decoded arrays",
    ),
    "decode": ("decode:add_arguments", "decode examples to pictures, arrays, meshes, sound or film"),
    "export": ("export:add_arguments", "decode examples to a folder of files, NAME.zarr or NAME.npz"),
    "card": ("share:add_card_arguments", "write a dataset card (README.md) of a functaset, with pictures"),
    "report": (
        "share:add_report_arguments",
        "write one HTML file: learning curve, quality, best and worst examples, rejects",
    ),
    "push": ("share:add_push_arguments", "upload a functaset to a data set of the Hugging Face hub"),
    "pull": ("share:add_pull_arguments", "download a functaset from a data set of the Hugging Face hub, and verify it"),
    "view": ("share:add_view_arguments", "show a functaset in the browser, from this machine alone"),
    "page": ("share:add_page_arguments", "write a folder of static files that shows a functaset in any browser"),
    "verify": ("verify:add_arguments", "compare every byte of a functaset with its checksums"),
    "repair": ("verify:add_repair_arguments", "fit the examples of damaged shards again"),
    "recode": ("without_learning:add_recode_arguments", "store the modulations of a functaset in another data type"),
    "import-deepmind": (
        "without_learning:add_import_arguments",
        "make a functaset of the parameters and modulations that google-deepmind/functa publishes",
    ),
    "completion": ("completion:add_arguments", "print a script by which a shell completes commands, options and paths"),
}
"""By command the function below `functa_store.cli` that adds its arguments, and its help. Only the module of the
command that is given is imported."""

MOST_OF_A_WORD = 800
"""Characters of what is said about a word that is wrong."""

WITH_TRACEBACK = "FUNCTA_TRACEBACK"
"""Variable of the environment that asks for more about an error that nobody foresaw."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line of characters that can be seen."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As argparse does, but a value may begin with a minus sign: --index -3: is --index=-3:."""
        found: list[str] = []
        for word in sys.argv[1:] if args is None else args:
            if found and "--" not in found and self._begins_value(found[-1], word):
                found[-1] += f"={word}"
            else:
                found.append(word)
        return super().parse_known_args(found, namespace)

    def _begins_value(self, option: str, word: str) -> bool:
        """Whether a word that looks like an option is the value of the one before it."""
        known = self._option_string_actions
        if not re.match("-[^-]", word) or word[:2] in known or not option.startswith("--"):
            return False
        meant = {known[name] for name in ([option] if option in known else known) if name.startswith(option)}
        return len(meant) == 1 and meant.pop().nargs is None

    def error(self, message: str) -> NoReturn:
        if re.match("unrecognized arguments: [^-]", message):
            message += "; was a pattern meant? Quote it ('part-*.zip'), so that the shell leaves it alone"
        super().error(printable(shortened(redacted(message), MOST_OF_A_WORD)))

    def _print_message(self, message: str, file: Any = None) -> None:
        stream = Results() if file is sys.stdout else Steady(sys.stderr)
        stream.write(message or "")
        stream.flush()


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line, its command's function as `run`.

    Args:
        argv: Words after `functa`.

    Returns:
        The arguments. Like argparse everywhere, a wrong command line exits with code 2.
    """
    parser = _parser(argv[:1])
    if not COMMANDS.keys() & set(argv[:1]):
        return parser.parse_args(argv)  # prints the help, or an error
    from functa_store.config import MOST_INTEGER

    args = parser.parse_args(argv)
    for name, value in vars(args).items():
        if isinstance(value, int) and abs(value) >= MOST_INTEGER:
            found = f"--{name.replace('_', '-')}: expected a number below 2**32, got {shortened(str(value), 30)}"
            parser.error(found)
    return args


def whole_parser() -> argparse.ArgumentParser:
    """The parser with the arguments of every command, for which all of their modules are imported."""
    return _parser(COMMANDS)


def _parser(whole: Collection[str]) -> argparse.ArgumentParser:
    """The parser with the arguments of some commands, and the names of the others."""
    parser = _Parser(
        prog="functa", description="Convert archives to functasets, describe, decode, export, verify and repair them."
    )
    parser.add_argument("--version", action="version", version=f"functa-store {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (place, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name in whole:
            module, _, add_arguments = place.partition(":")
            getattr(importlib.import_module(f"functa_store.cli.{module}"), add_arguments)(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Words after `functa`; None takes those of the process.

    Returns:
        Exit code: 0 done, 2 failed with a message, 130 interrupted; `functa verify` has more.
    """
    args = argparse.Namespace()
    try:
        args = parse(sys.argv[1:] if argv is None else list(argv))
        line = getattr(args, "when_interrupted", "interrupted")
        interrupts.describe(line, for_programs=getattr(args, "json", False))
        code = args.run(args) or 0
        interrupts.mark_done()
        Results().flush()
        return code
    except KeyboardInterrupt:
        return _fail(args, "Interrupted", getattr(args, "when_interrupted", "interrupted"), INTERRUPTED)
    except (FunctaStoreError, OSError) as error:
        return _fail(args, type(error).__name__, str(error), FAILED)
    except MemoryError as error:
        found = _out_of_memory(str(error))
    except RecursionError:
        found = "RecursionError", "what was read is nested too deeply; it is no archive or functaset as published"
    except RuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):  # JAX's words for a device's memory
            raise
        found = _out_of_memory(str(error))
    return _fail(args, *found, FAILED)  # what took the memory is gone by now


def _out_of_memory(found: str) -> tuple[str, str]:
    detail = f" ({shortened(found, 300)})" if found else ""
    advice = "take fewer examples at a time, smaller batches, a lower resolution or a region"
    return "MemoryError", f"memory does not suffice{detail}; {advice}"


def run_process(argv: Sequence[str]) -> int:
    """Run one command in a process of its own; not even an error that nobody foresaw is a traceback.

    Args:
        argv: Words after `functa`.

    Returns:
        Exit code, as from `main`, or 1 after such an error.
    """
    logging.raiseExceptions = False
    if not logging.root.handlers:
        logging.root.addHandler(LogLines(logging.WARNING))
    try:
        return main(argv)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else FAILED * bool(ended.code)
    except Exception as error:
        if os.environ.get(WITH_TRACEBACK):
            Steady(sys.stderr).write(redacted(traceback.format_exc()))
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        found = f"unforeseen {type(error).__name__} in {where}: {error}"
        more = f"please report it, with what {WITH_TRACEBACK}=1 in the environment shows"
        return _fail(argparse.Namespace(json="--json" in argv), type(error).__name__, f"{found}; {more}", UNFORESEEN)


def _fail(args: argparse.Namespace, kind: str, message: str, code: int) -> int:
    interrupts.claim_last_message()
    message = redacted(message)
    console = for_messages()
    console.print(Text("error:", style="bold red"), end=" ")
    show_line(console, " ".join(message.split()))
    if getattr(args, "json", False):
        write_json_line(Steady(sys.stdout), {"event": "error", "error": kind, "message": shortened(message)})
    return code
