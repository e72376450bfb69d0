"""The training set of a conversion: the examples to learn, tune and compare with, and their one reader."""

import itertools
from collections.abc import Iterator

import numpy as np

from functa_store.config import ConvertConfig
from functa_store.learn.group import ALONE, Group
from functa_store.sources.augmentation import augmentations_of, originals_of
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly

TUNING_STREAM = 1
"""Keeps the random numbers of tuning apart from those of learning."""


class TrainingSet:
    """Examples of a source that a conversion learns from, chosen once, and read through one cache.

    The monitored examples come evenly from the split "validation", or from "train" (at most a tenth of it,
    and then not learned from, unless there are fewer than ten). The test split is never looked at. Augmentations are
    learned from like other examples, unless their original is monitored; they are never monitored themselves.

    Args:
        source: The examples.
        config: The conversion; its seed, batch size and number of monitored examples are used.
        group: The processes that learn from it together; each reads its part of every batch.

    Attributes:
        source: The examples.
        train: Indices of the examples to learn from, ascending.
        monitored: Indices of the examples by which the best state is chosen, ascending.
        seen: As many of `train` that are no augmentations, evenly spread, which tell divergence from overfitting.
        group: As given.
        batch_size: Examples per update of all processes together, no more than there are in `train`.
        reader: Reads any of the examples; those that it keeps in memory serve all of these uses.

    Raises:
        ConfigError: If the processes cannot share a batch equally.
    """

    def __init__(self, source: Source, config: ConvertConfig, group: Group = ALONE) -> None:
        self.source, self.group = source, group
        self.train, self.monitored = _choose(source, config.outer.num_monitored)
        self.seen = evenly(np.intersect1d(self.train, originals_of(source)), len(self.monitored))
        self.batch_size = min(config.outer.batch_size, len(self.train))
        group.check_batch(self.batch_size, f"there are {len(self.train)} to learn from")
        self._seed = config.seed
        self.reader = BatchReader(source)

    def learning_batches(self, first: int) -> Iterator[np.ndarray]:
        """Endless batches of `batch_size` training examples, from an outer step on, shuffled anew every epoch.

        Of each batch only the part of this process.

        Args:
            first: The outer step, from 0.
        """
        return self.reader.batches(self._of_learning(first))

    def tuning_batches(self, first: int, stop: int) -> Iterator[np.ndarray]:
        """Batches of `batch_size` training examples for the updates of tuning, drawn anew for each.

        Of each batch only the part of this process.

        The same seed gives other batches than those of learning.

        Args:
            first: The first update, from 0.
            stop: The update to end before.
        """
        return self.reader.batches(self._of_tuning(first, stop))

    def _of_learning(self, first: int) -> Iterator[np.ndarray]:
        per_epoch = len(self.train) // self.batch_size
        for epoch in itertools.count(first // per_epoch):
            # A generator of its own for every epoch: an interrupted run finds its place without the epochs before.
            order = np.random.default_rng((self._seed, epoch)).permutation(self.train)
            batches = order[: per_epoch * self.batch_size].reshape(per_epoch, self.batch_size)
            yield from map(self.group.part, batches[max(0, first - epoch * per_epoch) :])

    def _of_tuning(self, first: int, stop: int) -> Iterator[np.ndarray]:
        for step in range(first, stop):
            rng = np.random.default_rng((self._seed, step, TUNING_STREAM))
            yield self.group.part(rng.choice(self.train, self.batch_size, replace=False))


def _choose(source: Source, num_monitored: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the examples to learn from, and of those to monitor; see `TrainingSet`."""
    train, validation = (np.flatnonzero(source.split == name) for name in ("train", "validation"))
    if len(validation):
        return train, evenly(validation, num_monitored)
    originals = np.intersect1d(train, originals_of(source))
    if len(originals) < 10:
        return train, evenly(originals, num_monitored)
    monitored = evenly(originals, min(num_monitored, len(originals) // 10))
    augmentations = augmentations_of(source)
    shown = train if augmentations is None else augmentations.of[train]  # what each example is a picture of
    return train[~np.isin(shown, monitored)], monitored
