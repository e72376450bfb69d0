"""How fast does held-out PSNR rise, against the plain recipe of the literature?

    python -m benchmarks.time_to_quality ARCHIVE OUT [--seconds 900] [--recipes ours plain]

meta-learns once per recipe on an archive in CelebA's layout, one after the other, keeping the base
once a minute; the test split is only looked at afterwards, to report it. Writes OUT.json, OUT.md and
OUT.png.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import sys
from typing import Any

import numpy as np

from converters.celeba import open_celeba
from converters.presets import CELEBA64_FAST
from functa_store.config import ConvertConfig, InnerLoopConfig
from functa_store.feed import Feed
from functa_store.learn.fit import fit_examples, make_fit
from functa_store.learn.meta_learn import Base, Snapshot, meta_learn
from functa_store.learn.outer_loop import Learnable
from functa_store.learn.parallel import use_all_cores
from functa_store.learn.pca import pca_reference
from functa_store.metrics import psnr_mean, psnr_of_mean_mse
from functa_store.sources import Source

OURS = CELEBA64_FAST.config

# One Adam of 1e-4 for everything, w0 = 30, inner rates from 1e-2, no schedule (the published recipe
# with the rate that suits a small network); network, batch, points and code are those of OURS.
PLAIN = dataclasses.replace(
    OURS,
    network=dataclasses.replace(OURS.network, w0=30.0),
    inner=InnerLoopConfig(num_steps=3, learning_rate=1e-2),
    outer=dataclasses.replace(
        OURS.outer,
        learning_rate=1e-4,
        map_learning_rate=1e-4,
        rates_learning_rate=1e-4,
        warmup_steps=0,
        decay_fraction=0.0,
    ),
)
RECIPES = {"ours": OURS, "plain": PLAIN}


class EveryMinute:
    """Snapshots that keep the base once per interval of learning."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.kept: list[Snapshot] = []

    def load(self, like: Snapshot) -> None:
        """Start from nothing."""

    def offer(self, snapshot: Snapshot) -> None:
        """Keep the first snapshot of every interval."""
        if snapshot.seconds >= self.interval * (len(self.kept) + 1):
            self.kept.append(snapshot)

    def save(self, snapshot: Snapshot) -> None:
        """Keep the last one."""
        self.kept.append(snapshot)


def curve(source: Source, config: ConvertConfig, interval: float) -> list[dict[str, float]]:
    """Held-out PSNR over the seconds of learning."""
    keep = EveryMinute(interval)
    base = meta_learn(source, config, snapshots=keep)
    points = [_point(source, base, snapshot, snapshot.state.learnable) for snapshot in keep.kept]
    return [*points[:-1], _point(source, base, keep.kept[-1], base.learnable)]


def _point(source: Source, base: Base, snapshot: Snapshot, learnable: Learnable) -> dict[str, float]:
    fit = make_fit(base.graph, source.domain.coords(), source.features)
    held_out = np.flatnonzero(source.split == "test")
    mse = np.concatenate([mse for _, mse in fit_examples(fit, learnable, Feed(source), held_out)])
    return {
        "seconds": snapshot.seconds,
        "outer_steps": snapshot.step,
        "psnr_mean": psnr_mean(mse),
        "psnr_of_mean_mse": psnr_of_mean_mse(mse),
    }


def markdown(curves: dict[str, list[dict[str, float]]], pca: dict[str, Any]) -> str:
    """One row per minute, one column per recipe: seconds, outer steps and mean PSNR."""
    heading = "| " + " | ".join(f"{name}: s | outer steps | held-out mean PSNR (dB)" for name in curves) + " |\n"
    lines = [heading, "|" + "---:|" * (3 * len(curves)) + "\n"]
    for row in itertools.zip_longest(*curves.values()):
        cells = [f"{p['seconds']:.0f} | {p['outer_steps']:,} | {p['psnr_mean']:.2f}" if p else " | | " for p in row]
        lines.append("| " + " | ".join(cells) + " |\n")
    linear = f"\nPCA, {pca['components']} components, same split: {pca['psnr_mean']['test']:.2f} dB.\n" if pca else ""
    return "".join(lines) + linear


def plot(curves: dict[str, list[dict[str, float]]], pca: dict[str, Any], path: pathlib.Path) -> None:
    """Draw the curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot([p["seconds"] / 60 for p in points], [p["psnr_mean"] for p in points], marker=".", label=name)
    if pca:
        axes.axhline(pca["psnr_mean"]["test"], color="grey", linestyle=":", label=f"PCA-{pca['components']}")
    axes.set(xlabel="minutes of meta-learning", ylabel="held-out mean PSNR (dB)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--interval", type=float, default=60.0)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    args = parser.parse_args(argv)
    use_all_cores()
    source = open_celeba(args.archive)
    pca = pca_reference(source, OURS.network.modulation_size)
    curves = {}
    for name in args.recipes:
        outer = dataclasses.replace(RECIPES[name].outer, num_steps=None, time_budget=args.seconds)
        curves[name] = curve(source, dataclasses.replace(RECIPES[name], outer=outer), args.interval)
        args.out.with_suffix(".json").write_text(json.dumps({"curves": curves, "pca": pca}, indent=1))
    args.out.with_suffix(".md").write_text(markdown(curves, pca))
    plot(curves, pca, args.out.with_suffix(".png"))
    sys.stdout.write(args.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
