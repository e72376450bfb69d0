"""How does an archive of scenes become a source of rays, with every view read once beforehand?"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from converters.archives import Archive
from converters.room import room
from converters.srn_options import SceneOptions
from converters.srn_scenes import list_scenes
from converters.srn_survey import Seen, cameras_of, survey_scenes
from converters.srn_views import Views, read_views
from converters.survey import SurveyOptions
from functa_store.cameras import camera_rays
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.progress import Report
from functa_store.scenes import SceneVolume
from functa_store.sources import FeatureSpec, Label, Reject, Source, check_source, hold_out_every

CACHE_BYTES = 2**28
"""Images, a byte per number, that stay in memory."""

NUM_RAY_NUMBERS = 9
"""Origin, direction and colour of a ray."""

_PERIOD = 10

SCENE_FEATURES = FeatureSpec(
    channels=("red", "green", "blue", "density"),
    value_ranges=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 10.0)),
    missing=True,
    metrics=("mse_held_out",),
)


class SceneSource(Source):
    """The scenes of an archive in SRN's layout; see `functa_store.sources.Source`.

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
        self._kept = functools.lru_cache(max(1, CACHE_BYTES // (3 * math.prod(self.volume.observed))))(self._read_views)
        self.ids = [scene.name for scene in self._scenes]
        splits = [scene.split for scene in self._scenes]
        self.split = hold_out_every(len(splits), _PERIOD) if None in splits else np.array(splits, "U10")
        self.labels = _categories([scene.category for scene in self._scenes])
        self.provenance = {
            "archive": archive.name,
            "sha256": archive.sha256() if limits.check_first is None else None,
            **self._described(),
            "cameras": cameras_of(seen),
            "limit": limits.limit,
            "split": "every tenth scene held out" if None in splits else "published",
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
        found, domain = self._kept(index), self.volume
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
        return self._kept(index)

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
            "context_views": self.volume.views,
            "held_out_views": self.volume.held_out_views,
            **{name: getattr(self.volume, name) for name in ("bound", "near", "far", "num_samples")},
        }


def _categories(found: Sequence[str]) -> dict[str, Label]:
    names = sorted(set(found))
    number = {name: k for k, name in enumerate(names)}
    numbered = np.array([number[name] for name in found], np.int32)
    return {"category": Label(values=numbered, names=tuple(names))} if len(names) > 1 else {}
