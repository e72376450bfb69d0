"""What helps and hurts those who learn from modulations: steps of the fit, its prior, int8, noise, normalisation.

    python -m benchmarks.representation KIND ARCHIVE NAME --label LABEL [words of functa convert]
    python -m benchmarks.representation digits NAME

One base is learned as `functa convert KIND ARCHIVE` with these words would, and every example is fitted with it in
several ways. For each way, NAME.json and NAME.md in the folder have

- mean PSNR of the held-out examples;
- held-out accuracy of the MLP of `functa score`, mean and deviation over seeds, and of nearest neighbours;
- how well samples of a diffusion model (`examples.diffusion`) are told from modulations that were reserved from its
  training, by their nearest neighbours: 50 % is perfect. Both are in the normalised numbers of that way.

Classifiers ask about held-out examples once, in the end; no way is chosen by them here.
"""

import argparse
import dataclasses
import functools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import functa_store
from benchmarks import report
from examples import diffusion
from examples.digits import CONFIG, digits_source
from examples.gaussian import Gaussian
from examples.generate import parts_of, rows_of
from examples.infer import make_inference
from examples.partly_seen import Points, features_of
from examples.two_sample import nearest_neighbour_accuracy
from functa_store.cli import convert as convert_command
from functa_store.cli import main as cli
from functa_store.config import ConvertConfig
from functa_store.conversion.convert import convert
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import fit_examples
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import tune
from functa_store.loaders import Normalization
from functa_store.metrics import psnr_mean
from functa_store.progress import silent
from functa_store.scoring import STEPS
from functa_store.scoring.models import MLP
from functa_store.scoring.score import BATCH_SIZE
from functa_store.scoring.training import accuracy, neighbours_accuracy, train
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import Source
from functa_store.store.format.quantization import choose_rounding

FIT_STEPS = (9, 17, 33)
WEIGHTS = (0.0, 1e-3, 1e-2)
NOISES = (0.1, 0.3)
NOISY_COPIES = 8
INFERRED_AT_ONCE = 512
"""Examples that are fitted under a prior together, for the sake of memory."""


class Way(NamedTuple):
    """One way to represent the examples.

    Attributes:
        modulations: Of every example, as the base takes them.
        normalize: What makes them inputs of models.
        noise: Deviation of what is added to the inputs in training, where they have deviations of about 1.
    """

    modulations: np.ndarray
    normalize: Callable[[np.ndarray], np.ndarray]
    noise: float = 0.0


def fitted(source: Source, config: ConvertConfig) -> Iterator[tuple[str, np.ndarray]]:
    """Modulations of one base, fitted by more and more steps; the first three as they were learned, untuned."""
    training = TrainingSet(source, config)
    base = meta_learn(training, config)
    lengths = {f"{config.inner.num_steps} learned steps": {"num_steps": config.inner.num_steps, "tuning_steps": 0}}
    lengths |= {f"{steps} tuned steps": {"num_steps": steps} for steps in FIT_STEPS}
    for name, changes in lengths.items():
        ready = tune(base, training, dataclasses.replace(config, fit=dataclasses.replace(config.fit, **changes)))
        yield name, fit_examples(ready.fit, ready.shared, training.reader, np.arange(len(source.ids))).modulations


