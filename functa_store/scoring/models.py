"""Classifiers of a score: a multilayer perceptron of vectors and a small convolutional network of grids."""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

MLP_WIDTH, MLP_LAYERS = 225, 4
"""Chosen for the 212k parameters of the middle MLP in Table 2 of the functa paper (Dupont et al. 2022):
212,635 of vectors with 256 numbers and 10 classes."""

CNN_WIDTHS = (32, 64, 128)
KERNEL = 3
FEW_POINTS = 256
"""Grids of at most so many points keep their resolution in the first convolution."""

GROUPS = 8
DROPOUT = 0.2


class MLP(nnx.Module):
    """Layers of equal width with SiLU and dropout, then one for the logits.

    Args:
        num_inputs: Numbers of an input.
        num_classes: Numbers of an output.
        rngs: Random stream "params" for the initial weights.
    """

    def __init__(self, num_inputs: int, num_classes: int, rngs: nnx.Rngs) -> None:
        sizes = (num_inputs, *[MLP_WIDTH] * MLP_LAYERS)
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(sizes)])
        self.logits = nnx.Linear(MLP_WIDTH, num_classes, rngs=rngs)
        self.dropout = nnx.Dropout(DROPOUT)

    def __call__(self, vectors: Float[Array, "batch numbers"], key: Key[Array, ""] | None) -> Float[Array, "batch k"]:
        """Logits of each class; with a key, numbers are dropped at random, as in training."""
        for number, layer in enumerate(self.layers):
            vectors = jax.nn.silu(layer(vectors))
            dropped = None if key is None else jax.random.fold_in(key, number)
            vectors = self.dropout(vectors, deterministic=key is None, rngs=dropped)
        return self.logits(vectors)


class CNN(nnx.Module):
    """Three convolutions with strides of 2, each with normalisation by groups of channels and SiLU, and a mean.

    Args:
        resolution: Points of an input along each of its axes, one to three.
        num_channels: Channels of an input.
        num_classes: Numbers of an output.
        rngs: Random stream "params" for the initial weights.
    """

    def __init__(self, resolution: tuple[int, ...], num_channels: int, num_classes: int, rngs: nnx.Rngs) -> None:
        sizes, axes = (num_channels, *CNN_WIDTHS), len(resolution)
        first = 1 if math.prod(resolution) <= FEW_POINTS else 2
        strides = (first, *[2] * (len(CNN_WIDTHS) - 1))
        self.convolutions = nnx.List(
            nnx.Conv(a, b, [KERNEL] * axes, strides=stride, rngs=rngs)
            for (a, b), stride in zip(itertools.pairwise(sizes), strides, strict=True)
        )
        self.norms = nnx.List(nnx.GroupNorm(width, GROUPS, rngs=rngs) for width in CNN_WIDTHS)
        self.dropout = nnx.Dropout(DROPOUT)
        self.logits = nnx.Linear(CNN_WIDTHS[-1], num_classes, rngs=rngs)

    def __call__(self, grids: Float[Array, "batch ..."], key: Key[Array, ""] | None) -> Float[Array, "batch k"]:
        """Logits of each class; with a key, numbers are dropped at random, as in training."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            grids = jax.nn.silu(norm(convolution(grids)))
        means = jnp.mean(grids, axis=tuple(range(1, grids.ndim - 1)))
        return self.logits(self.dropout(means, deterministic=key is None, rngs=key))


Classifier = MLP | CNN
