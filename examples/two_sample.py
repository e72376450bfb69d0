"""Comparison of generated modulations with held-out ones, by their nearest neighbours."""

from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors


class Novelty(NamedTuple):
    """How near samples are to examples that a model learned from.

    Attributes:
        memorised: Samples that are nearer to a training example than every held-out example is. Of as many samples as
            held-out examples, one is by chance.
        distance: Median distance of samples to the nearest training example.
        usual_distance: The same of held-out examples.
    """

    memorised: int
    distance: float
    usual_distance: float


def nearest_neighbour_accuracy(samples: np.ndarray, held_out: np.ndarray) -> float:
    """How often the nearest neighbour tells samples and held-out examples apart (Lopez-Paz and Oquab 2017).

    0.5 where the two are of one distribution, 1 where they lie apart, and below 0.5 where samples are copies of what
    they are compared with. It is the mean of what `told_apart` says of either.

    Args:
        samples: Generated modulations, (examples, *shape).
        held_out: As many that no model has learned from.

    Raises:
        ValueError: If they are not as many.
    """
    return float(np.mean(told_apart(samples, held_out)))


def told_apart(samples: np.ndarray, held_out: np.ndarray) -> tuple[float, float]:
    """Shares of samples, and of held-out examples, whose nearest neighbour among all others is of their own kind.

    Their mean is about 0.5, too, where samples lie far out, scattered: held-out examples are then told (1), and samples
    are not (0). Only two halves of about 0.5 are good.

    Args:
        samples: Generated modulations, (examples, *shape).
        held_out: As many that no model has learned from.

    Raises:
        ValueError: If they are not as many.
    """
    if len(samples) != len(held_out):
        raise ValueError(f"found {len(samples)} samples and {len(held_out)} held-out examples, expected equal numbers")
    both = np.concatenate([_flat(samples), _flat(held_out)])
    is_sample = np.arange(len(both)) < len(samples)
    neighbours = NearestNeighbors(n_neighbors=1).fit(both).kneighbors(return_distance=False)[:, 0]
    is_told = is_sample[neighbours] == is_sample
    return float(np.mean(is_told[is_sample])), float(np.mean(is_told[~is_sample]))


def novelty(samples: np.ndarray, held_out: np.ndarray, training: np.ndarray) -> Novelty:
    """How near samples are to training examples, beside how near held-out examples are.

    Args:
        samples: Generated modulations, (examples, *shape).
        held_out: As many that no model has learned from.
        training: Those that it has learned from.
    """
    nearest = NearestNeighbors(n_neighbors=1).fit(_flat(training))
    distances, usual = (nearest.kneighbors(_flat(rows))[0][:, 0] for rows in (samples, held_out))
    return Novelty(int(np.sum(distances < usual.min())), float(np.median(distances)), float(np.median(usual)))


def _flat(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows, np.float64).reshape(len(rows), -1)
