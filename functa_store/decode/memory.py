"""Refusal of what does not fit into memory."""

import math

from functa_store.errors import GridError
from functa_store.memory import available_bytes, gibibytes


def check_memory(num_examples: int, num_points: int, num_channels: int, *, beside: int = 0) -> None:
    """Refuse to begin what cannot end.

    Args:
        num_examples: Examples of which features are held.
        num_points: Points of each.
        num_channels: Features at a point, float32.
        beside: Bytes of whatever else is held.

    Raises:
        GridError: If that is more memory than this process may take.
    """
    needed = 4 * math.prod((num_examples, num_points, num_channels)) + beside
    if needed > (free := available_bytes()):
        raise GridError(
            f"{num_examples:,} examples at {num_points:,} points of {num_channels} channels need {gibibytes(needed)}, "
            f"this process may take {gibibytes(free)}; take fewer examples at a time, a lower resolution or a region, "
            "or write all of them to a disk, as NAME.zarr, with `functa export`"
        )
