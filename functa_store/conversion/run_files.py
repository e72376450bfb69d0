"""What a run keeps beside an unfinished store: snapshots to go on from, and a log of its times and machine.

Times and machines differ between equal conversions, so they are kept beside the store, in
`NAME.functa.log`: one JSON object per line.
"""

import contextlib
import io
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from functa_store.conversion.agreement import is_begun
from functa_store.errors import StorageError, StoreFormatError, StoreMismatchError
from functa_store.learn.group import Group
from functa_store.learn.meta_learn import S
from functa_store.progress import (
    Event,
    Fitted,
    Learned,
    Note,
    Report,
    Tuned,
    as_json,
)
from functa_store.store.format.spec import sha256_json
from functa_store.store.storage.objects import Objects
from functa_store.store.storage.writer_lock import CONVERSION, LEARNING, LOG_SUFFIX

INTERVAL = 60.0
MOST_SNAPSHOT_BYTES = 2**36

IDENTITY = "conversion"
"""Name of the array in a snapshot that says which conversion it is of."""


class Checkpoints:
    """Keeps the last snapshot of one stage of one conversion beside its store.

    Args:
        work: The conversion's work folder.
        stage: Name of the stage.
        conversion: JSON-ready description of the conversion; snapshots of another are refused.
        interval: Seconds between two snapshots that are merely offered.
        check: Raises if a snapshot must not be kept, such as that of an archive that was changed meanwhile. Takes a
            hundredth of the time at most: snapshots are rarer where it takes long.

    Raises:
        StoreMismatchError: If the folder holds snapshots of another conversion.
    """

    def __init__(
        self,
        work: Objects,
        stage: str,
        conversion: Mapping[str, Any],
        *,
        interval: float = INTERVAL,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._work, self._stage, self._key = work, stage, f"{LEARNING}/{stage}.npz"
        self._identity = sha256_json(conversion)
        self._interval, self._check = interval, check
        self._last = time.monotonic()
        if not is_begun(work, conversion):
            work.write(CONVERSION, json.dumps(conversion, indent=1).encode())

    def load(self, like: S) -> S | None:
        """The last snapshot, in the structure of `like`; None if there is none.

        Raises:
            StoreFormatError: If it is damaged, or one of another stage.
            StoreMismatchError: If it is one of another conversion.
        """
        kept_bytes = self.read()
        return None if kept_bytes is None else self.restored(kept_bytes, like)

    def read(self) -> bytes | None:
        """The file of the last snapshot; None if there is none."""
        try:
            return self._work.read(self._key, MOST_SNAPSHOT_BYTES)
        except FileNotFoundError:
            return None

    def restored(self, kept_bytes: bytes, like: S) -> S:
        """The snapshot of a file; see `load`."""
        leaves, structure = jax.tree.flatten(like)
        try:
            with np.load(io.BytesIO(kept_bytes), allow_pickle=False) as kept:
                identity = str(kept[IDENTITY])
                # As numpy, so that JAX may place them on all devices again.
                arrays = [kept[str(i)] for i in range(len(leaves))]
        except Exception as error:  # zipfile and NumPy raise nearly anything on damaged bytes
            raise self._damaged(f"{type(error).__name__} while reading it") from error
        if identity != self._identity:
            raise StoreMismatchError(
                f"{self._work.name}/{self._key}: is a snapshot of the conversion {identity[:16]}, expected one of "
                f"{self._identity[:16]}; another process wrote it. Delete it to repeat {self._stage}"
            )
        for array, leaf in zip(arrays, leaves, strict=True):
            if array.ndim != np.ndim(leaf) or (array.ndim > 1 and array.shape != np.shape(leaf)):
                raise self._damaged(f"an array of shape {array.shape}, expected {np.shape(leaf)}")
            expected = np.asarray(leaf).dtype
            if array.dtype.kind != expected.kind or (array.ndim and array.dtype != expected):
                raise self._damaged(f"an array of {array.dtype}, expected {expected}")
        restored = [array.item() if np.isscalar(leaf) else array for array, leaf in zip(arrays, leaves, strict=True)]
        return jax.tree.unflatten(structure, restored)

    def _damaged(self, found: str) -> StoreFormatError:
        return StoreFormatError(
            f"{self._work.name}/{self._key}: no snapshot of this conversion ({found}); "
            f"delete it to repeat {self._stage}"
        )

    def offer(self, snapshot: tuple) -> None:
        """Keep the snapshot if the interval has passed since the last one."""
        if time.monotonic() - self._last >= self._interval:
            self.save(snapshot)

    def save(self, snapshot: tuple) -> None:
        """Keep the snapshot now, in place of the last one; a crash leaves either of them whole.

        Raises:
            StorageError: If it cannot be written.
            FunctaStoreError: That of the check; the last snapshot stays.
        """
        if self._check is not None:
            began = time.monotonic()
            self._check()
            self._interval = max(self._interval, 100 * (time.monotonic() - began))
        arrays = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(snapshot))}
        file = io.BytesIO()
        np.savez(file, **arrays, **{IDENTITY: np.array(self._identity)})  # type: ignore[arg-type]  # none is "file"
        self._work.write(self._key, file.getbuffer())
        self._last = time.monotonic()


class SharedSnapshots:
    """Snapshots that the first process of a group keeps, of which all processes take up the same.

    Args:
        checkpoints: Keeps them; in other processes those of no place, which tell what is none of this conversion.
        group: The processes.
    """

    def __init__(self, checkpoints: Checkpoints, group: Group) -> None:
        self._checkpoints, self._group = checkpoints, group

    def load(self, like: S) -> S | None:
        """The last snapshot of the first process, in all of them at a time; raises as `Checkpoints.load`."""
        data = self._group.shared(self._checkpoints.read() if self._group.leads else None)
        return None if data is None else self._checkpoints.restored(data, like)

    def offer(self, snapshot: tuple) -> None:
        """Keep the snapshot if enough time has passed since the last one."""
        if self._group.leads:
            self._checkpoints.offer(snapshot)

    def save(self, snapshot: tuple) -> None:
        """Keep the snapshot now; each process by itself, since they may end at different moments."""
        if self._group.leads:
            self._checkpoints.save(snapshot)


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
