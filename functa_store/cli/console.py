"""Progress bars, lines of logs and JSON events.

What is shown may hold names that a stranger chose, and may go to a terminal that is gone or a disk that is full.
Every console is made here: none takes brackets or colons for markup, progress that cannot be written is lost without
a word, and a result that cannot be written is an error.
"""

import contextlib
import dataclasses
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from functa_store.errors import StorageError
from functa_store.progress import (
    Event,
    Exported,
    Fitted,
    Learned,
    Note,
    Report,
    Scored,
    Surveyed,
    Transferred,
    Tuned,
    Worked,
    as_json,
    json_ready,
)
from functa_store.support import interrupts
from functa_store.support.printable import printable
from functa_store.support.redaction import redacted

SECONDS_BETWEEN_LINES = 5.0

MOST_CHARACTERS = 2000
"""Of a message: what a stranger's store or archive says may have millions."""

WIDE = 115
"""Columns of a terminal in which a bar and the longest facts stand side by side."""

MOST_LABEL = 40
"""Characters of the name of a label beside a bar."""


@runtime_checkable
class TextStream(Protocol):
    """What lines are written to: a terminal, a file, a pipe."""

    def write(self, text: str, /) -> object:
        """Take text."""
        ...

    def flush(self) -> object:
        """Pass it on."""
        ...


class _Wrapped:
    """What `rich` asks of a file beside writing.

    Args:
        stream: Standard output or error; None if the process was started without it.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        """Name of the character encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal; one that is gone is none."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError, AttributeError):
            return False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))


class Steady(_Wrapped):
    """A stream for progress and messages: whatever happens to it, the work goes on."""

    def write(self, text: str, /) -> int:
        """Write, or do not."""
        if not interrupts.is_ending():
            with contextlib.suppress(Exception):
                self._write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or do not."""
        with contextlib.suppress(Exception):
            self._stream.flush()


class Results(_Wrapped):
    """Standard output: what cannot be written is an error, unless its reader has seen enough."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def write(self, text: str, /) -> int:
        """Write.

        Raises:
            StorageError: If the text cannot be written.
        """
        with _results():
            self._write(text)
        return len(text)

    def flush(self) -> None:
        """Flush.

        Raises:
            StorageError: If what was written does not arrive.
        """
        if self._stream is not None:
            with _results():
                self._stream.flush()


@contextlib.contextmanager
def _results() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # nor is the rest to go anywhere, also what the interpreter flushes when it ends
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError) as error:  # a full disk; closed; closed from the start
        found = error.strerror if isinstance(error, OSError) and error.strerror else "it is closed"
        raise StorageError(f"standard output: cannot be written: {found}; the work itself is done") from error


def write_json_line(stream: TextStream, value: dict[str, Any]) -> None:
    """Write one object as one line, at once."""
    stream.write(json.dumps(json_ready(value)) + "\n")
    stream.flush()


def print_json(value: dict[str, Any]) -> None:
    """Write one object as one line to standard output.

    Raises:
        StorageError: If it cannot be written.
    """
    write_json_line(Results(), value)


def for_results() -> Console:
    """Standard output as a console; writing to it may raise a StorageError."""
    return _console(Results())


def for_messages() -> Console:
    """Standard error as a console; writing to it never fails."""
    return _console(Steady(sys.stderr))


def _console(file: Any) -> Console:
    return Console(file=file, markup=False, emoji=False, highlight=False)


def show_line(console: Console, line: str) -> None:
    """Print text that a stranger may have written as one line of characters that can be seen."""
    console.print(printable(shortened(line)), soft_wrap=True)


