"""Plain programs of the published method, with which fit and outer step are compared.

Algorithm 1 of functa (Dupont, Kim et al., ICML 2022) with meta-SGD, on the whole grid in every step, in
jax.numpy alone, so that a fault of the library cannot hide in its own peer. Matrix products have JAX's
default precision, below float32 on some accelerators; `jax.default_matmul_precision` decides.

    (a) jitted_fit        a batch at once, compiled
    (b) eager_fit         one example after the other, op by op
    (c) reference_fit     the authors' own code, op by op, from a checkout that the user names
        plain_outer_step  the outer step, compiled

(a), (b) and the outer step take a grid of cells, too (Bauer et al. 2023, "Spatial Functa", section 3): a linear map
from each cell to its shifts, the nearest cell looked up for each point, coordinates local to it.
"""

import importlib
import math
import pathlib
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from functa_store.errors import FunctaStoreError

Weights = Mapping[str, Array]
"""Base weights by name, as `functa_store.nets.siren.to_weights` gives them, with a map to shifts."""

Grid = tuple[int, ...] | None
"""Cells along each axis of a modulation that is a grid; None for one that is a vector."""

Network = Callable[[Weights, float, Array, Array], Array]

BatchFit = Callable[[Weights, Array, Array, Array], tuple[Array, Array]]
ExampleFit = Callable[[Weights, float, Array, Array, Array], tuple[Array, Array]]
OuterStep = Callable[[dict[str, Any], optax.OptState, Array, Array], tuple[dict[str, Any], optax.OptState, Array]]

REFERENCE_URL = "https://github.com/google-deepmind/functa"
_REFERENCE_FILES = ("function_reps.py", "helpers.py", "minimal_nerf.py", "pytree_conversions.py")
_SIREN = "latent_modulated_siren"
_LATENT = f"{_SIREN}/~/latent_vector"


class PeerError(FunctaStoreError, RuntimeError):
    """The authors' code or a package that it needs is not there."""


def plain_features(
    weights: Weights, w0: float, modulation: Float[Array, " modulation"], coords: Float[Array, "points axes"]
) -> Float[Array, "points channels"]:
    """The published network: sin(w0 (h W + b + s)) in every sine layer, then a linear layer plus 0.5.

    Args:
        weights: Base weights by name.
        w0: Frequency of all sine layers.
        modulation: The example's latent modulation; a linear map turns it into the shifts s.
        coords: Points in [0, 1] along every axis.

    Returns:
        Unclipped features at the points.
    """
    shifts = modulation @ weights["map/kernel"] + weights["map/bias"]
    hidden = coords
    for layer, shift in enumerate(shifts.reshape(_num_sines(weights), -1)):
        hidden = jnp.sin(w0 * (hidden @ weights[f"sine_{layer}/kernel"] + weights[f"sine_{layer}/bias"] + shift))
    return hidden @ weights["linear/kernel"] + weights["linear/bias"] + 0.5


def spatial_features(
    weights: Weights, w0: float, modulation: Float[Array, "*cells numbers"], coords: Float[Array, "points axes"]
) -> Float[Array, "points channels"]:
    """The published network of a grid of modulations: mapped first, looked up by the nearest cell, local coordinates.

    Args:
        weights: Base weights by name.
        w0: Frequency of all sine layers.
        modulation: The example's grid; a linear map, a 1x1 convolution, turns each cell into the shifts of all layers.
        coords: Points in [0, 1) along every axis.

    Returns:
        Unclipped features at the points.
    """
    shifts = modulation @ weights["map/kernel"] + weights["map/bias"]
    places = coords * jnp.asarray(modulation.shape[:-1], coords.dtype)
    own = shifts[tuple(jnp.floor(places).astype(jnp.int32).T)]
    hidden = places % 1
    for layer, shift in enumerate(jnp.split(own, _num_sines(weights), axis=-1)):
        hidden = jnp.sin(w0 * (hidden @ weights[f"sine_{layer}/kernel"] + weights[f"sine_{layer}/bias"] + shift))
    return hidden @ weights["linear/kernel"] + weights["linear/bias"] + 0.5


def plain_fit(
    weights: Weights,
    w0: float,
    rates: Float[Array, "steps numbers"],
    coords: Float[Array, "points axes"],
    features: Float[Array, "points channels"],
    grid: Grid = None,
) -> tuple[Float[Array, " modulation"], Float[Array, ""]]:
    """Fit one example by a meta-SGD step per row of `rates`, from the zero modulation.

    Args:
        weights: Base weights by name.
        w0: Frequency of all sine layers.
        rates: Learning rate of every step and modulation dimension; of a grid, of every number of a cell. Each cell
            has its share of the points, which as many times the rate as there are cells make up for.
        coords: All points.
        features: The example's features there, in [0, 1].
        grid: Cells along each axis; None for a modulation that is a vector.

    Returns:
        The modulation, a grid in C order, and its mean squared error over points and channels.
    """
    network: Network = plain_features if grid is None else spatial_features

    def loss(modulation: Array) -> Array:
        return jnp.mean((network(weights, w0, modulation, coords) - features) ** 2)

    modulation = jnp.zeros((*(grid or ()), rates.shape[-1]), rates.dtype)
    for rate in rates:
        modulation = modulation - math.prod(grid or ()) * rate * jax.grad(loss)(modulation)
    return modulation.reshape(-1), loss(modulation)


def jitted_fit(w0: float, grid: Grid = None) -> BatchFit:
    """Peer (a): `plain_fit` of a whole batch, vmapped and compiled.

    Returns:
        A function (weights, rates, coords, features of (examples, points, channels)) -> (modulations of
        (examples, modulation), mean squared errors of (examples,)).
    """
    return jax.jit(_fit_of_batch(w0, grid))


