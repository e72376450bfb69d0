"""A scheduler of dask.distributed that is killed, stands still or comes back: the bytes are the same in the end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from functa_store.store.reading.verify import verify
from tests.workers.jobs import files

pytest.importorskip("distributed")

ROOT = Path(__file__).parents[2]
LONGEST = 90.0
"""Seconds from what befalls the scheduler to the end of the command."""


class Cluster:
    """A scheduler and its workers, each a process of its own.

    Args:
        folder: For what they write.
        port: Where the scheduler listens; 0 takes a free one.
    """

    def __init__(self, folder, port=0):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "--port", str(port), "--no-dashboard", "--scheduler-file", self.file)
        deadline = time.monotonic() + 60
        while not (address := self._address()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.address = address
        slow = Path(__file__).with_name("slow_shards.py")
        one = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--preload", slow, "--local-directory", folder)
        self.workers = [self._start("worker", address, *one) for _ in range(2)]

    def _start(self, kind, *words):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(os.fspath, words)]
        environment = os.environ | {"PYTHONPATH": os.fspath(ROOT)}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, env=environment, **quiet)

    def _address(self):
        with contextlib.suppress(OSError, ValueError, KeyError):
            return json.loads(self.file.read_text())["address"]
        return None

    def end(self):
        for process in (self.scheduler, *self.workers):
            process.kill()
            process.wait()


@pytest.fixture(name="clusters")
def _clusters(tmp_path):
    """Starts clusters, and ends them."""
    with contextlib.ExitStack() as stack:

        def start(port=0):
            cluster = Cluster(tmp_path, port)
            stack.callback(cluster.end)
            return cluster

        yield start


def coordinate(archive, out, how):
    command = [sys.executable, str(ROOT / "tests/workers/coordinate.py"), str(archive), str(out), "float32", how]
    environment = os.environ | {"PYTHONPATH": os.fspath(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_a_shard(out, coordinator):
    deadline = time.monotonic() + 120
    while not list(out.with_name(f"{out.name}.work").glob("receipts/[0-9]*.json")):
        assert coordinator.poll() is None, coordinator.communicate()[1][-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check(out, expected):
    assert files(out) == expected
    assert verify(out).damaged == {}
    assert not out.with_name(f"{out.name}.work").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"), [(signal.SIGKILL, "the scheduler is gone"), (signal.SIGSTOP, "no worker has been seen for 60 s")]
)
def test_if_the_scheduler_is_lost_the_command_fits_by_itself_and_says_so(
    clusters, archive, tmp_path, references, how, said
):
    out, cluster = tmp_path / "x.functa", clusters()
    coordinator = coordinate(archive, out, f"dask:{cluster.address}")
    wait_for_a_shard(out, coordinator)
    cluster.scheduler.send_signal(how)
    _, printed = coordinator.communicate(timeout=LONGEST)
    assert coordinator.returncode == 0, printed[-2000:]
    assert f"{said}; this process fits the shards by itself" in out.with_name("x.functa.log").read_text()
    check(out, references["float32"])


@pytest.mark.slow
def test_a_scheduler_that_comes_back_with_workers_goes_on(clusters, archive, tmp_path, references):
    out, cluster = tmp_path / "x.functa", clusters()
    coordinator = coordinate(archive, out, f"dask:{cluster.address}")
    wait_for_a_shard(out, coordinator)
    cluster.end()
    clusters(port=int(cluster.address.rpartition(":")[2]))
    _, printed = coordinator.communicate(timeout=LONGEST)
    assert coordinator.returncode == 0, printed[-2000:]
    assert "by itself" not in out.with_name("x.functa.log").read_text()
    check(out, references["float32"])


@pytest.mark.slow
def test_what_was_written_stays_if_the_command_is_killed_with_its_scheduler(clusters, archive, tmp_path, references):
    out, cluster = tmp_path / "x.functa", clusters()
    coordinator = coordinate(archive, out, f"dask:{cluster.address}")
    wait_for_a_shard(out, coordinator)
    cluster.end()
    coordinator.kill()
    coordinator.communicate()
    written = {path: path.stat().st_mtime_ns for path in (out / "modulations/c").rglob("*") if path.is_file()}
    again = coordinate(archive, out, "none")
    _, printed = again.communicate(timeout=LONGEST)
    assert again.returncode == 0, printed[-2000:]
    done = [path for path, at in written.items() if path.stat().st_mtime_ns == at]
    assert done
    check(out, references["float32"])
