"""Child processes fit what a single process would; they may die, stand still, or find what they cannot read."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

import functa_store
from functa_store.cli import main as cli
from functa_store.conversion.workers import processes as processes_module
from functa_store.conversion.workers.processes import Processes
from functa_store.errors import ConfigError, MemberError, StoreMismatchError, WorkerError
from functa_store.learn.devices import usable_cores
from functa_store.progress import Fitted, Note, Worked
from functa_store.store.reading.verify import verify
from tests.workers.jobs import CONFIG, files, never_learned, open_pictures, open_shapes, shapes

CHILD = "functa_store.conversion.workers.child"


def children():
    """Workers of this process, by their commands."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if CHILD in process.cmdline():
                found.append(process)
    return found


def in_background(action):
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def convert(archive, path, engine, dtype="float32", report=lambda event: None):
    config = dataclasses.replace(CONFIG, modulation_dtype=dtype)
    functa_store.convert(open_pictures(archive), path, config, engine=engine, report=report)


@pytest.fixture(name="_never_learned", autouse=True)
def _fixture(monkeypatch):
    never_learned(monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_bytes_are_those_of_a_single_process(references, archive, tmp_path, dtype):
    events = []
    convert(archive, tmp_path / "x.functa", Processes(2), dtype, events.append)
    assert files(tmp_path / "x.functa") == references[dtype]
    assert [event.done for event in events if isinstance(event, Fitted)][-1] == 24
    last = {event.worker: event for event in events if isinstance(event, Worked)}
    assert sum(event.shards for event in last.values()) == 6
    assert sum(event.examples for event in last.values()) == 24
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.functa", "x.functa.log"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_bytes_of_shapes_are_those_of_a_single_process(tmp_path, dtype):
    archive = shapes(tmp_path)
    network = dataclasses.replace(CONFIG.network, head=open_shapes(archive).domain.head)
    config = dataclasses.replace(CONFIG, network=network, modulation_dtype=dtype, rows_per_shard=2)
    functa_store.convert(open_shapes(archive), tmp_path / "one.functa", config)
    functa_store.convert(open_shapes(archive), tmp_path / "two.functa", config, engine=Processes(2))
    assert files(tmp_path / "two.functa") == files(tmp_path / "one.functa")


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() < 2, reason="needs two cores, so that a worker has fewer")
def test_programs_of_workers_are_split_as_those_of_a_single_process(archive, tmp_path):
    """Sums and loops that are long enough are split by threads, of which a worker on one core would have one."""
    fit = dataclasses.replace(CONFIG.fit, stride=1, tile_points=None)
    network = dataclasses.replace(CONFIG.network, width=128)
    config = dataclasses.replace(CONFIG, network=network, fit=fit)
    for name, engine in {"one": None, "two": Processes(2)}.items():
        source = open_pictures(archive, resolution=32)
        functa_store.convert(source, tmp_path / f"{name}.functa", config, engine=engine)
    assert files(tmp_path / "two.functa") == files(tmp_path / "one.functa")


@pytest.mark.slow
def test_damaged_shards_are_repaired_by_workers(references, archive, tmp_path):
    path = tmp_path / "x.functa"
    convert(archive, path, None)
    for key in ("modulations/c/1/0", "mse/c/4"):
        (path / key).write_bytes(b"")
    assert functa_store.repair(open_pictures(archive), path, engine=Processes(2)) == ["modulations/c/1/0", "mse/c/4"]
    assert files(path) == references["float32"]
    assert not path.with_name("x.functa.work").exists()


