"""Batch sizes that memory holds."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax

from functa_store.errors import ConfigError
from functa_store.learn.parallel import copies, one_at_a_time
from functa_store.support.memory import available_bytes

FIT_BATCH = 16
"""Examples per device and call of a fit; where a probe finds more to be faster, it takes more."""

FEATURE_BYTES = 2**27
"""Features of a fit's batch on a CPU, where the size of a batch does not matter otherwise."""

LARGEST_FIT_BATCH = 4096
WORTH_DOUBLING = 1.1
"""Speed-up by which twice the batch must pay to be taken."""

USABLE = 0.8
"""Share of the free memory that is planned with."""


@runtime_checkable
class Program(Protocol):
    """A compiled program, such as `jax.stages.Compiled`."""

    def memory_analysis(self) -> Any:
        """What memory it takes, if the device can say."""
        ...


P = TypeVar("P", bound=Program)


def free_bytes() -> float:
    """Memory that is free for each device: an accelerator has its own, CPU cores share the machine's."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats["bytes_in_use"])
    return available_bytes() / copies()


def temporary_bytes(compiled: Program) -> int:
    """Memory for intermediate results that a compiled program takes on one device; 0 if nobody says."""
    analysis = compiled.memory_analysis()
    return analysis.temp_size_in_bytes if analysis is not None else 0


def compile_within_memory(
    what: str, compile: Callable[[int], P], microbatch_sizes: Sequence[int], free: float
) -> tuple[P, int]:
    """Compile a program for as many examples at once as memory holds.

    Args:
        what: What the program does, for the error.
        compile: Compiles it for a number of examples at once.
        microbatch_sizes: The numbers to choose from, the most first.
        free: Free bytes of a device.

    Returns:
        The program and the number.

    Raises:
        ConfigError: If memory holds none of them.
    """
    needed = 0
    for size in microbatch_sizes:
        compiled = compile(size)
        needed = temporary_bytes(compiled)
        if needed <= USABLE * free:
            return compiled, size
    raise ConfigError(
        f"{what} needs {needed / 2**30:.2f} GiB on a device with {microbatch_sizes[-1]} of its examples at once, "
        f"expected at most {USABLE * free / 2**30:.2f} GiB, {USABLE:.0%} of what is free. Evaluate fewer points at "
        "once (tile_points, --tile-points), or take a smaller network"
    )


def fit_batch_size(wanted: int | None, example_bytes: int, num_examples: int, time_of: Callable[[int], float]) -> int:
    """Examples per call of a fit: as wanted, or as many as are fast.

    On a CPU the size does not matter for speed and is the same on every run; on an accelerator it doubles
    as long as a short probe says that it pays and memory holds it.

    Args:
        wanted: What the user asked for.
        example_bytes: Size of one example's features.
        num_examples: Examples that are fitted in a row.
        time_of: Seconds that a batch of a size takes, measured; asked only on accelerators.

    Returns:
        A multiple of the number of local devices, no larger than needed for all examples.

    Raises:
        ConfigError: If memory does not hold one example on each device.
    """
    devices = jax.local_device_count()
    most = -(-num_examples // devices)
    if wanted is not None:
        size = -(-wanted // devices)
    elif one_at_a_time():
        size = min(FIT_BATCH, FEATURE_BYTES // (devices * example_bytes))
    else:
        size = _probe(lambda size: time_of(size * devices), min(most, LARGEST_FIT_BATCH))
    return devices * min(most, max(1, size))


def timed(function: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of a call, compilation apart."""
    jax.block_until_ready(function(*arguments))
    began = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - began


def _probe(time_of: Callable[[int], float], most: int) -> int:
    """Examples per device: doubled as long as it pays, halved as long as memory does not hold them."""
    best, speed, size = 0, 0.0, min(FIT_BATCH, most)
    while 1 <= size <= most:
        try:
            now = size / time_of(size)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if best:
                break
            size //= 2
            continue
        if now < WORTH_DOUBLING * speed:
            break
        best, speed, size = size, now, 2 * size
    if not best:
        raise ConfigError(
            "one example on each device is more than its memory holds; evaluate fewer points at once "
            "(tile_points, --tile-points)"
        )
    return best
