"""What functasets of a million and of a billion examples are made of, and how long they take in a bucket.

    python -m benchmarks.scale [--size 256] [--measure 1000000 10000000] [--shards 10000] [--out NAME.json]

Objects, bytes and requests are those that the project's own code makes: the layout chooses shards, a small functaset
written by the real writer gives the root and the receipts, and the real reader opens, and reads a block of, a store
that is described as one of so many examples, whose shards are made when they are read. Times are those of a simulated
object store: requests in flight, each with a latency and a share of the bandwidth, at most so many in a second, one in
a hundred of which fails and is made again. A conversion by workers is simulated with the project's own assignment of
shards: of shards that take more or less long, workers that are slow, and workers that die.

With --measure, as many examples are written in int8 by a process of its own, whose memory is measured; with --shards, a
store of as many shards is finished and opened.
"""

import collections
import dataclasses
import heapq
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.generated import generated_contents, random_table, write_contents
from benchmarks.workers import finish_store
from functa_store.config import ModulationDtype, to_dict
from functa_store.conversion.workers.assignment import Assignment, Deaths
from functa_store.decode.functaset import Functaset
from functa_store.loaders.windows import BLOCK_BYTES
from functa_store.store.format.layout import Table, choose_layout, rows_per_chunk_of_columns
from functa_store.store.format.manifest import series_of_tables
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.spec import ROOT, ExamplesSummary, StoreSpec, identity, sha256_json
from functa_store.store.reading.reader import StoreReader, take_inventory
from functa_store.store.reading.verify import THREADS
from functa_store.store.storage.objects import REQUESTS_AT_A_TIME, record
from functa_store.store.storage.remote import spans_of
from functa_store.store.writing.writer import MemoryObjects

DTYPES: tuple[ModulationDtype, ...] = ("float32", "float16", "int8")
EXAMPLES = (10**6, 10**9)
SMALL = 64
"""Examples of the functaset that is written to see what one is made of."""

PAGE = 1000
"""Objects that one LIST names."""

ID_BYTES = 4
"""Of an id and its split, compressed."""

MOST_SIMULATED = 20_000

HOSTS, WORKERS = (1, 8, 64), (8, 64, 512)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bucket:
    """A simulated object store, as one host sees it.

    Attributes:
        latency: Seconds until the first byte of an answer.
        bandwidth: Bytes per second of the host.
        rate: Requests per second that the bucket takes from all hosts.
        errors: Share of requests that fail.
        pause: Seconds after which one that failed is made again.
    """

    latency: float = 0.03
    bandwidth: float = 1.25e9
    rate: float = 5000.0
    errors: float = 0.01
    pause: float = 0.2

    def seconds(self, sizes: Sequence[int], at_a_time: int, hosts: int = 1) -> float:
        """How long some requests take, so many at a time; each host has its share of the rate.

        Of more than `MOST_SIMULATED` the first ones are simulated, and stand for all.
        """
        if len(sizes) > MOST_SIMULATED:
            return self.seconds(sizes[:MOST_SIMULATED], at_a_time, hosts) * len(sizes) / MOST_SIMULATED
        rng, per_request = random.Random(0), hosts / self.rate
        bandwidth = self.bandwidth / at_a_time
        free = [0.0] * min(at_a_time, max(1, len(sizes)))
        slot = end = 0.0
        for size in sizes:
            start = max(heapq.heappop(free), slot)
            slot = start + per_request if start > slot else slot + per_request
            while rng.random() < self.errors:
                start += self.latency + self.pause
            finished = start + self.latency + size / bandwidth
            heapq.heappush(free, finished)
            end = max(end, finished)
        return end


class DescribedObjects(MemoryObjects):
    """A store of any number of examples: metadata as they are, and shards of zeros that are made when they are read.

    Args:
        files: What lies there but shards.
        tables: What these look like.
    """

    def __init__(self, files: dict[str, bytes], tables: Sequence[Table]) -> None:
        super().__init__("described.functa", {f"described.functa/{key}": data for key, data in files.items()})
        self._tables = {table.name: table for table in tables}
        self.log: list[int] = []

    def read(self, key: str, at_most: int) -> bytes:
        """All bytes of an object."""
        table = self._tables.get(key.partition("/c/")[0])
        data = super().read(key, at_most) if table is None else bytes(table.rows_bytes) + table.tail
        self.log.append(len(data))
        return data

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Ranges of a shard."""
        table = self._tables[key.partition("/")[0]]
        self.log += [stop - start for start, stop in spans_of(starts, lengths)]
        tail = {table.rows_bytes: table.tail}
        return [tail.get(start, bytes(length)) for start, length in zip(starts, lengths, strict=True)]


def written(size: int, dtype: ModulationDtype) -> tuple[dict[str, bytes], int, StoreSpec]:
    """Files of a small functaset, the bytes of one of its receipts, and what it says about itself."""
    receipts: list[int] = []

    class Watched(MemoryObjects):
        def write_new(self, key: str, *parts: bytes | memoryview) -> bool:
            if key.startswith("receipts/"):
                receipts.append(sum(map(len, parts)))
            return super().write_new(key, *parts)

        def sibling(self, suffix: str) -> "Watched":
            return Watched(self.name + suffix, self._files)

    files: dict[str, bytes] = {}
    objects = Watched("small.functa", files)
    write_contents(objects, generated_contents(SMALL, size, dtype, SMALL // 2), random_table(size))
    found = {key.removeprefix("small.functa/"): data for key, data in files.items() if key.startswith("small.functa/")}
    return found, max(receipts), take_inventory(objects).spec


def described(count: int, size: int, dtype: ModulationDtype) -> tuple[DescribedObjects, StoreSpec, int]:
    """A store of so many examples, what it says about itself, and the bytes of a receipt."""
    files, receipt, small = written(size, dtype)
    config = dataclasses.replace(small.config, rows_per_shard=None)
    layout = choose_layout(count, size * np.dtype(dtype).itemsize)
    examples = ExamplesSummary(count=count, sha256=small.examples.sha256)
    spec = dataclasses.replace(small, config=config, layout=layout, examples=examples)
    tables = spec.tables(Rounding(dtype))
    files = {key: data for key, data in files.items() if "/c/" not in key or not key.startswith(("mod", "mse", "id"))}
    for name in (*tables, "id", "split"):
        node = json.loads(files[f"{name}/zarr.json"])
        node["shape"][0] = count
        chunks = node["chunk_grid"]["configuration"]["chunk_shape"]
        chunks[0] = layout.rows_per_shard if name in tables else rows_per_chunk_of_columns(count)
        if name in tables:
            node["codecs"] = tables[name].codecs
        files[f"{name}/zarr.json"] = json.dumps(node).encode()
    manifest = {key: record(files[key]) if key in files else file for key, file in spec.manifest.items()}
    spec = dataclasses.replace(spec, manifest=manifest)
    spec = dataclasses.replace(spec, fingerprint=sha256_json(identity(spec)))
    files[ROOT] = spec.to_root()
    return DescribedObjects(files, list(tables.values())), spec, receipt


def objects_of(spec: StoreSpec) -> dict[str, list[int]]:
    """Sizes of all objects of a store, by what they are."""
    count = spec.examples.count
    chunk = rows_per_chunk_of_columns(count)
    rows = [min(chunk, count - start) for start in range(0, count, chunk)]
    return {
        "shards": [one.num_bytes or 0 for one in series_of_tables(spec) for _ in range(one.count or 0)],
        "ids and splits": [ID_BYTES // 2 * number for number in rows for _ in range(2)],
        "the rest": [file.bytes for file in spec.manifest.values()],
    }


def scale(count: int, size: int, dtype: ModulationDtype, bucket: Bucket) -> dict[str, Any]:
    """What a functaset is made of, and how long it takes to use it; JSON-ready."""
    objects, spec, receipt = described(count, size, dtype)
    began = time.perf_counter()
    reader = StoreReader(objects)
    opening, log = time.perf_counter() - began, list(objects.log)
    block = max(1, BLOCK_BYTES // reader.bytes_per_example)
    objects.log.clear()
    _ = Functaset(reader).modulations[0:block]
    of_block = [number for number in objects.log if number > BLOCK_BYTES // 2] or objects.log[:1]
    sizes = objects_of(spec)
    every = [number for group in sizes.values() for number in group]
    shards = spec.layout.num_shards(count)
    pages = -(-len(every) // PAGE)
    part, _, _ = described(count // 100, size, dtype)
    part_sizes = [number for group in objects_of(StoreReader(part).spec).values() for number in group]
    blocks = -(-count // block) * len(of_block)
    return {
        "examples": count,
        "dtype": dtype,
        "shards": shards,
        "shard_megabytes": sum(one.num_bytes or 0 for one in series_of_tables(spec)) / 1e6,
        "objects": len(every) + 1,
        "gigabytes": sum(every) / 1e9,
        "root_kilobytes": len(objects.read(ROOT, 2**30)) / 1e3,
        "manifest_kilobytes": 4 * (2 * shards + 4 * len(sizes["ids and splits"]) // 2) / 1e3,
        "open_requests": len(log),
        "open_cpu_milliseconds": 1e3 * opening,
        "open_seconds": bucket.seconds(log[:1], 1) + bucket.seconds(log[1:], REQUESTS_AT_A_TIME),
        "list_requests": pages,
        "list_seconds": bucket.seconds([100 * PAGE] * pages, 1),
        "resume_requests": shards + pages + -(-shards // PAGE),
        "resume_seconds": bucket.seconds([100 * PAGE] * (pages + -(-shards // PAGE)), 1)
        + bucket.seconds([receipt] * shards, REQUESTS_AT_A_TIME),
        "verify_requests": len(every) + 1,
        "verify_seconds": bucket.seconds(every, THREADS),
        "append_objects": len(part_sizes) + 2,
        "append_seconds": bucket.seconds(part_sizes, REQUESTS_AT_A_TIME),
        "epoch_requests": blocks,
        **{
            f"epoch_seconds_{hosts}": bucket.seconds([BLOCK_BYTES] * -(-blocks // hosts), REQUESTS_AT_A_TIME, hosts)
            for hosts in HOSTS
        },
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """Workers that fit.

    Attributes:
        example_seconds: Of one example.
        spread: Of the time of a shard, as the standard deviation of its logarithm.
        slow: Share of the workers that take three times as long.
        between_deaths: Seconds of work between deaths of one worker, on average.
        restart: Seconds until one that died is ready again.
        silence: Seconds beyond one and a half times an ordinary shard after which what a worker holds is handed out
            once more, if nothing else is left.
    """

    example_seconds: float = 2e-3
    spread: float = 0.1
    slow: float = 0.02
    between_deaths: float = 86400.0
    restart: float = 60.0
    silence: float = 30.0

    def convert(self, spec: StoreSpec, workers: int, bucket: Bucket, receipt: int) -> dict[str, Any]:
        """Fit all shards of a store, in simulated time; JSON-ready."""
        rng, shards = random.Random(0), spec.layout.shards(spec.examples.count)
        assignment, deaths, fitted = Assignment(range(len(shards))), Deaths(), collections.Counter[int]()
        pace = {f"worker {k}": 3.0 if rng.random() < self.slow else 1.0 for k in range(workers)}
        sizes = [one.num_bytes or 0 for one in series_of_tables(spec)] + [receipt]
        writing, died = bucket.seconds(sizes, REQUESTS_AT_A_TIME), 0
        events = [(0.0, number, name, -1, True) for number, name in enumerate(pace)]
        since: dict[str, float] = {}
        idle: list[tuple[str, float]] = []
        patience = self.silence + 1.5 * len(shards[0]) * self.example_seconds  # only a slow worker is late
        heapq.heapify(events)
        order, now, end = len(events), 0.0, 0.0
        while assignment.left:
            now, _, name, shard, lives = heapq.heappop(events)
            if not lives:
                died += 1
                deaths.count(shard, "by simulation")
                assignment.gone(name)
            elif shard >= 0:
                fitted[shard] += 1
                assignment.done(shard)
                end = max(end, now)
            since.pop(name, None)
            late = [other for other, at in since.items() if now - at > patience]
            idle.append((name, now if lives else now + self.restart))
            while idle and (given := assignment.next_for(idle[-1][0], late)) is not None:
                worker, begins = idle.pop()
                begins = max(begins, now)
                seconds = len(shards[given]) * self.example_seconds * pace[worker] * rng.lognormvariate(0, self.spread)
                until_death = rng.expovariate(1 / self.between_deaths)
                lives_on = until_death > seconds + writing
                order += 1
                since[worker] = begins
                heapq.heappush(events, (begins + min(until_death, seconds + writing), order, worker, given, lives_on))
        ideal = spec.examples.count * self.example_seconds / sum(1 / slowness for slowness in pace.values())
        return {
            "examples": spec.examples.count,
            "workers": workers,
            "shards": len(shards),
            "hours": end / 3600,
            "over_ideal": end / ideal,
            "deaths": died,
            "twice": sum(number - 1 for number in fitted.values()),
        }


def conversions(size: int, bucket: Bucket) -> Iterator[dict[str, Any]]:
    """Conversions of both sizes by several numbers of workers."""
    for count in EXAMPLES:
        _, spec, receipt = described(count, size, "float32")
        for workers in WORKERS:
            yield Cluster().convert(spec, workers, bucket, receipt)


def memory_of(count: int, size: int, rows: int | None) -> dict[str, Any]:
    """Seconds and peak memory of a process that writes so many examples in int8, and what opening them takes."""
    found: dict[str, Any] = {"examples": count, "size": size, "rows_per_shard": rows or "chosen"}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = str(pathlib.Path(folder).resolve() / "many.functa")
        for words in (["write", path, count, size, *([rows] if rows else [])], ["open", path, 256]):
            command = [sys.executable, "-m", "benchmarks.store_costs", *map(str, words)]
            found |= json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def finished(shards: int) -> dict[str, Any]:
    """Seconds in which a store of so many shards is finished, and opened."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = pathlib.Path(name).resolve()
        found = finish_store(folder, shards)
        times = []
        for _ in range(7):
            began = time.perf_counter()
            StoreReader(folder / "finished.functa")
            times.append(time.perf_counter() - began)
    return found | {"opening_milliseconds": 1e3 * sorted(times)[len(times) // 2]}


def _table(rows: Sequence[dict[str, Any]], headings: dict[str, str]) -> str:
    return report.table_of(rows, headings) + "\n" if rows else ""


LAYOUT = {
    "examples": "examples",
    "dtype": "type",
    "shards": "shards of each table",
    "shard_megabytes": "MB of a shard and its errors",
    "objects": "objects",
    "gigabytes": "GB",
    "root_kilobytes": "root, kB",
    "manifest_kilobytes": "arrays of the manifest, kB",
}
REQUESTS = {"examples": "examples", "dtype": "type"} | {
    f"{what}_requests": f"{what}, requests" for what in ("open", "list", "resume", "verify", "epoch")
}
SECONDS = {"examples": "examples", "dtype": "type"} | {
    "open_cpu_milliseconds": "open, ms of CPU",
    "open_seconds": "open, s",
    "list_seconds": "list, s",
    "resume_seconds": "resume, s",
    "verify_seconds": "verify, s",
    "append_seconds": "append 1 %, s",
    **{f"epoch_seconds_{hosts}": f"epoch, {hosts} host{'s' * (hosts > 1)}, s" for hosts in HOSTS},
}
CONVERSION = {
    "examples": "examples",
    "workers": "workers",
    "shards": "shards",
    "hours": "hours",
    "over_ideal": "times the shortest possible",
    "deaths": "deaths",
    "twice": "shards fitted twice",
}
MEMORY = {
    "examples": "examples",
    "size": "numbers",
    "rows_per_shard": "examples of a shard",
    "writing_seconds": "writing, s",
    "writing_peak_megabytes": "peak, MB",
    "opening_milliseconds": "opening, ms",
    "own_megabytes": "own memory of a reader, MB",
}
FINISHED = {
    "shards": "shards",
    "seconds": "finish, s",
    "cpu_seconds": "finish, s of CPU",
    "opening_milliseconds": "opening, ms",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Compute, simulate, measure what is asked for, and publish."""
    parser = report.parser(__doc__, runs=1)
    parser.add_argument("--size", type=report.positive, default=256, help="numbers of a modulation")
    parser.add_argument("--measure", type=report.positive, nargs="*", default=[], help="examples that are written")
    parser.add_argument("--measured-size", type=report.positive, default=16, help="numbers of each of these")
    parser.add_argument("--measured-rows", type=report.positive, help="examples of a shard of these")
    parser.add_argument("--shards", type=report.positive, nargs="*", default=[], help="of stores that are finished")
    args = parser.parse_args(argv)
    bucket = Bucket()
    rows = [scale(count, args.size, dtype, bucket) for count in EXAMPLES for dtype in DTYPES]
    fitted = list(conversions(args.size, bucket))
    memory = [memory_of(count, args.measured_size, args.measured_rows) for count in args.measure]
    for row in memory:
        row["writing_peak_megabytes"] = row["writing_peak_bytes"] / 1e6
        row["own_megabytes"], row["opening_milliseconds"] = row["own_bytes"] / 1e6, 1e3 * row["opening_seconds"]
    shards = [finished(count) for count in args.shards]
    tables = [(rows, LAYOUT), (rows, REQUESTS), (rows, SECONDS), (fitted, CONVERSION)]
    tables += [(memory, MEMORY), (shards, FINISHED)]
    facts = {"bucket": to_dict(bucket), "cluster": to_dict(Cluster()), "rows": rows, "conversions": fitted}
    facts |= {"memory": memory, "finished": shards}
    report.publish("scale", facts, "".join(_table(found, headings) for found, headings in tables), args.out)


if __name__ == "__main__":
    main()
