"""`functa score`."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from functa_store.cli.arguments import add_storage_arguments, parse_resolution, storage_from
from functa_store.cli.console import (
    for_messages,
    for_results,
    json_lines,
    print_json,
    show_line,
    shown_on,
)
from functa_store.progress import json_ready
from functa_store.scoring import MOST_EXAMPLES, SEEDS, STEPS
from functa_store.support.interrupts import stopping_between_events

if TYPE_CHECKING:
    from functa_store.scoring.score import Accuracy, Score


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa score`."""
    parser.description = (
        "Train classifiers on the modulations of a functaset and on its decoded arrays, and report how many held-out "
        "examples they tell right. Takes minutes."
    )
    parser.add_argument("store", metavar="STORE", help='path or URL of a functaset with the splits "train" and "test"')
    parser.add_argument(
        "--label",
        metavar="NAME",
        action="append",
        help="a label of integers; may be given several times (default: all)",
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, metavar="N", help="trainings of each (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help="of each training (default: %(default)s)")
    parser.add_argument(
        "--max-examples", type=int, default=MOST_EXAMPLES, metavar="N", help="of each split (default: %(default)s)"
    )
    parser.add_argument(
        "--resolution",
        metavar="N[xM]",
        help="points per axis of the decoded arrays (default: the archive's; at most 1024, 32, 16 of 1, 2, 3 axes)",
    )
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Score a functaset and print a table for each label."""
    resolution = None if args.resolution is None else parse_resolution(args.resolution)
    from functa_store.scoring.score import score  # imports JAX

    progress = json_lines() if args.json else shown_on(for_messages())
    with progress as shown, stopping_between_events(shown) as report:
        scores = score(
            args.store,
            labels=args.label,
            seeds=args.seeds,
            steps=args.steps,
            max_examples=args.max_examples,
            resolution=resolution,
            storage=storage_from(args),
            report=report,
        )
    if args.json:
        print_json(json_ready({"path": args.store, "scores": [dataclasses.asdict(each) for each in scores]}))
    else:
        for each in scores:
            show(each, for_results())


def show(score: "Score", console: Console) -> None:
    """Print the score of one label for a person."""
    made = f" and {score.num_augmentations:,} augmentations" if score.num_augmentations else ""
    learned = f"{score.num_train:,} training examples{made}, {score.num_test:,} held out"
    show_line(console, f"{score.label}: {score.num_classes:,} classes, {learned}")
    table = Table("method")
    for heading in ("numbers", "parameters", "accuracy", "deviation"):
        table.add_column(heading, justify="right")
    for method, found in score.accuracies.items():
        table.add_row(method, *_figures(found))
    console.print(table)
    if score.resolution is not None:
        show_line(console, f"  decoded arrays have {' x '.join(map(str, score.resolution))} points")
    for note in score.notes:
        show_line(console, f"  {note}")


def _figures(found: "Accuracy") -> tuple[str, ...]:
    deviation = "-" if found.deviation is None else f"{100 * found.deviation:.1f} %"
    counts = (f"{count:,}" if count else "-" for count in (found.num_inputs, found.num_parameters))
    return (*counts, f"{100 * found.mean:.1f} %", deviation)
