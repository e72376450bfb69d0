"""Runs commands of `functa` in processes of their own and presses Ctrl-C."""

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import functa_store
from tests.kill.conversions import ENVIRONMENT, ROOT, files, pictures

BEGINNING = """
import os, sys
begun = []
def hook(event, arguments):
    if event == "exec" and not begun and arguments[0].co_filename.endswith("functa_store/cli/__main__.py"):
        begun.append(True)
    elif event == "import" and begun == [True]:
        begun.append(os.write({ready}, b"x"))
sys.addaudithook(hook)
from functa_store.cli.__main__ import main
main()
"""
"""What a process does; it says when the first lines of the command line's are run."""

SLACK = 0.5
"""Seconds more than the promised two, on a machine that others use."""

TEARDOWN = 0.1
"""Seconds for which the system takes a process apart that has ended, whose memory is much."""


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


def moments(seconds: float, number: int, seed: int) -> Iterator[float]:
    """Moments of a command, a third of them in its first half a second."""
    rng = random.Random(seed)
    for i in range(number):
        yield rng.uniform(0, min(0.5, seconds)) if i % 3 == 0 else rng.uniform(0, seconds)


@dataclasses.dataclass(frozen=True)
class Command:
    """Words after `functa`, run in the folder of a `Place`.

    Attributes:
        words: Their text.
        writes: Name of what it writes there; everything else of that name's beginning is its, too.
        made_from: Name of a folder that is copied to that name before.
    """

    words: str
    writes: str = ""
    made_from: str = ""


COMMANDS = {
    "convert": Command("convert tiny archive.zip new.functa --preset tiny --snapshot-every 0", "new.functa"),
    "convert to int8": Command("convert tiny archive.zip new.functa --preset tiny --dtype int8 --json", "new.functa"),
    "decode a picture": Command("decode whole.functa --out new.png --resolution 100", "new.png"),
    "decode arrays": Command("decode whole.functa --out new.npz --index : --resolution 300 --json", "new.npz"),
    "recode": Command("recode whole.functa new.functa --dtype int8", "new.functa"),
    "verify": Command("verify whole.functa"),
    "verify deeply": Command("verify whole.functa --deep --archive archive.zip --json"),
    "export a folder": Command("export whole.functa --out new --resolution 300", "new"),
    "export a group": Command("export whole.functa --out new.zarr --resolution 300 --json", "new.zarr"),
    "repair": Command("repair new.functa --archive archive.zip", "new.functa", "damaged.functa"),
    "score": Command("score labelled.functa --steps 20 --seeds 1 --json"),
    "info": Command("info whole.functa"),
    "presets": Command("presets --json"),
    "help": Command("convert --help"),
}
GOES_ON = ("convert", "convert to int8", "recode", "repair")
"""Commands that go on where they were interrupted."""

PLUGIN = """
import dataclasses

from converters.images.images import converter as images
from tests.kill.convert_once import TINY

converter = dataclasses.replace(images, presets={"tiny": TINY})
"""


