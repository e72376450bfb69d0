"""Converter of clips: folders of frames, films and arrays.

Expected result: one example (t, y, x) per so many frames of every clip, named "clip#0", "clip#1" and so on; a clip is
a folder of image files, a film (.gif, .mp4 and the like) or an .npy array. Clips are held out as a whole: as top-level
folders named train, validation and test say, else every tenth clip; of fewer than ten clips, the last tenth of the
examples.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from converters.archives.archive import Archive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.archives.listing import not_wanted
from converters.archives.many_archives import PACKED_SUFFIXES, open_archives, told_by
from converters.archives.memory_share import room
from converters.folders import group_by_files
from converters.images.image_files import CHANNELS
from converters.signals.video_clips import CLIP_SUFFIXES, ClipFacts, VideoOptions, is_clip_or_frame, list_clips
from converters.survey import in_threads, noted, provenance_of, survey
from functa_store.config import ConvertConfig, NetworkConfig, overlaid
from functa_store.domains.cells import CellGrid
from functa_store.errors import MemberError
from functa_store.plugins import Converter, Preset
from functa_store.progress import Report, silent
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import (
    Reject,
    Source,
    check_rejects,
    check_source,
)

_ALIKE = 0.01
NO_CLIP = "is neither a frame nor a film by its name"


class _Timed(NamedTuple):
    """Clips at one rate.

    Attributes:
        rate: Frames per second, if it is known.
        shown: Of each clip that can be used, which of its frames make up its examples.
        notes: What was made of some of them, in words.
        remarks: What is odd about some of them, in words.
        rejects: Why the others cannot be used.
    """

    rate: float | int | None
    shown: dict[str, Sequence[int]]
    notes: dict[str, Sequence[str]]
    remarks: dict[str, Sequence[str]]
    rejects: list[Reject]


class VideoSource(Source):
    """The clips of an archive; see `functa_store.sources.source.Source`.

    Args:
        archive: Where the clips are.
        options: What to make of each clip.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more clips cannot be read than `limits` allow.
        ArchiveError: If nothing is left to learn from.
    """

    def __init__(self, archive: Archive, options: VideoOptions, limits: SurveyOptions, report: Report) -> None:
        self._archive, self._name, self._options = archive, archive.name, options
        self._clips, left_out, notes = list_clips(archive, options)
        timed, rejects = self._survey(archive, limits, report)
        self._shown = timed.shown
        self._places = [(clip, k) for clip, shown in timed.shown.items() for k in range(len(shown) // options.frames)]
        self._places = self._places[: limits.limit]
        self.rejects = rejects
        if limits.limit is None:
            self.rejects += [*left_out, *not_wanted(archive.members, is_clip_or_frame, NO_CLIP)]
        self.domain = _grid(options, timed.rate)
        self.features = FeatureSpec(channels=CHANNELS[options.mode], scale=1 / 255)
        self.ids = [f"{clip}#{k}" for clip, k in self._places]
        groups = group_by_files([clip for clip, _ in self._places], "clip", "example", told_by(archive))
        self.split, self.labels = groups.split, groups.labels
        decided = {"split": groups.rule, "labels_by": groups.labels_by}
        self.provenance = {
            "converter": "video",
            **provenance_of(archive, limits, options.to_plain(), decided, self.rejects),
            **noted(archive.name, {**notes, **timed.notes}, timed.remarks, report),
        }
        check_source(self)

    def read(self, index: int) -> UInt8[np.ndarray, "t y x channel"]:
        """Pixels of one example, 0 to 255. Safe to call from threads.

        Raises:
            MemberError: If its clip cannot be read any more.
        """
        clip, k = self._places[index]
        frames = self._options.frames
        try:
            with room():
                return self._clips[clip].read(self._shown[clip][k * frames : (k + 1) * frames])
        except MemberError as error:
            raise MemberError(f"{self._name}/{clip}: {error}") from error

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        self._archive.check_unchanged()

    def _survey(self, archive: Archive, limits: SurveyOptions, report: Report) -> tuple[_Timed, list[Reject]]:
        """The clips that can be used, at one rate, and why the others cannot."""
        names, frames = list(self._clips), self._options.frames
        listed = [reject for reject in archive.rejects if is_clip_or_frame(reject.member)]
        num_read = len(names[: limits.check_first])

        def inspect(k: int) -> ClipFacts:
            clip = self._clips[names[k]]
            facts = clip.inspect() if k < num_read else clip.glance()
            if facts.uneven is None:
                _check_length(facts.length, frames)
            return facts

        outcomes = in_threads(inspect, len(names), lambda facts: facts.length // frames)
        made = survey(archive.name, "clips", names, outcomes, len(names), limits, report, listed)
        timed = _of_one_rate({names[k]: facts for k, facts in made.found.items()}, self._options)
        rejects = [*made.rejects, *timed.rejects]
        check_rejects(archive.name, "clips", rejects, len(names) + len(listed), limits.max_rejects)
        return timed, rejects


def _check_length(length: int, frames: int) -> None:
    if length < frames:
        raise MemberError(f"has {length} frames, fewer than the {frames} of an example (--frames)")


def _of_one_rate(found: Mapping[str, ClipFacts], options: VideoOptions) -> _Timed:
    """The clips that have the rate of the first film, do not say theirs, or are sampled at it."""
    rates = [facts.fps for facts in sorted(found.values(), key=lambda f: f.uneven is not None) if facts.fps is not None]
    rate = options.fps if options.fps is not None else next(iter(rates), None)
    timed = _Timed(rate, {}, {}, {}, [])
    for clip, facts in found.items():
        try:
            shown, note = _at_rate(facts, rate, options)
        except MemberError as error:
            timed.rejects.append(Reject(member=clip, reason=str(error)))
        else:
            timed.shown[clip], timed.remarks[clip] = shown, facts.remarks
            if note is not None:
                timed.notes[clip] = [note]
    return timed


def _at_rate(facts: ClipFacts, rate: float | int | None, options: VideoOptions) -> tuple[Sequence[int], str | None]:
    """Which frames of a clip make up its examples at a rate, and what was made of it; MemberError if none do."""
    if facts.uneven is not None and rate is not None:
        shown = facts.uneven.shown(rate)
        _check_length(len(shown), options.frames)
        return shown.tolist(), facts.uneven.sampled(shown, rate)
    if options.fps is None and rate is not None and facts.fps is not None and abs(facts.fps / rate - 1) >= _ALIKE:
        raise MemberError(
            f"has {facts.fps:g} frames per second, but the first film has {rate:g}; --fps takes all as they are"
        )
    return range(facts.length), None


def _grid(options: VideoOptions, rate: float | int | None) -> CellGrid:
    """Seconds along the time, if it is known how many frames one has."""
    length, unit = (1.0, "1") if rate is None else (options.frames / rate, "s")
    return CellGrid(
        axes=("t", "y", "x"),
        resolution=(options.frames, options.resolution, options.resolution),
        lengths=(length, 1.0, 1.0),
        units=(unit, "1", "1"),
    )


# docs/benchmarks/signals.md has the sweep (`python -m benchmarks.signals video --sweep`), which cannot tell w0
# from 20 to 30 apart.
VIDEO_FAST = Preset(
    summary="clips of 16 frames at 32x32; shapes, not textures",
    config=ConvertConfig(preset="video-fast", network=NetworkConfig(w0=20.0, modulation_dim=256)),
    source={"frames": 16, "resolution": 32},
)

# As many numbers in cells: 26.7 dB where one vector has 25.7 after six times as many updates. A bias per cell keeps
# what stands still in films of one camera; docs/benchmarks/signals.md, "Clips in grids".
VIDEO_SPATIAL = Preset(
    summary="clips of 16 frames at 32x32 as 4x4 cells of 16 numbers: ten minutes of learning on a CPU core",
    config=overlaid(
        VIDEO_FAST.config,
        {
            "preset": "video-spatial",
            "network": {
                "modulation": "spatial",
                "modulation_grid": (1, 4, 4),
                "modulation_dim": 16,
                "map_bias": "per_cell",
            },
            "outer": {"num_steps": 600, "num_points": 1024, "learning_rate": 1e-3, "map_learning_rate": 4e-3},
            "fit": {"num_steps": 9, "stride": 2, "tuning_steps": 15},
        },
    ),
    source=VIDEO_FAST.source,
)

VIDEO_PRESETS = {"video-spatial": VIDEO_SPATIAL, "video-fast": VIDEO_FAST}


def open_video(path: AnyArchive, *, report: Report = silent, **options: Any) -> VideoSource:
    """A source over the clips of an archive.

    Args:
        path: A folder, zip or tar of folders of frames, of films or of .npy arrays; or one film; or one .npy array
            (t, y, x, channels) or (clips, t, y, x, channels), which is not read into memory.
        report: Told how far the survey is.
        **options: Fields of `VideoOptions` and `SurveyOptions`, such as `frames=8` and `limit=100`.

    Returns:
        The source, every frame read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    return converter.open(path, *split_options(VideoOptions, options), report)


@names_the_right_converter("video")
def _open(files: ArchiveFiles, options: VideoOptions, survey: SurveyOptions, report: Report) -> VideoSource:
    return VideoSource(open_archives(files, CLIP_SUFFIXES), options, survey, report)


converter = Converter(
    summary="clips: folders of frames, .gif, .mp4 or .npy files, as (t, y, x)",
    options=VideoOptions,
    presets=VIDEO_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=PACKED_SUFFIXES, remote=True),
)
