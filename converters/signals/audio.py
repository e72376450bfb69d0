"""Converter of a folder, zip or tar of sound files.

Expected result: one example per window of every WAV and FLAC file, named "file.wav#3", amplitudes in [-1, 1].
Files are held out as a whole: as top-level folders named train, validation and test say, else every tenth file; of
fewer than ten files, the last tenth of the windows. Silent windows are rejects.
"""

import os
from typing import Any

from converters.archives.archive import open_archive_or_file
from converters.signals.audio_files import SoundOptions
from converters.signals.audio_source import SOUND_SUFFIXES, AudioSource
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.plugins import Converter, Preset
from functa_store.progress import Report, silent
from functa_store.sources.options import SurveyOptions, split_options

# Along one axis of [0, 1] the first layer of a SIREN starts with up to w0 / (2 pi) cycles, and sounds have many: a
# voice of 200 Hz makes 13 in 64 ms, its harmonics hundreds. From 100 on learning does not find its way;
# docs/benchmarks/signals.md has the sweep (`python -m benchmarks.signals audio --sweep`).
AUDIO_FAST = Preset(
    summary="windows of 64 ms of speech at the rate of the files, best of 8 or 16 kHz; not for noise",
    config=ConvertConfig(preset="audio-fast", network=NetworkConfig(width=128, depth=4, w0=60.0, modulation_dim=128)),
    source={"seconds": 0.064},
)

AUDIO_PRESETS = {"audio-fast": AUDIO_FAST}


def open_audio(path: str | os.PathLike[str], *, report: Report = silent, **options: Any) -> AudioSource:
    """A source over the windows of sound files.

    Args:
        path: A folder, zip or tar of WAV or FLAC files, or one such file.
        report: Told how far the survey is.
        **options: Fields of `SoundOptions` and `SurveyOptions`, such as `seconds=0.064` and `limit=100`.

    Returns:
        The source, every file read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    return _open(path, *split_options(SoundOptions, options), report)


def _open(path: str | os.PathLike[str], options: SoundOptions, survey: SurveyOptions, report: Report) -> AudioSource:
    return AudioSource(open_archive_or_file(path, SOUND_SUFFIXES), options, survey, report)


converter = Converter(
    summary="any folder, zip or tar of WAV or FLAC files, in windows of equal length",
    options=SoundOptions,
    presets=AUDIO_PRESETS,
    open=_open,
)
