"""Which choices are good for fields on the sphere?"""

from converters.presets import of_the_papers
from functa_store.config import ConvertConfig, NetworkConfig, OuterLoopConfig
from functa_store.plugins import Preset

CLIMATE_FAST = Preset(
    summary="fields on the sphere, for a few CPU cores",
    config=ConvertConfig(
        preset="climate-fast",
        network=NetworkConfig(width=128, depth=5, w0=20.0, modulation_dim=64),
        outer=OuterLoopConfig(
            num_steps=2000,
            batch_size=8,
            num_points=1024,
            learning_rate=5e-4,
            map_learning_rate=5e-3,
            monitor_every=100,
        ),
    ),
)

# Dupont et al. 2022, "COIN++: Neural Compression Across Modalities", and configs/config_era5.txt in
# https://github.com/EmilienDupont/coinpp: SIREN of 10 layers of 384, w0 = 50, 8 dimensions, points of the unit sphere,
# temperatures scaled to [0, 1] by their smallest and largest one, 3 inner steps of rate 1e-2 on all points, Adam 3e-6
# for everything, batches of 32, 800 epochs over 8,510 fields of 46 x 90 points. Two things differ from the code: its
# first layer keeps w0 = 30, and its inner rate is not learned.
CLIMATE_PAPER = Preset(
    summary="fields on the sphere as ERA5 temperatures in COIN++: 212,800 outer steps, for accelerators",
    config=ConvertConfig(
        preset="climate-paper",
        network=NetworkConfig(width=384, depth=10, w0=50.0, modulation_dim=8),
        **of_the_papers(num_steps=212_800, batch_size=32, num_points=None),
    ),
)

CLIMATE_PRESETS = {"climate-fast": CLIMATE_FAST, "climate-paper": CLIMATE_PAPER}
