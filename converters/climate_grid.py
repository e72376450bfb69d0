"""Which grid of the sphere do the latitudes and longitudes of an archive make?"""

import numpy as np
from jaxtyping import Float64

from functa_store.errors import ArchiveError, GridError
from functa_store.sphere import SphereGrid
from functa_store.sphere_cells import CIRCLE, FARTHEST_LONGITUDE, TOLERANCE, check_axis


def read_grid(
    name: str, latitudes: Float64[np.ndarray, " lat"], longitudes: Float64[np.ndarray, " lon"]
) -> tuple[SphereGrid, list[str]]:
    """The grid, and what had to be done to the longitudes, in words.

    Longitudes that jump by a turn, such as from 179 to -180, go on rising; columns that come round a second time, such
    as a cyclic one, are left out.

    Raises:
        ArchiveError: If they make no grid.
    """
    notes = []
    try:
        if np.isfinite(longitudes).all() and not _is_monotonic(longitudes):
            longitudes = np.unwrap(longitudes, period=CIRCLE)
            notes.append(f"longitudes jump by a turn; taken as {longitudes[0]:g} to {longitudes[-1]:g}")
        check_axis("longitudes", longitudes, FARTHEST_LONGITUDE)  # before any is left out
        twice = np.abs(longitudes - longitudes[0]) >= CIRCLE - TOLERANCE
        if twice.any():
            notes.append(
                f"{twice.sum()} longitudes come round a second time, from {longitudes[twice][0]:g} on; left out"
            )
        return SphereGrid.around(latitudes, longitudes[~twice]), notes
    except GridError as error:
        raise ArchiveError(f"{name}: {error}; repair its coordinates, or choose other variables") from error


def _is_monotonic(longitudes: Float64[np.ndarray, " lon"]) -> bool:
    steps = np.diff(longitudes)
    return bool((steps > 0).all() or (steps < 0).all())
