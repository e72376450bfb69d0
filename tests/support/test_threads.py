"""Writing behind a computation."""

import threading

import pytest

from functa_store.support.threads import one_behind


def test_calls_are_made_in_order_while_the_caller_goes_on():
    written, may_write = [], threading.Event()

    def write(value):
        assert may_write.wait(10)
        written.append(value)

    with one_behind(write) as call:
        call(1)
        assert written == []
        may_write.set()
        call(2)
    assert written == [1, 2]


def calling(function, *values, then=None):
    with one_behind(function) as call:
        for value in values:
            call(value)
        if then:
            raise then


@pytest.mark.parametrize("values", [("first", "second"), ("first",)])
def test_what_a_call_raises_reaches_the_caller_at_the_next_call_or_at_the_end(values):
    def write(value):
        raise OSError(value)

    with pytest.raises(OSError, match="first"):
        calling(write, *values)


def test_a_call_that_has_begun_is_finished_when_the_caller_fails():
    written = []
    with pytest.raises(KeyboardInterrupt):
        calling(written.append, 1, then=KeyboardInterrupt())
    assert written == [1]
