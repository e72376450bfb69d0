"""One outer step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.domains.cells import CellGrid
from functa_store.learn.devices import temporary_bytes
from functa_store.learn.grid_observers import GridObserver, Points, at_points
from functa_store.learn.inner_loop import Target
from functa_store.learn.observer import sample_points
from functa_store.learn.outer_loop import (
    LOWEST_RATE,
    LearnState,
    init_learnable,
    loss_after_inner_loop,
    make_optimizer,
    make_outer_step,
)
from functa_store.sources.features import FeatureSpec

DOMAIN = CellGrid(axes=("y", "x"), resolution=(8, 8))
SPEC = FeatureSpec(channels=("r", "g", "b"), scale=1 / 255)
CONFIG = ConvertConfig(
    network=NetworkConfig(width=16, depth=3, modulation_dim=8),
    outer=OuterLoopConfig(num_points=None, learning_rate=1e-3),
)
RAW = np.random.default_rng(0).integers(0, 256, size=(4, 64, 3), dtype=np.uint8)
KEY = jax.random.key(0)
OBSERVER = GridObserver(DOMAIN, SPEC)


@pytest.fixture(scope="module", name="start")
def _start():
    graph, learnable = init_learnable(CONFIG, 2, 3)
    return graph, LearnState(learnable, make_optimizer(CONFIG.outer).init(learnable))


@pytest.mark.slow
def test_losses_are_those_before_the_update_and_fall_with_it(start):
    graph, state = start
    step = make_outer_step(graph, CONFIG, OBSERVER)
    state, first = step(state, RAW, KEY, np.float32(1))
    for _ in range(20):
        state, losses = step(state, RAW, KEY, np.float32(1))
    features = RAW[0] / np.float32(255)
    weights = np.full(64, 1 / 64, np.float32)
    coords, features, weights = (jnp.broadcast_to(x, (4, 1, *x.shape)) for x in (DOMAIN.coords(), features, weights))
    views = Target(Points(coords), features, weights)
    np.testing.assert_allclose(first[0], loss_after_inner_loop(start[1].learnable, graph, at_points, views), rtol=1e-4)
    assert losses.mean() < 0.9 * first.mean()


@pytest.mark.slow
def test_ones_count_more_in_the_losses(start):
    """Three times as much for a picture of ones, as before for one of zeros; at this inner rate nothing is fitted."""
    graph, state = start
    still = state._replace(learnable=state.learnable._replace(rates=jnp.full_like(state.learnable.rates, 1e-20)))
    raw = np.stack([np.full_like(RAW[0], value) for value in (0, 255)])
    plain, weighed = (
        make_outer_step(graph, dataclasses.replace(CONFIG, weight_of_ones=weight), OBSERVER)(
            still, raw, KEY, np.float32(0)
        )[1]
        for weight in (1.0, 3.0)
    )
    np.testing.assert_allclose(weighed, plain * np.array([1, 3]), rtol=1e-5)


@pytest.mark.slow
def test_a_scale_of_zero_changes_nothing(start):
    graph, state = start
    after, _ = make_outer_step(graph, CONFIG, OBSERVER)(state, RAW, KEY, np.float32(0))
    jax.tree.map(np.testing.assert_array_equal, after.learnable, state.learnable)


@pytest.mark.slow
def test_inner_rates_stay_positive(start):
    graph, state = start
    step = make_outer_step(graph, CONFIG, OBSERVER)
    after, _ = step(state, RAW, KEY, np.float32(1e6))
    assert np.min(after.learnable.rates) >= np.float32(LOWEST_RATE)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(1, 64), st.integers(0, 1000))
def test_sampled_points_are_distinct_and_lie_on_the_grid(count, seed):
    index = np.asarray(sample_points(jax.random.key(seed), (2, count), 64))
    assert np.all((index >= 0) & (index < 64))
    assert np.all(np.diff(index, axis=-1) > 0)


def test_every_point_is_sampled_equally_often():
    index = np.asarray(sample_points(KEY, (4000, 6), 24))
    counts = np.bincount(index.ravel(), minlength=24)
    assert abs(counts - 1000).max() < 150


@pytest.mark.slow
@pytest.mark.parametrize("microbatch", [2])
def test_examples_taken_together_give_the_gradient_of_one_after_the_other(start, microbatch):
    graph, state = start
    alone, losses = make_outer_step(graph, CONFIG, OBSERVER, 1)(state, RAW, KEY, np.float32(1))
    together, same = make_outer_step(graph, CONFIG, OBSERVER, microbatch)(state, RAW, KEY, np.float32(1))
    np.testing.assert_allclose(losses, same, rtol=1e-5)
    moments = (jax.tree.leaves(s.moments) for s in (alone, together))
    for one, other in zip(*moments, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_tiles_give_the_gradient_of_all_points_at_once(start):
    graph, state = start
    tiled = dataclasses.replace(CONFIG, fit=FitConfig(tile_points=24))
    whole, losses = make_outer_step(graph, CONFIG, OBSERVER)(state, RAW, KEY, np.float32(1))
    parts, same = make_outer_step(graph, tiled, OBSERVER)(state, RAW, KEY, np.float32(1))
    np.testing.assert_allclose(losses, same, rtol=1e-5)
    for one, other in zip(*(jax.tree.leaves(s.moments) for s in (whole, parts)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.long
def test_temporaries_hardly_grow_with_the_grid():
    """Four times the points: without tiles, activations would take four times the memory."""

    def temporaries(size, tile):
        config = dataclasses.replace(
            CONFIG, network=NetworkConfig(width=128, depth=4, modulation_dim=8), fit=FitConfig(tile_points=tile)
        )
        observer = GridObserver(CellGrid(axes=("y", "x"), resolution=(size, size)), SPEC)
        graph, learnable = init_learnable(config, 2, 3)
        state = LearnState(learnable, make_optimizer(config.outer).init(learnable))
        raw = np.zeros((1, size**2, 3), np.uint8)
        return temporary_bytes(make_outer_step(graph, config, observer).lower(state, raw, KEY, np.float32(1)).compile())

    assert temporaries(64, 512) < 1.5 * temporaries(32, 512)
    assert temporaries(64, 4096) > 3 * temporaries(64, 512)
