"""Fit, outer step, decoder and a learning curve on one accelerator, within a few minutes.

    benchmarks/accelerator.sh [--minutes 8.5] [--archive cifar10_jpeg.zip] [--out NAME.json]
    python -m benchmarks.accelerator --cpu        a dry run: everything, tiny, on the CPU

Networks with random initial weights and 64x64 RGB images of random bytes, as in `benchmarks.fit` and
`benchmarks.outer_step`, in float32, tensorfloat32 and bfloat16: ours beside the jitted plain transcription of the
published algorithm, in turns. Shares are those of the fastest matrix product of the same precision. Then base
networks with 1,024 numbers per image, as one vector and as a grid of cells, learn CIFAR-10 in the time that is left.

Programs of a part are compiled by several threads, and timed once all are there; what is not there in time, does not
fit into memory or fails is a row that says so, and the rest goes on. The JSON file is written anew after each row.
"""

import concurrent.futures
import dataclasses
import functools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import decode, outer_step, peers, report
from benchmarks.networks import NUM_STEPS, WORKLOADS, Workload, feature_batch, raw_batch
from benchmarks.sides import PASSES
from benchmarks.timing import Ceiling, Machine, interleaved, matmul_ceiling, ratio, timed
from converters.images.images import open_images
from functa_store.config import ConvertConfig, FitConfig, MatmulPrecision, NetworkConfig, OuterLoopConfig
from functa_store.errors import FunctaStoreError
from functa_store.learn.devices import compile_within_memory, free_bytes
from functa_store.learn.fit import Fit, fit_examples, forward_flops
from functa_store.learn.inner_loop import extend
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.outer_loop import Base
from functa_store.learn.training_set import TrainingSet
from functa_store.metrics import psnr_mean
from functa_store.progress import Learned
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly

MINUTES = 8.5
ARCHIVE = Path(__file__).parents[2] / "shared" / "data" / "cifar10_jpeg.zip"
OUT = Path("bench-output/accelerator.json")

ENDS = {"fits": 0.28, "decode": 0.36, "outer_steps": 0.62, "learning": 1.0}
"""The parts in order, and the share of the time by which each ends."""

IMAGES = 8
"""Different images on which fits and outer steps are timed; larger batches repeat them."""

TOLERANCE = 1e-3
"""Relative difference between the results of both sides in float32 above which they disagree."""

OUTER_PASSES = 3 * PASSES
"""Forward passes of the published outer step by the cost model, `functa_store.learn.fit`."""

FIT_STEPS = (NUM_STEPS, 10)
"""Inner steps after which the learned bases are measured; further ones repeat the last rates."""


class NoAcceleratorError(FunctaStoreError, RuntimeError):
    """JAX sees none."""


