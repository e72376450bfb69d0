"""Classifiers on modulations, trained in JAX: MLPs, and a transformer or convolutions for grids of cells.

    python -m examples.classify_jax                                       # handwritten digits, converted on the spot
    python -m examples.classify_jax --store faces.functa --label Smiling  # any functaset with a label of classes
    python -m examples.classify_jax --store cells.functa --label class --model convolutions --seeds 5

Learns on the split "train" and reports the share of held-out examples that it classifies right, beside logistic
regression on the same modulations and the most frequent class.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from examples.command import (
    BLOCKS,
    GRID_MODELS,
    HEADS,
    MLP_LAYERS,
    MLP_WIDTHS,
    RESIDUALS,
    WIDTH,
    Options,
    Task,
    run,
)
from functa_store.loaders import Loader, Normalization


class MLP(nnx.Module):
    """Layers of equal width with SiLU and dropout, then logits."""

    def __init__(self, num_inputs: int, width: int, num_classes: int, dropout: float, rngs: nnx.Rngs) -> None:
        sizes = (num_inputs, *[width] * MLP_LAYERS)
        self.layers = nnx.List(nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(sizes))
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.logits = nnx.Linear(width, num_classes, rngs=rngs)

    def __call__(self, modulations: jax.Array) -> jax.Array:
        """Logits of each class; modulations are (batch, numbers)."""
        for layer in self.layers:
            modulations = self.dropout(nnx.silu(layer(modulations)))
        return self.logits(modulations)


class Block(nnx.Module):
    """Attention among cells, then two layers on each; either is added to what it sees normalised."""

    def __init__(self, dropout: float, rngs: nnx.Rngs) -> None:
        self.norms = nnx.List(nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(2))
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.wide, self.narrow = nnx.Linear(WIDTH, 2 * WIDTH, rngs=rngs), nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def __call__(self, cells: jax.Array) -> jax.Array:
        """The same shape, (batch, cells, width)."""
        cells += self.dropout(self.attention(self.norms[0](cells)))
        return cells + self.dropout(self.narrow(nnx.gelu(self.wide(self.norms[1](cells)))))


class Transformer(nnx.Module):
    """Cells with learned embeddings of their places, blocks, the mean over cells, then logits."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, dropout: float, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Linear(shape[-1], WIDTH, rngs=rngs)
        self.places = nnx.Param(0.02 * jax.random.normal(rngs.params(), (math.prod(shape[:-1]), WIDTH)))
        self.blocks = nnx.List(Block(dropout, rngs) for _ in range(BLOCKS))
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.logits = nnx.Linear(WIDTH, num_classes, rngs=rngs)

    def __call__(self, modulations: jax.Array) -> jax.Array:
        """Logits of each class; modulations are (batch, *cells, channel)."""
        cells = self.embedding(modulations.reshape(len(modulations), -1, modulations.shape[-1])) + self.places[...]
        for block in self.blocks:
            cells = block(cells)
        return self.logits(self.norm(cells).mean(axis=1))


