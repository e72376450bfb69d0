"""A fuzz of archives: many mutants of a kind are opened in a child process that may do nothing but read them.

The child (`tests.fuzz.child`) makes a mutant of each seed in a folder of its own and opens it as a conversion does,
under 1 GiB of memory beside what it has when it starts, and 10 seconds. Only a `FunctaStoreError`, or success, is in
order. All else is a fault: another error, a crash, a hang, more memory or time, a file opened outside the mutant's
folder (also by a library in C, which inotify sees), a process or connection started, an object unpickled, a library
loaded, an error that advises `allow_pickle=True`.

To add a kind, write a module with a dictionary `KINDS` of `Kind`s by name, in a file beside this one:

    def write(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
        '''One mutant in an empty folder; gives the path of its archive. Anything random comes from `rng`.'''
        path = folder / "a.wav"
        path.write_bytes(mutations.of_bytes(rng, WHOLE))  # or links to `outside / "secret.bin"`, huge sizes, ...
        return path

    def read(rng: random.Random, path: pathlib.Path) -> None:
        '''Opens it with options chosen by `rng`, and reads an example.'''
        source = open_audio(path, check_first=rng.choice([None, 1]))
        source.read(0)

    KINDS = {"wav": Kind(write=write, read=read)}

and a test of it:

    def test_no_sound_does_harm():
        fuzz("tests.fuzz.sounds", "wav", range(150)).check()

`outside` holds `secret.bin` and what `Kind.plant` has put there; a mutant may point there, and nothing may be opened in
it. Keep archives small, so that a mutant takes milliseconds. `write` runs unwatched in the same child, so it must close
what it opens. A seed makes the same mutant again:

    python -m tests.fuzz.harness tests.fuzz.sounds wav 17 --keep FOLDER
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any

MEMORY_BYTES = 1 << 30
"""What opening one mutant may take beside what the child has when it starts."""

CPU_SECONDS = 10.0
"""What opening one mutant may take of all cores together."""

HANG_SECONDS = 60.0
"""Without an answer for that long the child is killed: the mutant hangs, however loaded the machine is."""

_ROOT = pathlib.Path(__file__).parents[2]
_TAIL = 4000


def _nothing(outside: pathlib.Path) -> None:
    pass


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of archive.

    Attributes:
        write: Makes a mutant in an empty folder and gives its path.
        read: Opens it as a conversion does; what it raises is the outcome.
        plant: Puts more into the folder outside, once for each child.
    """

    write: Callable[[random.Random, pathlib.Path, pathlib.Path], pathlib.Path]
    read: Callable[[random.Random, pathlib.Path], None]
    plant: Callable[[pathlib.Path], None] = _nothing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tally:
    """What became of the mutants of a kind.

    Attributes:
        read: How many were read without an error.
        refused: How many were refused with a `FunctaStoreError`, by the beginning of its message without numbers.
        faults: What was wrong with the others, by seed.
    """

    read: int
    refused: Mapping[str, int]
    faults: Mapping[int, str]

    def check(self) -> None:
        """Raise an AssertionError that names the first faults, or says that nothing was refused or nothing read."""
        few = list(self.faults.items())[:10]
        found = "\n\n".join(f"seed {seed}: {fault}" for seed, fault in few)
        assert not self.faults, f"{len(self.faults)} mutants are no good, among them\n{found}"
        assert self.read, "no mutant can be read: they do not get far"
        assert self.refused, "no mutant was refused: they are harmless"


def fuzz(module: str, kind: str, seeds: Iterable[int]) -> Tally:
    """Open the mutants of some seeds.

    Args:
        module: Where `KINDS` is, such as "tests.fuzz.arrays".
        kind: Which of them.
        seeds: One for each mutant.
    """
    read, refused, faults = 0, collections.Counter[str](), dict[int, str]()
    for seed, answer in _answers(module, kind, seeds):
        if answer["fault"] is not None:
            faults[seed] = answer["fault"]
        elif answer["refused"] is not None:
            refused[answer["refused"]] += 1
        else:
            read += 1
    return Tally(read=read, refused=refused, faults=faults)


def _answers(module: str, kind: str, seeds: Iterable[int]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The child's answer to each seed; one that dies or hangs is replaced, and that is the answer."""
    child = None
    try:
        for seed in seeds:
            child = child or _Child(module, kind)
            answer = child.ask(seed)
            if answer is None:
                answer = {"fault": child.end(), "refused": None}
                child = None
            yield seed, answer
    finally:
        if child is not None:
            child.end()


class _Child:
    """A process that opens mutants, one at a time."""

    def __init__(self, module: str, kind: str, keep: str | None = None) -> None:
        self._work = tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True)
        self._errors = (pathlib.Path(self._work.name) / "stderr").open("w+")
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.fuzz.child", module, kind, keep or self._work.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=self._work.name,
            # A thread's arena takes 64 MiB of address space whether it is used or not.
            env=os.environ | {"PYTHONPATH": path, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"},
        )
        if self._line(5 * HANG_SECONDS) != b"ready\n":
            raise RuntimeError(f"the child did not start: {self.end()}")

    def ask(self, seed: int) -> Mapping[str, Any] | None:
        """What became of a mutant; None if the child is no more, or does not answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{seed}\n".encode())
            self._process.stdin.flush()
            answer = self._line(HANG_SECONDS)
            return json.loads(answer) if answer.endswith(b"\n") else None
        except OSError:
            return None

    def end(self) -> str:
        """How the child ended, with the last that it said; it is killed if it has not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process.stdout.close()
        self._errors.seek(0)
        said = self._errors.read()[-_TAIL:]
        self._errors.close()
        self._work.cleanup()
        how = "hung, and was killed" if code == -9 else f"ended with code {code}"
        return f"the process {how}: {said}"

    def _line(self, seconds: float) -> bytes:
        assert self._process.stdout is not None
        line, until = b"", time.monotonic() + seconds
        while not line.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not _is_readable(self._process.stdout, left):
                return b""
            some = os.read(self._process.stdout.fileno(), 1 << 16)
            if not some:
                return b""
            line += some
        return line


def _is_readable(file: IO[bytes], seconds: float) -> bool:
    """Whether something comes in time; `select.select` knows the first 1,024 descriptors only."""
    waiting = select.poll()
    waiting.register(file, select.POLLIN | select.POLLHUP)
    return bool(waiting.poll(1000 * seconds))


def main() -> None:
    """Open the mutants of seeds named on the command line and print what becomes of them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("module")
    parser.add_argument("kind")
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--keep", metavar="FOLDER", help="make the mutants there, and leave the last one")
    asked = parser.parse_args()
    child = _Child(asked.module, asked.kind, asked.keep and os.path.abspath(asked.keep))
    for seed in asked.seeds:
        answer = child.ask(seed)
        sys.stdout.write(f"{seed}: {'no answer' if answer is None else json.dumps(answer, indent=1)}\n")
    sys.stdout.write(f"{child.end()}\n")


if __name__ == "__main__":
    main()