class Batches(NamedTuple):
    """Examples per call of a workload, at most; halved where memory does not hold them.

    Attributes:
        fit: Of both fits.
        outer: Of our outer step.
        plain_outer: Of the plain outer step, which keeps all activations.
    """

    fit: int
    outer: int
    plain_outer: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        workloads: The networks, with their batches.
        precisions: The most important one first.
        shapes: Of the matrix products; see `timing.matmul_ceiling`.
        requests: What is decoded.
        learners: Configurations that learn, by name.
        reserve: Seconds that a learner takes beside learning: compilation, and the final fits.
        most_seconds: Longest time of learning.
        test_examples: Held-out examples that are fitted in the end.
    """

    workloads: Mapping[Workload, Batches]
    precisions: Sequence[MatmulPrecision]
    shapes: Sequence[tuple[int, int]]
    requests: Mapping[str, decode.Request]
    learners: Mapping[str, ConvertConfig]
    reserve: float
    most_seconds: float
    test_examples: int


def _learner(network: NetworkConfig, learning_rate: float, batch_size: int, monitor_every: int) -> ConvertConfig:
    outer = OuterLoopConfig(
        batch_size=batch_size,
        num_points=None,
        learning_rate=learning_rate,
        num_monitored=256,
        monitor_every=monitor_every,
    )
    return ConvertConfig(network=network, outer=outer, matmul_precision="tensorfloat32")


LARGE = Plan(
    workloads={
        WORKLOADS["512x15"]: Batches(fit=64, outer=64, plain_outer=16),
        WORKLOADS["256x6-8x8x16"]: Batches(fit=256, outer=128, plain_outer=64),
        WORKLOADS["256x10"]: Batches(fit=128, outer=64, plain_outer=32),
    },
    precisions=("float32", "bfloat16", "tensorfloat32"),
    shapes=((8192, 8192), (65536, 512), (65536, 256)),
    requests=decode.REQUESTS,
    learners={
        "8x8x16": _learner(
            NetworkConfig(width=256, depth=6, w0=10.0, modulation="spatial", modulation_grid=(8, 8), modulation_dim=16),
            learning_rate=5e-4,
            batch_size=128,
            monitor_every=100,
        ),
        "one vector of 1,024": _learner(
            NetworkConfig(width=256, depth=6, modulation_dim=1024),
            learning_rate=2e-4,
            batch_size=128,
            monitor_every=100,
        ),
    },
    reserve=45.0,
    most_seconds=math.inf,
    test_examples=1024,
)

TINY = Plan(
    workloads={
        Workload(width=16, depth=3, modulation_dim=4, size=8): Batches(fit=4, outer=4, plain_outer=2),
        Workload(width=16, depth=3, modulation_dim=4, grid=(2, 2), w0=10.0, size=8): Batches(4, 4, 2),
    },
    precisions=("float32", "bfloat16"),
    shapes=((64, 16), (32, 16)),
    requests={"2 examples at 8x8": decode.Request(examples=2, resolution=(8, 8))},
    learners={
        "2x2x4": _learner(
            NetworkConfig(width=8, depth=3, w0=10.0, modulation="spatial", modulation_grid=(2, 2), modulation_dim=4),
            learning_rate=5e-4,
            batch_size=2,
            monitor_every=10,
        ),
        "one vector of 16": _learner(
            NetworkConfig(width=8, depth=3, modulation_dim=16), learning_rate=2e-4, batch_size=2, monitor_every=10
        ),
    },
    reserve=0.0,
    most_seconds=0.5,
    test_examples=4,
)
"""For dry runs."""


class Clock:
    """Time since the start of the process's work, and until its end.

    Args:
        seconds: All of it.
    """

    def __init__(self, seconds: float) -> None:
        self._began, self._seconds = time.monotonic(), seconds

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def left(self, part: str) -> float:
        """Seconds until a part ends."""
        return ENDS[part] * self._seconds - self.passed


class Results:
    """Rows by part, in a file that is whole at any moment.

    Args:
        path: The JSON file.
        facts: What it says about the machine.
        clock: Of this run.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any], clock: Clock) -> None:
        self.path, self.clock = path, clock
        self.facts = {"benchmark": "accelerator", **facts, **{part: [] for part in ENDS}}
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write()

    def add(self, part: str, row: dict[str, Any]) -> dict[str, Any]:
        """Append a row, tell of it, and write the file."""
        self.facts[part].append(row)
        what = row.get("failed") or row.get("skipped") or "done"
        name = " ".join(str(row[key]) for key in ("workload", "request", "precision", "name") if key in row)
        sys.stderr.write(f"{self.clock.passed:6.1f} s  {part}  {name}: {what}\n")
        sys.stderr.flush()
        self.write()
        return row

    def write(self) -> None:
        """Write all that is known; replaces the file as one."""
        beside = self.path.with_name(f"{self.path.name}.part")
        facts = {**self.facts, "seconds": self.clock.passed}
        beside.write_text(json.dumps(_finite(facts), indent=1, allow_nan=False) + "\n")
        os.replace(beside, self.path)

    @property
    def failures(self) -> int:
        """Rows that failed."""
        return sum("failed" in row for part in ENDS for row in self.facts[part])


class Ready(NamedTuple):
    """A compiled side.

    Attributes:
        call: Computes modulations (examples, modulation) in a fit, losses of the examples in an outer step.
        batch: Examples per call.
        compile_seconds: What tracing and compilation took, beside others.
        passes: Arithmetic of an example in forward passes, where it is known.
    """

    call: Callable[[], Any]
    batch: int
    compile_seconds: float
    passes: float | None = None


def our_fit(workload: Workload, precision: MatmulPrecision, batch: int) -> Ready:
    """The library's fit of the published three steps."""
    graph, learnable = workload.learnable()
    source = workload.source(IMAGES)
    schedule = FitConfig(num_steps=NUM_STEPS, stride=1, tuning_steps=0)
    fit = Fit(graph, dataclasses.replace(workload.config, matmul_precision=precision, fit=schedule), source)
    shared = fit.prepare(learnable.base, extend(learnable.rates, NUM_STEPS))

    def compile(size: int) -> Any:
        return jax.jit(lambda shared, raw: fit(shared, raw)).lower(shared, raw_batch(source, size)).compile()

    seconds, (compiled, size) = timed(lambda: compile_within_memory("a fit", compile, _halves(batch), free_bytes()))
    raw = raw_batch(source, size)
    return Ready(lambda: compiled(shared, raw)[0], size, seconds, float(fit.plan.passes))


def plain_fit(workload: Workload, precision: MatmulPrecision, batch: int) -> Ready:
    """The jitted plain transcription of it."""
    source = workload.source(IMAGES)
    coords = jax.device_put(source.domain.coords())
    fit: Any = peers.jitted_fit(workload.w0, workload.grid)

    def arguments(size: int) -> tuple[Any, ...]:
        return workload.weights(), workload.learnable()[1].rates, coords, feature_batch(source, size)

    def compile(size: int) -> Any:
        with jax.default_matmul_precision(precision):
            return fit.lower(*arguments(size)).compile()

    seconds, (compiled, size) = timed(lambda: compile_within_memory("a fit", compile, _halves(batch), free_bytes()))
    given = arguments(size)
    return Ready(lambda: compiled(*given)[0], size, seconds, PASSES)


def our_outer_step(workload: Workload, precision: MatmulPrecision, batch: int) -> Ready:
    """The library's outer step on all points."""
    step = outer_step.ours(workload, batch, precision=precision)
    call = step.running()
    return Ready(lambda: call()[1], step.batch, step.compile_seconds)


def plain_outer_step(workload: Workload, precision: MatmulPrecision, batch: int) -> Ready:
    """The jitted plain transcription of it."""
    steps: dict[int, outer_step.Step] = {}

    def compile(size: int) -> Any:
        steps[size] = outer_step.jitted(workload, size, precision)
        return steps[size].compiled

    _, size = compile_within_memory("a plain outer step", compile, _halves(batch), free_bytes())
    call = steps[size].running()
    return Ready(lambda: call()[1], size, steps[size].compile_seconds)


