"""Processes that tests kill or stop: coordinators of conversions, and clusters of dask.distributed."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import functa_store

ROOT = Path(__file__).parents[2]
LONGEST = 90.0
"""Seconds from what befalls a process to the next kill, and to the end of the command."""

ENVIRONMENT = os.environ | {"PYTHONPATH": os.fspath(ROOT)}


def coordinate(
    archive: Path, out: Path, dtype: str, how: str, environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.Popen[str]:
    """Start a conversion of pictures; see `coordinate.py`."""
    command = [sys.executable, str(ROOT / "tests/workers/coordinate.py"), str(archive), str(out), dtype, how]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def has_a_shard(out: Path) -> bool:
    """Whether a conversion has fitted one of its shards, and not ended."""
    return any(out.with_name(f"{out.name}.work").rglob("receipts/[0-9]*.json"))


def is_done(out: Path) -> bool:
    """Whether a conversion has completed its store, and cleared up."""
    if out.with_name(f"{out.name}.work").exists():
        return False
    try:
        return functa_store.info(out)["complete"]
    except functa_store.FunctaStoreError:
        return False


class Cluster:
    """A scheduler and two workers, each a process of its own; each shard takes a second at least.

    Args:
        folder: For what they write.
        port: Where the scheduler listens; 0 takes a free one.
        environment: Of all of them.
    """

    def __init__(self, folder: Path, port: int = 0, environment: Mapping[str, str] = ENVIRONMENT) -> None:
        self.folder, self.environment, self.file = folder, environment, folder / "scheduler.json"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.past: list[subprocess.Popen[bytes]] = []
        self.begin(port)

    def begin(self, port: int) -> None:
        """Start the scheduler at a port, and workers."""
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "--port", str(port), "--no-dashboard", "--scheduler-file", self.file)
        deadline = time.monotonic() + 60
        while not (address := self._address()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.address = address
        self.workers = [self._worker() for _ in range(2)]

    def revive(self, spared: Collection[int] = ()) -> None:
        """Start again what is dead; with the scheduler, at its port, all workers, since they end with it.

        Args:
            spared: Workers that stay as they are, by their process: those that stand still notice nothing.
        """
        if self.scheduler.poll() is not None:
            self.past += [worker for worker in self.workers if worker.pid in spared]
            self._kill(worker for worker in self.workers if worker.pid not in spared)
            self.begin(int(self.address.rpartition(":")[2]))
        self.workers = [worker if worker.poll() is None else self._worker() for worker in self.workers]

    def end(self) -> None:
        """Kill all of them."""
        self._kill([self.scheduler, *self.workers, *self.past])

    @staticmethod
    def _kill(processes: Iterable[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.kill()
            process.wait()

    def _worker(self) -> "subprocess.Popen[bytes]":
        slow = Path(__file__).with_name("slow_shards.py")
        one = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--preload", slow)
        return self._start("worker", self.address, *one, "--local-directory", self.folder)

    def _start(self, kind: str, *words: str | Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(os.fspath, words)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, env=self.environment, **quiet)

    def _address(self) -> str | None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return json.loads(self.file.read_text())["address"]
        return None
