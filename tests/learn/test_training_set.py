"""The choice of training and monitored examples, and the order in which they are read."""

import dataclasses
import itertools

import numpy as np
import pytest

from functa_store.learn.training_set import TrainingSet
from functa_store.sources.array_source import ArraySource
from functa_store.sources.augmentation import originals_of
from functa_store.sources.augmented_source import augmented
from tests.learn.test_meta_learn import CONFIG, SOURCE, waves


def monitoring(count):
    return dataclasses.replace(CONFIG, outer=dataclasses.replace(CONFIG.outer, num_monitored=count))


def test_monitored_examples_are_never_learned_from_nor_held_out():
    training = TrainingSet(SOURCE, monitoring(64))
    assert not set(training.train) & set(training.monitored)
    assert set(SOURCE.split[training.monitored]) == {"train"}
    assert len(training.monitored) == 3


class Augmented(ArraySource):
    """Each example again, twice, behind all of them; `read_part` of a wave is the wave."""

    def read_part(self, index, augmentation):
        return self.read(index)

    @classmethod
    def of_waves(cls, count, **given):
        return augmented(cls(waves(count), **given), 2)


@pytest.mark.parametrize("num_monitored", [1, 3, 64])
def test_no_augmentation_of_a_monitored_or_held_out_example_is_learned_from(num_monitored):
    source = Augmented.of_waves(40)
    of, own = source.augmentations.of, originals_of(source)
    training = TrainingSet(source, monitoring(num_monitored))
    assert len(training.monitored) == min(num_monitored, 3)
    assert set(training.monitored) <= set(own)
    assert not set(of[training.train]) & set(training.monitored)
    assert set(source.split[of[training.train]]) == {"train"}
    learned = [row for row in own if source.split[row] == "train" and row not in training.monitored]
    assert sorted(of[training.train].tolist()) == sorted(3 * learned)
    assert set(training.seen) <= set(learned)
    assert len(training.seen) == len(training.monitored)


def test_the_monitored_examples_are_those_without_augmentations():
    source, plain = Augmented.of_waves(40), ArraySource(waves(40))
    with_some, without = (TrainingSet(one, monitoring(64)) for one in (source, plain))
    np.testing.assert_array_equal(with_some.monitored, without.monitored)
    np.testing.assert_array_equal(with_some.train[: len(without.train)], without.train)


def test_of_a_handful_of_examples_augmentations_are_learned_from_and_originals_monitored():
    training = TrainingSet(Augmented.of_waves(3), monitoring(64))
    assert training.monitored.tolist() == [0, 1, 2]
    assert training.train.tolist() == list(range(9))


def test_augmentations_are_learned_from_beside_a_published_validation_split():
    split = np.array(["train"] * 30 + ["validation"] * 10)
    source = Augmented.of_waves(40, split=split)
    training = TrainingSet(source, monitoring(4))
    assert len(training.train) == 90
    assert set(source.split[training.monitored]) == {"validation"}


def test_a_handful_of_examples_is_learned_from_and_monitored():
    training = TrainingSet(ArraySource(waves(3)), monitoring(64))
    assert training.train.tolist() == training.monitored.tolist() == [0, 1, 2]


def test_a_published_validation_split_is_monitored_instead():
    split = np.array(["train"] * 30 + ["validation"] * 10)
    training = TrainingSet(ArraySource(waves(), split=split), monitoring(4))
    assert len(training.train) == 30
    assert set(split[training.monitored]) == {"validation"}


def test_batches_of_learning_go_on_from_any_step_and_are_shuffled_anew_every_epoch():
    training = TrainingSet(SOURCE, CONFIG)
    per_epoch = len(training.train) // training.batch_size
    straight = list(itertools.islice(training.learning_batches(0), 2 * per_epoch))
    epochs = [np.concatenate(part).reshape(-1, 64) for part in (straight[:per_epoch], straight[per_epoch:])]
    assert all(len(np.unique(epoch, axis=0)) == len(epoch) for epoch in epochs)
    assert not np.array_equal(*epochs)
    for first in (1, per_epoch, per_epoch + 2):
        np.testing.assert_array_equal(next(training.learning_batches(first)), straight[first])


def test_batches_of_tuning_go_on_from_any_update_and_are_not_those_of_learning():
    training = TrainingSet(SOURCE, CONFIG)
    straight = list(training.tuning_batches(0, 5))
    assert len(straight) == 5
    np.testing.assert_array_equal(list(training.tuning_batches(3, 5)), straight[3:])
    assert not np.array_equal(straight[0], next(training.learning_batches(0)))


def test_an_example_is_read_once_for_all_uses():
    class Counting(ArraySource):
        def read(self, index):
            read.append(index)
            return super().read(index)

    read = []
    training = TrainingSet(Counting(waves(3)), CONFIG)
    read.clear()
    list(training.reader.batches([training.monitored]))
    for batches in (training.learning_batches(0), training.tuning_batches(0, 2)):
        next(batches)
    assert sorted(read) == [0, 1, 2]
