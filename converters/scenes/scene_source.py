"""Scenes of an archive as a source: rays of views and the colours seen along them, surveyed once beforehand."""

import dataclasses
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from converters.archives.archive import Archive
from converters.archives.many_archives import told_by
from converters.archives.memory_share import room
from converters.scenes.views import Scene, SceneOptions, Views, categories
from converters.survey import Outcome, in_threads, noted, provenance_of, survey
from functa_store.domains.scene import SceneVolume, camera_rays
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.progress import Note, Report
from functa_store.sources.array_source import as_classes
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import BY_FOLDERS, Reject, Source, check_source
from functa_store.sources.splits import hold_out_every, hold_out_rule
from functa_store.support.memory import LRUCache


@runtime_checkable
class Layout(Protocol):
    """How an archive keeps scenes.

    Attributes:
        converter: Name of the converter that opens it.
        reach: How far beyond the centre rays are sampled, in `bound`.
        scenes: Sorted by name; nothing has been read.
        others: Members that belong to none.
    """

    converter: str
    reach: float
    scenes: Sequence[Any]
    others: Sequence[str]

    def count(self, scene: Any) -> tuple[int, int]:
        """Views of a scene for its fit, and held-out ones, as far as the listing tells; (1, 0) if it does not."""
        ...

    def read(self, scene: Any, size: int | None) -> Views:
        """The views of a scene that are wanted.

        Args:
            scene: One of `scenes`.
            size: Pixels of a view's height; None keeps the archive's.

        Raises:
            MemberError: If it cannot be used; the message is the reason alone.
        """
        ...

    def described(self) -> dict[str, Any]:
        """Options of the converter, those apart that all kinds of scenes have, as provenance keeps them."""
        ...


class Seen(NamedTuple):
    """What is kept of a scene that was read.

    Attributes:
        size: Height and width of its images as they are converted.
        centres: Where its cameras stand, (views, 3).
        focal: Focal length, in widths of an image; the mean of its views.
        counts: Views for its fit, and held-out ones.
        box: See `Views.box`.
        notes: See `Views.notes`.
        remarks: See `Views.remarks`.
    """

    size: tuple[int, int]
    centres: np.ndarray
    focal: float
    counts: tuple[int, int]
    box: float | None
    notes: tuple[str, ...]
    remarks: tuple[str, ...]


def survey_scenes(
    archive: Archive, layout: Layout, options: SceneOptions, limits: SurveyOptions, report: Report
) -> tuple[list[Scene], list[Seen], list[Reject]]:
    """Read every view that is wanted of the scenes that are taken once, and keep none.

    Args:
        archive: Where the scenes are.
        layout: How they are kept there.
        options: What to make of each.
        limits: How many to read, at least one, and how many may fail.
        report: Told how far the survey is.

    Returns:
        Scenes that can be used, what was seen of those that were read, and why the others cannot be used.

    Raises:
        TooManyRejectsError: As soon as more scenes have failed than the limits allow.
        ArchiveError: If none can be used.
    """
    scenes = layout.scenes[: limits.limit]
    count = len(scenes) if limits.check_first is None else min(len(scenes), max(1, limits.check_first))
    names = [scene.name for scene in scenes]
    lost = _lost(archive)
    outcomes = _of_one_size(in_threads(lambda k: _inspect(layout, scenes[k], options, lost), count))
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


