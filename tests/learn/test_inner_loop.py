"""The inner loop, and the gradient through it, against the paper's equations in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from functa_store.config import NetworkConfig
from functa_store.learn.inner_loop import inner_loop
from functa_store.learn.losses import reconstruction_loss
from functa_store.learn.outer_loop import Learnable, loss_after_inner_loop
from functa_store.nets.siren import init_siren
from functa_store.nets.weights import to_weights
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


@pytest.fixture(params=NETWORKS, name="case")
def _case(request):
    return Case(NETWORKS[request.param])


def relative_error(ours, expected):
    return np.linalg.norm(np.asarray(ours) - expected) / np.linalg.norm(expected)


def test_the_gradient_is_the_one_derived_by_hand(case):
    phi = 0.05 * np.random.default_rng(0).normal(size=case.config.modulation_size).astype(np.float32)
    arguments = case.network, *map(jnp.asarray, (phi, case.coords[0], case.features[0]))
    ours = jax.grad(reconstruction_loss, argnums=1)(*arguments)
    expected = case.reference.gradient(phi.astype(np.float64), case.wide[0][0], case.wide[1][0])
    assert relative_error(ours, expected) < 1e-4


def test_the_hand_derived_gradient_agrees_with_finite_differences(case):
    """The reference is checked, too, or both could be wrong in the same way."""
    rng = np.random.default_rng(1)
    phi, direction = 0.05 * rng.normal(size=(2, case.config.modulation_size))
    x, y = case.wide[0][0], case.wide[1][0]
    ahead, behind = (case.reference.loss(phi + h * direction, x, y) for h in (1e-6, -1e-6))
    slope = case.reference.gradient(phi, x, y) @ direction
    assert abs((ahead - behind) / 2e-6 - slope) < 1e-6 * abs(slope) + 1e-9


def test_three_meta_sgd_steps_are_those_of_algorithm_1(case):
    views = jnp.asarray(case.coords[:STEPS]), jnp.asarray(case.features[:STEPS])
    ours = jax.jit(inner_loop)(case.network, jnp.asarray(case.rates), *views)
    expected = case.reference.inner_loop(case.rates, *(view[:STEPS] for view in case.wide))
    assert relative_error(ours, expected) < 1e-4


def test_the_outer_gradient_is_of_second_order(case):
    """Along a random direction of all weights and rates it equals a float64 difference quotient.

    Leaving out the derivative of the inner gradients changes this slope by far more than the tolerance.
    """
    graph, base = nnx.split(case.network)
    learnable = Learnable(base, jnp.asarray(case.rates))
    views = jnp.asarray(case.coords), jnp.asarray(case.features)
    gradient = jax.grad(loss_after_inner_loop)(learnable, graph, *views)
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
