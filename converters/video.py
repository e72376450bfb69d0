"""How are clips converted: folders of frames, films and arrays?

Expected result: one example (t, y, x) per so many frames of every clip, named "clip#0", "clip#1" and so on; a clip is
a folder of image files, a film (.gif, .mp4 and the like) or an .npy array. Clips are held out as a whole: as top-level
folders named train, validation and test say, else every tenth clip; of fewer than ten clips, the last tenth of the
examples.
"""

import argparse
import dataclasses
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from converters.archives import Archive
from converters.groups import group_labels, group_split
from converters.image_files import CHANNELS
from converters.kept import Kept
from converters.member_survey import Survey, has_suffix, nothing_to_convert
from converters.one_file import OneFile, open_archive_or_file
from converters.survey import IMAGE_SUFFIXES, SurveyOptions
from converters.video_frames import ARRAY_SUFFIXES, FILM_SUFFIXES, ArrayClip, Clip, FilmFile, FrameFolder, VideoOptions
from converters.video_presets import VIDEO_PRESETS
from functa_store.domains import Domain
from functa_store.errors import ArchiveError, MemberError
from functa_store.grids import CellGrid
from functa_store.progress import Report, silent
from functa_store.sources import FeatureSpec, Label, Reject, check_source

_SUFFIXES = FILM_SUFFIXES | ARRAY_SUFFIXES
_FRAME_SUFFIXES = IMAGE_SUFFIXES - FILM_SUFFIXES


