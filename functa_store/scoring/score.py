"""Score of a functaset as training data: held-out accuracies of classifiers on modulations, beside those on arrays."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from functa_store.config import whole
from functa_store.decode.functaset import Functaset, opened
from functa_store.errors import ConfigError
from functa_store.loaders.batch_content import Normalization
from functa_store.loaders.loader import Loader
from functa_store.progress import Note, Report, Scored, silent
from functa_store.scoring import MOST_EXAMPLES, SEEDS, STEPS
from functa_store.scoring.classes import Rows, Sample, Task, sample, tasks
from functa_store.scoring.decoded import (
    MOST_POINTS,
    cheap_resolution,
    decoded_arrays,
    normalized_channels,
    principal_components,
)
from functa_store.scoring.models import CNN, MLP, Classifier
from functa_store.scoring.training import (
    NEIGHBOURS,
    Draw,
    accuracy,
    neighbours_accuracy,
    num_parameters,
    train,
)
from functa_store.store.reading.reader import originals_of
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions

BATCH_SIZE = 64

MLP_ON_MODULATIONS = "MLP on modulations"
NEAREST = f"nearest modulations ({NEIGHBOURS})"
MLP_ON_PCA = "MLP on PCA of arrays"
CNN_ON_ARRAYS = "CNN on arrays"
MOST_FREQUENT = "most frequent class"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of held-out examples that one method classifies right.

    Attributes:
        mean: Over all seeds, in [0, 1].
        deviation: Standard deviation over seeds (of a sample); None of a single one, and of methods without any.
        by_seed: The accuracy of each seed.
        num_inputs: Numbers of an example that the method takes; 0 of the most frequent class.
        num_parameters: Numbers that it learns; 0 of nearest neighbours and the most frequent class.
    """

    mean: float
    deviation: float | None
    by_seed: tuple[float, ...]
    num_inputs: int
    num_parameters: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """How well one label can be told from what a functaset holds.

    Attributes:
        label: Its name.
        num_classes: Its classes in the training examples.
        num_train: Examples that were learned from, augmentations not counted.
        num_augmentations: Their augmentations, of which every epoch draws one of each example or the example itself.
        num_test: Held-out examples, of the split "test"; augmentations are none.
        resolution: Points along each axis of the decoded arrays; None if nothing was decoded.
        accuracies: By method: an MLP on modulations, nearest neighbours, the same MLP on as many principal components
            of decoded arrays as a modulation has numbers, a small convolutional network on decoded arrays, and the most
            frequent class of the training examples.
        notes: What was left out and why, in words.
    """

    label: str
    num_classes: int
    num_train: int
    num_augmentations: int
    num_test: int
    resolution: tuple[int, ...] | None
    accuracies: Mapping[str, Accuracy]
    notes: tuple[str, ...]


