"""Processes on several hosts that convert one archive: how they find each other, and how they fit what they learned.

They meet twice. First on a socket of their own at the coordinator's port, since `jax.distributed` aborts a process
where another one does not come, or comes with another number; then in `jax.distributed`, while a base is learned. After
that each is by itself: shards are fitted by whoever reaches the store, as by any workers.
"""

import contextlib
import dataclasses
import json
import logging
import re
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax

from functa_store.config import ConvertConfig, whole
from functa_store.conversion.workers.engine import Unfinished
from functa_store.errors import ConfigError, WorkerError
from functa_store.learn.devices import use_all_cores
from functa_store.learn.group import ALONE, Group
from functa_store.support import interrupts
from functa_store.support.threads import has_jax_begun

PATIENCE = 300.0
"""Seconds that the processes wait for the last one of them to begin."""

HEARTBEAT = 60
"""Seconds after which JAX gives a process up from which it hears nothing, and ends the others."""

SHUTDOWN = 20
"""Seconds that processes wait for each other as they leave `jax.distributed`."""

MOMENT = 0.2
MOST_LINE = 2000

WORK = b"work"
"""What the first process says when the others may fit shards."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hosts:
    """The processes that learn one base together, one or more on each host, and which of them this one is.

    All of them are started alike, but for `process_id`. If `jax.distributed` was initialised before, it is used as it
    is and stays; else it begins with the conversion and ends when the base is learned, which only one conversion of a
    process can do, before it uses JAX for anything else.

    Attributes:
        coordinator: "HOST:PORT" of process 0, as all processes reach it; any free port above 1023.
        num_processes: How many processes there are, a divisor of the batch size.
        process_id: Which one this is, from 0 on; 0 writes the store, and its clock counts.

    Raises:
        ConfigError: If a value is out of range.
    """

    coordinator: str
    num_processes: int
    process_id: int

    def __post_init__(self) -> None:
        whole("num_processes", self.num_processes, 1)
        if whole("process_id", self.process_id, 0) >= self.num_processes:
            raise ConfigError(
                f"process_id must be from 0 to {self.num_processes - 1}, since num_processes is {self.num_processes}; "
                f"got {self.process_id}"
            )
        if not isinstance(self.coordinator, str) or _address(self.coordinator) is None:
            raise ConfigError(
                f"coordinator must be HOST:PORT of process 0, such as node17:29500, got {self.coordinator!r:.100}"
            )

    def check(self, config: ConvertConfig) -> None:
        """Refuse a conversion whose batches the processes cannot share equally.

        Raises:
            ConfigError: If they cannot.
        """
        Group(self.num_processes, self.process_id).check_batch(config.outer.batch_size, "batch_size")


@contextlib.contextmanager
def joined(hosts: Hosts | None) -> Iterator[Group]:
    """Be one of the processes of a group, until it leaves; inside another such block of the same group, its part.

    Ctrl-C ends all processes at their next meeting, and a second one this process at once.

    Args:
        hosts: The group; None for a process by itself.

    Yields:
        The group.

    Raises:
        ConfigError: If JAX has begun in this process already, or numbers of processes contradict each other.
        WorkerError: If a process does not come.
    """
    global _group  # as jax.distributed, it is one of the process
    if hosts is None or hosts.num_processes == 1:
        yield ALONE
    elif _group is not None:
        yield _group
    else:
        use_all_cores()
        _group = _connected(hosts)
        try:
            with interrupts.draining(), _interrupted_at_meetings(_group), _group.together():
                yield _group
                _group.leave()
        finally:
            if _group.is_lost:
                interrupts.skip_exit_functions()  # those of JAX wait for the process that is gone
            _group = None


_group: Group | None = None


class EveryHost:
    """Fits on all hosts, whose processes become workers that share nothing but the store and the archive.

    Args:
        group: The processes, which meet no more.
    """

    needs_recipe, completes = False, True

    def __init__(self, group: Group) -> None:
        self._group = group

    def fit(self, unfinished: Unfinished) -> None:
        """Let all begin with a part of the shards, and fit what they leave."""
        self._group.shared(None if unfinished.job is None else WORK)
        self._group.leave()
        unfinished.fit_here(share=(self._group.number, self._group.count))


def _connected(hosts: Hosts) -> Group:
    """Find the other processes, and begin."""
    count, number = hosts.num_processes, hosts.process_id
    if jax.distributed.is_initialized():
        if (found := (jax.process_count(), jax.process_index())) != (count, number):
            raise ConfigError(
                f"jax.distributed was initialised with {found[0]} processes, of which this is number {found[1]}; "
                f"Hosts says {count} and {number}"
            )
        return Group(count, number)
    if has_jax_begun():
        raise ConfigError(
            "JAX was used in this process before it has found the others; call convert with hosts first, or "
            "jax.distributed.initialize at the beginning of the program"
        )
    address = _address(hosts.coordinator)
    assert address is not None
    if number == 0:
        _await_others(address[1], count)
    else:
        _report_to_first(address, number, count)
    jax.distributed.initialize(
        hosts.coordinator,
        count,
        number,
        initialization_timeout=int(PATIENCE),
        heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=SHUTDOWN,
        cluster_detection_method="deactivate",
    )
    jax.local_devices()  # here, where all do so at a time: each tells the others of its devices
    return Group(count, number, ends_jax=True)


def _address(text: str) -> tuple[str, int] | None:
    """Host and port."""
    match = re.fullmatch(r"\[?([^\s\[\]/]+?)\]?:([0-9]{1,5})", text)
    return (match[1], int(match[2])) if match and 0 < int(match[2]) < 65536 else None


@contextlib.contextmanager
def _interrupted_at_meetings(group: Group) -> Iterator[None]:
    """Let Ctrl-C wait for the next meeting, where Python would raise it anywhere."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or a caller's who knows better
        yield
        return

    def wait(number: int, frame: FrameType | None) -> None:
        if group.interrupted or not group.is_open:
            signal.default_int_handler(number, frame)
        group.interrupted = True

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _await_others(port: int, count: int) -> None:
    """In process 0: wait until all others have come, and let them begin.

    Raises:
        ConfigError: If the port is taken, or another process contradicts this one.
        WorkerError: If some do not come.
    """
    try:
        listening = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        try:
            listening = socket.create_server(("", port))
        except OSError as error:
            raise ConfigError(
                f"the coordinator's port {port} cannot be opened ({error.strerror}); take another one, in all processes"
            ) from error
    come: dict[int, socket.socket] = {}
    with listening, contextlib.ExitStack() as open_ones, selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        deadline = time.monotonic() + PATIENCE
        while len(come) < count - 1:
            if time.monotonic() > deadline:
                missing = ", ".join(str(k) for k in range(1, count) if k not in come)
                problem = f"of {count} processes, {missing} did not come within {PATIENCE:g} s"
                _answer(come.values(), {"error": problem})
                raise WorkerError(f"{problem}; start them with the same coordinator, within that time")
            for _ in selector.select(MOMENT):
                connection = open_ones.enter_context(listening.accept()[0])
                connection.settimeout(MOMENT * 10)
                if (said := _line(connection)) is None:  # a stranger
                    continue
                number, of = said.get("process_id"), said.get("num_processes")
                if of != count or not isinstance(number, int) or not 0 < number < count or number in come:
                    problem = f"process {number} of {of} came to process 0 of {count}"
                    if number in come:
                        problem += ", where one of that number is already"
                    _answer([*come.values(), connection], {"error": problem})
                    raise ConfigError(f"{problem}; give each another --process-id, and all the same --num-processes")
                come[number] = connection
        _answer(come.values(), {"go": True})
        for connection in come.values():  # they close first, so that the port is free at once
            with contextlib.suppress(OSError):
                connection.recv(1)


