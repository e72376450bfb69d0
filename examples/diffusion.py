"""Denoising diffusion (DDPM) on modulations, in JAX: a residual MLP for vectors, a small DiT for grids of cells.

    python -m examples.diffusion                                              # handwritten digits
    python -m examples.diffusion --store faces.functa --out generated/faces   # any functaset

Learns on nine tenths of the split "train", writes samples as a functaset of the same base with a sheet of pictures, and
reports how well the nearest neighbour tells them from the reserved tenth and from held-out examples.

Ho et al. 2020 with the cosine schedule of Nichol and Dhariwal 2021, predicting the velocity of Salimans and Ho 2022;
blocks are those of Peebles and Xie 2023.
A tenth of what is learned chooses the step whose averaged weights are kept: small archives are learned by heart
otherwise.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import functa_store
from examples.generate import Generated, run
from functa_store.loaders import Loader, Normalization

NUM_NOISES = 250
"""Steps from a modulation to noise, and back."""

EMA_DECAY = 0.998
"""Weights are averaged over about as many steps as this is short of 1: 500."""

_STEPS = np.arange(NUM_NOISES + 1) / NUM_NOISES
_COSINES = np.cos((_STEPS + 0.008) / 1.008 * np.pi / 2) ** 2
_BETAS = np.minimum(1 - _COSINES[1:] / _COSINES[:-1], 0.999)
KEPT = np.concatenate([[1.0], np.cumprod(1 - _BETAS)]).astype(np.float32)
"""Share of a modulation's variance that is left after 0, 1, ... steps; the rest is noise."""


