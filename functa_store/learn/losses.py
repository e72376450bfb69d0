"""What does a fit minimise?"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from functa_store.nets.siren import ModulatedSiren


def reconstruction_loss(
    base: ModulatedSiren,
    modulation: Float[Array, " modulation"],
    coords: Float[Array, "points axes"],
    features: Float[Array, "points channels"],
) -> Float[Array, ""]:
    """Mean squared error of one example over its points and channels, never over a batch."""
    return jnp.mean((base(modulation, coords) - features) ** 2)
