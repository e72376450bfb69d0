"""Runs `functa` with a tiny preset more, and dies or waits at a given moment of writing.

    python convert_once.py convert KIND ARCHIVE OUT --preset tiny ...

The environment says when; the product knows nothing of it:

    KILL_TRACE  file that gets a line per moment: its phase, what happens, and where
    KILL_AT     PHASE:N, the N-th moment of that phase: SIGKILL
    KILL_PAUSE  PHASE:N: the file TRACE.paused gets the process's id, and nothing is written until TRACE.go exists

A moment is one after a folder was made, half of a file was written, all of it, it was renamed, or something was
removed, at OUT (an absolute path) or at OUT.work. The phases:

    learning, tuning  snapshots
    preparing         folders are made, and what a killed run left is removed
    skeleton          all that is written before the first shard
    shards, receipts
    completion        statistics and the final mark
    clearing          the work folder goes; with the exact store inside it

"exact " before a phase says that it is one of the exact store, from which a store of int8 is made.
"""

import dataclasses
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from functa_store.cli import main as cli
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.plugins import Preset, converters

TINY = Preset(
    summary="For tests: shards of four examples.",
    config=ConvertConfig(
        preset="tiny",
        network=NetworkConfig(width=8, depth=3, w0=10.0, modulation_dim=4),
        inner=InnerLoopConfig(num_steps=2, learning_rate=0.1),
        outer=OuterLoopConfig(num_steps=60, batch_size=4, num_points=32, warmup_steps=2, monitor_every=10),
        fit=FitConfig(num_steps=3, stride=2, tuning_steps=4),
        rows_per_shard=4,
    ),
)

write, mkdir, rename, link, unlink, rmdir = os.write, os.mkdir, os.rename, os.link, os.unlink, os.rmdir

PART = re.compile(r"\.[0-9a-f]{16}\.part$")


def place(path: str | Path, folder: int | None) -> str:
    """The whole path of what a call names, which may do so from an open folder."""
    text = os.fspath(path)
    return text if folder is None else os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)


class Moments:
    """Counts the moments of a conversion and acts on one of them."""

    def __init__(self, out: str, trace: str, kill_at: str, pause_at: str) -> None:
        self.out, self.work, self.exact = out, f"{out}.work", f"{out}.work/exact.functa"
        self.trace, self.kill_at, self.pause_at = trace, kill_at, pause_at
        self.file = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()

    def concern(self, path: str) -> bool:
        return path in (self.out, self.work) or path.startswith((f"{self.out}/", f"{self.work}/"))

    def reach(self, phase: str, what: str, path: str) -> None:
        with self.lock:  # whoever is to die takes the other threads along before they write any more
            self.counts[phase] += 1
            count = f"{phase}:{self.counts[phase]}"
            write(self.file, f"{phase}\t{what}\t{path}\n".encode())
            if count == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)
            if count == self.pause_at:
                self.pause()

    def pause(self) -> None:
        new, paused, go = (Path(f"{self.trace}.{suffix}") for suffix in ("new", "paused", "go"))
        new.write_text(str(os.getpid()))
        rename(new, paused)
        while not go.exists():
            time.sleep(0.01)

    def phase(self, path: str, *, removed: bool = False) -> str:
        """What a conversion does that changes this path."""
        which, store = self.which(path), self.exact if path.startswith(self.exact) else self.out
        if removed and not PART.search(path):
            return which + ("clearing" if is_complete(store) or is_complete(self.out) else "preparing")
        path = PART.sub("", path)
        if path.startswith(f"{self.work}/learning/"):
            return "tuning" if path.endswith("tuning.npz") else "learning"
        if "/receipts/" in path:
            return which + "receipts"
        key = path.removeprefix(f"{store}/")
        if key.startswith(("modulations/c/", "mse/c/", "metrics/c/")):
            return which + "shards"
        completion = key.startswith("statistics") or (key == "zarr.json" and os.path.exists(path))
        return which + ("completion" if completion else "skeleton")

    def which(self, path: str) -> str:
        return "exact " if path.startswith(self.exact) and not is_complete(self.out) else ""

    def write(self, descriptor: int, data: memoryview) -> int:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if not self.concern(path):
            return write(descriptor, data)
        half = write(descriptor, data[: len(data) // 2])
        self.reach(self.phase(path), "half written", path)
        return half + write(descriptor, data[half:])

    def mkdir(self, path: str | Path, *args, dir_fd: int | None = None) -> None:
        mkdir(path, *args, dir_fd=dir_fd)
        if self.concern(made := place(path, dir_fd)):
            self.reach(f"{self.which(made)}preparing", "made", made)

    def rename(self, source: str | Path, target: str | Path, **kwargs) -> None:
        self.name(rename, source, target, kwargs)

    def link(self, source: str | Path, target: str | Path, **kwargs) -> None:
        self.name(link, source, target, kwargs)

    def name(self, call, source: str | Path, target: str | Path, kwargs: dict) -> None:
        path = place(target, kwargs.get("dst_dir_fd"))
        if not self.concern(path):
            call(source, target, **kwargs)
            return
        phase = self.phase(path)
        self.reach(phase, "written", path)
        call(source, target, **kwargs)
        self.reach(phase, "named", path)

    def unlink(self, path: str | Path, **kwargs) -> None:
        self.remove(unlink, path, kwargs)

    def rmdir(self, path: str | Path, **kwargs) -> None:
        self.remove(rmdir, path, kwargs)

    def remove(self, call, path: str | Path, kwargs: dict) -> None:
        text = place(path, kwargs.get("dir_fd"))
        if not self.concern(text):
            call(path, **kwargs)
            return
        phase = self.phase(text, removed=True)
        call(path, **kwargs)  # raises if there is nothing to remove; then this is no moment
        self.reach(phase, "removed", text)


def is_complete(store: str) -> bool:
    try:
        return b'"complete": true' in Path(store, "zarr.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return False


def add_preset(kind: str) -> None:
    presets: Any = converters()[kind].presets
    head = next(iter(presets.values())).config.network.head
    network = dataclasses.replace(TINY.config.network, head=head)
    presets["tiny"] = dataclasses.replace(TINY, config=dataclasses.replace(TINY.config, network=network))


def out_of(words: list[str]) -> str:
    return next(word for word in words if word.endswith(".functa"))


def main() -> int:
    add_preset(sys.argv[2])
    kill_at, pause_at = (os.environ.get(name, "") for name in ("KILL_AT", "KILL_PAUSE"))
    moments = Moments(out_of(sys.argv), os.environ["KILL_TRACE"], kill_at, pause_at)
    os.write, os.mkdir, os.rename = moments.write, moments.mkdir, moments.rename
    os.link, os.unlink, os.rmdir = moments.link, moments.unlink, moments.rmdir
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
