"""Which images of an archive can be read?"""

import dataclasses
import os
import posixpath
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int64

from converters.archives import Archive
from converters.image_files import ImageOptions, read_image
from functa_store.errors import ConfigError, MemberError, TooManyRejectsError
from functa_store.progress import Report, Surveyed
from functa_store.sources import Reject

# Those that cannot be read count too, so that they become rejects and do not vanish.
IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jfif", ".png", ".webp",
    ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".pgm",
}  # fmt: skip

_BLOCK = 32
_SECONDS_BETWEEN_REPORTS = 0.5
_NUM_NAMED = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurveyOptions:
    """How much of an archive is taken, and how much of it may be unreadable.

    Attributes:
        limit: Images at most, the first ones in sorted order; None takes all.
        max_rejects: Fraction of the images taken that may be unreadable, also in a dry run.
        check_first: Images to read now, for a dry run; the others pass unread and the archive
            is not hashed. None reads all.
    """

    limit: int | None = None
    max_rejects: float = 0.01
    check_first: int | None = None

    def __post_init__(self) -> None:
        for name, lowest in (("limit", 1), ("check_first", 0)):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ConfigError(f"{name} must be at least {lowest}, got {value}")
        if not 0 <= self.max_rejects <= 1:
            raise ConfigError(f"max_rejects must be a fraction in [0, 1], got {self.max_rejects}")


def is_image(member: str) -> bool:
    """Whether a member's name says that it is an image."""
    return posixpath.splitext(member)[1].lower() in IMAGE_SUFFIXES


def survey_images(
    archive: Archive, images: Sequence[str], options: ImageOptions, survey: SurveyOptions, report: Report
) -> tuple[Int64[np.ndarray, " kept"], list[Reject]]:
    """Read every image once, in a few threads, and keep none.

    Args:
        archive: Where the images are.
        images: Its members to read, sorted.
        options: What to make of each image.
        survey: How many to read and how many may fail.
        report: Told every half second how far the survey is.

    Returns:
        Positions in `images` of those that can be read, and why the others cannot.

    Raises:
        TooManyRejectsError: As soon as more images have failed than `survey` allows.
    """
    taken = images[: survey.limit]
    num_read = len(taken[: survey.check_first])
    rejects = [r for r in archive.rejects if is_image(r.member) and (len(taken) == len(images) or r.member < taken[-1])]
    total, num_taken = num_read + len(rejects), len(taken) + len(rejects)
    bad, reported = set(), time.monotonic()
    _check_rejects(archive.name, rejects, num_taken, survey.max_rejects)
    for done, failed in _read_blocks(archive, taken[:num_read], options):
        bad.update(failed)
        rejects += [Reject(member=taken[k], reason=reason) for k, reason in failed.items()]
        _check_rejects(archive.name, rejects, num_taken, survey.max_rejects)
        if time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS:
            report(Surveyed(done=total - num_read + done, total=total, rejects=len(rejects)))
            reported = time.monotonic()
    report(Surveyed(done=total, total=total, rejects=len(rejects)))
    return np.array([k for k in range(len(taken)) if k not in bad], np.int64), rejects


def _read_blocks(
    archive: Archive, images: Sequence[str], options: ImageOptions
) -> Iterator[tuple[int, dict[int, str]]]:
    """Number of images read so far, and position and reason of those of the last block that failed."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        # In blocks, since a map over everything would queue 200,000 tasks at once.
        for start in range(0, len(images), _BLOCK):
            block = images[start : start + _BLOCK]
            reasons = pool.map(lambda image: _reason(archive, image, options), block)
            yield start + len(block), {k: r for k, r in enumerate(reasons, start) if r is not None}


def _reason(archive: Archive, member: str, options: ImageOptions) -> str | None:
    try:
        read_image(archive.read(member), options)
    except MemberError as error:
        return str(error)
    return None


def _check_rejects(name: str, rejects: Sequence[Reject], total: int, max_rejects: float) -> None:
    if len(rejects) > max_rejects * total:
        first = "; ".join(f"{r.member} {r.reason}" for r in rejects[:_NUM_NAMED])
        more = f"; and {len(rejects) - _NUM_NAMED} more" if len(rejects) > _NUM_NAMED else ""
        raise TooManyRejectsError(
            f"{name}: {len(rejects)} of {total} images cannot be read so far, more than the {max_rejects:.1%} that "
            f"max_rejects allows: {first}{more}. Repair the archive or raise max_rejects."
        )
