"""How are examples fitted once the base network is learned?"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float32, Num

from functa_store.feed import Feed
from functa_store.learn.inner_loop import inner_loop
from functa_store.learn.losses import reconstruction_loss
from functa_store.learn.outer_loop import Learnable
from functa_store.learn.parallel import spread
from functa_store.sources import FeatureSpec

BATCH = 32

Fit = Callable[[Learnable, ArrayLike], tuple[Array, Array]]


def make_fit(graph: nnx.GraphDef, grid: Float32[np.ndarray, "points axes"], spec: FeatureSpec) -> Fit:
    """The compiled fit of a batch.

    Returns:
        A function (learnable, raw) -> (modulations, mse), where `raw` are a source's values of a
        batch (examples, points, channels). Every inner step and the error, in the squared unit of
        the features, take the whole grid. An example's result does not depend on its batch.
    """

    def one_example(learnable: Learnable, raw: Num[Array, "points channels"]):
        base = nnx.merge(graph, learnable.base)
        features = raw.astype(jnp.float32) * spec.scale + spec.offset
        views = [jnp.broadcast_to(x, (len(learnable.rates), *x.shape)) for x in (jnp.asarray(grid), features)]
        modulation = inner_loop(base, learnable.rates, *views)
        return (modulation, reconstruction_loss(base, modulation, jnp.asarray(grid), features)), ()

    return jax.jit(lambda learnable, raw: spread(one_example, learnable, (raw,))[0])


def fit_examples(
    fit: Fit, learnable: Learnable, feed: Feed, indices: np.ndarray, batch_size: int = BATCH
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Fit any number of examples with one compilation.

    Args:
        fit: From `make_fit`.
        learnable: The base network and the inner rates.
        feed: Reads the examples ahead of the device.
        indices: Which examples.
        batch_size: Examples per call of `fit`, which is compiled once per size.

    Yields:
        Modulations and mean squared errors of one batch after the other, in order. The last
        batch is filled up by repetition and cut again.
    """
    batches = np.split(indices, range(batch_size, len(indices), batch_size))
    for batch, raw in zip(batches, feed.batches(np.resize(batch, batch_size) for batch in batches), strict=True):
        modulations, mse = fit(learnable, raw)
        yield np.asarray(modulations)[: len(batch)], np.asarray(mse)[: len(batch)]
