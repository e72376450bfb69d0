"""Scenes as the loops look at them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from functa_store.config import ConvertConfig, FitConfig, NetworkConfig
from functa_store.domains.scene import Lens, SceneVolume, camera_rays, orbit
from functa_store.learn.fit import Fit
from functa_store.learn.inner_loop import error_and_gradient, extend, reconstruction_error
from functa_store.learn.observers import observer_of
from functa_store.learn.ray_observer import RayObserver, Rays
from functa_store.learn.tiling import strided
from functa_store.nets.siren import init_siren
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Source

SIZE = 12
VOLUME = SceneVolume(
    resolution=(8, 8, 8),
    bound=0.5,
    views=4,
    held_out_views=1,
    image_size=(SIZE, SIZE),
    near=0.8,
    far=1.8,
    num_samples=8,
)
NETWORK = NetworkConfig(width=16, depth=3, w0=8.0, modulation_dim=8, head="radiance")
SPEC = FeatureSpec(channels=("red", "green", "blue", "density"), missing=True)
SPHERES = (((-0.2, 0.0, 0.0), 0.2, (0.9, 0.2, 0.1)), ((0.25, 0.1, 0.0), 0.15, (0.1, 0.3, 0.8)))


def two_spheres(num_views=5):
    """Rays around two spheres of one colour each, (views, height, width, 9)."""
    views = []
    for pose in orbit(num_views, 1.3, 20.0):
        origins, directions = camera_rays(pose, SIZE, SIZE, Lens(SIZE * 1.025))
        colour, nearest = np.ones_like(origins), np.full(origins.shape[:-1], np.inf)
        for centre, radius, paint in SPHERES:
            to_centre = np.array(centre) - origins
            along = np.sum(to_centre * directions, axis=-1)
            inside = radius**2 - np.sum(to_centre**2, axis=-1) + along**2
            hit = along - np.sqrt(np.maximum(inside, 0))
            closer = (inside > 0) & (hit < nearest)
            nearest, colour = np.where(closer, hit, nearest), np.where(closer[..., None], paint, colour)
        views.append(np.concatenate([origins, directions, colour], axis=-1).astype(np.float32))
    return np.stack(views)


RAW = two_spheres()
OBSERVER = RayObserver(VOLUME, SPEC)


def everything(observer=OBSERVER, raw=RAW, rows=None, key=None):
    rows = np.arange(4 * SIZE * SIZE) if rows is None else rows
    tiles = rows.reshape(4, -1)
    counts = np.full(tiles.shape, 1 / rows.size, np.float32)
    return observer.look(jnp.asarray(raw.reshape(-1, 9)), tiles, counts, key)


def test_a_scene_is_looked_at_along_rays():
    observer = observer_of(VOLUME, SPEC, NETWORK)
    assert isinstance(observer, RayObserver)
    assert observer.num_rows == 5 * SIZE * SIZE
    assert observer.step_shape == (4, SIZE, SIZE)
    assert observer.evaluations == 8
    assert observer.grid is None


@pytest.mark.slow
def test_the_outer_loss_sees_all_views_and_the_steps_of_an_example_the_same_few():
    views = []
    for seed in range(200):
        rows = np.asarray(OBSERVER.sample(jax.random.key(seed), 4, 256))
        assert rows.shape == (4, 256)
        assert ((rows >= 0) & (rows < OBSERVER.num_rows)).all()
        views.append([set(look) for look in rows // SIZE**2])
    inner = [len(set().union(*looks[:-1])) for looks in views]
    assert {len(looks[-1]) for looks in views} == {5}
    assert sorted(set(inner)) == [1, 2, 3, 4, 5]
    assert np.mean(np.array(inner) == 1) > 0.25


@pytest.mark.slow
def test_looks_have_rays_of_their_own():
    rows = np.asarray(OBSERVER.sample(jax.random.key(0), 3, 64)) % SIZE**2
    assert (rows[0] != rows[1]).any()
    assert (rows[1] != rows[2]).any()
    for look in rows:  # one in each of 64 equal parts of the image
        assert (np.abs(look - (np.arange(64) + 0.5) * SIZE**2 / 64) <= 2.5).all()


@pytest.mark.slow
def test_a_fit_sees_bin_centres_and_learning_random_ones():
    assert everything().places.offsets is None
    one, other = (everything(key=jax.random.key(seed)).places.offsets for seed in range(2))
    assert one.shape == (4, SIZE * SIZE, 8)
    assert (one != other).any()


@pytest.mark.slow
def test_another_view_stands_in_for_a_missing_one_and_all_count_the_same():
    """Of views 0 to 3, 1 and 2 are missing: the error and its gradient are those of 0 and 3 alone."""
    partly = RAW.copy()
    partly[1:3, ..., 6:] = np.nan
    base = init_siren(NETWORK, 3, 4, seed=0)
    zero = jnp.zeros(8)
    some = everything(raw=partly)
    present = everything(raw=RAW[[0, 3, 0, 3, 4]])
    assert not np.isnan(some.features).any()
    found = error_and_gradient(OBSERVER.predict, base, zero, some, "float32")
    wanted = error_and_gradient(OBSERVER.predict, base, zero, present, "float32")
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_three_views_in_the_place_of_four_count_the_same():
    partly = RAW.copy()
    partly[3, ..., 6:] = np.nan
    look = everything(raw=partly)
    instead = np.repeat([0, 1, 2, 0], SIZE * SIZE)
    np.testing.assert_array_equal(look.features.reshape(-1, 3), RAW[[0, 1, 2, 0]].reshape(-1, 9)[:, 6:])
    shares = np.bincount(instead, np.asarray(look.weights, np.float64).ravel())
    np.testing.assert_allclose(shares, 1 / 3, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("missing", [[1, 2, 3, 4], [0, 2], [4]])
def test_no_step_looks_at_a_missing_view(missing):
    """Neither in learning, however few views it takes, nor in a fit, whatever the phase of its stride."""
    partly = RAW.copy()
    partly[missing, ..., 6:] = np.nan
    raw = jnp.asarray(partly.reshape(-1, 9))
    for seed in range(20):
        for rows in OBSERVER.sample(jax.random.key(seed), 3, 64):
            look = OBSERVER.look(raw, rows[None], np.full((1, 64), 1 / 64, np.float32), jax.random.key(seed))
            assert not np.isnan(look.features).any()
            assert np.sum(look.weights) == pytest.approx(1, rel=1e-5)
    phases = OBSERVER.tiles(strided(OBSERVER.step_shape, 4, 64)[0], 1024)
    for points, weights in zip(*phases, strict=True):
        look = OBSERVER.look(raw, points, weights, None)
        assert not np.isnan(look.features).any()
        assert np.sum(look.weights) == pytest.approx(1, rel=1e-5)


class Scenes(Source):
    """One scene, as far as a fit asks."""

    def __init__(self, domain):
        self.domain, self.features = domain, dataclasses.replace(SPEC, metrics=("mse_held_out",))

    def read(self, index):
        raise NotImplementedError("the fit is given raw values")


def fitted(raw, domain=VOLUME, stride=2):
    """Modulation, error of the views for the fit, and error of those held out."""
    graph, base = nnx.split(init_siren(NETWORK, 3, 4, seed=0))
    config = ConvertConfig(network=NETWORK, fit=FitConfig(num_steps=3, stride=stride, tuning_steps=0))
    fit = Fit(graph, config, Scenes(domain))
    shared = fit.prepare(base, extend(np.full((3, 8), 0.1, np.float32), 3))
    modulations, mse, metrics = fit(shared, np.repeat(raw.reshape(1, -1, 9), jax.local_device_count(), axis=0))
    return np.asarray(modulations[0]), float(mse[0]), float(metrics[0, 0])


def error_of(modulation, views):
    """Mean squared error of whole views, one row after the other."""
    base = init_siren(NETWORK, 3, 4, seed=0)
    rays = jnp.asarray(views.reshape(-1, 9))
    seen = OBSERVER.predict(base, jnp.asarray(modulation), Rays(rays[:, :3], rays[:, 3:6]), "float32")
    return np.mean((np.asarray(seen, np.float64) - views.reshape(-1, 9)[:, 6:]) ** 2)


@pytest.mark.slow
def test_nothing_of_a_held_out_view_reaches_the_fit_and_only_held_out_views_measure_it():
    other = RAW.copy()
    other[4] = np.random.default_rng(0).permutation(other[4].reshape(-1, 9)).reshape(other[4].shape)
    other[4, ..., 6:] = 1 - other[4, ..., 6:]
    modulation, mse, held_out = fitted(RAW)
    modulation_2, mse_2, held_out_2 = fitted(other)
    assert np.abs(modulation).max() > 0
    np.testing.assert_array_equal(modulation, modulation_2)
    assert mse == mse_2
    assert mse == pytest.approx(error_of(modulation, RAW[:4]), rel=1e-4)
    assert held_out == pytest.approx(error_of(modulation, RAW[4:]), rel=1e-4)
    assert held_out_2 == pytest.approx(error_of(modulation, other[4:]), rel=1e-4)


@pytest.mark.slow
def test_a_scene_with_fewer_views_than_others_is_fitted_as_if_it_were_alone():
    padded = RAW.copy()
    padded[2:4, ..., 6:] = np.nan
    found = fitted(padded, stride=1)
    wanted = fitted(RAW[[0, 1, 4]], dataclasses.replace(VOLUME, views=2), stride=1)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4, atol=1e-6)
    assert found[1:] == pytest.approx(wanted[1:], rel=1e-4)


@pytest.mark.slow
def test_a_scene_without_held_out_views_has_no_error_on_them():
    gone = RAW.copy()
    gone[4, ..., 6:] = np.nan
    modulation, mse, held_out = fitted(gone)
    np.testing.assert_array_equal(modulation, fitted(RAW)[0])
    assert mse > 0
    assert np.isnan(held_out)


@pytest.mark.slow
def test_a_scene_of_which_every_view_is_missing_has_no_gradient():
    gone = RAW.copy()
    gone[..., 6:] = np.nan
    base = init_siren(NETWORK, 3, 4, seed=0)
    error, gradient = error_and_gradient(OBSERVER.predict, base, jnp.zeros(8), everything(raw=gone), "float32")
    assert error == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.slow
def test_the_gradient_is_that_of_the_error():
    base = init_siren(NETWORK, 3, 4, seed=0)
    target, step = everything(), 1e-2
    direction = np.random.default_rng(0).normal(size=8).astype(np.float32)

    def error(size):
        return reconstruction_error(OBSERVER.predict, base, jnp.asarray(size * direction), target)

    _, gradient = error_and_gradient(OBSERVER.predict, base, jnp.zeros(8), target, "float32")
    np.testing.assert_allclose(gradient @ direction, (error(step) - error(-step)) / (2 * step), rtol=0.05)


@pytest.mark.slow
def test_a_network_learns_to_show_two_spheres():
    """All its weights by Adam, on whole views."""
    graph, state = nnx.split(init_siren(NETWORK, 3, 4, seed=1))
    target, optimizer = everything(), optax.adam(5e-3)

    def error(state):
        base = nnx.merge(graph, state)
        return reconstruction_error(OBSERVER.predict, base, jnp.zeros(8), target)

    @jax.jit
    def step(state, moments):
        loss, gradient = jax.value_and_grad(error)(state)
        updates, moments = optimizer.update(gradient, moments)
        return loss, optax.apply_updates(state, updates), moments

    moments, losses = optimizer.init(state), []
    for _ in range(150):
        loss, state, moments = step(state, moments)
        losses.append(float(loss))
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.slow
def test_it_can_be_learned_through():
    """Second derivatives through rendering are finite."""
    base = init_siren(NETWORK, 3, 4, seed=0)
    target = everything(key=jax.random.key(0))

    def after_a_step(scale):
        _, gradient = error_and_gradient(OBSERVER.predict, base, scale * jnp.ones(8), target, "float32")
        return reconstruction_error(OBSERVER.predict, base, -0.1 * gradient, target)

    assert np.isfinite(jax.grad(after_a_step)(0.1))
    assert jax.grad(after_a_step)(0.1) != pytest.approx(0, abs=1e-12)
