"""The benchmark of selecting runs, tiny."""

import json

import pytest

from benchmarks import selection
from benchmarks.networks import Workload


@pytest.mark.slow
def test_a_selection_decodes_the_points_that_it_is_compared_with(tmp_path, monkeypatch):
    monkeypatch.setitem(selection.WORKLOADS, "128x6", Workload(width=8, depth=3, modulation_dim=4))
    selection.main(["--runs", "1", "--resolution", "100", "--out", str(tmp_path / "selection.json")])
    rows = json.loads((tmp_path / "selection.json").read_text())["requests"]
    assert [row["asked"] for row in rows] == [400, 1600, 100]
    for row in rows:
        assert row["asked"] <= row["evaluated"] < row["asked"] + 256
        assert row["over_decode"] > 0
