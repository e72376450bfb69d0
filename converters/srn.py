"""How are the scenes of Scene Representation Networks (SRN), ShapeNet cars and chairs seen from many sides, converted?

Expected result: one example per scene, in the order of sorted folders. Folders named `cars_train`, `cars_val`,
`cars_test` or the like are the splits and the categories; without them every tenth scene is held out.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from converters.archives import open_archive
from converters.scene_presets import SRN_PRESETS
from converters.srn_options import SceneOptions
from converters.srn_source import SceneSource
from converters.survey import SurveyOptions
from functa_store.progress import Report, silent


def open_srn(
    path: str | os.PathLike[str],
    *,
    limit: int | None = None,
    max_rejects: float = 0.01,
    check_first: int | None = None,
    report: Report = silent,
    **options: Any,
) -> SceneSource:
    """A source over an archive in SRN's layout.

    Args:
        path: A folder, zip or tar with folders of scenes: `rgb/*.png`, `pose/*.txt` and `intrinsics.txt` in each.
        limit: Scenes at most, the first ones in sorted order.
        max_rejects: Fraction of the scenes that may be unusable.
        check_first: Scenes to read now, for a dry run; None reads all.
        report: Told how far the survey is.
        **options: Those of `SceneOptions`.

    Returns:
        The source, every view read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    limits = SurveyOptions(limit=limit, max_rejects=max_rejects, check_first=check_first)
    return SceneSource(open_archive(path), SceneOptions(**options), limits, report)


class SrnConverter:
    """Converts scenes in SRN's layout; see `functa_store.plugins.Converter`."""

    summary = "scenes in SRN's layout (cars, chairs): views with poses, as radiance fields"
    presets = SRN_PRESETS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has."""
        parser.add_argument("--resolution", type=int, metavar="N", help="height of a view in pixels")
        parser.add_argument("--views", type=int, metavar="N", help="views per scene at most (default: all)")
        parser.add_argument("--context-views", type=int, metavar="N", help="views that a fit sees (default: all)")
        parser.add_argument(
            "--held-out-views", type=int, metavar="N", help="views at most, of the rest, that a fit is measured on"
        )
        parser.add_argument("--bound", type=float, metavar="X", help="the scene lies in [-X, X] along every axis")
        parser.add_argument("--near", type=float, metavar="X", help="distance at which samples along a ray begin")
        parser.add_argument("--far", type=float, metavar="X", help="distance at which samples along a ray end")
        parser.add_argument("--num-samples", type=int, metavar="N", help="samples per ray (default: 32)")

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> SceneSource:
        """The source that the options describe; see `open_srn`."""
        return open_srn(archive, report=report, **{k: v for k, v in options.items() if v is not None})


converter = SrnConverter()
