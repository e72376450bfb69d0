"""Frames of films: GIF by Pillow; MP4, Matroska, WebM and AVI by PyAV.

What a film is, its first bytes tell, and nothing else is tried: FFmpeg would take a text by the name of a film for a
playlist, and open the files and addresses that it names, or listen for them. No file but the film is opened, and only
by decoders that films have. What a film may be in memory and time is bounded by its own bytes.
"""

import contextlib
import io
import math
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import GifImagePlugin, Image

from converters.archives.memory_share import check_wanted, take_room
from converters.signals.film_tables import check_tables
from functa_store.errors import FunctaStoreError, MemberError
from functa_store.support.optional import require
from functa_store.support.shortening import shown

MOST_FRAME_PIXELS = 1 << 24
"""Pixels of a frame that is decoded, by the size in its header: more than 5120 x 2880."""

_FREE_PIXELS = 1 << 29
_PIXELS_PER_BYTE = 10_000  # a still picture in full HD has a third as many
_RATES = 1e-3, 1e5
_BYTES_PER_PIXEL = 30  # a decoder keeps some 16 frames of 1.5 bytes
_MOST_ASPECT = 20  # of a pixel
_HDR = {16: "PQ", 18: "HLG"}  # transfer functions, by the numbers of ITU-T H.273

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


class FilmFrame(NamedTuple):
    """A frame as it is seen: upright, its pixels square, on white where it is transparent.

    Attributes:
        pixels: 0 to 255.
        start: When it is shown, in seconds, if the film says so.
        duration: For how long, of a GIF that says so.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    start: float | None
    duration: float | None


def film_frames(data: bytes, remarks: set[str] | None = None) -> Iterator[FilmFrame]:
    """The frames of a film, one after the other.

    Args:
        data: The film.
        remarks: Gets what is odd about it, in words.

    Raises:
        MemberError: If it is none, cannot be decoded, takes too much, its frames differ in size, or it is in a way that
            would show other colours or shapes; the message is the reason alone.
        MissingLibraryError: If PyAV is not installed, for anything but a GIF.
    """
    remarks = set() if remarks is None else remarks
    with _decoding():
        left, first = _FREE_PIXELS + _PIXELS_PER_BYTE * len(data), None
        for frame in _gif_frames(data) if _format(data) == "gif" else _av_frames(data, remarks):
            check_wanted()
            height, width = frame.pixels.shape[:2]
            left -= height * width
            if left < 0:
                raise MemberError(f"has more pixels in its frames than its {len(data)} bytes can mean")
            first = first or (width, height)
            if (width, height) != first:
                raise MemberError(f"has a frame of {width} x {height} pixels, but the first one has {first}")
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
    if rate is not None:
        check_rate(rate)
    return rate


def is_avi(data: bytes) -> bool:
    """Whether a film is an AVI."""
    return data.startswith(b"RIFF") and data[8:12] in (b"AVI ", b"AVIX")


def check_rate(rate: float) -> None:
    """Refuse a rate that no film has.

    Raises:
        MemberError: If it is absurd; the message is the reason alone.
    """
    if not _RATES[0] <= rate <= _RATES[1]:
        raise MemberError(f"says that it has {rate:g} frames per second; give them with --fps")


def on_white(pixels: UInt8[np.ndarray, "height width 4"]) -> UInt8[np.ndarray, "height width 3"]:
    """Red, green, blue and opacity composited on white, as image files are."""
    image = Image.fromarray(pixels, "RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


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
    if is_avi(data):
        return "avi"
    raise MemberError(f"cannot be decoded: starts with {data[:8]!r}, expected a GIF, MP4, MOV, Matroska, WebM or AVI")


def _gif_frames(data: bytes) -> Iterator[FilmFrame]:
    image, start, durations = _open_gif(data), 0.0, set[bool]()
    take_room(_BYTES_PER_PIXEL * math.prod(_gif_size(data)))
    with contextlib.suppress(EOFError):  # after the last one
        for k in range(len(data)):
            image.seek(k)
            image.load()  # before it is known whether anything is transparent
            pixels = on_white(np.asarray(image.convert("RGBA")))
            seconds = image.info.get("duration", 0) / 1000
            durations.add(seconds > 0)
            if len(durations) > 1:
                raise MemberError("says of some frames how long they are shown, and not of others")
            yield FilmFrame(pixels, start if seconds else None, seconds or None)
            start += seconds


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


def _av_frames(data: bytes, remarks: set[str]) -> Iterator[FilmFrame]:
    with _opened(data) as (container, stream):
        # Not the frame's own, which keeps threads that a later fork would wait for.
        reformatter, count = _av().video.reformatter.VideoReformatter(), 0
        aspect = _pixel_aspect(stream)
        for frame in container.decode(stream):
            _check_frame(frame.width, frame.height)
            if frame.is_corrupt:
                raise MemberError(f"cannot be decoded: its frame {count} is damaged or cut")
            _check_colours(frame, stream)
            if frame.interlaced_frame:
                remarks.add("is interlaced: both fields of a frame, which are moments apart, are shown at once")
            has_alpha = _has_alpha(frame, stream)
            pixels = reformatter.reformat(frame, format="rgba" if has_alpha else "rgb24").to_ndarray()
            if has_alpha and stream.codec_context.name == "rawvideo" and not pixels[..., 3].any():
                raise MemberError("has a frame that is transparent all over, as of a program that leaves opacity out")
            upright = _upright(_square_pixels(on_white(pixels) if has_alpha else pixels, aspect), frame)
            # Its duration is none to rely on: that of the last one in an MP4 may be another's.
            yield FilmFrame(upright, frame.time, None)
            count += 1
        if count < stream.frames and _format(data) == "mov":  # an AVI counts places without a frame, too
            remarks.add(f"shows {count} of the {stream.frames} frames that its header declares")


def _has_alpha(frame: Any, stream: Any) -> bool:
    """Whether a frame has an opacity; colours of a palette have none, but for those of a PNG."""
    if frame.format.has_palette:
        return stream.codec_context.name == "png"
    return any(component.is_alpha for component in frame.format.components)


def _check_colours(frame: Any, stream: Any) -> None:
    """Refuse colours that 8-bit RGB does not show, and opacity that the decoder leaves out."""
    if getattr(frame, "color_trc", None) in _HDR:
        raise MemberError(f"has colours of high dynamic range ({_HDR[frame.color_trc]}); map them to BT.709 first")
    says_alpha = any(name.lower() == "alpha_mode" and value == "1" for name, value in stream.metadata.items())
    if says_alpha and not _has_alpha(frame, stream):
        raise MemberError(
            "has transparent pixels that its decoder does not tell; put it on a background first, or save its frames "
            "as PNG"
        )


def _pixel_aspect(stream: Any) -> float:
    """Width of a pixel relative to its height."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT:
        raise MemberError(
            f"has pixels {aspect:g} times as wide as high, expected at most {_MOST_ASPECT} or a part of it"
        )
    return aspect


