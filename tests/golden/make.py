"""Write the golden store of the current format version: `python tests/golden/make.py`.

Run it once per format version and commit what it writes; older golden stores are never written again.
"""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.conversion.append import list_part
from functa_store.conversion.derive import derive
from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import CellGrid
from functa_store.domains.domain import Domain, network_inputs
from functa_store.domains.scene import SceneVolume
from functa_store.domains.sphere import SphereGrid
from functa_store.sources.augmentation import Augmentations
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label, Reject
from functa_store.store.format.parts import PARTS_VERSION, part_name
from functa_store.store.format.quantization import Rounding, choose_rounding
from functa_store.store.format.side_arrays import MOMENTA, RATES, base_shapes
from functa_store.store.format.spec import FORMAT_VERSION, Contents, RoundingLoss
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter

GOLDEN = Path(__file__).parent
INNER = InnerLoopConfig(learning_rate=1e-2)
FIT = FitConfig(num_steps=5, stride=2)
OUTER = OuterLoopConfig(num_steps=3000, map_learning_rate=1e-3, monitor_every=200)
NETWORK = NetworkConfig(width=8, depth=3, w0=20.0, modulation_dim=4)
RADIANCE = dataclasses.replace(NETWORK, head="radiance")
CELLS = NetworkConfig(width=8, depth=3, w0=10.0, modulation="spatial", modulation_grid=(2, 3), modulation_dim=2)
OVERLAPPING = dataclasses.replace(CELLS, lookup="linear", map_kernel=3, map_bias="per_cell")
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
KINDS = {
    "": (IMAGES, COLOURS, NETWORK),
    "_sphere": (FIELDS, WINDS, NETWORK),
    "_scene": (SCENES, LIGHT, RADIANCE),
    "_spatial": (IMAGES, COLOURS, CELLS),
    "_spatial_sphere": (FIELDS, WINDS, OVERLAPPING),
    "_augmented": (IMAGES, COLOURS, NETWORK, True),
}
"""What the golden stores hold, by the ending of their names."""


AUGMENTED = {
    "ids": ["a.png", "b.png", "ä.png", "a.png~1", "a.png~2"],
    "labels": {"animal": Label(values=np.array([0, 1, 1, 0, 0]), names=("cat", "dog"))},
    "augmentations": Augmentations(
        of=np.array([0, 1, 2, 0, 0]),
        flip=np.array([False, False, False, True, False]),
        top=np.array([0, 0, 0, 0.125, 0.0], np.float32),
        left=np.array([0, 0, 0, 0.0625, 0.25], np.float32),
        side=np.array([1, 1, 1, 0.875, 0.75], np.float32),
    ),
}
"""Of five examples, of which the last two are augmentations of the first."""


def golden_contents(
    domain: Domain = IMAGES,
    features: FeatureSpec = COLOURS,
    network: NetworkConfig = NETWORK,
    is_augmented: bool = False,
) -> Contents:
    """Five examples, such as images of 8x8 pixels; the weights are random."""
    rng = np.random.default_rng(0)
    sizes = base_shapes(network, network_inputs(domain, network), features.num_channels)
    shapes = sizes | dict.fromkeys((RATES, MOMENTA), (5, network.cell_size))
    found = Contents(
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
        rounding=golden_rounding(network),
        rounding_loss=RoundingLoss(examples=5, mse_mean=1e-6, mse_max=2e-6, psnr_loss=1e-4, psnr_loss_max=2e-4),
        reference={"pca": {"components": 4, "psnr_mean": 20.5}},
    )
    return dataclasses.replace(found, **AUGMENTED) if is_augmented else found


def golden_rounding(network: NetworkConfig = NETWORK) -> Rounding:
    """The range of the modulations in 256 steps."""
    modulations, *_ = golden_values(network=network)
    columns = modulations.reshape(-1, modulations.shape[-1])
    return choose_rounding("int8", columns.min(axis=0), columns.max(axis=0))


