"""Modulated SIREN: layers, modulations, heads, and its weights by name."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from functa_store.config import Head, MatmulPrecision, NetworkConfig
from functa_store.domains.domain import Domain, network_inputs
from functa_store.nets.cell_lookup import CellLookup
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
    (functa, sections 3.1 and 3.2). A spatial modulation has a phi for each cell of a grid; x are coordinates local to
    a cell then, and the numbers of all cells that a point is evaluated with are added by weights (Spatial Functa,
    section 3; see `CellLookup`). Weights start as in SIREN (Sitzmann et al. 2020, section 3.2): U(+-1/d_in) in the
    first layer, U(+-sqrt(6/d_in)/w0) in the others.

    Args:
        config: Width, depth, w0 and kind of modulation.
        num_inputs: Numbers that the network takes of a point.
        num_channels: Features at a point.
        closed: Whether each axis of the domain closes on itself, for spatial modulations; none do unless given.
        rngs: Random stream "params" for the initial weights.
    """

    def __init__(
        self,
        config: NetworkConfig,
        num_inputs: int,
        num_channels: int,
        closed: tuple[bool, ...] = (),
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.config = config
        self.lookup = CellLookup.of(config, closed)
        for layer in range(config.depth - 1):
            fan_in = config.width if layer else num_inputs
            bound = (6 / fan_in) ** 0.5 / config.w0 if layer else 1 / fan_in
            setattr(self, f"sine_{layer}", _linear(fan_in, config.width, bound, rngs))
        self.linear = _linear(config.width, num_channels, (6 / config.width) ** 0.5 / config.w0, rngs)
        if config.modulation_dim is not None:
            bound = (3 / config.map_inputs) ** 0.5  # unit variance of the sum
            self.map = _linear(config.map_inputs, config.num_shifts, bound, rngs)
            alike = jnp.broadcast_to(jnp.asarray(self.map.bias), config.bias_shape)  # in all cells, to begin with
            self.map.bias = nnx.Param(alike)

    def shifts(
        self, modulation: Float[Array, " modulation"], cells: Int[Array, "*cells"] | None = None
    ) -> Float[Array, "layers *cells width"]:
        """The shift of every unit of every sine layer.

        Args:
            modulation: All numbers of an example.
            cells: Of a spatial modulation, the cells whose shifts are wanted.
        """
        if cells is None:
            mapped = modulation if self.config.modulation_dim is None else self._linear("map", modulation)
        else:
            biased = cells if self.config.map_bias == "per_cell" else None
            mapped = self._linear("map", self._seen_by(modulation, cells), biased)
        layered = mapped.reshape(*mapped.shape[:-1], self.config.depth - 1, self.config.width)
        return jnp.moveaxis(layered, -2, 0)

    def _seen_by(self, modulation: Float[Array, " modulation"], cells: Int[Array, "*cells"]) -> Array:
        """What the map to the shifts of cells takes: their numbers, or those of all cells around each."""
        assert self.lookup is not None, "only a spatial modulation has cells"
        rows = modulation.reshape(-1, self.config.cell_size)
        if self.config.map_kernel == 1:
            return rows[cells]
        beyond = jnp.concatenate([rows, jnp.zeros_like(rows[:1])])
        return beyond[jnp.asarray(self.lookup.neighbours)[cells]].reshape(*cells.shape, -1)

    def lift(self, coords: Float[Array, "*points axes"]) -> Float[Array, "*points width"]:
        """The first layer before its shift; the same for every example on one grid."""
        return self._linear("sine_0", coords)

    def evaluate(
        self,
        shifts: Float[Array, "layers *shifted width"],
        lifted: Float[Array, "*points width"],
        precision: MatmulPrecision = "float32",
    ) -> Float[Array, "*points channels"]:
        """Features at lifted points.

        Args:
            shifts: Of every sine layer, from `shifts`; each point may have its own.
            lifted: The points, from `lift`.
            precision: Of the products between hidden layers; all others are float32.
        """
        return HEADS[self.config.head](self.numbers(shifts, lifted, precision))

    def numbers(self, shifts: Array, lifted: Array, precision: MatmulPrecision = "float32") -> Array:
        """The last layer's numbers at lifted points, before they become features; arguments as for `evaluate`."""
        hidden = sin(self.config.w0 * (lifted + shifts[0]))
        for layer, shift in enumerate(shifts[1:], start=1):
            sine = getattr(self, f"sine_{layer}")
            rows = product(hidden.reshape(-1, hidden.shape[-1]), sine.kernel[...], precision)
            hidden = sin(self.config.w0 * (rows.reshape(hidden.shape) + (sine.bias[...] + shift)))
        return self._linear("linear", hidden)

    def blend(
        self,
        numbers: Float[Array, "*points candidates channels"],
        weights: Float[Array, "*points candidates"],
    ) -> Float[Array, "*points channels"]:
        """Features of points from the numbers that each of their candidate cells gives."""
        return HEADS[self.config.head](jnp.sum(weights[..., None] * numbers, axis=-2))

    def _linear(self, name: str, rows: Array, cells: Array | None = None) -> Array:
        """A linear layer in float32, whatever the default of the device, and with the biases of named cells."""
        layer = getattr(self, name)
        bias: Array = layer.bias[...]
        if cells is not None:
            bias = bias.reshape(self.config.num_cells, -1)[cells]
        return jnp.matmul(rows, layer.kernel[...], precision="float32") + bias

    def __call__(
        self,
        modulation: Float[Array, " modulation"],
        inputs: Float[Array, "points inputs"],
        precision: MatmulPrecision = "float32",
    ) -> Float[Array, "points channels"]:
        """Features of one example.

        Args:
            modulation: The example's modulation.
            inputs: What the network takes of points; for a spatial modulation, positions in [0, 1] along each axis of
                its grid.
            precision: Of the products between hidden layers.

        Returns:
            Unclipped features at the points.
        """
        if self.lookup is None:
            return self.evaluate(self.shifts(modulation), self.lift(inputs), precision)
        located = self.lookup.locate(inputs)
        if self.lookup.num_cells > len(inputs):
            shifts = self.shifts(modulation, located.cells)
        else:
            shifts = self.shifts(modulation, jnp.arange(self.lookup.num_cells))[:, located.cells]
        return self.blend(self.numbers(shifts, self.lift(located.local), precision), located.weights)

    def each_its_own(
        self, modulations: Float[Array, "points modulation"], inputs: Float[Array, "points inputs"]
    ) -> Float[Array, "points channels"]:
        """Features of points, each of an example of its own; arguments and results as for a call."""
        if self.lookup is None:
            return self.evaluate(jnp.moveaxis(jax.vmap(self.shifts)(modulations), 0, 1), self.lift(inputs))
        located = self.lookup.locate(inputs)
        shifts = jnp.moveaxis(jax.vmap(self.shifts)(modulations, located.cells), 0, 1)
        return self.blend(self.numbers(shifts, self.lift(located.local)), located.weights)


def init_siren(
    config: NetworkConfig, num_inputs: int, num_channels: int, seed: int, closed: tuple[bool, ...] = ()
) -> ModulatedSiren:
    """A base network with the initial weights that a seed decides; other arguments as for `ModulatedSiren`."""
    return ModulatedSiren(config, num_inputs, num_channels, closed, rngs=nnx.Rngs(params=seed))


def _linear(fan_in: int, fan_out: int, bound: float, rngs: nnx.Rngs) -> nnx.Linear:
    def uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike, **_: object) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(fan_in, fan_out, kernel_init=uniform, rngs=rngs)


