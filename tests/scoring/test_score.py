"""A score says what can be learned from a functaset, and nothing that cannot."""

import dataclasses
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

import functa_store
from functa_store.cli import main as cli
from functa_store.cli.console import stage
from functa_store.cli.score import show
from functa_store.errors import ConfigError, StoreFormatError
from functa_store.progress import Note, Scored
from functa_store.scoring.classes import sample, tasks
from functa_store.scoring.decoded import cheap_resolution, normalized_channels, principal_components
from functa_store.scoring.models import CNN, MLP
from functa_store.scoring.score import (
    CNN_ON_ARRAYS,
    MLP_ON_MODULATIONS,
    MLP_ON_PCA,
    MOST_FREQUENT,
    NEAREST,
    Accuracy,
    Score,
)
from functa_store.scoring.training import neighbours_accuracy, num_parameters
from functa_store.sources.label_values import NO_CLASS
from functa_store.sources.source import Label
from tests.decode.stores import write_store
from tests.store.conftest import make_augmented, write_shards

COUNT = 900


@pytest.fixture(scope="module", name="planted")
def _planted(tmp_path_factory):
    """A label that is in the modulations, and one that is in nothing."""
    folder = tmp_path_factory.mktemp("stores")
    write_store(folder / "base.functa")
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (COUNT, 4)).astype(np.float32)
    labels = {
        "sign": Label(values=(rows[:, 0] > rows[:, 1]).astype(np.int32), names=("less", "more")),
        "coin": Label(values=rng.integers(0, 2, COUNT).astype(np.int32), names=("head", "tail")),
        "size": Label(values=rows[:, 2]),
        "count": Label(values=np.arange(COUNT)),
    }
    split = np.where(np.arange(COUNT) % 3 == 2, "test", "train")
    functa_store.open(folder / "base.functa").derive(folder / "planted.functa", rows, labels=labels, split=split)
    return functa_store.open(folder / "planted.functa")


