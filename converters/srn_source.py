"""How does an archive of scenes become a source of rays, with every view read once beforehand?"""

import collections
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from converters.archives import Archive
from converters.srn_options import SceneOptions
from converters.srn_scenes import Scene, View, evenly_spread, list_scenes
from converters.srn_views import Views, read_views
from converters.survey import SurveyOptions
from functa_store.cameras import camera_rays
from functa_store.domains import Domain
from functa_store.errors import ArchiveError, MemberError, TooManyRejectsError
from functa_store.progress import Report, Surveyed
from functa_store.scenes import SceneVolume
from functa_store.sources import FeatureSpec, Label, Reject, check_source, hold_out_every

CACHE_BYTES = 2**28
"""Images, a byte per number, that stay in memory."""

NUM_RAY_NUMBERS = 9
"""Origin, direction and colour of a ray."""

_PERIOD = 10
_NUM_NAMED = 5
_SECONDS_BETWEEN_REPORTS = 0.5

SCENE_FEATURES = FeatureSpec(
    channels=("red", "green", "blue", "density"),
    value_ranges=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 10.0)),
    missing=True,
    metrics=("mse_held_out",),
)


class _Seen(NamedTuple):
    """What the survey keeps of a scene."""

    size: tuple[int, int]
    centres: np.ndarray
    focal: float


