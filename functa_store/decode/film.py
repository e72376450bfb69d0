"""How do examples of video become a film, at any resolution?"""

import math
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from functa_store.decode.frames import check_film, to_bytes, write_frames
from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.grids import Region
from functa_store.store.positions import Index, as_array, places_of

FRAMES_PER_SECOND = 10.0
"""Of a film whose archive does not say how long a clip lasts."""

AXES = ("t", "y", "x")


def write_film(
    functaset: Functaset,
    index: Index,
    path: str | os.PathLike[str],
    resolution: int | Sequence[int] | None = None,
    region: Region | None = None,
    clip: bool = True,
) -> tuple[int, float]:
    """Write examples, one after the other, as one film.

    A clip lasts as long as it did in the archive: more frames run faster.

    Args:
        functaset: Video: axes t, y and x, and 1 or 3 channels.
        index: Which examples, in this order; see `Index`.
        path: The file, ending in .gif or .mp4.
        resolution: Frames, rows and columns inside the region; None keeps the archive's spacing.
        region: Per axis (low, high), in [0, 1]; None means all.
        clip: Clip the values; without it, the film spans black to white from the smallest to the largest.

    Returns:
        Frames, and frames per second.

    Raises:
        ConfigError: If the functaset holds no video, no example is chosen, the path ends in something else, or no
            such file can have frames of this size or at this rate.
        ExampleIndexError: If the index names no example.
        GridError: If resolution or region do not fit the domain, or the film does not fit into memory.
        MissingLibraryError: If PyAV, which an .mp4 needs, is not installed.
        StorageError: If the file cannot be written.
    """
    _check(functaset)
    frames, height, width = functaset.domain.resolve(resolution, region)
    examples = as_array(places_of(functaset.store.path, index, len(functaset)))
    if not len(examples):
        raise ConfigError(f"{os.fspath(path)}: no examples were chosen, and a film needs a frame")
    rate = _frame_rate(functaset, frames, region)
    check_film(path, len(examples) * frames, height, width, rate)
    clips = functaset.decode(examples, resolution=resolution, region=region, clip=clip)
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
    if getattr(domain, "units", AXES)[0] == "s":
        seconds = getattr(domain, "lengths", (1.0,))[0]
    else:
        seconds = domain.resolution[0] / FRAMES_PER_SECOND
    lasts = seconds * (high - low)
    return frames / lasts if lasts > 0 else math.inf


def _pictures(
    values: Float32[np.ndarray, "t y x channel"], value_range: tuple[float, float] | None
) -> UInt8[np.ndarray, "t y x 3"]:
    low, high = value_range or (float(values.min()), float(values.max()))
    frames = to_bytes(values, low, high if high > low else low + 1)
    return np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames
