"""Colours of rays through a field of colour and density."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from functa_store.domains.scene import SceneVolume

_PARALLEL = 1e-9
"""Components of a direction nearer to 0 count as this: such a ray runs along the faces of the cube."""


class Samples(NamedTuple):
    """Where a ray is sampled inside the cube of a scene.

    Attributes:
        positions: (z, y, x) in [0, 1], as the base network takes them.
        distances: From the ray's origin, rising.
        lengths: Distance to the next sample, of the last one to the end of the ray, times the domain's `density_scale`;
            0 for a ray that misses the cube.
    """

    positions: Float[Array, "*rays samples 3"]
    distances: Float[Array, "*rays samples"]
    lengths: Float[Array, "*rays samples"]


class Rendered(NamedTuple):
    """What is seen along rays.

    Attributes:
        colour: Red, green and blue, in front of white.
        depth: Expected distance of what is hit: distances weighted by what each sample adds to the opacity. Together
            with the share of the ray that goes on behind them, the weights are 1.
        opacity: Share of the ray that is stopped, in [0, 1].
    """

    colour: Float[Array, "*rays 3"]
    depth: Float[Array, "*rays"]
    opacity: Float[Array, "*rays"]


def random_offsets(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Where in its bin each sample lies, uniform in [0, 1) (NeRF, Mildenhall et al. 2020, equation 2)."""
    return jax.random.uniform(key, shape)


def samples_along(
    origins: Float[Array, "*rays 3"],
    directions: Float[Array, "*rays 3"],
    domain: SceneVolume,
    offsets: Float[Array, "*rays samples"] | None = None,
) -> Samples:
    """One sample in each of equally long bins of the part of a ray that is inside the cube, between near and far.

    Args:
        origins: x, y, z in the world.
        directions: Unit vectors.
        domain: The cube, near, far and the number of samples.
        offsets: Where in its bin each sample lies, in [0, 1]; None means bin centres.
    """
    enter, leave = _inside(origins, directions, domain)
    offsets = jnp.full((*enter.shape, domain.num_samples), 0.5) if offsets is None else offsets
    bins = (jnp.arange(domain.num_samples) + offsets) / domain.num_samples
    distances = enter[..., None] + bins * (leave - enter)[..., None]
    points = origins[..., None, :] + directions[..., None, :] * distances[..., None]
    positions = jnp.clip(points[..., ::-1] / (2 * domain.bound) + 0.5, 0, 1)
    lengths = domain.density_scale * jnp.diff(distances, axis=-1, append=leave[..., None])
    return Samples(positions, distances, lengths)


def render(features: Float[Array, "*rays samples 4"], samples: Samples) -> Rendered:
    """Volume rendering in front of white (NeRF, Mildenhall et al. 2020, eq. 3).

    A sample stops the share alpha = 1 - exp(-density * length) of what reaches it.

    Args:
        features: Red, green, blue and density at the samples, in order.
        samples: Where they are.
    """
    thickness = features[..., 3] * samples.lengths
    before = jnp.cumsum(thickness, axis=-1) - thickness
    weights = jnp.exp(-before) * -jnp.expm1(-thickness)
    opacity = jnp.sum(weights, axis=-1)
    colour = jnp.sum(weights[..., None] * features[..., :3], axis=-2) + (1 - opacity)[..., None]
    return Rendered(colour, jnp.sum(weights * samples.distances, axis=-1), opacity)


def _inside(
    origins: Float[Array, "*rays 3"], directions: Float[Array, "*rays 3"], domain: SceneVolume
) -> tuple[Float[Array, "*rays"], Float[Array, "*rays"]]:
    """Distances at which rays enter and leave the cube, between near and far; equal for rays that miss it."""
    slope = jnp.where(jnp.abs(directions) < _PARALLEL, _PARALLEL, directions)
    low, high = ((side * domain.bound - origins) / slope for side in (-1, 1))
    enter = jnp.clip(jnp.max(jnp.minimum(low, high), axis=-1), domain.near, domain.far)
    return enter, jnp.clip(jnp.min(jnp.maximum(low, high), axis=-1), enter, domain.far)