class LogLines(logging.Handler):
    """Warnings of this library and others, as lines among the messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        try:
            line = record.getMessage()
        except Exception:  # arguments that do not fit; the message alone says enough
            line = str(record.msg)
        stream = Steady(sys.stderr)
        stream.write(f"{printable(shortened(redacted(line)))}\n")
        stream.flush()


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text, its middle left out if it is longer than a person reads."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... ({len(text) - most:,} characters) ... {text[-(most // 2) :]}"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as people write them, such as 2:05 or 1:00:00."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclasses.dataclass(frozen=True)
class Stage:
    """Where a conversion stands, ready to be shown.

    Attributes:
        name: What is being done.
        fraction: How much of it is done, in [0, 1].
        facts: Counts, quality, speed and time left, in words.
    """

    name: str
    fraction: float
    facts: str


def stage(event: Surveyed | Learned | Tuned | Fitted | Worked | Exported | Transferred | Scored) -> Stage:
    """What a person wants to know of an event."""
    if isinstance(event, Surveyed):
        rejects = f", {event.rejects:,} rejected" if event.rejects else ""
        return Stage("reading", _ratio(event.done, event.total), f"{event.done:,} of {event.total:,} members{rejects}")
    if isinstance(event, Tuned):
        facts = f"step {event.step:,} of {event.num_steps:,}, {event.psnr:.2f} dB"
        return Stage("tuning", _ratio(event.step, event.num_steps), facts)
    if isinstance(event, Scored):
        facts = f"step {event.step:,} of {event.num_steps:,}, {duration(event.seconds_left)} left"
        label = printable(shortened(event.label, MOST_LABEL))
        return Stage("scoring", _ratio(event.step, event.num_steps), f"{event.method}, {label}: {facts}")
    if isinstance(event, Worked):
        speed = f"{event.shards:,} shards, {event.examples_per_second:,.1f} examples/s"
        name = printable(shortened(event.worker, MOST_LABEL))
        return Stage(name, _ratio(event.examples, event.total), f"{event.examples:,} examples, {speed}")
    if isinstance(event, Transferred):
        speed = f"{event.bytes_per_second / 1e6:,.1f} MB/s, {duration(event.seconds_left)} left"
        facts = f"{event.done / 1e6:,.1f} of {event.total / 1e6:,.1f} MB, {speed}"
        return Stage("transfer", _ratio(event.done, event.total), facts)
    left = f"{event.examples_per_second:,.1f} examples/s, {duration(event.seconds_left)} left"
    if isinstance(event, Exported):
        facts = f"{event.done:,} of {event.total:,} examples, {left}"
        return Stage("exporting", _ratio(event.done, event.total), facts)
    if isinstance(event, Fitted):
        facts = f"{event.done:,} of {event.total:,} examples, {event.psnr_mean:.2f} dB, {left}"
        return Stage("fitting", _ratio(event.done, event.total), facts)
    steps = f"step {event.step:,}" + (f" of {event.num_steps:,}" if event.num_steps else "")
    kept_out = "" if event.monitored_psnr is None else f" (kept out: {event.monitored_psnr:.2f})"
    fraction = _ratio(event.seconds, event.seconds + event.seconds_left)
    return Stage("learning", fraction, f"{steps}, {event.psnr:.2f} dB{kept_out}, {left}")


def _ratio(part: int | float, whole: int | float) -> float:
    return min(1.0, part / whole) if whole > 0 else 1.0


class Lines:
    """Progress as lines of text, for logs: the first and last of every stage, few in between.

    Args:
        stream: Where the lines go.
        seconds: Shortest time between two lines of one stage.
        clock: Seconds that only grow.
    """

    def __init__(
        self, stream: TextStream, seconds: float = SECONDS_BETWEEN_LINES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._seconds, self._clock = Steady(stream), seconds, clock
        self._stage, self._next_line = "", 0.0

    def __call__(self, event: Event) -> None:
        """Show an event, or let it pass."""
        if isinstance(event, Note):
            self._write(event.message)
            return
        if isinstance(event, Worked):  # the line of the fit is enough
            return
        now, shown = self._clock(), stage(event)
        if shown.name != self._stage or now >= self._next_line or shown.fraction == 1:
            self._stage, self._next_line = shown.name, now + self._seconds
            self._write(f"{shown.name} {shown.fraction:4.0%}: {shown.facts}")

    def _write(self, line: str) -> None:
        self._stream.write(printable(shortened(line)) + "\n")
        self._stream.flush()


class Bars:
    """Progress as one bar per stage.

    Args:
        progress: A live display whose tasks carry a field `facts`.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Move the bar of the event's stage."""
        if isinstance(event, Note):
            show_line(self._progress.console, event.message)
            return
        shown = stage(event)
        if shown.name not in self._tasks:
            self._tasks[shown.name] = self._progress.add_task(shown.name, total=1.0, facts="")
        self._progress.update(self._tasks[shown.name], completed=shown.fraction, facts=shown.facts)


class JsonLines:
    """Progress for programs: every event as one JSON object, its kind under `event`.

    Args:
        stream: Where the lines go.
    """

    def __init__(self, stream: TextStream) -> None:
        self._stream = stream
        self.lost: Exception | None = None

    def __call__(self, event: Event) -> None:
        """Write an event, or note that it cannot be written; the work goes on."""
        try:
            write_json_line(self._stream, as_json(event))
        except Exception as error:  # whatever the stream raises
            self.lost = error


@contextlib.contextmanager
def json_lines() -> Iterator[Report]:
    """Progress as lines of JSON on standard output.

    Raises:
        StorageError: In the end, if lines could not be written.
    """
    lines = JsonLines(Results())
    yield lines
    if lines.lost is not None:
        raise lines.lost


@contextlib.contextmanager
def shown_on(console: Console) -> Iterator[Report]:
    """Progress as bars where the console is a terminal, as lines where it is not."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console.file)
        return
    name, facts = "{task.description:9}", "{task.fields[facts]}"
    if console.width >= WIDE:
        columns = TextColumn(name, markup=False), BarColumn(bar_width=24), TextColumn(facts, markup=False)
    else:  # facts count more than a bar, and go on in another line
        share = TextColumn("{task.percentage:>3.0f}%", markup=False)
        columns = TextColumn(name, markup=False), share, TextColumn(facts, markup=False, table_column=Column(ratio=1))
    interrupts.set_displayed(True)  # from before the cursor is hidden until after it is shown again
    try:
        with Progress(*columns, console=console) as progress:
            yield Bars(progress)
    finally:
        interrupts.set_displayed(False)
