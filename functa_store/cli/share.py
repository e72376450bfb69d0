"""Commands that show and share functasets: `functa card`, `report`, `push` and `pull`."""

import argparse
from typing import Any

from functa_store.cli.arguments import add_archive_arguments, add_storage_arguments, storage_from, typed_words
from functa_store.cli.console import for_messages, for_results, json_lines, print_json, show_line, shown_on


def add_card_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.set_defaults(run=run_card)


def run_card(args: argparse.Namespace) -> None:
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
    _tell(args, {"files": files}, f"wrote {' and '.join(files)}")


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa report`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset; it may be unfinished")
    parser.add_argument("--out", metavar="FILE", default="report.html", help="one HTML file (default: %(default)s)")
    add_archive_arguments(parser, required=False)
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.set_defaults(run=run_report)


def run_report(args: argparse.Namespace) -> None:
    """Write a report."""
    from functa_store.reopen import provenance_of, reopened
    from functa_store.sharing.report import report

    storage = storage_from(args)
    with json_lines() if args.json else shown_on(for_messages()) as shown:
        source = None
        if args.archive is not None:
            provenance = provenance_of(args.store, storage)
            source = reopened(args.archive, provenance, shown, typed_words(args.option))
        report(args.store, args.out, source=source, storage=storage, report=shown)
    _tell(args, {"out": args.out}, f"wrote {args.out}")


def add_push_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa push`."""
    parser.add_argument("store", metavar="STORE", help="path of a complete functaset")
    parser.add_argument("address", metavar="ADDRESS", help="hf://datasets/OWNER/NAME, or a path in it: .../x.functa")
    parser.add_argument("--card", metavar="FILE", help="a README.md for the data set, as functa card writes it")
    parser.add_argument("--private", action="store_true", help="make a new data set private")
    parser.add_argument(
        "--no-check", dest="check", action="store_false", help="do not compare all bytes with their checksums first"
    )
    _add_transfer_arguments(parser)
    parser.set_defaults(run=run_push, when_interrupted="interrupted; run the same command again to go on from here")


def run_push(args: argparse.Namespace) -> None:
    """Upload a functaset."""
    from functa_store.sharing.hub import push

    with json_lines() if args.json else shown_on(for_messages()) as report:
        options = {"card": args.card, "private": args.private, "check": args.check}
        address = push(args.store, args.address, **options, storage=storage_from(args), report=report)
    _tell(args, {"address": address}, f"pushed; opened as {address}")


def add_pull_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa pull`."""
    parser.add_argument("address", metavar="ADDRESS", help="hf://datasets/OWNER/NAME@REVISION/x.functa")
    parser.add_argument("out", metavar="OUT", help="where it goes: a path that ends in .functa")
    _add_transfer_arguments(parser)
    parser.set_defaults(run=run_pull, when_interrupted="interrupted; run the same command again to go on from here")


def run_pull(args: argparse.Namespace) -> None:
    """Download a functaset."""
    from functa_store.sharing.hub import pull

    with json_lines() if args.json else shown_on(for_messages()) as report:
        address = pull(args.address, args.out, storage=storage_from(args), report=report)
    _tell(args, {"out": args.out, "address": address}, f"wrote {args.out}, which is {address}")


def _add_transfer_arguments(parser: argparse.ArgumentParser) -> None:
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")


def _tell(args: argparse.Namespace, facts: dict[str, Any], line: str) -> None:
    if args.json:
        print_json(facts)
    else:
        show_line(for_results(), line)
