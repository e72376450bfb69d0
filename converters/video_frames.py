"""Which frames do clips become?"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from converters.image_files import CHANNELS, ImageOptions
from functa_store.errors import ConfigError, MemberError

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


def check_frames(shape: tuple[int, ...], dtype: np.dtype[Any], options: VideoOptions) -> None:
    """Refuse an array that is no clip.

    Raises:
        MemberError: If it is not (t, y, x, channels) of bytes with 1, 3 or 4 channels, or its frames are too large.
    """
    if len(shape) != 4 or shape[-1] not in (1, 3, 4) or dtype != np.uint8 or 0 in shape:
        raise MemberError(
            f"holds {dtype} of shape {shape}, expected uint8 (t, y, x, channels) with 1, 3 or 4 channels, 0 to 255"
        )
    if shape[1] * shape[2] > options.images.max_pixels:
        raise MemberError(f"has frames of {shape[2]} x {shape[1]} pixels, more than {options.images.max_pixels}")


def fit_frame(
    frame: UInt8[np.ndarray, "height width given"], options: VideoOptions
) -> UInt8[np.ndarray, "y x channel"]:
    """The largest centred square of a frame, resized as images are; alpha is dropped."""
    side, mode = options.resolution, "RGB" if options.mode == "rgb" else "L"
    image = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame[..., :3]).convert(mode)
    fitted = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
    return np.asarray(fitted).reshape(side, side, len(CHANNELS[options.mode]))
