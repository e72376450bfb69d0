"""`functa decode`."""

import argparse
import os
from pathlib import Path

from functa_store.cli.arguments import add_storage_arguments, parse_index, parse_region, parse_resolution, storage_from
from functa_store.cli.console import for_messages, print_json, show_line
from functa_store.cli.decode_writers import (
    FILMS,
    MESHES,
    PLACEHOLDERS,
    SOUNDS,
    WRITERS,
    Request,
    write,
)
from functa_store.errors import ConfigError
from functa_store.store.storage.local import check_outside
from functa_store.store.storage.location import local_path
from functa_store.support.atomic_output import check_folder, check_replaceable

MESH_NAME = "{id}.ply"
"""What meshes are called in a folder."""

MOST_FRAMES = 3600
"""Of an orbit: ten for each degree."""

_SILENT = tuple(suffix for suffix in WRITERS if suffix not in SOUNDS)
_FITTING = {
    "--sample-rate": SOUNDS,
    "--orbit": FILMS,
    "--resolution": _SILENT,
    "--region": _SILENT,
    "--no-clip": (".npz", *FILMS),
}
"""Which kinds of file have an option; others would ignore it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa decode`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    parser.add_argument("--index", help="examples: 3, 0:16, ::100,-1 (default: 0:16; 0 for meshes, sound and film)")
    parser.add_argument(
        "--resolution",
        metavar="N[xM]",
        help="points per axis inside the region, or pixels along a side of a scene's views",
    )
    parser.add_argument(
        "--region",
        metavar="LOW:HIGH,...",
        help="window per axis, in [0, 1], or in degrees, as in --region=-10:10,0:360 (default: all)",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--out", metavar="FILE", help=f"the file; its suffix says what it is: {', '.join(WRITERS)}; see the docs"
    )
    where.add_argument("--mesh", metavar="FILE", help=f"a mesh: {', '.join(MESHES)}; or a folder, a mesh per example")
    parser.add_argument("--sample-rate", type=int, metavar="HZ", help="of sound (default: the archive's)")
    parser.add_argument("--orbit", type=int, metavar="FRAMES", help="frames of a flight around a scene (.gif, .mp4)")
    parser.add_argument(
        "--clip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="clip to the range of the data; pictures and sound always are",
    )
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object about the file written")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Decode the examples that were asked for into a file."""
    out = _file(args)
    resolution = None if args.resolution is None else parse_resolution(args.resolution)
    region = None if args.region is None else parse_region(args.region)
    from functa_store.decode.functaset import open_functaset  # imports JAX

    functaset = open_functaset(args.store, storage=storage_from(args), cache_bytes=0)
    check_outside(out, functaset.store.places)
    request = Request(
        functaset=functaset,
        index=parse_index(args.index or ("0:16" if out.suffix.lower() in (".png", ".npz") else "0"), len(functaset)),
        out=out,
        resolution=resolution,
        region=region,
        clip=args.clip,
        sample_rate=args.sample_rate,
        orbit=args.orbit,
    )
    facts = write(request)
    if args.json:
        print_json({"out": os.fspath(out), "index": request.index, **facts})
    elif without := facts.get("without_surface"):
        show_line(for_messages(), f"note: no file for examples without a surface: {', '.join(map(str, without))}")


def _file(args: argparse.Namespace) -> Path:
    """The file to write, checked as far as it can be without the store."""
    option, name = ("--out", args.out) if args.mesh is None else ("--mesh", args.mesh)
    out, kinds = local_path(name), tuple(WRITERS) if args.mesh is None else MESHES
    check_folder(out, f"{option} {name}")
    if args.mesh is not None and (out.is_dir() or not out.suffix):
        out /= MESH_NAME
    suffix = out.suffix.lower()
    if suffix not in kinds:
        raise ConfigError(f"{option} must end in one of {', '.join(kinds)}, got {name}")
    if suffix not in MESHES and args.orbit is None and any(placeholder in out.name for placeholder in PLACEHOLDERS):
        raise ConfigError(
            f"{option} {name}: is one file of all examples; {' and '.join(PLACEHOLDERS)} are for meshes and --orbit"
        )
    _check_options(args, suffix, f"{option} {name}")
    _check_place(out)
    return out


def _check_place(out: Path) -> None:
    """Refuse what cannot be written before examples are decoded for a long time."""
    has_files = any(placeholder in out.name for placeholder in PLACEHOLDERS)
    folder = out.parent if out.parent.is_dir() else out.parent.parent
    check_replaceable(folder / f"{out.stem}{out.suffix}" if has_files else out, str(out))


def _check_options(args: argparse.Namespace, suffix: str, written: str) -> None:
    given = {
        "--sample-rate": args.sample_rate,
        "--orbit": args.orbit,
        "--resolution": args.resolution,
        "--region": args.region,
        "--no-clip": None if args.clip else True,
    }
    for option, value in given.items():
        if value is not None and suffix not in _FITTING[option]:
            raise ConfigError(f"{option} is for {', '.join(_FITTING[option])}, got {written}")
    if args.sample_rate is not None and args.sample_rate < 1:
        raise ConfigError(f"--sample-rate must be at least 1, got {args.sample_rate}")
    if args.orbit is not None and not 1 <= args.orbit <= MOST_FRAMES:
        raise ConfigError(f"--orbit must be from 1 to {MOST_FRAMES}, got {args.orbit}")
