"""Write the golden store of the current format version: `python tests/golden/make.py`.

Run it once per format version and commit what it writes; older golden stores are never written again.
"""

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.domains.cells import CellGrid
from functa_store.domains.domain import Domain
from functa_store.domains.scene import SceneVolume
from functa_store.domains.sphere import SphereGrid
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label, Reject
from functa_store.store.format.quantization import Rounding, choose_rounding
from functa_store.store.format.side_arrays import MOMENTA, RATES, base_shapes
from functa_store.store.format.spec import FORMAT_VERSION, Contents, RoundingLoss
from functa_store.store.storage.objects import open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter

GOLDEN = Path(__file__).parent
INNER = InnerLoopConfig(learning_rate=1e-2)
FIT = FitConfig(num_steps=5, stride=2)
OUTER = OuterLoopConfig(num_steps=3000, map_learning_rate=1e-3, monitor_every=200)
NETWORK = NetworkConfig(width=8, depth=3, w0=20.0, modulation_dim=4)
NUM_EXAMPLES = 5
IMAGES = CellGrid(axes=("y", "x"), resolution=(8, 8), lengths=(0.5, 1.0), units=("m", "m"))
COLOURS = FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255, metrics=("iou", "accuracy"))
FIELDS = SphereGrid(
    latitudes=(60.0, 20.0, -20.0, -60.0),
    longitudes=(20.0, 110.0, 200.0, 290.0),
    centre=(0.1, 0.0, -0.2),
    radius=0.9,
    area_weighting=True,
    mask="6 1 5 1 3",
)
SCENES = SceneVolume(
    resolution=(3, 4, 5), bound=0.6, views=2, held_out_views=1, image_size=(4, 6), near=0.8, far=1.8, num_samples=8
)
LIGHT = FeatureSpec(
    channels=("red", "green", "blue", "density"),
    value_ranges=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 10.0)),
    metrics=("mse_held_out",),
)
MISSING = ([1, 3], [2, 0])
"""Latitudes and longitudes of the points that the mask hides."""

WINDS = FeatureSpec(
    channels=("t2m", "u"),
    units=("K", "m s-1"),
    value_scale=(80.0, 40.0),
    value_offset=(230.0, -20.0),
    value_ranges=((230.0, 310.0), (-20.0, 20.0)),
    missing=True,
    metrics=("rmse", "mse_held_out"),
)
KINDS = {"": (IMAGES, COLOURS), "_sphere": (FIELDS, WINDS), "_scene": (SCENES, LIGHT)}
"""What the golden stores hold, by the ending of their names."""


def golden_contents(domain: Domain = IMAGES, features: FeatureSpec = COLOURS) -> Contents:
    """Five examples, such as images of 8x8 pixels; the weights are random."""
    rng = np.random.default_rng(0)
    network = dataclasses.replace(NETWORK, head="radiance" if features is LIGHT else "linear")
    sizes = base_shapes(NETWORK, domain.num_inputs, features.num_channels)
    shapes = sizes | {RATES: (5, 4), MOMENTA: (5, 4)}
    return Contents(
        domain=domain,
        features=features,
        config=ConvertConfig(
            preset="golden",
            network=network,
            inner=INNER,
            outer=OUTER,
            fit=FIT,
            weight_of_ones=1.5,
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
    modulations, *_ = golden_values()
    return choose_rounding("int8", modulations.min(axis=0), modulations.max(axis=0))


def golden_values(num_columns: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Modulations, errors and metrics; the last metric of the first and the third example is not a number."""
    rng = np.random.default_rng(1)
    modulations = rng.normal(size=(NUM_EXAMPLES, 4)).astype(np.float32)
    mse = rng.uniform(0.001, 0.1, NUM_EXAMPLES).astype(np.float32)
    metrics = rng.uniform(0.001, 1, (NUM_EXAMPLES, num_columns)).astype(np.float32)
    metrics[[0, 2], -1] = np.nan
    return modulations, mse, metrics


def write(path: Path, domain: Domain = IMAGES, features: FeatureSpec = COLOURS) -> None:
    """Write a golden store."""
    values = golden_values(len(features.columns))
    with (
        sole_writer(open_objects(path)) as (store, _),
        StoreWriter.resume_or_create(store, golden_contents(domain, features)) as writer,
    ):
        for shard in writer.missing_shards():
            writer.write(shard, *(table[shard.start : shard.stop] for table in values))


def inputs() -> dict[str, np.ndarray]:
    """What the network takes of the points of each domain, from the formula alone."""
    cells = {domain.kind: [(np.arange(n) + 0.5) / n for n in domain.resolution] for domain in (IMAGES, SCENES)}
    grids = {kind: np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) for kind, axes in cells.items()}
    lat, lon = (np.radians(degrees) for degrees in np.meshgrid(FIELDS.latitudes, FIELDS.longitudes, indexing="ij"))
    sphere = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    return {**grids, "sphere": (sphere - FIELDS.centre) / FIELDS.radius}


def decode(domain: Domain = IMAGES, features: FeatureSpec = COLOURS) -> np.ndarray:
    """The values of every example on its own grid, from the formula alone, in float64."""
    w = {name: array.astype(np.float64) for name, array in golden_contents(domain, features).base.items()}
    coords, images = inputs()[domain.kind], []
    rounding = golden_rounding()
    scale, offset = np.float64(rounding.scale), np.float64(rounding.offset)
    steps = np.rint((golden_values()[0] - offset) / scale)
    for modulation in scale * steps + offset:
        shift_0, shift_1 = np.split(modulation @ w["map/kernel"] + w["map/bias"], 2)
        hidden = np.sin(20.0 * (coords @ w["sine_0/kernel"] + w["sine_0/bias"] + shift_0))
        hidden = np.sin(20.0 * (hidden @ w["sine_1/kernel"] + w["sine_1/bias"] + shift_1))
        numbers = hidden @ w["linear/kernel"] + w["linear/bias"]
        images.append(radiance(numbers) if features is LIGHT else numbers + 0.5)
    values = np.stack(images) * features.value_scale + features.value_offset
    if domain is FIELDS:
        values[:, *MISSING] = np.nan
    return values


def radiance(numbers: np.ndarray) -> np.ndarray:
    """Colours, and the density elu(x) + 0.1 with alpha 0.1 in [0, 10]."""
    x = numbers[..., 3:]
    density = np.where(x > 0, x, 0.1 * np.expm1(np.minimum(x, 0))) + 0.1
    return np.concatenate([numbers[..., :3] + 0.5, np.clip(density, 0, 10)], axis=-1)


if __name__ == "__main__":
    for name, described in KINDS.items():
        shutil.rmtree(GOLDEN / f"v{FORMAT_VERSION}{name}.functa", ignore_errors=True)
        write(GOLDEN / f"v{FORMAT_VERSION}{name}.functa", *described)
        np.save(GOLDEN / f"v{FORMAT_VERSION}{name}_decoded.npy", decode(*described))
