"""The examples run as they are, and classify far better than a guess."""

import dataclasses
import functools
import importlib

import numpy as np
import pytest

import functa_store
from benchmarks.generated import generated_contents, random_table
from examples.command import GRID_MODELS, MLP_WIDTHS, Options, make_task, run
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
from tests.store.conftest import make_augmented, write_shards


@pytest.fixture(scope="module", name="store")
def _store(tmp_path_factory):
    """Four hundred digits, learned for seconds."""
    path = tmp_path_factory.mktemp("digits") / "digits.functa"
    network = NetworkConfig(width=16, depth=3, w0=10.0, modulation_dim=16)
    outer = OuterLoopConfig(num_steps=150, batch_size=8, num_points=None, warmup_steps=10, num_monitored=8)
    config = ConvertConfig(network=network, outer=outer, fit=FitConfig(num_steps=3, tuning_steps=5))
    digits_functaset(path, config, limit=400)
    return path


@pytest.fixture(name="example", params=[("flax", "classify_jax"), ("torch", "classify_torch")], ids=["jax", "torch"])
def _example(request):
    library, name = request.param
    pytest.importorskip(library)
    return importlib.import_module(f"examples.{name}")


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


def never(task, options):
    """An example that may not begin."""
    raise AssertionError(f"{task} is trained with {options}")


@pytest.mark.slow
def test_an_example_classifies_held_out_digits(store, example, capsys):
    accuracies = run(example.classify, ["--store", str(store), "--label", "digit"])
    assert accuracies["this classifier"] > 0.6
    assert accuracies["this classifier"] > 3 * accuracies["most frequent class"]
    assert accuracies["logistic regression"] > 3 * accuracies["most frequent class"]
    assert "this classifier" in capsys.readouterr().out


def test_attributes_of_minus_one_and_one_are_classes_from_zero(tmp_path):
    """As CelebA has them."""
    functaset = functa_store.open(write_labelled(tmp_path / "faces.functa"))
    assert set(functaset.labels["Smiling"][:].tolist()) == {-1, 1}
    task = make_task(functaset, "Smiling", validate=False)
    np.testing.assert_array_equal(task.classes, functaset.modulations[:][:, 0] > 0)
    assert task.num_classes == 2


@pytest.mark.slow
@pytest.mark.parametrize("model", GRID_MODELS)
def test_a_model_of_grids_tells_their_classes(tmp_path, example, model, capsys):
    """Whether the first numbers of all cells have a positive sum: no single cell knows."""
    golden = functa_store.open("tests/golden/v6_spatial.functa")
    shape = golden.modulations.shape[1:]
    rows = np.random.default_rng(0).normal(size=(400, *shape)).astype(np.float32)
    cells = rows.reshape(400, -1, shape[-1])
    labels = {"positive": (cells[:, :, 0].sum(axis=1) > 0).astype(np.int32)}
    split = np.where(np.arange(400) % 4 == 3, "test", "train")
    golden.derive(tmp_path / "grids.functa", rows, labels=labels, split=split)
    words = ["--store", str(tmp_path / "grids.functa"), "--label", "positive", "--model", model, "--mixup", "0"]
    accuracies = run(example.classify, [*words, "--seeds", "2", "--epochs", "12"])
    assert accuracies["this classifier"] > 0.85
    assert f"over 2 seeds ({model}, " in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", GRID_MODELS)
def test_a_model_of_grids_knows_the_places_of_cells(example, name):
    model = example.make_classifier((2, 3, 4), 2, Options(model=name))
    model.eval()
    grids = np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype(np.float32)
    as_array = example.torch.as_tensor if hasattr(example, "torch") else example.jnp.asarray
    first, turned = (np.asarray(model(as_array(each.copy())).tolist()) for each in (grids, grids[:, ::-1]))
    assert np.abs(first - turned).max() > 1e-4


def test_models_have_the_parameters_of_the_papers_table_in_both_libraries(example):
    sizes = {}
    for model in MLP_WIDTHS:
        sizes[model] = parameters_of(functools.partial(example.make_classifier, (256,), 10, Options(model=model)))
    assert sizes == {"mlp-small": 83_722, "mlp-medium": 212_635, "mlp-large": 924_682}
    # Per block 4 * 64 * 65 of attention, 64 * 129 + 128 * 65 beside it and 256 of two norms; 17 * 64 of the embedding,
    # 64 * 64 of places, 128 of the norm and 650 of logits.
    transformer = functools.partial(example.make_classifier, (8, 8, 16), 10, Options(model="transformer"))
    assert parameters_of(transformer) == 139_850


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolutions_take_grids_of_any_number_of_axes_in_both_libraries(example, axes):
    """3^axes weights of each pair of channels, 1 where channels are skipped to twice as many, and scales and biases."""
    make = functools.partial(example.make_classifier, (4,) * axes + (5,), 3, Options(model="convolutions"))
    pairs = 5 * 64 + 4 * 64 * 64 + 64 * 128 + 3 * 128 * 128
    others = 64 * 128 + 3 * 128 + (5 * 64 + 5 * 128) + 2 * (5 * 64 + 4 * 128) + 3
    assert parameters_of(make) == 3**axes * pairs + others


def parameters_of(make):
    """Numbers that a model learns; one of Flax is not made, only its shapes."""
    if make.func.__module__ == "examples.classify_torch":
        return sum(parameter.numel() for parameter in make().parameters())
    import jax
    from flax import nnx

    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(nnx.eval_shape(make), nnx.Param)))


def test_what_options_are_chosen_by_is_of_the_training_split(tmp_path):
    augmented = functa_store.open(write_shards(tmp_path / "augmented.functa", make_augmented()))
    final, choosing = (make_task(augmented, "animal", validate) for validate in (False, True))
    assert (final.train.tolist(), final.held_out.tolist()) == ([0, 3, 6, 9, 12, *range(15, 21)], [2, 5, 8, 11, 14])
    assert choosing.held_out.tolist() == [12]
    assert choosing.train.tolist() == [0, 3, 6, 9, 15, 16, 17, 18]  # without the augmentations of 12
    assert final.num_classes == 2
    plain = make_task(augmented, "animal", validate=False, augmented=False)
    assert plain.train.tolist() == plain.originals.tolist() == final.originals.tolist() == [0, 3, 6, 9, 12]


@pytest.mark.parametrize("model", GRID_MODELS)
def test_a_model_of_grids_is_refused_where_modulations_are_vectors(tmp_path, model, capsys):
    words = ["--store", write_labelled(tmp_path / "faces.functa"), "--label", "Smiling", "--model", model]
    with pytest.raises(SystemExit):
        run(never, words)
    assert f"vectors of 8 numbers, the {model} model takes grids of cells" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "split", "words"),
    [
        ("digit", "test", "no label 'digit', there are ['Smiling', 'age']"),
        ("age", "test", "label 'age' is float64, expected integers"),
        ("Smiling", "validation", "no split 'test', there are ['train', 'validation']"),
    ],
)
def test_what_cannot_be_classified_is_said(tmp_path, label, split, words, capsys):
    with pytest.raises(SystemExit):
        run(never, ["--store", write_labelled(tmp_path / "faces.functa", split), "--label", label])
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--mixup -1", "--mixup nan", "--dropout 1", "--dropout -0.1", "--epochs 0"])
def test_options_out_of_range_are_refused_before_anything_is_learned(words, capsys):
    with pytest.raises(SystemExit):
        run(never, words.split())
    assert "must be at least" in capsys.readouterr().err


@pytest.mark.slow
def test_a_store_that_is_there_is_not_converted_again(store):
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    assert len(digits_functaset(store)) == 400
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before
