"""Does what a call needs at once fit into memory?"""

import math

import psutil

from functa_store.errors import GridError


def check_memory(num_examples: int, num_points: int, num_channels: int, *, beside: int = 0) -> None:
    """Refuse to begin what cannot end.

    Args:
        num_examples: Examples of which features are held.
        num_points: Points of each.
        num_channels: Features at a point, float32.
        beside: Bytes of whatever else is held.

    Raises:
        GridError: If that is more memory than this machine has left.
    """
    needed = 4 * math.prod((num_examples, num_points, num_channels)) + beside
    if needed > (free := psutil.virtual_memory().available):
        raise GridError(
            f"{num_examples:,} examples at {num_points:,} points of {num_channels} channels need {gibibytes(needed)}, "
            f"this machine has {gibibytes(free)} left; take fewer examples at a time, a lower resolution or a region, "
            "or write all of them to a disk, as NAME.zarr, with `functa export`"
        )


def gibibytes(num_bytes: int) -> str:
    """A number of bytes for a person."""
    return f"{num_bytes / 2**30:,.3g} GiB"
