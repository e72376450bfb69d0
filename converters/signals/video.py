"""Converter of clips: folders of frames, films and arrays.

Expected result: one example (t, y, x) per so many frames of every clip, named "clip#0", "clip#1" and so on; a clip is
a folder of image files, a film (.gif, .mp4 and the like) or an .npy array. Clips are held out as a whole: as top-level
folders named train, validation and test say, else every tenth clip; of fewer than ten clips, the last tenth of the
examples.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from converters.archives.archive import open_archive_or_file
from converters.images.image_files import CHANNELS
from converters.signals.video_clips import CLIP_SUFFIXES, VideoOptions
from converters.signals.video_source import VideoSource
from converters.survey import SurveyOptions
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.plugins import Preset
from functa_store.progress import Report, silent

# docs/how-to/convert-audio-video.md has the sweep (`python -m benchmarks.signals video --sweep`), which cannot tell w0
# from 20 to 30 apart.
VIDEO_FAST = Preset(
    summary="clips of 16 frames at 32x32; shapes, not textures",
    config=ConvertConfig(preset="video-fast", network=NetworkConfig(w0=20.0, modulation_dim=256)),
    source={"frames": 16, "resolution": 32},
)

VIDEO_PRESETS = {"video-fast": VIDEO_FAST}


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
) -> VideoSource:
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
    return VideoSource(open_archive_or_file(path, CLIP_SUFFIXES), os.fspath(path), options, survey, report)


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
