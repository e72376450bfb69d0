"""A group of processes that learn one base together: what each has of a batch, and what all agree upon.

All processes run the same program, on the devices of all of them, or wait for each other for ever. So what one does by
itself, and what may fail, comes before a meeting, at which each says whether it goes on; what needs all of them follows
only if all do. A process that fails comes to the next meeting to say so, and all end there.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from functa_store.errors import ConfigError, WorkerError
from functa_store.learn.devices import num_devices
from functa_store.support.shortening import shown

MOST_WORDS = 1024
"""Bytes of what a process that fails says to the others."""

GRACE = 3.0
"""Seconds that the first process stays after one was lost, since JAX ends the others at once when it ends."""

_GOES_ON, _FAILED, _INTERRUPTED = range(3)
"""What a process says at a meeting."""


class Group:
    """Processes that do the same at the same time; one by itself is a group, too, and does nothing for it.

    Args:
        count: How many; all of `jax.distributed`, if it is more than one.
        number: Which of them this one is, from 0 on.
        ends_jax: Whether `jax.distributed` ends with the group.

    Attributes:
        count: As given.
        number: As given.
        interrupted: Set to end all processes by a KeyboardInterrupt at the next meeting.
        is_open: Whether the processes still meet.
        is_lost: Whether another process is gone, or may wait for something that will not happen.
    """

    def __init__(self, count: int = 1, number: int = 0, *, ends_jax: bool = False) -> None:
        self.count, self.number = count, number
        self.interrupted, self.is_open, self.is_lost = False, count > 1, False
        self._ends_jax, self._words = ends_jax, b""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes, and whose clock counts."""
        return self.number == 0

    def part(self, batch: np.ndarray) -> np.ndarray:
        """What this process has of a batch: an equal part, in order."""
        return np.split(batch, self.count)[self.number]

    def check_batch(self, batch_size: int, what: str) -> None:
        """Refuse a batch that the processes cannot share equally.

        Args:
            batch_size: Its examples.
            what: Where that number comes from, for the message.

        Raises:
            ConfigError: If they cannot.
        """
        if batch_size % self.count:
            raise ConfigError(
                f"{batch_size} examples per update ({what}) cannot be shared equally by {self.count} processes, each "
                f"of which needs some; expected a multiple of {self.count} (--batch-size), or fewer processes"
            )

    def mesh(self, batch_size: int) -> Mesh | None:
        """As many devices of each process as share a batch equally; None for one process, see `over_devices`."""
        if self.count == 1:
            return None
        each = num_devices(batch_size // self.count, self.fewest_devices())
        return Mesh(np.array([device for own in self._devices() for device in own[:each]]), ("example",))

    def fewest_devices(self) -> int | None:
        """Devices of the process that has the fewest; None for one process."""
        return None if self.count == 1 else min(map(len, self._devices()))

    def spread(self, part: np.ndarray, mesh: Mesh | None) -> Any:
        """A batch over all devices, of which each process gives its part."""
        if mesh is None:
            return part
        shape = (len(part) * self.count, *part.shape[1:])
        return jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec("example")), part, shape)

    def copied(self, value: Any, mesh: Mesh | None) -> Any:
        """Copies of arrays, which all processes have, on all devices."""
        if mesh is None:
            return value
        sharding = NamedSharding(mesh, PartitionSpec())

        def copy(leaf: Any) -> jax.Array:
            array = np.asarray(leaf)
            return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

        return jax.tree.map(copy, value)

    def meet(self, value: float = 0.0) -> float:
        """Wait for all processes; a program that needs all of them may follow, and nothing that can fail before it.

        Args:
            value: Of the first process, for all.

        Returns:
            That value.

        Raises:
            WorkerError: If another process has failed; says which, and how.
            KeyboardInterrupt: If one was interrupted.
        """
        return float(self._meet(_GOES_ON, value)[0])

    def most(self, value: float) -> float:
        """The highest of the values that the processes give; raises as `meet`."""
        return float(self._meet(_GOES_ON, value).max())

    def gather(self, array: np.ndarray) -> np.ndarray:
        """Arrays of one shape and type, one of each process, along a new first axis; raises as `meet`."""
        if not self.is_open:
            return array[None]
        self.meet()
        return self._gather(array)

    def shared(self, data: bytes | None) -> bytes | None:
        """What the first process gives, in all of them; what others give does not matter. Raises as `meet`."""
        if not self.is_open:
            return data
        length = int(self.meet(-1 if data is None else len(data)))
        if length <= 0:
            return None if length < 0 else b""
        own = np.frombuffer(data, np.uint8) if self.leads and data else np.zeros(length, np.uint8)
        return self._summed(own).tobytes()

    @contextlib.contextmanager
    def together(self) -> Iterator["Group"]:
        """Tell the others if the block ends with an error, at their next meeting."""
        try:
            yield self
        except BaseException as error:
            if self.is_open and not self.is_lost:
                self._tell(error)
            raise

    @contextlib.contextmanager
    def program(self) -> Iterator[None]:
        """Run what all processes run, right after a meeting; whoever fails in it cannot tell the others any more.

        Raises:
            WorkerError: If another process is gone.
        """
        try:
            yield
        except BaseException as error:
            if self.count == 1:
                raise
            self.is_lost = True
            if _tells_of_a_loss(error):
                if self.leads:
                    time.sleep(GRACE)
                raise WorkerError(
                    f"process {self.number} of {self.count} has lost another one, which was killed, or which the "
                    f"network does not reach any more ({shown(str(error), 200)}). Start all of them again: they "
                    "go on from the last snapshot."
                ) from error
            raise

    def leave(self) -> None:
        """End the group, in all processes at a time: from now on each is by itself."""
        if not self.is_open:
            return
        self.is_open = False
        if self._ends_jax and not self.is_lost:
            jax.distributed.shutdown()

    def _meet(self, state: int, value: float) -> np.ndarray:
        """The values of all processes, if all of them go on."""
        if not self.is_open:
            return np.array([value])
        if self.interrupted:
            state = _INTERRUPTED
        states, values = self._gather(np.array([state, value], np.float64)).T
        if not states.any():
            return values
        words = self._gather(np.frombuffer(self._words.ljust(MOST_WORDS, b"\0"), np.uint8))
        self.leave()  # all have been told
        if state == _INTERRUPTED or (state == _GOES_ON and (states == _INTERRUPTED).any()):
            raise KeyboardInterrupt
        if state == _FAILED:
            return values
        failed = int(np.flatnonzero(states)[0])
        said = words[failed].tobytes().rstrip(b"\0").decode(errors="replace")
        raise WorkerError(f"process {failed} of {self.count} failed, and so all end: {said}")

    def _tell(self, error: BaseException) -> None:
        is_interruption = isinstance(error, KeyboardInterrupt)
        self._words = f"{type(error).__name__}: {error}".encode()[:MOST_WORDS]
        with contextlib.suppress(WorkerError, KeyboardInterrupt):  # what is raised is what happened here
            self._meet(_INTERRUPTED if is_interruption else _FAILED, 0.0)

    def _devices(self) -> list[list[Any]]:
        """Devices of each process."""
        return [[device for device in jax.devices() if device.process_index == k] for k in range(self.count)]

    def _firsts(self) -> tuple[NamedSharding, NamedSharding]:
        """Over the first device of each process: a row for each, and a copy for each."""
        mesh = Mesh(np.array([own[0] for own in self._devices()]), ("process",))
        return NamedSharding(mesh, PartitionSpec("process")), NamedSharding(mesh, PartitionSpec())

    def _gather(self, array: np.ndarray) -> np.ndarray:
        """What every process gives, bit by bit: JAX would cut 64 bits to 32."""
        rows, copies = self._firsts()
        own = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)[None]
        with self.program():
            given = jax.make_array_from_process_local_data(rows, own, (self.count, own.shape[1]))
            every = np.asarray(jax.jit(_same, out_shardings=copies)(given))
        return every.view(array.dtype).reshape(self.count, *array.shape)

    def _summed(self, own: np.ndarray) -> np.ndarray:
        """The sum over all processes of bytes that all but one have as zeros."""
        rows, copies = self._firsts()
        with self.program():
            given = jax.make_array_from_process_local_data(rows, own[None], (self.count, len(own)))
            return np.asarray(jax.jit(_sum_of_bytes, out_shardings=copies)(given))


def _tells_of_a_loss(error: BaseException) -> bool:
    """Whether a program ended since another process did; JAX raises its status, "CODE: words", as one of two types."""
    if not isinstance(error, jax.errors.JaxRuntimeError | ValueError):
        return False
    status = re.match(r"([A-Z_]+): ", str(error))
    return status is not None and status[1] != "RESOURCE_EXHAUSTED"


def _same(rows: jax.Array) -> jax.Array:
    return rows


def _sum_of_bytes(rows: jax.Array) -> jax.Array:
    return rows.sum(axis=0, dtype=np.uint8)


ALONE = Group()
"""A process by itself."""
