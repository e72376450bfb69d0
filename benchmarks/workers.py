"""What workers of one conversion are worth, and what they cost.

    python -m benchmarks.workers [--shards 24] [--members 200000] [--finished 10000] [--simulated 1000]

Speed: the shards of generated images, fitted with a base that was never learned by one child process and by two, each
bound to one core, from the moment when all are ready; and the CPU time of a shard there and in a single process.
Opening: a job of many images by a worker, without a survey. Finishing: a store of as many shards. Schedulers: shards
that do nothing but wait, and what that takes longer than waiting, for a shard of ten seconds.
"""

import concurrent.futures
import dataclasses
import io
import itertools
import os
import pathlib
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks import report
from benchmarks.generated import generated_contents, random_table
from converters.images.images import converter
from functa_store.config import ConvertConfig, FitConfig, NetworkConfig
from functa_store.conversion.convert import contents_of
from functa_store.conversion.fit_shards import Tally, ready_fit
from functa_store.conversion.workers import dask_engine, processes
from functa_store.conversion.workers.assignment import Assignment
from functa_store.conversion.workers.dask_engine import Dask
from functa_store.conversion.workers.engine import Engine, InProcess, Unfinished, fit_missing
from functa_store.conversion.workers.finish import finish
from functa_store.conversion.workers.job import Canary, Job, bytes_of, sampled
from functa_store.conversion.workers.processes import Processes
from functa_store.conversion.workers.reopen import reopen
from functa_store.domains.domain import network_inputs
from functa_store.learn.devices import use_all_cores
from functa_store.learn.outer_loop import init_learnable
from functa_store.nets.siren import to_weights
from functa_store.progress import Event, Fitted, Worked, silent
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import Source
from functa_store.store.format.side_arrays import MOMENTA, RATES
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import NO_OPTIONS, open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.shard_writer import ShardWriter
from functa_store.store.writing.writer import StoreWriter, examples_of

SHARD_SECONDS = 10.0
"""Of a shard to which the overhead of a scheduler is related."""

WAITS = 0.2
"""Seconds that a simulated shard takes."""

SIMULATED_WORKERS = 4
ROWS_PER_SHARD = 16

CONFIG = ConvertConfig(
    network=NetworkConfig(width=128, depth=6, modulation_dim=128),
    fit=FitConfig(num_steps=9, stride=2, tuning_steps=0),
    rows_per_shard=ROWS_PER_SHARD,
)