class Place:
    """A folder with a small archive, its functaset, a damaged copy of it, and what equal commands compiled.

    Args:
        folder: An empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "installed/tiny-1.dist-info").mkdir(parents=True)
        (folder / "installed/tiny_converter.py").write_text(PLUGIN)
        (folder / "installed/tiny-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: tiny\n")
        entry = "[functa_store.converters]\ntiny = tiny_converter:converter\n"
        (folder / "installed/tiny-1.dist-info/entry_points.txt").write_text(entry)
        paths = os.pathsep.join([os.fspath(folder / "installed"), os.fspath(ROOT)])
        compiled = {"JAX_COMPILATION_CACHE_DIR": os.fspath(folder / "compiled")}
        self.environment = os.environ | ENVIRONMENT | compiled | {"PYTHONPATH": paths}
        pictures(folder)
        self.run(COMMANDS["convert"])
        (folder / "new.functa").rename(folder / "whole.functa")
        shutil.copytree(folder / "whole.functa", folder / "damaged.functa")
        for shard in list((folder / "damaged.functa/modulations/c").rglob("*")):
            if shard.is_file():
                shard.write_bytes(b"torn")
        whole = functa_store.open(folder / "whole.functa")
        kinds = {"kind": np.arange(len(whole)) % 2, "split": whole.split[:].astype("U10")}
        np.savez(folder / "labelled.npz", modulations=whole.modulations[:], **kinds)
        self.run(Command("derive whole.functa labelled.npz new.functa", "new.functa"))
        (folder / "new.functa").rename(folder / "labelled.functa")
        self._results: dict[str, tuple[float, dict[str, bytes]]] = {}

    def clear(self, command: Command) -> None:
        """Make everything as it is before a command."""
        for path in self.folder.iterdir():
            if path.name.startswith(("new", ".")):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if command.made_from:
            shutil.copytree(self.folder / command.made_from, self.folder / command.writes)

    def start(self, command: Command, **more) -> subprocess.Popen:
        """A process that has come to its first line, in which Ctrl-C is not ignored."""
        reader, writer = os.pipe()
        words = [
            "env",
            "--default-signal=INT",
            sys.executable,
            "-c",
            BEGINNING.format(ready=writer),
            *command.words.split(),
        ]
        options: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        options |= {"env": self.environment} | more
        process = subprocess.Popen(
            words,
            cwd=self.folder,
            pass_fds=[writer],
            **options,
        )
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        return process

    def run(self, command: Command) -> tuple[float, str]:
        """Seconds of a command from its first line, and its output."""
        began = time.monotonic()
        with self.start(command) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        return time.monotonic() - began, out

    def result(self, command: Command) -> tuple[float, dict[str, bytes]]:
        """How long a command takes, and the files of what it writes."""
        if command.words not in self._results:
            self.clear(command)
            seconds, _ = self.run(command)
            self._results[command.words] = seconds, self.written(command)
            self.clear(command)
        return self._results[command.words]

    def written(self, command: Command) -> dict[str, bytes]:
        path = self.folder / (command.writes or "nothing")
        return files(path) if path.is_dir() else {"": path.read_bytes()} if path.exists() else {}

    def press(self, command: Command, after: float, times: int = 1, **more) -> Pressed:
        """Run a command and press Ctrl-C some seconds after its first line, if it runs still."""
        with self.start(command, **more) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after)
            early, pressed = process.poll() is not None, time.monotonic()  # as far as can be known
            if not early:
                process.send_signal(signal.SIGINT)
            for _ in range(times - 1):
                time.sleep(0.1)
                process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            seconds = time.monotonic() - pressed
            process.kill()
            out, err = process.communicate()
            early |= process.returncode == 0 and seconds < TEARDOWN
            return Pressed(process.returncode, seconds, after, out or "", err or "", early)

    def press_often(self, command: Command, number: int, seed: int) -> tuple[list[Pressed], list[str]]:
        """Press Ctrl-C at random moments of a command, which begins anew each time.

        Returns:
            How each ended, and what was wrong.
        """
        seconds, expected = self.result(command)
        found, problems = [], []
        for after in moments(seconds, number, seed):
            self.clear(command)
            found.append(self.press(command, after))
            problems += [found[-1].problem(), self.left_by(command, expected)]
        return found, [problem for problem in problems if problem]

    def left_by(self, command: Command, expected: dict[str, bytes]) -> str | None:
        """What an interrupted command should not have left."""
        if not command.writes or command.writes.endswith(".functa"):
            return None
        parts = [path.name for path in self.folder.iterdir() if ".part" in path.name]
        written = self.written(command)
        if parts or (written and written.keys() != expected.keys()):
            return f"{command.words}: left {parts} and {sorted(written)[:5]}"
        return None
