"""Threads share a room in memory; who takes more than there is waits for the others."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from converters.archives import memory_share as module
from converters.archives.memory_share import (
    ROOM,
    check_wanted,
    room,
    take_room,
)
from converters.survey import in_threads


def test_no_more_is_taken_at_once_than_there_is():
    taken, most, lock = [0], [0], threading.Lock()

    def task(num_bytes):
        with room():
            take_room(num_bytes)
            with lock:
                taken[0] += num_bytes
                most[0] = max(most)
                most.append(taken[0])
            time.sleep(0.01)
            with lock:
                taken[0] -= num_bytes

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(task, [ROOM // 3, ROOM // 2, ROOM, ROOM // 5] * 5))
    assert max(most) <= ROOM
    assert module._free == ROOM


def test_two_that_want_more_do_not_wait_for_each_other():
    both = threading.Barrier(2)

    def task(_):
        with room():
            take_room(ROOM // 2)
            both.wait(10)
            take_room(ROOM)
            with room():
                take_room(2 * ROOM)
            return module._free

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(task, range(2))) == [0, 0]
    assert module._free == ROOM


def test_outside_of_a_survey_nothing_is_waited_for():
    for _ in range(3):
        take_room(ROOM)
    assert module._free == ROOM


def test_room_is_given_back_after_an_error():
    try:
        with room():
            take_room(ROOM)
            raise KeyError
    except KeyError:
        assert module._free == ROOM


def test_a_survey_that_stops_does_not_wait_for_what_takes_long():
    started = threading.Event()

    def inspect(k):
        if k == 0:
            started.wait(10)
            return k
        started.set()
        for _ in range(6000):
            check_wanted()
            time.sleep(0.01)
        return k

    began = time.monotonic()
    outcomes = in_threads(inspect, 2)
    assert next(outcomes).found == 0
    outcomes.close()
    assert time.monotonic() - began < 20