def _square_pixels(pixels: np.ndarray, aspect: float) -> np.ndarray:
    """A frame as wide as it is shown: the shorter side of its pixels is drawn out."""
    height, width = pixels.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    if size == (width, height):
        return pixels
    _check_frame(*size)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """A frame turned and mirrored as its display matrix says, which takes x, y in a frame to those on a screen."""
    found = next((bytes(side) for side in frame.side_data if side.type.name == "DISPLAYMATRIX"), None)
    if found is None:
        return pixels
    numbers = struct.unpack("=9i", found)
    matrix = np.array([numbers[0:2], numbers[3:5]]) / (1 << 16)
    size = np.abs(matrix).max()
    turn = np.rint(matrix / size) if size > 0 else np.zeros((2, 2))
    if (
        np.abs(np.abs(turn) @ [1, 1] - 1).max()
        or abs(np.linalg.det(turn)) != 1
        or np.abs(matrix - size * turn).max() > 0.01
    ):
        raise MemberError(f"is turned by a matrix {matrix.tolist()} that is no quarter turn or mirroring")
    is_aside = turn[0, 0] == 0
    # Rows of the matrix say where x and where y go.
    across, down = (turn[1, 0], turn[0, 1]) if is_aside else (turn[0, 0], turn[1, 1])
    turned = pixels.swapaxes(0, 1) if is_aside else pixels
    return np.ascontiguousarray(turned[:: int(down), :: int(across)])


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[tuple[Any, Any]]:
    """The film and its first stream of pictures."""
    kind = _format(data)
    if kind == "mov":
        check_tables(data)
    with _av().open(io.BytesIO(data), format=kind, options=_OPTIONS) as container:
        stream = next((video for video in container.streams.video if not _is_cover(video)), None)
        if stream is None:
            raise MemberError("is a film without pictures")
        context = stream.codec_context
        if context is None or context.name not in _CODECS:
            name = "one that is unknown" if context is None else context.name
            raise MemberError(f"has pictures in codec {name}, expected one of {', '.join(_CODECS)}")
        _check_frame(context.width, context.height)
        stretch = max(aspect := _pixel_aspect(stream), 1 / aspect)
        take_room(round(_BYTES_PER_PIXEL * context.width * context.height * stretch))
        context.options = {"max_pixels": _OPTIONS["max_pixels"]}
        context.thread_count = 1
        yield container, stream


def _is_cover(stream: Any) -> bool:
    """Whether a stream is one picture, shown by players of music."""
    return bool(stream.disposition & _av().stream.Disposition.attached_pic)


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
