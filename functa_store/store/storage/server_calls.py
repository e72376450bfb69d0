"""Calls to servers that can be interrupted and end in time, functions mapped over values by threads, and their errors.

The client for buckets waits where Python hears no Ctrl-C. Its asynchronous calls run on one event loop in a thread of
its own; whoever calls waits for the result in Python, and gives the call up, which closes the connection, when
interrupted or when the time is over. The thread ends with the process and holds nobody up.

The standard library's pools wait for their threads, also when Ctrl-C was pressed and when the process ends.

The client's messages repeat the URL of a request, which may hold a password, and the body of the answer, in which a
server may repeat the headers that it was sent. None of that is passed on but the status and one word, the code.
"""

import asyncio
import atexit
import collections
import concurrent.futures
import contextlib
import http
import itertools
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from functa_store.store.storage.objects import first_line
from functa_store.support.redaction import redacted

MOST_TEXT = 4000
"""Characters of a message that are looked at; a body of gigabytes follows them."""

_CAUSES = {
    r"\bConnectionRefused\b|Connection refused": "the connection was refused; nothing listens there",
    r"dns error|failed to lookup": "the server's name is not known; check the URL and the network",
    r"[Cc]ertificate|UnknownIssuer|InvalidContentType|\bTls\b|handshake": "no secure connection could be made (TLS)",
    r"Header missing from response": "the server's answer makes no sense: it does not tell the length, or another "
    "field is missing",
    r"NetworkUnreachable|Network is unreachable|HostUnreachable|No route": "the network cannot be reached",
    r"TimedOut|timed out": "the server did not answer in time",
    r"response body|connection ended|IncompleteMessage|ConnectionReset|BodyError|unexpected EOF": (
        "the connection ended in the middle of the answer"
    ),
    r"error sending request|HTTP error": "the connection failed",
    r"Received redirect|LOCATION": "the server sends elsewhere; check the region and the endpoint",
    r"Missing [Cc]redentials|credential|token": "there are no credentials; set them in the environment, or ask for "
    "anonymous access",
    r"[Ii]nvalid (list|DeleteObjects|response)|[Mm]issing|[Uu]nable to (extract|parse)|Content-?Length|content range": (
        "the server's answer makes no sense; it is no object store of this kind"
    ),
    r"[Nn]on-partial|NotPartial|range": "the server knows no ranges",
}
"""Parts of messages, the first that is found being the cause."""


class CutError(Exception):
    """An answer began and did not end."""


class SilenceError(Exception):
    """Nothing came for a while; the next attempt may fare better."""


class TooSlowError(Exception):
    """All attempts together took too long."""


class GivenUpError(Exception):
    """Nobody wants the result any more."""


def status_of(error: Exception) -> int | None:
    """The status with which a server refused a request."""
    found = re.search(r"status code: (\d{3})\b", _head(error))
    return int(found[1]) if found else None


def is_worth_repeating(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, CutError | SilenceError):
        return True
    if (status := status_of(error)) is not None:
        return status in (408, 409, 429) or (status >= 500 and status not in (501, 505))
    text = _head(error)
    if re.search(r"certificate|UnknownIssuer|InvalidContentType|Header missing from response", text):
        return False
    return re.search(r"HTTP error|error sending request|response body|timed out|TimedOut|Connect", text) is not None


def is_unsupported(error: Exception) -> bool:
    """Whether a server, or the client for its kind, does not know such a request."""
    return isinstance(error, NotImplementedError) or status_of(error) in (400, 405, 501)


def reason(error: Exception) -> str:
    """What went wrong, in words."""
    if isinstance(error, CutError | SilenceError | TooSlowError | GivenUpError):
        return str(error)
    text = _head(error)
    if (status := status_of(error)) is not None:
        return f"the server answered {status}{_phrase(status)}{_code(text)}"
    for pattern, words in _CAUSES.items():
        if re.search(pattern, text):
            return words
    return first_line(error)


def _head(error: Exception) -> str:
    return re.sub(r"(?:https?://)\S*", "", str(error)[:MOST_TEXT])


def _phrase(status: int) -> str:
    try:
        return f" {http.HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _code(text: str) -> str:
    """The code of an answer of S3 or Google, such as NoSuchBucket."""
    found = re.search(r"<Code>([A-Za-z]{3,40})</Code>", text)
    return f" ({found[1]})" if found and redacted(found[1]) == found[1] else ""


T = TypeVar("T")

ATTEMPTS_IN_SILENCE = 3
"""Attempts that a silent server gets within the time of a request."""

LONGEST_LOOK_AWAY = 1.0
"""Seconds after which a waiting call looks at the time again."""

SECONDS_TO_START, SECONDS_TO_STOP = 10.0, 1.0

SECONDS_TO_LET_GO = 0.25
"""Seconds that the client's threads get, after a call ended, to let go of it before Python ends; one that finds no
Python any more aborts the process."""


class Patience:
    """How much longer a request may take: some seconds, and one more for every so many bytes that were moved.

    Args:
        timeout: Seconds.
        least_rate: Bytes per second.
    """

    def __init__(self, timeout: float, least_rate: float) -> None:
        self._timeout, self._least_rate = timeout, least_rate
        self._began = self._progressed = time.monotonic()
        self._moved, self._ahead = 0, 0.0

    def begin_attempt(self, sent: int = 0) -> None:
        """Note that a request is sent, with so many bytes, whose way nobody can watch."""
        self._progressed = time.monotonic()
        self._ahead = sent / self._least_rate

    def note(self, received: int) -> None:
        """Note that bytes arrived."""
        self._moved += received
        self._progressed = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds until all is over."""
        return self._began + self._timeout + self._ahead + self._moved / self._least_rate - time.monotonic()

    @property
    def left_of_attempt(self) -> float:
        """Seconds until the attempt is given up, if nothing comes."""
        return self._progressed + self._timeout / ATTEMPTS_IN_SILENCE + self._ahead - time.monotonic()

    def check(self) -> None:
        """Raise if the time is over.

        Raises:
            TooSlowError: If it is over for all attempts.
            SilenceError: If it is for this one.
        """
        if self.left <= 0:
            raise TooSlowError(
                f"the server took longer than {self._timeout:g} s, or sent less than {self._least_rate:,.0f} bytes per "
                "second; allow more with the options timeout and least_rate"
            )
        if self.left_of_attempt <= 0:
            raise SilenceError(f"the server was silent for {self._timeout / ATTEMPTS_IN_SILENCE:g} s")


def wait_for(call: Callable[[], Awaitable[T]], patience: Patience) -> T:
    """The result of a call that runs in the background; one that is interrupted is given up.

    Args:
        call: Begins it.
        patience: How long it may take.

    Raises:
        TooSlowError: If it takes too long.
        SilenceError: If nothing comes for a while.
        GivenUpError: If another thread gives it up, or the process ends.
    """
    future = asyncio.run_coroutine_threadsafe(_begun(call), _loop())
    with _waiting_lock:
        _waiting[threading.get_ident()] = future
    try:
        while not future.done():
            patience.check()
            with contextlib.suppress(TimeoutError):
                future.result(max(0.01, min(patience.left, patience.left_of_attempt, LONGEST_LOOK_AWAY)))
        return future.result()
    except concurrent.futures.CancelledError:
        raise GivenUpError("it was given up, as nobody waits for it any more") from None
    finally:
        future.cancel()
        _note_end()
        with _waiting_lock:
            _waiting.pop(threading.get_ident(), None)


def _note_end() -> None:
    global _last_end  # when any call of the process ended last
    _last_end = time.monotonic()


def in_background(call: Coroutine[Any, Any, T]) -> T:
    """The result of something short that belongs to the thread of the calls, such as to begin to listen.

    Raises:
        TimeoutError: If it takes longer than `SECONDS_TO_START`.
    """
    future = asyncio.run_coroutine_threadsafe(call, _loop())
    try:
        return future.result(SECONDS_TO_START)
    finally:
        future.cancel()


def give_up_in(thread: threading.Thread) -> None:
    """Give up the call that a thread waits for, if any.

    It ends with a GivenUpError there, of which objects make a StorageError.
    """
    with _waiting_lock:
        future = _waiting.get(thread.ident or 0)
    if future is not None:
        future.cancel()


async def _begun(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


_background: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None
_background_lock = threading.Lock()
_waiting: dict[int, concurrent.futures.Future] = {}
_waiting_lock = threading.Lock()
_last_end = float("-inf")


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process, started when it is first needed."""
    global _background  # one thread for a whole process
    with _background_lock:
        if _background is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="calls", daemon=True)
            thread.start()
            _background = loop, thread
        return _background[0]


