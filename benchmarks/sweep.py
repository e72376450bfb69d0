"""Which recipe is best after a given number of outer steps?

    python -m benchmarks.sweep ARCHIVE OUT [--outer-steps 600]

Learns on the first nine tenths of the training split of an archive in CelebA's layout and compares
on its last tenth; the test split takes no part. Every recipe is a change of the first one. Appends a
row to OUT (Markdown) per recipe.
"""

import argparse
import dataclasses
import pathlib
from typing import Any

import numpy as np

from converters.celeba import open_celeba
from functa_store.config import ConvertConfig, InnerLoopConfig, NetworkConfig, OuterLoopConfig
from functa_store.feed import Feed
from functa_store.learn.batches import mean_psnr
from functa_store.learn.inner_loop import extend
from functa_store.learn.meta_learn import learned_fit, meta_learn
from functa_store.learn.parallel import use_all_cores
from functa_store.learn.pca import pca_reference
from functa_store.sources import Source, hold_out_last

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

Changes = dict[str, dict[str, Any]]
"""Values of parts of a configuration."""

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


class TrainingPart(Source):
    """The training split of a source as a source of its own, its last tenth held out."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._indices = np.flatnonzero(source.split == "train")
        self.domain, self.features, self.labels, self.rejects = source.domain, source.features, {}, []
        self.ids = [source.ids[int(i)] for i in self._indices]
        self.split = hold_out_last(len(self.ids))
        self.provenance = source.provenance

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example."""
        return self._source.read(int(self._indices[index]))


def changed(config: ConvertConfig, changes: Changes) -> ConvertConfig:
    """A configuration with some values of its parts changed."""
    parts = {part: dataclasses.replace(getattr(config, part), **values) for part, values in changes.items()}
    return dataclasses.replace(config, **parts)


def lasting(config: ConvertConfig, outer_steps: int | None, time_budget: float | None) -> ConvertConfig:
    """A configuration that learns for so many steps, or else seconds, or else as long as it did."""
    if outer_steps is None and time_budget is None:
        return config
    budget = time_budget if outer_steps is None else None
    return changed(config, {"outer": {"num_steps": outer_steps, "time_budget": budget}})


def validation_psnr(source: Source, config: ConvertConfig) -> float:
    """Mean PSNR on the part held out of the training split."""
    base = meta_learn(source, config)
    fit = learned_fit(base.graph, config, source)
    shared = fit.prepare(base.learnable.base, extend(base.learnable.rates, config.inner.num_steps))
    return mean_psnr(fit, shared, Feed(source), np.flatnonzero(source.split == "test"))


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
        for name, changes in RECIPES.items():
            config = lasting(changed(START, changes), args.outer_steps, None)
            table.write(f"| {name} | {validation_psnr(source, config):.2f} |\n")
            table.flush()


if __name__ == "__main__":
    main()