def _inspect(layout: Layout, scene: Scene, options: SceneOptions, lost: Mapping[str, str]) -> Seen:
    if (problem := lost.get(scene.name, scene.problem)) is not None:
        raise MemberError(problem)
    found = layout.read(scene, options.resolution)
    focal = float(np.mean([lens.focal for lens in found.lenses])) / found.images.shape[2]
    centres = found.poses[:, :3, 3]
    return Seen(found.images.shape[1:3], centres, focal, found.counts, found.box, found.notes, found.remarks)


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
    """The scenes of an archive; see `functa_store.sources.source.Source`.

    An example is (views, height, width, 9): of each ray the origin and the unit direction in the world, and the sRGB
    colour in [0, 1] seen along it. Views for the fit come first, held-out ones last; where a scene has fewer than
    others, colours are not a number.

    Args:
        archive: Where the scenes are.
        layout: How they are kept there.
        options: What to make of each.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more scenes cannot be read than `limits` allow.
        ArchiveError: If nothing is left to learn from.
        ConfigError: If the options do not suit the archive.
    """

    def __init__(
        self, archive: Archive, layout: Layout, options: SceneOptions, limits: SurveyOptions, report: Report
    ) -> None:
        self._archive, self._layout, self._options = archive, layout, options
        scenes, seen, self.rejects = survey_scenes(archive, layout, options, limits, report)
        told = told_by(archive)
        self._scenes = [dataclasses.replace(scene, told=told(scene.name)) for scene in scenes]
        if limits.limit is None:
            self.rejects += [*archive.rejects, *(Reject(member=m, reason="belongs to no scene") for m in layout.others)]
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
        found = categories(self._scenes)
        self.labels = {"category": as_classes(np.array(found, np.str_))} if len(set(found)) > 1 else {}
        decided = {
            "split": hold_out_rule("scene") if None in splits else "published by folders",
            "labels_by": dict.fromkeys(self.labels, BY_FOLDERS),
        }
        read_as = {**self._described(), "cameras": cameras_of(seen)}
        oddities = _noted(archive.name, self._scenes, seen, report)
        self.provenance = provenance_of(archive, limits, read_as, decided, self.rejects) | oddities
        check_source(self)

    def read(self, index: int) -> Float32[np.ndarray, "views height width 9"]:
        """Rays of one scene. Safe to call from threads.

        Raises:
            MemberError: If a member cannot be read.
        """
        found, domain = self.views(index), self.volume
        places = [*range(found.counts[0]), *range(domain.views, domain.views + found.counts[1])]
        rays = np.full((*domain.observed, NUM_RAY_NUMBERS), np.nan, np.float32)
        for view, image, pose, lens in zip(places, found.images, found.poses, found.lenses, strict=True):
            rays[view, ..., :3], rays[view, ..., 3:6] = camera_rays(pose, *domain.image_size, lens)
            rays[view, ..., 6:] = image
        rays[..., 6:] /= 255
        absent = np.setdiff1d(np.arange(len(rays)), places)
        rays[absent, ..., :6] = rays[0, ..., :6]
        return rays

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        self._archive.check_unchanged()

    def views(self, index: int) -> Views:
        """Images, poses and lenses of one scene as it is read: views for the fit first, held-out ones last."""
        return self._kept.get_or_make(index, lambda: self._read_views(index), lambda views: views.images.nbytes)

    def _read_views(self, index: int) -> Views:
        scene, domain = self._scenes[index], self.volume
        try:
            with room():
                found = self._layout.read(scene, domain.image_size[0])
            if found.images.shape[1:3] != domain.image_size:
                raise MemberError(
                    f"its images are {found.images.shape[1:3]} (height, width), but those of other scenes "
                    f"{domain.image_size}"
                )
            if found.counts[0] > domain.views or found.counts[1] > domain.held_out_views:
                raise MemberError(
                    f"has {found.counts[0]} views and {found.counts[1]} held-out ones, but other scenes have at most "
                    f"{domain.views} and {domain.held_out_views}"
                )
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{scene.name}: {error}") from error
        return found

    def _choose_domain(self, seen: Sequence[Seen]) -> SceneVolume:
        boxes = [scene.box for scene in seen if scene.box is not None]
        distances = np.concatenate([np.linalg.norm(scene.centres, axis=-1) for scene in seen])
        bound, near, far = self._options.extent(distances, max(boxes, default=None), self._layout.reach)
        counts = [*(scene.counts for scene in seen), *map(self._layout.count, self._scenes)]
        views, held_out = (max(part) for part in zip(*counts, strict=True))
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
            "converter": self._layout.converter,
            "resolution": self.volume.image_size[0],
            "views": self._options.views,
            **self._layout.described(),
            "context_views": self.volume.views,
            "held_out_views": self.volume.held_out_views,
            **{name: getattr(self.volume, name) for name in ("bound", "near", "far", "num_samples")},
        }


def _noted(name: str, scenes: Sequence[Scene], seen: Sequence[Seen], report: Report) -> dict[str, Any]:
    """What was made of scenes, told and for provenance; in a dry run scenes that were not read have nothing."""
    named = list(zip(scenes, seen, strict=False))
    notes = {scene.name: found.notes for scene, found in named}
    return noted(name, notes, {scene.name: found.remarks for scene, found in named}, report)
