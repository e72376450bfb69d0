"""Ways to fit that are timed beside each other."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from benchmarks import peers
from benchmarks.networks import NUM_STEPS, Workload, feature_batch, raw_batch
from benchmarks.timing import interleaved, timed
from functa_store.config import FitConfig, MatmulPrecision
from functa_store.learn.devices import one_at_a_time
from functa_store.learn.fit import Fit, choose_batch_size
from functa_store.learn.inner_loop import extend
from functa_store.sources.batch_reader import BatchReader

BATCHES = {"128x6": 32, "256x10": 16, "512x15": 8, "128x4-8x8x16": 32, "256x6-8x8x16": 16}
"""Examples per call of ours on a CPU, where their number does not matter for speed, and different images on all."""

PLAIN_BATCHES = {
    "128x6": (2, 4, 8, 16),
    "256x10": (1, 2, 4, 8),
    "512x15": (1, 2, 4),
    "128x4-8x8x16": (1, 2, 4, 8),
    "256x6-8x8x16": (1, 2, 4, 8),
}
PLAIN_BATCHES_ON_ACCELERATOR = (8, 32, 128, 512)
"""Examples per call of `jitted`, of which the fastest is taken."""

PASSES = 2.0 * NUM_STEPS + 1
"""Forward passes of the published fit by the cost model, `functa_store.learn.fit`."""

MOST_EXAMPLES = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One way to fit.

    Attributes:
        call: Fits a batch: modulations (examples, modulation), and errors.
        batch: Examples per call.
        passes: Arithmetic computed per example, in forward passes.
        prepare_seconds: What ours computes once per base network, compilation apart.
    """

    call: Callable[[], Any]
    batch: int
    passes: float = PASSES
    prepare_seconds: float | None = None


def ours(workload: Workload, schedule: FitConfig, precision: MatmulPrecision) -> Side:
    """The library's fit."""
    graph, learnable = workload.learnable()
    source = workload.source(BATCHES[workload.name])
    config = dataclasses.replace(workload.config, matmul_precision=precision, fit=schedule)
    fit = Fit(graph, config, source)
    steps = extend(learnable.rates, schedule.num_steps)
    timed(lambda: fit.prepare(learnable.base, steps))
    seconds, shared = timed(lambda: fit.prepare(learnable.base, steps))
    wanted = BATCHES[workload.name] if one_at_a_time() else None
    probe = Fit(graph, config, source)  # one of its own, so that the first call of `fit` compiles
    batch = choose_batch_size(probe, shared, BatchReader(source, cache_bytes=0), wanted, MOST_EXAMPLES)
    raw = raw_batch(source, batch)
    return Side(call=lambda: fit(shared, raw), batch=batch, passes=float(fit.plan.passes), prepare_seconds=seconds)


def jitted(workload: Workload, precision: MatmulPrecision, batch: int) -> Side:
    """Peer (a), a number of examples at once."""
    fit, arguments = peers.jitted_fit(workload.w0, workload.grid), _arguments(workload, batch)

    def call() -> Any:
        with jax.default_matmul_precision(precision):
            return fit(*arguments)

    return Side(call=call, batch=batch)


def fastest_jitted(workload: Workload, precision: MatmulPrecision) -> Side:
    """Peer (a), the fastest of a few batch sizes by a short probe, to be compiled anew."""
    speeds = {}
    for batch in PLAIN_BATCHES[workload.name] if one_at_a_time() else PLAIN_BATCHES_ON_ACCELERATOR:
        side = jitted(workload, precision, batch)
        try:
            times = interleaved({"": side.call}, runs=2)[""]
        except jax.errors.JaxRuntimeError:  # out of memory
            break
        speeds[batch] = batch / min(times.seconds)
    return jitted(workload, precision, max(speeds, key=speeds.__getitem__))


def one_by_one(workload: Workload, precision: MatmulPrecision, checkout: Path | None) -> dict[str, Side]:
    """Peers (b) and (c), which take one example after the other."""
    weights, rates, coords, features = _arguments(workload, 1)
    fits: dict[str, peers.ExampleFit] = {"eager": functools.partial(peers.plain_fit, grid=workload.grid)}
    if checkout is not None and workload.grid is None:  # the authors of grids have published no code
        fits["reference"] = peers.reference_fit(checkout)

    def side(fit: peers.ExampleFit) -> Side:
        def call() -> Any:
            with jax.default_matmul_precision(precision):
                modulation, mse = fit(weights, workload.w0, rates, coords, features[0])
            return modulation[None], mse[None]

        return Side(call=call, batch=1)

    return {name: side(fit) for name, fit in fits.items()}


def _arguments(workload: Workload, batch: int) -> tuple[Any, ...]:
    source = workload.source(BATCHES[workload.name])  # as ours: other ones would have other modulations
    coords = jax.device_put(source.domain.coords())
    return workload.weights(), workload.learnable()[1].rates, coords, feature_batch(source, batch)
