"""Write the golden store of the current format version: `python tests/golden/make.py`.

Run it once per format version and commit what it writes; older golden stores are never written again.
"""

import shutil
from pathlib import Path

import numpy as np

from functa_store.config import ConvertConfig, FitConfig, InnerLoopConfig, NetworkConfig, OuterLoopConfig
from functa_store.grids import CellGrid
from functa_store.sources import FeatureSpec, Label, Reject
from functa_store.store.base import MOMENTA, RATES, base_shapes
from functa_store.store.spec import FORMAT_VERSION, Contents
from functa_store.store.writer import StoreWriter, sole_writer

GOLDEN = Path(__file__).parent
INNER = InnerLoopConfig(learning_rate=1e-2)
FIT = FitConfig(num_steps=5, stride=2)
OUTER = OuterLoopConfig(num_steps=3000, map_learning_rate=1e-3, monitor_every=200)
NETWORK = NetworkConfig(width=8, depth=3, w0=20.0, modulation_dim=4)
NUM_EXAMPLES = 5


def golden_contents() -> Contents:
    """Five images of 8x8 pixels; the weights are random."""
    rng = np.random.default_rng(0)
    shapes = base_shapes(NETWORK, 2, 3) | {RATES: (5, 4), MOMENTA: (5, 4)}
    return Contents(
        domain=CellGrid(axes=("y", "x"), resolution=(8, 8)),
        features=FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255),
        config=ConvertConfig(preset="golden", network=NETWORK, inner=INNER, outer=OUTER, fit=FIT, rows_per_shard=4),
        base={name: rng.uniform(-0.2, 0.2, shape).astype(np.float32) for name, shape in shapes.items()},
        ids=["a.png", "b.png", "ä.png", "d.png", "e.png"],
        split=np.array(["train", "validation", "test", "train", "train"]),
        labels={"animal": Label(values=np.array([0, 1, 1, 0, 1]), names=("cat", "dog"))},
        rejects=[Reject(member="broken.png", reason="truncated after 12 bytes")],
        provenance={"archive": "golden", "sha256": None},
        reference={"pca": {"components": 4, "psnr_mean": 20.5}},
    )


def golden_values() -> tuple[np.ndarray, np.ndarray]:
    """Modulations and errors."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(NUM_EXAMPLES, 4)).astype(np.float32), rng.uniform(0.001, 0.1, NUM_EXAMPLES).astype(
        np.float32
    )


def write(path: Path) -> None:
    """Write the golden store."""
    modulations, mse = golden_values()
    with sole_writer(path), StoreWriter.resume_or_create(path, golden_contents()) as writer:
        for shard in writer.missing_shards():
            writer.write(shard, modulations[shard.start : shard.stop], mse[shard.start : shard.stop])


def decode() -> np.ndarray:
    """Every example on its own grid, from the formula alone, in float64."""
    w = {name: array.astype(np.float64) for name, array in golden_contents().base.items()}
    centres = (np.arange(8) + 0.5) / 8
    coords = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1)
    images = []
    for modulation in golden_values()[0].astype(np.float64):
        shift_0, shift_1 = np.split(modulation @ w["map/kernel"] + w["map/bias"], 2)
        hidden = np.sin(20.0 * (coords @ w["sine_0/kernel"] + w["sine_0/bias"] + shift_0))
        hidden = np.sin(20.0 * (hidden @ w["sine_1/kernel"] + w["sine_1/bias"] + shift_1))
        images.append(hidden @ w["linear/kernel"] + w["linear/bias"] + 0.5)
    return np.stack(images)


if __name__ == "__main__":
    shutil.rmtree(GOLDEN / f"v{FORMAT_VERSION}.functa", ignore_errors=True)
    write(GOLDEN / f"v{FORMAT_VERSION}.functa")
    np.save(GOLDEN / f"v{FORMAT_VERSION}_decoded.npy", decode())
