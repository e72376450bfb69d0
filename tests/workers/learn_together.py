"""One of several processes that learn a base together: for tests, which start all of them.

python learn_together.py ARCHIVE OUT PORT COUNT NUMBER [WHAT]

WHAT goes wrong in this process: `read:N`, reading fails after about N outer steps; `interrupt:N`, Ctrl-C is pressed
then; `kill:N`, SIGKILL. `elsewhere` leaves the shards to others, `budget` learns for some seconds instead of steps,
`seed` learns by another seed, `slow` takes its time to fit.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax

import functa_store
from functa_store.config import FitConfig, OuterLoopConfig
from functa_store.conversion.workers.engine import Elsewhere
from functa_store.errors import MemberError
from functa_store.progress import Event, Fitted, Learned
from functa_store.sources.batch_reader import BatchReader
from tests.workers.jobs import CONFIG, open_pictures

LEARNED = dataclasses.replace(
    CONFIG,
    outer=OuterLoopConfig(num_steps=40, batch_size=8, num_points=32, warmup_steps=2, monitor_every=10, num_monitored=3),
    fit=FitConfig(num_steps=3, stride=2, tuning_steps=4, tile_points=64),
)
BUDGET = dataclasses.replace(LEARNED, outer=dataclasses.replace(LEARNED.outer, num_steps=None, time_budget=3.0))


def main(archive: str, out: str, port: str, count: str, number: str, what: str = "") -> None:
    jax.config.update("jax_num_cpu_devices", 2 if int(count) < 3 else 1)
    kind, _, at = what.partition(":")
    source = open_pictures(Path(archive))
    if kind == "read":
        BatchReader.__init__.__kwdefaults__["cache_bytes"] = 0  # every example is read whenever it is needed
        source.read = failing(source.read, LEARNED.outer.batch_size // int(count) * int(at))

    def report(event: Event) -> None:
        if isinstance(event, Fitted):
            sys.stdout.write(f"fitted {event.done}\n")
            if kind == "slow":
                time.sleep(5)
        if isinstance(event, Learned):
            sys.stdout.write(f"step {event.step} of {event.num_steps}: {event.psnr:.4f} {event.monitored_psnr}\n")
            sys.stdout.flush()
            if at and event.step >= int(at):
                with contextlib.suppress(KeyError):
                    os.kill(os.getpid(), {"interrupt": signal.SIGINT, "kill": signal.SIGKILL}[kind])

    hosts = None
    if int(count) > 1:
        hosts = functa_store.Hosts(coordinator=f"127.0.0.1:{port}", num_processes=int(count), process_id=int(number))
    config = {"budget": BUDGET, "seed": dataclasses.replace(LEARNED, seed=1)}.get(kind, LEARNED)
    engine = Elsewhere() if kind == "elsewhere" else None
    functa_store.convert(source, out, config, engine=engine, hosts=hosts, snapshot_seconds=0, report=report)


def failing(read: Any, after: int) -> Any:
    """Reads examples, up to some number of reads."""
    left = iter(range(after))

    def reading(index: int) -> Any:
        if next(left, None) is None:
            raise MemberError("pictures.zip: the disk is gone")
        return read(index)

    return reading


if __name__ == "__main__":
    main(*sys.argv[1:])
