"""Meta-learning as a whole: it learns, repeats itself exactly, goes on and recovers."""

import jax
import numpy as np
import pytest

import functa_store.learn.meta_learn as meta_learn_module
from functa_store.config import ConvertConfig, NetworkConfig, OuterLoopConfig
from functa_store.errors import LearningError
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.training_set import TrainingSet
from functa_store.progress import Learned
from functa_store.sources.array_source import ArraySource

NETWORK = NetworkConfig(width=16, depth=3, w0=10.0, modulation_dim=8)
OUTER = OuterLoopConfig(num_steps=40, batch_size=4, num_points=32, warmup_steps=5, monitor_every=10, learning_rate=1e-3)
CONFIG = ConvertConfig(network=NETWORK, outer=OUTER)


def waves(count=40, size=8):
    """Smooth images that differ in phase."""
    y, x = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size), indexing="ij")
    phases = np.linspace(0, 6, count)[:, None, None]
    return (0.5 + 0.3 * np.sin(4 * y + 2 * x + phases))[..., None].astype(np.float32)


SOURCE = ArraySource(waves(), value_range=(0, 1))


class Memory:
    """Snapshots in memory that can interrupt."""

    def __init__(self, stop_at=None, start=None):
        self.stop_at, self.kept = stop_at, start

    def load(self, like):
        return self.kept

    def offer(self, snapshot):
        if snapshot.step == self.stop_at:
            raise KeyboardInterrupt

    def save(self, snapshot):
        self.kept = snapshot


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def learned(config, **options):
    return meta_learn(TrainingSet(SOURCE, config), config, **options)


@pytest.mark.slow
def test_learning_improves_the_monitored_examples():
    events = []
    base = learned(CONFIG, report=events.append)
    looks = [e.monitored_psnr for e in events if isinstance(e, Learned) and e.monitored_psnr is not None]
    assert base.psnr == max(looks) > looks[0]
    assert base.num_steps == 40


@pytest.mark.slow
def test_the_same_seed_learns_the_same_and_another_does_not():
    first, again = (learned(CONFIG) for _ in range(2))
    assert_equal(first.learnable, again.learnable)
    other = learned(ConvertConfig(network=NETWORK, outer=OUTER, seed=1))
    assert not np.array_equal(first.learnable.rates, other.learnable.rates)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_exactly():
    memory = Memory(stop_at=23)
    with pytest.raises(KeyboardInterrupt):
        learned(CONFIG, snapshots=memory)
    assert memory.kept.step == 23
    resumed = learned(CONFIG, snapshots=Memory(start=memory.kept))
    assert_equal(resumed.learnable, learned(CONFIG).learnable)


@pytest.mark.slow
def test_the_steps_of_a_time_budget_reproduce_it():
    def outer(**length):
        return OuterLoopConfig(batch_size=4, num_points=32, warmup_steps=5, monitor_every=10, **length)

    timed = learned(ConvertConfig(network=NETWORK, outer=outer(num_steps=None, time_budget=0.5)))
    counted = learned(ConvertConfig(network=NETWORK, outer=outer(num_steps=timed.num_steps)))
    assert_equal(timed.learnable, counted.learnable)


@pytest.mark.slow
def test_learning_that_diverges_gives_up_with_a_reason():
    outer = OuterLoopConfig(num_steps=200, batch_size=4, warmup_steps=0, learning_rate=1e38, monitor_every=10)
    with pytest.raises(LearningError, match="lower the learning rates"):
        learned(ConvertConfig(network=NETWORK, outer=outer))


@pytest.mark.slow
def test_learning_recovers_from_a_state_that_broke(monkeypatch):
    """The losses of a step are those before its update, so only the monitored examples can tell."""
    step = meta_learn_module._Learning._step

    def breaking(self, snapshot, raw):
        after, losses = step(self, snapshot, raw)
        if after.step in (20, 40) and after.rollbacks < 2:
            rates = np.nan * after.state.learnable.rates
            after = after._replace(state=after.state._replace(learnable=after.state.learnable._replace(rates=rates)))
        return after, losses

    monkeypatch.setattr(meta_learn_module._Learning, "_step", breaking)
    events = []
    base = learned(CONFIG, report=events.append)
    looks = {e.step: e.monitored_psnr for e in events if isinstance(e, Learned) and e.monitored_psnr is not None}
    assert set(looks) == {10, 30}
    assert base.psnr == max(looks.values())
    assert all(np.isfinite(array).all() for array in jax.tree.leaves(base.learnable))