def open_video(
    path: str | os.PathLike[str],
    *,
    frames: int = VideoOptions.frames,
    resolution: int = VideoOptions.resolution,
    mode: str = "rgb",
    fps: float | int | None = None,
    limit: int | None = None,
    max_rejects: float = 0.01,
    check_first: int | None = None,
    report: Report = silent,
) -> "VideoSource":
    """A source over the clips of an archive.

    Args:
        path: A folder, zip or tar of folders of frames, of films or of .npy arrays; or one film; or one .npy array
            (t, y, x, channels) or (clips, t, y, x, channels), which is not read into memory.
        frames: Frames per example.
        resolution: Pixels per side of every frame.
        mode: "rgb" or "grey".
        fps: Frames per second; None takes what the films say.
        limit: Examples at most, the first ones in sorted order of their clips.
        max_rejects: Fraction of the clips that may be unreadable.
        check_first: Clips to read now, for a dry run.
        report: Told how far the survey is.

    Returns:
        The source, every frame read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    options = VideoOptions(frames=frames, resolution=resolution, mode=mode, fps=fps)
    survey = SurveyOptions(limit=limit, max_rejects=max_rejects, check_first=check_first)
    return VideoSource(open_archive_or_file(path, _SUFFIXES), os.fspath(path), options, survey, report)


class VideoSource:
    """The clips of an archive; see `functa_store.sources.Source`.

    Args:
        archive: Where the clips are.
        path: Its path, for an array that is mapped.
        options: What to make of each clip.
        survey: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more clips cannot be read than `survey` allows.
        ArchiveError: If nothing is left to learn from.
    """

    domain: Domain
    ids: Sequence[str]
    labels: Mapping[str, Label]
    rejects: Sequence[Reject]
    provenance: Mapping[str, Any]

    def __init__(
        self, archive: Archive, path: str, options: VideoOptions, survey: SurveyOptions, report: Report
    ) -> None:
        self._name, self._options = archive.name, options
        self._clips = _list_clips(archive, path, options)
        inspection = Survey[tuple[int, float | None]](
            name=archive.name,
            kind="clips",
            inspect=lambda clip: self._long_enough(*self._clips[clip].inspect()),
            glance=lambda clip: self._long_enough(*self._clips[clip].glance()),
            count=lambda found: found[0] // options.frames,
        )
        listed = [reject for reject in archive.rejects if _is_clip_or_frame(reject.member)]
        found, rejects = inspection.run(list(self._clips), listed, survey, report)
        rate, found, odd = _of_one_rate(found, options.fps)
        self._places = [(clip, k) for clip, (length, _) in found.items() for k in range(length // options.frames)]
        self._places = self._places[: survey.limit]
        self.rejects = [*rejects, *odd, *([] if survey.limit else _no_clips(archive))]
        seconds = (1.0, "1") if rate is None else (options.frames / rate, "s")
        self.domain = CellGrid(
            axes=("t", "y", "x"),
            resolution=(options.frames, options.resolution, options.resolution),
            lengths=(seconds[0], 1.0, 1.0),
            units=(seconds[1], "1", "1"),
        )
        self.features = FeatureSpec(channels=CHANNELS[options.mode], scale=1 / 255)
        self.ids = [f"{clip}#{k}" for clip, k in self._places]
        places = [clip for clip, _ in self._places]
        self.split, rule = group_split(places, "clip", "example")
        self.labels = group_labels(places, "clip")
        self.provenance = {
            "converter": "video",
            "archive": archive.name,
            "sha256": archive.sha256() if survey.check_first is None else None,
            **dataclasses.asdict(options),
            "limit": survey.limit,
            "split": rule,
            "rejects": len(self.rejects),
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
            return self._clips[clip].read(k * frames, (k + 1) * frames)
        except MemberError as error:
            raise MemberError(f"{self._name}/{clip}: {error}") from error

    def _long_enough(self, length: int, fps: float | None) -> tuple[int, float | None]:
        if length < self._options.frames:
            raise MemberError(f"has {length} frames, fewer than the {self._options.frames} of an example (--frames)")
        return length, fps


def _of_one_rate(
    found: Mapping[str, tuple[int, float | None]], fps: float | int | None
) -> tuple[float | int | None, dict[str, tuple[int, float | None]], list[Reject]]:
    """Frames per second, and the clips that have them or do not say; the others are rejects."""
    if fps is not None:
        return fps, dict(found), []
    rates = [rate for _, rate in found.values() if rate is not None]
    if not rates:
        return None, dict(found), []
    kept = {clip: facts for clip, facts in found.items() if facts[1] is None or abs(facts[1] / rates[0] - 1) < 0.01}
    odd = [
        Reject(
            member=clip,
            reason=f"has {rate:g} frames per second, but the first film has {rates[0]:g}; --fps takes all as they are",
        )
        for clip, (_, rate) in found.items()
        if clip not in kept
    ]
    return rates[0], kept, odd


def _list_clips(archive: Archive, path: str, options: VideoOptions) -> dict[str, Clip]:
    """Every clip by its name, in sorted order."""
    if isinstance(archive, OneFile) and has_suffix(archive.name, ARRAY_SUFFIXES):
        return _array_clips(archive.name, path, options)
    kept, films = Kept(), [member for member in archive.members if has_suffix(member, _SUFFIXES)]
    clips: dict[str, Clip] = {member: FilmFile(archive, member, options, kept) for member in films}
    folders: dict[str, list[str]] = {}
    for member in archive.members:
        if has_suffix(member, _FRAME_SUFFIXES):
            folders.setdefault(posixpath.dirname(member) or archive.name, []).append(member)
    clips |= {folder: FrameFolder(archive, members, options) for folder, members in folders.items()}
    if not clips:
        expected = "folders of .jpg or .png frames, .gif, .mp4 or .npy members"
        raise nothing_to_convert(archive.name, archive.members, "clips", expected)
    return {clip: clips[clip] for clip in sorted(clips)}


def _array_clips(name: str, path: str, options: VideoOptions) -> dict[str, Clip]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ArchiveError(f"{path}: is no array of numbers that can be mapped: {error}") from error
    clips = array if array.ndim == 5 else array[None]
    try:
        return {f"{name}[{k:0{len(str(len(clips)))}}]": ArrayClip(clip, options) for k, clip in enumerate(clips)}
    except MemberError as error:
        raise ArchiveError(f"{path}: {error}, or clips of these") from error


def _is_clip_or_frame(member: str) -> bool:
    return has_suffix(member, _SUFFIXES | _FRAME_SUFFIXES)


def _no_clips(archive: Archive) -> list[Reject]:
    others = [member for member in archive.members if not _is_clip_or_frame(member)]
    return [Reject(member=member, reason="is neither a frame nor a film by its name") for member in others]


class VideoConverter:
    """Converts clips; see `functa_store.plugins.Converter`."""

    summary = "clips: folders of frames, .gif, .mp4 or .npy files, as (t, y, x)"
    presets = VIDEO_PRESETS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has."""
        parser.add_argument("--frames", type=int, metavar="N", help="frames per example")
        parser.add_argument("--resolution", type=int, metavar="N", help="pixels per side of every frame")
        parser.add_argument("--mode", choices=tuple(CHANNELS), help="channels (default: rgb)")
        parser.add_argument("--fps", type=float, metavar="F", help="frames per second (default: what films say)")

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> VideoSource:
        """The source that the options describe; see `open_video`."""
        return open_video(archive, report=report, **{k: v for k, v in options.items() if v is not None})


converter = VideoConverter()
