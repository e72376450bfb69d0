"""`functa work`, and `functa finish` of what that has fitted."""

import argparse
import contextlib
import re

from functa_store.cli import info
from functa_store.cli.arguments import add_archive_arguments, add_storage_arguments, options_of, storage_from
from functa_store.cli.console import for_messages, json_lines, print_json, show_line, shown_on
from functa_store.errors import ConfigError
from functa_store.progress import silent
from functa_store.store.storage.objects import StorageOptions, open_objects
from functa_store.support.interrupts import stopping_between_events


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa work`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of an unfinished functaset whose base is learned")
    add_archive_arguments(parser, required=False)
    parser.add_argument(
        "--shards",
        metavar="I/N",
        help="take the I-th of N parts of the shards, I from 0 on (default: whatever is missing, in random order)",
    )
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.add_argument("--quiet", action="store_true", help="print no progress and no summary")
    parser.set_defaults(
        run=run, when_interrupted="interrupted; what is written stays, and functa work goes on with the rest"
    )


def run(args: argparse.Namespace) -> None:
    """Work on a store and say how much was done."""
    from functa_store.conversion.workers.worker import work  # imports JAX

    storage, share = storage_from(args), parse_share(args.shards)
    options = options_of(_converter_of(args, storage), args.option) if args.option else {}
    progress = contextlib.nullcontext(silent) if args.quiet else json_lines() if args.json else shown_on(for_messages())
    with progress as shown, stopping_between_events(shown) as report:
        written = work(args.store, archive=args.archive, options=options, share=share, storage=storage, report=report)
    if args.json:
        print_json({"path": args.store, "shards_written": written})
    elif not args.quiet:
        show_line(for_messages(), f"{args.store}: {written:,} shards written")


def add_finish_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa finish`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset whose shards are all written")
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the description of the functaset as JSON")
    parser.set_defaults(run=run_finish, when_interrupted="interrupted; run the same command again to go on from here")


def run_finish(args: argparse.Namespace) -> None:
    """Complete a store and describe it."""
    from functa_store.conversion.workers.finish import finish

    storage = storage_from(args)
    finish(args.store, storage=storage)
    info.describe(args.store, storage, as_json=args.json)


def parse_share(text: str | None) -> tuple[int, int] | None:
    """The part of the shards that "3/16" means.

    Raises:
        ConfigError: If the text is no such part.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text, re.ASCII)
    if match is None or int(match[1]) >= int(match[2]):
        raise ConfigError(f"--shards takes I/N with 0 <= I < N, such as 0/16 to 15/16, got {text[:50]!r}")
    return int(match[1]), int(match[2])


def _converter_of(args: argparse.Namespace, storage: StorageOptions) -> str:
    from functa_store.conversion.workers.job import places_of_job, read_job

    jobs = (read_job(place) for place in places_of_job(open_objects(args.store, storage)))
    job = next((found[0] for found in jobs if found is not None), None)
    return "" if job is None else job.recipe.converter
