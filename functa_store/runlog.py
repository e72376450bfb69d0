"""How long did a conversion take, how fast was it, and where?

Times and machines differ between equal conversions, so they are kept beside the store, in
`NAME.functa.log`: one JSON object per line.
"""

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import jax

from functa_store.progress import Event, Fitted, Learned, Note, Report, Tuned, as_json


class RunLog:
    """Passes events on and appends the telling ones to a log; a context manager.

    Args:
        path: The store.
        report: Where every event goes, too.
    """

    def __init__(self, path: Path, report: Report) -> None:
        self._path = path.with_name(f"{path.name}.log")
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
        for event in self._last.values():
            self._append(as_json(event))
        self._append({"event": "ended", "by": kind.__name__ if kind else "completion"})

    def __call__(self, event: Event) -> None:
        """Report an event; notes and looks at the monitored examples are logged at once, the last ones at the end."""
        self._report(event)
        if isinstance(event, Note) or (isinstance(event, Learned) and event.monitored_psnr is not None):
            self._append(as_json(event))
        elif isinstance(event, Learned | Tuned | Fitted):
            self._last[type(event)] = event

    def _append(self, facts: dict[str, Any]) -> None:
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z")} | facts, allow_nan=False)
        with self._path.open("a", encoding="utf-8") as log:
            log.write(line + "\n")
