"""How is a folder, zip or tar of sound files converted?

Expected result: one example per window of every WAV and FLAC file, named "file.wav#3", amplitudes in [-1, 1].
Files are held out as a whole: as top-level folders named train, validation and test say, else every tenth file; of
fewer than ten files, the last tenth of the windows. Silent windows are rejects.
"""

import argparse
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from converters.archives import Archive
from converters.audio_files import CHANNELS, MIXES, SoundOptions, WindowFormat, glance, read_sound, window_format
from converters.audio_presets import AUDIO_PRESETS
from converters.groups import group_labels, group_split
from converters.kept import Kept
from converters.member_survey import Survey, has_suffix, nothing_to_convert
from converters.one_file import open_archive_or_file
from converters.survey import SurveyOptions
from functa_store.domains import Domain
from functa_store.errors import ArchiveError, MemberError
from functa_store.grids import CellGrid
from functa_store.progress import Report, silent
from functa_store.sources import FeatureSpec, Label, Reject, check_source

# The others cannot be read, but become rejects and do not vanish.
SOUND_SUFFIXES = {".wav", ".wave", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aif", ".aiff"}


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
) -> "AudioSource":
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Windows:
    """The windows of one file: which can be learned from, and the peaks, in decibels, of those that are silent."""

    sounding: Sequence[int]
    silent: Mapping[int, float]


class AudioSource:
    """The windows of an archive of sound files; see `functa_store.sources.Source`.

    Args:
        archive: Where the files are.
        options: What to make of each file.
        survey: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more files cannot be read than `survey` allows.
        ArchiveError: If nothing is left to learn from.
    """

    domain: Domain
    ids: Sequence[str]
    labels: Mapping[str, Label]
    rejects: Sequence[Reject]
    provenance: Mapping[str, Any]

    def __init__(self, archive: Archive, options: SoundOptions, survey: SurveyOptions, report: Report) -> None:
        self._archive, self._options = archive, options
        files = [member for member in archive.members if has_suffix(member, SOUND_SUFFIXES)]
        if not files:
            raise nothing_to_convert(archive.name, archive.members, "sound files", ".wav or .flac members")
        self.format = form = _first_format(archive, files, options)
        self._kept = Kept()
        inspection = Survey[_Windows](
            name=archive.name,
            kind="sound files",
            inspect=self._inspect,
            glance=self._glance,
            count=lambda windows: len(windows.sounding),
        )
        listed = [reject for reject in archive.rejects if has_suffix(reject.member, SOUND_SUFFIXES)]
        found, rejects = inspection.run(files, listed, survey, report)
        self._places = [(file, k) for file, windows in found.items() for k in windows.sounding][: survey.limit]
        self.rejects = [*rejects, *_silent(found), *([] if survey.limit else _no_sounds(archive))]
        seconds = form.samples / form.sample_rate
        self.domain = CellGrid(axes=("t",), resolution=(form.samples,), lengths=(seconds,), units=("s",))
        names = CHANNELS[form.num_channels]
        self.features = FeatureSpec(
            channels=names,
            scale=0.5,
            offset=0.5,
            value_scale=(2.0,) * len(names),
            value_offset=(-1.0,) * len(names),
        )
        self.ids = [f"{file}#{k}" for file, k in self._places]
        places = [file for file, _ in self._places]
        self.split, rule = group_split(places, "file", "window")
        self.labels = group_labels(places, "file")
        self.provenance = {
            "converter": "audio",
            "archive": archive.name,
            "sha256": archive.sha256() if survey.check_first is None else None,
            **dataclasses.asdict(options),
            "pad": options.pad or None,
            "hertz": form.sample_rate,
            "limit": survey.limit,
            "split": rule,
            "rejects": len(self.rejects),
        }
        check_source(self)

    def read(self, index: int) -> Float32[np.ndarray, "t channel"]:
        """Amplitudes of one window, in [-1, 1]. Safe to call from threads.

        Raises:
            MemberError: If its file cannot be read any more.
        """
        file, k = self._places[index]
        try:
            return _window(self._sound(file), k, self.format.samples)
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{file}: {error}") from error

    def _sound(self, file: str) -> Float32[np.ndarray, "samples channel"]:
        return self._kept.get(file, lambda: read_sound(self._archive.read(file), self.format, self._options))

    def _inspect(self, file: str) -> _Windows:
        sound = self._sound(file)
        count, quiet = self._count(len(sound)), {}
        for k in range(count):
            peak = float(np.abs(_window(sound, k, self.format.samples)).max())
            decibels = -np.inf if peak == 0 else 20 * np.log10(peak)
            if decibels < self._options.silence:
                quiet[k] = decibels
        return _Windows(sounding=[k for k in range(count) if k not in quiet], silent=quiet)

    def _glance(self, file: str) -> _Windows:
        length = glance(self._archive.read(file), self.format, self._options)
        return _Windows(sounding=range(self._count(length)), silent={})

    def _count(self, length: int) -> int:
        window = self.format.samples
        count = -(-length // window) if self._options.pad else length // window
        if count == 0:
            raise MemberError(f"has {length} samples, less than one window of {window}; --pad fills it up with zeros")
        return count


def _first_format(archive: Archive, files: Sequence[str], options: SoundOptions) -> WindowFormat:
    """The format that the first file with a sample decides."""
    reasons = []
    for file in files:
        try:
            return window_format(archive.read(file), options)
        except MemberError as error:
            reasons.append(f"{file} {error}")
    raise ArchiveError(f"{archive.name}: none of {len(files)} sound files can be read: {'; '.join(reasons[:5])}")


def _window(sound: Float32[np.ndarray, "samples channel"], k: int, length: int) -> Float32[np.ndarray, "t channel"]:
    """A copy, since who keeps it shall not keep the whole file."""
    window = sound[k * length : (k + 1) * length]
    return np.pad(window, ((0, length - len(window)), (0, 0)))


def _silent(found: Mapping[str, _Windows]) -> list[Reject]:
    """Silent windows; named, but no reason to stop."""
    return [
        Reject(member=f"{file}#{k}", reason=f"is silent: its peak is {peak:.0f} dB of full scale")
        for file, windows in found.items()
        for k, peak in windows.silent.items()
    ]


def _no_sounds(archive: Archive) -> list[Reject]:
    others = [member for member in archive.members if not has_suffix(member, SOUND_SUFFIXES)]
    return [Reject(member=member, reason="is no sound file by its name") for member in others]


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
