"""Which scenes of an archive can be used, and from where are they looked at?"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from converters.archives import Archive
from converters.srn_options import SceneOptions
from converters.srn_scenes import Scene
from converters.srn_views import read_views
from converters.survey import Outcome, SurveyOptions, in_threads, survey
from functa_store.errors import ArchiveError, MemberError
from functa_store.progress import Report
from functa_store.sources import Reject


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