@pytest.mark.slow
def test_a_repair_that_leaves_its_shards_to_workers_does_not_say_that_they_are_written(archive, tmp_path, capsys):
    path = tmp_path / "x.functa"
    convert(archive, path, None)
    (path / "mse/c/4").write_bytes(b"")
    assert cli.main(["repair", str(path), "--archive", str(archive), "--workers", "0"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "1 objects damaged; shards are left to functa work and functa finish mse/c/4" in said


def test_workers_that_are_killed_are_started_again(references, archive, tmp_path):
    notes, killed = [], []

    def kill():
        """Both as they start, and then one whenever there is one."""
        deadline = time.monotonic() + 60
        while len(killed) < 3 and time.monotonic() < deadline:
            for process in children():
                if process.pid not in killed and len(killed) < 3:
                    process.kill()
                    killed.append(process.pid)
            time.sleep(0.05)

    in_background(kill)
    convert(archive, tmp_path / "x.functa", Processes(2), report=notes.append)
    assert len(killed) == 3
    assert sum("died with exit code -9" in note.message for note in notes if isinstance(note, Note)) == 3
    assert files(tmp_path / "x.functa") == references["float32"]
    assert children() == []


@pytest.mark.slow
def test_a_worker_that_stands_still_holds_nobody_up(references, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(processes_module, "SILENT", 2.0)
    stopped = []

    def stop(event):
        """As soon as it has written something."""
        if isinstance(event, Worked) and event.shards and not stopped:
            number = int(event.worker.removeprefix("worker ")) - 1
            oldest = sorted(children(), key=lambda process: process.pid)
            oldest[min(number, len(oldest) - 1)].send_signal(signal.SIGSTOP)
            stopped.append(event.worker)

    began = time.monotonic()
    convert(archive, tmp_path / "x.functa", Processes(2), report=stop)
    assert stopped
    assert time.monotonic() - began < 90
    assert files(tmp_path / "x.functa") == references["float32"]


class Failing(Processes):
    """Workers that run some code first."""

    def __init__(self, count, code):
        super().__init__(count)
        self.code = code

    def command(self):
        return [sys.executable, "-c", f"{self.code}\nfrom {CHILD} import main; main()"]


@pytest.mark.slow
def test_three_deaths_on_one_shard_name_it(archive, tmp_path):
    code = """
import os
import functa_store.conversion.workers.worker as module
write = module.Worker.write
def die(self, shard, *fitted):
    if shard.index == 2:
        os._exit(9)
    write(self, shard, *fitted)
module.Worker.write = die
"""
    with pytest.raises(
        WorkerError, match="shard 2: 3 workers died while they fitted it, the last one with exit code 9"
    ):
        convert(archive, tmp_path / "x.functa", Failing(1, code))
    convert(archive, tmp_path / "x.functa", None)
    assert verify(tmp_path / "x.functa").damaged == {}
    assert children() == []


@pytest.mark.slow
def test_an_example_that_cannot_be_read_is_not_tried_again(archive, tmp_path):
    code = """
import functa_store.conversion.workers.reopen as module
from functa_store.errors import MemberError
read = module.Reopened.read
def fail(self, index):
    if index == 11:
        raise MemberError("pictures.zip/011.png: is damaged")
    return read(self, index)
module.Reopened.read = fail
"""
    notes = []
    with pytest.raises(MemberError, match=r"011\.png: is damaged"):
        convert(archive, tmp_path / "x.functa", Failing(2, code), report=notes.append)
    assert not [note for note in notes if isinstance(note, Note) and "died" in note.message]


@pytest.mark.slow
def test_a_worker_that_is_refused_ends_the_conversion(archive, tmp_path):
    code = """
import functa_store.conversion.workers.worker as module
versions = module.versions
module.versions = lambda: versions() | {"jaxlib": "0.0.1"}
"""
    with pytest.raises(StoreMismatchError, match=r"worker \d: refused as a worker.*jaxlib is '0\.0\.1'"):
        convert(archive, tmp_path / "x.functa", Failing(2, code))


@pytest.mark.slow
@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import time; time.sleep(1000)"])
def test_without_any_worker_this_process_fits_by_itself(references, archive, tmp_path, monkeypatch, code):
    monkeypatch.setattr(processes_module, "PATIENCE", 1.0)
    monkeypatch.setattr(processes_module, "LONGEST_PAUSE", 0.01)
    notes = []
    convert(archive, tmp_path / "x.functa", Failing(1, code), report=notes.append)
    assert "this process fits the shards by itself" in "".join(n.message for n in notes if isinstance(n, Note))
    assert files(tmp_path / "x.functa") == references["float32"]
    assert children() == []


@pytest.mark.slow
def test_an_interruption_waits_for_what_is_fitted(archive, tmp_path, references):
    path, written = tmp_path / "x.functa", []

    def interrupt(event):
        if isinstance(event, Worked) and event.shards and not written:
            written.append(event)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(archive, path, Processes(2), report=interrupt)
    assert children() == []
    assert not [name for name in files(path) if name.endswith(".part")]
    assert len(functa_store.open(path)) >= 4
    convert(archive, path, None)
    assert files(path) == references["float32"]


@pytest.mark.slow
def test_workers_end_when_the_coordinator_is_gone(begin):
    """Its end of their input closes."""
    path = begin()
    command = Processes(1).command()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        order = {"store": str(path), "storage": {}, "name": "worker 1", "cores": []}
        child.stdin.write(f"{json.dumps(order)}\n0\n")
        child.stdin.close()
        assert '"hello"' in child.stdout.readline()
        child.stdout.read()
        assert child.wait(timeout=60) == 0


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 5, 7, 11})
    assert [Processes(2).cores(k) for k in range(2)] == [[2, 5, 11], [3, 7]]
    assert [Processes(6).cores(k) for k in range(6)] == [[2], [3], [5], [7], [11], [2]]


@pytest.mark.parametrize("count", [0, -1, True])
def test_a_number_of_workers_is_a_whole_one(count):
    with pytest.raises(ConfigError, match="count must be a whole number of at least 1"):
        Processes(count)


def test_workers_of_an_accelerator_have_one_device_each(monkeypatch):
    monkeypatch.setattr(processes_module.jax, "default_backend", lambda: "gpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    found = [Processes(3).environment(k)["CUDA_VISIBLE_DEVICES"] for k in range(3)]
    assert (found, Processes(3).cores(0)) == (["4", "6", "4"], [])
