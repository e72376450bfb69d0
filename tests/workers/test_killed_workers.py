"""Workers, coordinators and schedulers that are killed or stand still at any time: the bytes are the same."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter

import psutil
import pytest

import functa_store
from functa_store.store.reading.verify import verify
from tests.workers.jobs import files
from tests.workers.victims import ENVIRONMENT, LONGEST, Cluster, coordinate, has_a_shard, is_done

COMPILED_ONCE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

CHILDREN = ["coordinator", "worker", "worker", "worker", "worker"]
"""What is killed in a run by child processes, in some order."""

SCHEDULED = ["worker", "coordinator", "scheduler"]
"""The same in a run through a scheduler, after the scheduler itself."""


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
        compiled = {"JAX_COMPILATION_CACHE_DIR": os.fspath(folder / "compiled"), "PYTHONFAULTHANDLER": "1"}
        self.environment = ENVIRONMENT | COMPILED_ONCE | compiled

    def start(self, out, dtype, how):
        return coordinate(self.archive, out, dtype, how, self.environment)

    def run(self, number, dtype, how, kills, pause=0.0):
        """Convert, with so many kills; one worker may stand still for a while.

        Args:
            number: Names the store.
            dtype: Of modulations.
            how: See `coordinate.py`; "dask" begins a cluster, whose scheduler is killed, too.
            kills: How many.
            pause: Seconds that a worker stands still.

        Returns:
            What was wrong.
        """
        out = self.folder / f"{number}.functa"
        with contextlib.ExitStack() as stack:
            cluster = None
            if how == "dask":
                cluster = Cluster(self.folder, environment=self.environment)
                stack.callback(cluster.end)
                how = f"dask:{cluster.address}"
            problems = self._run(number, out, dtype, how, kills, pause, cluster)
        return problems or self.problems(number, out, dtype)

    def _run(self, number, out, dtype, how, kills, pause, cluster):
        coordinator = self.start(out, dtype, how)
        began, killed, stopped = time.monotonic(), 0, []
        if cluster is None:
            kinds = self.rng.sample(CHILDREN, len(CHILDREN))
        else:
            kinds = ["scheduler", *self.rng.sample(SCHEDULED, len(SCHEDULED))]
        while True:
            time.sleep(self.rng.uniform(0.05, 4.0 if cluster is not None and killed else 1.0))
            if cluster is not None:
                cluster.revive({victim.pid for victim, _ in stopped})
            if coordinator.poll() is not None:
                said, code = coordinator.communicate()[1], coordinator.returncode
                if code == 0 or (code == -signal.SIGKILL and is_done(out)):  # killed when all was written
                    break
                if code != -signal.SIGKILL:
                    return [f"run {number}: exit code {code}: {said[-2000:]}"]
                coordinator, began = self.start(out, dtype, how), time.monotonic()
                continue
            if time.monotonic() - began > LONGEST + pause:
                coordinator.send_signal(signal.SIGABRT)  # says where it is
                said = coordinator.communicate()[1]
                return [f"run {number}: hangs after {killed} kills ({how}): {said[-4000:]}"]
            if killed >= kills:
                continue
            if cluster is not None and not killed and not has_a_shard(out):
                continue  # the scheduler is to have something to forget
            workers = self.workers_of(coordinator, cluster)
            if pause and not stopped and workers and time.monotonic() - began > 2:
                victim = self.rng.choice(workers)
                with contextlib.suppress(psutil.Error):
                    victim.suspend()
                    stopped.append((victim, time.monotonic()))
            kind = kinds[killed % len(kinds)]
            if (victim := self.victim(kind, coordinator, workers, cluster)) is not None:
                with contextlib.suppress(psutil.Error):
                    victim.kill()
                    self.kills[kind] += 1
                    killed, began = killed + 1, time.monotonic()
        for victim, since in stopped:  # it comes back when all is over
            time.sleep(max(0.0, pause - (time.monotonic() - since)))
            with contextlib.suppress(psutil.Error):
                victim.resume()
                if cluster is None:
                    victim.wait(timeout=60)
                else:  # it goes on with its shard
                    time.sleep(5)
        return []

    def victim(self, kind, coordinator, workers, cluster):
        """The next one to be killed; None if there is none yet."""
        if kind == "worker":
            return self.rng.choice(workers) if workers else None
        return coordinator if kind == "coordinator" else cluster.scheduler

    @staticmethod
    def workers_of(coordinator, cluster):
        with contextlib.suppress(psutil.Error):
            if cluster is not None:
                return [psutil.Process(worker.pid) for worker in cluster.workers]
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
    assert 2 <= campaign.kills.total() <= kills  # the last ones may come too late


@pytest.mark.slow
def test_bytes_are_the_same_after_a_scheduler_was_killed_among_others(campaign):
    pytest.importorskip("distributed")
    assert campaign.run(0, "int8", "dask", 4) == []
    assert campaign.kills == Counter(["scheduler", *SCHEDULED])


@pytest.mark.long
def test_bytes_are_the_same_after_a_hundred_kills(campaign):
    """30 runs; in every third one a worker stands still for a minute, and comes back after the end.

    Every fifth goes through a scheduler, which is killed, too.
    """
    problems = []
    for number in range(30):
        dtype, pause = ("float32", "int8")[number % 2], 60.0 if number % 3 == 0 else 0.0
        how = "dask" if number % 5 == 4 else f"processes:{1 + number % 3}"
        problems += campaign.run(number, dtype, how, 4, pause)
    assert problems == []
    assert campaign.kills.total() >= 100
    assert campaign.kills["scheduler"] >= 10


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
