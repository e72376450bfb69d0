"""`functa derive`."""

import argparse
import zipfile
from typing import Any

import numpy as np

from functa_store.cli import info
from functa_store.cli.arguments import add_storage_arguments, storage_from
from functa_store.errors import ConfigError
from functa_store.store.writing.destination import check_output

MODULATIONS, IDS, SPLIT = "modulations", "id", "split"
"""Names of arrays in a .npz, as the arrays of a store are called; all others are labels."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa derive`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset, whose base the modulations are of")
    parser.add_argument(
        "modulations",
        metavar="FILE",
        help=f"a .npy of modulations, one per row, or a .npz: {MODULATIONS}, and {IDS}, {SPLIT} and labels by name",
    )
    parser.add_argument("out", metavar="OUT", help="the functaset: a path, s3:// or gs://, ending in .functa")
    parser.add_argument(
        "--normalized",
        action="store_true",
        help="the modulations are normalised by mean and deviation of all of STORE's, as loaders do by default",
    )
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the description of the functaset as JSON")
    parser.set_defaults(run=run, when_interrupted="interrupted; run the same command again to go on from here")


def run(args: argparse.Namespace) -> None:
    """Write a functaset of modulations from a file and describe it."""
    storage = storage_from(args)
    check_output(args.out, storage)
    arrays = read_modulations(args.modulations)
    from functa_store.conversion.derive import derive  # imports JAX
    from functa_store.decode.functaset import open_functaset
    from functa_store.loaders import Normalization

    functaset = open_functaset(args.store, storage=storage)
    given = {"ids": arrays.pop(IDS, None), "split": arrays.pop(SPLIT, "train")}
    normalization = Normalization.of_all(functaset) if args.normalized else None
    derive(
        functaset,
        args.out,
        arrays.pop(MODULATIONS),
        labels=arrays,
        normalization=normalization,
        storage=storage,
        **{name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in given.items()},
    )
    info.describe(args.out, storage, as_json=args.json)


def read_modulations(path: str) -> dict[str, Any]:
    """The arrays of a .npy or .npz by name, `modulations` among them.

    Raises:
        ConfigError: If the file cannot be read, or has no modulations.
    """
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = dict(found) if isinstance(found, np.lib.npyio.NpzFile) else {MODULATIONS: found}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: cannot be read as a .npy or .npz of numbers and texts: {error}") from error
    if MODULATIONS not in arrays:
        raise ConfigError(f"{path}: has the arrays {sorted(arrays)[:10]}, expected one called {MODULATIONS!r}")
    if scalars := [name for name, array in arrays.items() if not array.ndim]:
        raise ConfigError(f"{path}: {scalars[0]!r} is a single value, expected one for each modulation")
    return arrays
