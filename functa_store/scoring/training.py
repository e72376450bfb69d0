"""Training of a classifier on arrays in memory, and its accuracy on held-out ones; nearest neighbours."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Float32, Int, Key

from functa_store.scoring.models import Classifier

LEARNING_RATE, WEIGHT_DECAY, WARMUP = 2e-3, 1e-2, 0.05
"""Of AdamW: the highest rate, and the share of the steps in which it rises; then it falls as a cosine."""

STEPS_AT_ONCE = 50
HELD_OUT_AT_ONCE = 256
NEIGHBOURS = 5

Draw = Callable[[], Int[np.ndarray, " batch"]]
"""Places of the next batch's examples among the training inputs."""


def train(
    model: Classifier,
    inputs: Float[Array, "train ..."],
    classes: Int[Array, " train"],
    draw: Draw,
    num_steps: int,
    seed: int,
) -> Iterator[int]:
    """Train a classifier in place.

    Args:
        model: It has the weights to begin with.
        inputs: What it learns from.
        classes: The class of each, from 0.
        draw: Chooses every batch.
        num_steps: Updates in all.
        seed: Decides what dropout drops.

    Yields:
        Updates so far, every `STEPS_AT_ONCE` of them.
    """
    optimizer = _optimizer(num_steps)
    structure, weights = nnx.split(model)
    state, key = optimizer.init(weights), jax.random.key(seed)
    for step in range(num_steps):
        batch, step_key = jnp.asarray(draw()), jax.random.fold_in(key, step)
        weights, state = _step(structure, optimizer, weights, state, inputs, classes, batch, step_key)
        if (step + 1) % STEPS_AT_ONCE == 0 or step + 1 == num_steps:
            jax.block_until_ready(weights)
            yield step + 1
    nnx.update(model, weights)


@functools.cache
def _optimizer(num_steps: int) -> optax.GradientTransformation:
    """One for all seeds, so that they share what is compiled."""
    rates = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, max(1, round(WARMUP * num_steps)), num_steps)
    return optax.adamw(rates, weight_decay=WEIGHT_DECAY)


@functools.partial(jax.jit, static_argnums=(0, 1))  # each step alone: in a lax.scan, CPUs convolve 3.5 times as slowly
def _step(
    structure: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    weights: nnx.State,
    state: optax.OptState,
    inputs: Float[Array, "train ..."],
    classes: Int[Array, " train"],
    batch: Int[Array, " batch"],
    key: Key[Array, ""],
) -> tuple[nnx.State, optax.OptState]:
    """One update of the weights."""

    def loss_of(weights: nnx.State) -> Array:
        logits = nnx.merge(structure, weights)(inputs[batch], key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, classes[batch]).mean()

    updates, state = optimizer.update(jax.grad(loss_of)(weights), state, weights)
    return jax.tree.map(jnp.add, weights, updates), state


def accuracy(model: Classifier, inputs: Float32[np.ndarray, "test ..."], classes: Int[np.ndarray, " test"]) -> float:
    """Share of the inputs whose class a classifier tells."""
    structure, weights = nnx.split(model)
    right = 0
    for start in range(0, len(inputs), HELD_OUT_AT_ONCE):
        part = slice(start, start + HELD_OUT_AT_ONCE)
        right += int(np.sum(np.asarray(_told(structure, weights, inputs[part])) == classes[part]))
    return right / len(inputs)


@functools.partial(jax.jit, static_argnums=0)
def _told(structure: nnx.GraphDef, weights: nnx.State, inputs: Float[Array, "batch ..."]) -> Int[Array, " batch"]:
    """The class that a classifier tells of each input."""
    return nnx.merge(structure, weights)(inputs, None).argmax(axis=1)


def num_parameters(model: Classifier) -> int:
    """Numbers that are learned."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def neighbours_accuracy(
    train: Float32[np.ndarray, "train numbers"],
    train_classes: Int[np.ndarray, " train"],
    test: Float32[np.ndarray, "test numbers"],
    test_classes: Int[np.ndarray, " test"],
) -> float:
    """Share of vectors whose class most of the `NEIGHBOURS` nearest training vectors have; of equals the nearest one's.

    Distances are Euclidean.
    """
    count, right = min(NEIGHBOURS, len(train)), 0
    lengths = np.sum(train**2, axis=1)
    for start in range(0, len(test), HELD_OUT_AT_ONCE):
        part = slice(start, start + HELD_OUT_AT_ONCE)
        distances = lengths - 2 * test[part] @ train.T
        near = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1, kind="stable")
        voters = train_classes[np.take_along_axis(near, order, axis=1)]
        votes = np.sum(voters[:, :, None] == voters[:, None, :], axis=2)
        told = voters[np.arange(len(voters)), votes.argmax(axis=1)]
        right += int(np.sum(told == test_classes[part]))
    return right / len(test)
