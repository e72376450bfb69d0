"""Examples over devices, and batch sizes that their memory holds."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from functa_store.errors import ConfigError
from functa_store.support.memory import available_bytes

FIT_BATCH = 16
"""Examples per device and call of a fit; where a probe finds more to be faster, it takes more."""

FEATURE_BYTES = 2**27
"""Features of a fit's batch on a CPU, where the size of a batch does not matter otherwise."""

LARGEST_FIT_BATCH = 4096
WORTH_DOUBLING = 1.1
"""Speed-up by which twice the batch must pay to be taken."""

XLA_THREADS = "NPROC"
"""Variable of the environment that bounds XLA's threads on CPUs."""

UNSPLIT = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}
"""Options of XLA by which it leaves out the pass that splits loops over threads."""

FEW_DEVICES = 4
"""Devices that a process with fewer cores has, where programs are split over as many threads or more."""

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
    what: str,
    compile: Callable[[int], P],
    microbatch_sizes: Sequence[int],
    free: float,
    most: Callable[[float], float] = float,
) -> tuple[P, int]:
    """Compile a program for as many examples at once as memory holds.

    Args:
        what: What the program does, for the error.
        compile: Compiles it for a number of examples at once.
        microbatch_sizes: The numbers to choose from, the most first.
        free: Free bytes of a device.
        most: The highest of a number in all processes that need the same program; see `Group.most`.

    Returns:
        The program and the number.

    Raises:
        ConfigError: If memory holds none of them.
    """
    needed = 0
    for size in microbatch_sizes:
        compiled = compile(size)
        needed = temporary_bytes(compiled)
        if most(needed - USABLE * free) <= 0:
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


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_all_cores(threads: int = 0) -> None:
    """Have as many CPU devices as there are cores, or some more where programs are split over more threads.

    No effect once JAX has started, if the caller has chosen a number, or on accelerators.

    The small matrix products of one example leave a second core idle; an example per core does
    not (1.5 times as fast at 128x6 with 512 points on 2 cores). On fewer cores than threads a core would wait for the
    other threads of one example, and so has another one (docs/how-to/workers.md has what that is worth).

    Args:
        threads: What programs are split over (`use_threads`); up to `FEW_DEVICES` of them have a device.
    """
    if jax.config.jax_num_cpu_devices > 0:  # type: ignore[attr-defined]  # JAX defines its options at run time
        return
    try:
        jax.config.update("jax_num_cpu_devices", max(usable_cores(), min(threads, FEW_DEVICES)))
    except RuntimeError:  # a backend exists already; whoever started it chose its devices
        return


def compute_threads() -> int:
    """Threads that the loops and matrix products of a CPU program are split over.

    They decide the last bits of a sum, whatever the number of devices is: XLA splits long sums between them, and
    compiles a loop that is split otherwise. 0 on accelerators.
    """
    if not one_at_a_time():
        return 0
    return max(int(os.environ.get(XLA_THREADS) or 0) or usable_cores(), jax.local_device_count())


def use_threads(count: int) -> None:
    """Split programs over as many threads as another process has, whose bytes are to be met, on however many cores.

    No effect once JAX has started. `compute_threads` tells what came of it.
    """
    if count:
        os.environ[XLA_THREADS] = str(count)


def one_at_a_time() -> bool:
    """Whether a device takes one example at a time, as a CPU core does, whose cache holds its activations then."""
    return jax.default_backend() == "cpu"


def copies() -> int:
    """Copies that one memory holds of what is on every device: CPU cores share it, accelerators have their own."""
    return jax.local_device_count() if one_at_a_time() else 1


def microbatch_sizes(wanted: int | None, batch_size: int, most: int | None = None) -> list[int]:
    """Examples that a device may take together, the most first: divisors of its share of a batch.

    Args:
        wanted: Leaves only the largest divisor up to this; None leaves 1 on a CPU, which is fastest there.
        batch_size: Examples of the batch.
        most: As for `num_devices`.
    """
    share = batch_size // num_devices(batch_size, most)
    divisors = [n for n in range(share, 0, -1) if share % n == 0]
    if wanted is not None:
        return [max(n for n in divisors if n <= wanted)]
    return [1] if one_at_a_time() else divisors


def on_devices(value: Any, count: int) -> Any:
    """Copies of arrays on the first devices, where `over_devices` finds them without moving them."""
    return jax.device_put(jax.device_get(value), NamedSharding(_mesh(count), PartitionSpec()))


