"""Where a process of the command line begins, before anything is imported that takes a while."""

import os
import sys

_INTERRUPTED = 130

try:
    from typing import NoReturn

    from functa_store import interrupts
except KeyboardInterrupt:
    os.write(2, b"error: interrupted\n")
    os._exit(_INTERRUPTED)


def main() -> NoReturn:
    """Run the command that the words of this process name, and end it.

    Exit codes are those of `functa_store.cli.main`, and 1 after an error that nobody foresaw.
    """
    _open_standard_streams()
    interrupts.install()
    if "--json" in sys.argv:
        interrupts.describe("interrupted", '{"event": "error", "error": "Interrupted", "message": "interrupted"}\n')
    from functa_store import cli

    interrupts.leave(cli.run_process(sys.argv[1:]))


def _open_standard_streams() -> None:
    """Let what was closed lead nowhere; the next file to be opened, a store's, would be taken for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
