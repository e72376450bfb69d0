"""How many examples does a device take at once?"""

import math
import os
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax

from functa_store.errors import ConfigError
from functa_store.learn.parallel import one_at_a_time

FIT_BATCH = 32
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
    """Memory that is free on the first device, or infinity if nobody says."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats["bytes_in_use"])
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    except (ValueError, OSError):  # not on every system
        return math.inf


def temporary_bytes(compiled: Program) -> int:
    """Memory for intermediate results that a compiled program takes on one device; 0 if nobody says."""
    analysis = compiled.memory_analysis()
    return analysis.temp_size_in_bytes if analysis is not None else 0


def compile_within_memory(compile: Callable[[int], P], at_once: int, free: float) -> tuple[P, int]:
    """Compile a program for as many examples at once as memory holds.

    Args:
        compile: Compiles the program for a number of examples at once.
        at_once: The number to start from.
        free: Free bytes of a device.

    Returns:
        The program and the number.

    Raises:
        ConfigError: If memory does not hold a single example.
    """
    while True:
        compiled = compile(at_once)
        needed = temporary_bytes(compiled)
        if needed <= USABLE * free:
            return compiled, at_once
        if at_once == 1:
            raise ConfigError(
                f"one example at a time needs {needed / 2**30:.2f} GiB, of which {USABLE * free / 2**30:.2f} GiB are "
                "free; learn on fewer points (num_points), or with a smaller network"
            )
        at_once = max(1, min(at_once // 2, int(at_once * USABLE * free / needed)))


def fit_batch_size(wanted: int | None, example_bytes: int, num_examples: int, time_of: Callable[[int], float]) -> int:
    """Examples per call of a fit: as wanted, or as many as are fast and as memory holds.

    On a CPU the size does not matter for speed and is the same on every run; on an accelerator it doubles
    as long as a short probe says that it pays.

    Args:
        wanted: What the user asked for.
        example_bytes: Size of one example's features.
        num_examples: Examples there are.
        time_of: Seconds that a batch of a size takes, measured; asked only on accelerators.

    Returns:
        At most the number of examples.
    """
    if wanted is not None:
        size = wanted
    elif one_at_a_time():
        size = min(FIT_BATCH, FEATURE_BYTES // example_bytes)
    else:
        size = _probe(time_of, FIT_BATCH * jax.local_device_count(), min(num_examples, LARGEST_FIT_BATCH))
    return min(num_examples, max(1, size))


def timed(function: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of a call, compilation apart."""
    jax.block_until_ready(function(*arguments))
    began = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - began


def _probe(time_of: Callable[[int], float], size: int, most: int) -> int:
    best, speed = min(size, most), 0.0
    while size <= most:
        try:
            now = size / time_of(size)
        except jax.errors.JaxRuntimeError:  # out of memory
            break
        if now < WORTH_DOUBLING * speed:
            break
        best, speed, size = size, now, 2 * size
    return best
