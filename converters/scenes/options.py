"""Options of the scene converter."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from functa_store.config import whole
from functa_store.domains.scene import MOST_PIXELS, MOST_SAMPLES, MOST_VIEWS
from functa_store.errors import ConfigError
from functa_store.sources.options import ArchiveOptions
from functa_store.sources.splits import evenly_centred

BOUND_PER_DISTANCE = 0.5 / 1.3
"""Half the cube's edge relative to the cameras' distance: SRN's cameras are 1.3 away from objects inside a box with a
diagonal of 1, whatever its proportions, and so within 0.5 of the centre."""

_DIGITS = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneOptions(ArchiveOptions):
    """Which views of a scene are taken, at which size, and where it lies.

    Attributes:
        resolution: Height of a view in pixels, by averaging over areas; None keeps the archive's.
        views: Views of a scene at most, evenly chosen; None takes all.
        context_views: Views at most that its fit sees, evenly chosen among them; None takes all.
        held_out_views: Views at most, evenly chosen among the rest, on which the fit is measured; None takes all.
        bound: The scene lies in [-bound, bound] along x, y and z; None means 0.5 at a median distance of 1.3.
        near: Where samples along a ray begin; None means `bound` before the centre, from the nearest camera.
        far: Where they end; None means `bound` behind the centre, from the farthest camera.
        num_samples: Samples per ray.
    """

    resolution: int | None = 64
    views: int | None = None
    context_views: int | None = None
    held_out_views: int | None = None
    bound: float | None = None
    near: float | None = None
    far: float | None = None
    num_samples: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = {
            "resolution": (1, MOST_PIXELS),
            "views": (1, MOST_VIEWS),
            "context_views": (1, MOST_VIEWS),
            "held_out_views": (0, MOST_VIEWS),
            "num_samples": (1, MOST_SAMPLES),
        }
        for name, (lowest, highest) in counts.items():
            if (value := getattr(self, name)) is not None and whole(name, value, lowest) > highest:
                raise ConfigError(f"{name} must be at most {highest}, got {value}")
        if self.held_out_views and self.context_views is None:
            raise ConfigError(
                f"held_out_views={self.held_out_views} needs context_views: without it the fit sees all views, and "
                "none is left to measure it on"
            )
        for name in ("bound", "near", "far"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be positive and finite, got {value}")
        if self.near is not None and self.far is not None and self.near >= self.far:
            raise ConfigError(f"near must be below far, got near={self.near} and far={self.far}")

    def choose(self, count: int) -> tuple[list[int], list[int]]:
        """Which of a scene's views its fit sees, and which it is measured on."""
        taken = evenly_centred(count, self.views or count)
        context = [taken[i] for i in evenly_centred(len(taken), self.context_views or len(taken))]
        rest = sorted(set(taken) - set(context))
        wanted = len(rest) if self.held_out_views is None else self.held_out_views
        return context, [rest[i] for i in evenly_centred(len(rest), wanted)]

    def extent(self, distances: Float[np.ndarray, " cameras"]) -> tuple[float, float, float]:
        """Bound, near and far for cameras at these distances from the centre.

        Raises:
            ConfigError: If near would not be below far.
        """
        nearest, usual, farthest = (float(np.quantile(distances, share)) for share in (0.0, 0.5, 1.0))
        bound = round(BOUND_PER_DISTANCE * usual, _DIGITS) if self.bound is None else self.bound
        near = round(max(nearest - bound, 0.0), _DIGITS) if self.near is None else self.near
        far = round(farthest + bound, _DIGITS) if self.far is None else self.far
        if not bound > 0 or near >= far:
            raise ConfigError(
                f"cameras are {nearest:g} to {farthest:g} away from the centre, which gives bound={bound}, near={near} "
                f"and far={far}; give --bound, --near and --far such that the scene lies between them"
            )
        return bound, near, far