def under_a_prior(functaset: functa_store.Functaset, source: Source, weight: float) -> np.ndarray:
    """Modulations fitted by 100 steps of Adam with a Gaussian prior of a weight, at some points of every example."""
    normalization = Normalization.of_split(functaset, "train")
    rows = rows_of(functaset, np.flatnonzero(functaset.split[:] == "train"), normalization)
    infer = make_inference(functaset, Gaussian.fit(rows), normalization, points_per_step=512)
    examples = np.arange(len(functaset.ids))
    parts = np.array_split(examples, -(-len(examples) // INFERRED_AT_ONCE))
    positions = functaset.domain.coords()
    return np.concatenate(
        [
            infer(Points(positions, features.reshape(len(features), len(positions), -1)), weight)
            for features in (features_of(functaset, part, source) for part in parts)
        ]
    )


def ways(source: Source, config: ConvertConfig, functaset: functa_store.Functaset) -> Iterator[tuple[str, Way]]:
    """Every way, by name.

    Args:
        source: The examples.
        config: Of the conversion.
        functaset: The conversion of the source with it.
    """
    training = source.split == "train"

    def normalized(modulations: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        mean, deviation = modulations[training].mean(axis=0), modulations[training].std(axis=0)
        return lambda rows: (rows - mean) / np.maximum(deviation, 1e-12)

    for name, modulations in fitted(source, config):
        yield name, Way(modulations, normalized(modulations))
    usual = functaset.modulations[:]
    cells = usual.reshape(-1, usual.shape[-1])
    rounding = choose_rounding("int8", cells.min(axis=0), cells.max(axis=0))
    coarse = rounding.to_values(rounding.to_stored(cells)).reshape(usual.shape)
    name = f"{config.fit.num_steps} tuned steps"
    yield f"{name}, int8", Way(coarse, normalized(coarse))
    mean, spread = usual[training].mean(), usual[training].std()
    yield f"{name}, one scale for all numbers", Way(usual, lambda rows: (rows - mean) / spread)
    yield f"{name}, as they are", Way(usual, lambda rows: rows)
    for noise in NOISES:
        yield f"{name}, noise of {noise:g} in training", Way(usual, normalized(usual), noise)
    for weight in WEIGHTS:
        inferred = under_a_prior(functaset, source, weight)
        yield f"Adam, Gaussian prior of {weight:g}", Way(inferred, normalized(inferred))


def held_out_psnr(functaset: functa_store.Functaset, source: Source, modulations: np.ndarray) -> float:
    """Mean PSNR of the split "test", in decibels; nothing is clipped, as in a conversion."""
    test = np.flatnonzero(source.split == "test")
    truth = functaset.features.to_values(features_of(functaset, test, source).astype(np.float32))
    errors = functaset.decode_modulations(modulations[test], clip=False) - truth
    errors /= np.asarray(functaset.features.value_scale, np.float32)
    return psnr_mean(np.mean(errors**2, axis=tuple(range(1, errors.ndim))), functaset.features.span)


def classified(way: Way, source: Source, label: str, seeds: int, steps: int) -> dict[str, Any]:
    """Accuracies of the MLP by seed, and of nearest neighbours."""
    classes = np.unique(np.asarray(source.labels[label].values), return_inverse=True)[1]
    train_rows, test_rows = (np.flatnonzero(source.split == part) for part in ("train", "test"))
    inputs = np.asarray(way.normalize(way.modulations), np.float32).reshape(len(source.ids), -1)
    seen = inputs[train_rows]
    copies = [seen]
    if way.noise:
        rng = np.random.default_rng(0)
        deviation = np.float32(way.noise) * seen.std(axis=0)
        copies = [seen + deviation * rng.standard_normal(seen.shape, np.float32) for _ in range(NOISY_COPIES)]
    learned, told = np.concatenate(copies), np.tile(classes[train_rows], len(copies))
    by_seed = []
    for seed in range(seeds):
        model, rng = MLP(inputs.shape[1], int(classes.max()) + 1, nnx.Rngs(seed)), np.random.default_rng(seed)
        draw = functools.partial(rng.choice, len(learned), min(BATCH_SIZE, len(learned)), replace=False)
        for _ in train(model, jnp.asarray(learned), jnp.asarray(told), draw, steps, seed):
            pass
        by_seed.append(accuracy(model, inputs[test_rows], classes[test_rows]))
    near = neighbours_accuracy(seen, classes[train_rows], inputs[test_rows], classes[test_rows])
    return {"by_seed": by_seed, "neighbours": near}


def samples_told_apart(functaset: functa_store.Functaset, way: Way, split: np.ndarray, steps: int) -> float:
    """How often nearest neighbours tell samples of a diffusion model from modulations reserved from its training."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "way.functa"
        scaled = np.asarray(way.normalize(way.modulations), np.float32)
        functaset.derive(path, scaled, split=split)  # only to be loaded: nothing decodes these numbers
        derived = functa_store.open(path)
        learned, reserved, _ = parts_of(derived)
        plain = Normalization(np.zeros(scaled.shape[-1], np.float32), np.ones(scaled.shape[-1], np.float32))
        model = diffusion.train(derived, learned, plain, num_steps=steps)
        samples = diffusion.sample(model, jax.random.key(2), (len(reserved), *scaled.shape[1:]))
        return nearest_neighbour_accuracy(np.asarray(samples), scaled[reserved])


def compare(
    source: Source,
    config: ConvertConfig,
    label: str,
    *,
    seeds: int = 5,
    steps: int = STEPS,
    diffusion_steps: int = 3000,
) -> dict[str, Any]:
    """JSON-ready figures of every way.

    Args:
        source: Its label has a class for every example.
        config: Of the conversion; its fit's steps are one of `FIT_STEPS`.
        label: What is told.
        seeds: Of the MLP.
        steps: Of its training.
        diffusion_steps: Of the diffusion model; 0 leaves it out.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "usual.functa"
        convert(source, path, config, report=silent)
        functaset = functa_store.open(path)
        for name, way in ways(source, config, functaset):
            row = {"way": name, "psnr": held_out_psnr(functaset, source, way.modulations)}
            row |= classified(way, source, label, seeds, steps)
            if diffusion_steps and not way.noise:
                row["told_apart"] = samples_told_apart(functaset, way, source.split, diffusion_steps)
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
            rows.append(row)
    counts = {part: int(np.sum(source.split == part)) for part in ("train", "test")}
    return {"label": label, "config": dataclasses.asdict(config), **counts, "rows": rows}


def markdown(facts: dict[str, Any]) -> str:
    """The figures as a table."""
    table = []
    for row in facts["rows"]:
        told = f"{row['told_apart']:.1%}" if "told_apart" in row else ""
        spread = np.std(row["by_seed"], ddof=1) if len(row["by_seed"]) > 1 else 0.0
        mlp = f"{np.mean(row['by_seed']):.1%} ± {spread * 100:.1f}"
        table.append([row["way"], f"{row['psnr']:.2f}", mlp, f"{row['neighbours']:.1%}", told])
    headings = ["modulations", "PSNR (dB)", "MLP", "nearest neighbours", "samples told from reserved ones"]
    return f"{facts['train']:,} training and {facts['test']:,} held-out examples.\n\n" + report.table(headings, table)


def _converted(words: list[str]) -> tuple[Source, ConvertConfig]:
    """The source and the configuration of a command `functa convert`.

    Raises:
        SystemExit: If the command is none.
        ArchiveError: If the archive cannot be opened.
    """
    command = cli.parse(words)
    preset = convert_command.preset_from(command)
    options = convert_command.options_from(command, preset)
    survey = SurveyOptions(limit=command.limit)
    return command.converter.open(command.archive, options, survey, silent), preset.config


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", help="as of functa convert, or digits, which are no archive")
    parser.add_argument("words", nargs="+", metavar="[ARCHIVE] NAME")
    parser.add_argument("--label", default="digit")
    parser.add_argument("--folder", type=Path, default=Path("bench-output"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--diffusion-steps", type=int, default=3000)
    args, words = parser.parse_known_args(argv)
    use_all_cores()
    *archive, name = args.words
    if args.kind == "digits":
        if archive or words:
            parser.error(f"found {' '.join([*archive, *words])} beside the name, but digits are no archive")
        source, config = digits_source(), CONFIG
    else:
        source, config = _converted(["convert", args.kind, *archive, f"{name}.functa", *words])
    facts = compare(source, config, args.label, seeds=args.seeds, diffusion_steps=args.diffusion_steps)
    args.folder.mkdir(parents=True, exist_ok=True)
    text = markdown(facts)
    report.publish(name, facts, text, args.folder / f"{name}.json")
    (args.folder / f"{name}.md").write_text(text)


if __name__ == "__main__":
    main()
