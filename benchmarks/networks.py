"""Networks and images on which fit, outer step and decoder are timed."""

import dataclasses

import jax
import numpy as np
from flax import nnx

from benchmarks.peers import Weights
from functa_store.config import ConvertConfig, InnerLoopConfig, NetworkConfig
from functa_store.learn.outer_loop import Learnable, init_learnable
from functa_store.nets.siren import to_weights
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec

NUM_STEPS = 3
"""Inner steps of the published algorithm, each on all points."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """A base network with random initial weights, and RGB images of random bytes.

    Attributes:
        width: Units per hidden layer.
        depth: Linear layers, the first and the last one included.
        modulation_dim: Length of a modulation, or of each cell of one that is a grid.
        grid: Cells along each axis of a modulation that is a grid; None for one that is a vector.
        w0: Frequency of all sine layers.
        size: Pixels along a side of the images.
        rate: Learning rate of all inner steps and modulation dimensions.
    """

    width: int
    depth: int
    modulation_dim: int = 128
    grid: tuple[int, ...] | None = None
    w0: float = 30.0
    size: int = 64
    rate: float = 1e-2

    @property
    def name(self) -> str:
        """Width and depth, and the shape of a modulation that is a grid."""
        cells = f"-{'x'.join(map(str, self.network.modulation_shape))}" if self.grid else ""
        return f"{self.width}x{self.depth}{cells}"

    @property
    def network(self) -> NetworkConfig:
        """The base network."""
        return NetworkConfig(
            width=self.width,
            depth=self.depth,
            w0=self.w0,
            modulation="latent" if self.grid is None else "spatial",
            modulation_dim=self.modulation_dim,
            modulation_grid=self.grid,
        )

    @property
    def config(self) -> ConvertConfig:
        """The base network, learned through the published algorithm."""
        return ConvertConfig(network=self.network, inner=InnerLoopConfig(num_steps=NUM_STEPS, learning_rate=self.rate))

    def learnable(self) -> tuple[nnx.GraphDef, Learnable]:
        """The network's structure, and its initial weights with constant rates."""
        return init_learnable(self.config, num_inputs=2, num_channels=3)

    def weights(self) -> Weights:
        """The same initial weights by name."""
        return to_weights(self.learnable()[1].base)

    def source(self, num_images: int) -> ArraySource:
        """Images, the same for the same number."""
        shape = (num_images, self.size, self.size, 3)
        values = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
        return ArraySource(values, features=FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(width=128, depth=6),
        Workload(width=256, depth=10),
        Workload(width=512, depth=15),
        Workload(width=128, depth=4, modulation_dim=16, grid=(8, 8), w0=10.0, rate=0.2),
        Workload(width=256, depth=6, modulation_dim=16, grid=(8, 8), w0=10.0, rate=0.2),
    )
}
"""The last two are spatial: a small one, and that of the paper (Bauer et al. 2023)."""


def raw_batch(source: ArraySource, size: int) -> np.ndarray:
    """Raw values (examples, points, channels) of the first images; where they do not suffice, they come again."""
    return np.asarray(source.values)[np.arange(size) % len(source.ids)].reshape(size, source.domain.num_points, -1)


def feature_batch(source: ArraySource, size: int) -> jax.Array:
    """The same as features, on the device."""
    return jax.device_put(raw_batch(source, size).astype(np.float32) * np.float32(source.features.scale))
