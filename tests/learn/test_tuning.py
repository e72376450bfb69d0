"""Tuning the steps of a fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.conversion.fit_shards import compare_precision
from functa_store.learn import tuning
from functa_store.learn.inner_loop import extend
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import _Tuner, tune
from functa_store.progress import Note, Tuned, silent
from tests.learn.test_meta_learn import SOURCE, Memory

CONFIG = ConvertConfig(
    network=NetworkConfig(width=16, depth=3, w0=10.0, modulation_dim=8),
    outer=OuterLoopConfig(
        num_steps=40, batch_size=4, num_points=32, warmup_steps=5, monitor_every=10, learning_rate=1e-3
    ),
    fit=FitConfig(num_steps=6, stride=2, tuning_steps=30),
)


TRAINING = TrainingSet(SOURCE, CONFIG)


@pytest.fixture(scope="module", name="base")
def _base():
    return meta_learn(TRAINING, CONFIG)


def psnr_of(fit, shared, indices):
    raw = np.stack([SOURCE.read(int(i)).reshape(-1, 1) for i in indices])
    return float(np.mean(-10 * np.log10(np.asarray(fit(shared, raw)[1]))))


@pytest.mark.slow
def test_tuned_steps_fit_examples_better_that_they_were_not_tuned_on(base):
    outer = dataclasses.replace(CONFIG.outer, batch_size=16)
    schedule = FitConfig(num_steps=6, stride=1, tuning_steps=60)
    config = dataclasses.replace(CONFIG, outer=outer, fit=schedule)
    fit, tuned, used = tune(base, TrainingSet(SOURCE, config), config)
    assert (used.tuning_steps, used.stride) == (60, 1)
    start = fit.prepare(base.learnable.base, extend(base.learnable.rates, 6))
    held_out = np.flatnonzero(SOURCE.split == "test")
    assert psnr_of(fit, tuned, held_out) > psnr_of(fit, start, held_out) + 0.1
    assert np.all(np.asarray(tuned.steps.rates) > 0)


@pytest.mark.slow
def test_without_tuning_the_learned_rates_stay(base):
    config = dataclasses.replace(CONFIG, fit=FitConfig(num_steps=5, tuning_steps=0))
    _, shared, _ = tune(base, TRAINING, config)
    np.testing.assert_array_equal(shared.steps.rates, extend(base.learnable.rates, 5).rates)
    assert not np.asarray(shared.steps.momenta).any()


@pytest.mark.slow
def test_steps_that_tuning_made_worse_are_not_taken(base, monkeypatch):
    """The monitored examples decide."""
    looks = iter([20.0, 19.0])
    monkeypatch.setattr(tuning, "mean_psnr", lambda *_: next(looks))
    _, shared, used = tune(base, TRAINING, CONFIG)
    np.testing.assert_array_equal(shared.steps.rates, extend(base.learnable.rates, 6).rates)
    assert used.tuning_steps == 0


@pytest.mark.slow
def test_an_update_that_is_not_finite_is_left_out(base, monkeypatch, caplog):
    gradient = _Tuner._gradient

    def breaking(self, size, shared, adjustment, raw):
        found, losses = gradient(self, size, shared, adjustment, raw)
        broken = jnp.min(adjustment.log_factors) == 0  # the first update only
        return jax.tree.map(lambda g: jnp.where(broken, jnp.nan, g), found), losses

    config = dataclasses.replace(CONFIG, fit=dataclasses.replace(CONFIG.fit, tuning_steps=3))
    monkeypatch.setattr(_Tuner, "_gradient", breaking)
    _, shared, _ = tune(base, TRAINING, config)
    assert "tuning step 1" in caplog.text
    assert np.isfinite(shared.steps.rates).all()


@pytest.mark.slow
def test_a_verdict_is_not_asked_for_twice(base, monkeypatch):
    memory = Memory()
    tune(base, TRAINING, CONFIG, snapshots=memory)
    monkeypatch.setattr(tuning, "mean_psnr", None)
    again = Memory(start=memory.kept)
    _, first, _ = tune(base, TRAINING, CONFIG, snapshots=again)
    assert again.kept.step == 30
    assert np.isfinite(first.steps.rates).all()


@pytest.mark.slow
def test_an_interrupted_tuning_goes_on_exactly(base):
    class StopAt(Memory):
        def offer(self, snapshot):
            if snapshot.step == self.stop_at:
                raise KeyboardInterrupt

    memory = StopAt(stop_at=7)
    with pytest.raises(KeyboardInterrupt):
        tune(base, TRAINING, CONFIG, snapshots=memory)
    assert memory.kept.step == 7
    events = []
    _, resumed, _ = tune(base, TRAINING, CONFIG, snapshots=Memory(start=memory.kept), report=events.append)
    assert [e.step for e in events if isinstance(e, Tuned)] == list(range(8, 31))
    assert any(isinstance(e, Note) and "monitored" in e.message for e in events)
    _, straight, _ = tune(base, TRAINING, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, resumed.steps, straight.steps)


@pytest.mark.slow
def test_the_gradient_is_a_difference_quotient(base):
    """Along a random direction of factors and momenta, in float32 and so to a percent."""
    config = dataclasses.replace(CONFIG, outer=dataclasses.replace(CONFIG.outer, batch_size=2))
    untuned = dataclasses.replace(config, fit=dataclasses.replace(config.fit, tuning_steps=0))
    fit, shared, _ = tune(base, TRAINING, untuned)
    tuner = _Tuner(fit, shared, TrainingSet(SOURCE, config), config, silent)
    raw = jnp.stack([SOURCE.read(i).reshape(-1, 1) for i in (0, 9)])
    learned = tuner.begin().adjustment
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), learned)

    def loss(h):
        moved = jax.tree.map(lambda a, d: a + np.float32(h) * d, learned, direction)
        return float(tuner._gradient(1, tuner.shared, moved, raw)[1].mean())

    gradient, _ = tuner._gradient(1, tuner.shared, learned, raw)
    slope = sum(np.vdot(g, d) for g, d in zip(gradient, direction, strict=True))
    np.testing.assert_allclose((loss(1e-2) - loss(-1e-2)) / 2e-2, slope, rtol=0.02)


@pytest.mark.slow
def test_the_test_split_takes_no_part(base):
    class Reading(type(SOURCE)):
        def read(self, index):
            read.add(index)
            return super().read(index)

    read = set()
    source = Reading(SOURCE.values)
    read.clear()
    training = TrainingSet(source, CONFIG)
    tune(base, training, CONFIG)
    assert read <= set(training.train) | set(training.monitored)


@pytest.mark.slow
def test_precision_is_compared_only_where_it_differs(base):
    untuned = dataclasses.replace(CONFIG, fit=FitConfig(num_steps=6, tuning_steps=0))
    assert compare_precision(base, tune(base, TRAINING, untuned), TRAINING, CONFIG) == {}
