"""Command line of the examples that classify, for any label of any functaset."""

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable, Sequence

import numpy as np

import functa_store
from examples.baselines import baseline_accuracies
from examples.digits import digits_functaset

MLP_WIDTHS = {"mlp-small": 128, "mlp-medium": 225, "mlp-large": 512}
"""Units of each of four hidden layers. Of vectors with 256 numbers and 10 classes these MLPs have 83,722, 212,635 and
924,682 parameters: chosen for the 83k, 212k and 924k of Table 2 of the functa paper (Dupont et al. 2022)."""

MLP_LAYERS = 4
WIDTH, BLOCKS, HEADS = 64, 4, 4
"""Units of the transformer, which has twice as many between the two layers of a block, and first channels of the
convolutions."""

RESIDUALS = ((WIDTH, WIDTH, 1), (WIDTH, WIDTH, 1), (WIDTH, 2 * WIDTH, 2), (2 * WIDTH, 2 * WIDTH, 1))
"""Channels before and after each residual block of the convolutions, and its stride."""

GRID_MODELS = ("transformer", "convolutions")
"""Those that see the cells of a grid as neighbours."""

MODELS = (*MLP_WIDTHS, *GRID_MODELS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a classifier is made and trained.

    Attributes:
        model: One of `MODELS`.
        num_epochs: Of training.
        batch_size: Of training, too.
        learning_rate: The highest one of AdamW; it falls as a cosine.
        weight_decay: Of AdamW.
        dropout: Share of numbers that are dropped.
        mixup: Batches are mixed with themselves in reverse by shares of Beta(mixup, mixup); 0 mixes nothing.
        seed: Decides weights, batches, dropout and mixing.
    """

    model: str = "mlp-small"
    num_epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.2
    mixup: float = 0.2
    seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be learned from what.

    Attributes:
        functaset: Where the examples are.
        classes: The class of each of its rows, numbered from 0.
        train: Rows to learn from, and their augmentations if those are learned from, of which a loader draws one of
            each example.
        originals: Rows of `train` that are no augmentations.
        held_out: Rows to be told in the end; no augmentations.
    """

    functaset: functa_store.Functaset
    classes: np.ndarray
    train: np.ndarray
    originals: np.ndarray
    held_out: np.ndarray

    @property
    def num_classes(self) -> int:
        """Numbers of an output."""
        return int(self.classes.max()) + 1


Classify = Callable[[Task, Options], tuple[float, int]]
"""Trains, and returns the accuracy on the rows that are held out, and the number of parameters."""


def run(classify: Classify, argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run an example.

    Args:
        classify: The example.
        argv: Arguments instead of those of the process.

    Returns:
        Accuracy on the held-out examples, by method; of the example's classifier the mean over seeds.
    """
    parser = argparse.ArgumentParser(description="Classify modulations.")
    parser.add_argument("--store", help="a functaset (default: handwritten digits, converted on the spot)")
    parser.add_argument("--label", default="digit", help="its label to learn (default: digit)")
    parser.add_argument(
        "--model", choices=MODELS, default=Options.model, help="transformer and convolutions take grids of cells"
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings (default: 1)")
    parser.add_argument("--epochs", type=int, default=Options.num_epochs, help="of each (default: %(default)s)")
    parser.add_argument("--mixup", type=float, default=Options.mixup, help="0 mixes nothing (default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=Options.dropout, help="(default: %(default)s)")
    parser.add_argument(
        "--augmentations",
        choices=("drawn", "none"),
        default="drawn",
        help="of each example and its augmentations an epoch has one, or the example itself (default: drawn)",
    )
    parser.add_argument(
        "--validate",
        action="store_true",
        help="hold out every fifth training example, to choose options by, not 'test'",
    )
    args = parser.parse_args(argv)
    if args.seeds < 1 or args.epochs < 1:
        parser.error("--seeds and --epochs must be at least 1")
    if not (0 <= args.mixup < math.inf and 0 <= args.dropout < 1):
        parser.error("--mixup must be at least 0 and finite, --dropout at least 0 and below 1")
    options = Options(model=args.model, num_epochs=args.epochs, mixup=args.mixup, dropout=args.dropout)
    try:
        functaset = functa_store.open(args.store) if args.store else digits_functaset()
        task = make_task(functaset, args.label, args.validate, args.augmentations == "drawn")
        check_model(functaset, args.model)
        found = [classify(task, dataclasses.replace(options, seed=seed)) for seed in range(args.seeds)]
        others = baseline_accuracies(functaset, task.classes, task.originals, task.held_out)
    except functa_store.FunctaStoreError as error:
        parser.error(str(error))
    by_seed, num_parameters = [accuracy for accuracy, _ in found], found[0][1]
    accuracies = {"this classifier": float(np.mean(by_seed)), **others}
    spread = f" ± {np.std(by_seed, ddof=1):.1%} over {args.seeds} seeds" if args.seeds > 1 else ""
    more = {"this classifier": f"{spread} ({args.model}, {num_parameters:,} parameters)"}
    sys.stdout.writelines(f"{name:20} {value:6.1%}{more.get(name, '')}\n" for name, value in accuracies.items())
    return accuracies


def make_task(functaset: functa_store.Functaset, label: str, validate: bool, augmented: bool = True) -> Task:
    """A label to be learned from the split "train".

    Args:
        functaset: Where the examples are.
        label: Its name.
        validate: Hold out every fifth example of "train", with its augmentations, instead of "test".
        augmented: Learn from augmentations, too, if there are any.

    Raises:
        ConfigError: If there is no such label or split, or the label's values are no classes.
    """
    classes, split = class_numbers(functaset, label), functaset.split[:]
    for needed in ("train",) if validate else ("train", "test"):
        if needed not in split:
            there = sorted(map(str, np.unique(split)))
            raise functa_store.ConfigError(f"{functaset.store.path}: no split {needed!r}, there are {there}")
    of = functaset.augmentations["of"][:] if functaset.augmentations else np.arange(len(functaset))
    is_original = of == np.arange(len(functaset))
    train, held_out = np.flatnonzero(split == "train"), np.flatnonzero((split == "test") & is_original)
    if validate:
        held_out = train[is_original[train]][4::5]
        train = train[~np.isin(of[train], held_out)]
    originals = train[is_original[train]]
    return Task(
        functaset=functaset,
        classes=classes,
        train=train if augmented else originals,
        originals=originals,
        held_out=held_out,
    )


def class_numbers(functaset: functa_store.Functaset, label: str) -> np.ndarray:
    """The class of each example, numbered from 0 as losses want it; CelebA's -1 and 1 become 0 and 1.

    Raises:
        ConfigError: If there is no such label, or its values are no classes.
    """
    if label not in functaset.labels:
        raise functa_store.ConfigError(
            f"{functaset.store.path}: no label {label!r}, there are {sorted(functaset.labels)}; name one by --label"
        )
    values = functaset.labels[label][:]
    if values.dtype.kind not in "iub":
        raise functa_store.ConfigError(
            f"{functaset.store.path}: label {label!r} is {values.dtype}, expected integers, which stand for classes; "
            "name another one by --label"
        )
    return np.unique(values, return_inverse=True)[1]


def check_model(functaset: functa_store.Functaset, model: str) -> None:
    """Refuse a model of grids where there are no cells.

    Raises:
        ConfigError: If modulations are vectors, and the model takes grids.
    """
    if model in GRID_MODELS and functaset.modulations.ndim == 2:
        raise functa_store.ConfigError(
            f"{functaset.store.path}: modulations are vectors of {functaset.modulations.shape[1]} numbers, the "
            f"{model} model takes grids of cells; choose one of {', '.join(MLP_WIDTHS)} by --model"
        )
