"""`functa presets`."""

import argparse
import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

from rich.table import Column, Table

from functa_store.cli.arguments import leaves, option_of
from functa_store.cli.console import for_results, print_json
from functa_store.config import to_dict
from functa_store.errors import ConfigError
from functa_store.plugins import Preset, converters, preset_values, write_preset
from functa_store.support.printable import printable

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `functa presets`."""
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="show every value of this one; KIND/NAME where kinds differ in it"
    )
    parser.add_argument("--write", metavar="FILE", help="write it to a .yaml for functa convert --config")
    parser.add_argument("--json", action="store_true", help="print one JSON object with every value")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print every preset in a line, or one with every value.

    Raises:
        ConfigError: If no converter has a preset of that name.
    """
    if args.write is not None:
        if args.name is None:
            raise ConfigError("--write needs the name of a preset; functa presets lists them")
        write_preset(args.write, _find(args.name))
    if args.json:
        print_json(facts() if args.name is None else preset_values(_find(args.name)))
    elif args.name is not None and args.write is None:
        for_results().print(_values(_find(args.name)))
    elif args.name is None:
        for_results().print(_list())


def facts() -> dict[str, Any]:
    """JSON-ready summary and values of every preset, by converter and name; one that is not ready is left out."""
    found: dict[str, Any] = {}
    for kind, name, preset in _every():
        try:
            found.setdefault(kind, {})[name] = preset_values(preset)
        except ConfigError as error:
            logger.warning("converter %s: %s is left out", kind, error)
    return found


def _every() -> Iterator[tuple[str, str, Preset]]:
    """Kind, name and values of each preset; its name is what a conversion records."""
    for kind, converter in converters().items():
        for name, preset in converter.presets.items():
            yield kind, name, dataclasses.replace(preset, config=dataclasses.replace(preset.config, preset=name))


def _find(name: str) -> Preset:
    """The preset of a name, or of a kind and a name with a slash between them."""
    every = list(_every())
    found = {f"{kind}/{own}": preset for kind, own, preset in every if name in (own, f"{kind}/{own}")}
    if not found:
        expected = ", ".join(sorted({own for _, own, _ in every}))
        raise ConfigError(f"{printable(name)}: no such preset, expected one of {expected}, or one as KIND/NAME")
    first, *others = found.values()
    if any(other != first for other in others):
        raise ConfigError(f"{printable(name)}: differs from kind to kind; expected {' or '.join(found)}")
    return first


def _list() -> Table:
    table = Table("kind", Column("preset", no_wrap=True), "summary")
    for kind, name, preset in _every():
        table.add_row(printable(kind), printable(name), printable(preset.summary))
    return table


def _values(preset: Preset) -> Table:
    table = Table(Column("option of functa convert", no_wrap=True), printable(preset.summary))
    for name, value in preset.source.items():
        table.add_row(option_of(name), _shown(value))
    for path, value in leaves(to_dict(preset.config)):
        table.add_row(option_of(path), _shown(value))
    return table


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple) and not any(isinstance(part, list | tuple) for part in value):
        return printable(",".join(map(str, value)))
    return "none" if value is None else printable(str(value))
