"""The process that opens mutants, watched; see `tests.fuzz.harness`.

Reads a seed a line from its input and answers each with a line of JSON: {"fault": why it is no good, or null,
"refused": the error's words, or null, "seconds": ..., "bytes": ...}.
"""

import ctypes
import gc
import importlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import struct
import sys
import time
import traceback
import types
from typing import Any

from functa_store.errors import FunctaStoreError
from tests.fuzz.harness import CPU_SECONDS, MEMORY_BYTES, Kind

_FORBIDDEN = (
    "ctypes.",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.kill",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pickle.find_class",
    "pty.spawn",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.sendto",
    "subprocess.Popen",
    "urllib.Request",
    "webbrowser.open",
)
"""Audit events of what opening an archive never needs."""

_OWN_PICKLES = ("dask", "xarray")
"""Packages whose objects dask pickles and unpickles by itself, to copy and name them."""

_CHANGES = ("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PREFIXES = tuple(
    {os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, pathlib.Path(__file__).parents[2])}
    | {"/proc/self", "/proc/meminfo", "/proc/stat", "/proc/cpuinfo", "/sys/fs/cgroup", "/sys/devices/system/cpu"}
    | {"/dev/null", "/usr/share/zoneinfo", "/dev/urandom"}
)
"""Where a process reads by itself: modules that are imported late, facts about the machine."""

_IN_ACCESS, _IN_MODIFY, _IN_OPEN, _IN_CREATE, _IN_DELETE = 0x1, 0x2, 0x20, 0x100, 0x200
_LONGEST_MESSAGE = 20_000


class Watch:
    """Notes what should not happen while a mutant is opened. An audit hook cannot be removed: once for a process."""

    def __init__(self, outside: pathlib.Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._events = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._outside = outside
        self.folder = ""
        self.on = False
        self.seen: list[str] = []
        self._mine = f"/proc/{os.getpid()}"
        sys.addaudithook(self._hook)

    def look_outside(self) -> None:
        """Watch the folder outside, and all folders in it, as it now is."""
        for folder in (self._outside, *filter(pathlib.Path.is_dir, self._outside.rglob("*"))):
            mask = _IN_ACCESS | _IN_MODIFY | _IN_OPEN | _IN_CREATE | _IN_DELETE
            self._libc.inotify_add_watch(self._events, os.fsencode(folder), mask)

    def start(self, folder: pathlib.Path) -> None:
        """Look at what happens from now on; only below the folder may be read."""
        self.folder, self.seen = os.path.realpath(folder), []
        self._touched()
        self.on = True

    def stop(self) -> list[str]:
        """What should not have happened."""
        self.on = False
        if touched := self._touched():
            self.seen.append(f"in {self._outside} was opened, read or changed: {', '.join(sorted(touched))}")
        return self.seen

    def _touched(self) -> set[str]:
        """Names of the files outside to which something has happened; "." is the folder itself."""
        try:
            events = os.read(self._events, 1 << 16)
        except BlockingIOError:
            return set()
        names, place = set[str](), 0
        while place < len(events):
            _, _, _, length = struct.unpack_from("iIII", events, place)
            names.add(events[place + 16 : place + 16 + length].rstrip(b"\0").decode(errors="replace") or ".")
            place += 16 + length
        return names

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "pickle.find_class" and args[0].partition(".")[0] in _OWN_PICKLES:
            return
        if event == "open":
            self._note_opened(*args)
        elif event.startswith(_FORBIDDEN) or (
            event.startswith(_CHANGES) and not self._is_below(args[0], (self.folder,))
        ):
            self.seen.append(f"{event} {args!r}"[:500])

    def _note_opened(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        writes = bool((flags or 0) & _WRITING) or any(letter in (mode or "r") for letter in "wax+")
        allowed = (self.folder,) if writes else (self.folder, *_PREFIXES, self._mine)
        if not self._is_below(path, allowed) and os.fsdecode(path) != os.devnull:
            self.seen.append(f"opened {path!r} to {'write' if writes else 'read'}")

    def _is_below(self, path: Any, folders: tuple[str, ...]) -> bool:
        try:
            found = os.path.realpath(os.fsdecode(path))
        except (TypeError, ValueError):  # no path, or one with a NUL, which opens nothing
            return True
        return any(found == folder or found.startswith(folder + os.sep) for folder in folders)


def _try(kind: Kind, seed: int, work: pathlib.Path, watch: Watch) -> dict[str, Any]:
    folder = work / "mutant"
    _remove(folder)
    folder.mkdir()
    path = kind.write(random.Random(seed), folder, work / "outside")
    gc.collect()
    watch.look_outside()
    before = _start_measuring()
    began, refused, fault = time.process_time(), None, None
    watch.start(folder)
    try:
        kind.read(random.Random(seed), path)
    except FunctaStoreError as error:
        refused = str(error)
        fault = _bad_message(refused)
    except BaseException:
        fault = traceback.format_exc()[-4000:]
    seen = watch.stop()
    seconds, taken = time.process_time() - began, _highest() - before
    if seen:
        fault = "; ".join(dict.fromkeys(seen))[:4000]
    elif fault is None and seconds > CPU_SECONDS:
        fault = f"took {seconds:.1f} s"
    elif fault is None and taken > MEMORY_BYTES:
        fault = f"took {taken / 2**20:.0f} MiB"
    return {"fault": fault, "refused": _shape(refused), "message": refused, "seconds": seconds, "bytes": taken}


def _bad_message(message: str) -> str | None:
    if not message.strip():
        return "the error says nothing"
    if "allow_pickle" in message or "Traceback" in message:
        return f"the error gives away what it should not: {message[:2000]}"
    return f"the error has {len(message)} characters: {message[:500]}" if len(message) > _LONGEST_MESSAGE else None


def _shape(message: str | None) -> str | None:
    """The words of a message without what differs from mutant to mutant."""
    if message is None:
        return None
    return re.sub(r"\d+", "0", re.sub(r"/\S*mutant\S*|'[^']*'|\"[^\"]*\"", "...", message))[:100]


def _remove(folder: pathlib.Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _start_measuring() -> int:
    """Bytes in memory; the highest number so far is forgotten."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _highest() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:")) * 1024


def main(module: str, kind_name: str, folder: str) -> None:
    """Answer seeds until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    work = pathlib.Path(folder)
    outside = work / "outside"
    outside.mkdir(parents=True, exist_ok=True)
    (outside / "secret.bin").write_bytes(bytes(range(256)) * 256)
    kinds: Any = importlib.import_module(module)
    assert isinstance(kinds, types.ModuleType)
    kind: Kind = kinds.KINDS[kind_name]
    kind.plant(outside)
    watch = Watch(outside)
    for seed in (-1, -2, -3):  # so that what is imported or started once is there
        _try(kind, seed, work, watch)
    gc.freeze()  # what has been imported is not looked through again for each mutant
    limit = _status("VmSize") + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(_try(kind, int(line), work, watch)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
