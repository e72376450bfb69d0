"""Entry point of the command line, before anything is imported that takes a while."""

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command that the words of this process name, and end the process.

    Exit codes are those of `functa_store.cli.main.main`, and 1 after an error that nobody foresaw.
    """
    for_programs = "--json" in sys.argv
    try:
        _open_standard_streams()
        from functa_store.support import interrupts

        interrupts.describe("interrupted", for_programs=for_programs)
        interrupts.install()
    except KeyboardInterrupt:
        os.write(2, b"error: interrupted\n")
        if for_programs:
            os.write(1, b'{"event": "error", "error": "Interrupted", "message": "interrupted"}\n')
        os._exit(_INTERRUPTED)
    from functa_store.cli import main as cli

    interrupts.leave(cli.run_process(sys.argv[1:]))


def _open_standard_streams() -> None:
    """Let what was closed lead nowhere; the next file to be opened, a store's, would be taken for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one


if __name__ == "__main__":
    main()