class SceneSource:
    """The scenes of an archive in SRN's layout; see `functa_store.sources.Source`.

    An example is (views, height, width, 9): of each ray the origin and the unit direction in the world, and the sRGB
    colour in [0, 1] seen along it. Views for the fit come first, held-out ones last; where a scene has fewer than
    others, colours are not a number.

    Args:
        archive: Where the scenes are.
        options: What to make of each.
        survey: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more scenes cannot be read than `survey` allows.
        ArchiveError: If nothing is left to learn from.
    """

    domain: Domain
    ids: Sequence[str]
    labels: Mapping[str, Label]
    rejects: Sequence[Reject]
    provenance: Mapping[str, Any]

    def __init__(self, archive: Archive, options: SceneOptions, survey: SurveyOptions, report: Report) -> None:
        self._archive, self._options = archive, options
        self._cache: collections.OrderedDict[int, Views] = collections.OrderedDict()
        self._lock = threading.Lock()
        scenes, others = list_scenes(archive.members)
        if not scenes:
            raise ArchiveError(
                f"{archive.name}: no scenes, expected folders with rgb/*.png, pose/*.txt, intrinsics.txt"
            )
        taken = scenes[: survey.limit]
        seen, problems = self._survey(taken, survey, report)
        self._scenes = [scene for scene in taken if scene.name not in problems]
        self.rejects = [Reject(member=name, reason=reason) for name, reason in sorted(problems.items())]
        if survey.limit is None:
            self.rejects += [*archive.rejects, *(Reject(member=m, reason="belongs to no scene") for m in others)]
        self.features = SCENE_FEATURES
        self.volume = self.domain = self._choose_domain(seen)
        self.ids = [scene.name for scene in self._scenes]
        splits = [scene.split for scene in self._scenes]
        published = None not in splits
        self.split = np.array(splits, "U10") if published else hold_out_every(len(splits), _PERIOD)
        self.labels = _categories([scene.category for scene in self._scenes])
        self.provenance = {
            "archive": archive.name,
            "sha256": archive.sha256() if survey.check_first is None else None,
            "converter": "srn",
            "resolution": self.volume.image_size[0],
            "views": options.views,
            "context_views": self.volume.views,
            "held_out_views": self.volume.held_out_views,
            **{name: getattr(self.volume, name) for name in ("bound", "near", "far", "num_samples")},
            "cameras": _cameras(seen),
            "limit": survey.limit,
            "split": "published" if published else "every tenth scene held out",
            "rejects": len(self.rejects),
        }
        check_source(self)

    def read(self, index: int) -> Float32[np.ndarray, "views height width 9"]:
        """Rays of one scene. Safe to call from threads.

        Raises:
            MemberError: If a member cannot be read.
        """
        found, domain = self._views(index), self.volume
        rays = np.full((*domain.observed, NUM_RAY_NUMBERS), np.nan, np.float32)
        context = len(self._context(self._scenes[index]))
        places = [*range(context), *range(domain.views, domain.views + len(found.images) - context)]
        absent = np.setdiff1d(np.arange(len(rays)), places)
        for view, image, pose in zip(places, found.images, found.poses, strict=True):
            rays[view, ..., :3], rays[view, ..., 3:6] = camera_rays(pose, *domain.image_size, found.lens)
            rays[view, ..., 6:] = image
        rays[..., 6:] /= 255
        rays[absent] = rays[places[0]]
        rays[absent, ..., 6:] = np.nan
        return rays

    def views(self, index: int) -> Views:
        """Images, poses and lens of one scene as it is read: views for the fit first, held-out ones last."""
        return self._views(index)

    def _views(self, index: int) -> Views:
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        scene = self._scenes[index]
        wanted = [*self._context(scene), *self._held_out(scene)]
        try:
            found = read_views(self._archive, scene, wanted, self.volume.image_size[0])
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{scene.name}: {error}") from error
        with self._lock:
            self._cache[index] = found
            while len(self._cache) > max(1, CACHE_BYTES // found.images.nbytes):
                self._cache.popitem(last=False)
        return found

    def _chosen(self, scene: Scene) -> list[View]:
        return [scene.views[i] for i in evenly_spread(len(scene.views), self._options.views or len(scene.views))]

    def _context(self, scene: Scene) -> list[View]:
        chosen = self._chosen(scene)
        return [chosen[i] for i in evenly_spread(len(chosen), self._options.context_views or len(chosen))]

    def _held_out(self, scene: Scene) -> list[View]:
        context = set(self._context(scene))
        rest = [view for view in self._chosen(scene) if view not in context]
        wanted = len(rest) if self._options.held_out_views is None else self._options.held_out_views
        return [rest[i] for i in evenly_spread(len(rest), wanted)]

    def _choose_domain(self, seen: Sequence[_Seen]) -> SceneVolume:
        distances = np.concatenate([np.linalg.norm(scene.centres, axis=-1) for scene in seen])
        bound, near, far = self._options.extent(float(distances.min()), float(distances.max()))
        size = seen[0].size
        cells = max(size)
        return SceneVolume(
            resolution=(cells, cells, cells),
            bound=bound,
            views=max(len(self._context(scene)) for scene in self._scenes),
            held_out_views=max(len(self._held_out(scene)) for scene in self._scenes),
            image_size=size,
            near=near,
            far=far,
            num_samples=self._options.num_samples,
        )

    def _survey(
        self, scenes: Sequence[Scene], survey: SurveyOptions, report: Report
    ) -> tuple[list[_Seen], dict[str, str]]:
        """What the scenes that can be read have, and why the others cannot."""
        unusable = {reject.member: reject.reason for reject in self._archive.rejects}
        seen: list[_Seen] = []
        problems: dict[str, str] = {}
        read, reported = scenes[: survey.check_first], time.monotonic()
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for done, (scene, found) in enumerate(zip(read, pool.map(self._look, read), strict=True), start=1):
                lost = next((m for m in unusable if m.startswith(f"{scene.name}/")), None)
                if lost is not None:
                    found = f"{lost} {unusable[lost]}"
                elif isinstance(found, _Seen) and seen and found.size != seen[0].size:
                    found = f"its images are {found.size} (height, width), but those of other scenes {seen[0].size}"
                if isinstance(found, str):
                    problems[scene.name] = found
                    _check_rejects(self._archive.name, problems, len(scenes), survey.max_rejects)
                else:
                    seen.append(found)
                if time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS:
                    report(Surveyed(done=done, total=len(read), rejects=len(problems)))
                    reported = time.monotonic()
        report(Surveyed(done=len(read), total=len(read), rejects=len(problems)))
        if not seen:
            raise ArchiveError(f"{self._archive.name}: none of {len(read)} scenes can be used: {_first(problems)}")
        return seen, problems

    def _look(self, scene: Scene) -> _Seen | str:
        if scene.problem:
            return scene.problem
        wanted = [*self._context(scene), *self._held_out(scene)]
        try:
            found = read_views(self._archive, scene, wanted, self._options.resolution)
        except MemberError as error:
            return str(error)
        return _Seen(found.images.shape[1:3], found.poses[:, :3, 3], found.lens.focal / found.images.shape[2])


def _categories(found: Sequence[str]) -> dict[str, Label]:
    names = sorted(set(found))
    numbered = np.array([names.index(name) for name in found], np.int32)
    return {"category": Label(values=numbered, names=tuple(names))} if len(names) > 1 else {}


def _cameras(seen: Sequence[_Seen]) -> dict[str, float]:
    """What an orbit needs: mean distance, mean elevation in degrees, and mean focal length in widths of an image."""
    centres = np.concatenate([scene.centres for scene in seen])
    radius = np.linalg.norm(centres, axis=-1)
    elevation = np.degrees(np.arcsin(centres[:, 2] / radius))
    focal = np.mean([scene.focal for scene in seen])
    values = {"radius": radius.mean(), "elevation": elevation.mean(), "focal": focal}
    return {name: round(float(value), 4) for name, value in values.items()}


def _check_rejects(name: str, problems: Mapping[str, str], total: int, max_rejects: float) -> None:
    if len(problems) > max_rejects * total:
        raise TooManyRejectsError(
            f"{name}: {len(problems)} of {total} scenes cannot be read so far, more than the {max_rejects:.1%} that "
            f"max_rejects allows: {_first(problems)}. Repair the archive or raise max_rejects."
        )


def _first(problems: Mapping[str, str]) -> str:
    named = [f"{name}: {reason}" for name, reason in sorted(problems.items())[:_NUM_NAMED]]
    more = [f"and {len(problems) - _NUM_NAMED} more"] if len(problems) > _NUM_NAMED else []
    return "; ".join(named + more)
