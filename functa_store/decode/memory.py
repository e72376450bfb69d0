"""Does what a call will give fit into memory?"""

import math

import psutil

from functa_store.errors import GridError

GIB = 2**30


def check_memory(num_examples: int, num_points: int, num_channels: int) -> None:
    """Refuse to begin what cannot end.

    Args:
        num_examples: Examples that are decoded.
        num_points: Points of each.
        num_channels: Features at a point, float32.

    Raises:
        GridError: If the features need more memory than this machine has left.
    """
    needed = 4 * math.prod((num_examples, num_points, num_channels))
    if needed > (free := psutil.virtual_memory().available):
        raise GridError(
            f"{num_examples:,} examples at {num_points:,} points of {num_channels} channels need "
            f"{needed / GIB:,.3g} GiB, this machine has {free / GIB:,.3g} GiB left; decode fewer examples at a time, "
            "a lower resolution or a region, or write all of them to a disk with `functa export`"
        )