def time_features(step: jax.Array, size: int) -> jax.Array:
    """Sines and cosines of the number of steps, (batch, size)."""
    rates = jnp.exp(-math.log(NUM_NOISES) * jnp.arange(size // 2) / (size // 2))
    angles = step[:, None] * rates
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class Modulated(nnx.Module):
    """Layer norm whose scale and shift the time decides, and a gate that starts closed (adaLN-Zero)."""

    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.norm = nnx.LayerNorm(width, use_bias=False, use_scale=False, rngs=rngs)
        self.of_time = nnx.Linear(width, 3 * width, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, hidden: jax.Array, time: jax.Array, block: Any) -> jax.Array:
        """The residual step that a block makes."""
        scale, shift, gate = jnp.split(self.of_time(time), 3, axis=-1)
        return hidden + gate * block(self.norm(hidden) * (1 + scale) + shift)


def mlp(width: int, dropout: float, rngs: nnx.Rngs) -> nnx.Sequential:
    """Two layers, the inner one twice as wide."""
    inner, outer = nnx.Linear(width, 2 * width, rngs=rngs), nnx.Linear(2 * width, width, rngs=rngs)
    return nnx.Sequential(inner, nnx.gelu, nnx.Dropout(dropout, rngs=rngs), outer)


class Denoiser(nnx.Module):
    """Velocity of noisy modulations: residual blocks, which of a grid let the cells look at each other before.

    Args:
        shape: Of a modulation: (numbers,), or (*cells, channels).
        rngs: Random streams "params" of the initial weights and "dropout".
        width: Of the hidden layers, a multiple of 8, the heads of attention.
        depth: Number of blocks.
        dropout: Share of the numbers that are dropped in each block, in [0, 1).
    """

    def __init__(
        self, shape: Sequence[int], rngs: nnx.Rngs, *, width: int = 256, depth: int = 4, dropout: float = 0.1
    ) -> None:
        self.num_cells, self.width = math.prod(shape[:-1]), width
        self.enter = nnx.Linear(shape[-1], width, rngs=rngs)
        self.places = nnx.Param(0.02 * jax.random.normal(rngs.params(), (self.num_cells, width)))
        self.time = nnx.Sequential(nnx.Linear(width, width, rngs=rngs), nnx.silu, nnx.Linear(width, width, rngs=rngs))
        looks = depth if self.num_cells > 1 else 0
        self.looks = nnx.List(nnx.MultiHeadAttention(8, width, decode=False, rngs=rngs) for _ in range(looks))
        self.before_looks = nnx.List(Modulated(width, rngs) for _ in range(looks))
        self.blocks = nnx.List(mlp(width, dropout, rngs) for _ in range(depth))
        self.before_blocks = nnx.List(Modulated(width, rngs) for _ in range(depth))
        self.leave = nnx.Linear(width, shape[-1], kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, noisy: jax.Array, step: jax.Array) -> jax.Array:
        """Velocity of each, of the shape of what is noisy, (batch, *shape), after so many steps, (batch,)."""
        time = self.time(time_features(step, self.width))[:, None]
        hidden = self.enter(noisy.reshape(len(noisy), self.num_cells, -1)) + self.places[...]
        for number, block in enumerate(self.blocks):
            if self.looks:
                hidden = self.before_looks[number](hidden, time, self.looks[number])
            hidden = self.before_blocks[number](hidden, time, block)
        return self.leave(hidden).reshape(noisy.shape)


def loss_of(model: Denoiser, modulations: jax.Array, key: jax.Array) -> jax.Array:
    """Mean squared error of the velocity at random steps of the noise."""
    for_step, for_noise = jax.random.split(key)
    step = jax.random.randint(for_step, (len(modulations),), 1, NUM_NOISES + 1)
    noise = jax.random.normal(for_noise, modulations.shape)
    signal, noisiness = _shares(step, modulations.ndim)
    velocity = model(signal * modulations + noisiness * noise, step)
    return jnp.mean((velocity - (signal * noise - noisiness * modulations)) ** 2)


@nnx.jit
def train_step(
    model: Denoiser, optimizer: nnx.Optimizer, averages: Denoiser, modulations: jax.Array, key: jax.Array
) -> None:
    """One update of the weights, and of their running averages."""
    optimizer.update(model, nnx.grad(loss_of)(model, modulations, key))
    decay = jnp.minimum(EMA_DECAY, (1 + optimizer.step[...]) / (10 + optimizer.step[...]))
    old, new = nnx.state(averages, nnx.Param), nnx.state(model, nnx.Param)
    nnx.update(averages, jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, old, new))


def train(
    functaset: functa_store.Functaset,
    examples: np.ndarray,
    normalization: Normalization,
    *,
    num_steps: int = 6000,
    batch_size: int = 128,
    patience: int = 5,
    **sizes: Any,
) -> Denoiser:
    """Train a denoiser until a tenth of the examples, which it does not see, is denoised no better.

    Args:
        functaset: Where the examples are.
        examples: Their places.
        normalization: Of its modulations.
        num_steps: Updates at most.
        batch_size: Examples of an update, unless there are fewer.
        patience: So many times in a row, each after a twentieth of the updates, it may be no better.
        **sizes: Of the `Denoiser`.

    Returns:
        The averaged weights of the best step.
    """
    unseen, seen = np.split(np.random.default_rng(0).permutation(examples), [max(1, len(examples) // 10)])
    batches = Loader(
        functaset, min(batch_size, len(seen)), index=seen, drop_last=True, num_epochs=None, labels=(),
        normalize=normalization,
    )  # fmt: skip
    watched = jnp.asarray(normalization.apply(functaset.modulations[np.sort(unseen)]))
    watched = jnp.concatenate([watched] * max(1, 2000 // len(watched)))  # each at several steps of the noise

    model = Denoiser(functaset.config.network.modulation_shape, nnx.Rngs(0), **sizes)
    averages = nnx.clone(model)
    averages.eval()
    rates = optax.warmup_cosine_decay_schedule(0.0, 1e-3, num_steps // 20, num_steps)
    optimizer = nnx.Optimizer(model, optax.adamw(rates, weight_decay=1e-2), wrt=nnx.Param)
    watch, every = nnx.jit(loss_of), max(1, num_steps // 20)
    best, best_weights, worse = math.inf, nnx.state(averages, nnx.Param), 0
    for step, batch in zip(range(1, num_steps + 1), batches.to_jax(), strict=False):
        train_step(model, optimizer, averages, batch["modulations"], jax.random.fold_in(jax.random.key(0), step))
        if step % every == 0:
            found = float(watch(averages, watched, jax.random.key(1)))
            worse = 0 if found < best else worse + 1
            if found < best:
                best, best_weights = found, jax.tree.map(jnp.copy, nnx.state(averages, nnx.Param))
            if worse == patience:
                break
    nnx.update(averages, best_weights)
    return averages


@functools.partial(nnx.jit, static_argnames="shape")
def sample(model: Denoiser, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Ancestral sampling: from noise to normalised modulations, (examples, *shape of a modulation)."""

    def back(noisy: jax.Array, step: jax.Array) -> tuple[jax.Array, None]:
        signal, noisiness = _shares(step, 0)
        clean = signal * noisy - noisiness * model(noisy, jnp.full(shape[0], step))
        kept, before = jnp.asarray(KEPT)[step], jnp.asarray(KEPT)[step - 1]
        share = kept / before  # of the variance that this step keeps
        mean = jnp.sqrt(before) * (1 - share) * clean + jnp.sqrt(share) * (1 - before) * noisy
        spread = jnp.sqrt((1 - share) * (1 - before) / (1 - kept))
        fresh = jax.random.normal(jax.random.fold_in(key, step), shape)
        return mean / (1 - kept) + spread * fresh, None

    start = jax.random.normal(jax.random.fold_in(key, 0), shape)
    return jax.lax.scan(back, start, jnp.arange(NUM_NOISES, 0, -1))[0]


def _shares(step: jax.Array, num_axes: int) -> tuple[jax.Array, jax.Array]:
    """What modulation and noise are multiplied by after so many steps, with axes to broadcast."""
    kept = jnp.asarray(KEPT)[step].reshape(step.shape + (1,) * max(0, num_axes - 1))
    return jnp.sqrt(kept), jnp.sqrt(1 - kept)


def generate(
    functaset: functa_store.Functaset, examples: np.ndarray, normalization: Normalization, count: int, **options: Any
) -> Generated:
    """Train on some examples, and make a number of samples; options as for `train`."""
    model = train(functaset, examples, normalization, **options)
    shape = (count, *functaset.config.network.modulation_shape)
    return Generated(np.asarray(sample(model, jax.random.key(2), shape)))


if __name__ == "__main__":
    run(generate, "diffusion")