@pytest.fixture(scope="module", name="augmented")
def _augmented(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "augmented.functa"
    return functa_store.open(write_shards(path, make_augmented()))


@pytest.mark.slow
def test_a_planted_signal_is_found_and_chance_is_chance(planted):
    events = []
    coin, sign = functa_store.score(planted, seeds=2, steps=50, resolution=(4, 3), report=events.append)
    assert (sign.label, sign.num_classes, sign.resolution) == ("sign", 2, (4, 3))
    assert (sign.num_train, sign.num_augmentations, sign.num_test) == (600, 0, 300)
    assert sign.accuracies[MLP_ON_MODULATIONS].mean > 0.9
    assert sign.accuracies[NEAREST].mean > 0.85
    for found in coin.accuracies.values():
        assert abs(found.mean - 0.5) < 0.1  # 300 held-out examples: 3.5 standard deviations
    mlp, nearest = sign.accuracies[MLP_ON_MODULATIONS], sign.accuracies[NEAREST]
    assert (mlp.num_inputs, len(mlp.by_seed)) == (4, 2)
    assert mlp.deviation == pytest.approx(abs(mlp.by_seed[0] - mlp.by_seed[1]) / 2**0.5)
    assert nearest.deviation is None
    assert sign.accuracies[CNN_ON_ARRAYS].num_inputs == 4 * 3 * 3
    assert sign.accuracies[MLP_ON_PCA].num_parameters == mlp.num_parameters
    told = [event for event in events if isinstance(event, Scored)]
    assert (told[-1].step, told[-1].num_steps) == (2 * 2 * 3 * 50,) * 2
    assert [event for event in events if isinstance(event, Note)] == [
        Note(message="decoding 900 examples at 4 x 3 points")
    ]


@pytest.mark.slow
def test_equal_calls_give_equal_scores_and_augmentations_are_learned_from(augmented):
    first, again = (functa_store.score(augmented, seeds=1, steps=3) for _ in range(2))
    assert first == again
    (found,) = first
    assert (found.label, found.num_train, found.num_augmentations, found.num_test) == ("animal", 5, 6, 5)
    assert found.accuracies[MOST_FREQUENT].mean == 0.6  # cats among 0 3 6 9 12 are most, among 2 5 8 11 14 three
    assert found.accuracies[MLP_ON_MODULATIONS].deviation is None


@pytest.mark.slow
def test_scenes_are_scored_without_arrays(tmp_path):
    golden = functa_store.open("tests/golden/v6_scene.functa")
    rows = np.repeat(golden.modulations[:1], 12, axis=0)
    split, labels = ["train", "train", "test"] * 4, {"kind": np.arange(12) % 2}
    golden.derive(tmp_path / "scenes.functa", rows, labels=labels, split=split)
    (found,) = functa_store.score(tmp_path / "scenes.functa", seeds=1, steps=2)
    assert found.accuracies.keys() == {MLP_ON_MODULATIONS, NEAREST, MOST_FREQUENT}
    assert "scenes have no arrays to compare with" in found.notes[0]
    with pytest.raises(ConfigError, match=r"scenes have no arrays.*leave the resolution out"):
        functa_store.score(tmp_path / "scenes.functa", resolution=8)


@pytest.mark.slow
def test_the_command_prints_a_table_or_json(planted, capsys):
    words = ["score", planted.store.path, "--label", "coin", "--seeds", "1", "--steps", "2", "--max-examples", "30"]
    assert cli.main(words) == 0
    shown = capsys.readouterr()
    assert "coin: 2 classes, 30 training examples, 30 held out" in shown.out
    assert "30 of 600 examples of the split 'train', spread evenly" in shown.out
    assert "scoring 100%" in shown.err
    assert cli.main([*words, "--resolution", "4", "--json"]) == 0
    *events, result = map(json.loads, capsys.readouterr().out.splitlines())
    assert {event["event"] for event in events} == {"scored", "note"}
    (found,) = result["scores"]
    assert (found["label"], found["resolution"], found["num_train"]) == ("coin", [4, 4], 30)
    assert found["accuracies"][CNN_ON_ARRAYS]["num_inputs"] == 4 * 4 * 3


def test_a_table_has_the_values_in_their_places():
    found = {
        MLP_ON_MODULATIONS: Accuracy(
            mean=0.5, deviation=0.012, by_seed=(0.488, 0.512), num_inputs=256, num_parameters=212635
        ),
        MOST_FREQUENT: Accuracy(mean=0.125, deviation=None, by_seed=(0.125,), num_inputs=0, num_parameters=0),
    }
    score = Score(
        label="kind", num_classes=8, num_train=1000, num_augmentations=10_000, num_test=200, resolution=(32, 16),
        accuracies=found, notes=("something",),
    )  # fmt: skip
    stream = io.StringIO()
    show(score, Console(file=stream, width=100))
    text = stream.getvalue()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert rows == [
        ["MLP on modulations", "256", "212,635", "50.0 %", "1.2 %"],
        ["most frequent class", "-", "-", "12.5 %", "-"],
    ]
    assert "kind: 8 classes, 1,000 training examples and 10,000 augmentations, 200 held out" in text
    assert "decoded arrays have 32 x 16 points" in text
    assert "something" in text


def test_augmentations_are_learned_from_and_never_held_out(augmented):
    whole, part = sample(augmented, 10), sample(augmented, 2)
    assert (whole.train.tolist(), whole.test.tolist()) == ([0, 3, 6, 9, 12, *range(15, 21)], [2, 5, 8, 11, 14])
    assert (whole.num_train, whole.notes) == (5, ())
    assert (part.train.tolist(), part.test.tolist(), part.num_train) == ([0, 6, 15, 16], [2, 8], 2)
    assert part.notes == (
        "2 of 5 examples of the split 'train', spread evenly",
        "2 of 5 examples of the split 'test', spread evenly",
    )


def test_labels_of_classes_are_chosen_and_others_are_refused(planted):
    rows = sample(planted, COUNT)
    assert [task.label for task in tasks(planted, rows, None)] == ["coin", "sign"]
    for label, words in (
        ("sgin", r"no label 'sgin', there are \['coin', 'count', 'sign', 'size'\]"),
        ("size", "label 'size' is float32, expected integers"),
    ):
        with pytest.raises(ConfigError, match=words):
            tasks(planted, rows, [label])
    (task,) = tasks(planted, rows, ["count"])  # whoever names it gets it
    assert task.num_classes == 600
    assert (task.classes[rows.test] == 600).all()  # no classifier tells these


def test_what_cannot_be_scored_is_said_before_anything_is_trained(tmp_path):
    base, rows = tmp_path / "base.functa", np.zeros((12, 4), np.float32)
    write_store(base)
    labels = {
        "age": np.arange(12) / 2,
        "one": np.zeros(12, np.int32),
        "unknown": Label(values=np.tile([0, 1, 2], 4), names=("a", "b", NO_CLASS)),
    }
    odd, untested = tmp_path / "odd.functa", tmp_path / "untested.functa"
    functa_store.open(base).derive(odd, rows, split=["train", "train", "test"] * 4, labels=labels)
    functa_store.open(base).derive(untested, rows, split="train")
    for place, options, words in (
        (base, {}, "no label of two classes or more, there are no labels"),
        (odd, {}, "no label of two classes or more.*'age': 'float64'"),
        (odd, {"labels": ["one"]}, "label 'one' has 1 class in the split 'train'"),
        (odd, {"labels": ["unknown"]}, "no example of the split 'test' has a class of label 'unknown'"),
        (untested, {}, r"no split 'test', there are \['train'\]"),
        (base, {"labels": "kind"}, "labels must be a list of names"),
        (base, {"labels": []}, "labels must name one label at least"),
        (base, {"seeds": 0}, "seeds must be a whole number of at least 1, got 0"),
        (base, {"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        (base, {"max_examples": 1}, "max_examples must be a whole number of at least 2, got 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            functa_store.score(place, **options)
    write_store(tmp_path / "unfinished.functa", num_shards=1)
    with pytest.raises(StoreFormatError, match="unfinished store; finish it by the command"):
        functa_store.score(tmp_path / "unfinished.functa")


def test_parameters_are_those_of_the_papers_table():
    assert num_parameters(nnx.eval_shape(lambda: MLP(256, 10, nnx.Rngs(0)))) == 212_635


@pytest.mark.parametrize("resolution", [(300,), (20, 14), (4, 4), (8, 6, 7)])
def test_a_network_of_convolutions_takes_grids_of_one_to_three_axes(resolution):
    logits = jax.eval_shape(lambda: CNN(resolution, 2, 5, nnx.Rngs(0))(jnp.ones((3, *resolution, 2)), None))
    assert logits.shape == (3, 5)


def test_most_of_the_nearest_decide_and_the_nearest_one_among_equals():
    train = np.array([[0.0], [0.1], [0.2], [5.0], [6.0], [7.0]], np.float32)
    classes = np.array([0, 1, 1, 2, 2, 2])
    test = np.array([[0.01], [6.1], [2.4]], np.float32)  # the last one's five: 1 1 0 2 2; of two pairs the nearer one
    assert neighbours_accuracy(train, classes, test, np.array([1, 2, 1])) == 1
    assert neighbours_accuracy(train, classes, test, np.array([0, 2, 2])) == pytest.approx(1 / 3)


def test_principal_components_keep_what_varies_most():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(60, 2)) * [3.0, 1.0]
    arrays = (hidden @ rng.normal(size=(2, 12)) + 1).reshape(60, 3, 4, 1).astype(np.float32)
    train, test = principal_components(arrays[:40], arrays[40:], 2)
    assert train.std() == pytest.approx(1, abs=1e-6)
    distances = [np.linalg.norm(rows[0] - rows[1:], axis=1) for rows in (arrays[40:].reshape(20, 12), test)]
    assert np.corrcoef(*distances)[0, 1] > 0.99999  # two components hold all, up to one scale
    train, _ = principal_components(arrays[:40], arrays[40:], 50)
    assert train.shape == (40, 12)


def test_channels_are_normalised_by_the_training_arrays_and_missing_values_are_their_mean():
    train = np.stack([np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[np.nan, 5.0], [2.0, 5.0]])]).astype(np.float32)
    train, test = normalized_channels(train, train[:1] + 1)
    np.testing.assert_allclose(train[..., 0], np.array([[-1, 1], [0, 0]]) / np.std([1, 3, 2]), rtol=1e-6)
    np.testing.assert_allclose(test[0], [[0, 1], [2 / np.std([1, 3, 2]), 1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("native", "expected"), [((8, 6), (8, 6)), ((64, 64), (32, 32)), ((218, 178), (32, 26)), ((100, 2), (32, 2))]
)
def test_arrays_are_decoded_at_a_resolution_that_is_cheap(planted, monkeypatch, native, expected):
    domain = dataclasses.replace(planted.domain, resolution=native)
    monkeypatch.setattr(type(planted), "domain", property(lambda _: domain))
    assert cheap_resolution(planted, None) == expected
    assert cheap_resolution(planted, (5, 7)) == (5, 7)


def test_a_stage_of_a_score_is_shown():
    event = Scored(method=MLP_ON_PCA, label="ki\x1bnd", step=50, num_steps=200, seconds_left=61.0)
    shown = stage(event)
    assert (shown.name, shown.fraction) == ("scoring", 0.25)
    assert shown.facts == "MLP on PCA of arrays, ki\\x1bnd: step 50 of 200, 1:01 left"