@atexit.register
def _stop() -> None:
    """Give up what is under way, so that nothing wakes up in a process that ends."""
    global _background
    with _background_lock:
        stopped, _background = _background, None
    if stopped is not None:
        loop, thread = stopped
        asyncio.run_coroutine_threadsafe(_cancel_all(loop), loop)
        thread.join(SECONDS_TO_STOP)
        time.sleep(max(0.0, min(_last_end + SECONDS_TO_LET_GO - time.monotonic(), SECONDS_TO_LET_GO)))


async def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    until = time.monotonic() + SECONDS_TO_STOP / 2
    while (others := asyncio.all_tasks() - {asyncio.current_task()}) and time.monotonic() < until:
        _note_end()
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=SECONDS_TO_STOP / 10)
    loop.stop()


def _forget() -> None:
    """Begin anew in a forked process, which has neither the thread nor whoever held the locks."""
    global _background, _background_lock, _waiting_lock
    _background, _background_lock, _waiting_lock = None, threading.Lock(), threading.Lock()
    _waiting.clear()


if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=_forget)


SECONDS_TO_END = 0.5
"""Seconds that threads get to notice that nobody wants their results any more."""


def map_in_threads(function: Callable[..., T], *values: Iterable[Any], threads: int, name: str = "map") -> Iterator[T]:
    """What a function returns for values, in their order, by several threads; like the executors' `map`.

    At most twice as many results as threads are made ahead. If one call raises, or the caller stops asking, calls to
    servers that are under way are given up, and the threads are not waited for.

    Args:
        function: Is called with one value of each of `values`.
        values: As many iterables as it has arguments; they are asked in the calling thread.
        threads: How many.
        name: Of the threads, for debuggers.
    """
    work = _Work(function)
    running: list[threading.Thread] = []
    rest, asked = zip(*values, strict=False), collections.deque[_Call]()
    try:
        for arguments in itertools.islice(rest, 2 * threads):
            asked.append(work.ask(arguments))
            if len(running) < threads:
                running.append(threading.Thread(target=work.do, name=f"{name}_{len(running)}", daemon=True))
                running[-1].start()
        while asked:
            yield asked.popleft().result()
            asked.extend(work.ask(arguments) for arguments in itertools.islice(rest, 1))
        work.end()
        for thread in running:
            thread.join()
    finally:
        work.end()
        for thread in running:
            give_up_in(thread)
        for thread in running:
            thread.join(SECONDS_TO_END / len(running))


class _Call:
    """One value and, later, what the function returned for it, or raised."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments, self._done = arguments, threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def make(self, function: Callable[..., Any]) -> None:
        try:
            self._result = function(*self.arguments)
        except BaseException as error:
            self._error = error
        self._done.set()

    def result(self) -> Any:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result


class _Work:
    """Calls to be made, for threads to take."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._calls, self._changed, self._ended = collections.deque[_Call](), threading.Condition(), False

    def ask(self, arguments: tuple[Any, ...]) -> _Call:
        call = _Call(arguments)
        with self._changed:
            self._calls.append(call)
            self._changed.notify()
        return call

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._calls.clear()
            self._changed.notify_all()

    def do(self) -> None:
        while (call := self._next()) is not None:
            call.make(self._function)

    def _next(self) -> _Call | None:
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._ended)
            return self._calls.popleft() if self._calls else None
