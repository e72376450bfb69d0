"""The log beside a store: seconds, speed and machine of each run.

Times and machines differ between equal conversions, so they are kept beside the store, in
`NAME.functa.log`: one JSON object per line.
"""

import contextlib
import json
import os
import platform
import time
from typing import Any

import jax

from functa_store.errors import StorageError
from functa_store.progress import (
    Event,
    Fitted,
    Learned,
    Note,
    Report,
    Tuned,
    as_json,
)
from functa_store.store.storage.objects import Objects

LOG_SUFFIX = ".log"


class RunLog:
    """Passes events on and appends the telling ones to a log; a context manager.

    Args:
        store: The store.
        report: Where every event goes, too.
    """

    def __init__(self, store: Objects, report: Report) -> None:
        self._store = store
        self._report = report
        self._last: dict[type, Event] = {}

    def __enter__(self) -> "RunLog":
        device = jax.local_devices()[0]
        self._append(
            {
                "event": "started",
                "machine": platform.machine(),
                "system": platform.platform(),
                "cores": os.cpu_count(),
                "device": device.device_kind,
                "devices": jax.local_device_count(),
            }
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        requests = {"requests": dict(self._store.requests)} if self._store.requests else {}
        # A full disk has been reported already.
        with contextlib.suppress(StorageError) if kind else contextlib.nullcontext():
            for event in self._last.values():
                self._append(as_json(event))
            self._append({"event": "ended", "by": kind.__name__ if kind else "completion"} | requests)

    def __call__(self, event: Event) -> None:
        """Report an event; notes and looks at the monitored examples are logged at once, the last ones at the end."""
        self._report(event)
        if isinstance(event, Note) or (isinstance(event, Learned) and event.monitored_psnr is not None):
            self._append(as_json(event))
        elif isinstance(event, Learned | Tuned | Fitted):
            self._last[type(event)] = event

    def _append(self, facts: dict[str, Any]) -> None:
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z")} | facts, allow_nan=False)
        self._store.append_beside(LOG_SUFFIX, f"{line}\n".encode())
