"""Modulated SIREN: layers, modulations, heads, and its weights by name."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from functa_store.config import Head, MatmulPrecision, NetworkConfig
from functa_store.nets.fast_math import product, sin

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


class ModulatedSiren(nnx.Module):
    """A SIREN shared by a whole functaset, shifted in every sine layer by an example's modulation.

    Sine layers compute sin(w0 (W x + b + s)); the last layer is linear, and its numbers become features as
    `config.head` says. The shifts of all layers are s = W' phi + b' for a latent modulation phi, or phi itself
    (functa, sections 3.1 and 3.2). Weights start as in SIREN (Sitzmann et al. 2020, section 3.2):
    U(+-1/d_in) in the first layer, U(+-sqrt(6/d_in)/w0) in the others.

    Args:
        config: Width, depth, w0 and kind of modulation.
        num_inputs: Numbers that the network takes of a point.
        num_channels: Features at a point.
        rngs: Random stream "params" for the initial weights.
    """

    def __init__(self, config: NetworkConfig, num_inputs: int, num_channels: int, *, rngs: nnx.Rngs) -> None:
        self.config = config
        for layer in range(config.depth - 1):
            fan_in = config.width if layer else num_inputs
            bound = (6 / fan_in) ** 0.5 / config.w0 if layer else 1 / fan_in
            setattr(self, f"sine_{layer}", _linear(fan_in, config.width, bound, rngs))
        self.linear = _linear(config.width, num_channels, (6 / config.width) ** 0.5 / config.w0, rngs)
        if config.modulation_dim is not None:
            bound = (3 / config.modulation_dim) ** 0.5  # unit variance of the sum
            self.map = _linear(config.modulation_dim, config.num_shifts, bound, rngs)

    def shifts(self, modulation: Float[Array, " modulation"]) -> Float[Array, "layers width"]:
        """The shift of every unit of every sine layer."""
        shifts = modulation if self.config.modulation_dim is None else self._linear("map", modulation)
        return shifts.reshape(self.config.depth - 1, self.config.width)

    def lift(self, coords: Float[Array, "points axes"]) -> Float[Array, "points width"]:
        """The first layer before its shift; the same for every example on one grid."""
        return self._linear("sine_0", coords)

    def evaluate(
        self,
        shifts: Float[Array, "layers *points width"],
        lifted: Float[Array, "points width"],
        precision: MatmulPrecision = "float32",
    ) -> Float[Array, "points channels"]:
        """Features at lifted points.

        Args:
            shifts: Of every sine layer, from `shifts`; each point may have its own.
            lifted: The points, from `lift`.
            precision: Of the products between hidden layers; all others are float32.
        """
        hidden = sin(self.config.w0 * (lifted + shifts[0]))
        for layer, shift in enumerate(shifts[1:], start=1):
            sine = getattr(self, f"sine_{layer}")
            hidden = product(hidden, sine.kernel[...], precision) + (sine.bias[...] + shift)
            hidden = sin(self.config.w0 * hidden)
        return HEADS[self.config.head](self._linear("linear", hidden))

    def _linear(self, name: str, rows: Array) -> Array:
        """A linear layer in float32, whatever the default of the device."""
        layer = getattr(self, name)
        return jnp.matmul(rows, layer.kernel[...], precision="float32") + layer.bias[...]

    def __call__(
        self, modulation: Float[Array, " modulation"], coords: Float[Array, "points axes"]
    ) -> Float[Array, "points channels"]:
        """Features of one example.

        Args:
            modulation: The example's modulation.
            coords: Points in [0, 1] along every axis.

        Returns:
            Unclipped features at the points.
        """
        return self.evaluate(self.shifts(modulation), self.lift(coords))


def init_siren(config: NetworkConfig, num_inputs: int, num_channels: int, seed: int) -> ModulatedSiren:
    """A base network with the initial weights that a seed decides."""
    return ModulatedSiren(config, num_inputs, num_channels, rngs=nnx.Rngs(params=seed))


def _linear(fan_in: int, fan_out: int, bound: float, rngs: nnx.Rngs) -> nnx.Linear:
    def uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike, **_: object) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(fan_in, fan_out, kernel_init=uniform, rngs=rngs)


def structure(config: NetworkConfig, num_inputs: int, num_channels: int) -> tuple[nnx.GraphDef, nnx.State]:
    """Structure and array shapes of a base network, without computing weights."""
    return nnx.split(nnx.eval_shape(lambda: init_siren(config, num_inputs, num_channels, seed=0)))


def to_weights(base: nnx.State) -> dict[str, Any]:
    """Base weights by name, such as "sine_0/kernel" (in, out) or "map/bias" (shifts)."""
    return flatten_dict(nnx.to_pure_dict(base), sep="/")


def from_weights(
    config: NetworkConfig, num_inputs: int, num_channels: int, weights: Mapping[str, jax.Array | np.ndarray]
) -> ModulatedSiren:
    """The base network that `to_weights` named; traceable, so that weights may be differentiated.

    Args:
        config: The network.
        num_inputs: Numbers that the network takes of a point.
        num_channels: Features at a point.
        weights: Arrays by name; names that are no weights of the network are ignored.
    """
    graph, state = structure(config, num_inputs, num_channels)
    names = to_weights(state)
    nnx.replace_by_pure_dict(state, unflatten_dict({name: weights[name] for name in names}, sep="/"))
    return nnx.merge(graph, state)
