"""`functa export`."""

import argparse
import os
from typing import TYPE_CHECKING, Any, get_args

from functa_store.cli.arguments import (
    add_storage_arguments,
    keep_split,
    parse_index,
    parse_region,
    parse_resolution,
    storage_from,
)
from functa_store.cli.console import (
    for_messages,
    json_lines,
    print_json,
    show_line,
    shown_on,
)
from functa_store.config import ExportDtype
from functa_store.sources.splits import SPLITS
from functa_store.support.interrupts import stopping_between_events

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa export`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    parser.add_argument("--index", default=":", help="examples: 3, 0:16, ::100,-1 (default: all)")
    parser.add_argument("--split", choices=SPLITS, help="of these only the examples of one split")
    parser.add_argument(
        "--resolution", metavar="N[xM]", help="points per axis inside the region (default: the archive's)"
    )
    parser.add_argument(
        "--region", metavar="LOW:HIGH,...", help="window per axis, in [0, 1] or in degrees (default: all)"
    )
    parser.add_argument(
        "--out", required=True, metavar="OUT", help="a folder (.png or .npy files), NAME.zarr or NAME.npz"
    )
    parser.add_argument(
        "--dtype", choices=get_args(ExportDtype), default="float32", help="of NAME.zarr (default: float32)"
    )
    parser.add_argument(
        "--clip", action=argparse.BooleanOptionalAction, default=True, help="clip to the range of the data"
    )
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.set_defaults(run=run, when_interrupted="interrupted; nothing was exported")


def run(args: argparse.Namespace) -> None:
    """Export the examples that were asked for and say what was written."""
    from functa_store.decode.functaset import open_functaset
    from functa_store.exporting.export import export

    resolution = None if args.resolution is None else parse_resolution(args.resolution)
    region = None if args.region is None else parse_region(args.region)
    functaset = open_functaset(args.store, storage=storage_from(args))
    index, console = _index(args, functaset), for_messages()
    progress = json_lines() if args.json else shown_on(console)
    with progress as shown, stopping_between_events(shown) as report:
        options: dict[str, Any] = {"index": index, "clip": args.clip, "dtype": args.dtype, "report": report}
        shape = export(functaset, args.out, resolution, region=region, **options)
    if args.json:
        print_json({"out": os.fspath(args.out), "shape": shape})
    else:
        show_line(console, f"{args.out}: {shape[0]:,} examples of {' x '.join(map(str, shape[1:]))}")


def _index(args: argparse.Namespace, functaset: "Functaset") -> list[int]:
    index = parse_index(args.index, len(functaset))
    return index if args.split is None else keep_split(index, args.split, functaset.split[:])
