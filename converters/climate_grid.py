"""Which grid of the sphere do the latitudes and longitudes of an archive make?"""

import numpy as np
from jaxtyping import Float64

from functa_store.errors import ArchiveError, GridError
from functa_store.sphere import SphereGrid
from functa_store.sphere_cells import CIRCLE, TOLERANCE


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
    steps = np.diff(longitudes)
    if len(steps) and np.isfinite(steps).all() and not ((steps > 0).all() or (steps < 0).all()):
        longitudes = np.unwrap(longitudes, period=CIRCLE)
        notes.append(f"longitudes jump by a turn; taken as {longitudes[0]:g} to {longitudes[-1]:g}")
    twice = np.abs(longitudes - longitudes[:1]) >= CIRCLE - TOLERANCE
    if twice.any():
        notes.append(f"{twice.sum()} longitudes come round a second time, from {longitudes[twice][0]:g} on; left out")
    try:
        return SphereGrid.around(latitudes, longitudes[~twice]), notes
    except GridError as error:
        raise ArchiveError(f"{name}: {error}; sort the archive, or repair its coordinates") from error
