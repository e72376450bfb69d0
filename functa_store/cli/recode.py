"""`functa recode`."""

import argparse
from typing import get_args

from functa_store.cli import info
from functa_store.cli.arguments import add_storage_arguments, storage_from
from functa_store.config import ModulationDtype


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa recode`."""
    parser.add_argument("store", metavar="IN", help="path or URL of a functaset")
    parser.add_argument("out", metavar="OUT", help="the new functaset: a path, s3:// or gs://, ending in .functa")
    parser.add_argument("--dtype", required=True, choices=get_args(ModulationDtype), help="of stored modulations")
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object about the new functaset")
    parser.set_defaults(run=run, when_interrupted="interrupted; run the same command again to go on from here")


def run(args: argparse.Namespace) -> None:
    """Recode a store and describe the new one."""
    from functa_store.conversion.recode import recode  # imports JAX

    storage = storage_from(args)
    recode(args.store, args.out, args.dtype, storage=storage)
    info.describe(args.out, storage, as_json=args.json)
