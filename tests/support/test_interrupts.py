"""Where nothing was installed, Ctrl-C is Python's; files that are left are known."""

from functa_store.progress import Note
from functa_store.support import interrupts
from functa_store.support.interrupts import removing, stopping_between_events

EVENT = Note(message="a step")


def test_a_program_of_its_own_gets_its_events_and_keeps_its_handlers():
    seen = []
    with stopping_between_events(seen.append) as report:
        report(EVENT)
        assert report == seen.append
    assert seen == [EVENT]


def test_ctrl_c_is_raised_by_the_next_event_and_not_before(monkeypatch):
    state = interrupts._State()
    state.installed = True
    monkeypatch.setattr(interrupts, "_state", state)
    seen = []
    try:
        with stopping_between_events(seen.append) as report:
            report(EVENT)
            interrupts._on_signal(2, None)
            assert state.patient == 1
            report(EVENT)
            raise AssertionError("goes on")
    except KeyboardInterrupt:
        pass
    assert seen == [EVENT, EVENT]
    assert (state.patient, state.line) == (0, "interrupted")


def test_work_that_ends_before_the_next_event_is_done(monkeypatch):
    state = interrupts._State()
    state.installed = True
    monkeypatch.setattr(interrupts, "_state", state)
    with stopping_between_events(print):
        interrupts._on_signal(2, None)
    assert state.line == interrupts.DONE


def test_what_is_unfinished_is_known_as_long_as_it_is():
    removed = []
    with removing(removed.append):
        assert interrupts._state.leftovers == [removed.append]
    assert interrupts._state.leftovers == []
