"""Converter of clips: folders of frames, films and arrays.

Expected result: one example (t, y, x) per so many frames of every clip, named "clip#0", "clip#1" and so on; a clip is
a folder of image files, a film (.gif, .mp4 and the like) or an .npy array. Clips are held out as a whole: as top-level
folders named train, validation and test say, else every tenth clip; of fewer than ten clips, the last tenth of the
examples.
"""

import os
from typing import Any

from converters.archives.archive import open_archive_or_file
from converters.signals.video_clips import CLIP_SUFFIXES, VideoOptions
from converters.signals.video_source import VideoSource
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.plugins import Converter, Preset
from functa_store.progress import Report, silent
from functa_store.sources.options import SurveyOptions, split_options

# docs/benchmarks/signals.md has the sweep (`python -m benchmarks.signals video --sweep`), which cannot tell w0
# from 20 to 30 apart.
VIDEO_FAST = Preset(
    summary="clips of 16 frames at 32x32; shapes, not textures",
    config=ConvertConfig(preset="video-fast", network=NetworkConfig(w0=20.0, modulation_dim=256)),
    source={"frames": 16, "resolution": 32},
)

VIDEO_PRESETS = {"video-fast": VIDEO_FAST}


def open_video(path: str | os.PathLike[str], *, report: Report = silent, **options: Any) -> VideoSource:
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
    return _open(path, *split_options(VideoOptions, options), report)


def _open(path: str | os.PathLike[str], options: VideoOptions, survey: SurveyOptions, report: Report) -> VideoSource:
    return VideoSource(open_archive_or_file(path, CLIP_SUFFIXES), os.fspath(path), options, survey, report)


converter = Converter(
    summary="clips: folders of frames, .gif, .mp4 or .npy files, as (t, y, x)",
    options=VideoOptions,
    presets=VIDEO_PRESETS,
    open=_open,
)
