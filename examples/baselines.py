"""Classifiers that need no training loop."""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

from functa_store import Functaset
from functa_store.loaders import Normalization


def baseline_accuracies(functaset: Functaset, targets: np.ndarray) -> dict[str, float]:
    """Accuracy on the split "test" of logistic regression on modulations, and of the most frequent class.

    Args:
        functaset: Has the splits "train" and "test".
        targets: The class of each example, numbered from 0.
    """
    modulations = Normalization.of_split(functaset, "train").apply(functaset.modulations[:]).reshape(len(functaset), -1)
    train, test = (functaset.split[:] == split for split in ("train", "test"))
    regression = LogisticRegression(max_iter=1000).fit(modulations[train], targets[train])
    return {
        "logistic regression": float(regression.score(modulations[test], targets[test])),
        "most frequent class": float(np.mean(targets[test] == np.bincount(targets[train]).argmax())),
    }


def show(accuracies: dict[str, float]) -> None:
    """Print accuracies in percent."""
    sys.stdout.writelines(f"{name:20} {accuracy:6.1%}\n" for name, accuracy in accuracies.items())
