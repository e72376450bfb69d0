"""The engine Dask: shards as tasks of a dask.distributed cluster, whose processes open the job when they get one."""

import contextlib
import dataclasses
import os
import queue
import threading
import time
from collections.abc import Collection, Mapping
from typing import Any

from functa_store import errors
from functa_store.conversion.workers.assignment import Deaths
from functa_store.conversion.workers.engine import Unfinished
from functa_store.errors import FunctaStoreError, StoreExistsError, StoreMismatchError, WorkerError
from functa_store.progress import Note, Worked
from functa_store.sources.recipe import AnyArchive, plain
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import StorageOptions
from functa_store.support.optional import require

PATIENCE = 60.0
"""Seconds without a word of the scheduler, or without a worker, after which this process fits by itself."""

ANSWERS = 15.0
"""Seconds in which a result that is there should arrive; else its shard is asked for again, which costs little."""

AHEAD = 2
"""Tasks per worker that the scheduler has at a time; few, since an interruption waits for them."""

LATE, TIMES_LONGER = 20.0, 3.0
"""Seconds, and times the longest one so far, after which a task is given to another worker, too, if one is free."""

MOMENT = 0.25

CONNECTIONS = 5
"""Times that a scheduler is asked which closes the connection before it has answered."""


class Dask:
    """Fits on a cluster of dask.distributed, a task for each shard, named `functa-FINGERPRINT-shard-NUMBER`.

    Workers need functa-store and its converter in the versions of this process, and reach the store and the archive by
    the same paths or URLs. One that has other versions, or whose fit of the canary differs, is refused by name and gets
    no more tasks. Each process of the cluster fits one shard at a time, with all devices that it sees.

    Args:
        client: A `distributed.Client`, or the address of a scheduler, such as "tcp://host:8786".
        archive: Where the archive is on the workers; None means where it is here.

    Raises:
        MissingLibraryError: If distributed is not installed.
        StorageError: If there is no scheduler at the address.
    """

    needs_recipe, completes = True, True

    def __init__(self, client: Any, *, archive: AnyArchive | None = None) -> None:
        distributed = require("distributed", extra="dask")
        if isinstance(client, str):
            try:
                client = _connected(distributed, client)
            except (OSError, ValueError, RuntimeError, TypeError) as error:
                raise errors.StorageError(
                    f"{client}: there is no scheduler to be reached: {error}; give the address of one that runs, such "
                    "as tcp://host:8786"
                ) from error
        self.client, self.archive = client, None if archive is None else plain(archive)

    def fit(self, unfinished: Unfinished) -> None:
        """Fit the missing shards; see `Engine`."""

        def run(missing: list[int]) -> str | None:
            tasks = _Tasks(self, unfinished, missing)
            try:
                return tasks.run()
            except KeyboardInterrupt:
                tasks.drain()
                raise
            finally:
                tasks.end()

        unfinished.fit_by(run)


def _connected(distributed: Any, address: str) -> Any:
    """A client of a scheduler, which is asked again where it ends, or begins, while it is asked.

    Where nothing answers, the library itself tries for half a minute.
    """
    for _ in range(CONNECTIONS - 1):
        with contextlib.suppress(distributed.comm.core.CommClosedError):
            return distributed.Client(address)
        time.sleep(MOMENT)
    return distributed.Client(address)


@dataclasses.dataclass(eq=False)
class _Task:
    """A shard that the scheduler has been given; twice, if it was late."""

    shard: int
    futures: list[Any]
    began: float


