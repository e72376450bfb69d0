"""`functa verify`, and `functa repair` of what it finds damaged."""

import argparse
import contextlib
import dataclasses
from typing import Any

from rich.console import Console

from functa_store.cli.arguments import (
    add_archive_arguments,
    add_engine_arguments,
    add_storage_arguments,
    engine_from,
    storage_from,
    typed_words,
)
from functa_store.cli.console import (
    for_messages,
    for_results,
    json_lines,
    print_json,
    show_line,
    shown_on,
)
from functa_store.errors import (
    ConfigError,
    NoFunctasetError,
    StorageError,
    StoreFormatError,
)
from functa_store.progress import json_ready
from functa_store.reopen import reopened_of_parts
from functa_store.store.format.spec import ROOT
from functa_store.store.storage.objects import Objects, open_objects
from functa_store.support.interrupts import stopping_between_events

COMPLETE, INCOMPLETE, DAMAGED = 0, 3, 4
SHOWN_FOREIGN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa verify`."""
    parser.description = (
        "Compare every byte of a functaset with its checksums. Exit code: 0 complete, 3 incomplete, 4 damaged, "
        "2 not readable at all."
    )
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    parser.add_argument(
        "--deep", action="store_true", help="decode a sample, too, and compare its errors with the stored ones"
    )
    add_archive_arguments(parser, required=False, several=True)
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify a store and print what was found.

    Returns:
        Exit code.
    """
    if args.deep != bool(args.archive):
        raise ConfigError("--deep and --archive go together: a sample is compared with the archive")
    objects = open_objects(args.store, storage_from(args))
    found = _look(objects)
    if args.deep and not found["damaged"]:
        found |= _decode_sample(args)
    code = DAMAGED if found["damaged"] else COMPLETE if found["complete"] else INCOMPLETE
    if args.json:
        print_json(json_ready({"path": objects.name, "exit_code": code, **found}))
    else:
        _show(objects.name, found, code, for_results())
    return code


def _look(objects: Objects) -> dict[str, Any]:
    """What was found, JSON-ready.

    Raises:
        NoFunctasetError: If there is nothing to verify.
    """
    from functa_store.store.reading.verify import verify  # takes a moment to import

    try:
        return dataclasses.asdict(verify(objects))
    except NoFunctasetError as error:
        with contextlib.suppress(StorageError):
            if any(key.startswith(("modulations/", "base/")) for key in objects.sizes()):
                return _unreadable(f"is missing, or is no functaset's: {error}")
        raise
    except StoreFormatError as error:
        return _unreadable(str(error))


def _unreadable(problem: str) -> dict[str, Any]:
    return {"complete": False, "damaged": {ROOT: problem}, "advice": ["copy the store again, or convert again"]}


def _decode_sample(args: argparse.Namespace) -> dict[str, Any]:
    from functa_store.conversion.deep_verify import OWN, verify_deep  # imports JAX

    storage = storage_from(args)
    sources = reopened_of_parts(args.archive, args.store, storage, given=typed_words(args.option))
    verdict = verify_deep(sources, args.store, storage=storage)
    damaged = {
        "modulations" if name == OWN else f"{name}/modulations": (
            f"example {found.id!r} does not decode to what its error says ({found.worst:.3g} times)"
        )
        for name, found in verdict.compared.items()
        if not found.worst <= 1
    }
    found = dataclasses.asdict(verdict)
    return {"decoded": dataclasses.asdict(verdict.worst), "stores": found, "damaged": damaged}


def _show(name: str, found: dict[str, Any], code: int, console: Console) -> None:
    words = {COMPLETE: "complete", INCOMPLETE: "incomplete", DAMAGED: "damaged"}[code]
    counts = ""
    if "total" in found:
        counts = f", {found['examples']:,} of {found['total']:,} examples, {found['checked']:,} objects compared"
    show_line(console, f"{name}: {words}{counts}")
    if decoded := found.get("decoded"):
        worst = f"{decoded['worst']:.2g} of the allowed difference"
        show_line(console, f"  {decoded['examples']} examples decode to {worst}")
    for key, what in found.get("stores", {}).get("grown", {}).items():
        show_line(console, f"  {key}: its archive is not what it was, but its examples are there as they were: {what}")
    for key, archive in found.get("stores", {}).get("left", {}).items():
        show_line(console, f"  {key}: was not compared; its archive, {archive}, was not given")
    for key, problem in found["damaged"].items():
        show_line(console, f"  {key}: {problem}")
    for key in found.get("foreign", [])[:SHOWN_FOREIGN]:
        show_line(console, f"  {key}: is foreign, nothing reads it")
    if code == INCOMPLETE:
        show_line(console, "  run the command that was interrupted (convert, recode or repair) again to finish it")
    for line in found["advice"]:
        show_line(console, f"  {line}")


def add_repair_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa repair`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    add_archive_arguments(parser, required=True, several=True)
    parser.add_argument("--fit-batch", type=int, metavar="N", help="as for functa convert")
    add_engine_arguments(parser)
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.set_defaults(run=run_repair, when_interrupted="interrupted; run the same command again to go on from here")


def run_repair(args: argparse.Namespace) -> None:
    """Repair a store and say what was written again."""
    from functa_store.conversion.repair import repair  # imports JAX

    if args.fit_batch is not None and args.fit_batch < 1:
        raise ConfigError(f"--fit-batch must be at least 1, got {args.fit_batch}")
    storage, console, engine = storage_from(args), for_messages(), engine_from(args)
    progress = json_lines() if args.json else shown_on(console)
    with progress as shown, stopping_between_events(shown) as report:
        sources = reopened_of_parts(args.archive, args.store, storage, report, typed_words(args.option))
        repaired = repair(
            sources, args.store, storage=storage, fit_batch_size=args.fit_batch, engine=engine, report=report
        )
    if args.json:
        print_json({"path": args.store, "repaired": repaired})
    else:
        done = "written again" if args.workers != 0 else "damaged; shards are left to functa work and functa finish"
        show_line(console, f"{args.store}: {len(repaired):,} objects {done}")
        for key in repaired:
            show_line(console, f"  {key}")
