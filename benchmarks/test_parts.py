"""The benchmark of functasets that are read as one runs, tiny."""

import json

import pytest

from benchmarks import parts


@pytest.mark.slow
def test_parts_and_selections_are_timed_beside_one_functaset(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "BATCHES", 2)
    words = ["--parts", "2", "--examples", "2048", "--size", "4", "--batch", "16", "--runs", "1"]
    parts.main([*words, "--out", str(tmp_path / "parts.json")])
    rows = json.loads((tmp_path / "parts.json").read_text())["rows"]
    assert [row["dtype"] for row in rows] == ["float32", "int8"]
    assert all(row["parts_over_one"] > 0 for row in rows)
