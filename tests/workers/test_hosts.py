"""Do several processes learn together what one learns, and end together?"""

import contextlib
import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from functa_store.cli import main as cli
from functa_store.config import ConvertConfig
from functa_store.conversion import hosts as hosts_module
from functa_store.conversion.hosts import Hosts
from functa_store.errors import ConfigError, WorkerError
from functa_store.store.reading.reader import StoreReader
from tests.kill.conversions import ENVIRONMENT
from tests.workers.jobs import CONFIG, files, pictures

TOGETHER = "tests.workers.learn_together"
SECONDS = 300
"""More than any of these may take on a machine that others use; a process that waited for ever would take longer."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module", name="learn")
def _learn(tmp_path_factory):
    """Starts processes, one for each thing that may go wrong in it, and waits for their ends."""
    folder = tmp_path_factory.mktemp("hosts")
    archive = pictures(folder)
    environment = os.environ | ENVIRONMENT | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}

    def learn(out: str, *whats: str) -> tuple[Path, list[Ended]]:
        port, count = str(free_port()), str(len(whats))
        command = [sys.executable, "-m", TOGETHER, str(archive), str(folder / f"{out}.functa"), port, count]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with contextlib.ExitStack() as stack:
            started = [
                stack.enter_context(subprocess.Popen([*command, str(k), what], env=environment, **pipes))
                for k, what in enumerate(whats)
            ]
            for process in started:
                stack.callback(process.kill)
            said = [process.communicate(timeout=SECONDS) for process in started]
        ended = [Ended(process.returncode, *words) for process, words in zip(started, said, strict=True)]
        return folder / f"{out}.functa", ended

    return learn


@pytest.fixture(scope="module", name="together")
def _together(learn):
    """The functaset of two processes."""
    path, ended = learn("together", "slow", "")
    assert [one.code for one in ended] == [0, 0], ended
    return path, ended


def assert_alike(found: Path, expected: Path) -> None:
    """Two functasets but for rounding."""
    one, other = StoreReader(found), StoreReader(expected)
    for name, array in other.stored_base.items():
        np.testing.assert_allclose(one.stored_base[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(one.modulations[:], other.modulations[:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.mse[:], other.mse[:], rtol=1e-4)
    np.testing.assert_array_equal(one.ids[:], other.ids[:])


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(learn, together):
    path, (first, second) = together
    alone, (ended,) = learn("alone", "")
    assert ended.code == 0, ended
    assert_alike(path, alone)
    steps = [re.findall(r"^step .*", one.out, re.MULTILINE) for one in (first, second)]
    assert len(steps[0]) >= 4
    assert "fitted" in first.out
    assert "fitted" in second.out  # shards are shared, too
    assert steps[0] == steps[1]  # what is reported is agreed upon


@pytest.mark.slow
def test_one_process_keeps_the_log(together):
    path, _ = together
    log = [json.loads(line)["event"] for line in path.with_name(f"{path.name}.log").read_text().splitlines()]
    assert log.count("started") == log.count("ended") == 1
    assert not path.with_name(f"{path.name}.work").exists()


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_all_end_when_one_cannot_read_and_go_on_later(learn, together, failing):
    whats = ["", ""]
    whats[failing] = "read:29"
    path, ended = learn(f"read{failing}", *whats)
    assert [one.code for one in ended] == [1, 1]
    assert "MemberError: pictures.zip: the disk is gone" in ended[failing].err.splitlines()[-1]
    assert f"WorkerError: process {failing} of 2 failed" in ended[1 - failing].err
    assert "the disk is gone" in ended[1 - failing].err.splitlines()[-1]
    _, ended = learn(f"read{failing}", "", "")
    assert [one.code for one in ended] == [0, 0], ended
    assert "step 10 " not in ended[0].out  # it went on
    assert files(path) == files(together[0])


@pytest.mark.slow
@pytest.mark.parametrize("pressed", [0, 1])
def test_ctrl_c_in_one_interrupts_all(learn, together, pressed):
    whats = ["", ""]
    whats[pressed] = "interrupt:20"
    path, ended = learn(f"pressed{pressed}", *whats)
    assert [one.err.splitlines()[-1] for one in ended] == ["KeyboardInterrupt"] * 2
    _, (ended,) = learn(f"pressed{pressed}", "")  # one process may go on with what two have begun
    assert ended.code == 0, ended
    assert "step 10 " not in ended.out
    assert_alike(path, together[0])


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_others(learn, killed):
    whats = ["", ""]
    whats[killed] = "kill:20"
    _, ended = learn(f"killed{killed}", *whats)
    assert ended[killed].code == -9
    assert ended[1 - killed].code not in (0, -9)
    # Where the first one was killed, JAX may end the other before this has said so, by words of its own.
    assert re.search("has lost another one|another task died", ended[1 - killed].err), ended[1 - killed].err


@pytest.mark.slow
def test_all_take_the_steps_that_the_first_one_has_time_for(learn):
    _, ended = learn("budget", "budget", "budget")
    assert [one.code for one in ended] == [0, 0], ended
    last = [re.findall(r"^step .*", one.out, re.MULTILINE)[-1] for one in ended]
    assert last[0] == last[1]
    assert re.match(r"step (\d+) of \1:", last[0])


@pytest.mark.slow
def test_processes_that_convert_otherwise_are_refused(learn):
    _, ended = learn("seed", "", "seed")
    assert [one.code for one in ended] == [1, 1]
    assert "StoreMismatchError: pictures.zip: process 1 converts otherwise than process 0" in ended[1].err
    assert "WorkerError: process 1 of 2 failed" in ended[0].err


@pytest.mark.slow
def test_shards_may_be_left_to_workers(learn, together):
    path, ended = learn("left", "elsewhere", "elsewhere")
    assert [one.code for one in ended] == [0, 0], ended
    assert "fitted" not in ended[0].out + ended[1].out
    assert path.with_name(f"{path.name}.work").joinpath("job.json").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process_id": 2}, "process_id must be from 0 to 1"),
        ({"process_id": -1}, "process_id must be a whole number"),
        ({"num_processes": 0}, "num_processes must be a whole number"),
        ({"coordinator": "host"}, "HOST:PORT"),
        ({"coordinator": "host:99999"}, "HOST:PORT"),
        ({"coordinator": "http://host:80"}, "HOST:PORT"),
    ],
)
def test_hosts_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        Hosts(**{"coordinator": "host:1234", "num_processes": 2, "process_id": 0, **changes})


@pytest.mark.parametrize("count", [3, 5])
def test_batches_that_cannot_be_shared_are_refused(count):
    with pytest.raises(ConfigError, match=f"4 examples per update .* cannot be shared equally by {count} processes"):
        Hosts(coordinator="host:1234", num_processes=count, process_id=0).check(CONFIG)
    Hosts(coordinator="host:1234", num_processes=2, process_id=0).check(ConvertConfig())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--coordinator", "h:1"], "all three"),
        (["--num-processes", "2", "--process-id", "0"], "all three"),
        (["--coordinator", "h:1", "--num-processes", "2", "--process-id", "2"], "process_id must be from 0 to 1"),
        (["--coordinator", "h:1", "--num-processes", "3", "--process-id", "0"], "cannot be shared equally"),
    ],
)
def test_the_command_line_refuses_them_before_it_opens_the_archive(words, message, tmp_path, capsys):
    command = ["convert", "images", "absent.zip", str(tmp_path / "x.functa"), "--batch-size", "8", *words]
    assert cli.main(command) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_jax_that_has_begun_cannot_find_others_any_more():
    import jax

    jax.local_devices()
    hosts = Hosts(coordinator=f"127.0.0.1:{free_port()}", num_processes=2, process_id=0)
    with pytest.raises(ConfigError, match="JAX was used in this process before"), hosts_module.joined(hosts):
        pass


@pytest.fixture(name="meet")
def _meet(monkeypatch):
    """Lets processes find each other, all of them threads of this one; what each returned or raised."""
    monkeypatch.setattr(hosts_module, "PATIENCE", 0.5)

    def meet(*numbers: int, count: int, port: int, before=lambda: None) -> dict[int, BaseException | None]:
        found: dict[int, BaseException | None] = {}

        def run(place: int, number: int) -> None:
            try:
                if number == 0:
                    hosts_module._await_others(port, count)
                else:
                    hosts_module._report_to_first(("127.0.0.1", port), number, count)
                found[place] = None
            except (WorkerError, ConfigError) as error:
                found[place] = error

        threads = [threading.Thread(target=run, args=pair) for pair in enumerate(numbers)]
        for thread in threads:
            thread.start()
        before()
        for thread in threads:
            thread.join(20)
        return found

    return meet


def test_processes_find_each_other(meet):
    assert meet(0, 1, 2, count=3, port=free_port()) == {0: None, 1: None, 2: None}


def test_strangers_do_not_keep_processes_from_each_other(meet):
    port = free_port()

    def disturb() -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as stranger:
                stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return

    assert meet(0, 1, count=2, port=port, before=disturb) == {0: None, 1: None}


def test_a_process_that_does_not_come_is_named(meet):
    found = meet(0, 2, count=3, port=free_port())
    assert "of 3 processes, 1 did not come within 0.5 s" in str(found[0])
    assert "process 0 at 127.0.0.1" in str(found[1])


def test_the_first_process_is_missed(meet):
    assert "process 1 of 2 waited 0.5 s for process 0" in str(meet(1, count=2, port=free_port())[0])


def test_two_processes_of_one_number_are_refused(meet):
    assert "where one of that number is already" in str(meet(0, 1, 1, count=3, port=free_port())[0])


def test_a_port_that_is_taken_is_refused(meet):
    with socket.create_server(("", 0)) as taken:
        found = meet(0, count=2, port=taken.getsockname()[1])
    assert "cannot be opened" in str(found[0])
