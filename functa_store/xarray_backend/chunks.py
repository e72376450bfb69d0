"""In which pieces is a functaset decoded by dask?"""

import math
from collections.abc import Sequence

MOST_DECODED_BYTES = 16 * 2**20
"""Most bytes of decoded features in a chunk, unless one point alone has more."""


def preferred_chunks(num_examples: int, rows_per_shard: int, resolution: Sequence[int], num_channels: int) -> list[int]:
    """Sizes of a chunk along example, axes and channel.

    Examples of a chunk are a power of two that divides those of a shard, so that no chunk reads two shards. An
    example that is too large for a chunk is split along its first axes. Channels stay together: they are decoded
    at once.
    """
    chunk, features = [1, *resolution, num_channels], MOST_DECODED_BYTES // 4
    for axis in range(1, len(chunk) - 1):
        if (too_many := math.prod(chunk)) <= features:
            break
        chunk[axis] = max(1, features // (too_many // chunk[axis]))
    if chunk[1:-1] == list(resolution):
        fitting = max(1, features // max(1, math.prod(chunk)))
        chunk[0] = max(1, min(rows_per_shard, 1 << fitting.bit_length() - 1, num_examples))
    return [max(1, size) for size in chunk]
