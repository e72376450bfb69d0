"""Values made ahead are those that were asked for."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.support.threads import made_ahead


@given(st.lists(st.integers() | st.none(), max_size=10), st.integers(1, 12))
def test_values_come_in_order_whatever_their_number(values, count):
    assert list(made_ahead(iter(values), count)) == values


def test_no_more_are_made_than_asked_for():
    made = []
    values = made_ahead((made.append(i) or i for i in range(100)), 3)
    assert next(values) == 0
    values.close()
    assert len(made) <= 4


def test_a_value_is_made_while_the_last_one_is_used():
    may_end = threading.Event()

    def values():
        yield 1
        may_end.set()
        yield 2

    ahead = made_ahead(values(), 1)
    assert next(ahead) == 1
    assert may_end.wait(10)
    assert list(ahead) == [2]


def test_an_error_comes_in_the_place_of_its_value():
    def values():
        yield 1
        raise OSError("disk")

    ahead = made_ahead(values(), 5)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="disk"):
        next(ahead)
