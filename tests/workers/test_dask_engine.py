"""A cluster of dask.distributed fits what a single process would; its tasks have names."""

import dataclasses
import time

import pytest

import functa_store
from functa_store.conversion.workers import dask_engine
from functa_store.conversion.workers.dask_engine import Dask, fit_shard
from functa_store.errors import StorageError, StoreMismatchError
from functa_store.progress import Note, Worked
from tests.workers.jobs import CONFIG, files, never_learned, open_pictures, rewritten_job

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore")  # distributed's own: ports in use, sockets that it leaves


@pytest.fixture(scope="module", name="cluster")
def _cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture(name="client")
def _client(cluster):
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=120)
        yield client


def convert(archive, path, client, dtype="float32", report=lambda event: None):
    config = dataclasses.replace(CONFIG, modulation_dtype=dtype)
    functa_store.convert(open_pictures(archive), path, config, engine=Dask(client), report=report)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_bytes_are_those_of_a_single_process(references, archive, tmp_path, client, dtype, monkeypatch):
    never_learned(monkeypatch)
    names, events, submit = [], [], client.submit

    def submitted(*args, key, **kwargs):
        names.append(key)
        return submit(*args, key=key, **kwargs)

    monkeypatch.setattr(client, "submit", submitted)
    path = tmp_path / "x.functa"
    convert(archive, path, client, dtype, events.append)
    assert files(path) == references[dtype]
    assert len({name[: len("functa-") + 16] for name in names}) == 1
    assert {name[len("functa-") + 16 :] for name in names} >= {f"-shard-{k:06d}" for k in range(6)}
    assert sum({event.worker: event.shards for event in events if isinstance(event, Worked)}.values()) >= 6


@pytest.mark.slow
def test_a_worker_that_is_killed_is_made_up_for(references, archive, tmp_path, client, monkeypatch):
    never_learned(monkeypatch)
    killed = []

    def kill(event):
        if isinstance(event, Worked) and not killed:
            killed.append(event.worker)
            client.restart_workers([event.worker], raise_for_error=False, timeout=60)

    began = time.monotonic()
    convert(archive, tmp_path / "x.functa", client, report=kill)
    assert killed
    assert time.monotonic() - began < 120
    assert files(tmp_path / "x.functa") == references["float32"]


@pytest.mark.slow
def test_without_a_scheduler_this_process_fits_by_itself(references, archive, tmp_path, monkeypatch):
    never_learned(monkeypatch)
    monkeypatch.setattr(dask_engine, "PATIENCE", 3.0)
    notes = []
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        convert(archive, tmp_path / "x.functa", client, report=notes.append)
    assert any("no worker has been seen" in note.message for note in notes if isinstance(note, Note))
    assert files(tmp_path / "x.functa") == references["float32"]


@pytest.mark.slow
def test_a_task_says_why_its_process_is_refused(begin):
    path = begin()
    rewritten_job(path, versions={"jax": "0.0.1"})
    job = {"store": str(path), "storage": {}, "archive": None, "epoch": "refused"}
    found = fit_shard(job, 0)
    assert "refused as a worker" in found["refused"]
    assert fit_shard(job, 1)["refused"] == found["refused"]
    assert not (path / "modulations/c").exists()


@pytest.mark.slow
def test_a_task_fits_its_shard_once(begin):
    path = begin()
    job = {"store": str(path), "storage": {}, "archive": None, "epoch": "first"}
    assert [fit_shard(job, 2)["examples"] for _ in range(2)] == [4, 0]
    assert sorted(entry.name for entry in (path / "mse/c").iterdir()) == ["2"]


class Refusing:
    """A cluster of one worker, which is refused."""

    status = "running"

    def processing(self):
        return {"tcp://gpu-7:1": ()}

    def submit(self, function, job, shard, **_):
        found = {"worker": "tcp://gpu-7:1", "refused": "tcp://gpu-7:1: refused as a worker, since jax is 0.0.1"}
        return Done(found)


class Done:
    """A future that is there."""

    status = "finished"

    def __init__(self, found):
        self.key, self._found = "key", found

    def add_done_callback(self, call):
        call(self)

    def result(self, timeout):
        return self._found

    def release(self):
        pass

    def cancel(self):
        pass


def test_if_every_worker_is_refused_one_is_named(archive, tmp_path, monkeypatch):
    never_learned(monkeypatch)
    notes = []
    with pytest.raises(StoreMismatchError, match=r"every worker was refused; tcp://gpu-7:1: refused as a worker"):
        convert(archive, tmp_path / "x.functa", Refusing(), report=notes.append)
    assert sum("gpu-7" in note.message for note in notes if isinstance(note, Note)) == 1


def test_an_address_without_a_scheduler_is_an_error(monkeypatch):
    def unreachable(_):
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", unreachable)
    with pytest.raises(
        StorageError, match=r"tcp://nowhere:1: there is no scheduler to be reached.*such as tcp://host:8786"
    ):
        Dask("tcp://nowhere:1")


def test_a_scheduler_that_closes_a_connection_as_it_begins_is_asked_again(monkeypatch):
    monkeypatch.setattr(dask_engine, "MOMENT", 0.0)
    closed = distributed.comm.core.CommClosedError("connection reset by peer")
    answers = [closed, closed, "a client"]

    def client(_):
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    monkeypatch.setattr(distributed, "Client", client)
    assert Dask("tcp://node:8786").client == "a client"
    answers[:] = [closed] * dask_engine.CONNECTIONS
    with pytest.raises(StorageError, match="no scheduler to be reached: connection reset by peer"):
        Dask("tcp://node:8786")