class Residual(nnx.Module):
    """Two convolutions of 3 cells an axis, either after batch normalisation and SiLU, added to what they see."""

    def __init__(self, width: int, out: int, axes: int, stride: int, dropout: float, rngs: nnx.Rngs) -> None:
        self.norms = nnx.List(nnx.BatchNorm(channels, momentum=0.9, rngs=rngs) for channels in (width, out))
        self.first = nnx.Conv(width, out, [3] * axes, strides=stride, rngs=rngs)
        self.second = nnx.Conv(out, out, [3] * axes, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.skip = None if width == out else nnx.Conv(width, out, [1] * axes, strides=stride, rngs=rngs)

    def __call__(self, cells: jax.Array) -> jax.Array:
        """(batch, *cells, channel), with a stride fewer cells."""
        found = self.second(self.dropout(nnx.silu(self.norms[1](self.first(nnx.silu(self.norms[0](cells)))))))
        return found + (cells if self.skip is None else self.skip(cells))


class Convolutions(nnx.Module):
    """Residual blocks, half of them on every second cell with twice the channels, the mean over cells, then logits."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, dropout: float, rngs: nnx.Rngs) -> None:
        axes = len(shape) - 1
        self.stem = nnx.Conv(shape[-1], WIDTH, [3] * axes, rngs=rngs)
        self.blocks = nnx.List(Residual(a, b, axes, stride, dropout, rngs) for a, b, stride in RESIDUALS)
        self.norm = nnx.BatchNorm(2 * WIDTH, momentum=0.9, rngs=rngs)
        self.logits = nnx.Linear(2 * WIDTH, num_classes, rngs=rngs)

    def __call__(self, modulations: jax.Array) -> jax.Array:
        """Logits of each class; modulations are (batch, *cells, channel)."""
        cells = self.stem(modulations)
        for block in self.blocks:
            cells = block(cells)
        return self.logits(nnx.silu(self.norm(cells)).mean(axis=range(1, cells.ndim - 1)))


def make_classifier(shape: tuple[int, ...], num_classes: int, options: Options) -> nnx.Module:
    """A classifier of modulations of a shape."""
    rngs = nnx.Rngs(options.seed)
    if options.model in GRID_MODELS:
        kind = Transformer if options.model == "transformer" else Convolutions
        return kind(shape, num_classes, options.dropout, rngs)
    return MLP(math.prod(shape), MLP_WIDTHS[options.model], num_classes, options.dropout, rngs)


@nnx.jit
def train_step(
    model: nnx.Module, optimizer: nnx.Optimizer, modulations: jax.Array, classes: jax.Array, share: float
) -> None:
    """One update with a batch of which each example keeps a share, and gets the rest of another one (mixup)."""

    def loss_of(model: nnx.Module) -> jax.Array:
        logits = model(share * modulations + (1 - share) * modulations[::-1])
        losses = optax.softmax_cross_entropy_with_integer_labels
        return (share * losses(logits, classes) + (1 - share) * losses(logits, classes[::-1])).mean()

    optimizer.update(model, nnx.grad(loss_of)(model))


@nnx.jit
def count_right(model: nnx.Module, modulations: jax.Array, classes: jax.Array) -> jax.Array:
    """How many examples of a batch are classified right."""
    return jnp.sum(model(modulations).argmax(axis=1) == classes)


def classify(task: Task, options: Options) -> tuple[float, int]:
    """Train a classifier, and return its accuracy on the held-out examples and its number of parameters."""
    functaset, flatten = task.functaset, options.model not in GRID_MODELS
    shared = {"labels": (), "normalize": Normalization.of_split(functaset, "train"), "flatten": flatten}
    train = Loader(
        functaset, options.batch_size, index=task.train, seed=options.seed,
        drop_last=True, num_epochs=options.num_epochs, **shared,
    )  # fmt: skip
    held_out = Loader(functaset, options.batch_size, index=task.held_out, shuffle="none", **shared)

    classes, mixing = jnp.asarray(task.classes), np.random.default_rng(options.seed)
    model = make_classifier(functaset.modulations.shape[1:], task.num_classes, options)
    rates = optax.cosine_decay_schedule(options.learning_rate, len(train))
    optimizer = nnx.Optimizer(model, optax.adamw(rates, weight_decay=options.weight_decay), wrt=nnx.Param)
    for batch in train.to_jax():  # one of each example and its augmentations in every epoch, another one each time
        share = mixing.beta(options.mixup, options.mixup) if options.mixup else 1.0
        train_step(model, optimizer, batch["modulations"], classes[batch["index"]], share)

    model.eval()
    right = sum(count_right(model, batch["modulations"], classes[batch["index"]]) for batch in held_out.to_jax())
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    return float(right) / held_out.num_examples, num_parameters


if __name__ == "__main__":
    run(classify)
