"""What has each process of a batch, and what does one by itself?"""

import jax.numpy as jnp
import numpy as np
import pytest

from functa_store.errors import ConfigError
from functa_store.learn.group import ALONE, Group
from functa_store.learn.training_set import TrainingSet
from tests.learn.test_meta_learn import CONFIG, SOURCE


def test_the_parts_of_all_processes_are_the_batch():
    batch = np.arange(12)
    for count in (1, 2, 3, 4):
        np.testing.assert_array_equal(np.concatenate([Group(count, k).part(batch) for k in range(count)]), batch)


def test_processes_read_parts_of_the_batches_of_one():
    def read(group: Group) -> list[np.ndarray]:
        training = TrainingSet(SOURCE, CONFIG, group)
        learning, tuning = training.learning_batches(3), training.tuning_batches(0, 2)
        return [*(next(learning) for _ in range(4)), *tuning]

    for whole, *parts in zip(read(ALONE), *(read(Group(2, k)) for k in range(2)), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ConfigError, match="cannot be shared equally by 5 processes"):
        TrainingSet(SOURCE, CONFIG, Group(5, 0))


def test_one_process_has_nobody_to_meet():
    assert ALONE.leads
    assert not ALONE.is_open
    assert ALONE.meet(2.5) == ALONE.most(2.5) == 2.5
    assert ALONE.shared(b"x") == b"x"
    assert ALONE.shared(None) is None
    rows = np.arange(3.0)
    np.testing.assert_array_equal(ALONE.gather(rows), rows[None])
    assert ALONE.mesh(8) is ALONE.fewest_devices() is None
    value = {"a": jnp.ones(2)}
    assert ALONE.copied(value, None) is value
    assert ALONE.spread(rows, None) is rows
    with pytest.raises(ZeroDivisionError), ALONE.together(), ALONE.program():
        _ = 1 / 0
    ALONE.leave()
