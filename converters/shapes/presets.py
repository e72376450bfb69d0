"""Presets for shapes."""

import dataclasses

from converters.paper_recipe import of_the_papers
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.plugins import Preset

# Edges of shapes want as high frequencies as images. Rates of 5e-4 and 4e-3 are better for the first minutes, and make
# learning collapse when they stay as high for 1,500 steps. docs/explanation/kinds.md has the sweep
# (`python -m benchmarks.shapes --sweep`).
SHAPES32_FAST = Preset(
    summary="shapes at 32x32x32, for a few CPU cores",
    config=ConvertConfig(
        preset="shapes32-fast",
        network=NetworkConfig(width=128, depth=4, w0=30.0, modulation_dim=256),
        outer=OuterLoopConfig(
            num_steps=7500,
            batch_size=16,
            num_points=2048,
            learning_rate=3e-4,
            map_learning_rate=2.5e-3,
            decay_fraction=0.8,
        ),
    ),
    source={"resolution": 32},
)

# Fewer examples are monitored, less often: a look at 64 of them takes as long as 100 steps. Thin walls are uncertain:
# ones count more (IoU +0.045 after 3 minutes of learning), and a step of the fit sees more of them (+0.01 to 0.02);
# 20 updates of tuning on so many points take as long as 100 at a stride of 4.
SHAPES64_FAST = Preset(
    summary="shapes at 64x64x64, for a few CPU cores",
    config=dataclasses.replace(
        SHAPES32_FAST.config,
        preset="shapes64-fast",
        outer=dataclasses.replace(SHAPES32_FAST.config.outer, num_steps=7000, num_monitored=16, monitor_every=500),
        fit=FitConfig(stride=2, tuning_steps=20),
        weight_of_ones=1.5,
    ),
    source={"resolution": 64},
)

# Dupont et al. 2022, "From data to functa", appendix on ShapeNet 64^3: SIREN of 15 layers of 512, latent modulations,
# 3 inner steps, Adam 3e-6, 5e5 steps as for its images. Two things are ours: w0 is 10 where its images have 30, since
# 15 layers at 30 are reported to fail on 3-D shapes, and a step sees 8,192 of the 262,144 points.
SHAPENET64_PAPER = Preset(
    summary="shapes at 64x64x64 with the network of the functa paper: 500,000 outer steps, for accelerators",
    config=ConvertConfig(
        preset="shapenet64-paper",
        network=NetworkConfig(width=512, depth=15, w0=10.0, modulation_dim=256),
        **of_the_papers(num_steps=500_000, batch_size=8, num_points=8192),
    ),
    source={"resolution": 64},
)

SHAPE_PRESETS = {
    "shapes32-fast": SHAPES32_FAST,
    "shapes64-fast": SHAPES64_FAST,
    "shapenet64-paper": SHAPENET64_PAPER,
}

# An array file has the resolution that it has.
VOXELS_PRESETS = {name: dataclasses.replace(preset, source={}) for name, preset in SHAPE_PRESETS.items()}
