"""Calls of the hub's own library, made again where the hub or the network fails for a while, and their errors."""

import contextlib
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from functa_store.errors import FunctaStoreError, StorageError
from functa_store.progress import Note, Report
from functa_store.store.storage.hub import TOKEN, Dataset, endpoint_of, token_of
from functa_store.store.storage.objects import StorageOptions, first_line
from functa_store.support.optional import require

LONGEST_WAIT = 60.0

T = TypeVar("T")


class ChangedMeanwhileError(StorageError):
    """A branch is not at the commit on top of which something was to be added."""


class HubCalls:
    """The hub's interface, asked again where it or the network fails for a while.

    Args:
        library: huggingface_hub.
        storage: How to reach it.
        name: The data set, for messages.
    """

    def __init__(self, library: Any, storage: StorageOptions, name: str) -> None:
        self.library, self.name, self._timeout = library, name, storage.timeout
        self.endpoint, self.token = endpoint_of(storage), token_of(storage) or False
        self._absent = require("huggingface_hub.errors", extra="hub").EntryNotFoundError
        self._api = library.HfApi(endpoint=self.endpoint, token=self.token)

    def ask(self, call: Callable[[Any], T], *, absent: T | None = None) -> T:
        """What a call of the interface gives.

        Args:
            call: Takes the interface.
            absent: What is given if the hub has no such thing; None makes that an error.

        Raises:
            StorageError: If it refuses, or fails for longer than the timeout.
        """
        end = time.monotonic() + self._timeout
        for attempt in itertools.count():
            try:
                return call(self._api)
            except FunctaStoreError:
                raise
            except Exception as error:  # its own, the client's for HTTP, and those of the system
                if absent is not None and self._is_absent(error):
                    return absent
                wait = self._wait(error, attempt)
                failure = self._failure(error, wait) if wait is None or time.monotonic() + wait > end else None
            if failure is not None:
                raise failure
            time.sleep(wait or 0.0)
        raise AssertionError("unreachable")

    def listing(self, dataset: Dataset, path: str) -> dict[str, int]:
        """Size of every file below a path of a data set, by its name there; none where there is no such path."""

        def call(api: Any) -> dict[str, int]:
            options = {"revision": dataset.revision, "repo_type": "dataset", "recursive": True}
            entries = api.list_repo_tree(dataset.name, path or None, **options)
            return {str(entry.path): entry.size for entry in entries if isinstance(getattr(entry, "size", None), int)}

        return self.ask(call, absent={})

    def head(self, dataset: Dataset) -> str:
        """The commit at which a branch of a data set is now."""
        return self.ask(lambda api: api.dataset_info(dataset.name, revision=dataset.revision, expand=["sha"]).sha)

    def _is_absent(self, error: Exception) -> bool:
        return isinstance(error, self._absent)

    def _wait(self, error: BaseException, attempt: int) -> float | None:
        """Seconds after which to ask again; None if that is no use."""
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        if status is not None and response is not None:
            if status not in (408, 429) and status < 500:
                return None
            return _asked_for(response.headers) or min(2.0**attempt, LONGEST_WAIT)
        if isinstance(error.__cause__, Exception):  # what a file's upload failed by
            return self._wait(error.__cause__, attempt)
        passing = ("ConnectError", "ReadError", "WriteError", "TimeoutException", "RemoteProtocolError", "NetworkError")
        is_passing = any(kind.__name__ in passing for kind in type(error).__mro__)
        return min(2.0**attempt, LONGEST_WAIT) if is_passing else None

    def _failure(self, error: Exception, wait: float | None) -> StorageError:
        """What to raise; nothing of it leads back to the library's errors, in which addresses tell secrets."""
        response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
        status = getattr(response, "status_code", None)
        later = "; what the hub has stays there: run the same command again"
        if status in (401, 403, 404):
            token = f"the token of {TOKEN} has expired or may not do this" if self.token else f"{TOKEN} has no token"
            return StorageError(
                f"{self.name}: the hub at {self.endpoint} refuses ({status}): there is no such data set or revision, "
                f"or {token}"
            )
        if status == 412:
            return ChangedMeanwhileError(f"{self.name}: somebody else goes on changing the data set{later}")
        if status == 429:
            return StorageError(
                f"{self.name}: the hub answered 429 and wants to be asked again in {wait or 0:.0f} s; allow more with "
                f"the option timeout{later}"
            )
        if status is not None:
            return StorageError(
                f"{self.name}: the hub at {self.endpoint} answered {status}: {first_line(error)}{later}"
            )
        cause = f" ({first_line(error.__cause__)})" if isinstance(error.__cause__, Exception) else ""
        return StorageError(f"{self.name}: {first_line(error)}{cause}{later}")


def _asked_for(headers: Any) -> float:
    """Seconds after which a server that has had too many requests wants the next one; 0 if it does not say."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*", headers.get("Retry-After", ""))
    found = found or re.search(r"\bt=(\d{1,6})\b", headers.get("RateLimit", ""))
    return float(found[1]) if found else 0.0


@contextlib.contextmanager
def quiet(report: Report) -> Iterator[None]:
    """Without the library's own bars and lines: progress is told by events, and so is what it waits for.

    Its lines name addresses with signatures, by which anybody could read or write a file.
    """
    library = require("huggingface_hub.utils", extra="hub")
    was_quiet = library.are_progress_bars_disabled()
    library.disable_progress_bars()
    require("huggingface_hub.utils.logging", extra="hub")  # adds a handler when it is imported
    logger = logging.getLogger("huggingface_hub")
    handlers, propagates = logger.handlers[:], logger.propagate
    logger.handlers[:], logger.propagate = [_Waits(report)], False
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate = handlers, propagates
        if not was_quiet:
            library.enable_progress_bars()


class _Waits(logging.Handler):
    """Tells of the library's waits; of those that several threads have at the same time once."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report, self._until = report, 0.0

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"(?:Waiting|Retrying in) (\d{1,6})(?:\.\d+)?s", record.getMessage())
        now = time.monotonic()
        if found and now >= self._until:
            self._until = now + float(found[1])
            self._report(Note(message=f"the hub does not answer, or has had too many requests; again in {found[1]} s"))
