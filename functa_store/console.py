"""How does the progress of a conversion or an export look on a terminal, in a log file and to a program?"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from functa_store.progress import Event, Exported, Fitted, Learned, Note, Report, Surveyed, Tuned, as_json, json_ready

SECONDS_BETWEEN_LINES = 5.0


@runtime_checkable
class TextStream(Protocol):
    """What lines are written to: a terminal, a file, a pipe."""

    def write(self, text: str, /) -> object:
        """Take text."""
        ...

    def flush(self) -> object:
        """Pass it on."""
        ...


def write_json_line(stream: TextStream, value: dict[str, Any]) -> None:
    """Write one object as one line, at once."""
    stream.write(json.dumps(json_ready(value)) + "\n")
    stream.flush()


class StandardOutput(Console):
    """Standard output, whose reader may have seen enough: the command line deals with that."""

    def __init__(self, *, soft_wrap: bool = False) -> None:
        super().__init__(highlight=False, soft_wrap=soft_wrap)

    def on_broken_pipe(self) -> None:
        """Raise what any other output would."""
        raise BrokenPipeError


def printable(text: str) -> str:
    """The text with control characters, which an archive's names may hold, written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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


def stage(event: Surveyed | Learned | Tuned | Fitted | Exported) -> Stage:
    """What a person wants to know of an event."""
    if isinstance(event, Surveyed):
        rejects = f", {event.rejects:,} rejected" if event.rejects else ""
        return Stage("reading", _ratio(event.done, event.total), f"{event.done:,} of {event.total:,} members{rejects}")
    if isinstance(event, Tuned):
        facts = f"step {event.step:,} of {event.num_steps:,}, {event.psnr:.2f} dB"
        return Stage("tuning", _ratio(event.step, event.num_steps), facts)
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
        self._stream, self._seconds, self._clock = stream, seconds, clock
        self._stage, self._next_line = "", 0.0

    def __call__(self, event: Event) -> None:
        """Show an event, or let it pass."""
        if isinstance(event, Note):
            self._write(event.message)
            return
        now, shown = self._clock(), stage(event)
        if shown.name != self._stage or now >= self._next_line or shown.fraction == 1:
            self._stage, self._next_line = shown.name, now + self._seconds
            self._write(f"{shown.name} {shown.fraction:4.0%}: {shown.facts}")

    def _write(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._stream.write(line + "\n")
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
            self._progress.console.print(event.message, markup=False)
            return
        shown = stage(event)
        if shown.name not in self._tasks:
            self._tasks[shown.name] = self._progress.add_task(shown.name, total=1.0, facts="")
        self._progress.update(self._tasks[shown.name], completed=shown.fraction, facts=shown.facts)


def json_lines(stream: TextStream) -> Report:
    """Progress for programs: every event as one JSON object, its kind under `event`."""

    def report(event: Event) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever read has seen enough; the conversion goes on
            write_json_line(stream, as_json(event))

    return report


@contextlib.contextmanager
def shown_on(console: Console) -> Iterator[Report]:
    """Progress as bars where the console is a terminal, as lines where it is not."""
    if not console.is_terminal:
        yield Lines(console.file)
        return
    columns = TextColumn("{task.description:9}"), BarColumn(bar_width=24), TextColumn("{task.fields[facts]}")
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)
