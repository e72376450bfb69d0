"""Which choices are good for which archive?"""

from typing import Any

from functa_store.config import ConvertConfig, FitConfig, InnerLoopConfig, NetworkConfig, OuterLoopConfig
from functa_store.plugins import Preset


def of_the_papers(num_steps: int, batch_size: int, num_points: int | None, **more: int) -> dict[str, Any]:
    """The loops of the functa and COIN++ papers: 3 inner steps, Adam 3e-6 for everything, no schedule.

    Args:
        num_steps: Updates of the base network.
        batch_size: Examples per update.
        num_points: Points of each example per inner step; None takes all of them.
        **more: Further fields of `OuterLoopConfig`.

    Returns:
        Fields of a `ConvertConfig`.
    """
    outer = OuterLoopConfig(
        num_steps=num_steps,
        batch_size=batch_size,
        num_points=num_points,
        learning_rate=3e-6,
        map_learning_rate=3e-6,
        rates_learning_rate=3e-6,
        warmup_steps=0,
        decay_fraction=0.0,
        **more,
    )
    fit = FitConfig(num_steps=3, stride=1, tuning_steps=0)
    return {"inner": InnerLoopConfig(num_steps=3, learning_rate=1e-2), "outer": outer, "fit": fit}


# The defaults of every configuration are this recipe's, chosen on an inner validation split of 1,171
# portraits; docs/explanation/quality.md has the sweep.
CELEBA64_FAST = Preset(
    summary="faces at 64x64: a quarter of an hour of learning on 2 CPU cores",
    config=ConvertConfig(preset="celeba64-fast"),
    source={"resolution": 64, "crop": "square"},
)

# Dupont et al. 2022, "From data to functa", appendix on CelebA-HQ 64x64, and get_config() in
# https://github.com/google-deepmind/functa/blob/main/experiment_meta_learning.py: SIREN of 15 layers of 512,
# w0 = 30, 3 inner steps on all points, Adam 3e-6 for everything, batches of 16 per device, 5e5 steps, no schedule.
# The code defaults to 128 dimensions; the paper goes from 64 to 1024. Two things differ from the code: it starts
# the inner rates at random in (0.005, 0.1) where we start them all at 1e-2, and it does not clip the gradient.
CELEBA64_PAPER = Preset(
    summary="faces at 64x64 as in the functa paper: 500,000 outer steps, for accelerators",
    config=ConvertConfig(
        preset="celeba64-paper",
        network=NetworkConfig(width=512, depth=15, w0=30.0, modulation_dim=256),
        **of_the_papers(num_steps=500_000, batch_size=16, num_points=None),
    ),
    source={"resolution": 64, "crop": "square"},
)

IMAGES64_FAST = Preset(
    summary="any images at 64x64: a quarter of an hour of learning on 2 CPU cores",
    config=ConvertConfig(preset="images64-fast"),
    source={"resolution": 64, "crop": "square"},
)

CELEBA_PRESETS = {"celeba64-fast": CELEBA64_FAST, "celeba64-paper": CELEBA64_PAPER}
IMAGES_PRESETS = {"images64-fast": IMAGES64_FAST}
