"""`functa card`."""

import argparse

from functa_store.cli.arguments import add_storage_arguments, storage_from
from functa_store.cli.console import for_results, print_json, show_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa card`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a complete functaset")
    parser.add_argument(
        "--out", metavar="FILE", default="README.md", help="the card; a sheet of examples comes beside it (README.md)"
    )
    parser.add_argument(
        "--licence", "--license", metavar="ID", default="unknown", help="the hub's identifier, such as cc-by-4.0"
    )
    parser.add_argument("--name", metavar="TEXT", help="what the data set is called (default: as the archive)")
    parser.add_argument("--task", metavar="TASK", action="append", default=[], help="a task category of the hub")
    parser.add_argument("--tag", metavar="TAG", action="append", default=[], help="a further tag")
    parser.add_argument("--address", metavar="URL", help="where it is opened, such as hf://datasets/NAME/x.functa")
    parser.add_argument("--page", metavar="URL", help="of a page that shows it")
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write a dataset card."""
    from functa_store.sharing.card import card

    written = card(
        args.store,
        args.out,
        licence=args.licence,
        name=args.name,
        tasks=args.task,
        tags=args.tag,
        address=args.address,
        page=args.page,
        storage=storage_from(args),
    )
    files = [str(path) for path in written]
    if args.json:
        print_json({"files": files})
    else:
        show_line(for_results(), f"wrote {' and '.join(files)}")
