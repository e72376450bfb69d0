"""How do examples of video become a film, at any resolution?"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError, MissingLibraryError, StorageError
from functa_store.grids import Region
from functa_store.store.positions import Index, as_array, places_of

SUFFIXES = (".gif", ".mp4")
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
        ConfigError: If the functaset holds no video, the path ends in something else, no example is chosen, or an
            .mp4 cannot have the size.
        ExampleIndexError: If the index names no example.
        GridError: If resolution or region do not fit the domain, or the clip does not fit into memory.
        MissingLibraryError: If imageio, or PyAV for an .mp4, is not installed.
        StorageError: If the file cannot be written.
    """
    _check(functaset, path)
    shape = functaset.domain.resolve(resolution, region)
    film, fps = Path(path).suffix.lower() == ".mp4", _frame_rate(functaset, shape[0], region)
    if film and any(side % 2 for side in shape[1:]):
        raise ConfigError(f"{os.fspath(path)}: an .mp4 needs an even number of rows and columns, got {shape[1:]}")
    examples = as_array(places_of(functaset.store.path, index, len(functaset)))
    if not len(examples):
        raise ConfigError(f"{os.fspath(path)}: no examples were chosen, and a film needs a frame")
    clips = [functaset.decode(int(example), resolution=resolution, region=region, clip=clip)[0] for example in examples]
    values = np.concatenate(clips)
    _write(path, _to_bytes(values, functaset.features.value_range if clip else None), fps, film)
    return len(values), fps


def _check(functaset: Functaset, path: str | os.PathLike[str]) -> None:
    if (suffix := Path(path).suffix.lower()) not in SUFFIXES:
        raise ConfigError(f"{os.fspath(path)}: expected a name that ends in .gif or .mp4, found {suffix!r}")
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
    return frames / (seconds * (high - low))


def _to_bytes(
    values: Float32[np.ndarray, "t y x channel"], value_range: tuple[float, float] | None
) -> UInt8[np.ndarray, "t y x channel"]:
    low, high = value_range or (float(values.min(initial=0)), float(values.max(initial=1)))
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def _write(path: str | os.PathLike[str], frames: UInt8[np.ndarray, "t y x channel"], fps: float, film: bool) -> None:
    try:
        import imageio.v3 as iio
    except ImportError as error:
        raise MissingLibraryError("imageio is not installed; run pip install 'functa-store[video]'") from error
    colours = np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames
    options: dict[str, Any] = {"plugin": "pillow", "duration": 1000 / fps, "loop": 0}
    if film:
        options = {"plugin": "pyav", "codec": "libx264", "fps": float(fps)}
    try:
        iio.imwrite(Path(path), colours, **options)
    except ImportError as error:
        raise MissingLibraryError("PyAV is not installed; run pip install 'functa-store[video]'") from error
    except OSError as error:
        raise StorageError(f"{os.fspath(path)}: cannot be written: {error}") from error
