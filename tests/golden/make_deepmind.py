"""Write a pair of files as google-deepmind/functa publishes them: `python tests/golden/make_deepmind.py`.

Needs dm-haiku, ml_collections and dill. The network is theirs in names, order and arithmetic; its sizes are tiny.
"""

from pathlib import Path
from typing import Any

import dill
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from haiku._src.data_structures import FlatMapping
from ml_collections import ConfigDict

GOLDEN = Path(__file__).parent
PARAMS, MODULATIONS = GOLDEN / "celeba_params_4_latents.npz", GOLDEN / "celeba_modulations_4_latents.npz"
DECODED = GOLDEN / "celeba_decoded.npy"
SIZES = {"width": 8, "depth": 3, "latent_dim": 4, "num_channels": 3, "resolution": 8}
COUNTS = {"train": 3, "test": 2}


class MetaSGDLrs(hk.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        hk.get_parameter("meta_sgd_lrs", [size], init=hk.initializers.RandomUniform(-1.0, 3.0))


class LatentVector(hk.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.value = hk.get_parameter("latent_vector", [size], init=jnp.zeros)


class LatentToModulation(hk.Module):
    def __init__(self, num_shifts: int) -> None:
        super().__init__()
        self.mlp = hk.nets.MLP([num_shifts], w_init=hk.initializers.RandomNormal(0.1))

    def __call__(self, latent: jax.Array) -> jax.Array:
        return self.mlp(latent)


class ModulatedSirenLayer(hk.Module):
    def __call__(self, x: jax.Array, num_outputs: int, bound: float) -> jax.Array:
        uniform = hk.initializers.RandomUniform(-bound, bound)
        return hk.Linear(num_outputs, w_init=uniform, b_init=uniform)(x)


class LatentModulatedSiren(hk.Module):
    def __init__(self, width: int, depth: int, channels: int, latent_dim: int, w0: float) -> None:
        super().__init__()
        self.width, self.depth, self.channels, self.w0 = width, depth, channels, w0
        MetaSGDLrs(latent_dim)
        self.latent = LatentVector(latent_dim)
        self.to_shifts = LatentToModulation(width * (depth - 1))

    def __call__(self, coords: jax.Array) -> jax.Array:
        shifts = self.to_shifts(self.latent.value).reshape(self.depth - 1, self.width)
        x = coords.reshape(-1, coords.shape[-1])
        for i, shift in enumerate(shifts):
            bound = (6 / self.width) ** 0.5 / self.w0 if i else 1 / coords.shape[-1]
            x = jnp.sin(self.w0 * (ModulatedSirenLayer()(x, self.width, bound) + shift))
        return (ModulatedSirenLayer()(x, self.channels, 0.3) + 0.5).reshape(*coords.shape[:-1], self.channels)


def model(width: int, depth: int, latent_dim: int, num_channels: int, **_: int) -> hk.Transformed:
    """The network as a pair of functions of its parameters."""
    made = lambda coords: LatentModulatedSiren(width, depth, num_channels, latent_dim, 30.0)(coords)  # noqa: E731
    return hk.without_apply_rng(hk.transform(made))


def pixel_centres(resolution: int) -> jax.Array:
    """Coordinates (y, x) of an image's pixels, in [0, 1]."""
    along = jnp.linspace(0.5 / resolution, 1 - 0.5 / resolution, resolution)
    return jnp.stack(jnp.meshgrid(along, along, indexing="ij"), axis=-1)


def parameters(sizes: dict[str, int], seed: int = 0) -> dict[str, dict[str, jax.Array]]:
    """Initial parameters by module and name."""
    coords = jnp.zeros((1, 1, 3 if sizes["num_channels"] == 4 else 2))
    return {key: dict(value) for key, value in model(**sizes).init(jax.random.PRNGKey(seed), coords).items()}


def settings(sizes: dict[str, int]) -> dict[str, Any]:
    """Those of their experiment with other sizes."""
    return {
        "dataset": {
            "name": "celeb_a_hq_custom",
            "num_channels": sizes["num_channels"],
            "resolution": sizes["resolution"],
            "type": "image",
        },
        "opt_inner": {"lr": 1e-2},
        "opt_outer": {"lr": 3e-6},
        "model": {
            "type": "latent_modulated_siren",
            "w0": 30.0,
            "width": sizes["width"],
            "depth": sizes["depth"],
            "modulate_scale": False,
            "modulate_shift": True,
            "l2_weight": 0.0,
            "noise_std": 0.0,
            "latent_dim": sizes["latent_dim"],
            "layer_sizes": (),
            "latent_init_scale": 0.0,
            "use_meta_sgd": True,
            "meta_sgd_init_range": (0.005, 0.1),
            "meta_sgd_clip_range": (0.0, 1.0),
        },
        "training": {"per_device_batch_size": 16, "inner_steps": 3, "repeat": True, "coord_noise": False},
    }


def modulations(sizes: dict[str, int], seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Splits with modulations and the PSNR of their fits."""
    rng = np.random.default_rng(seed)
    return {
        split: {
            "modulation": rng.normal(size=(count, sizes["latent_dim"])).astype(np.float32),
            "psnr": np.array([jnp.float32(30 + row) for row in range(count)]),
        }
        for split, count in COUNTS.items()
    }


def forward(params: Any, sizes: dict[str, int], rows: np.ndarray, resolution: int) -> np.ndarray:
    """What Haiku makes of some modulations."""
    key, apply = next(key for key in params if key.endswith("latent_vector")), model(**sizes).apply
    centres = pixel_centres(resolution)
    decode = jax.jit(jax.vmap(lambda row: apply({**params, key: {"latent_vector": row}}, centres)))
    return np.asarray(decode(jnp.asarray(rows)))


def main() -> None:
    """Write the pair, and what Haiku decodes of it."""
    params, fitted = parameters(SIZES), modulations(SIZES)
    checkpoint = {"params": FlatMapping(params), "config": ConfigDict(settings(SIZES))}
    PARAMS.write_bytes(dill.dumps(checkpoint))
    MODULATIONS.write_bytes(dill.dumps(fitted))
    rows = np.concatenate([part["modulation"] for part in fitted.values()])
    np.save(DECODED, forward(params, SIZES, rows, SIZES["resolution"]))


if __name__ == "__main__":
    main()
