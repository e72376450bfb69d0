"""A scheduler of dask.distributed that is killed, stands still or comes back: the bytes are the same in the end."""

import contextlib
import signal
import time

import pytest

from functa_store.store.reading.verify import verify
from tests.workers.jobs import files
from tests.workers.victims import LONGEST, Cluster, coordinate, has_a_shard

pytest.importorskip("distributed")


@pytest.fixture(name="clusters")
def _clusters(tmp_path):
    """Starts clusters, and ends them."""
    with contextlib.ExitStack() as stack:

        def start(port=0):
            cluster = Cluster(tmp_path, port)
            stack.callback(cluster.end)
            return cluster

        yield start


def wait_for_a_shard(out, coordinator):
    deadline = time.monotonic() + 120
    while not has_a_shard(out):
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
    coordinator = coordinate(archive, out, "float32", f"dask:{cluster.address}")
    wait_for_a_shard(out, coordinator)
    cluster.scheduler.send_signal(how)
    _, printed = coordinator.communicate(timeout=LONGEST)
    assert coordinator.returncode == 0, printed[-2000:]
    assert f"{said}; this process fits the shards by itself" in out.with_name("x.functa.log").read_text()
    check(out, references["float32"])


@pytest.mark.slow
def test_a_scheduler_that_comes_back_with_workers_goes_on(clusters, archive, tmp_path, references):
    out, cluster = tmp_path / "x.functa", clusters()
    coordinator = coordinate(archive, out, "float32", f"dask:{cluster.address}")
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
    coordinator = coordinate(archive, out, "float32", f"dask:{cluster.address}")
    wait_for_a_shard(out, coordinator)
    cluster.end()
    coordinator.kill()
    coordinator.communicate()
    written = {path: path.stat().st_mtime_ns for path in (out / "modulations/c").rglob("*") if path.is_file()}
    again = coordinate(archive, out, "float32", "none")
    _, printed = again.communicate(timeout=LONGEST)
    assert again.returncode == 0, printed[-2000:]
    done = [path for path, at in written.items() if path.stat().st_mtime_ns == at]
    assert done
    check(out, references["float32"])
