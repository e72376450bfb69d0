"""What is learned for how long: the size of a few CPU cores, and that of the paper.

Learnings have fixed numbers of outer steps, so that results do not depend on what else a machine does.
"""

import dataclasses
from typing import Any

from converters.climate.climate import CLIMATE_FAST
from converters.images.images import CELEBA64_FAST, CELEBA64_PAPER
from converters.shapes.shapenet import SHAPENET64_PAPER, SHAPES64_FAST, SHAPES64_SPATIAL
from functa_store.config import ConvertConfig, overlaid


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """Everything that is chosen by the time at hand.

    Attributes:
        name: Of the size.
        portraits: How Figures 2 and 3 learn portraits; the modulation is theirs.
        portrait_resolutions: Of Figure 2; Figure 3 has the last one.
        shapes: How Figure 2 learns shapes.
        shape_resolutions: Of Figure 2.
        fields: How Figure 2 learns fields.
        field_strides: Of Figure 2, the coarsest first.
        numbers: Modulation sizes that Figure 2 interpolates between.
        latent: Sizes of latent modulations in Figure 3.
        shift: Sizes of shift modulations in Figure 3; the network is as wide as they ask.
        cells: Sizes of modulation grids in Figure 3.
        grid: Their cells along either axis.
        shape_vector: The functaset of the tables, one vector per shape.
        shape_grid: That with a grid of modulations.
        table_resolution: Of the shapes of the tables and of Figure 5.
        epochs: Of classifiers on modulations and principal components.
        seeds: Trainings of each classifier.
        cnn_epochs: Of convolutional networks on arrays, beside those of equal CPU seconds.
        cnn_seeds: Trainings of each of these.
        few_sizes: The MLPs beside which there are such networks, and classifiers of grids.
        portrait_store: The functaset of portraits of Figure 5.
        draws: Sets of samples in Figure 5, each as large as the set of reserved examples.
        most_pictures: Pictures that the feature space of portraits is learned from.
        feature_resolution: Of the shapes that it is learned from, and at which they are compared.
        feature_epochs: For how long.
    """

    name: str
    portraits: ConvertConfig
    portrait_resolutions: tuple[int, ...] = (16, 32, 64)
    shapes: ConvertConfig
    shape_resolutions: tuple[int, ...] = (16, 32, 64)
    fields: ConvertConfig
    field_strides: tuple[int, ...] = (4, 2, 1)
    numbers: tuple[int, ...] = (64, 512)
    latent: tuple[int, ...] = (64, 128, 256, 512, 1024)
    shift: tuple[int, ...] = (64, 256, 1024)
    cells: tuple[int, ...] = (64, 256, 1024)
    grid: int = 4
    shape_vector: ConvertConfig
    shape_grid: ConvertConfig
    table_resolution: int = 64
    epochs: int = 40
    seeds: int = 5
    cnn_epochs: int = 10
    cnn_seeds: int = 5
    few_sizes: tuple[str, ...] = ("mlp-small",)
    portrait_store: ConvertConfig
    draws: int = 5
    most_pictures: int = 10_000
    feature_resolution: int = 32
    feature_epochs: int = 4


def _plain(config: ConvertConfig, **changes: Any) -> ConvertConfig:
    """A preset with changes, under no name of its own."""
    return overlaid(config, {"preset": None, **changes})


_FEW_MONITORED = {"num_monitored": 16, "monitor_every": 500}
_UNTUNED = {"num_steps": 9, "tuning_steps": 0}
"""A fit whose rates are those that were learned: to tune one takes as long as hundreds of outer steps."""

MACHINE = Size(
    name="a few CPU cores",
    portraits=_plain(
        CELEBA64_FAST.config,
        network={"width": 64, "depth": 5, "w0": 20.0},
        outer={"num_steps": 150, "learning_rate": 5e-4, **_FEW_MONITORED},
    ),
    shapes=_plain(
        SHAPES64_FAST.config,
        network={"width": 64},
        outer={"num_steps": 150, "num_points": 1024, **_FEW_MONITORED},
        weight_of_ones=1.0,
    ),
    fields=_plain(CLIMATE_FAST.config, network={"width": 64}, outer={"num_steps": 150}),
    shape_vector=_plain(SHAPES64_FAST.config, outer={"num_steps": 1200}, fit={**_UNTUNED, "stride": 4}),
    shape_grid=_plain(
        SHAPES64_SPATIAL.config, network={"width": 64}, outer={"num_steps": 200}, fit={**_UNTUNED, "stride": 4}
    ),
    portrait_store=_plain(
        CELEBA64_FAST.config,
        network={"width": 128, "depth": 5, "w0": 20.0},
        outer={"num_steps": 500, "learning_rate": 5e-4, **_FEW_MONITORED},
        fit=_UNTUNED,
    ),
)

_PAPER_FIELDS = {"network": {"width": 384, "depth": 10}, "outer": {"num_steps": 200_000}}

PAPER = Size(
    name="the paper",
    portraits=CELEBA64_PAPER.config,
    shapes=SHAPENET64_PAPER.config,
    fields=_plain(CLIMATE_FAST.config, **_PAPER_FIELDS),
    shift=(64, 128, 256, 512, 1024),
    cells=(64, 128, 256, 512, 1024),
    shape_vector=SHAPENET64_PAPER.config,
    shape_grid=overlaid(
        SHAPENET64_PAPER.config,
        {
            "preset": None,
            "network": {"modulation": "spatial", "modulation_grid": (4, 4, 4), "modulation_dim": 16, "depth": 6},
        },
    ),
    numbers=(64, 128, 256, 512, 1024),
    epochs=200,
    cnn_epochs=200,
    few_sizes=("mlp-small", "mlp-medium", "mlp-large"),
    portrait_store=CELEBA64_PAPER.config,
    most_pictures=50_000,
    feature_resolution=64,
    feature_epochs=60,
)