class _Tasks:
    """The tasks of one run."""

    def __init__(self, engine: Dask, unfinished: Unfinished, missing: list[int]) -> None:
        self._client, self._unfinished = engine.client, unfinished
        store = unfinished.store
        path = os.path.abspath(store.name) if isinstance(store, LocalObjects) else store.name
        self._job = {
            "store": path,
            "storage": dataclasses.asdict(unfinished.storage),
            "archive": engine.archive,
            "epoch": None if unfinished.job is None else unfinished.job.epoch,
        }
        fingerprint = "" if unfinished.job is None else unfinished.job.fingerprint[:16]
        self._name = f"functa-{fingerprint}-shard"
        self._waiting = missing[::-1]
        self._tasks: dict[int, _Task] = {}
        self._attempts: dict[int, int] = dict.fromkeys(missing, 0)
        self._deaths, self._events = Deaths(), queue.SimpleQueue[tuple[int, Any]]()
        self._refused: dict[str, str] = {}
        self._worked: dict[str, list[float]] = {}
        self._longest = 0.0
        self._known = _KnownWorkers(self._client)

    def run(self) -> str | None:
        """Let the cluster fit everything; None, or why it cannot."""
        while self._waiting or self._tasks:
            if self._client.status == "closed":  # it has tried in vain to reach the scheduler again
                return "the scheduler is gone"
            if self._patience_left < 0:
                return f"no worker has been seen for {PATIENCE:g} s"
            workers = list(self._known.processing) if self._is_connected else []
            free = [worker for worker in workers if worker not in self._refused]
            if workers and not free:
                raise StoreMismatchError(f"every worker was refused; {next(iter(self._refused.values()))}")
            while self._waiting and self._is_connected and len(self._tasks) < AHEAD * len(free):
                self._submit(self._waiting.pop(), free)
            self._give_late_ones_again(free)
            self._listen()
        return None

    @property
    def _is_connected(self) -> bool:
        """Whether the client has a scheduler; while it looks for one, all that it was given is cancelled."""
        return self._client.status == "running"

    @property
    def _patience_left(self) -> float:
        """Seconds until no more answers are waited for."""
        return self._known.heard + PATIENCE - time.monotonic()

    def _submit(self, shard: int, free: list[str]) -> None:
        attempt, self._attempts[shard] = self._attempts[shard], self._attempts[shard] + 1
        key = f"{self._name}-{shard:06d}" + (f"-again-{attempt}" if attempt else "")
        only = {"workers": free, "allow_other_workers": False} if len(free) < len(self._known.processing) else {}
        try:
            future = self._client.submit(fit_shard, self._job, shard, key=key, retries=0, pure=False, **only)
        except Exception:  # whatever a client raises that has just been closed
            if self._is_connected:
                raise
            if shard not in self._tasks:
                self._waiting.append(shard)
            return
        task = self._tasks.setdefault(shard, _Task(shard, [], time.monotonic()))
        task.futures.append(future)
        future.add_done_callback(lambda done: self._events.put((shard, done)))

    def _give_late_ones_again(self, free: list[str]) -> None:
        """Give a task that takes far longer than others to a second worker, as its own may stand still."""
        if self._waiting or len(self._tasks) >= len(free):
            return
        late = max(LATE, TIMES_LONGER * self._longest)
        for task in self._tasks.values():
            if len(task.futures) == 1 and time.monotonic() - task.began > late:
                self._submit(task.shard, self._not_processing(task, free))
                return

    def _not_processing(self, task: _Task, free: list[str]) -> list[str]:
        """The workers that have not been given a task yet; all, if every one has."""
        keys = {future.key for future in task.futures}
        return [worker for worker in free if keys.isdisjoint(self._known.processing.get(worker, ()))] or free

    def _listen(self) -> None:
        with contextlib.suppress(queue.Empty):
            shard, future = self._events.get(timeout=MOMENT)
            while True:
                self._take(shard, future)
                shard, future = self._events.get_nowait()

    def _take(self, shard: int, future: Any) -> None:
        task = self._tasks.get(shard)
        if task is None or future not in task.futures:
            return
        task.futures.remove(future)
        if future.status != "finished":
            self._again(task)
            if future.status == "error":
                self._deaths.count(shard, f"by {future.exception()!r:.300}")
            return
        try:
            found = future.result(timeout=min(ANSWERS, max(MOMENT, self._patience_left)))
        except Exception:  # whatever a client raises whose scheduler or worker went with the answer
            self._again(task)
            return
        if "refused" in found:
            if found["worker"] not in self._refused:
                self._refused[found["worker"]] = found["refused"]
                self._unfinished.report(Note(message=found["refused"]))
            self._again(task)
        elif "error" in found:
            kind = getattr(errors, found["error"], WorkerError)
            raise (kind if issubclass(kind, FunctaStoreError) else WorkerError)(found["message"])
        else:
            self._longest = max(self._longest, found["seconds"])
            self._unfinished.tally.count(found["examples"], found["psnr"])
            self._report(found)
            self._forget(task)

    def _again(self, task: _Task) -> None:
        if not task.futures:
            del self._tasks[task.shard]
            self._waiting.append(task.shard)

    def _forget(self, task: _Task) -> None:
        del self._tasks[task.shard]
        for other in task.futures:
            with contextlib.suppress(Exception):
                other.release()

    def _report(self, found: Mapping[str, Any]) -> None:
        worked = self._worked.setdefault(found["worker"], [0, 0, 0.0])
        for i, more in enumerate((1, found["examples"], found["seconds"])):
            worked[i] += more
        self._unfinished.report(
            Worked(
                worker=found["worker"],
                shards=int(worked[0]),
                examples=int(worked[1]),
                total=self._unfinished.contents.num_examples,
                examples_per_second=worked[1] / worked[2] if worked[2] > 0 else 0.0,
            )
        )

    def drain(self) -> None:
        """Wait for what the cluster is fitting, and give it no more."""
        message = f"interrupted: waiting for {len(self._tasks)} shards that the cluster has; Ctrl-C again ends at once"
        with contextlib.suppress(KeyboardInterrupt):
            self._unfinished.report(Note(message=message))
        while self._tasks and self._is_connected and self._patience_left > 0:
            with contextlib.suppress(queue.Empty, FunctaStoreError, KeyboardInterrupt):
                shard, _ = self._events.get(timeout=MOMENT)
                if (task := self._tasks.get(shard)) is not None:
                    self._forget(task)

    def end(self) -> None:
        """Take back what the cluster has not begun."""
        self._known.stop()
        for task in self._tasks.values():
            for future in task.futures:
                with contextlib.suppress(Exception):
                    future.cancel()


