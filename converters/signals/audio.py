"""Converter of a folder, zip or tar of sound files.

Expected result: one example per window of every WAV and FLAC file, named "file.wav#3", amplitudes in [-1, 1].
Files are held out as a whole: as top-level folders named train, validation and test say, else every tenth file; of
fewer than ten files, the last tenth of the windows. Silent windows are rejects.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from converters.archives.archive import Archive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.archives.listing import has_suffix, not_wanted, nothing_to_convert
from converters.archives.many_archives import PACKED_SUFFIXES, open_archives, told_by
from converters.archives.memory_share import DECODED_BYTES, room
from converters.folders import FileGroups, group_by_files
from converters.signals.audio_files import (
    CHANNELS,
    DecodedSound,
    SoundOptions,
    WindowFormat,
    glance,
    read_sound,
    window_format,
)
from converters.survey import in_threads, noted, provenance_of, survey
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.domains.cells import CellGrid
from functa_store.errors import ArchiveError, MemberError
from functa_store.plugins import Converter, Preset
from functa_store.progress import Report, silent
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import Reject, Source, check_source
from functa_store.support.memory import LRUCache

# The others cannot be read, but become rejects and do not vanish.
SOUND_SUFFIXES = {".wav", ".wave", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aif", ".aiff"}

_VALUES_AT_ONCE = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Windows:
    """The windows of one file.

    Attributes:
        sounding: Those that can be learned from.
        silent: Peaks of the others, in decibels.
        notes: What of the file was read otherwise than its header says, in words.
        remarks: What else is odd about it.
    """

    sounding: Sequence[int]
    silent: Mapping[int, float]
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()


class AudioSource(Source):
    """The windows of an archive of sound files; see `functa_store.sources.source.Source`.

    Args:
        archive: Where the files are.
        options: What to make of each file.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more files cannot be read than `limits` allow.
        ArchiveError: If nothing is left to learn from.
    """

    def __init__(self, archive: Archive, options: SoundOptions, limits: SurveyOptions, report: Report) -> None:
        self._archive, self._options = archive, options
        files = [member for member in archive.members if has_suffix(member, SOUND_SUFFIXES)]
        if not files:
            expected = ".wav or .flac members"
            raise nothing_to_convert(archive.name, archive.members, "sound files", expected, archive.rejects)
        self.format = form = _first_format(archive, files, options)
        self._kept = LRUCache[DecodedSound](DECODED_BYTES, keeps_last=True)
        found, rejects = self._survey(files, limits, report)
        self._places = [(file, k) for file, windows in found.items() for k in windows.sounding][: limits.limit]
        self.rejects = [*rejects, *_silent(found, options), *([] if limits.limit else _no_sounds(archive))]
        seconds = form.samples / form.sample_rate
        self.domain = CellGrid(axes=("t",), resolution=(form.samples,), lengths=(seconds,), units=("s",))
        self.features = _amplitudes(CHANNELS[form.num_channels])
        self.ids = [f"{file}#{k}" for file, k in self._places]
        groups = self._groups([file for file, _ in self._places])
        self.split, self.labels = groups.split, groups.labels
        read_as = {**options.to_plain(), "hertz": form.sample_rate}
        decided = {"split": groups.rule, "labels_by": groups.labels_by}
        self.provenance = {
            "converter": "audio",
            **provenance_of(archive, limits, read_as, decided, self.rejects),
            **noted(
                archive.name,
                {file: windows.notes for file, windows in found.items()},
                {file: windows.remarks for file, windows in found.items()},
                report,
            ),
        }
        check_source(self)

    def read(self, index: int) -> Float32[np.ndarray, "t channel"]:
        """Amplitudes of one window, in [-1, 1]. Safe to call from threads.

        Raises:
            MemberError: If its file cannot be read any more.
        """
        file, k = self._places[index]
        try:
            with room():
                return _window(self._sound(file).samples, k, self.format.samples)
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{file}: {error}") from error

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        self._archive.check_unchanged()

    def _groups(self, places: Sequence[str]) -> FileGroups:
        """Split and labels of each window by its file."""
        return group_by_files(places, "file", "window", told_by(self._archive))

    def _survey(
        self, files: Sequence[str], limits: SurveyOptions, report: Report
    ) -> tuple[dict[str, _Windows], list[Reject]]:
        listed = [reject for reject in self._archive.rejects if has_suffix(reject.member, SOUND_SUFFIXES)]
        num_read = len(files[: limits.check_first])
        outcomes = in_threads(
            lambda k: self._inspect(files[k]) if k < num_read else self._glance(files[k]),
            len(files),
            lambda windows: len(windows.sounding),
        )
        made = survey(self._archive.name, "sound files", files, outcomes, len(files), limits, report, listed)
        return {files[k]: windows for k, windows in made.found.items()}, made.rejects

    def _sound(self, file: str) -> DecodedSound:
        return self._kept.get_or_make(
            file,
            lambda: read_sound(self._archive.read(file), self.format, self._options),
            lambda sound: sound.samples.nbytes,
        )

    def _inspect(self, file: str) -> _Windows:
        sound, notes, remarks = self._sound(file)
        peaks = _peaks(sound, self._count(len(sound)), self.format.samples)
        with np.errstate(divide="ignore"):
            decibels = 20 * np.log10(peaks)
        is_quiet = decibels < self._options.silence
        quiet = {int(k): float(decibels[k]) for k in np.flatnonzero(is_quiet)}
        return _Windows(sounding=np.flatnonzero(~is_quiet).tolist(), silent=quiet, notes=notes, remarks=remarks)

    def _glance(self, file: str) -> _Windows:
        length, notes = glance(self._archive.read(file), self.format, self._options)
        return _Windows(sounding=range(self._count(length)), silent={}, notes=notes)

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


def _peaks(sound: Float32[np.ndarray, "samples channel"], count: int, length: int) -> Float64[np.ndarray, " windows"]:
    """The largest amplitude of each of so many windows."""
    peaks, at_once = np.empty(count), max(1, _VALUES_AT_ONCE // (length * sound.shape[1]))
    for first in range(0, count, at_once):
        last = min(count, first + at_once)
        part = _window(sound, first, length) if last == first + 1 else sound[first * length : last * length]
        whole = np.pad(part, ((0, (last - first) * length - len(part)), (0, 0)))
        peaks[first:last] = np.abs(whole).reshape(last - first, -1).max(axis=1)
    return peaks


def _silent(found: Mapping[str, _Windows], options: SoundOptions) -> list[Reject]:
    """Silent windows; named, but no reason to stop."""
    mixed = " in the mean of its channels" if options.channels == "mono" else ""
    return [
        Reject(member=f"{file}#{k}", reason=f"is silent: its peak{mixed} is {peak:.0f} dB of full scale")
        for file, windows in found.items()
        for k, peak in windows.silent.items()
    ]


def _no_sounds(archive: Archive) -> list[Reject]:
    return not_wanted(archive.members, lambda m: has_suffix(m, SOUND_SUFFIXES), "is no sound file by its name")


def _amplitudes(channels: tuple[str, ...]) -> FeatureSpec:
    """Amplitudes in [-1, 1], learned as features in [0, 1]."""
    twice, less = (2.0,) * len(channels), (-1.0,) * len(channels)
    return FeatureSpec(channels=channels, scale=0.5, offset=0.5, value_scale=twice, value_offset=less)


# Along one axis of [0, 1] the first layer of a SIREN starts with up to w0 / (2 pi) cycles, and sounds have many: a
# voice of 200 Hz makes 13 in 64 ms, its harmonics hundreds. From 100 on learning does not find its way;
# docs/benchmarks/signals.md has the sweep (`python -m benchmarks.signals audio --sweep`).
AUDIO_FAST = Preset(
    summary="windows of 64 ms of speech at the rate of the files, best of 8 or 16 kHz; not for noise",
    config=ConvertConfig(preset="audio-fast", network=NetworkConfig(width=128, depth=4, w0=60.0, modulation_dim=128)),
    source={"seconds": 0.064},
)

AUDIO_PRESETS = {"audio-fast": AUDIO_FAST}


def open_audio(path: AnyArchive, *, report: Report = silent, **options: Any) -> AudioSource:
    """A source over the windows of sound files.

    Args:
        path: A folder, zip or tar of WAV or FLAC files, or one such file; or a pattern or list of several.
        report: Told how far the survey is.
        **options: Fields of `SoundOptions` and `SurveyOptions`, such as `seconds=0.064` and `limit=100`.

    Returns:
        The source, every file read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    return converter.open(path, *split_options(SoundOptions, options), report)


@names_the_right_converter("audio")
def _open(files: ArchiveFiles, options: SoundOptions, survey: SurveyOptions, report: Report) -> AudioSource:
    return AudioSource(open_archives(files, SOUND_SUFFIXES), options, survey, report)


converter = Converter(
    summary="any folder, zip or tar of WAV or FLAC files, in windows of equal length",
    options=SoundOptions,
    presets=AUDIO_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=PACKED_SUFFIXES, remote=True),
)
