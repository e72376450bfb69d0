"""Classifier on modulations, trained in JAX.

    python -m examples.classify_jax                                       # handwritten digits, converted on the spot
    python -m examples.classify_jax --store faces.functa --label Smiling  # any functaset with a label of classes

Learns on the split "train" and reports the share of held-out examples that it classifies right, beside logistic
regression on the same modulations and the most frequent class.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import functa_store
from examples.command import run
from functa_store.loaders import Loader, Normalization


class Classifier(nnx.Module):
    """Two layers with a ReLU and dropout between them."""

    def __init__(self, modulation_size: int, num_classes: int, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(modulation_size, 256, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.logits = nnx.Linear(256, num_classes, rngs=rngs)

    def __call__(self, modulations: jax.Array) -> jax.Array:
        """Logits of each class."""
        return self.logits(self.dropout(nnx.relu(self.hidden(modulations))))


@nnx.jit
def train_step(model: Classifier, optimizer: nnx.Optimizer, modulations: jax.Array, classes: jax.Array) -> jax.Array:
    """One update; returns the loss before it."""

    def loss_of(model: Classifier) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(modulations), classes).mean()

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


@nnx.jit
def count_right(model: Classifier, modulations: jax.Array, classes: jax.Array) -> jax.Array:
    """How many examples of a batch are classified right."""
    return jnp.sum(model(modulations).argmax(axis=1) == classes)


def classify(
    functaset: functa_store.Functaset, targets: np.ndarray, *, num_epochs: int = 40, batch_size: int = 64
) -> float:
    """Train a classifier, and return its accuracy on the held-out examples.

    Args:
        functaset: Has the splits "train" and "test".
        targets: The class of each example, numbered from 0.
        num_epochs: Of training.
        batch_size: Of training, too.
    """
    options = {"labels": (), "normalize": Normalization.of_split(functaset, "train"), "flatten": True}
    train = Loader(functaset, batch_size, split="train", drop_last=True, num_epochs=num_epochs, **options)
    held_out = Loader(functaset, batch_size, split="test", shuffle="none", **options)

    classes = jnp.asarray(targets)
    model = Classifier(functaset.config.network.modulation_size, int(targets.max()) + 1, nnx.Rngs(0))
    rates = optax.cosine_decay_schedule(2e-3, len(train))
    optimizer = nnx.Optimizer(model, optax.adamw(rates, weight_decay=1e-2), wrt=nnx.Param)
    for batch in train.to_jax():
        train_step(model, optimizer, batch["modulations"], classes[batch["index"]])

    model.eval()
    right = sum(count_right(model, batch["modulations"], classes[batch["index"]]) for batch in held_out.to_jax())
    return float(right) / held_out.num_examples


if __name__ == "__main__":
    run(classify)
