"""Kinds whose reading does what it must not, so that the harness can be tested."""

import ctypes
import os
import pathlib
import pickle
import random
import socket
import subprocess
import time

from functa_store.errors import ArchiveError
from tests.fuzz.harness import Kind

_LIBC = ctypes.CDLL(None)


def _write(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    (folder / "link").symlink_to(outside / "secret.bin")
    (folder / "file").write_bytes(b"whole")
    return folder


def _kind(do) -> Kind:
    def read(rng: random.Random, path: pathlib.Path) -> None:
        if rng.random() >= 0 and not _is_warming_up(path):
            do(path)

    return Kind(write=_write, read=read)


_times = 0


def _is_warming_up(path: pathlib.Path) -> bool:
    """The first three times."""
    global _times
    _times += 1
    return _times <= 3


def _refuse(path):
    raise ArchiveError(f"{path}: no good")


def _advise(path):
    raise ArchiveError(f"{path}: use allow_pickle=True")


def _take(path):
    taken = bytearray(900 << 20)
    taken[::4096] = b"x" * len(range(0, len(taken), 4096))
    more = bytearray(900 << 20)  # beyond the limit of the process
    del taken, more


KINDS = {
    "nothing": _kind(lambda path: (path / "file").read_bytes()),
    "refuse": _kind(_refuse),
    "advise": _kind(_advise),
    "raise": _kind(lambda path: {}["nothing"]),
    "exit": _kind(lambda path: exit(3)),
    "die": _kind(lambda path: os.abort()),
    "hang": _kind(lambda path: time.sleep(1000)),
    "follow a link": _kind(lambda path: (path / "link").read_bytes()),
    "read outside": _kind(lambda path: pathlib.Path("/etc/hostname").read_bytes()),
    "read outside in C": _kind(lambda path: os.close(_LIBC.open(os.fsencode(path / "link"), os.O_RDONLY))),
    "write beside": _kind(lambda path: (path.parent / "beside").write_bytes(b"")),
    "remove outside": _kind(lambda path: os.remove("/nowhere/at/all")),
    "run": _kind(lambda path: subprocess.run(["true"], check=True)),
    "connect": _kind(lambda path: socket.create_connection(("127.0.0.1", 9))),
    "unpickle": _kind(lambda path: pickle.loads(pickle.dumps(pathlib.Path("x")))),
    "load a library": _kind(lambda path: ctypes.CDLL("libm.so.6")),
    "take memory": _kind(_take),
}
