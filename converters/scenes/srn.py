"""Converter of the scenes of Scene Representation Networks: ShapeNet cars and chairs seen from many sides.

Expected result: one example per scene, in the order of sorted folders. Folders named `cars_train`, `cars_val`,
`cars_test` or the like are the splits and the categories; without them every tenth scene is held out.
"""

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from converters.archives.archive import Archive, open_archive
from converters.archives.known_archives import names_the_right_converter
from converters.archives.memory_share import room
from converters.scenes.views import Scene, SceneOptions, Views, categories, list_scenes, read_views
from converters.survey import (
    Outcome,
    in_threads,
    survey,
)
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.domains.scene import SceneVolume, camera_rays
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.plugins import Converter, Preset, paper_loops
from functa_store.progress import Note, Report, silent
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.source import (
    Label,
    Reject,
    Source,
    check_source,
)
from functa_store.sources.splits import hold_out_every, hold_out_rule
from functa_store.support.memory import LRUCache


class Seen(NamedTuple):
    """What is kept of a scene that was read.

    Attributes:
        size: Height and width of its images as they are converted.
        centres: Where its cameras stand, (views, 3).
        focal: Focal length, in widths of an image.
    """

    size: tuple[int, int]
    centres: np.ndarray
    focal: float


def survey_scenes(
    archive: Archive, scenes: Sequence[Scene], options: SceneOptions, limits: SurveyOptions, report: Report
) -> tuple[list[Scene], list[Seen], list[Reject]]:
    """Read every view that is wanted of some scenes once, and keep none.

    Args:
        archive: Where the scenes are.
        scenes: Those that are taken.
        options: What to make of each.
        limits: How many to read, at least one, and how many may fail.
        report: Told how far the survey is.

    Returns:
        Scenes that can be used, what was seen of those that were read, and why the others cannot be used.

    Raises:
        TooManyRejectsError: As soon as more scenes have failed than the limits allow.
        ArchiveError: If none can be used.
    """
    count = len(scenes) if limits.check_first is None else min(len(scenes), max(1, limits.check_first))
    names = [scene.name for scene in scenes]
    lost = _lost(archive)
    outcomes = _of_one_size(in_threads(lambda k: _inspect(archive, scenes[k], options, lost), count))
    made = survey(archive.name, "scenes", names, outcomes, count, limits, report)
    if not made.found:
        first = made.rejects[0]
        raise ArchiveError(f"{archive.name}: none of {count} scenes can be used: {first.member}: {first.reason}")
    return [scenes[k] for k in made.kept], list(made.found.values()), made.rejects


def cameras_of(seen: Sequence[Seen]) -> dict[str, float]:
    """What an orbit needs: mean distance, mean elevation in degrees, and mean focal length in widths of an image."""
    centres = np.concatenate([scene.centres for scene in seen])
    elevation = np.degrees(np.arctan2(centres[:, 2], np.hypot(centres[:, 0], centres[:, 1])))
    focal = np.mean([scene.focal for scene in seen])
    values = {"radius": np.linalg.norm(centres, axis=-1).mean(), "elevation": elevation.mean(), "focal": focal}
    return {name: round(float(value), 4) for name, value in values.items()}


def _lost(archive: Archive) -> dict[str, str]:
    """The first member below each folder that the archive's listing has refused, and why."""
    lost: dict[str, str] = {}
    for reject in archive.rejects:
        folder = reject.member
        while folder := posixpath.dirname(folder.rstrip("/")):
            lost.setdefault(folder, f"{reject.member} {reject.reason}")
    return lost


def _inspect(archive: Archive, scene: Scene, options: SceneOptions, lost: Mapping[str, str]) -> Seen:
    if (problem := lost.get(scene.name, scene.problem)) is not None:
        raise MemberError(problem)
    found = read_views(archive, scene, options, options.resolution)
    return Seen(found.images.shape[1:3], found.poses[:, :3, 3], found.lens.focal / found.images.shape[2])


def _of_one_size(outcomes: Iterator[Outcome[Seen]]) -> Iterator[Outcome[Seen]]:
    """The outcomes, scenes refused whose images have another size than those of the first one."""
    size = None
    for outcome in outcomes:
        size = size or (outcome.found and outcome.found.size)
        if outcome.found and outcome.found.size != size:
            problem = f"its images are {outcome.found.size} (height, width), but those of other scenes {size}"
            yield Outcome(position=outcome.position, problem=problem, examples=0)
        else:
            yield outcome


CACHE_BYTES = 2**28
"""Images, a byte per number, that stay in memory."""

NUM_RAY_NUMBERS = 9
"""Origin, direction and colour of a ray."""


SCENE_FEATURES = FeatureSpec(
    channels=("red", "green", "blue", "density"),
    value_ranges=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 10.0)),
    missing=True,
    metrics=("mse_held_out",),
)


