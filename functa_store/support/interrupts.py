"""Ctrl-C in a process of the command line: it ends within two seconds, whatever is being done.

Python would raise KeyboardInterrupt anywhere: inside an import, where it leaves a traceback, or in a callback of a
compiler or a finalizer, where it is swallowed; a call that does not return is not interrupted at all. Here nothing is
raised by the signal. Whichever of two threads can act first ends the process:

- the main thread, between two steps of the interpreter, by the handler of the signal;
- a thread that waits for signals, while the main thread is inside a library.

A command that can stop at a better place does so in `stopping_between_events`, for which both wait `PATIENCE`
seconds, or, where other processes are to end what they do (`draining`), as long as that takes; a second Ctrl-C ends
that. What is left unfinished is removed by whoever ends the process, see `removing`.

Nothing here applies to a program that calls functa-store from Python. Of what a process does, only a call into a
library that neither returns nor lets other threads run, such as the loading of a library from a slow disk, delays
the end. This module is the first that is imported, so it imports little.
"""

import _thread
import atexit
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130

PATIENCE = 1.0
"""Seconds that a command has to reach a place where it can stop."""

CLEARING = 0.5
"""Seconds that removing unfinished files may take."""

DONE = "interrupted when the work was done"

_MOMENT = 0.02
_SHOW_CURSOR = "\r\x1b[K\x1b[?25h"  # and clear the line on which the cursor stands


class _State:
    """What the two threads know of each other.

    Attributes:
        installed: Whether this process is one of the command line.
        asked: Whether Ctrl-C was pressed.
        overdue: Whether nothing is waited for any more.
        ending: Whether nothing is to be written to the terminal any more.
        patient: How many blocks that end at a good place are running.
        draining: Whether that takes as long as it takes, until Ctrl-C is pressed again.
        line: What is said then.
        for_programs: Whether it is said on standard output, too.
        displayed: Whether bars are on the terminal.
        hurried: Whether the process ends without the exit functions of libraries.
        output: Descriptor of standard output.
        leftovers: What removes unfinished files.
        words: Held by whoever says why the process ends.
    """

    def __init__(self) -> None:
        self.installed = self.asked = self.overdue = self.ending = self.displayed = self.draining = False
        self.hurried = False
        self.output = 1
        self.patient = 0
        self.line, self.for_programs = "interrupted", False
        self.leftovers: list[Callable[[], object]] = []
        self.words = _thread.allocate_lock()


_state = _State()


def install() -> None:
    """Let Ctrl-C end this process; nothing is done where it is ignored, as in the background of a script."""
    if _state.installed or os.name != "posix" or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    _state.installed = True
    reader, writer = os.pipe()
    for descriptor in (reader, writer):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _on_signal)
    os.set_blocking(reader, True)
    _thread.start_new_thread(_watch, (reader, _thread.get_ident()))


def describe(line: str, *, for_programs: bool) -> None:
    """Set what is said of an interruption from now on.

    Args:
        line: One line of plain words.
        for_programs: Whether it is said on standard output, too, in JSON.
    """
    _state.line, _state.for_programs = line, for_programs


def mark_done() -> None:
    """Note that an interruption from now on loses nothing."""
    _state.line = DONE


def is_ending() -> bool:
    """Whether the last words were said, so that nothing is to follow them."""
    return _state.ending


def claim_last_message() -> None:
    """Be the one to say why the process ends; does not return if that has been said and the process is ending."""
    if _state.installed and not _state.words.acquire(False) and _state.ending:
        time.sleep(60)  # the process ends long before


def set_displayed(displayed: bool) -> None:
    """Note whether something on the terminal moves, with the cursor hidden."""
    _state.displayed = displayed


@contextlib.contextmanager
def removing(remove: Callable[[], object]) -> Iterator[None]:
    """Remove something unfinished if Ctrl-C ends the process inside the block.

    Args:
        remove: Removes it; may be called more than once, and at any moment of the block.
    """
    _state.leftovers.append(remove)
    try:
        yield
    finally:
        _state.leftovers.remove(remove)


