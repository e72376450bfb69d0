"""How fast does held-out PSNR rise, against the plain recipe of the literature?

    python -m benchmarks.time_to_quality ARCHIVE OUT [--outer-steps 4000] [--recipes ours plain]

meta-learns once per recipe on an archive in CelebA's layout, keeping the base every 250 outer steps;
the test split is only looked at afterwards, to report it. An outer step is the same arithmetic in
both recipes, so steps stand for time; OUT.json has the seconds, too. Recipes already in OUT.json are
not run again. Writes OUT.json, OUT.md and OUT.png.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from converters.celeba import open_celeba
from converters.presets import CELEBA64_FAST
from functa_store.config import ConvertConfig, InnerLoopConfig
from functa_store.feed import Feed
from functa_store.learn.fit import Fit, fit_examples, make_fit
from functa_store.learn.meta_learn import Snapshot, meta_learn
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


class EverySoOften:
    """Snapshots that keep the base every so many outer steps, and the last one."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.kept: list[Snapshot] = []

    def load(self, like: Snapshot) -> None:
        """Start from nothing."""

    def offer(self, snapshot: Snapshot) -> None:
        """Keep the last snapshot of every interval."""
        if snapshot.step % self.interval == 0:
            self.kept.append(snapshot)

    def save(self, snapshot: Snapshot) -> None:
        """Keep the last one."""
        if not self.kept or self.kept[-1].step != snapshot.step:
            self.kept.append(snapshot)


def curve(source: Source, config: ConvertConfig, interval: int) -> list[dict[str, float]]:
    """Held-out PSNR over the outer steps."""
    keep = EverySoOften(interval)
    base = meta_learn(source, config, snapshots=keep)
    fit = make_fit(base.graph, source.domain.coords(), source.features)
    return [_point(source, fit, snapshot) for snapshot in keep.kept]


def _point(source: Source, fit: Fit, snapshot: Snapshot) -> dict[str, float]:
    learnable = jax.device_get(snapshot.state.learnable)
    held_out = np.flatnonzero(source.split == "test")
    mse = np.concatenate([mse for _, mse in fit_examples(fit, learnable, Feed(source), held_out)])
    return {
        "seconds": snapshot.seconds,
        "outer_steps": snapshot.step,
        "psnr_mean": psnr_mean(mse),
        "psnr_of_mean_mse": psnr_of_mean_mse(mse),
    }


def markdown(curves: dict[str, list[dict[str, float]]], pca: dict[str, Any]) -> str:
    """One row per point of the curves, one pair of columns per recipe."""
    heading = "| " + " | ".join(f"{name}: outer steps | held-out mean PSNR (dB)" for name in curves) + " |\n"
    lines = [heading, "|" + "---:|" * (2 * len(curves)) + "\n"]
    for row in itertools.zip_longest(*curves.values()):
        cells = [f"{p['outer_steps']:,} | {p['psnr_mean']:.2f}" if p else " | " for p in row]
        lines.append("| " + " | ".join(cells) + " |\n")
    linear = f"\nPCA, {pca['components']} components, same split: {pca['psnr_mean']['test']:.2f} dB.\n" if pca else ""
    return "".join(lines) + linear


def plot(curves: dict[str, list[dict[str, float]]], pca: dict[str, Any], path: pathlib.Path) -> None:
    """Draw the curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot([p["outer_steps"] for p in points], [p["psnr_mean"] for p in points], marker=".", label=name)
    if pca:
        axes.axhline(pca["psnr_mean"]["test"], color="grey", linestyle=":", label=f"PCA-{pca['components']}")
    axes.set(xlabel="outer steps", ylabel="held-out mean PSNR (dB)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--outer-steps", type=int, default=OURS.outer.num_steps)
    parser.add_argument("--interval", type=int, default=250)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    args = parser.parse_args(argv)
    use_all_cores()
    source = open_celeba(args.archive)
    pca = pca_reference(source, OURS.network.modulation_size)
    results = args.out.with_suffix(".json")
    curves = json.loads(results.read_text())["curves"] if results.exists() else {}
    for name in [name for name in args.recipes if name not in curves]:
        outer = dataclasses.replace(RECIPES[name].outer, num_steps=args.outer_steps)
        curves[name] = curve(source, dataclasses.replace(RECIPES[name], outer=outer), args.interval)
        results.write_text(json.dumps({"curves": curves, "pca": pca}, indent=1))
    args.out.with_suffix(".md").write_text(markdown(curves, pca))
    plot(curves, pca, args.out.with_suffix(".png"))
    sys.stdout.write(args.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
