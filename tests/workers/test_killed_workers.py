"""Workers, coordinators and schedulers that are killed or stand still at any time: the bytes are the same."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

import functa_store
from functa_store.store.reading.verify import verify
from tests.workers.jobs import files

ROOT = Path(__file__).parents[2]
COMPILED_ONCE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
LONGEST = 90.0
"""Seconds that a run may take between two kills, and to its end."""


class Campaign:
    """Runs of one conversion with kills in between.

    Args:
        archive: Of the pictures.
        folder: An empty one for stores and what JAX compiles.
        references: Files of the stores of a single process.
        seed: Decides who is killed, and when.
    """

    def __init__(self, archive, folder, references, seed):
        self.archive, self.folder, self.references = archive, folder, references
        self.rng, self.kills = random.Random(seed), Counter()
        compiled = {"JAX_COMPILATION_CACHE_DIR": os.fspath(folder / "compiled"), "PYTHONPATH": os.fspath(ROOT)}
        compiled["PYTHONFAULTHANDLER"] = "1"
        self.environment = os.environ | COMPILED_ONCE | compiled

    def start(self, out, dtype, how):
        command = [sys.executable, str(ROOT / "tests/workers/coordinate.py"), str(self.archive), str(out), dtype, how]
        return subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, text=True)

    def run(self, number, dtype, how, kills, pause=0.0):
        """Convert, with so many kills; one worker may stand still for a while.

        Returns:
            What was wrong.
        """
        out = self.folder / f"{number}.functa"
        coordinator = self.start(out, dtype, how)
        began, killed, stopped = time.monotonic(), 0, []
        while True:
            time.sleep(self.rng.uniform(0.05, 1.0))
            if coordinator.poll() is not None:
                if coordinator.returncode == 0:
                    break
                if coordinator.returncode != -signal.SIGKILL:
                    said = coordinator.communicate()[1]
                    return [f"run {number}: exit code {coordinator.returncode}: {said[-2000:]}"]
                coordinator.communicate()
                coordinator, began = self.start(out, dtype, how), time.monotonic()
                continue
            if time.monotonic() - began > LONGEST + pause:
                coordinator.send_signal(signal.SIGABRT)  # says where it is
                said = coordinator.communicate()[1]
                return [f"run {number}: hangs after {killed} kills ({how}): {said[-4000:]}"]
            if killed >= kills:
                continue
            victims = self.workers_of(coordinator)
            if pause and not stopped and victims and time.monotonic() - began > 2:
                victim = self.rng.choice(victims)
                with contextlib.suppress(psutil.Error):
                    victim.suspend()
                    stopped.append((victim, time.monotonic()))
            if self.rng.random() < 0.2:
                coordinator.kill()
                self.kills["coordinator"] += 1
                killed, began = killed + 1, time.monotonic()
            elif victims:
                with contextlib.suppress(psutil.Error):
                    self.rng.choice(victims).kill()
                    self.kills["worker"] += 1
                    killed, began = killed + 1, time.monotonic()
        coordinator.communicate()
        for victim, since in stopped:  # it comes back when all is over
            time.sleep(max(0.0, pause - (time.monotonic() - since)))
            with contextlib.suppress(psutil.Error):
                victim.resume()
                victim.wait(timeout=60)
        return self.problems(number, out, dtype)

    @staticmethod
    def workers_of(coordinator):
        with contextlib.suppress(psutil.Error):
            return [child for child in psutil.Process(coordinator.pid).children() if child.status() != "zombie"]
        return []

    def problems(self, number, out, dtype):
        found = files(out)
        expected = self.references[dtype]
        wrong = [
            f"run {number}: {key} differs"
            for key in found.keys() | expected.keys()
            if found.get(key) != expected.get(key)
        ]
        if verify(out).damaged or verify(out).foreign:
            wrong.append(f"run {number}: {verify(out)}")
        if out.with_name(f"{out.name}.work").exists():
            wrong.append(f"run {number}: the work folder is left over")
        shutil.rmtree(out)
        return wrong


@pytest.fixture(name="campaign")
def _campaign(archive, tmp_path, references):
    return Campaign(archive, tmp_path, references, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "kills"), [("float32", 3), ("int8", 4)])
def test_bytes_are_the_same_after_some_kills(campaign, dtype, kills):
    assert campaign.run(0, dtype, "processes:2", kills) == []
    assert campaign.kills.total() == kills


@pytest.mark.long
def test_bytes_are_the_same_after_a_hundred_kills(campaign):
    """30 runs; in every third one a worker stands still for a minute, and comes back after the end."""
    problems = []
    for number in range(30):
        dtype, pause = ("float32", "int8")[number % 2], 60.0 if number % 3 == 0 else 0.0
        problems += campaign.run(number, dtype, f"processes:{1 + number % 3}", 4, pause)
    assert problems == []
    assert campaign.kills.total() >= 100


@pytest.mark.slow
@pytest.mark.parametrize("stops", ["worker", "killed"])
def test_share_nothing_workers_may_stand_still_or_die(campaign, begin, stops, references):
    """One stands still until the store is complete; what it then does changes nothing."""
    path = begin()
    workers = [campaign.start(path, "float32", "work") for _ in range(2)]
    time.sleep(campaign.rng.uniform(2, 6))
    workers[0].send_signal(signal.SIGSTOP if stops == "worker" else signal.SIGKILL)
    try:
        assert workers[1].wait(timeout=120) == 0
        functa_store.work(path)  # nothing, as a rule
        functa_store.finish(path)
        before = files(path.parent)
    finally:
        workers[0].send_signal(signal.SIGCONT)
    workers[0].wait(timeout=120)
    for worker in workers:
        worker.stderr.close()
    assert files(path) == references["float32"]
    assert files(path.parent) == before
    assert not path.with_name("x.functa.work").exists()
