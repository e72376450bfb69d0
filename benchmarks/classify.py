"""Is a better fit a worse feature? A classifier on plain and on refined modulations of the same base.

    python -m benchmarks.classify OUT [--seeds 3] [--outer-steps 1500]

meta-learns a base on the 8x8 digits that come with scikit-learn (two thirds train, every third is held out), fits all
of them by schedules of more and more steps, and trains classifiers on the modulations of the training split. Reports
the mean over seeds of the held-out PSNR and accuracies. The same classifiers on the pixels are the yardstick.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import fit_examples
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import tune
from functa_store.metrics import psnr_mean
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.sources.splits import hold_out_every

CONFIG = ConvertConfig(
    network=NetworkConfig(width=64, depth=4, w0=10.0, modulation_dim=32),
    outer=OuterLoopConfig(num_steps=1500, batch_size=32, num_points=None),
)
PIXELS = "pixels"
SCHEDULES = {
    "3 steps, as learned": FitConfig(num_steps=3, stride=1, tuning_steps=0),
    "9 steps, tuned": FitConfig(num_steps=9, stride=1),
    "17 steps, tuned": FitConfig(num_steps=17, stride=1),
    "33 steps, tuned": FitConfig(num_steps=33, stride=1),
}


def digits() -> ArraySource:
    """1,797 digits of 8x8 pixels with their class."""
    pixels, classes = load_digits(return_X_y=True)
    images = (np.asarray(pixels) / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    labels = {"digit": Label(values=np.asarray(classes))}
    features = FeatureSpec(channels=("ink",))
    return ArraySource(images, features=features, split=hold_out_every(len(images), 3), labels=labels)


def accuracies(rows: np.ndarray, source: ArraySource, seed: int) -> dict[str, float]:
    """Held-out accuracy of each classifier."""
    classifiers = {
        "logistic regression": LogisticRegression(max_iter=5000),
        "nearest neighbour": KNeighborsClassifier(1),
        "MLP": MLPClassifier((128,), max_iter=1000, random_state=seed),
    }
    target, held_out = source.labels["digit"].values, source.split == "test"
    found = {}
    for name, classifier in classifiers.items():
        pipeline = make_pipeline(StandardScaler(), classifier).fit(rows[~held_out], target[~held_out])
        found[name] = float(pipeline.score(rows[held_out], target[held_out]))
    return found


def results(source: ArraySource, config: ConvertConfig) -> dict[str, dict[str, float]]:
    """PSNR and accuracies of every schedule on one base."""
    training = TrainingSet(source, config)
    base = meta_learn(training, config)
    found = {PIXELS: accuracies(np.asarray(source.values).reshape(len(source.ids), -1), source, config.seed)}
    for name, schedule in SCHEDULES.items():
        ready = tune(base, training, dataclasses.replace(config, fit=schedule))
        modulations, mse, _ = fit_examples(ready.fit, ready.shared, training.reader, np.arange(len(source.ids)))
        psnr = psnr_mean(mse[source.split == "test"])
        found[name] = {"psnr_mean": psnr, **accuracies(modulations, source, config.seed)}
    return found


def markdown(by_seed: list[dict[str, dict[str, float]]]) -> str:
    """Means over seeds as a table."""
    measures = list(by_seed[0][next(iter(SCHEDULES))])
    lines = [f"| features | {' | '.join(measures)} |\n", f"|---|{'---:|' * len(measures)}\n"]
    for name in by_seed[0]:
        cells = (np.mean([found[name].get(measure, np.nan) for found in by_seed]) for measure in measures)
        words = (("" if np.isnan(c) else f"{c:.2f} dB" if c > 1 else f"{100 * c:.1f} %") for c in cells)
        lines.append(f"| {name} | {' | '.join(words)} |\n")
    return "".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outer-steps", type=int, default=CONFIG.outer.num_steps)
    args = parser.parse_args(argv)
    use_all_cores()
    outer = dataclasses.replace(CONFIG.outer, num_steps=args.outer_steps)
    by_seed: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        by_seed.append(results(digits(), dataclasses.replace(CONFIG, outer=outer, seed=seed)))
        args.out.write_text(json.dumps(by_seed, indent=1))
    sys.stdout.write(markdown(by_seed))


if __name__ == "__main__":
    main()