def _report_to_first(address: tuple[str, int], number: int, count: int) -> None:
    """In the others: wait for process 0, and until it lets all begin.

    Raises:
        WorkerError: If it does not come, or is gone before all have come.
        ConfigError: If it refuses.
    """
    deadline, problem = time.monotonic() + PATIENCE, ""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(address, timeout=5) as connection:
                connection.sendall(json.dumps({"process_id": number, "num_processes": count}).encode() + b"\n")
                connection.settimeout(PATIENCE + 10)
                answer = _line(connection)
        except OSError as error:
            problem = error.strerror or str(error)
            time.sleep(MOMENT)
            continue
        if answer is not None and answer.get("go") is True:
            return
        if answer is not None and "error" in answer:
            raise ConfigError(f"process 0 at {address[0]}:{address[1]} refused: {str(answer['error'])[:500]}")
        problem = "it ended before all had come"
        time.sleep(MOMENT)
    raise WorkerError(
        f"process {number} of {count} waited {PATIENCE:g} s for process 0 at {address[0]}:{address[1]} ({problem}); "
        "see what that says, and whether this host reaches it"
    )


def _line(connection: socket.socket) -> dict[str, Any] | None:
    """A line of JSON; None if something else comes, or nothing."""
    data = b""
    try:
        while not data.endswith(b"\n") and len(data) < MOST_LINE:
            if not (more := connection.recv(MOST_LINE)):
                return None
            data += more
        found = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _answer(connections: Any, message: dict[str, Any]) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps(message).encode() + b"\n")
