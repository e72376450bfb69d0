"""Clips and pictures as .gif and .mp4 files, at any resolution and rate."""

import fractions
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from PIL import Image

from functa_store.decode.functaset import Functaset, Which, check_memory, chosen_examples, decode_chosen, opened
from functa_store.domains.cells import Region
from functa_store.errors import ConfigError, StorageError
from functa_store.store.storage.objects import Location
from functa_store.support.atomic_output import replacing
from functa_store.support.optional import require

MOST_PIXELS = {".gif": 65535, ".mp4": 16384}
"""Along an edge: what 16 bits hold, and what libx264 takes."""

FASTEST = {".gif": 100.0, ".mp4": 10_000.0}
"""Frames per second: a GIF counts hundredths of a second."""

SLOWEST = 1 / 600
"""Frames per second, or the 16 bits of a GIF's hundredths would overflow."""

_BYTES_PER_FRAME, _BYTES_PER_PIXEL = 1000, 40
"""Of frames that wait to be written: colours in float32, what they are scaled in, bytes, and Pillow's copies."""


def check_film(path: str | os.PathLike[str], frames: int, height: int, width: int, rate: float) -> None:
    """Refuse a film that `write_frames` could not write, before any of its frames is computed.

    Args:
        path: The file, ending in .gif or .mp4.
        frames: How many, at least 1.
        height: Rows of a frame.
        width: Columns of a frame.
        rate: Frames per second.

    Raises:
        ConfigError: If no such file can have frames of this size or at this rate.
        GridError: If the film does not fit into memory.
        MissingLibraryError: If PyAV, which an .mp4 needs, is not installed.
        StorageError: If there is no folder for the file, or a folder in its place.
    """
    name, path = os.fspath(path), Path(path)
    if (suffix := path.suffix.lower()) not in FASTEST:
        raise ConfigError(f"{name}: expected a name that ends in .gif or .mp4, found {suffix!r}")
    if max(height, width) > MOST_PIXELS[suffix]:
        raise ConfigError(
            f"{name}: a frame of {height} x {width} pixels is too large, expected at most {MOST_PIXELS[suffix]} along "
            f"an edge in {suffix}; lower the resolution"
        )
    if suffix == ".mp4" and (height % 2 or width % 2):
        raise ConfigError(f"{name}: an .mp4 needs an even number of rows and columns, got {height} x {width}")
    if not SLOWEST <= rate <= FASTEST[suffix]:
        raise ConfigError(
            f"{name}: {rate:g} frames per second, expected {SLOWEST:.2g} to {FASTEST[suffix]:g} in {suffix}; "
            "take another number of frames"
        )
    check_memory(1, 0, 0, beside=frames * (_BYTES_PER_FRAME + _BYTES_PER_PIXEL * height * width))
    if suffix == ".mp4":
        _av()
    if path.is_dir() or not path.parent.is_dir():
        found = "a folder" if path.is_dir() else f"no folder {path.parent}"
        raise StorageError(f"{name}: cannot be written: there is {found}; choose another name, or create the folder")


def write_frames(path: str | os.PathLike[str], frames: UInt8[np.ndarray, "t y x 3"], rate: float) -> None:
    """Write a film that has passed `check_film`.

    A GIF lasts as long as it should to within a hundredth of a second, its colours reduced to 256 in each frame.

    Args:
        path: The file, ending in .gif or .mp4.
        frames: sRGB.
        rate: Frames per second.

    Raises:
        MissingLibraryError: If PyAV, which an .mp4 needs, is not installed.
        StorageError: If the file cannot be written.
    """
    write = _write_gif if Path(path).suffix.lower() == ".gif" else _write_mp4
    try:
        with replacing(path) as part:
            write(part, frames, rate)
    except OSError as error:
        raise StorageError(f"{os.fspath(path)}: cannot be written: {error}") from error


def to_bytes(values: Shaped[np.ndarray, "*shape"], low: float = 0.0, high: float = 1.0) -> UInt8[np.ndarray, "*shape"]:
    """Values between black and white, both within their reach, as bytes."""
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def _write_gif(path: Path, frames: np.ndarray, rate: float) -> None:
    first, *others = map(Image.fromarray, frames)
    hundredths = np.diff(np.rint(np.arange(len(others) + 2) * (100 / rate)))
    durations = [10 * int(length) for length in hundredths]
    first.save(path, "GIF", save_all=True, append_images=others, duration=durations, loop=0)


