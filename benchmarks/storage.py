"""Cost of writing a shard, and the requests that a bucket sees.

    python -m benchmarks.storage [--runs 15] [--out NAME.json]

Writing: a shard of 16 MB, encoded, its checksum computed, and made durable, against the same array written by
`numpy.ndarray.tofile` and synced, in turns. Requests: those that an S3 server on loopback (moto) is sent to write a
store, to open it, and to read random rows from it; zarr-python, over the same proxy, reads the same rows.
"""

import itertools
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.generated import generated_contents, random_table, write_contents
from benchmarks.timing import interleaved, ratio
from functa_store.store.format.layout import Layout, tables
from functa_store.store.format.quantization import EXACT
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import StorageOptions, open_objects, record
from tests.remote.servers import Faults, Proxy, make_s3_bucket, s3_server

ROWS, SIZE, READ = 16384, 256, 256
BUCKET = "functasets"


def compare_writing(folder: pathlib.Path, runs: int) -> dict[str, Any]:
    """Seconds of both sides, and the ratio."""
    layout = Layout(rows_per_shard=ROWS, rows_per_chunk=64, mse_rows_per_chunk=ROWS)
    table = tables(layout, (SIZE,), EXACT, num_metrics=0)["modulations"]
    rows = np.random.default_rng(0).normal(size=(ROWS, SIZE)).astype(np.float32)
    store, numbers = LocalObjects(folder / "ours"), itertools.count()  # every call writes a new file, as conversions do

    def ours() -> None:
        parts = table.encode(rows)
        record(*parts)
        store.write(table.key(next(numbers)), *parts)

    def plain() -> None:
        with (folder / f"rows{next(numbers)}").open("wb") as file:
            rows.tofile(file)
            file.flush()
            os.fsync(file.fileno())

    times = interleaved({"ours": ours, "numpy": plain}, runs)
    return {
        "bytes": table.shard_bytes,
        "ours_seconds": times["ours"].median,
        "numpy_seconds": times["numpy"].median,
        "ratio": ratio(times["ours"], times["numpy"]),
    }


def count_requests(num_examples: int, rows_per_shard: int) -> list[dict[str, Any]]:
    """Requests of each step, JSON-ready."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    rows = np.random.default_rng(2).permutation(num_examples)[:READ]
    with s3_server() as port, Proxy(port, Faults()) as proxy:
        make_s3_bucket(port, BUCKET)
        objects = open_objects(f"s3://{BUCKET}/generated.functa", StorageOptions(endpoint=proxy.url))
        found: list[dict[str, Any]] = []

        def count(step: str, call: Callable[[], Any]) -> Any:
            proxy.counts.clear()
            result = call()
            found.append({"step": step, "requests": sum(proxy.counts.values()), "by_method": dict(proxy.counts)})
            return result

        contents = generated_contents(num_examples, SIZE, rows_per_shard=rows_per_shard)
        shards = -(-num_examples // rows_per_shard)
        count(
            f"write {num_examples:,} examples in {shards} shards",
            lambda: write_contents(objects, contents, random_table(SIZE)),
        )
        reader = count("open", lambda: StoreReader(objects))
        values = count(f"read {READ} random modulations", lambda: reader.modulations[rows])
        count(f"read {READ} others", lambda: reader.modulations[(rows + 1) % num_examples])
        array = count("open the array with zarr-python", lambda: _zarr_array(proxy.url))
        same = count(f"read the same {READ} with zarr-python", lambda: array.get_orthogonal_selection(np.sort(rows)))
        np.testing.assert_array_equal(values[np.argsort(rows)], same)
    return found


def _zarr_array(endpoint: str) -> Any:
    import obstore.store
    import zarr
    from zarr.storage import ObjectStore

    bucket: Any = obstore.store.S3Store(BUCKET, endpoint=endpoint, client_options={"allow_http": True})
    return zarr.open_array(ObjectStore(bucket, read_only=True), path="generated.functa/modulations", mode="r")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__, runs=15)
    parser.add_argument("--examples", type=report.positive, default=16384, help="of the store in the bucket")
    parser.add_argument("--rows-per-shard", type=report.positive, default=2048)
    args = parser.parse_args(argv)
    folder = pathlib.Path(tempfile.mkdtemp(dir="."))
    try:
        writing = compare_writing(folder, args.runs)
    finally:
        shutil.rmtree(folder)
    requests = count_requests(args.examples, args.rows_per_shard)
    markdown = (
        f"A shard of {writing['bytes']:,} bytes takes {writing['ratio']:.2f} times as long as numpy and fsync "
        f"({1e3 * writing['ours_seconds']:.0f} ms, {1e3 * writing['numpy_seconds']:.0f} ms).\n\n"
    )
    markdown += report.table_of(requests, {"step": "step", "requests": "requests"})
    report.publish("storage", {"writing": writing, "requests": requests}, markdown, args.out)


if __name__ == "__main__":
    main()