class SceneSource(Source):
    """The scenes of an archive in SRN's layout; see `functa_store.sources.source.Source`.

    An example is (views, height, width, 9): of each ray the origin and the unit direction in the world, and the sRGB
    colour in [0, 1] seen along it. Views for the fit come first, held-out ones last; where a scene has fewer than
    others, colours are not a number.

    Args:
        archive: Where the scenes are.
        options: What to make of each.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more scenes cannot be read than `limits` allow.
        ArchiveError: If nothing is left to learn from.
        ConfigError: If the options do not suit the archive.
    """

    def __init__(self, archive: Archive, options: SceneOptions, limits: SurveyOptions, report: Report) -> None:
        self._archive, self._options = archive, options
        scenes, others = list_scenes(archive.members)
        if not scenes:
            raise ArchiveError(
                f"{archive.name}: no scenes, expected folders with rgb/*.png, pose/*.txt, intrinsics.txt"
            )
        self._scenes, seen, self.rejects = survey_scenes(archive, scenes[: limits.limit], options, limits, report)
        if limits.limit is None:
            self.rejects += [*archive.rejects, *(Reject(member=m, reason="belongs to no scene") for m in others)]
        self.features = SCENE_FEATURES
        self.volume = self.domain = self._choose_domain(seen)
        self._kept = LRUCache[Views](CACHE_BYTES, keeps_last=True)
        self.ids = [scene.name for scene in self._scenes]
        splits = [scene.split for scene in self._scenes]
        self.split = hold_out_every(len(splits)) if None in splits else np.array(splits, "U10")
        if None in splits and any(splits):
            outside = next(scene.name for scene in self._scenes if scene.split is None)
            report(
                Note(
                    message=f"{archive.name}: {splits.count(None)} of {len(splits)} scenes lie in no folder named as a "
                    f"split, such as {outside}; so the folders' splits are not taken, and every tenth scene is held out"
                )
            )
        self.labels = _categories(categories(self._scenes))
        self.provenance = {
            "archive": archive.name,
            "sha256": archive.sha256() if limits.check_first is None else None,
            **self._described(),
            "cameras": cameras_of(seen),
            "limit": limits.limit,
            "split": hold_out_rule("scene") if None in splits else "published by folders",
            "labels_by": dict.fromkeys(self.labels, "folders"),
            "rejects": len(self.rejects),
        }
        if limits.check_first is None:
            archive.check_unchanged()
        check_source(self)

    def read(self, index: int) -> Float32[np.ndarray, "views height width 9"]:
        """Rays of one scene. Safe to call from threads.

        Raises:
            MemberError: If a member cannot be read.
        """
        found, domain = self.views(index), self.volume
        context, held_out = self._options.choose(len(self._scenes[index].views))
        places = [*range(len(context)), *range(domain.views, domain.views + len(held_out))]
        rays = np.full((*domain.observed, NUM_RAY_NUMBERS), np.nan, np.float32)
        for view, image, pose in zip(places, found.images, found.poses, strict=True):
            rays[view, ..., :3], rays[view, ..., 3:6] = camera_rays(pose, *domain.image_size, found.lens)
            rays[view, ..., 6:] = image
        rays[..., 6:] /= 255
        absent = np.setdiff1d(np.arange(len(rays)), places)
        rays[absent, ..., :6] = rays[0, ..., :6]
        return rays

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        self._archive.check_unchanged()

    def views(self, index: int) -> Views:
        """Images, poses and lens of one scene as it is read: views for the fit first, held-out ones last."""
        return self._kept.get_or_make(index, lambda: self._read_views(index), lambda views: views.images.nbytes)

    def _read_views(self, index: int) -> Views:
        scene = self._scenes[index]
        try:
            with room():
                found = read_views(self._archive, scene, self._options, self.volume.image_size[0])
            if found.images.shape[1:3] != self.volume.image_size:
                raise MemberError(
                    f"its images are {found.images.shape[1:3]} (height, width), but those of other scenes "
                    f"{self.volume.image_size}"
                )
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{scene.name}: {error}") from error
        return found

    def _choose_domain(self, seen: Sequence[Seen]) -> SceneVolume:
        bound, near, far = self._options.extent(np.concatenate([np.linalg.norm(s.centres, axis=-1) for s in seen]))
        chosen = [self._options.choose(len(scene.views)) for scene in self._scenes]
        views, held_out = (max(map(len, part)) for part in zip(*chosen, strict=True))
        if self._options.held_out_views and not held_out:
            raise ConfigError(
                f"held_out_views={self._options.held_out_views}, but no scene has more than the {views} views that its "
                "fit sees; lower context_views"
            )
        cells = max(seen[0].size)
        return SceneVolume(
            resolution=(cells, cells, cells),
            bound=bound,
            views=views,
            held_out_views=held_out,
            image_size=seen[0].size,
            near=near,
            far=far,
            num_samples=self._options.num_samples,
        )

    def _described(self) -> dict[str, Any]:
        """The options from which the same source comes again."""
        return {
            "converter": "srn",
            "resolution": self.volume.image_size[0],
            "views": self._options.views,
            # Not the usual one, which stores of earlier versions do not name.
            **({"poses": self._options.poses} if self._options.poses != "opencv" else {}),
            "context_views": self.volume.views,
            "held_out_views": self.volume.held_out_views,
            **{name: getattr(self.volume, name) for name in ("bound", "near", "far", "num_samples")},
        }


def _categories(found: Sequence[str]) -> dict[str, Label]:
    names = sorted(set(found))
    number = {name: k for k, name in enumerate(names)}
    numbered = np.array([number[name] for name in found], np.int32)
    return {"category": Label(values=numbered, names=tuple(names))} if len(names) > 1 else {}


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


def open_srn(path: str | os.PathLike[str], *, report: Report = silent, **options: Any) -> SceneSource:
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
    return _open(path, *split_options(SceneOptions, options), report)


@names_the_right_converter("srn")
def _open(path: str | os.PathLike[str], options: SceneOptions, survey: SurveyOptions, report: Report) -> SceneSource:
    return SceneSource(open_archive(path), options, survey, report)


converter = Converter(
    summary="scenes in SRN's layout (cars, chairs): views with poses, as radiance fields",
    options=SceneOptions,
    presets=SRN_PRESETS,
    open=_open,
)
