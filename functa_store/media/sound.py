"""Windows of sound as .wav and .flac files, at any sample rate."""

import os
from pathlib import Path

import numpy as np

from functa_store.decode.functaset import Functaset, Which, chosen_examples, decode_chosen, opened
from functa_store.errors import ConfigError, StorageError
from functa_store.store.storage.objects import Location
from functa_store.support.atomic_output import replacing
from functa_store.support.optional import require

SUFFIXES = (".wav", ".flac")
SUBTYPE = "PCM_16"
HIGHEST_RATE = 2**31 - 1


def write_sound(
    functaset: Functaset | Location, index: Which, path: str | os.PathLike[str], sample_rate: int | None = None
) -> tuple[int, int]:
    """Write examples, one after the other, as one sound file of 16 bits per sample.

    Each lasts as long as its window did in the archive, whatever the sample rate.

    Args:
        functaset: An open one, or where it is; sounds: one axis `t`, of a length in seconds, and one or two channels of
            amplitudes in [-1, 1].
        index: Which examples, in this order; see `Index`. Or modulations instead, an array of floats.
        path: The file, ending in .wav or .flac.
        sample_rate: In Hz; None keeps the archive's.

    Returns:
        Samples per channel, and the sample rate.

    Raises:
        ConfigError: If the functaset holds no sound or has other modulations, the path ends in something else, or the
            rate makes no sense.
        ExampleIndexError: If the index names no example.
        MissingLibraryError: If soundfile is not installed.
        StorageError: If the file cannot be written.
    """
    functaset = opened(functaset)
    seconds = _check(functaset, path)
    rate = round(functaset.domain.num_points / seconds) if sample_rate is None else sample_rate
    if not 1 <= rate <= HIGHEST_RATE or rate * seconds < 1:
        raise ConfigError(
            f"the sample rate must be at most {HIGHEST_RATE} Hz and give a sample or more in {seconds} s, got {rate}"
        )
    soundfile = require("soundfile", extra="audio")
    examples = chosen_examples(functaset, index)
    # A window may end between two samples; rounding each by itself would drift from the time of the whole.
    edges = np.rint(np.arange(len(examples) + 1) * (rate * seconds)).astype(np.int64)
    try:
        with (
            replacing(path) as part,
            soundfile.SoundFile(part, "w", rate, functaset.features.num_channels, SUBTYPE) as file,
        ):
            for i, samples in enumerate(np.diff(edges)):
                file.write(decode_chosen(functaset, examples[i : i + 1], int(samples))[0])
    except StorageError:  # of what is read
        raise
    except (OSError, soundfile.SoundFileError) as error:
        raise StorageError(f"{os.fspath(path)}: cannot be written: {error}") from error
    return int(edges[-1]), rate


def _check(functaset: Functaset, path: str | os.PathLike[str]) -> float:
    """Length of an example in seconds."""
    if (suffix := Path(path).suffix.lower()) not in SUFFIXES:
        raise ConfigError(f"{os.fspath(path)}: expected a name that ends in .wav or .flac, found {suffix!r}")
    domain, features = functaset.domain, functaset.features
    low, high = features.value_range
    if domain.axes != ("t",) or domain.units != ("s",) or features.num_channels > 2 or low < -1 or high > 1:
        raise ConfigError(
            f"{functaset.store.path}: found axes {domain.axes} in {domain.units} with channels {features.channels} in "
            f"[{low:g}, {high:g}], which is no sound; expected an axis t in seconds and 1 or 2 channels in [-1, 1]"
        )
    return float(domain.lengths[0])
