"""Held-out PSNR over time, against the plain recipe of the literature.

    python -m benchmarks.time_to_quality ARCHIVE OUT [--minutes 6] [--plain-minutes 30]

First times an outer step of both sides, interleaved: ours, and the published one, jitted and vmapped with jnp.sin
(`peers.plain_outer_step`) at the same network, batch and number of points. The budgets in minutes become numbers of
steps by these seconds, so that what else the machine does while it learns changes nothing. The plain recipe is then
learned by our code, which computes the same steps sooner (tests compare them). The base is kept every `--interval`
steps and evaluated by the three steps it was learned with; the test split is only looked at afterwards. Ours is
evaluated at its end with the tuned fit of the preset, too. Writes OUT.json, OUT.md and OUT.png.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import peers
from benchmarks.timing import RUNS, Machine, interleaved
from converters.images.celeba import open_celeba
from converters.images.images import CELEBA64_FAST
from functa_store.config import ConvertConfig, FitConfig, InnerLoopConfig
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import Fit, Shared, fit_examples
from functa_store.learn.inner_loop import extend
from functa_store.learn.meta_learn import Snapshot, learned_fit, meta_learn
from functa_store.learn.observers import observer_of
from functa_store.learn.outer_loop import (
    LearnState,
    init_learnable,
    make_optimizer,
    make_outer_step,
)
from functa_store.learn.scores import pca_reference
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import tune
from functa_store.metrics import psnr_mean, psnr_of_mean_mse
from functa_store.nets.siren import to_weights
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source

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
    fit=FitConfig(num_steps=3, stride=1, tuning_steps=0),
)
RECIPES = {"ours": OURS, "plain": PLAIN}


class EverySoOften:
    """Snapshots that keep the base every so many outer steps, and the last one."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.kept: list[Snapshot] = []

    def load(self, like: Any) -> None:
        """Start from nothing."""

    def offer(self, snapshot: Any) -> None:
        """Keep the last snapshot of every interval."""
        if snapshot.step % self.interval == 0:
            self.kept.append(snapshot)

    def save(self, snapshot: Any) -> None:
        """Keep the last one."""
        if not self.kept or self.kept[-1].step != snapshot.step:
            self.kept.append(snapshot)


def step_seconds(source: Source, runs: int) -> dict[str, float]:
    """Median seconds of one outer step of each side, at the network, batch and points of OURS."""
    outer, grid, num_inputs = OURS.outer, source.domain.coords(), source.domain.num_inputs
    num_points = min(outer.num_points or len(grid), len(grid))
    raw = np.stack([source.read(i).reshape(len(grid), -1) for i in range(outer.batch_size)])
    graph, learnable = init_learnable(OURS, num_inputs, source.features.num_channels)
    state = LearnState(learnable, make_optimizer(outer).init(learnable))
    ours, key = (
        make_outer_step(graph, OURS, observer_of(source.domain, source.features, OURS.network)),
        jax.random.key(0),
    )

    optimizer = optax.adam(outer.learning_rate)
    points = jnp.asarray(grid[:num_points])
    params = {"base": to_weights(learnable.base), "rates": learnable.rates}
    moments, features = (
        optimizer.init(params),
        raw[:, :num_points].astype(np.float32) * np.float32(source.features.scale),
    )
    plain = peers.plain_outer_step(OURS.network.w0, optimizer)
    times = interleaved(
        {
            "ours": lambda: ours(state, raw, key, np.float32(1)),
            "plain": lambda: plain(params, moments, points, jnp.asarray(features)),
        },
        runs,
    )
    return {name: time.median for name, time in times.items()}


def curve(source: Source, config: ConvertConfig, interval: int, seconds: float) -> list[dict[str, float]]:
    """Held-out PSNR over the outer steps, each of which takes so many seconds."""
    keep = EverySoOften(interval)
    training = TrainingSet(source, config)
    base = meta_learn(training, config, snapshots=keep)
    fit = learned_fit(base.graph, config, source)
    points = []
    for snapshot in keep.kept:
        learnable = snapshot.state.learnable
        shared = fit.prepare(learnable.base, extend(learnable.rates, config.inner.num_steps))
        points.append(
            {"outer_steps": snapshot.step, "seconds": snapshot.step * seconds, **held_out(source, fit, shared)}
        )
    if config.fit.tuning_steps:
        points[-1]["refined"] = held_out(source, *tune(base, training, config)[:2])
    return points


def held_out(source: Source, fit: Fit, shared: Shared) -> dict[str, float]:
    """Both kinds of PSNR of the test split."""
    mse = fit_examples(fit, shared, BatchReader(source), np.flatnonzero(source.split == "test")).mse
    return {"psnr_mean": psnr_mean(mse), "psnr_of_mean_mse": psnr_of_mean_mse(mse)}


def markdown(found: dict[str, Any]) -> str:
    """Seconds per step, then a row per point of the curves."""
    seconds, pca = found["step_seconds"], found["pca"]
    lines = [f"An outer step: {', '.join(f'{name} {1000 * s:.0f} ms' for name, s in seconds.items())}.\n\n"]
    lines += ["| recipe | minutes | outer steps | held-out mean PSNR (dB) |\n", "|---|---:|---:|---:|\n"]
    for name, points in found["curves"].items():
        for p in points:
            lines.append(f"| {name} | {p['seconds'] / 60:.1f} | {p['outer_steps']:,} | {p['psnr_mean']:.2f} |\n")
        if "refined" in points[-1]:
            lines.append(f"| {name}, refined fit | | | {points[-1]['refined']['psnr_mean']:.2f} |\n")
    if pca:
        lines.append(f"\nPCA, {pca['components']} components, same split: {pca['psnr_mean']['test']:.2f} dB.\n")
    return "".join(lines)


def plot(found: dict[str, Any], path: pathlib.Path) -> None:
    """Draw the curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, points in found["curves"].items():
        axes.plot([p["seconds"] / 60 for p in points], [p["psnr_mean"] for p in points], marker=".", label=name)
    if pca := found["pca"]:
        axes.axhline(pca["psnr_mean"]["test"], color="grey", linestyle=":", label=f"PCA-{pca['components']}")
    axes.set(xlabel="minutes of outer steps", ylabel="held-out mean PSNR (dB)", xscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--plain-minutes", type=float, default=30.0)
    parser.add_argument("--interval", type=int, default=250)
    parser.add_argument("--runs", type=int, default=RUNS)
    args = parser.parse_args(argv)
    use_all_cores()
    source = open_celeba(args.archive)
    found: dict[str, Any] = {
        "machine": dataclasses.asdict(Machine.here()),
        "step_seconds": step_seconds(source, args.runs),
        "pca": pca_reference(source, OURS.network.modulation_size),
        "curves": {},
    }
    for name, minutes in {"ours": args.minutes, "plain": args.plain_minutes}.items():
        seconds = found["step_seconds"][name]
        outer = dataclasses.replace(RECIPES[name].outer, num_steps=max(1, int(60 * minutes / seconds)))
        config = dataclasses.replace(RECIPES[name], outer=outer)
        found["curves"][name] = curve(source, config, args.interval, seconds)
        args.out.with_suffix(".json").write_text(json.dumps(found, indent=1))
    args.out.with_suffix(".md").write_text(markdown(found))
    plot(found, args.out.with_suffix(".png"))
    sys.stdout.write(args.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
