"""Comparison of recipes after a given number of outer steps.

    python -m benchmarks.sweep celeba64-fast|faces64-512|cifar10-1024|photographs256|shapes64-1024 ARCHIVE OUT \
        [--outer-steps 600] [--recipe NAME ...]

Learns on the first nine tenths of the training split of an archive and compares on its last tenth, by the inner steps
of learning; the test split takes no part. Every recipe is a change of the first one. Appends a row to OUT (Markdown)
per recipe.
"""

import argparse
import dataclasses
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.altered_sources import TrainingPart
from benchmarks.recipes import Changes, validated, with_length
from functa_store.config import (
    ConvertConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
    overlaid,
)
from functa_store.learn.devices import use_all_cores
from functa_store.learn.scores import pca_reference
from functa_store.plugins import converters
from functa_store.progress import silent
from functa_store.sources.options import split_options


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """Recipes for an archive.

    Attributes:
        kind: Of the converter that opens it.
        options: Of that converter.
        start: What the recipes change.
        recipes: By name; the first one is usually no change at all.
    """

    kind: str
    options: Mapping[str, Any]
    start: ConvertConfig
    recipes: Mapping[str, Changes]


VECTORS = Sweep(
    kind="celeba",
    options={"resolution": 64, "crop": "square"},
    start=ConvertConfig(
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
    ),
    recipes={
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
    },
)


def _in_cells(grid: tuple[int, ...], dim: int, **outer: Any) -> ConvertConfig:
    """Where the sweeps of grids start."""
    return ConvertConfig(
        network=NetworkConfig(
            width=128, depth=4, w0=10.0, modulation="spatial", modulation_grid=grid, modulation_dim=dim
        ),
        outer=OuterLoopConfig(**{"learning_rate": 5e-4, "map_learning_rate": 2e-3, "num_points": 1024, **outer}),
    )


def _grid(*cells: int, dim: int, **more: Any) -> dict[str, Any]:
    return {"modulation": "spatial", "modulation_grid": cells, "modulation_dim": dim, **more}


def _vector(dim: int) -> dict[str, Any]:
    return {"modulation": "latent", "modulation_grid": None, "modulation_dim": dim, "w0": 30.0}


_GENERAL: dict[str, Changes] = {
    "start": {},
    "w0 5": {"network": {"w0": 5.0}},
    "w0 20": {"network": {"w0": 20.0}},
    "SIREN 1e-3": {"outer": {"learning_rate": 1e-3}},
    "SIREN 2e-4": {"outer": {"learning_rate": 2e-4}},
    "map 4e-3": {"outer": {"map_learning_rate": 4e-3}},
    "map 1e-3": {"outer": {"map_learning_rate": 1e-3}},
    "192 wide": {"network": {"width": 192}},
    "6 deep": {"network": {"depth": 6}},
    "4 inner steps": {"inner": {"num_steps": 4}},
    "map of 3x3": {"network": {"map_kernel": 3}},
    "linear look-up": {"network": {"lookup": "linear"}},
}

