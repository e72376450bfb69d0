"""Converter of the scenes of Scene Representation Networks: ShapeNet cars and chairs seen from many sides.

Expected result: one example per scene, in the order of sorted folders. Folders named `cars_train`, `cars_val`,
`cars_test` or the like are the splits and the categories; without them every tenth scene is held out.
"""

import functools
from collections.abc import Sequence
from typing import Any

from converters.archives.archive import Archive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.archives.listing import nothing_to_convert
from converters.archives.many_archives import PACKED_SUFFIXES, open_archives
from converters.scenes.scene_source import SceneSource
from converters.scenes.srn_files import SrnScene, list_scenes, read_views
from converters.scenes.views import SceneOptions, Views
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.errors import ArchiveError
from functa_store.plugins import Converter, Preset, paper_loops
from functa_store.progress import Report, silent
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.recipe import AnyArchive


class SrnLayout:
    """Scenes in SRN's layout; see `converters.scenes.scene_source.Layout`.

    Args:
        archive: Where they are.
        options: What to make of each.

    Raises:
        ArchiveError: If there are none.
    """

    converter = "srn"
    reach = 1.0

    def __init__(self, archive: Archive, options: SceneOptions) -> None:
        self._archive, self._options = archive, options
        self.scenes: Sequence[SrnScene]
        self.others: Sequence[str]
        self.scenes, self.others = list_scenes(archive.members)
        if not self.scenes:
            raise _no_scenes(archive)

    def count(self, scene: SrnScene) -> tuple[int, int]:
        """See `Layout.count`."""
        context, held_out = self._options.choose(len(scene.views))
        return len(context), len(held_out)

    def read(self, scene: SrnScene, size: int | None) -> Views:
        """See `Layout.read`."""
        return read_views(self._archive, scene, self._options, size)

    def described(self) -> dict[str, Any]:
        """See `Layout.described`."""
        # Not the usual one, which stores of earlier versions do not name.
        return {"poses": self._options.poses} if self._options.poses != "opencv" else {}


def _no_scenes(archive: Archive) -> ArchiveError:
    expected = "folders with rgb/*.png, pose/*.txt, intrinsics.txt"
    return nothing_to_convert(archive.name, archive.members, "scenes", expected, archive.rejects)


# docs/benchmarks/kinds.md has the sweep (`python -m benchmarks.scenes --sweep`): higher rates and w0 are ahead after
# 150 steps at 32x32; after a thousand at 64x64 folds of the training scenes cannot tell SIREN 5e-4 or w0 20 from this.
SCENES_FAST = Preset(
    summary="views of scenes at 64x64, for a few CPU cores",
    config=ConvertConfig(
        preset="scenes-fast",
        network=NetworkConfig(width=128, depth=5, w0=12.0, modulation_dim=128, head="radiance"),
        inner=InnerLoopConfig(num_steps=3, learning_rate=0.2),
        outer=OuterLoopConfig(num_steps=1000, batch_size=4, num_points=256, num_monitored=8, monitor_every=250),
        fit=FitConfig(tuning_steps=20),  # an update through 17 steps of rays costs as much as some thirty outer steps
    ),
    source={"resolution": 64},
)

# Dupont et al. 2022, "From data to functa", and get_config() in
# https://github.com/google-deepmind/functa/blob/main/experiment_meta_learning.py for its data set "srn_cars": SIREN
# of 15 layers of 512, w0 = 30, 128 dimensions, 3 inner steps with rates from 1e-2, Adam 3e-6 for everything, a batch
# of one scene per device, 1,024 rays of each of 8 views, 32 samples along each, 5e5 steps, no schedule. There, the
# rates start at random in (0.005, 0.1), the network sees the world's coordinates instead of [0, 1] over the cube,
# all steps of an example see the same rays, and the gradient is not clipped.
SRN_PAPER = Preset(
    summary="views of scenes at 128x128 as in the functa code: 500,000 outer steps, for accelerators",
    config=ConvertConfig(
        preset="srn-paper",
        network=NetworkConfig(width=512, depth=15, w0=30.0, modulation_dim=128, head="radiance"),
        **paper_loops(num_steps=500_000, batch_size=8, num_points=8 * 1024, num_monitored=10),
    ),
    source={"resolution": 128},
)

SRN_PRESETS = {"scenes-fast": SCENES_FAST, "srn-paper": SRN_PAPER}


def open_srn(path: AnyArchive, *, report: Report = silent, **options: Any) -> SceneSource:
    """A source over an archive in SRN's layout.

    Args:
        path: A folder, zip or tar with folders of scenes: `rgb/*.png`, `pose/*.txt` and `intrinsics.txt` in each.
        report: Told how far the survey is.
        **options: Fields of `SceneOptions` and `SurveyOptions`, such as `views=50` and `limit=10`.

    Returns:
        The source, every view read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    return converter.open(path, *split_options(SceneOptions, options), report)


@names_the_right_converter("srn")
def _open(files: ArchiveFiles, options: SceneOptions, survey: SurveyOptions, report: Report) -> SceneSource:
    archive = open_archives(files)
    return SceneSource(archive, SrnLayout(archive, options), options, survey, report)


converter = Converter(
    summary="scenes in SRN's layout (cars, chairs): views with poses, as radiance fields",
    options=SceneOptions,
    presets=SRN_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=PACKED_SUFFIXES, remote=True),
)
