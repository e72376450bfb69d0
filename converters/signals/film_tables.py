"""Tables of MP4 films and their like: refusal of those that promise more samples than memory holds.

FFmpeg keeps an entry of some 40 bytes for every sample that a table promises, before any is read, and a table of a few
bytes can promise four billion. Tables are looked for by their names and not in their order, since FFmpeg takes them
wherever they are; what this counts is never less than what FFmpeg makes of them. ISO/IEC 14496-12 has the tables.
"""

import dataclasses
import re
from collections.abc import Iterator

import numpy as np

from functa_store.errors import MemberError

MOST_SAMPLES = 1 << 21
"""Samples of all tracks of a film, a frame or a piece of sound each: nineteen hours of frames."""

_TABLES = re.compile(rb"trak|hdlr|stsz|stz2|stts|stsc|stco|co64|elst|trun|cmov")
_MOST_TABLES = 1 << 17
_MOST_BOXES = 1 << 17
_PADDING = (b"mdat", b"free", b"skip")


@dataclasses.dataclass
class _Track:
    """What the tables of a track promise."""

    kinds: set[bytes] = dataclasses.field(default_factory=set)
    samples: int = 0
    sample_bytes: int = 0
    in_pieces: bool = True
    chunks: int = 0
    per_chunk: int = 0
    edits: int = 1

    def entries(self, num_bytes: int) -> int:
        """How many of FFmpeg's entries that makes, of a film of so many bytes."""
        if self.kinds == {b"soun"} and self.in_pieces:  # uncompressed, which is kept by 1024 samples
            real = max(1, self.sample_bytes) * self.samples <= num_bytes
            pieces = self.chunks * -(-self.per_chunk // 1024)
            return pieces if real else max(pieces, self.samples)
        return self.samples * self.edits


def check_tables(data: bytes) -> None:
    """Refuse a film whose tables promise more than is held in memory.

    Raises:
        MemberError: If they do, or are too many or compressed; the message is the reason alone.
    """
    tracks = [_Track()]
    for count, (kind, body) in enumerate(_tables(data)):
        if count > _MOST_TABLES:
            raise MemberError(f"has more than {_MOST_TABLES} tables")
        if kind == b"cmov":
            raise MemberError("has a compressed index; copy the film by another program, such as ffmpeg -c copy")
        if kind == b"trak":
            tracks.append(_Track())
        else:
            _note(tracks, kind, body)
    if (entries := sum(track.entries(len(data)) for track in tracks)) > MOST_SAMPLES:
        raise MemberError(f"promises {entries} samples, more than the {MOST_SAMPLES} of the longest film that is read")


def _note(tracks: list[_Track], kind: bytes, body: memoryview) -> None:
    """Take account of one table."""
    numbers = [int.from_bytes(body[k : k + 4], "big") for k in range(4, 20, 4)]
    track = tracks[-1]
    if kind == b"hdlr" and body[4:8] != b"dhlr":  # which is a handler of data, in every track
        track.kinds.add(bytes(body[8:12]))
    elif kind in (b"stsz", b"stz2"):
        track.sample_bytes = max(track.sample_bytes, numbers[0] if kind == b"stsz" else 1)
        track.samples += numbers[1]
    elif kind == b"stts":
        track.in_pieces = track.in_pieces and numbers[0] == 1 and numbers[2] == 1
    elif kind in (b"stco", b"co64"):
        track.chunks += numbers[0]
    elif kind == b"stsc":
        rows = body[8 : 8 + 12 * (min(12 * numbers[0], len(body) - 8) // 12)]
        track.per_chunk = max(track.per_chunk, int(np.frombuffer(rows, ">u4")[1::3].max(initial=0)))
    elif kind == b"elst":
        track.edits = max(track.edits, numbers[0])
    elif kind == b"trun":
        tracks[0].samples += numbers[0]


def _tables(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Name and content of everything that may be a table, in the order of the file."""
    view = memoryview(data)
    for start, stop, padded in _regions(data):
        if padded and not all(data.find(name, start, stop) >= 0 for name in (b"moof", b"traf", b"trun")):
            continue  # pictures and sounds; the names of tables occur in them by chance, but hardly these together
        for found in _TABLES.finditer(data, start, stop):
            yield found[0], view[found.end() :]


def _regions(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """Where the outermost boxes start and end, and whether each holds pictures and sounds, or nothing."""
    position = 0
    for _ in range(_MOST_BOXES):
        if position + 8 > len(data):
            return
        size, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        stop = min(len(data), position + max(8, size)) if size else len(data)
        yield position, stop, kind in _PADDING
        position = stop
    raise MemberError(f"has more than {_MOST_BOXES} boxes")
