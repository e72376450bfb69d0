"""Converter of a folder, zip or tar of sound files.

Expected result: one example per window of every WAV and FLAC file, named "file.wav#3", amplitudes in [-1, 1].
Files are held out as a whole: as top-level folders named train, validation and test say, else every tenth file; of
fewer than ten files, the last tenth of the windows. Silent windows are rejects.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from converters.archives.archive import open_archive_or_file
from converters.signals.audio_files import MIXES, SoundOptions
from converters.signals.audio_source import SOUND_SUFFIXES, AudioSource
from converters.survey import SurveyOptions
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.plugins import Preset
from functa_store.progress import Report, silent

# Along one axis of [0, 1] the first layer of a SIREN starts with up to w0 / (2 pi) cycles, and sounds have many: a
# voice of 200 Hz makes 13 in 64 ms, its harmonics hundreds. From 100 on learning does not find its way;
# docs/how-to/convert-audio-video.md has the sweep (`python -m benchmarks.signals audio --sweep`).
AUDIO_FAST = Preset(
    summary="windows of 64 ms of speech at the rate of the files, best of 8 or 16 kHz; not for noise",
    config=ConvertConfig(preset="audio-fast", network=NetworkConfig(width=128, depth=4, w0=60.0, modulation_dim=128)),
    source={"seconds": 0.064},
)

AUDIO_PRESETS = {"audio-fast": AUDIO_FAST}


def open_audio(
    path: str | os.PathLike[str],
    *,
    seconds: float | int | None = None,
    samples: int | None = None,
    sample_rate: int | None = None,
    channels: str = "mono",
    pad: bool | str = False,
    silence: float | int = SoundOptions.silence,
    limit: int | None = None,
    max_rejects: float = 0.01,
    check_first: int | None = None,
    report: Report = silent,
) -> AudioSource:
    """A source over the windows of sound files.

    Args:
        path: A folder, zip or tar of WAV or FLAC files, or one such file.
        seconds: Length of a window; `samples` counts if it is given, too.
        samples: Length of a window at the examples' sample rate.
        sample_rate: Resample to this many Hz; None takes the first file's rate and rejects others.
        channels: "mono", "stereo" or "keep"; see `SoundOptions`.
        pad: Fill the last window of a file up with zeros.
        silence: Peak below which a window is a reject, in decibels of full scale.
        limit: Windows at most, the first ones in sorted order of their files.
        max_rejects: Fraction of the files that may be unreadable.
        check_first: Files to read now, for a dry run, which looks at no more than the headers of the others.
        report: Told how far the survey is.

    Returns:
        The source, every file read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    options = SoundOptions(
        seconds=None if samples else seconds,
        samples=samples,
        sample_rate=sample_rate,
        channels=channels,
        pad=bool(pad),
        silence=silence,
    )
    survey = SurveyOptions(limit=limit, max_rejects=max_rejects, check_first=check_first)
    return AudioSource(open_archive_or_file(path, SOUND_SUFFIXES), options, survey, report)


class AudioConverter:
    """Converts sound files; see `functa_store.plugins.Converter`."""

    summary = "any folder, zip or tar of WAV or FLAC files, in windows of equal length"
    presets = AUDIO_PRESETS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has."""
        length = parser.add_mutually_exclusive_group()
        length.add_argument("--seconds", type=float, metavar="S", help="length of a window")
        length.add_argument("--samples", type=int, metavar="N", help="length of a window instead")
        parser.add_argument(
            "--sample-rate", type=int, metavar="HZ", help="resample to this (default: the first file's; others reject)"
        )
        parser.add_argument("--channels", choices=MIXES, help="(default: mono)")
        parser.add_argument(
            "--pad", action="store_true", default=None, help="fill up a file's last window (default: drop it)"
        )
        parser.add_argument("--silence", type=float, metavar="DB", help="reject windows of a lower peak (default: -60)")

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> AudioSource:
        """The source that the options describe; see `open_audio`."""
        return open_audio(archive, report=report, **{k: v for k, v in options.items() if v is not None})


converter = AudioConverter()