class _KnownWorkers:
    """Asks the scheduler every second what its workers do, in a thread: an answer may not come.

    Attributes:
        processing: Keys of the tasks that each worker has, by its address, of the last answer.
        heard: When there was one last.
    """

    def __init__(self, client: Any) -> None:
        self._client, self._stopped = client, threading.Event()
        self.processing: Mapping[str, Collection[str]] = {}
        self.heard = time.monotonic()
        threading.Thread(target=self._ask, name="workers", daemon=True).start()

    def _ask(self) -> None:
        while not self._stopped.is_set():
            found: Mapping[str, Collection[str]] = {}
            with contextlib.suppress(Exception):  # whatever a client raises whose scheduler is gone
                found = dict(sorted(self._client.processing().items()))
            self.processing = found
            if found:
                self.heard = time.monotonic()
            self._stopped.wait(MOMENT if not found else 1.0)

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()


_lock = threading.Lock()
"""Held by the one task of a process that fits."""

_opened: dict[str, Any] = {}
"""The job that this process has opened last, or why it was refused, by its store and epoch."""


def fit_shard(job: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Fit one shard, in a process of the cluster.

    Args:
        job: Where the store is, how it is reached, where the archive is, and the epoch.
        index: Number of the shard.

    Returns:
        `worker`, and `examples`, the sum `psnr` of their PSNRs and `seconds`; or under `refused` why this process may
        not work; or under `error` the name of a class of errors, and its `message`.
    """
    name = _address()
    try:
        with _lock:
            worker = _open(job, name)
            if isinstance(worker, str):
                return {"worker": name, "refused": worker}
            began = time.monotonic()
            counted = _Counted(worker.span)
            shard = worker.shards[index]
            if not worker.is_done(shard):
                for fitted in worker.fit([shard], counted):
                    worker.write(*fitted)
            return {
                "worker": name,
                "examples": counted.examples,
                "psnr": counted.psnr,
                "seconds": time.monotonic() - began,
            }
    except StoreExistsError:  # it has been completed meanwhile
        return {"worker": name, "examples": 0, "psnr": 0.0, "seconds": 0.0}
    except FunctaStoreError as error:
        return {"worker": name, "error": type(error).__name__, "message": str(error)}


def _open(job: Mapping[str, Any], name: str) -> Any:
    """The worker of a job, or why this process was refused as one."""
    from functa_store.conversion.workers.worker import Worker

    key = f"{job['store']} {job['archive']} {job['epoch']}"
    if key not in _opened:
        _opened.clear()
        try:
            storage = StorageOptions(**job["storage"])
            _opened[key] = Worker(job["store"], storage=storage, archive=job["archive"], name=name)
        except StoreMismatchError as error:
            _opened[key] = str(error)
    return _opened[key]


def _address() -> str:
    distributed = require("distributed", extra="dask")
    try:
        return str(distributed.get_worker().address)
    except ValueError:  # outside of a cluster
        return f"process {os.getpid()}"


class _Counted:
    """Counts what is fitted; see `Counts`."""

    def __init__(self, span: float) -> None:
        self._span, self.examples, self.psnr = span, 0, 0.0

    def add(self, mse: Any) -> None:
        """Count a batch by its errors."""
        from functa_store.metrics import psnr

        self.examples += len(mse)
        self.psnr += float(psnr(mse, self._span).sum())
