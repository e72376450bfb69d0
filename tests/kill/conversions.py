"""How is a conversion started, killed and judged?"""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from tests.kinds.archives import KINDS, Kind, png, write_zip

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
"""Processes at a time."""

ENVIRONMENT = {
    # All runs after the first ones load what those compiled.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_NUM_CPU_DEVICES": "1",
    "XLA_FLAGS": "",
    "PYTHONPATH": os.fspath(ROOT),
}


def pictures(folder: Path) -> Path:
    """A zip of 24 small pictures of random colours."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    return write_zip(folder / "archive.zip", {f"{i:02}.png": png(picture) for i, picture in enumerate(pixels)})


PICTURES = dataclasses.replace(KINDS["images"], write=pictures)


@dataclasses.dataclass(frozen=True)
class Plan:
    """One conversion that is killed now and then.

    Attributes:
        dtype: Of its modulations.
        kills: When each run is killed: "PHASE:N" by itself, as in `convert_once.py`, or from outside, some seconds
            after a number of moments. A last run is not.
    """

    dtype: str
    kills: tuple[str | tuple[int, float], ...]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How one run ended: exit code (-9 for killed), what it said, and the phase of its last moment."""

    code: int
    error: str
    phase: str


@dataclasses.dataclass(frozen=True)
class Reference:
    """A store that was converted without a break, and how many moments its phases had."""

    path: Path
    files: dict[str, bytes]
    moments: Counter[str]


class Conversions:
    """Conversions of one small archive, and what they must end in.

    Args:
        folder: An empty folder for the archive, the references and what JAX compiles.
        kind: Of the archive.
        dtypes: Of modulations.
    """

    def __init__(self, folder: Path, kind: Kind = PICTURES, dtypes: Sequence[str] = ("float32", "int8")) -> None:
        self.kind, self.archive = kind, kind.write(folder)
        self.environment = os.environ | ENVIRONMENT | {"JAX_COMPILATION_CACHE_DIR": os.fspath(folder / "compiled")}
        self._names, self._lock = 0, threading.Lock()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            paths = [folder / f"{dtype}.functa" for dtype in dtypes]
            self.references = dict(zip(dtypes, pool.map(self._refer, dtypes, paths), strict=True))

    def _refer(self, dtype: str, out: Path) -> Reference:
        ended, moments = self._run(dtype, out, {})
        assert ended.code == 0, ended.error
        return Reference(out, files(out), moments)

    def command(self, dtype: str, out: Path) -> list[str]:
        words = [sys.executable, str(ROOT / "tests/kill/convert_once.py"), "convert", self.kind.converter]
        words += [str(self.archive), *self.kind.options]
        return [*words, str(out), "--preset", "tiny", "--snapshot-every", "0", "--dtype", dtype, "--quiet"]

    def new_trace(self, out: Path) -> Path:
        with self._lock:
            self._names += 1
            return out.with_name(f"{out.name}.trace{self._names}")

    def convert(self, dtype: str, out: Path) -> Ended:
        """Convert, or go on."""
        return self._run(dtype, out, {})[0]

    def convert_until(self, dtype: str, out: Path, kill: str | tuple[int, float]) -> Ended:
        """Convert, or go on, and be killed."""
        if isinstance(kill, str):
            return self._run(dtype, out, {"KILL_AT": kill})[0]
        return self._run(dtype, out, {}, kill)[0]

    def _run(
        self, dtype: str, out: Path, more: dict[str, str], kill: tuple[int, float] | None = None
    ) -> tuple[Ended, Counter[str]]:
        trace = self.new_trace(out)
        environment = self.environment | {"KILL_TRACE": str(trace)} | more
        with subprocess.Popen(self.command(dtype, out), env=environment, stderr=subprocess.PIPE, text=True) as process:
            if kill is not None:
                wait_until(lambda: process.poll() is not None or num_lines(trace) >= kill[0])
                time.sleep(kill[1])
                process.kill()
            _, error = process.communicate(timeout=300)
        phases = [line.split("\t")[0] for line in trace.read_text().splitlines()] if trace.exists() else []
        trace.unlink(missing_ok=True)
        return Ended(process.returncode, error, phases[-1] if phases else "start"), Counter(phases)

    @contextlib.contextmanager
    def paused(self, dtype: str, out: Path, pause: str) -> Iterator["Orphan"]:
        """A conversion that waits at a moment, its parent killed."""
        trace = self.new_trace(out)
        environment = self.environment | {"KILL_TRACE": str(trace), "KILL_PAUSE": pause}
        run = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *self.command(dtype, out)]
        with subprocess.Popen(run, env=environment, stdout=subprocess.PIPE) as parent:
            paused = Path(f"{trace}.paused")
            wait_until(lambda: paused.exists() or parent.poll() is not None)
            parent.kill()
            parent.wait()
            orphan = Orphan(int(paused.read_text()), parent, Path(f"{trace}.go"))
            try:
                yield orphan
            finally:
                orphan.go_on()
        for left in out.parent.glob(f"{trace.name}*"):
            left.unlink()

    def problems_after_a_kill(self, dtype: str, out: Path) -> list[str]:
        """What a reader sees that it should not."""
        stores = {out: dtype}
        if dtype != "float32":
            stores[out.with_name(f"{out.name}.work") / "exact.functa"] = "float32"  # the same conversion, unrounded
        return [problem for path, kind in stores.items() for problem in self._what_is_wrong_with(path, kind)]

    def _what_is_wrong_with(self, path: Path, dtype: str) -> Iterator[str]:
        if not (path / "zarr.json").exists():  # and so no store
            return
        if damaged := verify(path).damaged:
            yield f"{path} is damaged: {damaged}"
            return
        whole, found = StoreReader(self.references[dtype].path), StoreReader(path, verify=True)
        rows = np.array([row for shard in found.shards for row in shard.examples], int)
        if found.spec.complete and len(rows) < whole.num_examples:
            yield f"{path} is complete with {len(rows)} examples"
        for name in ("ids", "split", "modulations", "mse"):
            if not np.array_equal(getattr(found, name)[:], getattr(whole, name)[:][rows]):
                yield f"{path}: {name} of {rows} differ"

    def problems_at_the_end(self, dtype: str, out: Path) -> list[str]:
        """What differs from an uninterrupted conversion, and what is left over."""
        found, expected = files(out), self.references[dtype].files
        different = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
        left = sorted(entry.name for entry in out.parent.iterdir() if entry.name not in (out.name, f"{out.name}.log"))
        return [f"{what} differ" for what in [different] if what] + [f"{what} are left over" for what in [left] if what]

    def carry_out(self, plan: Plan, folder: Path) -> tuple[list[str], list[str]]:
        """Convert as planned, in an empty folder.

        Returns:
            The phase of each kill, and what was wrong.
        """
        out, phases, problems = folder / "killed.functa", [], []
        for kill in plan.kills:
            ended = self.convert_until(plan.dtype, out, kill)
            if ended.code == 0 and not isinstance(kill, str):  # it was faster
                return phases, problems + self.problems_at_the_end(plan.dtype, out)
            if ended.code != -9:
                return phases, [*problems, f"{plan}: exit code {ended.code} before {kill}: {ended.error}"]
            phases.append(ended.phase)
            problems += self.problems_after_a_kill(plan.dtype, out)
        described = out.with_name(f"{out.name}.work") / "learning/conversion.json"
        over = is_complete(out) and not described.exists()  # then nothing tells whose remains those are
        ended = self.convert(plan.dtype, out)
        if ended.code != 0 and not (over and ended.code == 2 and "complete" in ended.error):
            problems.append(f"exit code {ended.code}: {ended.error}")
        problems += self.problems_at_the_end(plan.dtype, out) + problems_of_the_log(out)
        return phases, [f"{plan}, killed in {phases}: {problem}" for problem in problems]


