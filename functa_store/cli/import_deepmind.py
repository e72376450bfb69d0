"""`functa import-deepmind`."""

import argparse

from functa_store.cli import info
from functa_store.cli.arguments import add_storage_arguments, storage_from
from functa_store.cli.console import for_messages, json_lines, shown_on
from functa_store.store.writing.destination import check_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa import-deepmind`."""
    parser.add_argument("params", metavar="PARAMS", help="such as celeba_params_64_latents.npz")
    parser.add_argument("modulations", metavar="MODULATIONS", help="such as celeba_modulations_64_latents.npz")
    parser.add_argument("out", metavar="OUT", help="the functaset: a path, s3:// or gs://, ending in .functa")
    parser.add_argument("--w0", type=float, metavar="X", help="frequency of the sines, if PARAMS does not say (30)")
    parser.add_argument("--resolution", type=int, metavar="N", help="pixels along an edge, if PARAMS does not say (64)")
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.set_defaults(run=run, when_interrupted="interrupted; run the same command again to go on from here")


def run(args: argparse.Namespace) -> None:
    """Import published functa and describe the functaset."""
    storage = storage_from(args)
    check_output(args.out, storage)
    from functa_store.conversion.import_deepmind import import_deepmind  # imports JAX

    with json_lines() if args.json else shown_on(for_messages()) as report:
        import_deepmind(
            args.params,
            args.modulations,
            args.out,
            w0=args.w0,
            resolution=args.resolution,
            storage=storage,
            report=report,
        )
    info.describe(args.out, storage, as_json=args.json)