def eager_fit(
    weights: Weights,
    w0: float,
    rates: Float[Array, "steps numbers"],
    coords: Float[Array, "points axes"],
    features: Float[Array, "examples points channels"],
    grid: Grid = None,
) -> tuple[Float[Array, "examples modulation"], Float[Array, " examples"]]:
    """Peer (b): `plain_fit` of one example after the other, op by op, as the authors' writer works."""
    fitted = [plain_fit(weights, w0, rates, coords, example, grid) for example in features]
    modulations, mses = zip(*fitted, strict=True)
    return jnp.stack(modulations), jnp.stack(mses)


def plain_outer_step(w0: float, optimizer: optax.GradientTransformation, grid: Grid = None) -> OuterStep:
    """The compiled outer step: one update through the inner loops of a batch, to second order.

    The authors' step then fits the batch once more, to log its PSNR; this one does not.

    Returns:
        A function (params, opt_state, coords, features of (examples, points, channels)) -> (params,
        opt_state, losses of (examples,) before the update). Params are {"base": weights, "rates": rates};
        opt_state starts as `optimizer.init(params)`.
    """
    fit = _fit_of_batch(w0, grid)

    def mean_loss(params: dict[str, Any], coords: Array, features: Array) -> tuple[Array, Array]:
        _, losses = fit(params["base"], params["rates"], coords, features)
        return jnp.mean(losses), losses

    def step(params: dict[str, Any], opt_state: optax.OptState, coords: Array, features: Array) -> tuple:
        (_, losses), gradient = jax.value_and_grad(mean_loss, has_aux=True)(params, coords, features)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, losses

    return jax.jit(step)


def reference_fit(checkout: pathlib.Path) -> ExampleFit:
    """Peer (c): the authors' `LatentModulatedSiren` and `helpers.inner_loop`, imported from a checkout.

    Their network, loss and coordinates (pixel centres in [0, 1]) are those of `plain_fit`, and the
    modulation starts at zero, as in their configuration. One thing differs: their meta-SGD has one row
    of rates for all steps. Ours, one row per step, go in as `inner_loop`'s own argument `opt_inner`,
    which it uses when a network holds no such rates; with equal rows the numbers are the same.

    Args:
        checkout: A clone of the repository, under any name; its code runs in this process.

    Returns:
        A function with the arguments and results of `plain_fit`.

    Raises:
        PeerError: If the checkout lacks a file or a package that its code imports is not installed.
    """
    haiku, helpers = _import_reference(checkout)

    def fit(weights: Weights, w0: float, rates: Array, coords: Array, features: Array) -> tuple[Array, Array]:
        def network(points: Array) -> Array:
            return helpers.function_reps.LatentModulatedSiren(
                width=weights["sine_0/kernel"].shape[1],
                depth=_num_sines(weights) + 1,  # theirs counts the linear layer
                out_channels=weights["linear/kernel"].shape[1],
                latent_dim=rates.shape[1],
                layer_sizes=(),
                w0=w0,
                modulate_scale=False,
            )(points)

        model = haiku.without_apply_rng(haiku.transform(network))
        optimizer = optax.scale_by_schedule(lambda step: -rates[step])
        params = _reference_params(weights, jnp.zeros(rates.shape[1], rates.dtype))
        fitted, mse, _ = helpers.inner_loop(params, model, optimizer, len(rates), coords, features)
        return fitted[_LATENT]["latent_vector"], mse

    return fit


def _fit_of_batch(w0: float, grid: Grid) -> BatchFit:
    def fit(weights: Weights, rates: Array, coords: Array, features: Array) -> tuple[Array, Array]:
        return jax.vmap(lambda example: plain_fit(weights, w0, rates, coords, example, grid))(features)

    return fit


def _num_sines(weights: Weights) -> int:
    return sum(name.startswith("sine_") and name.endswith("/kernel") for name in weights)


def _import_reference(checkout: pathlib.Path) -> tuple[Any, Any]:
    missing = [name for name in _REFERENCE_FILES if not (checkout / name).is_file()]
    if missing:
        raise PeerError(
            f"{checkout}: found no {', '.join(missing)}, expected a checkout of {REFERENCE_URL}. "
            f"Clone it (`git clone {REFERENCE_URL}`) and give the path of the clone."
        )
    for name in [name for name in sys.modules if name.partition(".")[0] == "functa"]:
        del sys.modules[name]  # of another checkout
    package = types.ModuleType("functa")  # the name under which its modules import each other
    package.__path__ = [str(checkout.resolve())]
    sys.modules["functa"] = package
    try:
        return importlib.import_module("haiku"), importlib.import_module("functa.helpers")
    except ModuleNotFoundError as error:
        raise PeerError(
            f"{checkout}: its code needs the package {error.name!r}, which is not installed here. "
            "Install what it imports: `pip install dm-haiku chex`."
        ) from error


def _reference_params(weights: Weights, modulation: Array) -> dict[str, dict[str, Array]]:
    layers = [*(f"sine_{layer}" for layer in range(_num_sines(weights))), "linear"]
    names = {ours: f"modulated_siren_layer{f'_{i}' if i else ''}/linear" for i, ours in enumerate(layers)}
    names["map"] = "~/latent_to_modulation/~/mlp/~/linear_0"
    params = {_LATENT: {"latent_vector": modulation}}
    for ours, theirs in names.items():
        params[f"{_SIREN}/{theirs}"] = {"w": weights[f"{ours}/kernel"], "b": weights[f"{ours}/bias"]}
    return params
