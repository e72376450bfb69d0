"""How well are sound and video kept, against as many principal components and as many cosines?

    python -m benchmarks.signals audio|video --archive ARCHIVE [--limit N] [--outer-steps N] [--sweep [RECIPE ...]]

Learns on the training split of an archive, windows of sound or clips as the preset cuts them, and reports of the
held-out examples the mean PSNR and the mean signal-to-noise ratio: the energy of what an example differs from the mean
of the training split, over that of the error, in decibels. Peers keep as many numbers per example:

- principal components of the training split;
- the lowest cosines of each example, those nearest to zero frequency, in as many channels as it has.

--sweep compares recipes on the last tenth of the training split, of which the others learn; what is held out is not
looked at.
"""

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.fft import dctn, idctn

from benchmarks import report
from benchmarks.harmonics import principal
from benchmarks.sweep import Changes, TrainingPart, changed, lasting, validation_psnr
from converters.audio import open_audio
from converters.audio_presets import AUDIO_FAST
from converters.video import open_video
from converters.video_presets import VIDEO_FAST
from functa_store.config import ConvertConfig
from functa_store.feed import Feed, evenly
from functa_store.learn.batches import fit_examples
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.parallel import use_all_cores
from functa_store.learn.tuning import tune
from functa_store.metrics import psnr_mean
from functa_store.sources import Source

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


def lowest_cosines(values: np.ndarray, count: int) -> np.ndarray:
    """Examples as the sum of their lowest cosines, by the length of the frequency in cycles per domain.

    Args:
        values: Shape (examples, *resolution, channels).
        count: Coefficients of all channels together.
    """
    axes = tuple(range(1, values.ndim - 1))
    coefficients = np.asarray(dctn(values.astype(np.float64), axes=axes, norm="ortho"))
    frequencies = functools.reduce(np.add.outer, [np.arange(n) ** 2 for n in values.shape[1:-1]])
    kept = np.zeros(frequencies.size, bool)
    kept[np.argsort(frequencies, axis=None, kind="stable")[: count // values.shape[-1]]] = True
    return np.asarray(idctn(coefficients * kept.reshape(*frequencies.shape, 1), axes=axes, norm="ortho"))


def features(source: Source, indices: np.ndarray) -> np.ndarray:
    """Features of some examples, shape (examples, *resolution, channels)."""
    raw = np.stack([source.read(int(i)) for i in indices]).astype(np.float32)
    return raw * np.float32(source.features.scale) + np.float32(source.features.offset)


def fitted_errors(source: Source, config: ConvertConfig, indices: np.ndarray) -> np.ndarray:
    """Mean squared error of each of some examples by a base that is learned on the training split."""
    base = meta_learn(source, config)
    ready = tune(base, source, config)
    return fit_examples(ready.fit, ready.shared, Feed(source), indices).mse


def compare(source: Source, config: ConvertConfig) -> list[dict[str, Any]]:
    """Mean PSNR and SNR of held-out examples in decibels, one row each for ours and the peers."""
    held_out = evenly(np.flatnonzero(source.split == "test"), MOST_HELD_OUT)
    truth = features(source, held_out)
    training = features(source, evenly(np.flatnonzero(source.split == "train"), MOST_TRAINING))
    numbers, mean = config.network.modulation_size, training.mean(axis=0)
    components = min(numbers, len(training) - 1)
    peers = {
        f"PCA, {components} components": principal(training, truth, components),
        f"{numbers} lowest cosines": lowest_cosines(truth, numbers),
        "the mean": np.broadcast_to(mean, truth.shape),
    }
    errors = {name: _mean_square(found - truth) for name, found in peers.items()}
    errors = {f"functa, {numbers} dimensions": fitted_errors(source, config, held_out), **errors}
    signal = _mean_square(truth - mean)
    return [
        {"side": name, "psnr": psnr_mean(mse, source.features.span), "snr": float(np.mean(10 * np.log10(signal / mse)))}
        for name, mse in errors.items()
    ]


def sweep(
    source: Source, preset: ConvertConfig, names: Sequence[str], outer_steps: int | None, time_budget: float | None
) -> list[dict[str, Any]]:
    """Mean PSNR on the last tenth of the training split, one row for each recipe."""
    part = TrainingPart(source)
    configs = {name: lasting(changed(preset, RECIPES[name]), outer_steps, time_budget) for name in names}
    return [{"recipe": name, "psnr": validation_psnr(part, config)} for name, config in configs.items()]


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark, or the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--archive", required=True)
    parser.add_argument("--limit", type=int, help="examples at most")
    parser.add_argument("--outer-steps", type=int, metavar="N", help="instead of the preset's")
    parser.add_argument("--time-budget", type=float, metavar="SECONDS", help="of each learning, instead of steps")
    parser.add_argument("--sweep", nargs="*", choices=RECIPES, metavar="RECIPE", help="compare recipes (default: all)")
    parser.add_argument("--folder", type=Path, default=Path("bench-output"))
    args = parser.parse_args(argv)
    use_all_cores()
    opened, preset = KINDS[args.kind]
    source = opened(args.archive, limit=args.limit, **preset.source)
    if args.sweep is not None:
        rows = sweep(source, preset.config, args.sweep or list(RECIPES), args.outer_steps, args.time_budget)
        text = report.table_of(rows, {"recipe": "recipe", "psnr": "PSNR of training examples kept out (dB)"})
        report.publish(f"{args.kind}-sweep", {"rows": rows}, text, args.folder / f"{args.kind}-sweep.json")
        return
    rows = compare(source, lasting(preset.config, args.outer_steps, args.time_budget))
    text = report.table_of(rows, {"side": "held-out examples", "psnr": "PSNR (dB)", "snr": "SNR (dB)"})
    report.publish(args.kind, {"rows": rows}, text, args.folder / f"{args.kind}.json")


def _mean_square(values: np.ndarray) -> np.ndarray:
    """Of each example."""
    return np.mean(values.astype(np.float64) ** 2, axis=tuple(range(1, values.ndim)))


if __name__ == "__main__":
    main()
