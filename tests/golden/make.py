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
from functa_store.store.claim import sole_writer
from functa_store.store.objects import open_objects
from functa_store.store.rounding import Rounding, choose_rounding
from functa_store.store.spec import FORMAT_VERSION, Contents, RoundingLoss
from functa_store.store.writer import StoreWriter

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
        config=ConvertConfig(
            preset="golden",
            network=NETWORK,
            inner=INNER,
            outer=OUTER,
            fit=FIT,
            modulation_dtype="int8",
            base_dtype="float16",
            rows_per_shard=4,
        ),
        base={name: rng.uniform(-0.2, 0.2, shape).astype(np.float16) for name, shape in shapes.items()},
        ids=["a.png", "b.png", "ä.png", "d.png", "e.png"],
        split=np.array(["train", "validation", "test", "train", "train"]),
        labels={"animal": Label(values=np.array([0, 1, 1, 0, 1]), names=("cat", "dog"))},
        rejects=[Reject(member="broken.png", reason="truncated after 12 bytes")],
        provenance={"archive": "golden", "sha256": None},
        rounding=golden_rounding(),
        rounding_loss=RoundingLoss(examples=5, mse_mean=1e-6, mse_max=2e-6, psnr_loss=1e-4, psnr_loss_max=2e-4),
        reference={"pca": {"components": 4, "psnr_mean": 20.5}},
    )


def golden_rounding() -> Rounding:
    """The range of the modulations in 256 steps."""
    modulations, _ = golden_values()
    return choose_rounding("int8", modulations.min(axis=0), modulations.max(axis=0))


def golden_values() -> tuple[np.ndarray, np.ndarray]:
    """Modulations and errors."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(NUM_EXAMPLES, 4)).astype(np.float32), rng.uniform(0.001, 0.1, NUM_EXAMPLES).astype(
        np.float32
    )


def write(path: Path) -> None:
    """Write the golden store."""
    modulations, mse = golden_values()
    with (
        sole_writer(open_objects(path)) as (store, _),
        StoreWriter.resume_or_create(store, golden_contents()) as writer,
    ):
        for shard in writer.missing_shards():
            writer.write(shard, modulations[shard.start : shard.stop], mse[shard.start : shard.stop])


def decode() -> np.ndarray:
    """Every example on its own grid, from the formula alone, in float64."""
    w = {name: array.astype(np.float64) for name, array in golden_contents().base.items()}
    centres = (np.arange(8) + 0.5) / 8
    coords = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1)
    images = []
    rounding = golden_rounding()
    scale, offset = np.float64(rounding.scale), np.float64(rounding.offset)
    steps = np.rint((golden_values()[0] - offset) / scale)
    for modulation in scale * steps + offset:
        shift_0, shift_1 = np.split(modulation @ w["map/kernel"] + w["map/bias"], 2)
        hidden = np.sin(20.0 * (coords @ w["sine_0/kernel"] + w["sine_0/bias"] + shift_0))
        hidden = np.sin(20.0 * (hidden @ w["sine_1/kernel"] + w["sine_1/bias"] + shift_1))
        images.append(hidden @ w["linear/kernel"] + w["linear/bias"] + 0.5)
    return np.stack(images)


if __name__ == "__main__":
    shutil.rmtree(GOLDEN / f"v{FORMAT_VERSION}.functa", ignore_errors=True)
    write(GOLDEN / f"v{FORMAT_VERSION}.functa")
    np.save(GOLDEN / f"v{FORMAT_VERSION}_decoded.npy", decode())
