"""Runs commands of `functa` in processes of their own and presses Ctrl-C."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.kill.conversions import ENVIRONMENT

BEGINNING = "import os; os.write({ready}, b'x'); from functa_store.launch import main; main()"
"""What a process does, and says before it imports anything of ours."""

SLACK = 0.5
"""Seconds more than the promised two, on a machine that others use."""


@dataclasses.dataclass(frozen=True)
class Pressed:
    """How a process ended.

    Attributes:
        code: Exit code.
        seconds: Since Ctrl-C.
        after: Seconds from its first line until then.
        out: What it wrote.
        err: What it said.
        early: Whether it had ended by then.
    """

    code: int
    seconds: float
    after: float
    out: str
    err: str
    early: bool = False

    def problem(self) -> str | None:
        """What is wrong with it."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        if self.early:
            return None if self.code == 0 else f"exit code {self.code} without Ctrl-C: {self.err}"
        if self.code != 130 or self.seconds > 2 + SLACK or len(lines) != 1 or "Traceback" in self.err:
            return f"after {self.after:.3f} s: exit code {self.code} {self.seconds:.2f} s later: {self.err!r}"
        return None


def environment(folder: Path) -> dict[str, str]:
    """Of processes that load what the first of them compiled."""
    return os.environ | ENVIRONMENT | {"JAX_COMPILATION_CACHE_DIR": os.fspath(folder / "compiled")}


def start(words: Sequence[object], env: dict[str, str], **more) -> subprocess.Popen:
    """A process that has come to its first line, in which Ctrl-C is not ignored."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", BEGINNING.format(ready=writer), *map(str, words)]
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    process = subprocess.Popen(
        command, env=env, pass_fds=[writer], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **more
    )
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return process


def press(words: Sequence[object], env: dict[str, str], after: float, times: int = 1) -> Pressed:
    """Run a command and press Ctrl-C some seconds after its first line, if it runs still."""
    with start(words, env, text=True) as process:
        try:
            process.wait(after)
            out, err = process.communicate()
            return Pressed(process.returncode, 0.0, after, out, err, early=True)
        except subprocess.TimeoutExpired:
            pass
        pressed = time.monotonic()
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        return Pressed(process.returncode, time.monotonic() - pressed, after, out, err)


def duration(words: Sequence[object], env: dict[str, str]) -> float:
    """Seconds that a command takes from its first line."""
    began = time.monotonic()
    with start(words, env, text=True) as process:
        _, err = process.communicate()
    assert process.returncode == 0, err
    return time.monotonic() - began


def moments(seconds: float, number: int, seed: int) -> Iterator[float]:
    """Moments of a command, a third of them in its first half a second."""
    rng = random.Random(seed)
    for i in range(number):
        yield rng.uniform(0, min(0.5, seconds)) if i % 3 == 0 else rng.uniform(0, seconds)


def press_often(
    words: Sequence[object], env: dict[str, str], number: int, seed: int, clear: Callable[[], object]
) -> list[Pressed]:
    """Press Ctrl-C at random moments of a command.

    Args:
        words: The command.
        env: Its environment.
        number: How often.
        seed: Of the moments.
        clear: Makes everything as it was before the command.
    """
    clear()
    seconds, found = duration(words, env), []
    for after in moments(seconds, number, seed):
        clear()
        found.append(press(words, env, after))
    clear()
    return found
