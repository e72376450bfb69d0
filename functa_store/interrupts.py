"""How does Ctrl-C end a conversion between two of its steps, and not inside one?

Python would raise KeyboardInterrupt anywhere: in a compiler's callback, where it is swallowed, or
while threads of a library still run, which then crash.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from functa_store.progress import Event, Report

INTERRUPTED = 130


@contextlib.contextmanager
def stopping_between_events(report: Report) -> Iterator[Report]:
    """Turn the first Ctrl-C into a KeyboardInterrupt at the next event; the second ends the process at once.

    Args:
        report: Is told every event.

    Yields:
        What to report to instead; raises KeyboardInterrupt after an event once Ctrl-C was pressed.
    """
    asked = threading.Event()

    def on_signal(*_: object) -> None:
        if asked.is_set():
            os._exit(INTERRUPTED)
        asked.set()
        sys.stderr.write("\nstopping after this step; Ctrl-C again stops at once\n")

    def stopping(event: Event) -> None:
        report(event)
        if asked.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield report
        return
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)
