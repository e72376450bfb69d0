"""Ctrl-C ends every command within two seconds, at any moment, with one line and exit code 130."""

import contextlib
import json
import os
import subprocess
import sys

import pytest

from tests.interrupts.pressing import COMMANDS, GOES_ON, SLACK, Command, Place, moments

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="Ctrl-C is a signal")]

FAST = ("convert", "info")


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("pressed"))


@pytest.mark.parametrize("name", FAST)
def test_ctrl_c_ends_a_command_soon_with_one_line(place, name):
    found, problems = place.press_often(COMMANDS[name], 3, seed=0)
    assert not problems, "\n".join(problems)
    assert not all(pressed.early for pressed in found)


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_a_command_at_a_hundred_moments(place, name):
    found, problems = place.press_often(COMMANDS[name], 100, seed=1)
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems)
    assert sum(pressed.early for pressed in found) < 20


@pytest.mark.parametrize("name", ["info", "convert", "help"])
def test_ctrl_c_in_the_first_hundredths_of_a_second_is_no_traceback(place, name):
    for thousandths in range(0, 60, 10):
        pressed = place.press(COMMANDS[name], thousandths / 1000)
        assert pressed.problem() is None
    place.clear(COMMANDS[name])


def check_going_on(place, name, number, seed):
    command = COMMANDS[name]
    seconds, expected = place.result(command)
    place.clear(command)
    for after in moments(seconds, number, seed):
        assert place.press(command, after).problem() is None
        if place.written(command) == expected:  # it was done before Ctrl-C
            return
    place.run(command)
    assert place.written(command) == expected
    left = [path.name for path in place.folder.iterdir() if path.name.startswith("new")]
    assert set(left) <= {"new.functa", "new.functa.log"}


@pytest.mark.parametrize("name", ["convert", "repair"])
def test_an_interrupted_command_goes_on_to_the_same_bytes(place, name):
    check_going_on(place, name, 2, seed=2)


@pytest.mark.long
@pytest.mark.parametrize("name", GOES_ON)
@pytest.mark.parametrize("seed", range(10))
def test_a_command_that_is_interrupted_often_goes_on_to_the_same_bytes(place, name, seed):
    check_going_on(place, name, 5, 10 + seed)


def test_programs_are_told_in_json(place):
    seconds, _ = place.result(COMMANDS["decode arrays"])
    for after in (0, 0.4 * seconds):
        pressed = place.press(COMMANDS["decode arrays"], after)
        assert json.loads(pressed.out.splitlines()[-1])["error"] == "Interrupted"


def test_a_second_ctrl_c_ends_at_once(place):
    place.clear(COMMANDS["convert"])
    pressed = place.press(COMMANDS["convert"], 1, times=2)  # while it imports what takes longest
    assert pressed.problem() is None
    assert pressed.seconds < 0.4 + SLACK
    place.clear(COMMANDS["convert"])


def test_a_reader_that_does_not_read_does_not_hold_ctrl_c_up(place):
    """Standard output and error are pipes that are full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    pressed = place.press(COMMANDS["presets"], 3, stdout=writer, stderr=writer)
    os.close(reader)
    os.close(writer)
    assert (pressed.code, pressed.early) == (130, False)
    assert pressed.seconds < 2 + SLACK


def test_a_command_that_waits_for_a_file_is_interrupted(place):
    place.clear(COMMANDS["info"])
    os.mkfifo(place.folder / "new.npz")
    pressed = place.press(Command("decode whole.functa --out new.npz"), 6)  # nobody reads it
    assert not pressed.early
    assert pressed.problem() is None
    place.clear(COMMANDS["info"])


def test_where_ctrl_c_is_ignored_it_stays_so(place):
    """As in the background of a script."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from functa_store.cli import __main__ as launch, main as cli\n"
        "cli.run_process = lambda words: [signal.raise_signal(signal.SIGINT), 7][1]\n"
        "launch.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=place.environment, check=False)
    assert done.returncode == 7


def test_ctrl_c_after_the_work_says_so(place):
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from functa_store.cli import __main__ as launch\nfrom functa_store.support import interrupts\n"
        "mark_done = interrupts.mark_done\n"
        "interrupts.mark_done = lambda: [mark_done(), signal.raise_signal(signal.SIGINT)]\n"
        "sys.argv = ['functa', 'presets', '--json']\n"
        "launch.main()"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=place.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "error: interrupted when the work was done\n"