def _write_mp4(path: Path, frames: np.ndarray, rate: float) -> None:
    av = _av()
    try:
        with open(path, "wb") as file, av.open(file, "w", format="mp4") as film:
            stream = film.add_stream("libx264", rate=fractions.Fraction(rate).limit_denominator(1000))
            stream.pix_fmt, (stream.height, stream.width) = "yuv420p", frames.shape[1:3]
            for frame in frames:
                film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            film.mux(stream.encode())
    except av.FFmpegError as error:
        raise OSError(str(error)) from error


def _av() -> Any:
    return require("av", extra="video", name="PyAV", otherwise="or write a .gif")


FRAMES_PER_SECOND = 10.0
"""Of a film whose archive does not say how long a clip lasts."""

AXES = ("t", "y", "x")


def write_film(
    functaset: Functaset | Location,
    index: Which,
    path: str | os.PathLike[str],
    resolution: int | Sequence[int] | None = None,
    region: Region | None = None,
    clip: bool = True,
) -> tuple[int, float]:
    """Write examples, one after the other, as one film.

    A clip lasts as long as it did in the archive: more frames run faster.

    Args:
        functaset: An open one, or where it is; video: axes t, y and x, and 1 or 3 channels.
        index: Which examples, in this order; see `Index`. Or modulations instead, an array of floats.
        path: The file, ending in .gif or .mp4.
        resolution: Frames, rows and columns inside the region; None keeps the archive's spacing.
        region: Per axis (low, high), in [0, 1]; None means all.
        clip: Clip the values; without it, the film spans black to white from the smallest to the largest.

    Returns:
        Frames, and frames per second.

    Raises:
        ConfigError: If the functaset holds no video or has other modulations, no example is chosen, the path ends in
            something else, or no such file can have frames of this size or at this rate.
        ExampleIndexError: If the index names no example.
        GridError: If resolution or region do not fit the domain, or the film does not fit into memory.
        MissingLibraryError: If PyAV, which an .mp4 needs, is not installed.
        StorageError: If the file cannot be written.
    """
    functaset = opened(functaset)
    _check(functaset)
    frames, height, width = functaset.domain.resolve(resolution, region)
    examples = chosen_examples(functaset, index)
    if not len(examples):
        raise ConfigError(f"{os.fspath(path)}: no examples were chosen, and a film needs a frame")
    rate = _frame_rate(functaset, frames, region)
    check_film(path, len(examples) * frames, height, width, rate)
    clips = decode_chosen(functaset, examples, resolution, region=region, clip=clip)
    values = clips.reshape(-1, *clips.shape[2:])
    write_frames(path, _pictures(values, functaset.features.value_range if clip else None), rate)
    return len(values), rate


def _check(functaset: Functaset) -> None:
    axes, channels = functaset.domain.axes, functaset.features.channels
    if axes != AXES or len(channels) not in (1, 3):
        raise ConfigError(
            f"{functaset.store.path}: found axes {axes} and channels {channels}, which are no video; expected axes "
            f"{AXES} and 1 or 3 channels"
        )


def _frame_rate(functaset: Functaset, frames: int, region: Region | None) -> float:
    """Frames per second at which a clip, or the part of it in the region, lasts as long as it did."""
    domain = functaset.domain
    low, high = (0.0, 1.0) if region is None else region[0]
    seconds = domain.lengths[0] if domain.units[0] == "s" else domain.resolution[0] / FRAMES_PER_SECOND
    lasts = seconds * (high - low)
    return frames / lasts if lasts > 0 else math.inf


def _pictures(
    values: Float32[np.ndarray, "t y x channel"], value_range: tuple[float, float] | None
) -> UInt8[np.ndarray, "t y x 3"]:
    low, high = value_range or (float(values.min()), float(values.max()))
    frames = to_bytes(values, low, high if high > low else low + 1)
    return np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames
