"""Commands that show and share functasets: `functa card`, `report`, `push`, `pull`, `page` and `view`."""

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

from functa_store.cli.arguments import add_archive_arguments, add_storage_arguments, storage_from, typed_words
from functa_store.cli.console import for_messages, for_results, json_lines, print_json, show_line, shown_on
from functa_store.progress import Note, silent
from functa_store.support.interrupts import stopping_between_events

MOMENT = 0.1
"""Seconds between two looks at whether Ctrl-C was pressed."""


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
    from functa_store.sharing.report import check_place, report

    check_place(Path(args.out))  # before the archive is opened
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


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa page`."""
    parser.description = (
        "Write a folder of static files that shows a functaset in any browser: the page and a copy of the functaset. "
        "Put it on any web server."
    )
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the folder to write")
    parser.add_argument(
        "--store-url",
        metavar="URL",
        help="copy nothing; the page reads the functaset from this address, https://... or relative to the page",
    )
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run_page, when_interrupted="interrupted; nothing was written")


def run_page(args: argparse.Namespace) -> None:
    """Write the site and say how large it is."""
    from functa_store.page.site import write_page

    console = for_messages()
    with json_lines() if args.json else shown_on(console) as report:
        size = write_page(args.store, args.out, store_url=args.store_url, storage=storage_from(args), report=report)
    if args.json:
        print_json({"out": os.fspath(args.out), "bytes": size})
    else:
        show_line(console, f"{args.out}: {size:,} bytes; put the folder on any web server")


def add_view_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa view`."""
    parser.description = "Show a functaset in the browser, served by this process until Ctrl-C."
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; all others than %(default)s let the network see it"
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port to listen at (default: a free one)")
    parser.add_argument(
        "--browser", action=argparse.BooleanOptionalAction, default=True, help="open the page, where there is a screen"
    )
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the address as JSON")
    parser.set_defaults(run=run_view)


def run_view(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C, which is the usual end."""
    from functa_store.page.server import view

    with (
        contextlib.suppress(KeyboardInterrupt),
        stopping_between_events(silent) as look,
        view(args.store, host=args.host, port=args.port, browser=args.browser, storage=storage_from(args)) as server,
    ):
        if args.json:
            print_json({"url": server.url})
        else:
            show_line(for_messages(), f"{args.store}: {server.url} until Ctrl-C")
        while not server.wait(MOMENT):
            look(Note(message=""))