def write_images(path: pathlib.Path, count: int, size: int, kinds: int) -> pathlib.Path:
    """A zip of images, every `kinds`-th of which is the same."""
    rng, encoded = np.random.default_rng(0), []
    for _ in range(kinds):
        coarse = Image.fromarray(rng.integers(0, 256, size=(5, 5, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(file, "PNG")
        encoded.append(file.getvalue())
    with zipfile.ZipFile(path, "w") as archive:
        for number, data in zip(range(count), itertools.cycle(encoded), strict=False):
            archive.writestr(f"{number % 1000:03d}/{number:07d}.png", data)
    return path


def open_images(path: pathlib.Path, size: int, *, check_first: int | None = None) -> Source:
    """The images as a source, with a recipe."""
    return converter.open(
        os.fspath(path), converter.options.of(resolution=size), SurveyOptions(check_first=check_first), silent
    )


def unlearned(source: Source, config: ConvertConfig) -> Contents:
    """What a store of a source holds whose base was never learned."""
    network = config.network
    _, learnable = init_learnable(config, network_inputs(source.domain, network), source.features.num_channels)
    base = {name: np.asarray(array) for name, array in to_weights(learnable.base).items()}
    shape = (config.fit.num_steps, network.cell_size)
    base |= {RATES: np.full(shape, 0.01, np.float32), MOMENTA: np.zeros(shape, np.float32)}
    return contents_of(source, config, base, {})


class Bound(Processes):
    """Workers each bound to one core."""

    def cores(self, number: int) -> list[int]:
        """One core, another one for each worker."""
        return [sorted(os.sched_getaffinity(0))[number]]


@dataclasses.dataclass
class Watch:
    """Events of a fit with their times.

    Attributes:
        ready: When each worker was ready.
        fitted: When how many examples were fitted.
        cpu: Per worker, CPU seconds and examples when it was ready, and after its last shard.
    """

    ready: dict[str, float] = dataclasses.field(default_factory=dict)
    fitted: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    cpu: dict[str, list[tuple[float, int]]] = dataclasses.field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Note an event."""
        if isinstance(event, Fitted):
            self.fitted.append((time.perf_counter(), event.done))
        elif isinstance(event, Worked):
            self.ready.setdefault(event.worker, time.perf_counter())
            if (seconds := _cpu_of_worker(event.worker)) is not None:
                self.cpu.setdefault(event.worker, []).append((seconds, event.shards))

    def speed(self) -> float:
        """Examples per second from the moment when all workers were ready."""
        since = max(self.ready.values(), default=self.fitted[0][0])
        later = [(at, done) for at, done in self.fitted if at >= since]
        return (later[-1][1] - later[0][1]) / (later[-1][0] - later[0][0])

    def cpu_per_shard(self) -> float:
        """CPU seconds of a shard, the first one of each worker apart."""
        pairs = [(found[1], found[-1]) for found in self.cpu.values() if len(found) > 2]
        return sum(b[0] - a[0] for a, b in pairs) / max(1, sum(b[1] - a[1] for a, b in pairs))


def _cpu_of_worker(name: str) -> float | None:
    """CPU seconds of a child process of this one by the number in its name, in the order in which they began."""
    number = int(name.removeprefix("worker ")) - 1
    children = [p for p in psutil.Process().children() if "functa_store.conversion.workers.child" in p.cmdline()]
    children.sort(key=lambda process: process.pid)
    if number >= len(children):
        return None
    times = children[number].cpu_times()
    return times.user + times.system


def fit_by(engine: Engine, source: Source, folder: pathlib.Path, name: str) -> tuple[Watch, float]:
    """Fit a store; what was seen, and CPU seconds of this process from its second shard to its last, per shard."""
    contents, watch = unlearned(source, CONFIG), Watch()
    began: list[float] = []

    def report_both(event: Event) -> None:
        watch(event)
        if isinstance(event, Fitted):
            began.append(time.process_time())

    with sole_writer(open_objects(folder / f"{name}.functa")) as (store, _):
        fit_missing(
            store,
            contents,
            source,
            lambda: ready_fit(contents.config, contents.base, source),
            engine,
            fit_batch_size=ROWS_PER_SHARD,
            report=report_both,
        )
    return watch, (began[-1] - began[0]) / max(1, len(began) - 1)


def compare_speed(folder: pathlib.Path, shards: int, size: int) -> dict[str, Any]:
    """Examples per second of one worker and of two, and CPU seconds of a shard."""
    source = open_images(write_images(folder / "images.zip", shards * ROWS_PER_SHARD, size, 64), size)
    _, alone = fit_by(InProcess(), source, folder, "alone")
    one, _ = fit_by(Bound(1), source, folder, "one")
    two, _ = fit_by(Bound(2), source, folder, "two")
    files = [_files(folder / f"{name}.functa") for name in ("alone", "one", "two")]
    return {
        "examples_per_second": {"one": one.speed(), "two": two.speed()},
        "times_as_fast": two.speed() / one.speed(),
        "cpu_seconds_per_shard": {"in process": alone, "one": one.cpu_per_shard(), "two": two.cpu_per_shard()},
        "same_bytes": files[0] == files[1] == files[2],
    }


def _files(path: pathlib.Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def open_job(folder: pathlib.Path, members: int) -> dict[str, Any]:
    """Seconds in which a worker opens an archive of many members."""
    source = open_images(write_images(folder / "many.zip", members, 8, 16), 8, check_first=0)
    config = ConvertConfig(network=NetworkConfig(width=16, depth=3, modulation_dim=16), rows_per_shard=4096)
    spec = dataclasses.replace(unlearned(source, config).spec())
    recipe = source.recipe  # type: ignore[attr-defined]  # of a converter
    canary = Canary(example=0, fit="")
    size = bytes_of(recipe.archive)
    job = Job(
        epoch="",
        fingerprint="",
        recipe=recipe,
        archive_bytes=size,
        samples=sampled(source),
        examples_per_device=1,
        threads=1,
        versions={},
        canary=canary,
    )
    ids, told = list(source.ids), []
    began = time.perf_counter()
    reopen(job, spec, ids, report=told.append)
    return {"members": members, "seconds": time.perf_counter() - began, "surveyed": len(told)}


def finish_store(folder: pathlib.Path, shards: int) -> dict[str, Any]:
    """Seconds in which a store of many small shards is finished."""
    path, rows, size = folder / "finished.functa", 8, 64
    contents, table = generated_contents(shards * rows, size, rows_per_shard=rows), random_table(size)
    with sole_writer(open_objects(path)) as (store, _), StoreWriter.resume_or_create(store, contents):
        pass
    spec = contents.spec()
    writer = ShardWriter(open_objects(path), spec, contents.rounding, examples_of(contents))
    mse = np.full(rows, 0.001, np.float32)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        every = spec.layout.shards(spec.examples.count)
        for _ in pool.map(lambda shard: writer.write(shard, table(shard.start, shard.stop), mse), every):
            pass
    began, cpu = time.perf_counter(), time.process_time()
    finish(path)
    return {"shards": shards, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}


WAITING = f"""
import json, sys, time
sys.stdin.readline()
def say(**message):
    print(json.dumps(message), flush=True)
say(hello=1)
say(ready=True)
for line in sys.stdin:
    say(begin=int(line))
    time.sleep({WAITS})
    say(fitted=16, psnr=400.0)
    say(done=int(line))
"""
"""A worker that does nothing."""


class Waiting(Processes):
    """Workers that only wait."""

    def command(self) -> list[str]:
        """A worker that needs no library."""
        return [sys.executable, "-S", "-c", WAITING]

    def cores(self, number: int) -> list[int]:
        """Not bound."""
        return []


class _Nothing(Unfinished):
    """A store of which nothing is asked."""

    def __init__(self, shards: int) -> None:
        facts = {
            "store": open_objects("simulated.functa"),
            "storage": NO_OPTIONS,
            "contents": generated_contents(16, 16),
            "report": silent,
            "tally": Tally(0, 16 * shards, 1.0, silent),
            "job": None,
        }
        for name, value in facts.items():
            object.__setattr__(self, name, value)


def simulate_processes(shards: int) -> dict[str, Any]:
    """What scheduling by child processes costs."""
    unfinished = _Nothing(shards)
    with processes._Pool(Waiting(SIMULATED_WORKERS), unfinished, Assignment(range(shards))).running() as pool:
        pool._start()
        while len([child for child in pool._children.values() if child.began]) < SIMULATED_WORKERS:
            pool._listen(0.01)
        return _timed(shards, pool.run)


def wait(job: Mapping[str, Any], index: int) -> dict[str, Any]:
    """A task that does nothing; see `fit_shard`."""
    time.sleep(WAITS)
    return {"worker": "one", "examples": 16, "psnr": 400.0, "seconds": WAITS}


def simulate_dask(shards: int) -> dict[str, Any]:
    """What scheduling by dask.distributed costs."""
    import distributed

    unfinished = _Nothing(shards)
    before, dask_engine.fit_shard = dask_engine.fit_shard, wait
    try:
        with (
            distributed.LocalCluster(
                n_workers=SIMULATED_WORKERS, threads_per_worker=1, dashboard_address=":0"
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            client.wait_for_workers(SIMULATED_WORKERS)
            tasks = dask_engine._Tasks(Dask(client), unfinished, list(range(shards)))
            while len(tasks._known.processing) < SIMULATED_WORKERS:
                time.sleep(0.05)
            found = _timed(shards, tasks.run)
            tasks.end()
            return found
    finally:
        dask_engine.fit_shard = before


def _timed(shards: int, run: Callable[[], Any]) -> dict[str, Any]:
    """Seconds per shard beyond waiting, related to a shard of `SHARD_SECONDS`; of the coordinator, too."""
    began, cpu = time.perf_counter(), time.process_time()
    run()
    wall = time.perf_counter() - began
    beyond = wall * SIMULATED_WORKERS / shards - WAITS
    return {
        "shards": shards,
        "milliseconds_per_shard": 1000 * beyond,
        "overhead": beyond / SHARD_SECONDS,
        "coordinator_cpu_milliseconds": 1000 * (time.process_time() - cpu) / shards,
    }


def rows_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """What was found, and what is wanted."""
    if (speed := facts.get("speed")) is not None:
        yield "two workers, times as fast as one", speed["times_as_fast"], "at least 1.8, on an idle machine"
        alone = speed["cpu_seconds_per_shard"]["in process"]
        for name in ("one", "two"):
            yield (
                f"CPU time of a shard, {name}, over that in process",
                speed["cpu_seconds_per_shard"][name] / alone,
                "1.03",
            )
        yield "same bytes", str(speed["same_bytes"]), "True"
    if (opened := facts.get("opening")) is not None:
        yield f"opening {opened['members']:,} images, seconds", opened["seconds"], "2"
    if (finished := facts.get("finishing")) is not None:
        yield f"finishing {finished['shards']:,} shards, seconds", finished["seconds"], "5"
    for name in ("processes", "dask"):
        if (found := facts.get(name)) is not None:
            yield f"overhead by {name}, per cent of a shard of 10 s", 100 * found["overhead"], "0.5"


def main(argv: list[str] | None = None) -> None:
    """Measure and publish."""
    parser = report.parser(__doc__, runs=1)
    parser.add_argument("--shards", type=int, default=24, help="of the comparison of speed; 0 leaves it out")
    parser.add_argument("--size", type=int, default=64, help="pixels along a side of its images")
    parser.add_argument("--members", type=int, default=200_000, help="of the archive that is opened; 0 leaves it out")
    parser.add_argument("--finished", type=int, default=10_000, help="shards that are finished; 0 leaves it out")
    parser.add_argument("--simulated", type=int, default=1000, help="shards that only wait; 0 leaves them out")
    args = parser.parse_args(argv)
    use_all_cores()
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if args.shards:
            facts["speed"] = compare_speed(folder, args.shards, args.size)
        if args.members:
            facts["opening"] = open_job(folder, args.members)
        if args.finished:
            facts["finishing"] = finish_store(folder, args.finished)
        if args.simulated:
            facts["processes"], facts["dask"] = simulate_processes(args.simulated), simulate_dask(args.simulated)
    report.publish("workers", facts, report.table(["", "found", "wanted"], rows_of(facts)), args.out)


if __name__ == "__main__":
    main()
