"""The inner loop, and the gradient through it, against the paper's equations in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from functa_store.config import NetworkConfig
from functa_store.learn.grid_observers import Points, at_points
from functa_store.learn.inner_loop import (
    Steps,
    Target,
    descend,
    descend_safely,
    error_and_gradient,
    extend,
    reconstruction_error,
)
from functa_store.learn.outer_loop import Learnable, loss_after_inner_loop
from functa_store.nets.siren import init_siren, to_weights
from tests.reference import ReferenceSiren

STEPS, POINTS = 3, 64
NETWORKS = {
    "latent": NetworkConfig(width=32, depth=5, w0=20.0, modulation_dim=16),
    "shift": NetworkConfig(width=32, depth=5, w0=20.0, modulation="shift", modulation_dim=None),
}


class Case:
    """A network and the views of one example, in both precisions."""

    def __init__(self, config):
        rng = np.random.default_rng(3)
        self.config, self.network = config, init_siren(config, 2, 3, seed=4)
        self.coords = rng.uniform(size=(STEPS + 1, POINTS, 2)).astype(np.float32)
        self.features = np.sin(5 * self.coords.sum(axis=-1, keepdims=True) + np.arange(3)).astype(np.float32)
        top = 0.2 if config.modulation == "latent" else 2e-3
        self.rates = rng.uniform(top / 2, top, size=(STEPS, config.modulation_size)).astype(np.float32)
        self.reference = ReferenceSiren.from_weights(config.w0, to_weights(nnx.state(self.network)))
        self.wide = self.coords.astype(np.float64), self.features.astype(np.float64)


@pytest.fixture(
    params=[pytest.param(name, marks=() if name == "latent" else pytest.mark.slow) for name in NETWORKS], name="case"
)
def _case(request):
    return Case(NETWORKS[request.param])


def target(coords, features, tiles=1):
    """Points with equal weights, cut into tiles; a leading axis of views stays."""
    shape = (*coords.shape[:-2], tiles, coords.shape[-2] // tiles)
    weights = np.full(shape, 1 / coords.shape[-2], np.float32)
    coords, features = (jnp.asarray(a.reshape(*shape, a.shape[-1])) for a in (coords, features))
    return Target(Points(coords), features, jnp.asarray(weights))


def relative_error(ours, expected):
    return np.linalg.norm(np.asarray(ours) - expected) / np.linalg.norm(expected)


@pytest.mark.slow
def test_the_gradient_is_the_one_derived_by_hand(case):
    phi = 0.05 * np.random.default_rng(0).normal(size=case.config.modulation_size).astype(np.float32)
    expected = case.reference.gradient(phi.astype(np.float64), case.wide[0][0], case.wide[1][0])
    for tiles in (1, 4):
        view = target(case.coords[0], case.features[0], tiles)
        error, ours = error_and_gradient(at_points, case.network, jnp.asarray(phi), view, "float32")
        assert relative_error(ours, expected) < 1e-4
        np.testing.assert_allclose(
            error, reconstruction_error(at_points, case.network, jnp.asarray(phi), view), rtol=1e-5
        )


@pytest.mark.parametrize("tiles", [1, 4])
def test_the_error_is_the_mean_over_points_and_channels(case, tiles):
    phi = 0.05 * np.random.default_rng(0).normal(size=case.config.modulation_size).astype(np.float32)
    view = target(case.coords[0], case.features[0], tiles)
    ours = reconstruction_error(at_points, case.network, jnp.asarray(phi), view)
    np.testing.assert_allclose(ours, case.reference.loss(phi.astype(np.float64), *(w[0] for w in case.wide)), rtol=1e-4)


def test_the_hand_derived_gradient_agrees_with_finite_differences(case):
    """The reference is checked, too, or both could be wrong in the same way."""
    rng = np.random.default_rng(1)
    phi, direction = 0.05 * rng.normal(size=(2, case.config.modulation_size))
    x, y = case.wide[0][0], case.wide[1][0]
    ahead, behind = (case.reference.loss(phi + h * direction, x, y) for h in (1e-6, -1e-6))
    slope = case.reference.gradient(phi, x, y) @ direction
    assert abs((ahead - behind) / 2e-6 - slope) < 1e-6 * abs(slope) + 1e-9


def test_three_meta_sgd_steps_are_those_of_algorithm_1(case):
    views = target(case.coords[:STEPS], case.features[:STEPS])

    def of_view(phi, step):
        return error_and_gradient(at_points, case.network, phi, jax.tree.map(lambda a: a[step], views), "float32")

    expected = case.reference.inner_loop(case.rates, *(view[:STEPS] for view in case.wide))
    rates = jnp.asarray(case.rates)
    assert relative_error(descend(lambda *at: of_view(*at)[1], rates), expected) < 1e-4
    first = of_view(jnp.zeros(case.config.modulation_size), 0)
    safely = descend_safely(of_view, Steps(rates, jnp.zeros_like(rates)), first)
    assert relative_error(safely, expected) < 1e-4


def test_momentum_takes_along_a_share_of_the_last_step():
    """On a parabola, by hand: phi = -0.1 (0 - 1) = 0.1, then 0.1 - 0.1 (0.1 - 1) + 0.5 * 0.1 = 0.24."""
    steps = Steps(jnp.full((2, 1), 0.1), jnp.array([[0.9], [0.5]]))
    np.testing.assert_allclose(descend_safely(parabola, steps, parabola(jnp.zeros(1), 0)), [0.24], rtol=1e-6)


def parabola(phi, _):
    """Error (phi - 1)^2 / 2 and its gradient."""
    return jnp.sum((phi - 1) ** 2) / 2, phi - 1


def test_a_step_that_diverges_is_taken_back_and_the_next_ones_are_shorter():
    """By hand, at rate 3: 0 -> 3, whose error 2 is four times that at 0: back to 0, then 0 - 1.5 (0 - 1) = 1.5,
    and 1.5 - 1.5 (1.5 - 1) = 0.75. Without going back it would be 3, -3, 9, -15."""
    fitted = []
    for count in (1, 2, 3, 4):
        steps = Steps(jnp.full((count, 1), 3.0), jnp.zeros((count, 1)))
        fitted.append(float(descend_safely(parabola, steps, parabola(jnp.zeros(1), 0))[0]))
    assert fitted == [3, 0, 1.5, 0.75]


def test_what_is_no_number_is_taken_back_too():
    def broken(phi, number):
        error, gradient = parabola(phi, number)
        return jnp.where(number == 1, jnp.nan, error), gradient

    steps = Steps(jnp.full((3, 1), 0.5), jnp.zeros((3, 1)))
    assert float(descend_safely(broken, steps, parabola(jnp.zeros(1), 0))[0]) == 0.25


def test_further_steps_repeat_the_last_learned_one():
    steps = extend(np.array([[1.0], [2.0], [3.0]], np.float32), 5)
    assert steps.rates.ravel().tolist() == [1, 2, 3, 3, 3]
    assert not steps.momenta.any()
    assert extend(steps.rates, 2).rates.ravel().tolist() == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [1, 4])
def test_the_outer_gradient_is_of_second_order(case, tiles):
    """Along a random direction of all weights and rates it equals a float64 difference quotient.

    Leaving out the derivative of the inner gradients changes this slope by far more than the tolerance.
    """
    graph, base = nnx.split(case.network)
    learnable = Learnable(base, jnp.asarray(case.rates))
    gradient = jax.grad(loss_after_inner_loop)(learnable, graph, at_points, target(case.coords, case.features, tiles))
    rng = np.random.default_rng(2)
    direction = {name: rng.normal(size=array.shape) for name, array in to_weights(base).items()}
    towards = rng.normal(size=case.rates.shape)
    slope = np.vdot(gradient.rates, towards)
    slope += sum(np.vdot(array, direction[name]) for name, array in to_weights(gradient.base).items())

    def loss(h):
        weights = {name: np.asarray(a, np.float64) + h * direction[name] for name, a in to_weights(base).items()}
        reference = ReferenceSiren.from_weights(case.config.w0, weights)
        coords, features = case.wide
        phi = reference.inner_loop(case.rates + h * towards, coords[:STEPS], features[:STEPS])
        return reference.loss(phi, coords[STEPS], features[STEPS])

    expected = (loss(1e-7) - loss(-1e-7)) / 2e-7
    assert abs(slope - expected) < 2e-4 * abs(expected)
