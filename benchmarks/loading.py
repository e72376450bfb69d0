"""Speed of training batches, and how well they are shuffled.

    python -m benchmarks.loading [--examples 200000] [--size 256] [--batch 256] [--runs 5] [--out NAME.json]

Speed: rows per second of one epoch, shuffled in full and normalised, through every view of the loader, beside a gather
of the same batches from one `numpy.memmap`, in turns. Quality: what is left of the archive's order, from `Order` alone.
"""

import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import grain
import numpy as np
from torch.utils.data import DataLoader

import functa_store
from benchmarks import report
from benchmarks.generated import random_table, write_functaset
from benchmarks.timing import interleaved, ratio
from functa_store.loaders import (
    Batches,
    BlockShuffle,
    Examples,
    Loader,
    TorchBatches,
    TorchExamples,
)
from functa_store.loaders.windows import Order, Shuffle

MEMMAP, SLOW = "numpy.memmap, gathered", "grain, Examples one by one"
SHUFFLES: dict[str, Shuffle] = {
    "full": "full",
    "blocks of 1,024, 64 mixed (default)": BlockShuffle(),
    "blocks of 256, 64 mixed": BlockShuffle(size=256),
    "blocks of 1,024, 8 mixed": BlockShuffle(mixed=8),
    "none": "none",
}
CLASSES = (10, 1000)
EPOCHS = 5
ROWS_AT_A_TIME = 16384
SLOW_BATCHES = 20
"""Batches of the view that makes them example by example."""


def speeds(folder: pathlib.Path, num_examples: int, size: int, batch_size: int, runs: int) -> list[dict[str, Any]]:
    """Rows per second of each view, JSON-ready."""
    sides = make_sides(folder, num_examples, size, batch_size)
    times = interleaved({name: _exhausting(make) for name, make in sides.items()}, runs)
    per_epoch = num_examples // batch_size
    found = []
    for name in sides:
        batches = min(SLOW_BATCHES, per_epoch) if name == SLOW else per_epoch
        rate = batches * batch_size / times[name].median
        share = ratio(times[MEMMAP], times[name]) * batches / per_epoch
        found.append({"view": name, "rows_per_second": rate, "of_memmap": share})
    return found


def make_sides(
    folder: pathlib.Path, num_examples: int, size: int, batch_size: int
) -> dict[str, Callable[[], Iterable[Any]]]:
    """By name, what goes once through the same table of random modulations."""
    plain = np.memmap(folder / "plain.f32", np.float32, "w+", shape=(num_examples, size))
    table = random_table(size)
    for start in range(0, num_examples, ROWS_AT_A_TIME):
        stop = min(start + ROWS_AT_A_TIME, num_examples)
        plain[start:stop] = table(start, stop)
    write_functaset(folder / "generated.functa", lambda start, stop: plain[start:stop], num_examples, size)
    functaset = functa_store.open(folder / "generated.functa")

    def loader(shuffle: Shuffle = "full") -> Loader:
        return Loader(functaset, batch_size, shuffle=shuffle, drop_last=True)

    endless = Loader(functaset, batch_size, shuffle="full", drop_last=True, num_epochs=None)
    once, blocks, to_jax, to_torch = loader(), loader(BlockShuffle()), loader().to_jax(), loader().to_torch()
    options: dict[str, Any] = {"batch_size": batch_size, "shuffle": True, "drop_last": True}
    return {
        MEMMAP: lambda: _gathered(np.asarray(plain), batch_size),
        "Loader, NumPy": lambda: once,
        "Loader, NumPy, BlockShuffle": lambda: blocks,
        "Loader.to_torch": lambda: to_torch,
        "Loader.to_jax": lambda: to_jax,
        "DataLoader(TorchExamples)": lambda: DataLoader(TorchExamples(functaset), **options),
        "DataLoader(TorchBatches)": lambda: DataLoader(TorchBatches(loader()), batch_size=None),
        "grain, Batches": lambda: grain.MapDataset.source(Batches(endless))[: len(once)].to_iter_dataset(),
        SLOW: lambda: _one_by_one(functaset, batch_size).to_iter_dataset(),
    }


