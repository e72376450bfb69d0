"""What does every example's first gradient have in common?

At the zero modulation the base network is the same function f for all examples, and so is its Jacobian J.
The gradient of the mean squared error there is 2/N J^T (f - features): an affine map of the features. Once
J is known, the first inner step of any example is a product with it: for a latent modulation less than a
hundredth of the arithmetic of a pass through the network.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from functa_store.config import MatmulPrecision
from functa_store.learn.parallel import copies
from functa_store.learn.views import View
from functa_store.nets.siren import ModulatedSiren

MOST_BYTES = 2**28
"""Size of the map, on all CPU cores together or on an accelerator, above which it is not kept, but the first
gradient of each example computed."""


class Projection(NamedTuple):
    """The gradient at the zero modulation, as a map of features.

    Attributes:
        start: The base network's features at the zero modulation, at all points of the grid.
        matrix: Gradient per unit of difference from them.
    """

    start: Float32[Array, "points channels"]
    matrix: Float32[Array, "points channels modulation"]

    def __call__(
        self, features: Float[Array, "examples points channels"], weights: Float[Array, "examples points"] | None
    ) -> tuple[Float[Array, " examples"], Float[Array, "examples modulation"]]:
        """Squared error of every example over the grid, by its weights, and its gradient, at the zero modulation.

        Args:
            features: Of each example; not a number where they are missing.
            weights: What the error at each point counts; None for 1 together, all alike.
        """
        difference = self.start - features
        shares = jnp.ones((), difference.dtype)
        if weights is not None:
            difference = jnp.where(jnp.isnan(features), 0, difference)
            shares = (weights * weights.shape[-1])[..., None]
        error = jnp.mean(shares * difference**2, axis=(1, 2))
        weighted = (shares * difference).reshape(len(features), -1)
        return error, jnp.matmul(weighted, self.matrix.reshape(weighted.shape[-1], -1), precision="float32")


def is_small(num_points: int, num_channels: int, modulation_size: int) -> bool:
    """Whether the map is small enough to keep."""
    return copies() * 4 * num_points * num_channels * modulation_size <= MOST_BYTES


def project(
    base: ModulatedSiren, coords: Float[Array, "points axes"], view: View, precision: MatmulPrecision
) -> Projection:
    """The projection of a base network, tile by tile; costs about as much as fitting ten examples.

    Args:
        base: The base network.
        coords: All points of the grid.
        view: The same points in tiles.
        precision: Of the products between hidden layers.
    """
    zero = jnp.zeros(base.config.modulation_size, coords.dtype)
    shifts, pull_back = jax.vjp(base.shifts, zero)
    num_channels = base.linear.kernel[...].shape[-1]

    def tile(_, index):
        lifted = base.lift(coords[index])
        # Shifts of its own for every point make one backward pass per channel give all rows of the Jacobian.
        own = jnp.broadcast_to(shifts[:, None], (len(shifts), len(index), shifts.shape[-1]))
        features, pull_to_shifts = jax.vjp(lambda s: base.evaluate(s, lifted, precision), own)

        def gradient_of_channel(unit):
            slopes = pull_to_shifts(jnp.broadcast_to(unit, features.shape))[0]
            return jax.vmap(lambda s: pull_back(s)[0], in_axes=1)(slopes)

        return None, (features, jax.vmap(gradient_of_channel, out_axes=1)(jnp.eye(num_channels)))

    _, (features, jacobian) = jax.lax.scan(tile, None, jnp.asarray(view.points))
    num_points = len(coords)
    features, jacobian = (a.reshape(-1, *a.shape[2:])[:num_points] for a in (features, jacobian))
    return Projection(features, 2 / (num_points * num_channels) * jacobian)
