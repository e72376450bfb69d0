"""What does `functa` on the command line do?"""

import argparse
import os
import sys
from collections.abc import Sequence

from rich.console import Console

from functa_store import __version__
from functa_store.commands import convert, decode, export, info, presets, recode, repair, verify
from functa_store.commands.selections import joined
from functa_store.console import printable, write_json_line
from functa_store.errors import FunctaStoreError
from functa_store.interrupts import INTERRUPTED

FAILED = 2


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line, its command's function as `run`.

    Args:
        argv: Words after `functa`.

    Returns:
        The arguments. Like argparse everywhere, a wrong command line exits with code 2.
    """
    parser = argparse.ArgumentParser(
        prog="functa", description="Convert archives to functasets, describe, decode, export, verify and repair them."
    )
    parser.add_argument("--version", action="version", version=f"functa-store {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    convert.add_parser(commands, with_kinds="convert" in argv[:1])
    presets.add_parser(commands)
    info.add_parser(commands)
    decode.add_parser(commands)
    export.add_parser(commands)
    verify.add_parser(commands)
    repair.add_parser(commands)
    recode.add_parser(commands)
    return parser.parse_args(joined(argv))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Words after `functa`; None takes those of the process.

    Returns:
        Exit code: 0 done, 2 failed with a message, 130 interrupted; `functa verify` has more.
    """
    args, code = argparse.Namespace(), 0
    try:
        args = parse(sys.argv[1:] if argv is None else list(argv))
        code = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter's own flush must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _fail(args, "Interrupted", getattr(args, "when_interrupted", "interrupted"), INTERRUPTED)
    except (FunctaStoreError, OSError) as error:
        return _fail(args, type(error).__name__, str(error), FAILED)
    return code or 0


def _fail(args: argparse.Namespace, kind: str, message: str, code: int) -> int:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print("error:", style="bold red", end=" ")
    console.print(printable(" ".join(message.split())), markup=False)
    if getattr(args, "json", False):
        write_json_line(sys.stdout, {"event": "error", "error": kind, "message": message})
    return code


if __name__ == "__main__":
    sys.exit(main())
