"""Volume rendering against a plain reference in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from functa_store.domains.scene import SceneVolume
from functa_store.nets.volume_rendering import (
    Samples,
    random_offsets,
    render,
    samples_along,
)

VOLUME = SceneVolume(
    resolution=(8, 8, 8), bound=0.5, views=1, held_out_views=0, image_size=(4, 4), near=0.8, far=1.8, num_samples=16
)


def rays_at_random(count=50, seed=0):
    rng = np.random.default_rng(seed)
    origins = rng.normal(size=(count, 3))
    origins *= 1.3 / np.linalg.norm(origins, axis=-1, keepdims=True)
    directions = rng.uniform(-0.45, 0.45, (count, 3)) - origins
    return origins.astype(np.float32), (directions / np.linalg.norm(directions, axis=-1, keepdims=True)).astype(
        np.float32
    )


def rendered_by_hand(features, distances, lengths):
    """NeRF, equation 3, one sample after the other."""
    colour, depth, through = np.zeros(3), 0.0, 1.0
    for (*rgb, density), distance, length in zip(features.astype(np.float64), distances, lengths, strict=True):
        alpha = 1 - np.exp(-density * float(length))
        colour += through * alpha * np.array(rgb)
        depth += through * alpha * float(distance)
        through *= 1 - alpha
    return colour + through, depth, 1 - through


@pytest.mark.slow
def test_rendering_is_that_of_nerf_in_front_of_white():
    rng = np.random.default_rng(0)
    samples = samples_along(*map(jnp.asarray, rays_at_random()), VOLUME)
    features = np.concatenate([rng.random((50, 16, 3)), rng.uniform(0, 10, (50, 16, 1))], axis=-1).astype(np.float32)
    found = render(jnp.asarray(features), samples)
    for ray in range(50):
        colour, depth, opacity = rendered_by_hand(features[ray], samples.distances[ray], samples.lengths[ray])
        np.testing.assert_allclose(found.colour[ray], colour, atol=2e-6)
        np.testing.assert_allclose(found.depth[ray], depth, atol=3e-6)
        np.testing.assert_allclose(found.opacity[ray], opacity, atol=2e-6)


def test_nothing_is_white_and_something_dense_hides_what_is_behind():
    samples = Samples(jnp.zeros((2, 3)), jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0]))
    empty = render(jnp.array([[0.2, 0.2, 0.2, 0.0]] * 2), samples)
    np.testing.assert_array_equal(empty.colour, 1)
    assert empty.opacity == 0
    full = render(jnp.array([[0.2, 0.4, 0.6, 1e3], [1.0, 0.0, 0.0, 10.0]]), samples)
    np.testing.assert_allclose(full.colour, [0.2, 0.4, 0.6], rtol=1e-6)
    np.testing.assert_allclose([full.depth, full.opacity], 1.0)


def test_samples_are_the_centres_of_equal_bins_inside_the_cube():
    """Straight through the middle: from 0.8 to 1.8."""
    samples = samples_along(jnp.array([0.0, 0.0, 1.3]), jnp.array([0.0, 0.0, -1.0]), VOLUME)
    np.testing.assert_allclose(samples.distances, 0.8 + (np.arange(16) + 0.5) / 16, rtol=1e-6)
    np.testing.assert_allclose(samples.positions[:, 1:], 0.5)
    np.testing.assert_allclose(samples.positions[:, 0], 1 - (np.arange(16) + 0.5) / 16, atol=1e-6)
    lengths = VOLUME.density_scale * np.array([1 / 16] * 15 + [1 / 32])
    np.testing.assert_allclose(samples.lengths, lengths, rtol=1e-5)


def test_positions_are_z_y_x_of_the_point_in_the_world():
    origins, directions = rays_at_random()
    samples = samples_along(jnp.asarray(origins), jnp.asarray(directions), VOLUME)
    points = origins[:, None] + directions[:, None] * np.asarray(samples.distances)[..., None]
    np.testing.assert_allclose(samples.positions, points[..., ::-1] + 0.5, atol=1e-6)
    assert (np.abs(points) <= 0.5 + 1e-6).all()
    assert (np.asarray(samples.lengths) > 0).all()


@pytest.mark.parametrize("direction", [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
def test_a_ray_that_misses_the_cube_is_white(direction):
    samples = samples_along(jnp.array([0.0, 0.0, 1.3]), jnp.array(direction), VOLUME)
    np.testing.assert_array_equal(samples.lengths, 0)
    seen = render(jnp.full((16, 4), 0.5).at[:, 3].set(10.0), samples)
    np.testing.assert_array_equal(seen.colour, 1)


def test_a_density_stops_more_of_a_ray_in_a_domain_that_scales_it():
    """A constant density d along a length L lets exp(-scale d L) pass, less half a bin at the front."""
    domain = dataclasses.replace(VOLUME, density_scale=3.0)
    samples = samples_along(jnp.array([0.0, 0.0, 1.3]), jnp.array([0.0, 0.0, -1.0]), domain)
    seen = render(jnp.full((16, 4), 0.5), samples)
    np.testing.assert_allclose(1 - seen.opacity, np.exp(-3.0 * 0.5 * (1 - 1 / 32)), rtol=1e-5)


@pytest.mark.slow
def test_random_samples_stay_each_in_its_bin_and_are_uniform_there():
    origins, directions = (jnp.asarray(np.repeat(rays, 200, axis=0)) for rays in rays_at_random(5))
    offsets = random_offsets(jax.random.key(0), (1000, 16))
    middle = samples_along(origins, directions, VOLUME)
    samples = samples_along(origins, directions, VOLUME, offsets)
    width = np.asarray(middle.distances[:, 1] - middle.distances[:, 0])[:, None]
    inside = np.asarray(samples.distances - middle.distances) / width
    assert (np.abs(inside) <= 0.5 + 1e-3).all()
    assert abs(inside.mean()) < 0.01
    assert abs(inside.var() - 1 / 12) < 0.005


@pytest.mark.slow
def test_gradients_are_finite_for_rays_along_the_faces_and_past_the_cube():
    def loss(density, origins, directions):
        samples = samples_along(origins, directions, VOLUME)
        features = jnp.broadcast_to(jnp.array([0.5, 0.5, 0.5, 0.0]).at[3].set(density), (2, 16, 4))
        return jnp.sum(render(features, samples).colour)

    origins = jnp.array([[0.5, 0.0, 1.3], [0.0, 0.0, 1.3]])
    directions = jnp.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    assert np.isfinite(jax.grad(loss)(1.0, origins, directions))
