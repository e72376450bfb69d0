"""Timing of programs beside each other, and of what this machine could do.

Sides that are compared take turns in one process, so that what else the machine does meets them alike;
their ratio is the median over the rounds. First calls, which compile, are a number of their own.
"""

import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from functa_store.config import MatmulPrecision
from functa_store.errors import FunctaStoreError
from functa_store.learn.devices import one_at_a_time

R = TypeVar("R")

RUNS = 5

PRODUCTS = 20
"""Matrix products in a chain."""

SHAPES = ((4096, 512), (1024, 512), (512, 512), (1024, 256), (512, 256), (512, 128), (1024, 1024))
"""Rows and inner width of the products: those of a network's tiles, which a core's cache holds."""

ACCELERATOR_SHAPES = ((8192, 8192), (8192, 1024), (65536, 512), (65536, 256))
"""What it takes to fill an accelerator, beside the others."""


class DisagreementError(FunctaStoreError, ArithmeticError):
    """Two sides that are to be compared do not compute the same."""


class Times(NamedTuple):
    """Seconds of one side.

    Attributes:
        first: The first call, with compilation.
        seconds: Every later call, in order.
    """

    first: float
    seconds: list[float]

    @property
    def median(self) -> float:
        """Median of the later calls."""
        return statistics.median(self.seconds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """Where numbers come from.

    Attributes:
        processor: Name of the processor.
        cores: Processor cores that this process may use.
        jax: Version of JAX.
        device: What JAX computes on.
        devices: How many of them.
    """

    processor: str
    cores: int
    jax: str
    device: str
    devices: int

    @classmethod
    def here(cls) -> "Machine":
        """This machine; starts JAX."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        device, count = jax.local_devices()[0].device_kind, jax.local_device_count()
        return cls(processor=_processor(), cores=cores, jax=jax.__version__, device=device, devices=count)


class Ceiling(NamedTuple):
    """The fastest matrix product of a precision, on all local devices together.

    Attributes:
        rates: Floating-point operations per second of every shape, by "ROWSxINNER".
        shape: The fastest shape.
        flops: Floating-point operations of a call of `chain`.
        chain: The products of that shape, to be timed again beside something else.
    """

    rates: dict[str, float]
    shape: str
    flops: int
    chain: Callable[[], Array]

    @property
    def rate(self) -> float:
        """Floating-point operations per second of the fastest shape."""
        return self.rates[self.shape]

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"shape": self.shape, "flops_per_second": self.rate, "flops_per_second_by_shape": self.rates}


def interleaved(
    functions: Mapping[str, Callable[[], Any]], runs: int, check: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Times]:
    """Time functions in turns: A B A B ...

    Args:
        functions: By name; their results are waited for.
        runs: Calls of each after its first one.
        check: Is given the results of the first calls before any other call.
    """
    first = {name: timed(function) for name, function in functions.items()}
    if check is not None:
        check({name: result for name, (_, result) in first.items()})
    rounds = [{name: timed(function)[0] for name, function in functions.items()} for _ in range(runs)]
    return {name: Times(first[name][0], [times[name] for times in rounds]) for name in functions}


def timed(function: Callable[[], R]) -> tuple[float, R]:
    """Seconds until the result of a call is there, and the result."""
    began = time.perf_counter()
    result = jax.block_until_ready(function())
    return time.perf_counter() - began, result


def ratio(numerator: Times, denominator: Times) -> float:
    """Median over the rounds of the ratio of two sides' seconds."""
    return statistics.median(a / b for a, b in zip(numerator.seconds, denominator.seconds, strict=True))


def precisions() -> tuple[MatmulPrecision, ...]:
    """The precisions that differ in speed on this device."""
    return ("float32",) if one_at_a_time() else get_args(MatmulPrecision)


def matmul_ceiling(
    precision: MatmulPrecision = "float32", runs: int = RUNS, shapes: Sequence[tuple[int, int]] | None = None
) -> Ceiling:
    """The best rate of matrix products of several shapes, every local device at work on its own.

    Args:
        precision: Of the factors; sums are float32.
        runs: Timed calls per shape.
        shapes: Rows and inner widths; None takes those that suit the device.
    """
    shapes = shapes or (SHAPES if one_at_a_time() else SHAPES + ACCELERATOR_SHAPES)
    chains = {f"{rows}x{inner}": _chain(rows, inner, precision) for rows, inner in shapes}
    flops = {f"{rows}x{inner}": _flops(rows, inner) for rows, inner in shapes}
    rates = {name: flops[name] / times.median for name, times in interleaved(chains, runs).items()}
    best = max(rates, key=rates.__getitem__)
    return Ceiling(rates, best, flops[best], chains[best])


def on_every_device(function: Callable[..., Array], arrays: Sequence[np.ndarray]) -> Callable[[], Array]:
    """A compiled call in which every local device applies a function to arrays of its own at the same time."""
    devices, part = jax.local_devices(), PartitionSpec("device")
    mesh = Mesh(np.array(devices), ("device",))
    program = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=part, out_specs=part))
    own = [jax.device_put(np.concatenate([array] * len(devices)), NamedSharding(mesh, part)) for array in arrays]
    return lambda: program(*own)


def _chain(rows: int, inner: int, precision: MatmulPrecision) -> Callable[[], Array]:
    def product(a: Array, b: Array) -> Array:
        if precision == "bfloat16":
            return jnp.matmul(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=jnp.float32)
        return jnp.matmul(a, b, precision=precision)

    def chain(a: Array, b: Array) -> Array:
        return jax.lax.scan(lambda c, _: (product(c, b) * 0.001, None), a, length=PRODUCTS)[0]

    rng = np.random.default_rng(0)  # numbers that are all equal cost some accelerators less power, hence time
    return on_every_device(chain, [rng.random((rows, inner), np.float32), rng.random((inner, inner), np.float32)])


def _flops(rows: int, inner: int) -> int:
    return 2 * rows * inner**2 * PRODUCTS * jax.local_device_count()


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