SWEEPS = {
    "celeba64-fast": VECTORS,
    "faces64-512": Sweep(
        kind="celeba",
        options={"resolution": 64, "crop": "square"},
        start=_in_cells((4, 4), 32),
        recipes={
            **_GENERAL,
            "w0 20, SIREN 1e-3": {"network": {"w0": 20.0}, "outer": {"learning_rate": 1e-3}},
            "w0 30, SIREN 1e-3": {"network": {"w0": 30.0}, "outer": {"learning_rate": 1e-3}},
            "w0 20, SIREN 1e-3, map 4e-3": {
                "network": {"w0": 20.0},
                "outer": {"learning_rate": 1e-3, "map_learning_rate": 4e-3},
            },
            "w0 20, SIREN 2e-3, map 4e-3": {
                "network": {"w0": 20.0},
                "outer": {"learning_rate": 2e-3, "map_learning_rate": 4e-3},
            },
            "w0 20, SIREN 1e-3, 5 deep": {"network": {"w0": 20.0, "depth": 5}, "outer": {"learning_rate": 1e-3}},
            "w0 20, SIREN 1e-3, 192 wide": {"network": {"w0": 20.0, "width": 192}, "outer": {"learning_rate": 1e-3}},
            "w0 20, SIREN 1e-3, map of 3x3": {
                "network": {"w0": 20.0, "map_kernel": 3},
                "outer": {"learning_rate": 1e-3},
            },
            "8x8x8": {"network": _grid(8, 8, dim=8)},
            "2x2x128": {"network": _grid(2, 2, dim=128)},
            "one vector": {"network": _vector(512)},
        },
    ),
    "cifar10-1024": Sweep(
        kind="images",
        options={"resolution": 32},
        start=_in_cells((8, 8), 16),
        recipes={
            **_GENERAL,
            "w0 15, SIREN 1e-3": {"network": {"w0": 15.0}, "outer": {"learning_rate": 1e-3}},
            "w0 20, SIREN 1e-3": {"network": {"w0": 20.0}, "outer": {"learning_rate": 1e-3}},
            "SIREN 1e-3, map 4e-3": {"outer": {"learning_rate": 1e-3, "map_learning_rate": 4e-3}},
            "SIREN 2e-3": {"outer": {"learning_rate": 2e-3}},
            "SIREN 4e-3": {"outer": {"learning_rate": 4e-3}},
            "w0 20, SIREN 2e-3": {"network": {"w0": 20.0}, "outer": {"learning_rate": 2e-3}},
            "w0 20, SIREN 2e-3, map 4e-3": {
                "network": {"w0": 20.0},
                "outer": {"learning_rate": 2e-3, "map_learning_rate": 4e-3},
            },
            "4x4x64": {"network": _grid(4, 4, dim=64)},
            "one vector": {"network": _vector(1024)},
        },
    ),
    "photographs256": Sweep(
        kind="images",
        options={"resolution": 256, "crop": "square"},
        start=overlaid(
            _in_cells((16, 16), 23, num_monitored=16, learning_rate=1e-3, map_learning_rate=4e-3),
            {"network": {"w0": 20.0, "depth": 5}},
        ),
        recipes={
            "start": {},
            "w0 10": {"network": {"w0": 10.0}},
            "8x8x92": {"network": _grid(8, 8, dim=92)},
            "8x8x92, SIREN 5e-4, map 2e-3": {
                "network": _grid(8, 8, dim=92),
                "outer": {"learning_rate": 5e-4, "map_learning_rate": 2e-3},
            },
            "SIREN 5e-4, map 2e-3": {"outer": {"learning_rate": 5e-4, "map_learning_rate": 2e-3}},
            "w0 30, SIREN 5e-4, map 2e-3": {
                "network": {"w0": 30.0},
                "outer": {"learning_rate": 5e-4, "map_learning_rate": 2e-3},
            },
            "192 wide": {
                "network": {"width": 192},
                "outer": {"learning_rate": 5e-4, "map_learning_rate": 2e-3},
            },
        },
    ),
    "shapes64-1024": Sweep(
        kind="shapenet",
        options={"resolution": 64},
        start=_in_cells((4, 4, 4), 16, num_points=4096),
        recipes={
            **_GENERAL,
            "8x8x8x2": {"network": _grid(8, 8, 8, dim=2)},
            "2x2x2x128": {"network": _grid(2, 2, 2, dim=128)},
            "one vector": {"network": _vector(1024)},
        },
    ),
}


def main(argv: list[str] | None = None) -> None:
    """Run a sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", choices=SWEEPS)
    parser.add_argument("archive")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--outer-steps", type=int, default=600)
    parser.add_argument("--recipe", nargs="+", default=None, metavar="NAME", help="only these")
    args = parser.parse_args(argv)
    use_all_cores()
    sweep, converter = SWEEPS[args.sweep], converters()[SWEEPS[args.sweep].kind]
    source = TrainingPart(converter.open(args.archive, *split_options(converter.options, sweep.options), silent))
    pca = pca_reference(source, sweep.start.network.modulation_size)
    chosen = args.recipe or list(sweep.recipes)
    with args.out.open("a") as table:
        if pca:
            table.write(f"PCA-{pca['components']}: {pca['psnr_mean']['test']:.2f} dB\n\n")
        table.write(
            f"| recipe, {args.outer_steps} outer steps | validation mean PSNR (dB) | minutes |\n|---|---:|---:|\n"
        )
        start = time.monotonic()
        for row in validated(
            source, with_length(sweep.start, args.outer_steps, None), {name: sweep.recipes[name] for name in chosen}
        ):
            now = time.monotonic()
            table.write(f"| {row['recipe']} | {row['psnr']:.2f} | {(now - start) / 60:.1f} |\n")
            table.flush()
            start = now


if __name__ == "__main__":
    main()
