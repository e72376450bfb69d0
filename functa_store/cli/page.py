"""`functa page` and `functa view`."""

import argparse
import contextlib
import os

from functa_store.cli.arguments import add_storage_arguments, storage_from
from functa_store.cli.console import for_messages, json_lines, print_json, show_line, shown_on
from functa_store.progress import Note, silent
from functa_store.support.interrupts import stopping_between_events

MOMENT = 0.1
"""Seconds between two looks at whether Ctrl-C was pressed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.set_defaults(run=run, when_interrupted="interrupted; nothing was written")


def run(args: argparse.Namespace) -> None:
    """Write the site and say how large it is."""
    from functa_store.page.site import write_page

    console = for_messages()
    with json_lines() if args.json else shown_on(console) as report:
        size = write_page(args.store, args.out, store_url=args.store_url, storage=storage_from(args), report=report)
    if args.json:
        print_json({"out": os.fspath(args.out), "bytes": size})
    else:
        show_line(
            console, f"{args.out}: {size:,} bytes; put the folder on a web server, or look at it with functa view"
        )


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
