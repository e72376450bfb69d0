"""Every choice of a conversion as an option: short names for the usual ones, dotted names for all of them.

`--network.width 256` sets the field `width` of `ConvertConfig.network`. The options come from the dataclasses, so that
a field that is added there is an option, too.
"""

import argparse
import dataclasses
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from functa_store.config import ConvertConfig

SHORT = {
    "network.modulation_dim": ("--modulation-dim", "D", "numbers stored per example"),
    "outer.num_steps": ("--outer-steps", "N", "updates of the base network"),
    "outer.time_budget": ("--time-budget", "SECONDS", "seconds of learning instead"),
    "outer.batch_size": ("--batch-size", "N", "examples per update"),
    "outer.microbatch_size": ("--microbatch", "N", "examples that a device takes together while learning"),
    "fit.num_steps": ("--fit-steps", "N", "gradient steps per example: more fit better, slower"),
    "fit.stride": ("--fit-stride", "N", "later steps look at every N-th point along an axis"),
    "fit.tile_points": ("--tile-points", "N", "points evaluated at once; bounds memory"),
    "matmul_precision": ("--matmul-precision", None, "of hidden layers' products (default: float32)"),
    "modulation_dtype": ("--dtype", None, "of stored modulations (default: float32)"),
    "base_dtype": ("--base-dtype", None, "of stored base weights (default: float32)"),
    "seed": ("--seed", "N", "decides everything random"),
}
"""Option, metavar (None where choices are shown) and help of the usual choices, by field."""

_DEST = "config."


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of `ConvertConfig`; what is not typed is not in the namespace."""
    length = parser.add_mutually_exclusive_group()
    others = parser.add_argument_group(
        "every other choice", "`functa presets NAME` shows their values; `none` where a field may have no value"
    )
    for path, kind in _fields(ConvertConfig):
        short, metavar, text = SHORT.get(path, (None, None, None))
        group = length if path in ("outer.num_steps", "outer.time_budget") else parser if short else others
        names = [short] if short else []
        if "." in path or not short:
            names.append(option_of(path))
        described = {"help": text} if text else {}
        if (choices := _choices(kind)) is not None:
            described["choices"] = choices
        else:
            described |= {"type": _parser_of(kind), "metavar": metavar or "VALUE"}
        group.add_argument(*names, dest=_DEST + path, default=argparse.SUPPRESS, **described)


def option_of(path: str) -> str:
    """The option of a field: "network.width" is --network.width, "rows_per_shard" is --rows-per-shard."""
    if "." in path:
        return f"--{path}"
    return SHORT[path][0] if path in SHORT else f"--{path.replace('_', '-')}"


def typed_config(args: argparse.Namespace) -> dict[str, Any]:
    """What was typed of a configuration, as nested dictionaries like those of `config.to_dict`."""
    found: dict[str, Any] = {}
    for name, value in vars(args).items():
        if name.startswith(_DEST):
            *above, field = name.removeprefix(_DEST).split(".")
            place = found
            for key in above:
                place = place.setdefault(key, {})
            place[field] = value
    return found


def _fields(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and type of each field, those of fields that are dataclasses instead of them; not the preset's name."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from _fields(hint, f"{prefix}{field.name}.")
        elif field.name != "preset":
            yield prefix + field.name, hint


def _choices(kind: Any) -> tuple[str, ...] | None:
    return get_args(kind) if get_origin(kind) is Literal else None


def _parser_of(kind: Any) -> Callable[[str], Any]:
    """What makes a value of a word: a number, or None of "none" where that is one of the type's values."""
    optional = isinstance(kind, types.UnionType)
    number = next(one for one in get_args(kind) if one is not type(None)) if optional else kind

    def parse(word: str) -> Any:
        return None if optional and word.lower() == "none" else number(word)

    parse.__name__ = number.__name__  # which argparse says in its message
    return parse
