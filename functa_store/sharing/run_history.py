"""Runs of a conversion by the log that lies beside its store: when and where each ran, and how learning went.

Whoever keeps a store can write its log: what is no number or text of a line as we write them is left out.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from functa_store.decode.facts import figure
from functa_store.errors import FunctaStoreError
from functa_store.store.storage.objects import NO_OPTIONS, Objects, StorageOptions, open_objects
from functa_store.store.storage.writer_lock import LOG_SUFFIX
from functa_store.support.shortening import shown

MOST_BYTES = 2**26
"""Of a log."""

MOST_RUNS = 100

MOST_TEXT = 200


@dataclasses.dataclass(frozen=True)
class Look:
    """A look at the monitored examples.

    Attributes:
        step: Outer steps so far.
        psnr: Of the last training batches in decibels.
        monitored_psnr: Of the monitored examples.
    """

    step: int
    psnr: float
    monitored_psnr: float | None


@dataclasses.dataclass
class Run:
    """One run of a conversion.

    Attributes:
        began: When, as the log writes it.
        machine: Kind of processor, cores, and kinds and number of devices.
        facts: Where learning, tuning and fitting stood last, in words.
        step: The last one that it learned.
        ended: When and by what; empty while it runs, or if it was killed.
    """

    began: str
    machine: str
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    step: int = 0
    ended: str = ""


@dataclasses.dataclass(frozen=True)
class History:
    """What a log tells.

    Attributes:
        looks: In order of their steps; a step that was repeated counts as it was the last time.
        runs: The first ones in order.
    """

    looks: Sequence[Look]
    runs: Sequence[Run]


def read_history(store: Objects, storage: StorageOptions = NO_OPTIONS) -> History | None:
    """What the log beside a store tells; None where there is none that can be read."""
    folder, _, name = store.name.rstrip("/").rpartition("/")
    place = folder or (os.sep if store.name.startswith(os.sep) else os.curdir)
    try:
        log = open_objects(place, storage).read(name + LOG_SUFFIX, MOST_BYTES)
    except (FunctaStoreError, OSError):
        return None
    return history_of(log)


def history_of(log: bytes) -> History:
    """What the lines of a log tell."""
    looks: dict[int, Look] = {}
    runs: list[Run] = []
    for event in _events(log):
        kind = event.get("event")
        if kind == "started" and len(runs) < MOST_RUNS:
            cores, devices = (f"{figure(event, name) or 0:.0f}" for name in ("cores", "devices"))
            machine = f"{_word(event, 'machine')}, {cores} cores; {devices} x {_word(event, 'device')}"
            runs.append(Run(_word(event, "time"), machine))
        if not runs:
            continue
        if kind == "learned" and (look := _look(event)) is not None:
            looks[look.step] = look
            if look.step >= runs[-1].step:  # one may be told late, after the last step
                runs[-1].step = look.step
                runs[-1].facts["learned"] = f"{look.step:,} steps in {figure(event, 'seconds') or 0:,.0f} s"
        elif kind == "tuned":
            runs[-1].facts["tuned"] = f"{figure(event, 'step') or 0:,.0f} steps"
        elif kind == "fitted":
            speed = figure(event, "examples_per_second") or 0
            runs[-1].facts["fitted"] = f"{figure(event, 'done') or 0:,.0f} examples, {speed:,.1f} examples/s"
        elif kind == "ended":
            runs[-1].ended = f"{_word(event, 'time')} by {_word(event, 'by')}"
    return History([looks[step] for step in sorted(looks)], runs)


def _events(log: bytes) -> Iterator[Mapping[str, Any]]:
    for line in log.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):  # a line that was being written
            continue
        if isinstance(event, Mapping):
            yield event


def _look(event: Mapping[str, Any]) -> Look | None:
    step, psnr, monitored = (figure(event, name) for name in ("step", "psnr", "monitored_psnr"))
    return None if step is None or psnr is None else Look(int(step), psnr, monitored)


def _word(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return shown(value, MOST_TEXT) if isinstance(value, str) else "-"
