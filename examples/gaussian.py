"""Gaussian of modulations: whitened coordinates for other models, and the prior that they have to beat."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.covariance import LedoitWolf


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A Gaussian in the coordinates of its principal components, the widest one first.

    Attributes:
        mean: Of the modulations, (numbers,).
        axes: Principal components in columns, (numbers, numbers), orthonormal.
        scales: Standard deviation along each, (numbers,), falling.
    """

    mean: jax.Array
    axes: jax.Array
    scales: jax.Array

    @classmethod
    def fit(cls, modulations: np.ndarray) -> "Gaussian":
        """The Gaussian of some modulations, (examples, numbers).

        Its covariance is shrunk as Ledoit and Wolf (2004) found best, so that it is none of fewer dimensions where
        there are fewer examples than numbers.
        """
        found = LedoitWolf().fit(np.asarray(modulations, np.float64))
        variances, axes = np.linalg.eigh(found.covariance_)
        parts = found.location_, axes[:, ::-1], np.sqrt(variances[::-1])
        return cls(*(jnp.asarray(part, jnp.float32) for part in parts))

    def whiten(self, modulations: jax.Array) -> jax.Array:
        """Coordinates along the principal components, of unit variance, (..., numbers)."""
        return (modulations - self.mean) @ self.axes / self.scales

    def unwhiten(self, coordinates: jax.Array) -> jax.Array:
        """Modulations of such coordinates."""
        return (coordinates * self.scales) @ self.axes.T + self.mean

    @property
    def log_scale(self) -> jax.Array:
        """What whitening adds to a log density: the logarithm of the volume that becomes 1."""
        return -jnp.sum(jnp.log(self.scales))

    def log_prob_white(self, coordinates: jax.Array) -> jax.Array:
        """Log density of whitened coordinates, (...)."""
        return jnp.sum(jax.scipy.stats.norm.logpdf(coordinates), axis=-1)

    def log_prob(self, modulations: jax.Array) -> jax.Array:
        """Log density of modulations in nats, (...)."""
        return self.log_prob_white(self.whiten(modulations)) + self.log_scale

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """Modulations, (count, numbers)."""
        return self.unwhiten(jax.random.normal(key, (count, len(self.mean))))
