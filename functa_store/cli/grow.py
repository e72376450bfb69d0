"""Commands by which functasets grow and are put together: `functa append`, `functa merge` and `functa subset`."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from functa_store.cli import info
from functa_store.cli.arguments import ARCHIVE_HELP, parse_index, storage_from
from functa_store.cli.console import for_messages, json_lines, shortened, shown_on
from functa_store.cli.without_learning import OUT, add_archive_options, add_usual, with_archive
from functa_store.config import ModulationDtype
from functa_store.errors import ConfigError
from functa_store.progress import Report
from functa_store.sources.source import Source
from functa_store.support.interrupts import stopping_between_events


def add_append_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa append`."""
    parser.description = (
        "Fit the examples of an archive with the base of a functaset, and add those to it whose ids it has not."
    )
    parser.add_argument("store", metavar="STORE", help="path or URL of the functaset")
    parser.add_argument("archive", metavar="ARCHIVE", help=f"new examples: {ARCHIVE_HELP}")
    add_archive_options(parser)
    add_usual(parser, run_append)


def run_append(args: argparse.Namespace) -> None:
    """Add the examples of an archive to a functaset and describe it."""
    storage = storage_from(args)
    from functa_store.conversion.append import append  # imports JAX

    def write(source: Source, report: Report) -> None:
        append(source, args.store, storage=storage, fit_batch_size=args.fit_batch, report=report)

    with_archive(args, write)
    info.describe(args.store, storage, as_json=args.json)


def add_merge_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa merge`."""
    parser.add_argument(
        "stores", metavar="STORE", nargs="+", help="path or URL of a functaset; all of one base network"
    )
    parser.add_argument("out", metavar="OUT", help=OUT)
    parser.add_argument(
        "--dtype",
        choices=get_args(ModulationDtype),
        help="of stored modulations (default: theirs; float32 where scales of int8 differ)",
    )
    add_usual(parser, run_merge)


def run_merge(args: argparse.Namespace) -> None:
    """Merge stores and describe the new one."""
    from functa_store.conversion.merge import merge  # imports JAX

    storage = storage_from(args)
    with json_lines() if args.json else shown_on(for_messages()) as shown, stopping_between_events(shown) as report:
        merge(args.stores, args.out, modulation_dtype=args.dtype, storage=storage, report=report)
    info.describe(args.out, storage, as_json=args.json)


def add_subset_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa subset`."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a functaset")
    parser.add_argument("out", metavar="OUT", help=OUT)
    parser.add_argument("--split", help="examples of this split")
    parser.add_argument(
        "--where",
        metavar="LABEL=VALUE[,VALUE]",
        action="append",
        default=[],
        help="examples whose label has one of these values, numbers or names of classes; may be given several times",
    )
    parser.add_argument("--ids", metavar="FILE", help="examples whose ids are the lines of a text file, in their order")
    parser.add_argument("--index", metavar="I", help="examples by their place: 3, 0:16, ::100,-1")
    add_usual(parser, run_subset)


def run_subset(args: argparse.Namespace) -> None:
    """Write some examples of a store as one of their own and describe it."""
    from functa_store.conversion.merge import subset  # imports JAX
    from functa_store.decode.functaset import open_functaset

    storage = storage_from(args)
    functaset = open_functaset(args.store, storage=storage)
    where: dict[str, list[Any]] = {}
    for word in args.where:
        label, values = _condition(functaset.label_names, word)
        if label in where:
            raise ConfigError(f"--where {shortened(word, 80)}: {label} has a condition already; give all values in one")
        where[label] = values
    subset(
        functaset,
        args.out,
        where=where or None,
        split=args.split,
        ids=None if args.ids is None else _lines(args.ids),
        index=None if args.index is None else parse_index(args.index, len(functaset)),
        storage=storage,
    )
    info.describe(args.out, storage, as_json=args.json)


def _condition(names: Mapping[str, Sequence[str]], word: str) -> tuple[str, list[Any]]:
    """A label and the values that it may have, of a word such as "digit=3,8" or "animal=cat".

    Raises:
        ConfigError: If it is no such word.
    """
    label, equals, texts = word.partition("=")
    if not equals or not label or not texts:
        raise ConfigError(f"--where {shortened(word, 80)}: expected LABEL=VALUE, such as digit=3,8")
    classes = names.get(label, ())
    if texts in classes:  # a name with a comma in it
        return label, [texts]
    return label, [text if text in classes else _number(text) for text in texts.split(",")]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _lines(path: str) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return [line for line in file.read().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a text file of ids: {error}") from error