def _one_by_one(functaset: functa_store.Functaset, batch_size: int) -> grain.MapDataset:
    """Few batches, all of which are used: threads that still read would slow down whatever is timed next."""
    examples = grain.MapDataset.source(Examples(functaset)).shuffle(seed=0)
    return examples[: SLOW_BATCHES * batch_size].batch(batch_size, drop_remainder=True)


def _exhausting(make: Callable[[], Iterable[Any]]) -> Callable[[], Any]:
    """A call that goes through all batches, and returns the last one's modulations."""

    def call() -> Any:
        last: Any = None
        for last in make():  # noqa: B007 - the last one is used
            pass
        return last["modulations"] if isinstance(last, dict) else last

    return call


def _gathered(rows: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    order = np.random.default_rng(0).permutation(len(rows))
    for start in range(0, len(rows) - batch_size + 1, batch_size):
        yield rows[order[start : start + batch_size]]


def shuffle_quality(order: Order, classes: Sequence[int] = CLASSES, epochs: int = EPOCHS) -> dict[str, Any]:
    """What is left of the archive's order in the batches of one rank, over some epochs.

    Args:
        order: The order; its examples are taken to be sorted by class, as many of each.
        classes: Numbers of classes to measure the entropy of batches for.
        epochs: How many to average over.

    Returns:
        JSON-ready: `rank_correlation` of position and index (mean of its size), `neighbours`, the share of pairs of
        adjacent examples that are in one batch, and `entropy_N`, bits per batch in the mean, for N classes.
    """
    found = [_quality_of(sequence_of(order, epoch), order, classes) for epoch in range(epochs)]
    return {name: float(np.mean([facts[name] for facts in found])) for name in found[0]}


def sequence_of(order: Order, epoch: int) -> np.ndarray:
    """All examples of an epoch as they are delivered."""
    windows = (order.window(epoch, number) for number in range(order.num_windows))
    return np.concatenate([window.positions[window.places] for window in windows])


def _quality_of(sequence: np.ndarray, order: Order, classes: Sequence[int]) -> dict[str, float]:
    batch_of = np.full(order.num_examples, -1)
    batch_of[sequence] = np.arange(len(sequence)) // order.batch_size
    is_there = (batch_of[:-1] >= 0) & (batch_of[1:] >= 0)
    facts = {
        "rank_correlation": abs(float(np.corrcoef(np.arange(len(sequence)), sequence)[0, 1])),
        "neighbours": float(np.mean(batch_of[:-1][is_there] == batch_of[1:][is_there])),
    }
    full = sequence[: len(sequence) // order.batch_size * order.batch_size].reshape(-1, order.batch_size)
    return facts | {
        f"entropy_{n}": float(np.mean([_entropy(b * n // order.num_examples) for b in full])) for n in classes
    }


def _entropy(labels: np.ndarray) -> float:
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(share * np.log2(share)).sum())


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__)
    parser.add_argument("--examples", type=report.positive, default=200_000)
    parser.add_argument("--size", type=report.positive, default=256, help="numbers of a modulation")
    parser.add_argument("--batch", type=report.positive, default=256)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        rates = speeds(pathlib.Path(folder), args.examples, args.size, args.batch, args.runs)
    quality = [
        {"shuffle": name}
        | shuffle_quality(Order(num_examples=args.examples, batch_size=args.batch, shuffle=shuffle, drop_last=True))
        for name, shuffle in SHUFFLES.items()
    ]
    headings = {"view": "view", "rows_per_second": "rows per second", "of_memmap": "times numpy.memmap"}
    markdown = report.table_of(rates, headings) + "\n"
    entropies = {f"entropy_{n}": f"entropy of a batch, {n:,} classes (bits)" for n in CLASSES}
    names = {"rank_correlation": "rank correlation with the archive", "neighbours": "neighbours in one batch"}
    markdown += report.table_of(quality, {"shuffle": "shuffle"} | names | entropies)
    facts = {"examples": args.examples, "size": args.size, "batch": args.batch}
    report.publish("loading", facts | {"speed": rates, "quality": quality}, markdown, args.out)


if __name__ == "__main__":
    main()
