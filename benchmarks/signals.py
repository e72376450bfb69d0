"""Quality of sound and video, against as many principal components and as many cosines.

    python -m benchmarks.signals audio|video --archive ARCHIVE [--limit N] [--outer-steps N] [--sweep [RECIPE ...]] \
        [words of functa convert]

Learns on the training split of an archive, windows of sound or clips as the preset cuts them, and reports the mean PSNR
of held-out examples, beside that of peers that keep as many numbers per example:

- principal components of training examples, `MOST_TRAINING` at most;
- a truncated discrete cosine transform, of the lowest frequencies in as many channels as there are;
- nothing: the mean of those training examples.

--sweep compares recipes on the last tenth of the training split, of which the others learn, fitted by the steps that
they learned with; the held-out split is not looked at.
"""

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
from scipy.fft import dctn, idctn

from benchmarks import report
from benchmarks.altered_sources import TrainingPart
from benchmarks.harmonics import principal
from benchmarks.recipes import Changes, validated, with_length, with_words
from converters.signals.audio import AUDIO_FAST, open_audio
from converters.signals.video import VIDEO_FAST, open_video
from functa_store.config import ConvertConfig
from functa_store.errors import ArchiveError
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import fit_examples
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import tune
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly

KINDS = {"audio": (open_audio, AUDIO_FAST), "video": (open_video, VIDEO_FAST)}
MOST_HELD_OUT = 1024
MOST_TRAINING = 2048
"""Examples that the peers learn from."""

RECIPES: dict[str, Changes] = {
    "preset": {},
    "w0 10": {"network": {"w0": 10.0}},
    "w0 20": {"network": {"w0": 20.0}},
    "w0 30": {"network": {"w0": 30.0}},
    "w0 60": {"network": {"w0": 60.0}},
    "w0 100": {"network": {"w0": 100.0}},
    "w0 150": {"network": {"w0": 150.0}},
    "w0 200": {"network": {"w0": 200.0}},
    "128x6": {"network": {"width": 128, "depth": 6}},
    "192x4": {"network": {"width": 192, "depth": 4}},
    "SIREN 5e-4, map 5e-3": {"outer": {"learning_rate": 5e-4, "map_learning_rate": 5e-3}},
    "SIREN 1e-4, map 1e-3": {"outer": {"learning_rate": 1e-4, "map_learning_rate": 1e-3}},
    "2048 points, batch 8": {"outer": {"num_points": 2048, "batch_size": 8}},
}


def truncated_dct(values: np.ndarray, count: int) -> np.ndarray:
    """Examples as the sum of their lowest cosines, by the length of the vector of their indices.

    Args:
        values: Shape (examples, *resolution, channels).
        count: Cosines per channel.

    Returns:
        The same shape, float64.
    """
    axes = tuple(range(1, values.ndim - 1))
    coefficients = np.asarray(dctn(values.astype(np.float64), axes=axes, norm="ortho"))
    lengths = functools.reduce(np.add.outer, [np.arange(n) ** 2 for n in values.shape[1:-1]])
    kept = np.zeros(lengths.size, bool)
    kept[np.argsort(lengths, axis=None, kind="stable")[:count]] = True
    return np.asarray(idctn(coefficients * kept.reshape(*lengths.shape, 1), axes=axes, norm="ortho"))


def features(source: Source, indices: np.ndarray) -> np.ndarray:
    """Features of some examples, shape (examples, *resolution, channels)."""
    return source.features.of_raw(np.stack([source.read(int(i)) for i in indices]))


def fitted_errors(source: Source, config: ConvertConfig, indices: np.ndarray) -> np.ndarray:
    """Mean squared error of each of some examples by a base that is learned on the training split."""
    training = TrainingSet(source, config)
    base = meta_learn(training, config)
    ready = tune(base, training, config)
    return fit_examples(ready.fit, ready.shared, training.reader, indices).mse


def compare(source: Source, config: ConvertConfig) -> list[dict[str, Any]]:
    """Mean PSNR of held-out examples in decibels, one row each for ours and the peers.

    Raises:
        ArchiveError: If none are held out.
    """
    held_out = evenly(np.flatnonzero(source.split == "test"), MOST_HELD_OUT)
    if not len(held_out):
        raise ArchiveError(f"{source.provenance['archive']}: no example is held out, take more of them")
    truth = features(source, held_out)
    training = features(source, evenly(np.flatnonzero(source.split == "train"), MOST_TRAINING))
    numbers, cosines = config.network.modulation_size, config.network.modulation_size // source.features.num_channels
    components = min(numbers, len(training) - 1)
    peers = {
        f"PCA, {components} components": principal(training, truth, components),
        f"DCT, {cosines} cosines per channel": truncated_dct(truth, cosines),
        "the mean": training.mean(axis=0),
    }
    errors = {f"functa, {numbers} dimensions": fitted_errors(source, config, held_out)}
    for name, found in peers.items():
        errors[name] = np.mean((found - truth) ** 2, axis=tuple(range(1, truth.ndim)))
    span = source.features.span
    return [{"side": name, "psnr": report.decibels(mse, span)} for name, mse in errors.items()]


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark, or the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--archive", required=True)
    parser.add_argument("--limit", type=int, help="examples at most")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--outer-steps", type=int, metavar="N", help="instead of the preset's")
    length.add_argument("--time-budget", type=float, metavar="SECONDS", help="of each learning, instead of steps")
    parser.add_argument("--sweep", nargs="*", choices=RECIPES, metavar="RECIPE", help="compare recipes (default: all)")
    parser.add_argument("--folder", type=Path, default=Path("bench-output"))
    args, words = parser.parse_known_args(argv)
    use_all_cores()
    opened, preset = KINDS[args.kind]
    source = opened(args.archive, limit=args.limit, **preset.source)
    config = with_words(with_length(preset.config, args.outer_steps, args.time_budget), words)
    facts = {"source": source.provenance, "config": dataclasses.asdict(config)}
    if args.sweep is not None:
        rows = list(validated(TrainingPart(source), config, {name: RECIPES[name] for name in args.sweep or RECIPES}))
        name, headings = f"{args.kind}-sweep", {"recipe": "recipe", "psnr": "PSNR of training examples kept out (dB)"}
    else:
        rows = compare(source, config)
        name, headings = args.kind, {"side": "held-out examples", "psnr": "PSNR (dB)"}
    report.publish(name, facts | {"rows": rows}, report.table_of(rows, headings), args.folder / f"{name}.json")


if __name__ == "__main__":
    main()
