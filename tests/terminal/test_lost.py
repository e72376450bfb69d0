"""A terminal that is lost, a full disk and closed streams cost progress, never the work."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

from tests.interrupts.pressing import COMMANDS, Command, Place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full and a pseudo-terminal")

LAUNCH = "from functa_store.cli.__main__ import main; main()"
WORK = ("convert", "export a folder", "repair")
MOST_OFTEN = [name if name == "convert" else pytest.param(name, marks=pytest.mark.long) for name in WORK]
"""All of them, of which CI tries the longest."""

CLOSED = ["2>/dev/full", ">&- 2>&-", *(pytest.param(words, marks=pytest.mark.long) for words in ("2>&-", "0<&- 2>&-"))]
CLOSED += [pytest.param("2> >(exit 0)", marks=pytest.mark.long)]


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("lost"))


def shell(place, command, redirections, *, words="", env=None):
    """Exit code, output and messages of a command whose streams a shell has redirected."""
    line = f'"$0" -c "{LAUNCH}" {command.words} {words} {redirections}'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable],
        cwd=place.folder,
        env=place.environment | (env or {}),
        capture_output=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def check_same(place, command):
    """What was written is what the command writes otherwise."""
    assert place.written(command) == place.result_of[command.words]


@pytest.fixture(autouse=True)
def _expected(place):
    place.result_of = {}
    for name in WORK:
        place.result_of[COMMANDS[name].words] = place.result(COMMANDS[name])[1]
    return place


@pytest.mark.slow
@pytest.mark.parametrize("redirections", CLOSED)
@pytest.mark.parametrize("name", MOST_OFTEN)
def test_messages_that_cannot_be_written_cost_nothing(place, name, redirections):
    command = COMMANDS[name]
    place.clear(command)
    code, _, err = shell(
        place, command, redirections, words="--quiet" if name == "convert" and ">&-" in redirections else ""
    )
    assert code == 0, err
    check_same(place, command)


@pytest.mark.slow
@pytest.mark.parametrize("name", MOST_OFTEN)
def test_a_terminal_that_is_closed_costs_nothing(place, name):
    """A session that goes on without it, as under nohup."""
    command = COMMANDS[name]
    place.clear(command)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["env", "--ignore-signal=HUP", sys.executable, "-c", LAUNCH, *command.words.split()],
        cwd=place.folder,
        env=place.environment | {"TERM": "xterm"},
        stdin=slave,
        stderr=slave,
        stdout=slave if name != "convert" else subprocess.DEVNULL,
    )
    os.close(slave)
    os.read(master, 1)  # it has begun to show something
    os.close(master)
    assert process.wait(300) == 0
    check_same(place, command)


@pytest.mark.slow
@pytest.mark.parametrize("name", MOST_OFTEN)
def test_lines_for_programs_that_cannot_be_written_cost_the_exit_code_alone(place, name):
    command = COMMANDS[name]
    place.clear(command)
    code, _, err = shell(place, command, ">/dev/full", words="--json")
    assert code == 2
    assert err.decode().splitlines() == [
        "error: standard output: cannot be written: No space left on device; the work itself is done"
    ]
    check_same(place, command)


@pytest.mark.slow
@pytest.mark.parametrize("name", MOST_OFTEN)
def test_a_reader_of_lines_that_has_seen_enough_costs_nothing(place, name):
    command = COMMANDS[name]
    place.clear(command)
    code, _, err = shell(place, command, "| head -c 1; exit ${PIPESTATUS[0]}", words="--json")
    assert (code, err) == (0, b"")
    check_same(place, command)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["info whole.functa", "info whole.functa --json", "presets", "verify whole.functa", "--help"]
)
@pytest.mark.parametrize("redirections", [">/dev/full", ">&-"])
def test_results_that_cannot_be_written_are_an_error(place, words, redirections):
    command = Command(words)
    code, _, err = shell(place, command, redirections)
    found = "No space left on device" if "full" in redirections else "it is closed"
    assert (code, err.decode()) == (
        2,
        f"error: standard output: cannot be written: {found}; the work itself is done\n",
    )


@pytest.mark.long
@pytest.mark.parametrize("words", ["info whole.functa", "presets --json", "--help", "decode --nonsense"])
@pytest.mark.parametrize("redirections", [">/dev/full 2>/dev/full", ">&- 2>&-", "0<&- >&- 2>&-"])
def test_where_nothing_can_be_said_the_exit_code_says_it(place, words, redirections):
    assert shell(place, Command(words), redirections) == (2, b"", b"")


@pytest.mark.slow
def test_a_damaged_store_is_said_by_the_exit_code_although_nobody_reads(place):
    command = Command("verify damaged.functa")
    assert shell(place, command, "| true; exit ${PIPESTATUS[0]}")[::2] == (4, b"")


@pytest.mark.slow
@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"}])
def test_what_an_encoding_cannot_show_is_escaped(place, env):
    env = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **env}
    strange = os.fsdecode(b"\xff\xe2\x82\xac\xf0\x9f\x92\xaf.functa")
    place.clear(COMMANDS["info"])
    os.symlink("whole.functa", place.folder / f"new{strange}")
    for words in (f"info 'new{strange}'", f"verify 'new{strange}'", f"info 'nothing{strange}'", "presets"):
        code, out, err = shell(place, Command(words), "", env=env)
        assert code == (2 if "nothing" in words else 0), err
        assert b"Traceback" not in err
        if "presets" not in words:
            assert b"\\udcff" in out + err
    place.clear(COMMANDS["info"])


@pytest.mark.slow
def test_bars_and_the_last_line_are_readable_on_a_terminal(place):
    """One line about Ctrl-C, and the cursor is shown again."""
    command = COMMANDS["convert"]
    place.clear(command)
    master, slave = pty.openpty()
    shown = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):
            while part := os.read(master, 4096):
                shown.extend(part)

    process = place.start(command, stderr=slave, env=place.environment | {"TERM": "xterm"})
    os.close(slave)
    reader = threading.Thread(target=read)
    reader.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(place.result(command)[0] / 3)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    process.communicate()
    reader.join()
    os.close(master)
    place.clear(command)
    assert shown.count(b"error:") == 1
    assert shown.decode().rstrip().endswith("go on from here")
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
