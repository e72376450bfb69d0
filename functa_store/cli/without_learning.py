"""Commands that make a functaset without learning a base: `functa encode`, `derive`, `recode` and `import-deepmind`.

Each takes a base as it is, writes one functaset, goes on where it was interrupted and describes what it has written.
"""

import argparse
import zipfile
from collections.abc import Callable
from typing import Any, get_args

import numpy as np

from functa_store.cli import info
from functa_store.cli.arguments import ARCHIVE_HELP, add_storage_arguments, storage_from, typed_words
from functa_store.cli.console import for_messages, json_lines, shown_on
from functa_store.config import ModulationDtype
from functa_store.errors import ConfigError
from functa_store.progress import Report
from functa_store.reopen import open_alike, provenance_of
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import Source
from functa_store.store.writing.destination import check_output
from functa_store.support.interrupts import stopping_between_events

MODULATIONS, IDS, SPLIT = "modulations", "id", "split"
"""Names of arrays in the .npz of `functa derive`, as the arrays of a store are called; all others are labels."""

OUT = "the new functaset: a path, s3:// or gs://, ending in .functa"


def add_usual(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    """Add the arguments that all of them have after their own."""
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.set_defaults(run=run, when_interrupted="interrupted; run the same command again to go on from here")


def add_encode_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa encode`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset, whose base is taken")
    parser.add_argument("archive", metavar="ARCHIVE", help=f"new examples: {ARCHIVE_HELP}")
    parser.add_argument("out", metavar="OUT", help=OUT)
    add_archive_options(parser)
    add_usual(parser, run_encode)


def add_archive_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of an archive that is fitted with the base of a functaset."""
    parser.add_argument("--kind", help="of the archive, as for functa convert (default: that of STORE's)")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option of functa convert for this archive, such as labels=DIR (default: those of STORE's)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="take at most N examples")
    parser.add_argument(
        "--max-rejects", type=float, default=0.01, metavar="F", help="fraction of unreadable members (default: 0.01)"
    )
    parser.add_argument("--fit-batch", type=int, metavar="N", help="as for functa convert")


def run_encode(args: argparse.Namespace) -> None:
    """Encode an archive and describe the new functaset."""
    storage = storage_from(args)
    check_output(args.out, storage)
    from functa_store.conversion.encode import encode  # imports JAX

    def write(source: Source, report: Report) -> None:
        encode(source, args.store, args.out, storage=storage, fit_batch_size=args.fit_batch, report=report)

    with_archive(args, write)
    info.describe(args.out, storage, as_json=args.json)


def with_archive(args: argparse.Namespace, write: Callable[[Source, Report], object]) -> None:
    """Open an archive as that of the functaset was, and do something with it."""
    if args.fit_batch is not None and args.fit_batch < 1:
        raise ConfigError(f"--fit-batch must be at least 1, got {args.fit_batch}")
    survey = SurveyOptions(limit=args.limit, max_rejects=args.max_rejects)
    provenance = provenance_of(args.store, storage_from(args))
    with json_lines() if args.json else shown_on(for_messages()) as shown, stopping_between_events(shown) as report:
        write(open_alike(args.archive, provenance, survey, report, typed_words(args.option), kind=args.kind), report)


def add_derive_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa derive`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset, whose base the modulations are of")
    parser.add_argument(
        "modulations",
        metavar="FILE",
        help=f"a .npy of modulations, one per row, or a .npz: {MODULATIONS}, and {IDS}, {SPLIT} and labels by name",
    )
    parser.add_argument("out", metavar="OUT", help=OUT)
    parser.add_argument(
        "--normalized",
        action="store_true",
        help="the modulations are normalised by mean and deviation of all of STORE's, as loaders do by default",
    )
    add_usual(parser, run_derive)


def run_derive(args: argparse.Namespace) -> None:
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


def add_recode_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa recode`."""
    parser.add_argument("store", metavar="IN", help="path or URL of a functaset")
    parser.add_argument("out", metavar="OUT", help=OUT)
    parser.add_argument("--dtype", required=True, choices=get_args(ModulationDtype), help="of stored modulations")
    add_usual(parser, run_recode)


def run_recode(args: argparse.Namespace) -> None:
    """Recode a store and describe the new one."""
    from functa_store.conversion.recode import recode  # imports JAX

    storage = storage_from(args)
    recode(args.store, args.out, args.dtype, storage=storage)
    info.describe(args.out, storage, as_json=args.json)


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa import-deepmind`."""
    parser.add_argument("params", metavar="PARAMS", help="such as celeba_params_64_latents.npz")
    parser.add_argument("modulations", metavar="MODULATIONS", help="such as celeba_modulations_64_latents.npz")
    parser.add_argument("out", metavar="OUT", help=OUT)
    parser.add_argument("--w0", type=float, metavar="X", help="frequency of the sines, if PARAMS does not say (30)")
    parser.add_argument("--resolution", type=int, metavar="N", help="pixels along an edge, if PARAMS does not say (64)")
    add_usual(parser, run_import)


def run_import(args: argparse.Namespace) -> None:
    """Import published functa and describe the functaset."""
    storage = storage_from(args)
    check_output(args.out, storage)
    from functa_store.conversion.import_deepmind import import_deepmind  # imports JAX

    with json_lines() if args.json else shown_on(for_messages()) as report:
        import_deepmind(
            args.params,
            args.modulations,
            args.out,
            w0=args.w0,
            resolution=args.resolution,
            storage=storage,
            report=report,
        )
    info.describe(args.out, storage, as_json=args.json)
