"""Ctrl-C ends a conversion between two steps."""

import signal
import subprocess
import sys

import pytest

from functa_store.interrupts import stopping_between_events
from functa_store.progress import Note

EVENT = Note(message="a step")


@pytest.fixture
def _ctrl_c_interrupts():
    """As in a program of its own; a process that runs tests for another one may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_interrupts")
def test_ctrl_c_is_raised_by_the_next_event_and_not_before(capsys):
    seen = []
    with stopping_between_events(seen.append) as report:
        report(EVENT)
        signal.raise_signal(signal.SIGINT)  # to this thread: os.kill may wake another one first
        assert "stopping" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            report(EVENT)
    assert seen == [EVENT, EVENT]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_ends_the_process_at_once():
    code = (
        "import os, signal\n"
        "from functa_store.interrupts import stopping_between_events\n"
        "with stopping_between_events(print):\n"
        "    [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 130
