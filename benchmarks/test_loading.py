"""The benchmark of loading runs, tiny, and its measures are right."""

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("grain", reason="grain is not installed")

from benchmarks import loading
from functa_store.loaders import BlockShuffle
from functa_store.loaders.windows import Order


def quality(shuffle, batch_size=10):
    return loading.shuffle_quality(Order(num_examples=1000, batch_size=batch_size, shuffle=shuffle), classes=(10,))


def test_no_shuffle_leaves_all_of_the_order():
    """Of 999 pairs of neighbours 900 share a batch of 10, and each batch holds one class alone."""
    found = quality("none")
    assert found["rank_correlation"] == pytest.approx(1)
    assert found["neighbours"] == pytest.approx(900 / 999)
    assert found["entropy_10"] == 0


def test_a_full_shuffle_leaves_what_chance_does_and_blocks_lie_between():
    """Two examples share a batch of 10 with probability 9 / 999."""
    full, blocks, none = quality("full"), quality(BlockShuffle(size=50, mixed=4)), quality("none")
    assert full["neighbours"] == pytest.approx(9 / 999, abs=0.01)
    assert full["neighbours"] < blocks["neighbours"] < none["neighbours"]
    assert full["entropy_10"] > blocks["entropy_10"] > none["entropy_10"]
    assert full["entropy_10"] < np.log2(10)


@pytest.mark.slow
def test_the_benchmark_of_loading_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loading.main(["--examples", "3000", "--size", "8", "--batch", "32", "--runs", "1", "--out", "loading.json"])
    found = json.loads((tmp_path / "loading.json").read_text())
    assert all(side["rows_per_second"] > 0 for side in found["speed"])
    assert [row["shuffle"] for row in found["quality"]] == list(loading.SHUFFLES)
    assert [path.name for path in tmp_path.iterdir()] == ["loading.json"]
