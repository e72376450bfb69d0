"""How well do methods classify that need no training loop?"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

from functa_store import Functaset
from functa_store.loaders import Normalization


def baseline_accuracies(functaset: Functaset, label: str) -> dict[str, float]:
    """Accuracy on the split "test" of logistic regression on modulations, and of the most frequent class."""
    modulations = Normalization.of_split(functaset, "train").apply(functaset.modulations[:])
    classes, split = functaset.labels[label][:], functaset.split[:]
    train, test = split == "train", split == "test"
    regression = LogisticRegression(max_iter=1000).fit(modulations[train], classes[train])
    values, counts = np.unique(classes[train], return_counts=True)
    return {
        "logistic regression": float(regression.score(modulations[test], classes[test])),
        "most frequent class": float(np.mean(classes[test] == values[counts.argmax()])),
    }


def show(accuracies: dict[str, float]) -> None:
    """Print accuracies in percent."""
    sys.stdout.writelines(f"{name:20} {accuracy:6.1%}\n" for name, accuracy in accuracies.items())
