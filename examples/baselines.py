"""Classifiers that need no training loop."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from functa_store import Functaset
from functa_store.loaders import Normalization


def baseline_accuracies(
    functaset: Functaset, classes: np.ndarray, train: np.ndarray, held_out: np.ndarray
) -> dict[str, float]:
    """Accuracy of logistic regression on modulations, and of the most frequent class.

    Args:
        functaset: Has the split "train".
        classes: The class of each example, numbered from 0.
        train: Rows to learn from.
        held_out: Rows to be told.
    """
    modulations = Normalization.of_split(functaset, "train").apply(functaset.modulations[:]).reshape(len(functaset), -1)
    regression = LogisticRegression(max_iter=1000).fit(modulations[train], classes[train])
    return {
        "logistic regression": float(regression.score(modulations[held_out], classes[held_out])),
        "most frequent class": float(np.mean(classes[held_out] == np.bincount(classes[train]).argmax())),
    }
