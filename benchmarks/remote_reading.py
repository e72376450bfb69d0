"""Time and requests of a shuffled epoch from a bucket.

    python -m benchmarks.remote_reading [--runs 3] [--examples 20000] [--size 256] [--delay 0.02] [--out NAME.json]

An S3 server on loopback (moto) behind a proxy that answers every request so many seconds late. Each run opens the
functaset anew and reads an epoch of random batches, of which nothing is kept from the run before. zarr-python, through
obstore and the same proxy, reads --zarr-batches of them; its epoch is extrapolated from these.

The server and the proxy are Python and take some milliseconds of a core per request, which a bucket does not. So there
is a second figure for zarr-python: what its requests would take if they cost nothing but the delay, as many at a
time as it sends by default.
"""

import concurrent.futures
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import obstore.store
import zarr
from zarr.storage import ObjectStore

import functa_store
from benchmarks import report
from benchmarks.generated import random_table, write_functaset
from functa_store.loaders import Loader
from functa_store.store.storage.objects import StorageOptions
from tests.remote.servers import Faults, Proxy, make_s3_bucket, s3_server

BUCKET, STORE = "functasets", "generated.functa"
URL = f"s3://{BUCKET}/{STORE}"
AT_ONCE = 16
"""Requests that are sent together to see whether the proxy delays each on its own."""

Batches = Iterator[np.ndarray]


def read_by_index(url: str, order: np.ndarray) -> Batches:
    """`functa_store.open(url).modulations[indices]`."""
    modulations = functa_store.open(URL, storage=StorageOptions(endpoint=url)).modulations
    return (modulations[indices] for indices in order)


def read_by_loader(url: str, order: np.ndarray) -> Batches:
    """A `Loader` as it is made without options."""
    functaset = functa_store.open(URL, storage=StorageOptions(endpoint=url))
    loader = Loader(functaset, order.shape[1], seed=int(order[0, 0]), drop_last=True)
    return (batch["modulations"] for batch in loader)


def read_by_zarr(url: str, order: np.ndarray) -> Batches:
    """zarr-python through obstore, sorted indices, which it reads fastest."""
    array: Any = zarr.open_array(ObjectStore(_bucket(url), read_only=True), path=f"{STORE}/modulations", mode="r")
    return (array.oindex[np.sort(indices)] for indices in order)


def _bucket(url: str) -> Any:
    return obstore.store.S3Store(BUCKET, endpoint=url, client_options={"allow_http": True})


SIDES: dict[str, Callable[[str, np.ndarray], Batches]] = {
    "functa-store, random batches": read_by_index,
    "functa-store, loader": read_by_loader,
    "zarr-python, random batches": read_by_zarr,
}


def epoch(side: Callable[[str, np.ndarray], Batches], proxy: Proxy, order: np.ndarray, count: int) -> dict[str, float]:
    """Seconds and requests of an epoch, opening included, extrapolated from its first `count` batches."""
    before, began = proxy.requests, time.perf_counter()
    found = sum(1 for _ in itertools.islice(side(proxy.url, order), count))
    scale = len(order) / found
    return {
        "seconds": scale * (time.perf_counter() - began),
        "requests": scale * (proxy.requests - before),
        "batches": found,
    }


def check_proxy(proxy: Proxy, delay: float) -> dict[str, float]:
    """Whether requests are delayed each on its own, and how fast bytes pass through: seconds, and bytes per second."""
    store = _bucket(proxy.url)
    key = f"{STORE}/modulations/c/0/0"

    def seconds(count: int) -> float:
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda _: obstore.head(store, key), range(count)))
        return time.perf_counter() - began

    seconds(AT_ONCE)  # connects
    one, many = (statistics.median(seconds(count) for _ in range(5)) for count in (1, AT_ONCE))
    began = time.perf_counter()
    size = len(bytes(obstore.get(store, key).bytes()))
    passing = time.perf_counter() - began - delay
    return {"one_seconds": one, "many_seconds": many, "bytes_per_second": size / passing}


def run(args: Any) -> dict[str, Any]:
    """All figures, JSON-ready."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    rng = np.random.default_rng(0)
    whole: int = args.examples // args.batch
    counts = dict.fromkeys(SIDES, whole) | {"zarr-python, random batches": int(args.zarr_batches)}
    with s3_server() as port, Proxy(port, Faults()) as proxy:
        make_s3_bucket(port, BUCKET)
        storage = StorageOptions(endpoint=proxy.url)
        write_functaset(URL, random_table(args.size), args.examples, args.size, storage=storage)
        proxy.faults = Faults(delay=args.delay)
        checked = check_proxy(proxy, args.delay)
        rounds = []
        for _ in range(args.runs):
            order = rng.permutation(args.examples)[: args.examples // args.batch * args.batch].reshape(-1, args.batch)
            rounds.append({name: epoch(side, proxy, order, counts[name]) for name, side in SIDES.items()})
    last = list(SIDES)[-1]
    rows = [
        {"side": name}
        | {key: statistics.median(r[name][key] for r in rounds) for key in rounds[0][name]}
        | {"ratio": statistics.median(r[last]["seconds"] / r[name]["seconds"] for r in rounds)}
        for name in SIDES
    ]
    least = rows[-1]["requests"] * args.delay / zarr.config.get("async.concurrency")
    return {"delay": args.delay, "proxy": checked, "epochs": rows, "zarr_least_seconds": least}


def markdown(found: dict[str, Any]) -> str:
    """The table, and what the proxy can do."""
    proxy = found["proxy"]
    text = (
        f"Through the proxy, {1e3 * found['delay']:.0f} ms late: one request {1e3 * proxy['one_seconds']:.0f} ms, "
        f"{AT_ONCE} at once {1e3 * proxy['many_seconds']:.0f} ms, {proxy['bytes_per_second'] / 1e6:.0f} MB/s.\n\n"
    )
    keys = {
        "side": "shuffled epoch",
        "seconds": "seconds",
        "requests": "requests",
        "ratio": "times as fast as zarr-python",
        "batches": "batches timed",
    }
    text += report.table_of(found["epochs"], keys)
    return (
        text
        + f"\nzarr-python's requests alone, were the server infinitely fast: {found['zarr_least_seconds']:.0f} s.\n"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__, runs=3)
    parser.add_argument("--examples", type=report.positive, default=20_000)
    parser.add_argument("--size", type=report.positive, default=256, help="numbers of a modulation")
    parser.add_argument("--batch", type=report.positive, default=256)
    parser.add_argument("--zarr-batches", type=report.positive, default=4)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds before every answer")
    args = parser.parse_args(argv)
    found = run(args)
    report.publish("remote_reading", found, markdown(found), args.out)


if __name__ == "__main__":
    main()