class Orphan:
    """A conversion that waits, without a parent."""

    def __init__(self, pid: int, parent: subprocess.Popen, go: Path) -> None:
        self.pid, self._parent, self._go = pid, parent, go

    def go_on(self) -> None:
        """Let it go on, and wait until it is gone, which closes its output."""
        self._go.touch()
        assert self._parent.stdout is not None
        self._parent.stdout.read()


def carry_out_all(conversions: Conversions, plans: Sequence[Plan], folder: Path) -> tuple[Counter[str], list[str]]:
    """Convert as planned, several at a time.

    Returns:
        How often each phase was hit, and what was wrong.
    """
    folders = [folder / str(number) for number in range(len(plans))]
    for one in folders:
        one.mkdir()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(conversions.carry_out, plans, folders))
    hits = Counter(phase for phases, _ in done for phase in phases)
    return hits, [problem for _, problems in done for problem in problems]


def evenly(reference: Reference, dtype: str, phase: str, number: int) -> list[Plan]:
    """Kills at as many moments of a phase."""
    moments = reference.moments[phase]
    assert moments >= number, f"{phase} has {moments} moments"
    return [Plan(dtype, (f"{phase}:{1 + int((i + 0.5) * moments / number)}",)) for i in range(number)]


def at_random(reference: Reference, dtype: str, number: int, seed: int) -> list[Plan]:
    """Kills from outside, at any time from the start to the end."""
    rng, moments = random.Random(seed), reference.moments.total()
    return [Plan(dtype, ((rng.randrange(moments), rng.choice([0.0, 0.01, 0.2])),)) for _ in range(number)]


def files(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def is_complete(path: Path) -> bool:
    return (path / "zarr.json").exists() and StoreReader(path).spec.complete


def problems_of_the_log(out: Path) -> list[str]:
    """What of the log is no event."""
    lines = out.with_name(f"{out.name}.log").read_text().splitlines()
    return [f"the log says {line!r}" for line in lines if "event" not in json.loads(line)]


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