@contextlib.contextmanager
def stopping_between_events(report: Callable[[Any], None]) -> Iterator[Callable[[Any], None]]:
    """Turn Ctrl-C into a KeyboardInterrupt at the next event, if one comes soon enough.

    A block that ends in time without one is not interrupted: its work is done.

    Args:
        report: Is told every event.

    Yields:
        What to report to instead; raises KeyboardInterrupt after an event once Ctrl-C was pressed.
    """
    if not _state.installed:
        yield report
        return
    thread = _thread.get_ident()

    def stopping(event: Any) -> None:
        report(event)
        if _state.asked and _thread.get_ident() == thread:
            raise KeyboardInterrupt

    _state.patient += 1
    try:
        yield stopping
        mark_done()
    finally:
        _state.patient -= 1


@contextlib.contextmanager
def draining() -> Iterator[None]:
    """Take any time after Ctrl-C to end what others are doing for this process; a second Ctrl-C ends that at once."""
    _state.draining = True
    try:
        yield
    finally:
        _state.draining = False


def _on_signal(number: int, frame: FrameType | None) -> None:
    """In the main thread, between two steps of the interpreter."""
    _state.asked = True
    if _state.overdue or not _state.patient:
        _end()


def _watch(reader: int, main: int) -> None:
    """In a thread of its own: see to it that the process ends in time."""
    while not _is_pressed(reader):
        pass
    _state.asked, deadline = True, time.monotonic() + PATIENCE
    os.set_blocking(reader, False)
    while _state.patient and (_state.draining or time.monotonic() < deadline) and not _is_pressed(reader):
        time.sleep(_MOMENT)
    _state.overdue, limit = True, time.monotonic() + CLEARING
    signal.pthread_kill(main, signal.SIGINT)  # the first signal may have reached another thread
    time.sleep(_MOMENT)
    _thread.start_new_thread(_end, ())
    time.sleep(max(0.0, limit - time.monotonic()))
    os._exit(INTERRUPTED)


def _is_pressed(reader: int) -> bool:
    try:
        return signal.SIGINT in os.read(reader, 4096)
    except OSError:  # nothing there
        return False


def _end() -> None:
    """Say one line, remove what is unfinished, and end the process; nothing if somebody else does."""
    if not _state.words.acquire(False):
        return
    _state.ending = True
    said = _thread.allocate_lock()
    said.acquire()
    _thread.start_new_thread(_say, (said,))  # a terminal may take no more
    said.acquire(timeout=CLEARING / 3)
    for remove in list(_state.leftovers):
        try:
            remove()
        except Exception:  # there is nobody left to tell
            continue
    os._exit(INTERRUPTED)


def _say(said: _thread.LockType) -> None:
    before = ""
    try:
        if _state.displayed:
            before = _SHOW_CURSOR
        elif os.isatty(2):
            before = "\n"  # after the terminal's ^C
        os.write(2, f"{before}error: {_state.line}\n".encode(errors="backslashreplace"))
    except OSError:  # nobody looks
        pass
    try:
        if _state.for_programs:
            os.write(
                _state.output, f'{{"event": "error", "error": "Interrupted", "message": "{_state.line}"}}\n'.encode()
            )
    except OSError:
        pass
    said.release()


def skip_exit_functions() -> None:
    """Note that exit functions of libraries would wait in vain, as JAX's do for a process that is gone."""
    _state.hurried = True


def keep_output_for_results() -> None:
    """Let what libraries of C++ print on standard output go to standard error, in a process of the command line."""
    if _state.installed and _state.output == 1 and sys.stdout is not None:
        sys.stdout.flush()
        _state.output = os.dup(1)
        os.dup2(2, 1)
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = open(_state.output, "w", encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115


def leave(code: int) -> NoReturn:
    """End a process of the command line, whose libraries may have threads that the interpreter would trip over."""
    if code != INTERRUPTED:
        if not _state.hurried:
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # whoever minds has been told
                stream.flush()
    os._exit(code)
