"""Which frames does one clip give, whichever way it is kept?"""

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from converters.archives import Archive
from converters.image_files import CHANNELS, ImageOptions, read_image
from converters.kept import Kept
from converters.member_survey import has_suffix
from functa_store.errors import ConfigError, FunctaStoreError, MemberError, MissingLibraryError

FILM_SUFFIXES = {".gif", ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"}
ARRAY_SUFFIXES = {".npy"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How every clip of an archive becomes examples of equal shape.

    Attributes:
        frames: Frames per example: a longer clip gives several, what is left over is dropped.
        resolution: Pixels per side of every frame, of its largest centred square.
        mode: "rgb", or "grey" for one channel.
        fps: Frames per second, for all clips; None takes what the first film says.
    """

    frames: int = 16
    resolution: int = 32
    mode: str = "rgb"
    fps: float | int | None = None

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ConfigError(f"frames must be at least 2, got {self.frames}; single images are for `convert images`")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ConfigError(f"fps must be positive and finite, got {self.fps}")
        _ = self.images  # its own checks

    @property
    def images(self) -> ImageOptions:
        """How a frame that is an image file is read."""
        return ImageOptions(resolution=self.resolution, mode=self.mode)


@runtime_checkable
class Clip(Protocol):
    """Frames in a row, read a few at a time, by threads."""

    def inspect(self) -> tuple[int, float | None]:
        """Number of frames, each of which has been read once, and how many there are per second, if it is known.

        Raises:
            MemberError: If one cannot be read, or they differ in size.
        """
        ...

    def glance(self) -> tuple[int, float | None]:
        """The same without reading more than is needed."""
        ...

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "t y x channel"]:
        """Some frames, cropped and resized."""
        ...


class FrameFolder:
    """A clip whose frames are image files in one folder, in the order of their names."""

    def __init__(self, archive: Archive, members: list[str], options: VideoOptions) -> None:
        self._archive, self._members, self._options = archive, members, options

    def inspect(self) -> tuple[int, float | None]:
        """See `Clip.inspect`."""
        first = None
        for member in self._members:
            data = self._archive.read(member)
            try:
                read_image(data, self._options.images)
            except MemberError as error:
                raise MemberError(f"has a frame {member} that {error}") from error
            with Image.open(io.BytesIO(data)) as image:
                size = image.size
            first = first or size
            if size != first:
                raise MemberError(f"has a frame {member} of {size} pixels, but the first one has {first}")
        return len(self._members), None

    def glance(self) -> tuple[int, float | None]:
        """See `Clip.glance`."""
        return len(self._members), None

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "t y x channel"]:
        """See `Clip.read`."""
        frames = [read_image(self._archive.read(m), self._options.images) for m in self._members[start:stop]]
        return np.stack(frames)


class ArrayClip:
    """A clip that is an array (t, y, x, channels) of bytes, perhaps memory-mapped."""

    def __init__(self, frames: np.ndarray, options: VideoOptions) -> None:
        check_frames(frames.shape, frames.dtype)
        self._frames, self._options = frames, options

    def inspect(self) -> tuple[int, float | None]:
        """See `Clip.inspect`."""
        return len(self._frames), None

    def glance(self) -> tuple[int, float | None]:
        """See `Clip.glance`."""
        return self.inspect()

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "t y x channel"]:
        """See `Clip.read`."""
        return np.stack([fit_frame(np.asarray(frame), self._options) for frame in self._frames[start:stop]])


class FilmFile:
    """A clip that is one member: a GIF, a film such as an MP4, or an .npy array."""

    def __init__(self, archive: Archive, member: str, options: VideoOptions, kept: Kept) -> None:
        self._archive, self._member, self._options, self._kept = archive, member, options, kept

    def inspect(self) -> tuple[int, float | None]:
        """See `Clip.inspect`."""
        fps = frame_rate(self._archive.read(self._member), self._member)
        return len(self._frames()), fps

    def glance(self) -> tuple[int, float | None]:
        """See `Clip.glance`; only decoding tells how many frames a film has."""
        return self.inspect()

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "t y x channel"]:
        """See `Clip.read`; a copy, since who keeps it shall not keep the whole film."""
        return self._frames()[start:stop].copy()

    def _frames(self) -> UInt8[np.ndarray, "t y x channel"]:
        return self._kept.get(self._member, self._decode)

    def _decode(self) -> UInt8[np.ndarray, "t y x channel"]:
        fitted, side = [], self._options.resolution
        # One by one: a minute of film in full size takes gigabytes.
        for frame in film_frames(self._archive.read(self._member), self._member):
            check_frames((1, *frame.shape), frame.dtype)
            fitted.append(fit_frame(frame, self._options))
        shape = (len(fitted), side, side, len(CHANNELS[self._options.mode]))
        return np.stack(fitted) if fitted else np.empty(shape, np.uint8)


def film_frames(data: bytes, member: str) -> Iterator[UInt8[np.ndarray, "height width given"]]:
    """The frames of a film, one after the other.

    Raises:
        MemberError: If it cannot be decoded; the message is the reason alone.
        MissingLibraryError: If imageio, or PyAV for anything but a GIF, is not installed.
    """
    if not data:
        raise MemberError("is empty (0 bytes)")
    if has_suffix(member, ARRAY_SUFFIXES):
        yield from _from_npy(data)
        return
    with _decoding():
        for frame in _imageio().imiter(data, **_plugin(member)):
            yield np.atleast_3d(np.asarray(frame))


def frame_rate(data: bytes, member: str) -> float | None:
    """Frames per second that a film says it has, if it does; errors as for `film_frames`."""
    if has_suffix(member, ARRAY_SUFFIXES):
        return None
    if not data:
        raise MemberError("is empty (0 bytes)")
    with _decoding():
        facts = _imageio().immeta(data, **_plugin(member), **({"index": 0} if has_suffix(member, {".gif"}) else {}))
    if has_suffix(member, {".gif"}):
        return 1000 / facts["duration"] if facts.get("duration") else None
    return float(facts["fps"]) if facts.get("fps") else None


def _plugin(member: str) -> dict[str, Any]:
    if has_suffix(member, {".gif"}):
        return {"extension": ".gif", "plugin": "pillow"}
    return {"plugin": "pyav"}


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except FunctaStoreError:
        raise
    except ImportError as error:
        raise MissingLibraryError("PyAV is not installed; run pip install 'functa-store[video]'") from error
    except Exception as error:  # decoders raise nearly anything on damaged data
        raise MemberError(f"cannot be decoded: {error}") from error


def check_frames(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse an array that is no clip.

    Raises:
        MemberError: If it is not (t, y, x, channels) of bytes with 1, 3 or 4 channels.
    """
    if len(shape) != 4 or shape[-1] not in (1, 3, 4) or dtype != np.uint8 or 0 in shape:
        raise MemberError(
            f"holds {dtype} of shape {shape}, expected uint8 (t, y, x, channels) with 1, 3 or 4 channels, 0 to 255"
        )


def fit_frame(
    frame: UInt8[np.ndarray, "height width given"], options: VideoOptions
) -> UInt8[np.ndarray, "y x channel"]:
    """The largest centred square of a frame, resized as images are; alpha is dropped."""
    side, mode = options.resolution, "RGB" if options.mode == "rgb" else "L"
    image = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame[..., :3]).convert(mode)
    fitted = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
    return np.asarray(fitted).reshape(side, side, len(CHANNELS[options.mode]))


def _from_npy(data: bytes) -> np.ndarray:
    try:
        frames = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise MemberError(f"is no array of numbers: {error}") from error
    check_frames(frames.shape, frames.dtype)
    return frames


def _imageio() -> Any:
    try:
        import imageio.v3
    except ImportError as error:
        raise MissingLibraryError("imageio is not installed; run pip install 'functa-store[video]'") from error
    return imageio.v3
