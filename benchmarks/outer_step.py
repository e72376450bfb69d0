"""Speed and memory of an outer step on all points, against a plain one.

    python -m benchmarks.outer_step [--sizes 128x6 256x10 128x4-8x8x16 256x6-8x8x16] [--memory-only] [--out NAME.json]

One second-order outer step through three inner steps on all points of 64x64 RGB images of random bytes:

    ours    functa_store.learn.outer_loop.make_outer_step, examples taken together as a conversion would
    jitted  peers.plain_outer_step with Adam, the whole batch together

Temporaries are what XLA reserves for intermediate results, on all devices together; per example, they are
divided by the examples taken together on all devices. With --memory-only, the functa paper's network (512x15,
256 dimensions) is compiled for the devices that JAX has by itself, of which a CPU is one; nothing is run.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.stages import Compiled

from benchmarks import peers, report
from benchmarks.networks import WORKLOADS, Workload, feature_batch, raw_batch
from benchmarks.timing import DisagreementError, interleaved, ratio, timed
from functa_store.config import ConvertConfig, MatmulPrecision
from functa_store.learn.devices import (
    compile_within_memory,
    free_bytes,
    microbatch_sizes,
    num_devices,
    temporary_bytes,
    use_all_cores,
)
from functa_store.learn.observers import observer_of
from functa_store.learn.outer_loop import LearnState, make_optimizer, make_outer_step

SIZES = ("128x6", "256x10", "128x4-8x8x16", "256x6-8x8x16")
BATCHES = {"128x6": 8, "256x10": 4, "512x15": 2, "128x4-8x8x16": 8, "256x6-8x8x16": 4}

PAPER = Workload(width=512, depth=15, modulation_dim=256)
PAPER_STEPS = (("ours", 16, None), ("ours", 64, 64), ("ours", 64, 32), ("jitted", 16, None), ("jitted", 64, None))
"""Side, batch, and examples taken together; None as the side chooses."""

RATE = 3e-6
"""Adam's rate, for everything."""

TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A compiled outer step with what it is called with.

    Attributes:
        compiled: The step.
        arguments: Its arguments, the state first.
        states: How many arguments are the state, which its first results replace.
        batch: Examples of a step.
        together: Examples taken together on a device.
        devices: Devices that share the batch.
        compile_seconds: What compilation took.
    """

    compiled: Compiled
    arguments: tuple[Any, ...]
    states: int
    batch: int
    together: int
    devices: int
    compile_seconds: float

    def memory(self) -> dict[str, Any]:
        """JSON-ready."""
        total = temporary_bytes(self.compiled) * self.devices
        return {
            "batch": self.batch,
            "devices": self.devices,
            "together": self.together,
            "compile_seconds": self.compile_seconds,
            "temporary_bytes": total,
            "temporary_bytes_per_example": total / (self.together * self.devices),
        }

    def running(self) -> Callable[[], Any]:
        """A call that takes the next step, and returns its state and losses."""
        state, rest = self.arguments[: self.states], self.arguments[self.states :]

        def call() -> Any:
            nonlocal state
            *state, losses = self.compiled(*state, *rest)
            return state, losses

        return call


def ours(workload: Workload, batch: int, together: int | None = None, precision: MatmulPrecision = "float32") -> Step:
    """The library's step.

    Args:
        workload: What it learns.
        batch: Examples of a step.
        together: Examples taken together on a device; None chooses as a conversion does.
        precision: Of the products between hidden layers.
    """
    config = _config(workload, batch, precision)
    graph, learnable = workload.learnable()
    source = workload.source(batch)
    state = LearnState(learnable, make_optimizer(config.outer).init(learnable))
    arguments = (state, raw_batch(source, batch), jax.random.key(0), np.float32(1))

    def compile(together: int) -> Compiled:
        step = make_outer_step(graph, config, observer_of(source.domain, source.features, config.network), together)
        return step.lower(*arguments).compile()

    devices = num_devices(batch)
    sizes, free = microbatch_sizes(together, batch), free_bytes() if together is None else math.inf
    seconds, (compiled, together) = timed(lambda: compile_within_memory("an outer step", compile, sizes, free))
    return Step(
        compiled=compiled,
        arguments=arguments,
        states=1,
        batch=batch,
        together=together,
        devices=devices,
        compile_seconds=seconds,
    )


def jitted(workload: Workload, batch: int, precision: MatmulPrecision = "float32") -> Step:
    """The plain step with Adam."""
    optimizer = optax.adam(RATE)
    source = workload.source(batch)
    params = {"base": workload.weights(), "rates": workload.learnable()[1].rates}
    coords = jax.device_put(source.domain.coords())
    arguments = (params, optimizer.init(params), coords, feature_batch(source, batch))
    step: Any = peers.plain_outer_step(workload.w0, optimizer, workload.grid)
    with jax.default_matmul_precision(precision):
        seconds, compiled = timed(lambda: step.lower(*arguments).compile())
    return Step(
        compiled=compiled,
        arguments=arguments,
        states=2,
        batch=batch,
        together=batch,
        devices=1,
        compile_seconds=seconds,
    )


def compare(workload: Workload, batch: int, runs: int) -> list[dict[str, Any]]:
    """Facts of both sides, JSON-ready.

    Raises:
        DisagreementError: If their losses before the first update differ.
    """
    steps = {"ours": ours(workload, batch), "jitted": jitted(workload, batch)}

    def check(results: dict[str, Any]) -> None:
        found, expected = (np.asarray(results[name][1]) for name in steps)
        if not np.allclose(found, expected, rtol=TOLERANCE, atol=0):
            raise DisagreementError(f"{workload.name}: losses {found} of ours, {expected} of the jitted step")

    times = interleaved({name: step.running() for name, step in steps.items()}, runs, check)
    plain = steps["jitted"].memory()["temporary_bytes"]
    return [
        {
            "workload": workload.name,
            "side": name,
            **(memory := step.memory()),
            "seconds_per_image": times[name].median / batch,
            "speedup": ratio(times["jitted"], times[name]),
            "memory_ratio": memory["temporary_bytes"] / plain if plain else None,
        }
        for name, step in steps.items()
    ]


def memory_of_paper() -> list[dict[str, Any]]:
    """Temporaries of the paper's network, compiled only."""
    makers = {"ours": ours, "jitted": lambda workload, batch, _: jitted(workload, batch)}
    return [
        {"workload": PAPER.name, "side": side, **makers[side](PAPER, batch, together).memory()}
        for side, batch, together in PAPER_STEPS
    ]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    keys = {
        "workload": "network",
        "side": "side",
        "batch": "batch",
        "devices": "devices",
        "together": "together",
        "compile_seconds": "compilation (s)",
        "seconds_per_image": "s per image",
        "speedup": "times as fast as jitted",
        "megabytes": "temporaries (MB)",
        "memory_ratio": "of jitted's",
        "megabytes_per_example": "per example (MB)",
    }
    shown = [
        {
            **row,
            "megabytes": row["temporary_bytes"] / 1e6,
            "megabytes_per_example": row["temporary_bytes_per_example"] / 1e6,
        }
        for row in rows
    ]
    return report.table_of(shown, {key: heading for key, heading in keys.items() if key in shown[0]})


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=WORKLOADS, default=list(SIZES))
    parser.add_argument("--memory-only", action="store_true", help="compile the paper's network, run nothing")
    args = parser.parse_args(argv)
    if args.memory_only:
        name, rows = "outer_step, memory", memory_of_paper()
    else:
        use_all_cores()
        name = "outer_step"
        rows = [row for size in args.sizes for row in compare(WORKLOADS[size], BATCHES[size], args.runs)]
    report.publish(name, {"steps": rows}, markdown(rows), args.out)


def _config(workload: Workload, batch: int, precision: MatmulPrecision) -> ConvertConfig:
    outer = dataclasses.replace(
        workload.config.outer,
        batch_size=batch,
        num_points=None,
        learning_rate=RATE,
        map_learning_rate=RATE,
        rates_learning_rate=RATE,
    )
    return dataclasses.replace(workload.config, outer=outer, matmul_precision=precision)


if __name__ == "__main__":
    main()
