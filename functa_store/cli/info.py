"""`functa info`."""

import argparse
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from functa_store.cli.arguments import add_storage_arguments, storage_from
from functa_store.cli.console import (
    for_results,
    print_json,
    shortened,
    show_line,
)
from functa_store.decode.facts import decibels, figure, in_decibels, info
from functa_store.sources.source import labels_by, split_rule
from functa_store.store.storage.objects import Location, StorageOptions
from functa_store.support.printable import printable

SHOWN_REJECTS, SHOWN_CHARACTERS, SHOWN_CHANNELS = 10, 500, 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa info`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print what a store holds."""
    describe(args.store, storage_from(args), as_json=args.json)


def describe(path: Location, storage: StorageOptions, *, as_json: bool) -> None:
    """Print what a functaset holds, such as one that a command has written."""
    found = info(path, storage=storage)
    if as_json:
        print_json(found)
    else:
        show(found, for_results())


def show(found: dict[str, Any], console: Console) -> None:
    """Print a store's description for a person: what went wrong comes first."""
    _show_rejects(found["rejects"], console)
    points = " x ".join(str(size) for size in found["domain"]["resolution"])
    table = Table(title=_plain(found["path"]), show_header=False)
    state = "complete" if found["complete"] else f"unfinished, {found['fitted']:,} of {found['examples']:,} fitted"
    table.add_row("state", state)
    table.add_row("format version", str(found["format_version"]))
    table.add_row("preset", _plain(found["preset"] or "none"))
    channels = f"{len(found['channels'])} channel{'s' if len(found['channels']) > 1 else ''}"
    table.add_row("examples", f"{found['examples']:,} of {points} points, {channels}")
    if len(found["parts"]) > 1:
        shown = " + ".join(f"{count:,}" for count in found["parts"][:SHOWN_CHANNELS])
        table.add_row("parts", shown + (" + ..." if len(found["parts"]) > SHOWN_CHANNELS else ""))
    if made := found["augmentations"]:
        is_whole = found["complete"] and made["originals"]
        each = f", {made['count'] / made['originals']:.4g} of each of {made['originals']:,}" if is_whole else ""
        table.add_row("augmentations", f"{made['count']:,} of these examples{each}")
    table.add_row("splits", _plain(split_rule(found["provenance"]) or "of the source"))
    if found["labels"]:
        by = found["provenance"].get("labels_by")
        table.add_row("labels", _plain("; ".join(labels_by(found["labels"], by if isinstance(by, Mapping) else {}))))
    table.add_row("domain", _plain(f"{found['domain']['kind']} ({', '.join(found['domain']['axes'])})"))
    table.add_row("channels", _plain(_channels(found)))
    table.add_row("modulations", _plain(_modulations(found)))
    with_base = f"{found['bytes_per_example_with_base']:,.0f} with its share of the base"
    table.add_row("bytes per example", f"{found['bytes_per_example']:,}, {with_base}")
    table.add_row("bytes of the base", f"{found['bytes_base']:,} in {found['base_dtype']}")
    table.add_row("bytes in all", f"{found['bytes_total']:,}")
    if loss := found["rounding_loss"]:
        table.add_row("lost by rounding", f"{loss['psnr_loss']:.4f} dB on {loss['examples']:,} examples")
    if reduced := found["reference"].get("matmul_precision"):
        precision = reduced.get("precision") if isinstance(reduced, Mapping) else None
        table.add_row(_plain(f"fit in {precision}"), _cost_of_precision(reduced))
    console.print(table)
    console.print(_quality_table(found))
    if found["metric_units"]:
        console.print(_metrics_table(found))


def _modulations(found: dict[str, Any]) -> str:
    from functa_store.decode.descriptions import sizes_in_words

    lookup = "" if found["modulation_grid"] is None else f", {found['lookup']} look-up"
    return f"{found['modulation']}, {sizes_in_words(found['modulation_shape'])} {found['dtype']}{lookup}"


def _quality_table(found: dict[str, Any]) -> Table:
    headings = "split", "examples", "PSNR, mean", "of mean MSE", "PCA, mean", "of mean MSE"  # in 80 columns
    table = Table(*headings, title="PSNR in dB, and that of a PCA of as many numbers as a modulation has")
    for split, count in found["splits"].items():
        figures = (in_decibels(kind, split) for kind in (found, found["reference"]))
        table.add_row(_plain(split), f"{count:,}", *(figure for pair in figures for figure in pair))
    return table


def _metrics_table(found: dict[str, Any]) -> Table:
    """A row for each metric; there may be many, of which a terminal is not wide enough for columns."""
    table = Table("metric, mean")
    for split in found["splits"]:
        table.add_column(_plain(split))
    for column, unit in found["metric_units"].items():
        means = (figure(found, f"{column}_mean", split) for split in found["splits"])
        table.add_row(_plain(_with_unit(column, unit)), *("-" if mean is None else f"{mean:.4g}" for mean in means))
    return table


def _channels(found: dict[str, Any]) -> str:
    channels = list(zip(found["channels"], found["units"], strict=True))
    left_out = ["..."] if len(channels) > SHOWN_CHANNELS else []
    return ", ".join([_with_unit(*channel) for channel in channels[:SHOWN_CHANNELS]] + left_out)


def _with_unit(name: str, unit: str) -> str:
    return name if unit == "1" else f"{name} ({unit})"


def _cost_of_precision(reduced: Any) -> str:
    here, exact = (decibels(figure(reduced, name), " dB") for name in ("psnr_mean", "psnr_mean_in_float32"))
    return f"{here}, in float32 {exact}, on {figure(reduced, 'examples') or 0:,.0f} training or validation examples"


def _plain(text: Any) -> Text:
    """Text that a stranger may have written, without its control characters and without rich's markup."""
    return Text(printable(shortened(str(text))))


def _show_rejects(rejects: dict[str, Any], console: Console) -> None:
    if rejects["count"]:
        show_line(console, f"rejected members of the archive: {rejects['count']:,}")
    for reject in rejects["list"][:SHOWN_REJECTS]:
        member, reason = (shortened(reject[field], SHOWN_CHARACTERS) for field in ("member", "reason"))
        show_line(console, f"  {member}: {reason}")
    if rejects["count"] > SHOWN_REJECTS:
        show_line(console, "  ... (all of them: functa info --json)")
