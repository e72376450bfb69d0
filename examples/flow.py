"""Normalising flow on modulations: exact likelihoods and samples, by flowjax.

    python -m examples.flow                                               # handwritten digits
    python -m examples.flow --store faces.functa --out generated/faces    # any functaset

Learns on the split "train", writes samples as a functaset of the same base with a sheet of pictures, and reports the
log-likelihood of held-out examples beside a Gaussian's, and how well the nearest neighbour tells samples from held-out
examples. `examples.infer` takes it as a prior.

Modulations are whitened first. Masked autoregressive layers (Papamakarios et al. 2017) then model the principal
components along which they vary most; the narrow rest, of which few examples tell nothing, stays Gaussian. All of this
is invertible, so densities are those of whole modulations, and comparable.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import functa_store
from examples.gaussian import Gaussian
from examples.generate import Generated, rows_of, run
from functa_store.loaders import Normalization
from functa_store.support.optional import require

flowjax = {part: require(f"flowjax.{part}", extra="examples") for part in ("distributions", "flows", "train")}

NUM_COMPONENTS = 32
"""Principal components that the autoregressive layers model, if there are as many."""


@dataclasses.dataclass(frozen=True)
class Flow:
    """A flow in the whitened coordinates of a Gaussian.

    Attributes:
        gaussian: Whitens modulations.
        first: Distribution of flowjax of the first coordinates; the others are independent of them and standard normal.
    """

    gaussian: Gaussian
    first: Any

    @classmethod
    def fit(cls, modulations: np.ndarray, *, max_epochs: int = 200, num_layers: int = 4, width: int = 128) -> "Flow":
        """Maximum likelihood, stopped when a tenth of the examples that training does not see gets no likelier.

        Args:
            modulations: Shape (examples, numbers).
            max_epochs: Passes over the examples at most.
            num_layers: Autoregressive layers; between them components are permuted.
            width: Of the network in each layer.
        """
        gaussian = Gaussian.fit(modulations)
        coordinates = gaussian.whiten(jnp.asarray(modulations))[:, :NUM_COMPONENTS]
        start = flowjax["flows"].masked_autoregressive_flow(
            jax.random.key(0), base_dist=flowjax["distributions"].Normal(jnp.zeros(coordinates.shape[1])),
            flow_layers=num_layers, nn_width=width,
        )  # fmt: skip
        first, _ = flowjax["train"].fit_to_data(
            jax.random.key(1), start, coordinates, optimizer=optax.adamw(5e-4, weight_decay=1.0),
            batch_size=min(128, len(coordinates) // 2), max_epochs=max_epochs, max_patience=10, show_progress=False,
        )  # fmt: skip
        return cls(gaussian, first)

    def whiten(self, modulations: jax.Array) -> jax.Array:
        """Coordinates in which modulations vary alike, (..., numbers)."""
        return self.gaussian.whiten(modulations)

    def unwhiten(self, coordinates: jax.Array) -> jax.Array:
        """Modulations of whitened coordinates, (..., numbers)."""
        return self.gaussian.unwhiten(coordinates)

    def log_prob_white(self, coordinates: jax.Array) -> jax.Array:
        """Log density of whitened coordinates, (...)."""
        first, rest = jnp.split(coordinates, [self.first.shape[0]], axis=-1)
        return self.first.log_prob(first) + self.gaussian.log_prob_white(rest)

    def log_prob(self, modulations: jax.Array) -> jax.Array:
        """Log density of modulations in nats, (...)."""
        return self.log_prob_white(self.gaussian.whiten(modulations)) + self.gaussian.log_scale

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """Modulations, (count, numbers)."""
        for_first, for_rest = jax.random.split(key)
        first = self.first.sample(for_first, (count,))
        rest = jax.random.normal(for_rest, (count, len(self.gaussian.mean) - first.shape[1]))
        return self.unwhiten(jnp.concatenate([first, rest], axis=1))


def generate(
    functaset: functa_store.Functaset, examples: np.ndarray, normalization: Normalization, count: int
) -> Generated:
    """Train on some examples, make a number of samples, and say how likely held-out examples are."""
    flow = Flow.fit(rows_of(functaset, examples, normalization))
    held_out = jnp.asarray(rows_of(functaset, np.flatnonzero(functaset.split[:] == "test"), normalization))
    likelihoods = {"the flow": flow.log_prob, "a Gaussian": flow.gaussian.log_prob}
    figures = {
        f"held-out log-likelihood of {name}": f"{np.mean(log_prob(held_out)) / held_out.shape[1]:.3f} nats per number"
        for name, log_prob in likelihoods.items()
    }
    samples = np.asarray(flow.sample(jax.random.key(2), count))
    return Generated(samples.reshape(count, *functaset.config.network.modulation_shape), figures)


if __name__ == "__main__":
    run(generate, "flow")
