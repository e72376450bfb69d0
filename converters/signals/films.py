"""Frames of films: GIF by Pillow; MP4, Matroska, WebM and AVI by PyAV, their tables checked first.

FFmpeg keeps an entry of some 40 bytes for every sample that a table promises, before any is read, and a table of a few
bytes can promise four billion. Tables are looked for by their names and not in their order, since FFmpeg takes them
wherever they are; what this counts is never less than what FFmpeg makes of them. ISO/IEC 14496-12 has the tables.

What a film is, its first bytes tell, and nothing else is tried: FFmpeg would take a text by the name of a film for a
playlist, and open the files and addresses that it names, or listen for them. No file but the film is opened, and only
by decoders that films have. What a film may be in memory and time is bounded by its own bytes.
"""

import contextlib
import dataclasses
import io
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import GifImagePlugin

from converters.archives.memory_share import check_wanted, take_room
from converters.archives.plain_files import shown
from functa_store.errors import FunctaStoreError, MemberError
from functa_store.support.optional import require

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


MOST_FRAME_PIXELS = 1 << 24
"""Pixels of a frame that is decoded, by the size in its header: more than 5120 x 2880."""

_FREE_PIXELS = 1 << 29
_PIXELS_PER_BYTE = 10_000  # a still picture in full HD has a third as many
_RATES = 1e-3, 1e5
_BYTES_PER_PIXEL = 30  # a decoder keeps some 16 frames of 1.5 bytes

_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_CODECS = (
    "av1", "cinepak", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "h263", "h264", "hevc", "huffyuv", "libaom-av1",
    "libdav1d", "libvpx", "libvpx-vp9", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v2", "png",
    "prores", "qtrle", "rawvideo", "utvideo", "vp8", "vp9",
)  # fmt: skip
_OPTIONS = {
    "protocol_whitelist": "none",  # which is the name of none, so that no other file is opened
    "codec_whitelist": ",".join(_CODECS),
    "enable_drefs": "0",
    "use_absolute_path": "0",
    "max_pixels": str(MOST_FRAME_PIXELS),
}


def film_frames(data: bytes) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The frames of a film, one after the other.

    Raises:
        MemberError: If it is none, cannot be decoded, or takes too much; the message is the reason alone.
        MissingLibraryError: If PyAV is not installed, for anything but a GIF.
    """
    with _decoding():
        left = _FREE_PIXELS + _PIXELS_PER_BYTE * len(data)
        for frame in _gif_frames(data) if _format(data) == "gif" else _av_frames(data):
            check_wanted()
            left -= frame.shape[0] * frame.shape[1]
            if left < 0:
                raise MemberError(f"has more pixels in its frames than its {len(data)} bytes can mean")
            yield frame


def frame_rate(data: bytes) -> float | None:
    """Frames per second that a film says it has, if it does; errors as for `film_frames`."""
    with _decoding():
        if _format(data) == "gif":
            milliseconds = _open_gif(data).info.get("duration")
            rate = 1000 / milliseconds if milliseconds else None
        else:
            with _opened(data) as (_, stream):
                rate = float(stream.guessed_rate) if stream.guessed_rate else None
    if rate is not None and not _RATES[0] <= rate <= _RATES[1]:
        raise MemberError(f"says that it has {rate:g} frames per second; give them with --fps")
    return rate


def _format(data: bytes) -> str:
    """FFmpeg's name of what a film is, or "gif"."""
    if not data:
        raise MemberError("is empty (0 bytes)")
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[4:8] in _BOXES:
        return "mov"
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if data.startswith(b"RIFF") and data[8:12] in (b"AVI ", b"AVIX"):
        return "avi"
    raise MemberError(f"cannot be decoded: starts with {data[:8]!r}, expected a GIF, MP4, MOV, Matroska, WebM or AVI")


def _gif_frames(data: bytes) -> Iterator[np.ndarray]:
    image = _open_gif(data)
    take_room(_BYTES_PER_PIXEL * math.prod(_gif_size(data)))
    with contextlib.suppress(EOFError):  # after the last one
        for k in range(len(data)):
            image.seek(k)
            yield np.asarray(image.convert("RGB"))


def _open_gif(data: bytes) -> Any:
    width, height = _gif_size(data)
    _check_frame(width, height)
    return GifImagePlugin.GifImageFile(io.BytesIO(data))


def _gif_size(data: bytes) -> tuple[int, int]:
    """Width and height of what holds the screen and every frame, for which Pillow makes room before it says so."""
    width, height = (int.from_bytes(data[k : k + 2], "little") for k in (6, 8))
    position = 13 + _palette_bytes(data, 10)
    while position < len(data) and (kind := data[position : position + 1]) != b";":
        position += 1
        if kind == b"!":
            position = _skip_blocks(data, position + 1)
        elif kind == b",":
            left, top, across, down = (
                int.from_bytes(data[k : k + 2], "little") for k in range(position, position + 8, 2)
            )
            width, height = max(width, left + across), max(height, top + down)
            position = _skip_blocks(data, position + 10 + _palette_bytes(data, position + 8))
    return width, height


def _palette_bytes(data: bytes, flags_at: int) -> int:
    flags = data[flags_at] if flags_at < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(data: bytes, position: int) -> int:
    """Where blocks that begin with their lengths end."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1


def _av_frames(data: bytes) -> Iterator[np.ndarray]:
    with _opened(data) as (container, stream):
        # Not the frame's own, which keeps threads that a later fork would wait for.
        reformatter = _av().video.reformatter.VideoReformatter()
        for frame in container.decode(stream):
            _check_frame(frame.width, frame.height)
            yield reformatter.reformat(frame, format="rgb24").to_ndarray()


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[tuple[Any, Any]]:
    """The film and its first stream of pictures."""
    kind = _format(data)
    if kind == "mov":
        check_tables(data)
    with _av().open(io.BytesIO(data), format=kind, options=_OPTIONS) as container:
        stream = next(iter(container.streams.video), None)
        if stream is None:
            raise MemberError("is a film without pictures")
        context = stream.codec_context
        if context is None or context.name not in _CODECS:
            name = "one that is unknown" if context is None else context.name
            raise MemberError(f"has pictures in codec {name}, expected one of {', '.join(_CODECS)}")
        _check_frame(context.width, context.height)
        take_room(_BYTES_PER_PIXEL * context.width * context.height)
        context.options = {"max_pixels": _OPTIONS["max_pixels"]}
        context.thread_count = 1
        yield container, stream


def _check_frame(width: int, height: int) -> None:
    if width * height > MOST_FRAME_PIXELS:
        raise MemberError(f"has frames of {width} x {height} pixels, more than {MOST_FRAME_PIXELS}; scale it down")


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except FunctaStoreError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged data
        raise MemberError(f"cannot be decoded: {shown(str(error))}") from error


def _av() -> Any:
    require("av.video.reformatter", extra="video", name="PyAV")
    return require("av", extra="video", name="PyAV")