def looks_that_lose(monkeypatch, monitored_loses, seen_loses):
    """At step 20 the monitored examples, or those learned from, lose 20 dB, unless there was a roll-back.

    Returns:
        Filled by the learning: the snapshot before each outer step, and the learnable after it.
    """
    learning, states = meta_learn_module._Learning, []
    step, look = learning._step, learning._mean_psnr

    def follow(self, snapshot, raw):
        after, losses = step(self, snapshot, raw)
        states.append((snapshot, after.state.learnable))
        return after, losses

    def losing_look(self, learnable, indices):
        loses = monitored_loses if np.array_equal(indices, self.training.monitored) else seen_loses
        if not loses or not states:
            return look(self, learnable, indices)
        before, after = states[-1]
        at_20 = before.step == 19 and learnable is after and not before.rollbacks
        return look(self, learnable, indices) - 20 * at_20

    monkeypatch.setattr(learning, "_step", follow)
    monkeypatch.setattr(learning, "_mean_psnr", losing_look)
    return states


@pytest.mark.slow
def test_monitored_examples_are_looked_at_five_times_as_often_before_the_first_multiple():
    outer = OuterLoopConfig(num_steps=160, batch_size=4, num_points=8, warmup_steps=5, monitor_every=100)
    events = []
    learned(ConvertConfig(network=NETWORK, outer=outer), report=events.append)
    looks = [e.step for e in events if isinstance(e, Learned) and e.monitored_psnr is not None]
    assert looks == [20, 40, 60, 80, 100, 160]


@pytest.mark.slow
def test_learning_that_collapses_goes_back_to_its_best_state_with_half_the_rates(monkeypatch):
    states = looks_that_lose(monkeypatch, monitored_loses=True, seen_loses=True)
    learned(CONFIG)
    at_10, going_on = states[9][1], states[20][0]
    assert going_on.rollbacks == 1
    assert_equal(going_on.state.learnable, at_10)
    assert [snapshot.rollbacks for snapshot, _ in states] == [0] * 20 + [1] * 20


@pytest.mark.slow
@pytest.mark.parametrize(("monitored_loses", "seen_loses"), [(True, False), (False, True)])
def test_learning_that_overfits_or_wavers_goes_on(monkeypatch, monitored_loses, seen_loses):
    states = looks_that_lose(monkeypatch, monitored_loses, seen_loses)
    learned(CONFIG)
    assert {snapshot.rollbacks for snapshot, _ in states} == {0}


@pytest.mark.slow
def test_while_learning_overfits_each_best_state_is_looked_at_once(monkeypatch):
    """Looks from step 10 on; the first one comes before learning, and the last state is not judged."""
    monitored, seen = iter([0.0, 10.0, 5.0, 4.0, 20.0, 5.0, 6.0]), []

    def look(self, learnable, indices):
        if np.array_equal(indices, self.training.monitored):
            return next(monitored)
        seen.append(learnable)
        return 30.0

    monkeypatch.setattr(meta_learn_module._Learning, "_mean_psnr", look)
    outer = OuterLoopConfig(num_steps=60, batch_size=4, num_points=32, warmup_steps=5, monitor_every=10)
    base = learned(ConvertConfig(network=NETWORK, outer=outer))
    first_best, at_20, at_30, second_best, at_50 = seen
    assert_equal(second_best, base.learnable)
    assert len({id(learnable) for learnable in (first_best, at_20, at_30, second_best, at_50)}) == 5


@pytest.mark.slow
def test_a_collapse_is_found_again_after_an_interruption(monkeypatch):
    whole = looks_that_lose(monkeypatch, monitored_loses=True, seen_loses=True)
    uninterrupted = learned(CONFIG)
    assert whole[-1][0].rollbacks == 1
    memory = Memory(stop_at=17)
    with pytest.raises(KeyboardInterrupt):
        learned(CONFIG, snapshots=memory)
    resumed = learned(CONFIG, snapshots=Memory(start=memory.kept))
    assert_equal(resumed.learnable, uninterrupted.learnable)


@pytest.mark.slow
def test_learning_that_collapses_again_and_again_still_ends_in_its_best_state(monkeypatch):
    learning, looks = meta_learn_module._Learning, []
    monkeypatch.setattr(learning, "_mean_psnr", lambda *_: float(looks.append(None) or -2.0 * len(looks)))
    outer = OuterLoopConfig(num_steps=120, batch_size=4, num_points=32, warmup_steps=5, monitor_every=10)
    base = learned(ConvertConfig(network=NETWORK, outer=outer))
    assert base.psnr == -4.0  # the first look but the one before learning
    assert base.num_steps == 120
