"""`functa encode`."""

import argparse

from functa_store.cli import info
from functa_store.cli.arguments import add_storage_arguments, storage_from, typed_words
from functa_store.cli.console import for_messages, json_lines, shown_on
from functa_store.errors import ConfigError
from functa_store.reopen import open_alike, provenance_of
from functa_store.sources.options import SurveyOptions
from functa_store.store.writing.destination import check_output
from functa_store.support.interrupts import stopping_between_events


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa encode`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset, whose base is taken")
    parser.add_argument("archive", metavar="ARCHIVE", help="the archive of new examples, as published")
    parser.add_argument("out", metavar="OUT", help="the new functaset: a path, s3:// or gs://, ending in .functa")
    parser.add_argument("--kind", help="of the archive, as for functa convert (default: that of STORE's)")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option of functa convert for this archive, such as labels=DIR (default: those of STORE's)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="take at most N examples")
    parser.add_argument(
        "--max-rejects", type=float, default=0.01, metavar="F", help="fraction of unreadable members (default: 0.01)"
    )
    parser.add_argument("--fit-batch", type=int, metavar="N", help="as for functa convert")
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.set_defaults(run=run, when_interrupted="interrupted; run the same command again to go on from here")


def run(args: argparse.Namespace) -> None:
    """Encode an archive and describe the new functaset."""
    if args.fit_batch is not None and args.fit_batch < 1:
        raise ConfigError(f"--fit-batch must be at least 1, got {args.fit_batch}")
    survey = SurveyOptions(limit=args.limit, max_rejects=args.max_rejects)
    storage = storage_from(args)
    provenance = provenance_of(args.store, storage)
    check_output(args.out, storage)
    from functa_store.conversion.encode import encode  # imports JAX

    with json_lines() if args.json else shown_on(for_messages()) as shown, stopping_between_events(shown) as report:
        source = open_alike(args.archive, provenance, survey, report, typed_words(args.option), kind=args.kind)
        encode(source, args.store, args.out, storage=storage, fit_batch_size=args.fit_batch, report=report)
    info.describe(args.out, storage, as_json=args.json)
