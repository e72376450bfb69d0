"""Command line of the examples that classify, for any label of any functaset."""

import argparse
from collections.abc import Callable, Sequence

import numpy as np

import functa_store
from examples.baselines import baseline_accuracies, show
from examples.digits import digits_functaset

Classify = Callable[[functa_store.Functaset, np.ndarray], float]
"""Trains on the split "train", and returns the accuracy on the split "test"."""


def run(classify: Classify, argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run an example.

    Args:
        classify: The example; gets the functaset and the number of each example's class.
        argv: Arguments instead of those of the process.

    Returns:
        Accuracy on the held-out examples, by method.
    """
    parser = argparse.ArgumentParser(description="Classify modulations.")
    parser.add_argument("--store", help="a functaset (default: handwritten digits, converted on the spot)")
    parser.add_argument("--label", default="digit", help="its label to learn (default: digit)")
    args = parser.parse_args(argv)
    try:
        functaset = functa_store.open(args.store) if args.store else digits_functaset()
        targets = class_numbers(functaset, args.label)
        accuracies = {"this classifier": classify(functaset, targets), **baseline_accuracies(functaset, targets)}
    except functa_store.FunctaStoreError as error:
        parser.error(str(error))
    show(accuracies)
    return accuracies


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
