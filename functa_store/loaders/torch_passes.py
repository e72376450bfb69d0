"""Passes over batches: the epoch that each begins with, agreed upon by the processes of a DataLoader without a lock."""

import multiprocessing
import os
from typing import TYPE_CHECKING, Any

from functa_store.errors import ConfigError
from functa_store.support.optional import require

if TYPE_CHECKING:
    import torch.utils.data
else:
    torch = require("torch", extra="torch", name="PyTorch")
    require("torch.utils.data", extra="torch", name="PyTorch")

MOST_WORKERS = 512
"""Of a DataLoader; each has a row of 32 bytes."""

_OWNER, _VERSION, _EPOCH, _BATCH = range(4)
"""Columns of the first row: the process of the loop, and where the first pass of a version begins."""

_UNDER, _COUNT, _SEED = range(3)
"""Columns of a worker's row: the version, passes begun under it, and the seed of the last one."""

_CLOSED = -1
"""In place of the process: passes of workers are refused."""


class Passes:
    """Where the next pass over batches begins; each one begins where an epoch that was not begun yet does.

    PyTorch tells a dataset of a new pass only in the process that goes through it: a worker, if there are any, which
    may live for one pass or for all. So the numbers are in memory that workers share, whether forked or spawned. The
    process of the loop writes where the first pass begins, under a new version; each worker has a row, in which it
    counts the passes that it has begun under this version, beside the seed that a DataLoader draws for a pass. All
    workers begin every pass, so their counts agree; where they do not, the worker that sees it raises.

    Args:
        place: Epoch and batch at which the first pass begins.
        num_epochs: A pass ends behind the next multiple of so many epochs.
    """

    def __init__(self, place: tuple[int, int], num_epochs: int) -> None:
        self._num_epochs = num_epochs
        self._table = torch.zeros(1 + MOST_WORKERS, 4, dtype=torch.int64).share_memory_()
        self._table[0] = torch.tensor([os.getpid(), 1, *place])

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._table.is_shared():  # a copy that no worker of a DataLoader is given
            self._take(self._table.clone())

    def after(self, place: tuple[int, int], count: int) -> tuple[int, int]:
        """Where a pass begins, some passes after the one that began at a place."""
        if count == 0:
            return place
        return (place[0] // self._num_epochs + count) * self._num_epochs, 0

    def next_place(self) -> tuple[int, int]:
        """Where the next pass begins."""
        begun = self.begun_by_workers()  # first: it takes a copy of what is another process's
        return self.after(self._place(), begun)

    def begun_by_workers(self) -> int:
        """Passes that workers have begun since a place was set."""
        rows = self._own()[1:]
        return int(rows[rows[:, _UNDER] == self._table[0, _VERSION], _COUNT].max(initial=0))

    def last_of_workers(self) -> tuple[int, int]:
        """Where the last pass began that workers have begun."""
        begun = self.begun_by_workers()
        return self.after(self._place(), begun - 1)

    def set(self, place: tuple[int, int]) -> None:
        """Begin the next pass at a place, in all processes."""
        table = self._own()
        table[0, _EPOCH], table[0, _BATCH] = place
        table[0, _VERSION] += 1

    def close(self) -> None:
        """Refuse every other pass of workers, whose copies of the loader have another order now."""
        self._own()[0, _OWNER] = _CLOSED

    def begin(self) -> tuple[int, int]:
        """Begin a pass in the process of the loop, and return where it begins."""
        place = self.next_place()
        self.set(self.after(place, 1))
        return place

    def begin_in_worker(self, worker: Any) -> tuple[int, int]:
        """Begin a pass in a worker of a DataLoader, and return where it begins, for all workers together.

        Args:
            worker: What `torch.utils.data.get_worker_info` says.

        Raises:
            ConfigError: If not all workers have begun the passes before, the loop is in a process that has neither
                made this nor set a place, or there are too many workers.
        """
        table = self._table.numpy()
        if table[0, _OWNER] == _CLOSED:
            raise ConfigError("a state with another order was loaded after these workers began; make a new DataLoader")
        parent = multiprocessing.parent_process()
        if parent is None or parent.pid != table[0, _OWNER]:
            raise ConfigError(
                f"batches that were made in the process {table[0, _OWNER]} are loaded by workers of another one, which "
                "would count epochs together; make the dataset in each process, or call its set_epoch there"
            )
        if worker.num_workers > MOST_WORKERS:
            raise ConfigError(f"{worker.num_workers} workers, expected at most {MOST_WORKERS}; choose num_workers")
        version, seed = table[0, _VERSION], worker.seed - worker.id
        rows = table[1 : 1 + worker.num_workers]
        mine = rows[worker.id]
        count = mine[_COUNT] + 1 if mine[_UNDER] == version else 1
        mine[_SEED] = seed
        mine[_COUNT] = count
        mine[_UNDER] = version  # last: now the row counts
        others = [(row[_COUNT] if row[_UNDER] == version else 0, row[_SEED]) for row in rows]
        if any(not count - 1 <= theirs <= count or (theirs == count and drawn != seed) for theirs, drawn in others):
            raise ConfigError(
                f"{worker.num_workers} workers would load different epochs: a pass before this one was broken off "
                "before all had begun, or had another number of workers; call set_epoch of the dataset before each pass"
            )
        return self.after(self._place(), int(count) - 1)

    def _place(self) -> tuple[int, int]:
        return int(self._table[0, _EPOCH]), int(self._table[0, _BATCH])

    def _own(self) -> Any:
        """The table as an array, after taking a copy if this process was given that of another one, such as a rank."""
        if int(self._table[0, _OWNER]) != os.getpid():
            self._take(self._table.clone())
        return self._table.numpy()

    def _take(self, table: "torch.Tensor") -> None:
        """Keep a table as this process's own, in which no worker has begun a pass."""
        begun = table[1:][table[1:, _UNDER] == table[0, _VERSION], _COUNT]
        place = self.after((int(table[0, _EPOCH]), int(table[0, _BATCH])), max(begun.tolist(), default=0))
        table.zero_()
        table[0] = torch.tensor([os.getpid(), 1, *place])
        self._table = table.share_memory_()
