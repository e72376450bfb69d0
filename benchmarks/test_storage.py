"""The benchmarks of storage run, tiny."""

import json

import pytest

from benchmarks import rounding, storage
from benchmarks.datasets import GeneratedArchive
from converters.images.celeba import open_celeba
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.conversion.convert import convert


@pytest.mark.slow
def test_rounding_costs_something_and_the_store_says_about_as_much(tmp_path):
    archive = GeneratedArchive(num_images=12, size=16).write(tmp_path / "images.zip")
    network = NetworkConfig(width=8, depth=3, modulation_dim=4)
    outer = OuterLoopConfig(num_steps=3, batch_size=2, num_points=16, warmup_steps=1)
    config = ConvertConfig(network=network, outer=outer, fit=FitConfig(num_steps=3, tuning_steps=1))
    convert(open_celeba(archive, resolution=16, limit=12), tmp_path / "images.functa", config)
    out = tmp_path / "rounding.json"
    rounding.main([str(tmp_path / "images.functa"), str(archive), "--out", str(out)])
    rows = {row["stored"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == ["float32", "float16", "int8", "6 bits", "4 bits", rounding.HALF_BASE]
    assert [rows[name]["bytes"] for name in ("float32", "int8", "4 bits")] == [16, 4, 2]
    assert rows["float32"]["held out"] == 0
    assert abs(rows["int8"]["held out"]) < abs(rows["4 bits"]["held out"])


@pytest.mark.slow
def test_requests_are_counted_and_writing_is_compared(tmp_path, monkeypatch):
    pytest.importorskip("moto.server", reason="moto's S3 server is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(storage, "ROWS", 64)
    monkeypatch.setattr(storage, "READ", 16)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    storage.main(["--runs", "1", "--examples", "64", "--rows-per-shard", "16", "--out", "storage.json"])
    found = json.loads((tmp_path / "storage.json").read_text())
    assert found["writing"]["ratio"] > 0
    requests = [step["requests"] for step in found["requests"]]
    assert requests[1] == 5
    assert requests[2] <= 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["storage.json"]
