"""How are the damaged shards of a store fitted again?"""

import argparse
import contextlib
import sys
from typing import Any

from rich.console import Console

from functa_store.commands.archives import add_archive_arguments, reopen_archive
from functa_store.commands.storage import add_storage_arguments, storage_from
from functa_store.console import json_lines, printable, shown_on, write_json_line
from functa_store.errors import ConfigError
from functa_store.interrupts import stopping_between_events
from functa_store.store.inventory import take_inventory
from functa_store.store.objects import open_objects


def add_parser(commands: Any) -> None:
    """Add `functa repair`."""
    parser = commands.add_parser("repair", help="fit the examples of damaged shards again")
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    add_archive_arguments(parser, required=True)
    parser.add_argument("--fit-batch", type=int, metavar="N", help="as for functa convert")
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.set_defaults(run=run, when_interrupted="interrupted; run the same command again to go on from here")


def run(args: argparse.Namespace) -> None:
    """Repair a store and say what was written again."""
    from functa_store.repairing import repair  # imports JAX

    if args.fit_batch is not None and args.fit_batch < 1:
        raise ConfigError(f"--fit-batch must be at least 1, got {args.fit_batch}")
    storage, console = storage_from(args), Console(stderr=True, highlight=False, soft_wrap=True)
    provenance = take_inventory(open_objects(args.store, storage)).spec.provenance
    with _progress(args, console) as shown, stopping_between_events(shown) as report:
        source = reopen_archive(args.archive, provenance, args.option, report)
        repaired = repair(args.store, source, storage=storage, fit_batch_size=args.fit_batch, report=report)
    if args.json:
        write_json_line(sys.stdout, {"path": args.store, "repaired": repaired})
    else:
        console.print(f"{printable(args.store)}: {len(repaired):,} objects written again", markup=False)
        for key in repaired:
            console.print(f"  {printable(key)}", markup=False)


def _progress(args: argparse.Namespace, console: Console) -> Any:
    return contextlib.nullcontext(json_lines(sys.stdout)) if args.json else shown_on(console)
