"""The benchmark of views by TensorStore runs, tiny."""

import json

import pytest

from benchmarks import tensorstore_view
from benchmarks.networks import Workload


@pytest.mark.slow
def test_a_view_is_timed_beside_decode(tmp_path, monkeypatch):
    monkeypatch.setitem(tensorstore_view.WORKLOADS, "128x6", Workload(width=8, depth=3, modulation_dim=4))
    requests = tensorstore_view.REQUESTS[0], tensorstore_view.Request(examples=1, resolution=64, window=10)
    monkeypatch.setattr(tensorstore_view, "REQUESTS", requests)
    tensorstore_view.main(["--runs", "1", "--out", str(tmp_path / "views.json")])
    rows = json.loads((tmp_path / "views.json").read_text())["requests"]
    assert [row["request"] for row in rows] == ["256 at 32x32", "10x10 of 1 at 64x64"]
    assert all(row["over_decode"] > 0 for row in rows)
