"""The benchmark of workers runs, tiny."""

import json

import pytest

from benchmarks import workers


@pytest.mark.slow
def test_workers_are_compared_opened_finished_and_simulated(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "ROWS_PER_SHARD", 4)
    monkeypatch.setattr(workers, "WAITS", 0.01)
    monkeypatch.setattr(workers, "simulate_dask", workers.simulate_processes)
    out = tmp_path / "workers.json"
    options = ["--shards", "6", "--size", "16", "--members", "40", "--finished", "12", "--simulated", "8"]
    workers.main([*options, "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["speed"]["same_bytes"]
    assert (found["opening"]["surveyed"], found["finishing"]["shards"]) == (0, 12)
    assert found["processes"]["milliseconds_per_shard"] < 10_000
