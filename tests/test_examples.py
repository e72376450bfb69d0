"""The examples run as they are, and classify far better than a guess."""

import dataclasses
import importlib

import numpy as np
import pytest

from benchmarks.generated import generated_contents, random_table
from examples.command import run
from examples.digits import digits_functaset
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.sources.source import Label
from functa_store.store.storage.objects import open_objects
from functa_store.store.writing.writer import StoreWriter


@pytest.fixture(scope="module", name="store")
def _store(tmp_path_factory):
    """Four hundred digits, learned for seconds."""
    path = tmp_path_factory.mktemp("digits") / "digits.functa"
    network = NetworkConfig(width=16, depth=3, w0=10.0, modulation_dim=16)
    outer = OuterLoopConfig(num_steps=150, batch_size=8, num_points=None, warmup_steps=10, num_monitored=8)
    config = ConvertConfig(network=network, outer=outer, fit=FitConfig(num_steps=3, tuning_steps=5))
    digits_functaset(path, config, limit=400)
    return path


@pytest.fixture(name="classify", params=[("flax", "classify_jax"), ("torch", "classify_torch")], ids=["jax", "torch"])
def _classify(request):
    library, name = request.param
    pytest.importorskip(library)
    return importlib.import_module(f"examples.{name}").classify


def write_labelled(path, split="test"):
    """Random modulations; a label is -1 or 1, the sign of their first number."""
    count, size = 300, 8
    rows = random_table(size)(0, count)
    labels = {
        "Smiling": Label(values=np.where(rows[:, 0] > 0, 1, -1).astype(np.int8)),
        "age": Label(values=np.linspace(0, 1, count)),
    }
    splits = np.where(np.arange(count) % 5 == 4, split, "train")
    contents = dataclasses.replace(generated_contents(count, size), labels=labels, split=splits)
    with StoreWriter.resume_or_create(open_objects(path), contents) as writer:
        for shard in writer.missing_shards():
            writer.write(shard, rows[shard.start : shard.stop], np.full(len(shard), 0.01, np.float32))
    return str(path)


@pytest.mark.slow
def test_an_example_classifies_held_out_digits(store, classify, capsys):
    accuracies = run(classify, ["--store", str(store), "--label", "digit"])
    assert accuracies["this classifier"] > 0.6
    assert accuracies["this classifier"] > 3 * accuracies["most frequent class"]
    assert accuracies["logistic regression"] > 3 * accuracies["most frequent class"]
    assert "this classifier" in capsys.readouterr().out


@pytest.mark.long
def test_an_example_classifies_attributes_of_minus_one_and_one(tmp_path, classify):
    """As CelebA has them."""
    accuracies = run(classify, ["--store", write_labelled(tmp_path / "faces.functa"), "--label", "Smiling"])
    assert accuracies["this classifier"] > 0.8
    assert accuracies["logistic regression"] > 0.8


@pytest.mark.parametrize(
    ("label", "split", "words"),
    [
        ("digit", "test", "no label 'digit', there are ['Smiling', 'age']"),
        ("age", "test", "label 'age' is float64, expected integers"),
        ("Smiling", "validation", "no split 'test', there are ['train', 'validation']"),
    ],
)
def test_what_cannot_be_classified_is_said(tmp_path, classify, label, split, words, capsys):
    with pytest.raises(SystemExit):
        run(classify, ["--store", write_labelled(tmp_path / "faces.functa", split), "--label", label])
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_store_that_is_there_is_not_converted_again(store):
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    assert len(digits_functaset(store)) == 400
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before