def structure(
    config: NetworkConfig, num_inputs: int, num_channels: int, closed: tuple[bool, ...] = ()
) -> tuple[nnx.GraphDef, nnx.State]:
    """Structure and array shapes of a base network, without computing weights; arguments as for `ModulatedSiren`."""
    return nnx.split(nnx.eval_shape(lambda: init_siren(config, num_inputs, num_channels, 0, closed)))


def to_weights(base: nnx.State) -> dict[str, Any]:
    """Base weights by name, such as "sine_0/kernel" (in, out) or "map/bias" (shifts)."""
    return flatten_dict(nnx.to_pure_dict(base), sep="/")


def network_of(
    config: NetworkConfig, domain: Domain, num_channels: int, weights: Mapping[str, jax.Array | np.ndarray]
) -> ModulatedSiren:
    """The base network of examples of a domain; other arguments as for `from_weights`."""
    return from_weights(config, network_inputs(domain, config), num_channels, weights, domain.closed)


def from_weights(
    config: NetworkConfig,
    num_inputs: int,
    num_channels: int,
    weights: Mapping[str, jax.Array | np.ndarray],
    closed: tuple[bool, ...] = (),
) -> ModulatedSiren:
    """The base network that `to_weights` named; traceable, so that weights may be differentiated.

    Args:
        config: The network.
        num_inputs: Numbers that the network takes of a point.
        num_channels: Features at a point.
        weights: Arrays by name; names that are no weights of the network are ignored.
        closed: Whether each axis of the domain closes on itself.
    """
    graph, state = structure(config, num_inputs, num_channels, closed)
    names = to_weights(state)
    nnx.replace_by_pure_dict(state, unflatten_dict({name: weights[name] for name in names}, sep="/"))
    return nnx.merge(graph, state)
