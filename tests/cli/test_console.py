"""Progress is readable, rare in logs, and valid JSON for programs."""

import io
import json

import pytest
from rich.console import Console

from functa_store.cli.console import (
    JsonLines,
    Lines,
    duration,
    shown_on,
    stage,
)
from functa_store.progress import (
    Fitted,
    Learned,
    Note,
    Surveyed,
    json_ready,
)
from functa_store.support import interrupts

LEARNED = Learned(
    step=120,
    num_steps=None,
    seconds=30.0,
    seconds_left=90.0,
    psnr=21.25,
    monitored_psnr=None,
    examples_per_second=64.0,
)


def fitted(done: int, total: int = 100) -> Fitted:
    return Fitted(done=done, total=total, psnr_mean=24.0, examples_per_second=10.0, seconds_left=1.0)


@pytest.mark.parametrize(("seconds", "words"), [(0.0, "0:00"), (59.6, "1:00"), (125.0, "2:05"), (3600.0, "1:00:00")])
def test_durations_read_like_a_clock(seconds, words):
    assert duration(seconds) == words


def test_a_time_budget_measures_progress_by_time():
    assert stage(LEARNED).fraction == 0.25
    assert stage(LEARNED).facts == "step 120, 21.25 dB, 64.0 examples/s, 1:30 left"


def test_an_empty_archive_does_not_divide_by_zero():
    assert stage(Surveyed(done=0, total=0, rejects=0)).fraction == 1


def test_logs_get_the_first_and_the_last_line_and_few_in_between():
    stream, now = io.StringIO(), iter(float(second) for second in range(200))
    lines = Lines(stream, seconds=50.0, clock=lambda: next(now))
    for done in range(1, 101):
        lines(fitted(done))
    written = stream.getvalue().splitlines()
    assert [line.split(":")[0] for line in written] == ["fitting   1%", "fitting  51%", "fitting 100%"]


def test_notes_are_always_shown_as_they_are():
    stream = io.StringIO()
    with shown_on(Console(file=stream)) as report:
        report(Note(message="taken up again at shard [3/7]"))
    assert stream.getvalue() == "taken up again at shard [3/7]\n"


def test_a_terminal_gets_bars():
    stream = io.StringIO()
    with shown_on(Console(file=stream, force_terminal=True, width=120)) as report:
        report(LEARNED)
        report(fitted(100))
    assert "learning" in stream.getvalue()
    assert "100 of 100 examples" in stream.getvalue()


def test_a_narrow_terminal_shows_all_that_is_said():
    """The name, how much is done and the time left count more than a bar."""
    event = Learned(
        step=12_340,
        num_steps=100_000,
        seconds=100.0,
        seconds_left=5000.0,
        psnr=28.5,
        monitored_psnr=27.1,
        examples_per_second=1653.6,
    )
    stream = io.StringIO()
    with shown_on(Console(file=stream, force_terminal=True, width=80, color_system=None)) as report:
        report(event)
    shown = " ".join(stream.getvalue().split())
    assert "learning 2% step 12,340 of 100,000, 28.50 dB (kept out: 27.10), 1,653.6 examples/s, 1:23:20 left" in shown


def test_whenever_the_cursor_is_hidden_an_interruption_would_show_it(monkeypatch):
    console, shown = Console(file=io.StringIO(), force_terminal=True), []
    noted = []
    monkeypatch.setattr(interrupts, "set_displayed", noted.append)
    monkeypatch.setattr(console, "show_cursor", lambda show: shown.append((show, noted[-1])))
    with shown_on(console) as report:
        report(LEARNED)
    assert shown[0] == (False, True)
    assert shown[-1] == (True, True)
    assert noted == [True, False]


def test_events_are_one_json_object_per_line():
    stream = io.StringIO()
    report = JsonLines(stream)
    report(LEARNED)
    report(fitted(3))
    learned, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert learned["event"] == "learned"
    assert learned["num_steps"] is None
    assert (second["event"], second["done"]) == ("fitted", 3)


def test_numbers_that_json_cannot_hold_become_null():
    assert json_ready({"a": (1, float("inf"), float("nan"))}) == {"a": [1, None, None]}
