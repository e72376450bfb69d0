"""`functa repair`."""

import argparse

from functa_store.cli.arguments import add_archive_arguments, add_storage_arguments, storage_from, typed_words
from functa_store.cli.console import (
    for_messages,
    json_lines,
    print_json,
    show_line,
    shown_on,
)
from functa_store.errors import ConfigError
from functa_store.reopen import provenance_of, reopened
from functa_store.support.interrupts import stopping_between_events


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa repair`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    add_archive_arguments(parser, required=True)
    parser.add_argument("--fit-batch", type=int, metavar="N", help="as for functa convert")
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.set_defaults(run=run, when_interrupted="interrupted; run the same command again to go on from here")


def run(args: argparse.Namespace) -> None:
    """Repair a store and say what was written again."""
    from functa_store.conversion.repair import repair  # imports JAX

    if args.fit_batch is not None and args.fit_batch < 1:
        raise ConfigError(f"--fit-batch must be at least 1, got {args.fit_batch}")
    storage, console = storage_from(args), for_messages()
    provenance = provenance_of(args.store, storage)
    progress = json_lines() if args.json else shown_on(console)
    with progress as shown, stopping_between_events(shown) as report:
        source = reopened(args.archive, provenance, report, typed_words(args.option))
        repaired = repair(source, args.store, storage=storage, fit_batch_size=args.fit_batch, report=report)
    if args.json:
        print_json({"path": args.store, "repaired": repaired})
    else:
        show_line(console, f"{args.store}: {len(repaired):,} objects written again")
        for key in repaired:
            show_line(console, f"  {key}")