def over_devices(
    function: Callable[..., tuple[Any, Any]], shared: Any, batch: tuple[jax.Array, ...], mesh: Mesh | None = None
) -> tuple[Any, Any]:
    """Apply a function to equal parts of a batch, one on each device.

    Args:
        function: (shared, *part) -> (kept, summed), for any number of examples.
        shared: What all examples share; copied to every device.
        batch: Arrays with the examples' axis first.
        mesh: Devices of several processes, all of which get everything that is kept; None takes as many local devices
            as divide the batch, each of which keeps its part.

    Returns:
        What the function keeps, examples' axis first, and the sum of `summed` over the parts.
    """
    part, copy = PartitionSpec("example"), PartitionSpec()

    def on_device(shared, batch):
        kept, summed = function(shared, *batch)
        if mesh is not None:
            kept = jax.lax.all_gather(kept, "example", tiled=True)
        return kept, jax.lax.psum(summed, "example")

    specs: dict[str, Any] = {"in_specs": (copy, part), "out_specs": (part if mesh is None else copy, copy)}
    chosen = _mesh(num_devices(len(batch[0]))) if mesh is None else mesh
    return jax.shard_map(on_device, mesh=chosen, check_vma=False, **specs)(shared, batch)


def each(
    function: Callable[..., tuple[Any, Any]], shared: Any, batch: tuple[jax.Array, ...], microbatch_size: int
) -> tuple[Any, Any]:
    """Apply a function to every example of a batch on one device, some of them together.

    Args:
        function: (shared, *example) -> (kept, summed), for one example, without a batch axis.
        shared: What all examples share.
        batch: Arrays with the examples' axis first.
        microbatch_size: Examples taken together, a divisor of the batch; memory grows with them.

    Returns:
        What the function keeps, examples' axis first, and the sum of `summed` over the batch.
    """
    size = len(batch[0])

    def group(*examples):
        if microbatch_size == 1:
            return function(shared, *(array[0] for array in examples))
        kept, summed = jax.vmap(lambda *example: function(shared, *example))(*examples)
        return kept, jax.tree.map(lambda one: one.sum(axis=0), summed)

    def add(total, examples):
        kept, summed = group(*examples)
        return jax.tree.map(jnp.add, total, summed), kept

    groups = tuple(array.reshape(size // microbatch_size, microbatch_size, *array.shape[1:]) for array in batch)
    shapes = jax.eval_shape(group, *(array[0] for array in groups))[1]
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, kept = jax.lax.scan(add, start, groups)
    return (kept if microbatch_size == 1 else jax.tree.map(lambda one: one.reshape(size, *one.shape[2:]), kept)), total


def first_ones(function: Callable[..., Any], shared: Any, batch: tuple[jax.Array, ...], count: jax.Array) -> Any:
    """Apply a function to the first examples of a batch on one device, one after the other, and leave zeros for others.

    Args:
        function: (shared, *example) -> kept, for one example, without a batch axis.
        shared: What all examples share.
        batch: Arrays with the examples' axis first.
        count: How many, known when the program runs: the same program, and so the same bits, for any number.

    Returns:
        What the function keeps, examples' axis first.
    """

    def one(i: jax.Array, kept: Any) -> Any:
        found = function(shared, *(array[i] for array in batch))
        return jax.tree.map(lambda everything, part: everything.at[i].set(part), kept, found)

    shapes = jax.eval_shape(function, shared, *(array[0] for array in batch))
    nothing = jax.tree.map(lambda s: jnp.zeros((len(batch[0]), *s.shape), s.dtype), shapes)
    return jax.lax.fori_loop(0, count, one, nothing)


def num_devices(batch_size: int, most: int | None = None) -> int:
    """Local devices that share a batch equally: the most that divide it.

    Args:
        batch_size: Examples of the batch.
        most: Devices that there are, if others count than those of this process.
    """
    return max(n for n in range(1, (most or jax.local_device_count()) + 1) if batch_size % n == 0)


def shared_jit(function: Callable[..., Any], mesh: Mesh | None) -> Any:
    """A jitted function, whose results all devices of a mesh of several processes have; None for one process."""
    return jax.jit(function) if mesh is None else jax.jit(function, out_shardings=NamedSharding(mesh, PartitionSpec()))


def unsplit_jit(function: Callable[..., Any]) -> Any:
    """A jitted function for a batch with an example on every device, whose loops are not split over threads on a CPU.

    Fits of 128x6 at 64x64 take 2 % less CPU time on 2 cores by it, a quarter to a third less where XLA has 64 threads.
    """
    return jax.jit(function, compiler_options=UNSPLIT if one_at_a_time() else None)


def _mesh(count: int) -> Mesh:
    return Mesh(np.array(jax.local_devices()[:count]), ("example",))