def compiled(jobs: Mapping[Any, Callable[[], Any]], seconds: float) -> Iterator[tuple[Any, Any]]:
    """Results of jobs that compile, on several threads.

    Args:
        jobs: By key, the most important ones first.
        seconds: How long to wait.

    Yields:
        Each key with the result, with the exception, or with a `TimeoutError`.
    """
    pool = concurrent.futures.ThreadPoolExecutor(max(2, min(8, (os.cpu_count() or 1) // 2)))
    futures = {key: pool.submit(job) for key, job in jobs.items()}
    concurrent.futures.wait(futures.values(), max(0.0, seconds))
    pool.shutdown(wait=False, cancel_futures=True)
    for key, future in futures.items():
        if not future.done() or future.cancelled():
            yield key, TimeoutError("not compiled in the time of this part")
        else:
            yield key, future.exception() or future.result()


def compare(
    ours: Ready, plain: Ready, ceiling: Ceiling, runs: int, flops: int, passes: float, *, check: bool
) -> dict[str, Any]:
    """Both sides in turns with the fastest product, JSON-ready.

    Args:
        ours: The library's.
        plain: The transcription.
        ceiling: The fastest product of the same precision.
        runs: Timed calls of each.
        flops: Of a forward pass of one example.
        passes: Forward passes of an example by the cost model of the published algorithm.
        check: Whether both must compute the same.
    """
    far: list[float] = []

    def look(results: dict[str, Any]) -> None:
        count = min(ours.batch, plain.batch)
        found, expected = (np.asarray(results[name], np.float64)[:count] for name in ("ours", "plain"))
        far.append(float(np.abs(found - expected).max() / np.abs(expected).max()))

    times = interleaved({"ours": ours.call, "plain": plain.call, "product": ceiling.chain}, runs, look)

    def share(side: Ready, name: str, passes: float) -> float:
        return ratio(times["product"], times[name]) * passes * flops * side.batch / ceiling.flops

    speedup = ratio(times["plain"], times["ours"]) * ours.batch / plain.batch
    row = {
        "batch": ours.batch,
        "plain_batch": plain.batch,
        "compile_seconds": ours.compile_seconds,
        "plain_compile_seconds": plain.compile_seconds,
        "ms_per_image": 1000 * times["ours"].median / ours.batch,
        "plain_ms_per_image": 1000 * times["plain"].median / plain.batch,
        "speedup": speedup,
        "share": share(ours, "ours", passes),
        "share_computed": None if ours.passes is None else share(ours, "ours", ours.passes),
        "plain_share": share(plain, "plain", passes),
        "difference": far[0],
    }
    if check and not far[0] <= TOLERANCE:
        row["failed"] = f"results differ by {far[0]:.2g} of the largest, expected at most {TOLERANCE}"
    return row


Maker = Callable[[Workload, MatmulPrecision, int], Ready]

SIDES: Mapping[str, tuple[Maker, Maker, float]] = {
    "fits": (our_fit, plain_fit, PASSES),
    "outer_steps": (our_outer_step, plain_outer_step, OUTER_PASSES),
}
"""Both sides of a part, and the forward passes of an example by the cost model."""


class Measurement:
    """The parts, one after the other.

    Args:
        plan: What is measured.
        runs: Timed calls of each side.
        results: Where rows go.
        clock: Of this run.
    """

    def __init__(self, plan: Plan, runs: int, results: Results, clock: Clock) -> None:
        self.plan, self.runs, self.results, self.clock = plan, runs, results, clock
        self._ceilings: dict[MatmulPrecision, Ceiling] = {}

    def ceiling(self, precision: MatmulPrecision) -> Ceiling:
        """The fastest product, measured once."""
        if precision not in self._ceilings:
            self._ceilings[precision] = matmul_ceiling(precision, self.runs, self.plan.shapes)
            self.results.facts["ceilings"] = {name: found.facts() for name, found in self._ceilings.items()}
        return self._ceilings[precision]

    def sides(self, part: str) -> None:
        """Fits or outer steps of every network and precision."""
        ours, plain, _ = SIDES[part]
        pairs: list[tuple[Workload, MatmulPrecision]]
        pairs = [(workload, precision) for precision in self.plan.precisions for workload in self.plan.workloads]
        jobs: dict[Any, Callable[[], Ready]] = {}
        for workload, precision in pairs:
            batches = self.plan.workloads[workload]
            most, plain_most = (batches.fit,) * 2 if part == "fits" else (batches.outer, batches.plain_outer)
            jobs[workload, precision, "ours"] = functools.partial(ours, workload, precision, most)
            jobs[workload, precision, "plain"] = functools.partial(plain, workload, precision, plain_most)
        ready = dict(compiled(jobs, 0.75 * self.clock.left(part)))
        for workload, precision in pairs:  # `pop`: with a pair goes what it holds of the memory
            both = [ready.pop((workload, precision, side)) for side in ("ours", "plain")]
            name = {"workload": workload.name, "precision": precision}
            self._row(part, name, functools.partial(self._compared, part, workload, precision, both))

    def _compared(self, part: str, workload: Workload, precision: MatmulPrecision, both: list[Any]) -> dict[str, Any]:
        for found in both:
            if isinstance(found, BaseException):
                raise found
        ours, plain = both
        flops, passes = forward_flops(workload.network, 2, 3, workload.size**2), SIDES[part][2]
        ceiling = self.ceiling(precision)
        return compare(ours, plain, ceiling, self.runs, flops, passes, check=precision == "float32")

    def decoding(self) -> None:
        """Points per second of the decoder."""
        for workload in self.plan.workloads:
            for name, request in self.plan.requests.items():
                measure = functools.partial(self._decoded, workload, {name: request})
                self._row("decode", {"workload": workload.name, "request": name}, measure)

    def _decoded(self, workload: Workload, requests: Mapping[str, decode.Request]) -> dict[str, Any]:
        return decode.speeds(workload, self.ceiling("float32"), self.runs, requests)[0]

    def learn(self, source: Callable[[], Source]) -> None:
        """Learning curves, in as much time as is left."""
        for number, name in enumerate(self.plan.learners):
            others = len(self.plan.learners) - number
            self._row("learning", {"name": name}, functools.partial(self._learned, name, source, others))

    def _learned(self, name: str, opened: Callable[[], Source], learners: int) -> dict[str, Any]:
        source, config = opened(), self.plan.learners[name]
        seconds = min(self.clock.left("learning") / learners - self.plan.reserve, self.plan.most_seconds)
        if seconds <= 0:
            raise Skipped("no time is left for compiling and learning")
        outer = dataclasses.replace(config.outer, num_steps=None, time_budget=seconds)
        config = dataclasses.replace(config, outer=outer)
        curve: list[list[float]] = []
        self.results.facts["curves"] = {**self.results.facts.get("curves", {}), name: curve}

        def tell(event: Any) -> None:
            if isinstance(event, Learned) and event.monitored_psnr is not None:
                curve.append([event.step, event.seconds, event.monitored_psnr])
                self.results.write()

        base = meta_learn(TrainingSet(source, config), config, report=tell)
        found: dict[str, Any] = {"seconds": seconds, "outer_steps": base.num_steps, "psnr_monitored": base.psnr}
        chosen = evenly(np.flatnonzero(source.split == "test"), self.plan.test_examples)
        for num_steps in FIT_STEPS:
            if self.plan.reserve and self.clock.left("learning") < 0:
                break  # the learned curve is kept
            found[f"psnr_test_{num_steps}_steps"] = held_out(base, source, config, num_steps, chosen)
        return found

    def _row(self, part: str, name: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
        if self.clock.left(part) <= 0:
            self.results.add(part, {**name, "skipped": "no time is left for this part"})
            return
        try:
            found = measure()
        except (TimeoutError, Skipped) as error:
            found = {"skipped": str(error)}
        except Exception as error:  # whatever a device or a compiler raises; the other rows go on
            found = {"failed": f"{type(error).__name__}: {str(error)[:500]}"}
        self.results.add(part, {**name, **found})


class Skipped(FunctaStoreError, RuntimeError):
    """Something that is left out, with its reason."""


def held_out(base: Base, source: Source, config: ConvertConfig, num_steps: int, indices: np.ndarray) -> float:
    """Mean PSNR of examples that were not learned from, fitted by the learned rates."""
    schedule = FitConfig(num_steps=num_steps, stride=1, tuning_steps=0)
    fit = Fit(base.graph, dataclasses.replace(config, fit=schedule), source)
    shared = fit.prepare(base.learnable.base, extend(base.learnable.rates, num_steps))
    return psnr_mean(fit_examples(fit, shared, BatchReader(source), indices).mse)


def opened(path: Path) -> Callable[[], Source]:
    """An archive of images that a thread opens; a call waits for it.

    Args:
        path: The archive. If it is not there, a call raises `Skipped`.
    """
    if not path.exists():

        def missing() -> Source:
            raise Skipped(f"found no {path}; give CIFAR-10 as a folder or zip of images by --archive")

        return missing
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(open_images, path, resolution=32)
    pool.shutdown(wait=False)
    return future.result


def markdown(facts: Mapping[str, Any]) -> str:
    """The tables."""
    both = {
        "workload": "network",
        "precision": "precision",
        "batch": "batch",
        "plain_batch": "jitted's",
        "compile_seconds": "compilation (s)",
        "plain_compile_seconds": "jitted's",
        "ms_per_image": "ms per image",
        "plain_ms_per_image": "jitted's",
        "speedup": "times as fast as jitted",
        "share": "of the fastest product",
        "share_computed": "as computed",
        "plain_share": "jitted's",
        "difference": "difference",
        "note": "note",
    }
    decoded = {
        "workload": "network",
        "request": "request",
        "points_per_second": "points/s",
        "share": "of the fastest product",
        "note": "note",
    }
    learned = {
        "name": "numbers",
        "seconds": "learning (s)",
        "outer_steps": "outer steps",
        "psnr_monitored": "monitored (dB)",
        **{f"psnr_test_{steps}_steps": f"test, {steps} steps (dB)" for steps in FIT_STEPS},
        "note": "note",
    }
    ceilings = [
        (precision, shape, rate / 1e12)
        for precision, ceiling in facts.get("ceilings", {}).items()
        for shape, rate in ceiling["flops_per_second_by_shape"].items()
    ]
    parts = {"fits": ("Fit", both), "outer_steps": ("Outer step", both), "decode": ("Decode", decoded)}
    parts["learning"] = ("CIFAR-10", learned)
    tables = [f"### {heading}\n\n{_table(facts[part], keys)}" for part, (heading, keys) in parts.items()]
    products = report.table(["product's precision", "rows x inner width", "TFLOP/s"], ceilings)
    return "\n".join([*tables, f"### Products\n\n{products}"])


def _table(rows: Sequence[Mapping[str, Any]], headings: Mapping[str, str]) -> str:
    whole = [dict.fromkeys(headings) | dict(row) for row in rows]
    for row in whole:
        row["note"] = row.get("failed") or row.get("skipped") or ""
    return report.table_of(whole, headings)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        Exit status: 1 if something failed; what was skipped for want of time or of the archive did not.

    Raises:
        NoAcceleratorError: If JAX sees none, and it is no dry run.
    """
    parser = report.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"all together (default: {MINUTES})")
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help=f"CIFAR-10 (default: {ARCHIVE})")
    parser.add_argument("--parts", nargs="+", choices=ENDS, default=list(ENDS), help="default: all")
    parser.add_argument("--cpu", action="store_true", help="a dry run: everything, tiny, on the CPU")
    parser.set_defaults(out=OUT)
    args = parser.parse_args(argv)
    clock = Clock(60 * args.minutes)
    if args.cpu:
        jax.config.update("jax_platforms", "cpu")
    elif jax.default_backend() == "cpu":
        raise NoAcceleratorError(
            "JAX sees a CPU alone, expected an accelerator; install its wheels, such as `pip install 'jax[cuda13]'`, "
            "or try a dry run by --cpu"
        )
    source = opened(args.archive)
    machine = Machine.here()
    results = Results(args.out, {"machine": dataclasses.asdict(machine), "minutes": args.minutes}, clock)
    measurement = Measurement(TINY if args.cpu else LARGE, args.runs, results, clock)
    parts: dict[str, Callable[[], None]] = {
        "fits": lambda: measurement.sides("fits"),
        "decode": measurement.decoding,
        "outer_steps": lambda: measurement.sides("outer_steps"),
        "learning": lambda: measurement.learn(source),
    }
    for part in ENDS:
        if part in args.parts:
            parts[part]()
    results.write()
    sys.stdout.write(f"{machine.processor}; JAX {machine.jax} on {machine.device}\n\n{markdown(results.facts)}\n")
    sys.stdout.flush()
    return 1 if results.failures else 0


def _halves(batch: int) -> list[int]:
    return [batch >> k for k in range(batch.bit_length())]


def _finite(value: Any) -> Any:
    """JSON has no infinity and nothing that is not a number."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


if __name__ == "__main__":
    sys.exit(main())
