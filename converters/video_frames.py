"""Which frames does one film or array of frames give?"""

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from converters.image_files import CHANNELS, ImageOptions
from converters.listing import has_suffix
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
        values = self.frames * self.resolution**2
        if values > self.images.max_pixels:
            raise ConfigError(
                f"frames={self.frames} at resolution={self.resolution} are {values} pixels per example, more than the "
                f"{self.images.max_pixels} that can be learned; lower one of them"
            )

    @property
    def images(self) -> ImageOptions:
        """How a frame that is an image file is read."""
        return ImageOptions(resolution=self.resolution, mode=self.mode)


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
    frames = load_npy(io.BytesIO(data))
    check_frames(frames.shape, frames.dtype)
    return frames


def load_npy(file: io.BytesIO | str, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """The array of an .npy file, mapped or read.

    Raises:
        MemberError: If it is none, or holds Python objects; the message is the reason alone.
    """
    try:
        found = np.load(file, mmap_mode=mmap_mode, allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, OverflowError) as error:  # a header may promise anything
        raise MemberError(f"is no array of numbers: {error}") from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise MemberError("is an .npz, expected an .npy with one array")
    return found


def _imageio() -> Any:
    try:
        import imageio.v3
    except ImportError as error:
        raise MissingLibraryError("imageio is not installed; run pip install 'functa-store[video]'") from error
    return imageio.v3
