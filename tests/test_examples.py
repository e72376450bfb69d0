"""The examples run as they are, and classify far better than a guess."""

import importlib

import pytest

from examples.digits import digits_functaset
from functa_store.config import ConvertConfig, FitConfig, NetworkConfig, OuterLoopConfig


@pytest.fixture(scope="module", name="store")
def _store(tmp_path_factory):
    """Four hundred digits, learned for seconds."""
    path = tmp_path_factory.mktemp("digits") / "digits.functa"
    network = NetworkConfig(width=16, depth=3, w0=10.0, modulation_dim=16)
    outer = OuterLoopConfig(num_steps=150, batch_size=8, num_points=None, warmup_steps=10, num_monitored=8)
    config = ConvertConfig(network=network, outer=outer, fit=FitConfig(num_steps=3, tuning_steps=5))
    digits_functaset(path, config, limit=400)
    return path


@pytest.mark.parametrize(("library", "name"), [("flax", "classify_jax"), ("torch", "classify_torch")])
def test_an_example_classifies_held_out_digits(store, library, name, capsys):
    pytest.importorskip(library)
    accuracies = importlib.import_module(f"examples.{name}").main(["--store", str(store), "--label", "digit"])
    assert accuracies["this classifier"] > 0.6
    assert accuracies["this classifier"] > 3 * accuracies["most frequent class"]
    assert accuracies["logistic regression"] > 3 * accuracies["most frequent class"]
    assert "this classifier" in capsys.readouterr().out


def test_a_store_that_is_there_is_not_converted_again(store):
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    assert len(digits_functaset(store)) == 400
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before
