"""The engine Processes: workers as child processes of this one, started again when they die."""

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import jax

from functa_store import errors
from functa_store.config import whole
from functa_store.conversion.workers.assignment import Assignment, Deaths
from functa_store.conversion.workers.engine import Unfinished
from functa_store.errors import FunctaStoreError, WorkerError
from functa_store.progress import Note, Worked
from functa_store.support import interrupts

PATIENCE = 60.0
"""Seconds without a word of any worker, after which this process fits by itself."""

SILENT, LOST = 5.0, 30.0
"""Seconds without a word of one worker until its shards are given to others, too, and until it is ended."""

AHEAD = 2
"""Shards that a worker is given at a time, so that it never waits for the next one."""

CACHE = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
"""Settings of JAX that workers take over: what one has compiled, the others need not."""

MOMENT = 0.25
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a worker is started again that died as it started; doubled each time."""

MOST_STARTS = 6
"""Workers in a row that may die as they start, for each one that is wanted."""


class Processes:
    """Fits in child processes of this one.

    On CPUs they share the cores that this process may use, each bound to its part; on accelerators each has one device,
    in turn. A worker that dies is started again, and its shards are fitted once more.

    Args:
        count: How many, at least 1.

    Raises:
        ConfigError: If it is no whole number from 1 on.
    """

    needs_recipe, completes = True, True

    def __init__(self, count: int) -> None:
        self.count = whole("count", count, 1)

    def fit(self, unfinished: Unfinished) -> None:
        """Fit the missing shards; see `Engine`."""

        def run(missing: list[int]) -> str | None:
            with _Pool(self, unfinished, Assignment(missing)).running() as pool:
                return pool.run()

        unfinished.fit_by(run)

    def command(self) -> list[str]:
        """What starts a worker."""
        return [sys.executable, "-P", "-m", "functa_store.conversion.workers.child"]

    def environment(self, number: int) -> dict[str, str]:
        """Variables of the environment of a worker, the first of which has the number 0."""
        root = os.fspath(Path(errors.__file__).absolute().parents[1])
        found = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
        for name in CACHE:
            if (value := getattr(jax.config, name)) is not None:
                found[name.upper()] = str(value)
        if jax.default_backend() == "gpu":
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            devices = visible.split(",") if visible else [str(k) for k in range(jax.local_device_count())]
            found |= {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)], "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        return found

    def cores(self, number: int) -> list[int]:
        """Cores of a worker; none where it is not bound."""
        if jax.default_backend() != "cpu" or not hasattr(os, "sched_getaffinity"):
            return []
        cores = sorted(os.sched_getaffinity(0))
        return cores[number :: self.count] or [cores[number % len(cores)]]


@dataclasses.dataclass(eq=False)
class _Child:
    """One worker.

    Attributes:
        name: Which.
        number: Of its place, which the next one takes when it dies.
        process: It.
        errors: What it prints.
        heard: When it said something last.
        began: When it was ready; None until then.
        fitting: Shards that it has begun and not written.
        reader: Reads what it says.
        shards: How many it has written.
        examples: How many it has fitted.
    """

    name: str
    number: int
    process: subprocess.Popen
    errors: IO[bytes]
    heard: float
    began: float | None = None
    fitting: set[int] = dataclasses.field(default_factory=set)
    reader: threading.Thread | None = None
    shards: int = 0
    examples: int = 0

    def tell(self, message: Any) -> None:
        """Send it a line; one that is dead is noticed elsewhere."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def last_words(self) -> str:
        """How it ended: its exit code, and the last line that it printed."""
        code = self.process.wait()
        with contextlib.suppress(OSError, ValueError):
            self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 4096))
            lines = [line.strip() for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
            if lines:
                return f"with exit code {code}: {lines[-1][:300]}"
        return f"with exit code {code}"

    def release(self) -> None:
        """Wait for its end, and close what led to it."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self.process.wait(timeout=LOST)
        if self.reader is not None:
            self.reader.join(timeout=LOST)
        for stream in (self.process.stdin, self.errors):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()


class _Pool:
    """The workers of one run."""

    def __init__(self, engine: Processes, unfinished: Unfinished, assignment: Assignment) -> None:
        self._engine, self._unfinished, self._assignment = engine, unfinished, assignment
        self._deaths, self._events = Deaths(), queue.SimpleQueue[tuple[_Child, dict[str, Any] | None]]()
        self._children: dict[str, _Child] = {}
        self._starting: dict[int, float] = dict.fromkeys(range(min(engine.count, assignment.left)), 0.0)
        self._heard, self._failed_starts = time.monotonic(), 0
        self._last_words = ""

    @contextlib.contextmanager
    def running(self) -> Iterator["_Pool"]:
        """End all workers in the end; after Ctrl-C once they have written what they are fitting."""
        with interrupts.removing(self._end):
            try:
                yield self
            except KeyboardInterrupt:
                with interrupts.draining():
                    self._drain()
                raise
            finally:
                self._end()

    def run(self) -> str | None:
        """Let the workers fit everything.

        Returns:
            None, or why no worker can.

        Raises:
            WorkerError: If workers die on one shard again and again.
            FunctaStoreError: What a worker raised.
        """
        while self._assignment.left:
            self._start()
            self._listen(MOMENT)
            if (reason := self._look_after()) is not None:
                return reason
        return None

    def _start(self) -> None:
        now = time.monotonic()
        for number, at in list(self._starting.items()):
            if at > now:
                continue
            del self._starting[number]
            errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the child has ended
            process = subprocess.Popen(
                self._engine.command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._engine.environment(number),
                start_new_session=True,  # Ctrl-C is for this process alone
            )
            child = _Child(f"worker {number + 1}", number, process, errors, now)
            self._children[child.name] = child
            store, storage = self._unfinished.store, self._unfinished.storage
            where = {"store": store.name, "storage": dataclasses.asdict(storage)}
            child.tell({**where, "name": child.name, "cores": self._engine.cores(number)})
            child.reader = threading.Thread(target=self._read, args=(child,), name=child.name, daemon=True)
            child.reader.start()

    def _read(self, child: _Child) -> None:
        """In a thread: what a worker says, and that it has ended."""
        assert child.process.stdout is not None
        with child.process.stdout as said:
            for line in said:
                with contextlib.suppress(ValueError):  # cut short by its death
                    self._events.put((child, json.loads(line)))
        self._events.put((child, None))

    def _listen(self, seconds: float) -> None:
        """Take what workers say, until nothing is said any more."""
        with contextlib.suppress(queue.Empty):
            child, message = self._events.get(timeout=seconds)
            while True:
                self._take(child, message)
                child, message = self._events.get_nowait()

    def _take(self, child: _Child, message: dict[str, Any] | None) -> None:
        if self._children.get(child.name) is not child:  # it was given up
            return
        if message is None:
            self._bury(child)
            return
        child.heard = self._heard = time.monotonic()
        if message.get("ready"):
            child.began, self._failed_starts = child.heard, 0
        elif "begin" in message:
            child.fitting.add(message["begin"])
        elif "fitted" in message:
            child.examples += message["fitted"]
            self._unfinished.tally.count(message["fitted"], message["psnr"])
        elif "done" in message:
            child.shards += 1
            child.fitting.discard(message["done"])
            self._assignment.done(message["done"])
        elif "note" in message:
            self._unfinished.report(Note(message=f"{child.name}: {message['note']}"))
        elif "error" in message:
            raise _error(message)
        if "done" in message or "ready" in message:
            self._report(child)

    def _report(self, child: _Child) -> None:
        seconds = time.monotonic() - (child.began or time.monotonic())
        self._unfinished.report(
            Worked(
                worker=child.name,
                shards=child.shards,
                examples=child.examples,
                total=self._unfinished.contents.num_examples,
                examples_per_second=child.examples / seconds if seconds > 0 else 0.0,
            )
        )

    def _look_after(self) -> str | None:
        """Give work to those that have little, end those that are lost; why no worker can fit, if none can."""
        now = time.monotonic()
        if now - self._heard > PATIENCE:
            return f"no worker has been heard of for {PATIENCE:g} s"
        if self._failed_starts > MOST_STARTS * self._engine.count:
            return f"{self._failed_starts} workers in a row died as they started, the last one {self._last_words}"
        silent = [child.name for child in self._children.values() if now - child.heard > SILENT]
        for child in list(self._children.values()):
            if now - child.heard > LOST:
                child.process.kill()  # its end is read like that of any other
            while child.began is not None and self._assignment.held_by(child.name) < AHEAD:
                others = [name for name in silent if name != child.name] if child.name not in silent else []
                if (shard := self._assignment.next_for(child.name, others)) is None:
                    break
                child.tell(shard)
        return None

    def _bury(self, child: _Child) -> None:
        """Note the death of a worker, and see to its successor."""
        del self._children[child.name]
        self._last_words = child.last_words()
        child.release()
        pause = 0.0
        if child.began is None:
            self._failed_starts += 1
            pause = min(FIRST_PAUSE * 2 ** min(self._failed_starts, 10), LONGEST_PAUSE)
        self._assignment.gone(child.name)
        for shard in child.fitting:
            self._deaths.count(shard, self._last_words)
        self._unfinished.report(Note(message=f"{child.name} died {self._last_words}; it is started again"))
        self._starting[child.number] = time.monotonic() + pause

    def _drain(self) -> None:
        """Wait until every worker has written what it is fitting."""
        for child in self._children.values():
            if child.process.stdin is not None:
                with contextlib.suppress(OSError):
                    child.process.stdin.close()  # it ends after that
        if fitting := sum(len(child.fitting) for child in self._children.values()):
            message = f"interrupted: waiting for {fitting} shards that are being fitted; Ctrl-C again ends at once"
            with contextlib.suppress(KeyboardInterrupt):  # that was the first one
                self._unfinished.report(Note(message=message))
        deadline = {name: time.monotonic() + LOST for name in self._children}
        while self._children:
            with contextlib.suppress(queue.Empty):
                child, message = self._events.get(timeout=MOMENT)
                deadline[child.name] = time.monotonic() + LOST
                if message is None and self._children.get(child.name) is child:
                    del self._children[child.name]
                    child.release()
            if all(time.monotonic() > deadline[name] for name in self._children):
                return

    def _end(self) -> None:
        """End every worker at once; what they had not written is fitted again another time."""
        children = list(self._children.values())
        for child in children:
            with contextlib.suppress(OSError):
                child.process.kill()
        for child in children:
            child.release()
        self._children.clear()


def _error(message: dict[str, Any]) -> FunctaStoreError:
    """What a worker raised."""
    kind = getattr(errors, str(message["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, FunctaStoreError)):
        kind = WorkerError
    return kind(str(message["message"]))
