"""`functa presets`."""

import argparse
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from functa_store.cli.console import (
    for_results,
    print_json,
    printable,
    show_line,
)
from functa_store.config import to_dict
from functa_store.plugins import Preset, converters


def add_parser(commands: Any) -> None:
    """Add `functa presets`."""
    parser = commands.add_parser("presets", help="list the presets of every converter, with every value")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print every preset by converter."""
    if args.json:
        print_json(facts())
        return
    console = for_results()
    for kind, converter in converters().items():
        console.print(Text(f"{printable(kind)}: ", style="bold"), end="")
        show_line(console, converter.summary)
        console.print(_table(converter.presets))


def facts() -> dict[str, Any]:
    """JSON-ready summary and values of every preset, by converter and name."""
    return {
        kind: {name: _values(preset) for name, preset in converter.presets.items()}
        for kind, converter in converters().items()
    }


def _values(preset: Preset) -> dict[str, Any]:
    return {"summary": preset.summary, "source": dict(preset.source), "config": to_dict(preset.config)}


def _table(presets: Any) -> Table:
    rows = {name: _flat(_values(preset)) for name, preset in presets.items()}
    table = Table(Column("option", no_wrap=True), *rows)
    for option in dict.fromkeys(option for values in rows.values() for option in values):
        table.add_row(option, *(printable(str(values.get(option, ""))) for values in rows.values()))
    return table


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
