"""A worker as a child process of the coordinator, which speaks with it in lines of JSON over its standard streams.

Orders come in: first where the job is, then numbers of shards. Replies go out: `hello`, `alive` every second, `ready`,
`begin` and `done` with the number of a shard, `fitted` with examples and the sum of their PSNRs, `note`, and `error`,
after which it ends. When its input ends, as it does when the coordinator dies, it finishes the shard that it is at, if
any, and ends. Whatever else is printed goes to standard error.
"""

import json
import os
import queue
import sys
import threading
from typing import Any, TextIO

SECONDS_BETWEEN_SIGNS = 1.0


class Replies:
    """Sends lines to the coordinator; a coordinator that is gone is no error, so that a shard is finished."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def __call__(self, **message: Any) -> None:
        """Send one message."""
        with self._lock:
            try:
                self._stream.write(json.dumps(message) + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass

    def sign(self) -> None:
        """Say from now on that this process lives."""
        pause = threading.Event()

        def signs() -> None:
            while not pause.wait(SECONDS_BETWEEN_SIGNS):
                self(alive=True)

        threading.Thread(target=signs, name="alive", daemon=True).start()


class Orders:
    """Numbers of shards, read in a thread, so that the end of the input is noticed at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._queue = stream, queue.SimpleQueue[int | None]()
        self._ended, self.begun = threading.Event(), threading.Event()

    def listen(self) -> None:
        """Begin to read; until `begun` is set, the end of the input ends the process."""
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            self._queue.put(int(line))
        self._ended.set()
        if not self.begun.is_set():
            os._exit(0)
        self._queue.put(None)

    def next(self) -> int | None:
        """The next shard; None once the input has ended."""
        self.begun.set()
        shard = None if self._ended.is_set() else self._queue.get()
        return None if self._ended.is_set() else shard


class SentTally:
    """Tells the coordinator of fitted examples; see `Tally`."""

    def __init__(self, reply: Replies, span: float) -> None:
        self._reply, self._span = reply, span

    def add(self, mse: Any) -> None:
        """Count a batch by its errors."""
        from functa_store.metrics import psnr

        self._reply(fitted=len(mse), psnr=min(float(psnr(mse, self._span).sum()), sys.float_info.max))


def main() -> None:
    """Work until the input ends."""
    reply = Replies(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what libraries print must not be taken for a message
    orders, first = Orders(sys.stdin), sys.stdin.readline()
    if not first:
        return
    job = json.loads(first)
    if job["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])  # before any library counts them
    reply(hello=os.getpid())
    reply.sign()
    orders.listen()
    from functa_store.errors import FunctaStoreError

    try:
        _work(job, orders, reply)
    except FunctaStoreError as error:
        reply(error=type(error).__name__, message=str(error))
    sys.stderr.flush()
    os._exit(0)  # libraries may have threads that the interpreter would trip over


def _work(job: dict[str, Any], orders: Orders, reply: Replies) -> None:
    from functa_store.conversion.workers.worker import Worker
    from functa_store.errors import FunctaStoreError
    from functa_store.progress import Event, Note
    from functa_store.store.storage.objects import StorageOptions
    from functa_store.support.threads import one_behind

    def report(event: Event) -> None:
        if isinstance(event, Note):
            reply(note=event.message)

    worker = Worker(job["store"], storage=StorageOptions(**job["storage"]), name=job["name"], report=report)
    tally = SentTally(reply, worker.span)
    reply(ready=True)

    def write(shard: Any, *fitted: Any) -> None:
        try:
            worker.write(shard, *fitted)
        except FunctaStoreError as error:  # now, and not with the next shard, which may never come
            reply(error=type(error).__name__, message=str(error))
            os._exit(0)
        reply(done=shard.index)

    with one_behind(write) as write_behind:
        while (index := orders.next()) is not None:
            reply(begin=index)
            for fitted in worker.fit([worker.shards[index]], tally):
                write_behind(*fitted)


if __name__ == "__main__":
    main()