def golden_values(num_columns: int = 2, network: NetworkConfig = NETWORK) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Modulations, errors and metrics; the last metric of the first and the third example is not a number."""
    rng = np.random.default_rng(1)
    modulations = rng.normal(size=(NUM_EXAMPLES, *network.modulation_shape)).astype(np.float32)
    mse = rng.uniform(0.001, 0.1, NUM_EXAMPLES).astype(np.float32)
    metrics = rng.uniform(0.001, 1, (NUM_EXAMPLES, num_columns)).astype(np.float32)
    metrics[[0, 2], -1] = np.nan
    return modulations, mse, metrics


def write(
    path: Path,
    domain: Domain = IMAGES,
    features: FeatureSpec = COLOURS,
    network: NetworkConfig = NETWORK,
    is_augmented: bool = False,
) -> None:
    """Write a golden store."""
    values = golden_values(len(features.columns), network)
    with (
        sole_writer(open_objects(path)) as (store, _),
        StoreWriter.resume_or_create(store, golden_contents(domain, features, network, is_augmented)) as writer,
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


def decode(domain: Domain = IMAGES, features: FeatureSpec = COLOURS, network: NetworkConfig = NETWORK) -> np.ndarray:
    """The values of every example on its own grid, from the formula alone, in float64."""
    w = {name: array.astype(np.float64) for name, array in golden_contents(domain, features, network).base.items()}
    rounding, images = golden_rounding(network), []
    scale, offset = np.float64(rounding.scale), np.float64(rounding.offset)
    steps = np.rint((golden_values(network=network)[0] - offset) / scale)
    for modulation in scale * steps + offset:
        if network is CELLS:
            numbers = nearest_cells(w, modulation)
        elif network is OVERLAPPING:
            numbers = overlapping_cells(w, modulation)
        else:
            numbers = evaluate(w, 20.0, inputs()[domain.kind], modulation)
        images.append(radiance(numbers) if features is LIGHT else numbers + 0.5)
    values = np.stack(images) * features.value_scale + features.value_offset
    if domain is FIELDS:
        values[:, *MISSING] = np.nan
    return values


def evaluate(
    w: dict[str, np.ndarray], w0: float, coords: np.ndarray, modulation: np.ndarray, cell: tuple[int, ...] = ()
) -> np.ndarray:
    """The numbers of the last layer at some coordinates, with the bias of a cell where each has its own."""
    shift_0, shift_1 = np.split(modulation @ w["map/kernel"] + w["map/bias"][cell], 2)
    hidden = np.sin(w0 * (coords @ w["sine_0/kernel"] + w["sine_0/bias"] + shift_0))
    hidden = np.sin(w0 * (hidden @ w["sine_1/kernel"] + w["sine_1/bias"] + shift_1))
    return hidden @ w["linear/kernel"] + w["linear/bias"]


def nearest_cells(w: dict[str, np.ndarray], grid: np.ndarray) -> np.ndarray:
    """Images of 8x8 pixels, each in one of 2x3 cells, one pixel after the other."""
    found = np.empty((8, 8, 3))
    for row, column in np.ndindex(8, 8):
        y, x = (row + 0.5) / 8 * 2, (column + 0.5) / 8 * 3
        found[row, column] = evaluate(w, 10.0, np.array([y - int(y), x - int(x)]), grid[int(y), int(x)])
    return found


def overlapping_cells(w: dict[str, np.ndarray], grid: np.ndarray) -> np.ndarray:
    """Fields of 4x4 points over 2x3 cells with the four nearest at each point, whose maps see their eight neighbours
    and have a bias for each cell.

    The latitudes 60 to -60 are in steps of 40, which reach the poles; the longitudes 20 to 290 stand for all, from -25
    to 335.
    """
    found = np.empty((4, 4, 2))
    for row, column in np.ndindex(4, 4):
        y = (FIELDS.latitudes[row] + 90) / 180 * 2
        x = (FIELDS.longitudes[column] + 25) / 360 * 3
        found[row, column] = sum(
            max(0.0, 1 - abs(y - i - 0.5))
            / sum(max(0.0, 1 - abs(y - k - 0.5)) for k in (0, 1))
            * max(0.0, 1 - abs(x - j - 0.5))
            * evaluate(w, 10.0, np.array([y - i, x - j]), neighbourhood(grid, i, j), (i, j % 3))
            for i in (0, 1)
            for j in (-1, 0, 1, 2, 3)
        )
    return found


def neighbourhood(grid: np.ndarray, i: int, j: int) -> np.ndarray:
    """The numbers of 3x3 cells around one: zeros beyond the poles, round the globe in the west and the east."""
    rows = [grid[i + k] if 0 <= i + k < 2 else np.zeros_like(grid[0]) for k in (-1, 0, 1)]
    return np.concatenate([row[(j + k) % 3] for row in rows for k in (-1, 0, 1)])


def radiance(numbers: np.ndarray) -> np.ndarray:
    """Colours, and the density elu(x) + 0.1 with alpha 0.1 in [0, 10]."""
    x = numbers[..., 3:]
    density = np.where(x > 0, x, 0.1 * np.expm1(np.minimum(x, 0))) + 0.1
    return np.concatenate([numbers[..., :3] + 0.5, np.clip(density, 0, 10)], axis=-1)


def grow(path: Path, of: Path, labels: Mapping[str, Label] | None = None) -> None:
    """A copy of a functaset, and a part of two examples whose modulations are those of its second and third."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(of, path)
    functaset, part = Functaset(StoreReader(of)), LocalObjects(path).below(part_name(1))
    derive(functaset, part, functaset.modulations[1:3], ids=["f.png", "g.png"], labels=labels)
    list_part(LocalObjects(path), (), part_name(1))


if __name__ == "__main__":
    for name, described in KINDS.items():
        shutil.rmtree(GOLDEN / f"v{FORMAT_VERSION}{name}.functa", ignore_errors=True)
        write(GOLDEN / f"v{FORMAT_VERSION}{name}.functa", *described)
        np.save(GOLDEN / f"v{FORMAT_VERSION}{name}_decoded.npy", decode(*described[:3]))
    grown = GOLDEN / f"grown_v{PARTS_VERSION}_of_v{FORMAT_VERSION}.functa"
    grow(grown, GOLDEN / f"v{FORMAT_VERSION}.functa")
    classes = {"animal": Label(values=np.array([1, 0], np.int32), names=("owl", "dog"))}  # numbers of its own
    grow(GOLDEN / f"grown_v{PARTS_VERSION}_classes.functa", GOLDEN / f"v{FORMAT_VERSION}.functa", classes)