def score(
    functaset: Functaset | Location,
    *,
    labels: Sequence[str] | None = None,
    seeds: int = SEEDS,
    steps: int = STEPS,
    max_examples: int = MOST_EXAMPLES,
    resolution: int | Sequence[int] | None = None,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> list[Score]:
    """Measure how good a functaset is as training data: train classifiers on its modulations and on its decoded arrays.

    All learn from the same examples of the split "train" in the same order, with the same optimiser (AdamW, batches of
    64), number of steps and dropout, and are asked about the same examples of "test" once, in the end: nothing is
    chosen by them. Modulations are normalised by the training split's mean and deviation. The MLP has 4 layers of 225
    units, the convolutional network 3 layers. Equal calls give equal numbers on the same kind of machine.

    Args:
        functaset: An open one, or where it is; complete, with the splits "train" and "test".
        labels: Names of labels of integers; None means every label whose classes have names, or else every one of
            integers that seem to be classes.
        seeds: Times that each classifier is trained, with the seeds 0, 1, ..., at least 1.
        steps: Updates of each training, at least 1.
        max_examples: Most examples of either split, at least 2; where there are more, these are spread evenly.
        resolution: Points along each axis of the decoded arrays; None means those of the archive, but at most 1,024 of
            one axis, 32 along each of two and 16 along each of three.
        storage: How to reach a store that is not open.
        report: Told of the progress.

    Returns:
        One score for each label.

    Raises:
        ConfigError: If there is no label of two classes, or none of a given name, no split "train" or "test", or a
            number is out of range.
        GridError: If the resolution does not fit the domain, or memory does not hold the decoded arrays.
        StoreFormatError: If the functaset is unfinished or damaged.
        StorageError: If it cannot be read.
    """
    whole("seeds", seeds, 1)
    whole("steps", steps, 1)
    whole("max_examples", max_examples, 2)
    functaset = opened(functaset, storage)
    functaset.store.check_complete()
    chosen = sample(functaset, max_examples)
    asked = tasks(functaset, chosen, labels)
    inputs = _Inputs(functaset, chosen, resolution, report)
    progress = _Progress(report, len(asked) * len(inputs.trained) * seeds * steps)
    return [_score(inputs, task, seeds, steps, progress) for task in asked]


class _Inputs:
    """What classifiers see of the rows of a sample: (train, test), in the order of the sample's rows.

    Args:
        functaset: Where they are from.
        chosen: The rows.
        resolution: Of decoded arrays; see `score`.
        report: Told when arrays are decoded.
    """

    def __init__(
        self, functaset: Functaset, chosen: Sample, resolution: int | Sequence[int] | None, report: Report
    ) -> None:
        self.functaset, self.sample, self._report = functaset, chosen, report
        self.notes, self.resolution = list(chosen.notes), None
        self.trained: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
            MLP_ON_MODULATIONS: lambda: self.modulations
        }
        if functaset.domain.scene is not None:
            self.notes.append(
                "scenes have no arrays to compare with: they are fields of colour and density, seen in views"
            )
        elif (axes := functaset.domain.num_axes) not in MOST_POINTS:
            self.notes.append(f"arrays of {axes} axes are not compared with, only of 1 to 3")
        else:
            self.resolution = cheap_resolution(functaset, resolution)
            self.trained |= {MLP_ON_PCA: lambda: self.components, CNN_ON_ARRAYS: lambda: self.arrays}
        if resolution is not None and self.resolution is None:
            raise ConfigError(f"{functaset.store.path}: {self.notes[-1]}; leave the resolution out")

    @functools.cached_property
    def modulations(self) -> tuple[np.ndarray, np.ndarray]:
        """Normalised modulations as vectors."""
        normalization = Normalization.of_split(self.functaset, "train")
        rows = self.sample.train, self.sample.test
        train, test = (normalization.apply(self.functaset.modulations[each]).reshape(len(each), -1) for each in rows)
        return train, test

    @functools.cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Decoded arrays, each channel normalised."""
        assert self.resolution is not None, "only where arrays are trained on"
        rows = self.sample.train, self.sample.test
        points = " x ".join(map(str, self.resolution))
        self._report(Note(message=f"decoding {sum(map(len, rows)):,} examples at {points} points"))
        train, test = (decoded_arrays(self.functaset, each, self.resolution) for each in rows)
        return normalized_channels(train, test)

    @functools.cached_property
    def components(self) -> tuple[np.ndarray, np.ndarray]:
        """Principal components of decoded arrays, as many as a modulation has numbers if there are so many."""
        return principal_components(*self.arrays, self.functaset.config.network.modulation_size)

    def of(self, name: str, task: Task) -> "_Seen":
        """What a method sees of those rows that have a class."""
        train, test = self.trained[name]()
        classes, test_classes = task.classes[self.sample.train], task.classes[self.sample.test]
        return _Seen(
            train[classes >= 0], classes[classes >= 0], test[test_classes >= 0], test_classes[test_classes >= 0]
        )


class _Seen(NamedTuple):
    """What a method learns one label from, and what it is asked about in the end.

    Attributes:
        train: Inputs, (examples, ...).
        classes: The class of each, from 0.
        test: Held-out inputs, likewise.
        test_classes: Theirs.
    """

    train: np.ndarray
    classes: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray


class _Progress:
    """Steps of all trainings, as events.

    Args:
        report: Told of them.
        num_steps: In all.
    """

    def __init__(self, report: Report, num_steps: int) -> None:
        self._report, self._num_steps = report, num_steps
        self._done, self._begun = 0, time.monotonic()

    def __call__(self, method: str, label: str, more: int) -> None:
        """So many more steps are done."""
        self._done += more
        seconds = time.monotonic() - self._begun
        self._report(
            Scored(
                method=method,
                label=label,
                step=self._done,
                num_steps=self._num_steps,
                seconds_left=seconds / self._done * (self._num_steps - self._done),
            )
        )


def _score(inputs: _Inputs, task: Task, seeds: int, steps: int, progress: _Progress) -> Score:
    """The score of one label."""
    rows, held_out = task.having(inputs.sample.train), task.having(inputs.sample.test)
    originals = rows[originals_of(inputs.functaset.store)[rows] == rows]
    draws = functools.partial(_draws, inputs.functaset, rows, len(originals))
    accuracies = {}
    for name in inputs.trained:
        seen = inputs.of(name, task)
        accuracies[name] = _trained(name, seen, task, draws, seeds, steps, progress)
        if name == MLP_ON_MODULATIONS:
            accuracies[NEAREST] = _over_seeds([neighbours_accuracy(*seen)], seen.train[0].size, 0)
    most_frequent = np.bincount(task.classes[originals], minlength=task.num_classes).argmax()
    accuracies[MOST_FREQUENT] = _over_seeds([float(np.mean(task.classes[held_out] == most_frequent))], 0, 0)
    left_out = len(inputs.sample.train) + len(inputs.sample.test) - len(rows) - len(held_out)
    without = (f"{left_out:,} examples without a class",) if left_out else ()
    return Score(
        label=task.label,
        num_classes=task.num_classes,
        num_train=len(originals),
        num_augmentations=len(rows) - len(originals),
        num_test=len(held_out),
        resolution=inputs.resolution,
        accuracies=accuracies,
        notes=(*inputs.notes, *without),
    )


def _trained(
    name: str, seen: _Seen, task: Task, draws: Callable[[int], Draw], seeds: int, steps: int, progress: _Progress
) -> Accuracy:
    """Accuracy of the classifier of a method, trained with each of the seeds 0, 1, ...; `draws` makes their batches."""
    inputs, classes = jnp.asarray(seen.train), jnp.asarray(seen.classes)
    by_seed, size = [], 0
    for seed in range(seeds):
        model, done = _classifier(name, seen.train.shape[1:], task.num_classes, seed), 0
        size = num_parameters(model)
        for step in train(model, inputs, classes, draws(seed), steps, seed):
            progress(name, task.label, step - done)
            done = step
        by_seed.append(accuracy(model, seen.test, seen.test_classes))
    return _over_seeds(by_seed, seen.train[0].size, size)


def _classifier(name: str, shape: tuple[int, ...], num_classes: int, seed: int) -> Classifier:
    """The classifier of a method before its training, for inputs of a shape."""
    rngs = nnx.Rngs(seed)
    return CNN(shape[:-1], shape[-1], num_classes, rngs) if name == CNN_ON_ARRAYS else MLP(shape[0], num_classes, rngs)


def _draws(functaset: Functaset, rows: Rows, num_originals: int, seed: int) -> Draw:
    """Batches of places in the rows, epoch after epoch, in a loader's order and with its draws of augmentations."""
    options = {"index": rows, "shuffle": "full", "seed": seed, "normalize": False, "labels": (), "num_epochs": None}
    batches = iter(Loader(functaset, min(BATCH_SIZE, num_originals), drop_last=True, **options))
    return lambda: np.searchsorted(rows, next(batches)["index"])


def _over_seeds(by_seed: Sequence[float], num_inputs: int, num_parameters: int) -> Accuracy:
    """Mean and deviation of some accuracies."""
    return Accuracy(
        mean=float(np.mean(by_seed)),
        deviation=float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None,
        by_seed=tuple(by_seed),
        num_inputs=num_inputs,
        num_parameters=num_parameters,
    )
