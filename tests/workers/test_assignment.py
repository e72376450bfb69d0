"""Shards are handed out once, again if a worker dies, and twice only if one says nothing."""

import pytest

from functa_store.conversion.workers.assignment import Assignment, Deaths
from functa_store.errors import WorkerError


def test_every_shard_is_handed_out_once_and_in_order():
    assignment = Assignment([3, 5, 8])
    assert [assignment.next_for(worker) for worker in ("a", "b", "a", "b")] == [3, 5, 8, None]
    assert (assignment.held_by("a"), assignment.held_by("b"), assignment.left) == (2, 1, 3)
    for shard in (5, 3, 8):
        assignment.done(shard)
    assert (assignment.held_by("a"), assignment.left) == (0, 0)


def test_what_a_dead_worker_held_comes_next_but_for_what_it_had_done():
    assignment = Assignment([1, 2, 3, 4])
    for _ in range(3):
        assignment.next_for("a")
    assignment.done(2)
    assignment.gone("a")
    assert [assignment.next_for("b") for _ in range(4)] == [1, 3, 4, None]


def test_shards_of_a_silent_worker_are_given_to_one_other_once_all_are_given():
    assignment = Assignment([1, 2])
    assert assignment.next_for("asleep") == 1
    assert assignment.next_for("awake", silent=["asleep"]) == 2
    assert assignment.next_for("awake", silent=["asleep"]) == 1
    assert assignment.next_for("third", silent=["asleep"]) is None
    assignment.done(1)
    assignment.done(2)
    assert assignment.left == 0
    assignment.done(1)  # the sleeper's, which comes late
    assert assignment.left == 0


def test_a_shard_that_others_have_written_is_not_handed_out():
    assignment = Assignment([1, 2])
    assignment.done(1)
    assert assignment.next_for("a") == 2


def test_three_deaths_on_one_shard_name_it():
    deaths = Deaths()
    for shard in (7, 8, 7, 8):
        deaths.count(shard, "with exit code -9")
    with pytest.raises(
        WorkerError, match="shard 7: 3 workers died while they fitted it, the last one with exit code -9"
    ):
        deaths.count(7, "with exit code -9")
