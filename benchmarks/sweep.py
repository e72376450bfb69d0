"""Comparison of recipes after a given number of outer steps.

    python -m benchmarks.sweep ARCHIVE OUT [--outer-steps 600]

Learns on the first nine tenths of the training split of an archive in CelebA's layout and compares
on its last tenth; the test split takes no part. Every recipe is a change of the first one. Appends a
row to OUT (Markdown) per recipe.
"""

import argparse
import pathlib

from benchmarks.recipes import Changes, TrainingPart, validated, with_length
from converters.images.celeba import open_celeba
from functa_store.config import (
    ConvertConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.learn.devices import use_all_cores
from functa_store.learn.scores import pca_reference

START = ConvertConfig(
    network=NetworkConfig(width=128, depth=6, w0=20.0, modulation_dim=128),
    inner=InnerLoopConfig(num_steps=3, learning_rate=0.2),
    outer=OuterLoopConfig(
        num_steps=600,
        batch_size=16,
        num_points=512,
        learning_rate=2e-4,
        map_learning_rate=1e-3,
        rates_learning_rate=1e-2,
        warmup_steps=50,
        decay_fraction=0.7,
        monitor_every=300,
    ),
)

RECIPES: dict[str, Changes] = {
    "start": {},
    "inner rates from 0.01": {"inner": {"learning_rate": 0.01}},
    "SIREN 5e-4": {"outer": {"learning_rate": 5e-4}},
    "SIREN 5e-4, map 3e-3": {"outer": {"learning_rate": 5e-4, "map_learning_rate": 3e-3}},
    "SIREN 5e-4, w0 12": {"network": {"w0": 12.0}, "outer": {"learning_rate": 5e-4}},
    "w0 30": {"network": {"w0": 30.0}},
    "w0 30, SIREN 3e-4": {"network": {"w0": 30.0}, "outer": {"learning_rate": 3e-4}},
    "w0 30, map 2e-3": {"network": {"w0": 30.0}, "outer": {"map_learning_rate": 2e-3}},
    "256 points, batch 32": {"outer": {"num_points": 256, "batch_size": 32}},
    "w0 30, 1024 points, batch 8": {"network": {"w0": 30.0}, "outer": {"num_points": 1024, "batch_size": 8}},
    "w0 30, map 2e-3, 192x4": {
        "network": {"w0": 30.0, "width": 192, "depth": 4},
        "outer": {"map_learning_rate": 2e-3},
    },
    "w0 30, map 2e-3, 256x3": {
        "network": {"w0": 30.0, "width": 256, "depth": 3},
        "outer": {"map_learning_rate": 2e-3},
    },
}


def main(argv: list[str] | None = None) -> None:
    """Run the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--outer-steps", type=int, default=600)
    args = parser.parse_args(argv)
    use_all_cores()
    source = TrainingPart(open_celeba(args.archive))
    pca = pca_reference(source, START.network.modulation_size)
    with args.out.open("a") as table:
        table.write(f"PCA-{pca['components']}: {pca['psnr_mean']['test']:.2f} dB\n\n")
        table.write(f"| recipe, {args.outer_steps} outer steps | validation mean PSNR (dB) |\n|---|---:|\n")
        for row in validated(source, with_length(START, args.outer_steps, None), RECIPES):
            table.write(f"| {row['recipe']} | {row['psnr']:.2f} |\n")
            table.flush()


if __name__ == "__main__":
    main()
