"""How do examples of a functaset become a picture or an array file?"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.commands.selections import parse_index, parse_region, parse_resolution
from functa_store.commands.storage import add_storage_arguments, storage_from
from functa_store.console import write_json_line
from functa_store.errors import ConfigError
from functa_store.sheets import contact_sheet, to_image

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset


def add_parser(commands: Any) -> None:
    """Add `functa decode`."""
    parser = commands.add_parser("decode", help="decode examples to a contact sheet (.png) or arrays (.npz)")
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    parser.add_argument("--index", default="0:16", help="examples: 3, 0:16, ::100,-1 (default: 0:16)")
    parser.add_argument(
        "--resolution", metavar="N[xM]", help="points per axis inside the region (default: the archive's)"
    )
    parser.add_argument("--region", metavar="Y0:Y1,X0:X1", help="window per axis, in [0, 1] (default: all)")
    parser.add_argument("--out", required=True, metavar="FILE", help="sheet.png or features.npz")
    parser.add_argument(
        "--clip", action=argparse.BooleanOptionalAction, default=True, help="clip to the range of the data"
    )
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object about the file written")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Decode the examples that were asked for into a file."""
    out = Path(args.out)
    if out.suffix not in (".png", ".npz"):
        raise ConfigError(f"--out must end in .png (contact sheet) or .npz (arrays), got {args.out}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {args.out}: there is no folder {out.parent}; create it first")
    resolution = None if args.resolution is None else parse_resolution(args.resolution)
    region = None if args.region is None else parse_region(args.region)
    from functa_store.decode.functaset import open_functaset  # imports JAX

    functaset = open_functaset(args.store, storage=storage_from(args), cache_bytes=0)
    index = parse_index(args.index, len(functaset))
    axes, channels = functaset.domain.axes, functaset.features.channels
    if out.suffix == ".png" and (len(axes) != 2 or len(channels) not in (1, 3, 4)):
        raise ConfigError(f"{args.store}: axes {axes} and channels {channels} make no picture; write --out FILE.npz")
    features = np.asarray(functaset.decode(index, resolution=resolution, region=region, clip=args.clip))
    if out.suffix == ".png":
        images = [to_image(example, functaset.features.data_range) for example in features]
        contact_sheet(images).save(out)
    else:
        _save_arrays(out, features, functaset, index)
    if args.json:
        write_json_line(sys.stdout, {"out": os.fspath(out), "index": index, "shape": features.shape})


def _save_arrays(out: Path, features: np.ndarray, functaset: "Functaset", index: list[int]) -> None:
    ids = np.array([str(name) for name in functaset.ids[index]])
    np.savez(out, features=features, id=ids, index=np.asarray(index))
