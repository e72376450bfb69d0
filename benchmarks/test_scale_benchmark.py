"""The figures of scale are those of the layout, and tiny stores are measured."""

import json

import pytest

from benchmarks import scale
from functa_store.store.format.layout import choose_layout


def test_shards_and_requests_are_those_of_the_layout():
    found = scale.scale(10**9, 256, "int8", scale.Bucket())
    layout = choose_layout(10**9, 256)
    assert found["shards"] == layout.num_shards(10**9) == 7630
    assert found["gigabytes"] == pytest.approx(264, rel=0.01)
    assert found["open_requests"] == 5
    assert found["root_kilobytes"] < 20
    assert found["epoch_requests"] == -(-(10**9) // 4096)


def test_a_simulated_bucket_keeps_to_its_limits():
    bucket = scale.Bucket(latency=0.1, bandwidth=1e6, rate=100.0, errors=0.0)
    assert bucket.seconds([0] * 10, 10) == pytest.approx(0.1 + 9 / 100)
    assert bucket.seconds([1000] * 100, 1) == pytest.approx(100 * 0.101)
    assert bucket.seconds([0] * 1000, 1000) == pytest.approx(0.1 + 999 / 100)
    assert bucket.seconds([0] * 1000, 1000, hosts=2) == pytest.approx(0.1 + 2 * 999 / 100)
    failing = scale.Bucket(latency=0.1, errors=0.5, pause=1.0)
    assert failing.seconds([0] * 50, 1) > 50 * 0.5


def test_a_simulated_conversion_ends_with_every_shard():
    _, spec, receipt = scale.described(200_000, 16, "float32")
    quiet = scale.Cluster(spread=0.0, slow=0.0, between_deaths=1e12)
    found = quiet.convert(spec, 2, scale.Bucket(errors=0.0), receipt)
    assert (found["deaths"], found["twice"]) == (0, 0)
    assert 1 <= found["over_ideal"] < 1.2
    dying = scale.Cluster(between_deaths=150.0).convert(spec, 4, scale.Bucket(), receipt)
    assert dying["deaths"] > 0
    assert dying["hours"] > found["hours"] / 2


def test_small_stores_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "EXAMPLES", (1000,))
    monkeypatch.setattr(scale, "WORKERS", (2,))
    words = ["--size", "8", "--measure", "2000", "--measured-size", "4", "--shards", "3"]
    scale.main([*words, "--out", str(tmp_path / "scale.json")])
    found = json.loads((tmp_path / "scale.json").read_text())
    assert [row["dtype"] for row in found["rows"]] == ["float32", "float16", "int8"]
    assert found["memory"][0]["writing_peak_bytes"] > 0
    assert found["finished"][0]["opening_milliseconds"] > 0
