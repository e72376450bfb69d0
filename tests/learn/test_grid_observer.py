"""What a fit sees of an example, and what is kept of how well it was fitted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from functa_store.config import ConvertConfig, FitConfig, NetworkConfig
from functa_store.domains.cells import CellGrid
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import MemberError
from functa_store.learn import grid_observers
from functa_store.learn import tiling as projection_module
from functa_store.learn.fit import Fit, fit_examples
from functa_store.learn.grid_observers import GridObserver
from functa_store.learn.inner_loop import extend
from functa_store.learn.observer import normalized
from functa_store.learn.outer_loop import init_learnable
from functa_store.learn.scores import SCORES
from functa_store.nets.siren import to_weights
from functa_store.sources.array_source import ArraySource
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.features import FeatureSpec
from tests.reference import ReferenceSiren

CONFIG = ConvertConfig(network=NetworkConfig(width=8, depth=3, w0=8.0, modulation_dim=5), fit=FitConfig(num_steps=3))
RNG = np.random.default_rng(0)
VALUES = RNG.random((4, 6, 7, 2), np.float32)
GAPS = RNG.random((4, 6, 7, 2)) < 0.3
SPHERE = SphereGrid(latitudes=tuple(np.linspace(75, -75, 6)), longitudes=tuple(np.linspace(0, 300, 7)))


def source(values=VALUES, domain=None, **spec):
    features = FeatureSpec(channels=("u", "v"), **spec)
    made = ArraySource(values, axes=("y", "x"), features=features, split=np.array(["train"] * 3 + ["test"]))
    made.domain = domain or made.domain
    return made


def fitted(of, **fit):
    config = dataclasses.replace(CONFIG, fit=dataclasses.replace(CONFIG.fit, **fit))
    graph, learnable = init_learnable(config, of.domain.num_inputs, 2)
    ready = Fit(graph, config, of)
    shared = ready.prepare(learnable.base, extend(learnable.rates, config.fit.num_steps))
    return fit_examples(ready, shared, BatchReader(of), np.arange(4)), learnable


def expected(learnable, of, modulations, weights):
    """Differences at all points in float64, and the weighted mean of their squares."""
    reference = ReferenceSiren.from_weights(CONFIG.network.w0, to_weights(learnable.base))
    coords = of.domain.inputs(of.domain.coords()).astype(np.float64)
    found = np.stack([reference(phi.astype(np.float64), coords) for phi in modulations])
    squares = (found - of.values.reshape(found.shape)) ** 2
    counted = np.where(np.isnan(squares), 0, weights[..., None])
    return np.nansum(squares * counted, axis=(1, 2)) / counted.sum(axis=(1, 2)), squares, counted


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("projected", [True, False])
def test_what_is_missing_counts_in_no_error(stride, projected, monkeypatch):
    if not projected:
        monkeypatch.setattr(projection_module, "MOST_BYTES", 0)
    gappy = source(np.where(GAPS, np.nan, VALUES), missing=True)
    (modulations, mse, _), learnable = fitted(gappy, stride=stride)
    np.testing.assert_allclose(mse, expected(learnable, gappy, modulations, np.ones((4, 42)))[0], rtol=1e-4)


@pytest.mark.slow
def test_without_gaps_a_source_that_may_have_some_is_fitted_alike():
    plain, gappy = fitted(source())[0], fitted(source(missing=True))[0]
    np.testing.assert_allclose(plain.modulations, gappy.modulations, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(plain.mse, gappy.mse, rtol=1e-5)


@pytest.mark.slow
def test_not_a_number_is_refused_where_nothing_may_be_missing():
    for value, missing in ((np.nan, False), (np.inf, True)):
        broken = source(VALUES.copy(), missing=missing)
        broken.values[GAPS] = value
        with pytest.raises(MemberError, match="not finite"):
            fitted(broken)


def test_an_example_without_any_value_is_refused():
    """Its PSNR would be infinite, and no state would ever be better than the first one."""
    gappy = source(VALUES.copy(), missing=True)
    gappy.values[0] = np.nan
    with pytest.raises(MemberError, match="all are missing"):
        fitted(gappy)


@pytest.mark.slow
def test_points_count_by_the_weights_of_their_domain():
    weighted = source(domain=dataclasses.replace(SPHERE, area_weighting=True))
    (modulations, mse, _), learnable = fitted(weighted)
    weights = np.broadcast_to(weighted.domain.weights, (4, 42))
    np.testing.assert_allclose(mse, expected(learnable, weighted, modulations, weights)[0], rtol=1e-4)
    assert not np.allclose(modulations, fitted(source(domain=SPHERE))[0].modulations, rtol=1e-2)


@pytest.mark.slow
def test_the_projection_gives_the_first_gradient_of_uneven_points(monkeypatch):
    uneven = source(
        np.where(GAPS, np.nan, VALUES), domain=dataclasses.replace(SPHERE, area_weighting=True), missing=True
    )
    projected = fitted(uneven)[0]
    monkeypatch.setattr(projection_module, "MOST_BYTES", 0)
    np.testing.assert_allclose(projected.modulations, fitted(uneven)[0].modulations, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_root_mean_squared_errors_are_in_the_unit_of_the_values():
    measured = source(np.where(GAPS, np.nan, VALUES), missing=True, metrics=("rmse",), value_scale=(10.0, -2.0))
    (modulations, _, metrics), learnable = fitted(measured)
    _, squares, counted = expected(learnable, measured, modulations, np.ones((4, 42)))
    rmse = np.sqrt(np.nansum(squares * counted, axis=1) / counted.sum(axis=1)) * [10, 2]
    np.testing.assert_allclose(metrics, rmse, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [None, 5])
def test_overlap_and_agreement_are_those_of_what_is_above_a_half(tile):
    occupied = source((VALUES > 0.7).astype(np.float32), metrics=("iou", "accuracy"))
    (modulations, _, metrics), learnable = fitted(occupied, tile_points=tile)
    reference = ReferenceSiren.from_weights(CONFIG.network.w0, to_weights(learnable.base))
    coords = occupied.domain.coords().astype(np.float64)
    found = np.stack([reference(phi.astype(np.float64), coords)[:, 0] > 0.5 for phi in modulations])
    there = occupied.values[..., 0].reshape(4, -1) > 0.5
    iou = (found & there).sum(axis=1) / (found | there).sum(axis=1)
    np.testing.assert_allclose(metrics, np.stack([iou, (found == there).mean(axis=1)], axis=1), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [None, 5])
def test_overlap_and_agreement_leave_out_what_is_missing(tile):
    gappy = source(np.where(GAPS, np.nan, VALUES > 0.7).astype(np.float32), missing=True, metrics=("iou", "accuracy"))
    (modulations, _, metrics), learnable = fitted(gappy, tile_points=tile)
    reference = ReferenceSiren.from_weights(CONFIG.network.w0, to_weights(learnable.base))
    coords = gappy.domain.coords().astype(np.float64)
    found = np.stack([reference(phi.astype(np.float64), coords)[:, 0] > 0.5 for phi in modulations])
    first = gappy.values[..., 0].reshape(4, -1)
    there, present = first > 0.5, ~np.isnan(first)
    iou = (found & there & present).sum(axis=1) / ((found | there) & present).sum(axis=1)
    accuracy = ((found == there) & present).sum(axis=1) / present.sum(axis=1)
    np.testing.assert_allclose(metrics, np.stack([iou, accuracy], axis=1), rtol=1e-5)


def test_two_empty_shapes_overlap_fully():
    assert SCORES["iou"].finish(jnp.zeros(2), source().features).tolist() == [1]


def test_weights_of_what_is_missing_go_to_the_rest():
    features = jnp.array([[1.0, jnp.nan], [jnp.nan, jnp.nan], [2.0, 3.0]])
    weights = normalized(jnp.full(3, 1 / 3), features)
    np.testing.assert_allclose(weights, [2 / 3] * 3)  # 1/2 and 1 of them are there: 2/3 (1/2 + 0 + 1) = 1
    assert not normalized(jnp.full(3, 1 / 3), jnp.full((3, 2), jnp.nan)).any()


@pytest.mark.slow
def test_a_part_without_any_value_changes_nothing():
    """All of one phase of a stride is missing: its step must neither move the modulation nor look like a divergence."""
    values = VALUES.copy()
    values[:, 1::2, 1::2] = np.nan
    gappy = source(values, missing=True)
    assert np.isfinite(fitted(gappy, stride=2, num_steps=6)[0].mse).all()
    two, three = (fitted(gappy, stride=2, num_steps=steps)[0].modulations for steps in (2, 3))
    np.testing.assert_allclose(two, three, rtol=1e-4, atol=1e-6)


def test_observers_of_grids_look_at_what_the_network_takes():
    observer = GridObserver(SPHERE, FeatureSpec(channels=("t",)))
    np.testing.assert_allclose(np.linalg.norm(observer.grid, axis=1), 1, rtol=1e-6)
    assert observer.step_shape == (6, 7)


@pytest.mark.parametrize("most", [0, 2**20])
def test_large_grids_are_looked_up_when_a_program_runs_and_give_the_same(monkeypatch, most):
    """A compiled look holds no coordinates of known rows where a grid is large."""
    monkeypatch.setattr(grid_observers, "MOST_FOLDED", most)
    domain, spec = CellGrid(axes=("y", "x"), resolution=(4, 6)), FeatureSpec(channels=("v",))
    observer = grid_observers.GridObserver(domain, spec)
    rows, raw = np.array([[5, 3], [23, 0]]), np.arange(24.0, dtype=np.float32)[:, None]
    look = jax.jit(lambda raw: observer.look(raw, rows, np.ones(rows.shape), None))
    assert ("opt-barrier" in look.lower(raw).as_text("hlo")) == (most == 0)
    target = look(raw)
    np.testing.assert_array_equal(target.features[..., 0], rows)
    np.testing.assert_array_equal(target.places.coords, domain.coords().reshape(24, 2)[rows])
