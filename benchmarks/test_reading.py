"""The benchmarks of reading run, tiny."""

import json

import numpy as np
import pytest

from benchmarks import many, opening, reading, remote_reading
from benchmarks.formats import cold
from benchmarks.formats.measure import PEERS, Workload


def run(module, tmp_path, monkeypatch, *options):
    """Run a benchmark in an empty folder; returns its numbers, and checks that it leaves nothing else."""
    monkeypatch.chdir(tmp_path)
    module.main(["--runs", "1", *options, "--out", "found.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
    return json.loads((tmp_path / "found.json").read_text())


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PEERS)
def test_a_format_reads_what_it_wrote(name, folder):
    """`measure` refuses a format whose first batch is not what was asked for."""
    if not PEERS[name].is_installed:
        pytest.skip(f"{PEERS[name].module} is not installed")
    found = Workload(512, 8, 32, seconds=0.01).measure(PEERS[name], folder, runs=1)
    assert found["ratio"] > 0
    assert 2 <= found["batches"] <= 512 // 32


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer.shuffles != "any order"])
def test_a_format_that_shuffles_itself_reads_every_row_once(name, folder):
    """Up to what fills no batch."""
    peer = PEERS[name]
    if not peer.is_installed:
        pytest.skip(f"{peer.module} is not installed")
    workload = Workload(512, 8, 32, seconds=0.01)
    workload.measure(peer, folder, runs=1)
    read = np.concatenate(list(peer.open(folder / peer.write.__name__)(workload.order())))
    assert not np.array_equal(read, workload.rows)
    np.testing.assert_array_equal(np.sort(read[:, 0]), np.sort(workload.rows[:, 0]))


@pytest.mark.slow
def test_formats_are_compared_and_those_that_cannot_be_are_named(tmp_path, monkeypatch):
    words = ["--examples", "256", "--size", "16", "--batch", "32", "--seconds", "0.01"]
    words += ["--cold-gigabytes", "0.00001"]
    broken = tmp_path.parent / "no-such-python"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 7\n")
    broken.chmod(0o755)
    only = ["--only", "functa-store", "numpy memmap, take", "LMDB", "--python", f"LMDB={broken}"]
    found = run(reading, tmp_path, monkeypatch, *words, *only)
    ours, take, lmdb = found["warm"]
    assert ours["times_slower"] == 1
    assert take["ratio"] > 0
    assert lmdb["skipped"] == "failed with exit status 7: out of order"
    assert [row["name"] for row in found["cold"]] == list(cold.SIDES)


@pytest.mark.slow
def test_a_functaset_opens_without_jax_in_a_fresh_process(tmp_path, monkeypatch):
    found = run(opening, tmp_path, monkeypatch, "--examples", "64", "--size", "16", "--batch", "8")
    assert found["warm"]["milliseconds"] > 0
    assert [row["process"] for row in found["fresh"]] == list(opening.PROCESSES)


@pytest.mark.slow
def test_many_examples_are_written_opened_and_read(tmp_path, monkeypatch):
    monkeypatch.setattr(many, "BATCHES", 2)
    found = run(many, tmp_path, monkeypatch, "--examples", "64", "256", "--size", "16", "--batch", "8")
    assert [row["examples"] for row in found["stores"]] == [64, 256]
    assert found["stores"][0]["ratio"] == 1


@pytest.mark.slow
def test_an_epoch_from_a_bucket_takes_fewer_requests_than_zarr_python_sends(tmp_path, monkeypatch):
    pytest.importorskip("moto.server", reason="moto's S3 server is not installed")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    words = ["--examples", "2048", "--size", "256", "--batch", "64", "--zarr-batches", "1", "--delay", "0.001"]
    found = run(remote_reading, tmp_path, monkeypatch, *words)
    requests = {row["side"]: row["requests"] for row in found["epochs"]}
    assert max(requests["functa-store, random batches"], requests["functa-store, loader"]) < 100
    assert requests["zarr-python, random batches"] > 100
