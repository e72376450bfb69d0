"""What do the numbers of the last layer mean?"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from functa_store.config import Head

HIGHEST_DENSITY = 10.0
DENSITY_ALPHA = 0.1


def linear(numbers: Float[Array, "*points channels"]) -> Float[Array, "*points channels"]:
    """Features about [0, 1]: the numbers, which start around zero, plus 0.5."""
    return numbers + 0.5


def radiance(numbers: Float[Array, "*points 4"]) -> Float[Array, "*points 4"]:
    """Red, green and blue about [0, 1], and the density elu(x, alpha 0.1) + 0.1, clipped to [0, 10] (functa, NeRF)."""
    colour, density = numbers[..., :3], numbers[..., 3:]
    density = jnp.clip(jax.nn.elu(density, DENSITY_ALPHA) + DENSITY_ALPHA, 0, HIGHEST_DENSITY)
    return jnp.concatenate([colour + 0.5, density], axis=-1)


HEADS: Mapping[Head, Callable[[Array], Array]] = {"linear": linear, "radiance": radiance}
