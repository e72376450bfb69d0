"""Arguments that commands share, and options made of dataclasses: those of `ConvertConfig` and of a converter.

`--network.width 256` sets the field `width` of `ConvertConfig.network`. Names, types, choices and help come from the
dataclasses and their docstrings, so that a field that is added there is an option, too.
"""

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

import numpy as np

from functa_store.cli.console import shortened
from functa_store.config import MOST_INTEGER, ConvertConfig, to_dict
from functa_store.errors import ConfigError, ExampleIndexError, StoreMismatchError
from functa_store.plugins import Converter, converter_named
from functa_store.reopen import Given
from functa_store.sources.options import (
    ArchiveOptions,
    choices,
    descriptions,
    from_word,
    gathered,
    hints,
    is_flag,
    is_several,
)
from functa_store.store.storage.objects import NO_OPTIONS, StorageOptions

SHORT = {
    "network.modulation_dim": "--modulation-dim",
    "network.modulation_grid": "--modulation-grid",
    "outer.num_steps": "--outer-steps",
    "outer.time_budget": "--time-budget",
    "outer.batch_size": "--batch-size",
    "outer.microbatch_size": "--microbatch",
    "fit.num_steps": "--fit-steps",
    "fit.stride": "--fit-stride",
    "fit.tile_points": "--tile-points",
    "matmul_precision": "--matmul-precision",
    "modulation_dtype": "--dtype",
    "base_dtype": "--base-dtype",
    "seed": "--seed",
}
"""Short names of the usual choices of a conversion, by field."""

EXCLUSIVE = (("outer.num_steps", "outer.time_budget"),)
"""Fields of `ConvertConfig` of which a command line gives only one."""

BRIEF = 100
"""Characters of a value in a message."""

_CONFIG, _SOURCE = "config.", "source."
"""Where the namespace of the arguments keeps what was typed."""

EXPECTED = "integers and slices such as 3, 0:16 or ::100,-1"

_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")

N = TypeVar("N", int, float)


def add_options(parser: argparse.ArgumentParser, converter: Converter) -> None:
    """Add an option for each field of the converter's options and of `ConvertConfig`.

    What is not typed is not in the namespace. Defaults in the help are those of the converter's first preset.
    """
    preset = next(iter(converter.presets.values()))
    own = parser.add_argument_group("this kind of archive")
    groups = _exclusive(own, converter.options.exclusive)
    defaults = {**_defaults(converter.options), **preset.source}
    described = descriptions(converter.options)
    for name, hint in hints(converter.options).items():
        metavar = converter.options.__dataclass_fields__[name].metadata.get("metavar")
        text = _help(described.get(name, ""), defaults.get(name))
        _add(groups.get(name, own), [option_of(name)], _SOURCE + name, hint, text, metavar)
    usual, others = parser.add_argument_group("learning and fitting"), parser.add_argument_group("every other choice")
    groups = _exclusive(usual, EXCLUSIVE)
    defaults = dict(leaves(to_dict(preset.config)))
    for path, hint, description in _fields(ConvertConfig):
        names = [SHORT[path]] if path in SHORT else []
        if "." in path or not names:
            names.append(option_of(path))
        group = groups.get(path, usual if path in SHORT else others)
        _add(group, names, _CONFIG + path, hint, _help(description, defaults.get(path)), None)


def option_of(path: str) -> str:
    """The option of a field: "network.width" is --network.width, "rows_per_shard" is --rows-per-shard."""
    if "." in path:
        return f"--{path}"
    return SHORT.get(path, f"--{path.replace('_', '-')}")


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested dictionaries by their dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def typed_config(args: argparse.Namespace) -> dict[str, Any]:
    """What was typed of a configuration, as nested dictionaries like those of `config.to_dict`."""
    found: dict[str, Any] = {}
    for name, value in _typed(args, _CONFIG):
        *above, field = name.split(".")
        place = found
        for key in above:
            place = place.setdefault(key, {})
        place[field] = value
    return found


def typed_options(args: argparse.Namespace) -> dict[str, Any]:
    """What was typed of the options of a converter."""
    return dict(_typed(args, _SOURCE))


def _typed(args: argparse.Namespace, prefix: str) -> Iterator[tuple[str, Any]]:
    return ((name.removeprefix(prefix), value) for name, value in vars(args).items() if name.startswith(prefix))


def _exclusive(parser: Any, pairs: Any) -> dict[str, Any]:
    """The group of each field of which only one of a pair may be typed."""
    groups = [(pair, parser.add_mutually_exclusive_group()) for pair in pairs]
    return {name: group for pair, group in groups for name in pair}


def _add(group: Any, names: list[str], dest: str, hint: Any, text: str, metavar: str | None) -> None:
    described: dict[str, Any] = {"dest": dest, "default": argparse.SUPPRESS, "help": text}
    if is_flag(hint):
        described["action"] = argparse.BooleanOptionalAction
    elif get_origin(hint) is Literal and metavar is None:
        described |= {"choices": choices(hint)}
    else:
        described |= {"type": _Word(names[-1], hint), "metavar": metavar or _metavar(hint)}
    if is_several(hint):
        described["action"] = _Gather
    group.add_argument(*names, **described)


class _Word:
    """Makes a value of a word; argparse says its message."""

    def __init__(self, name: str, hint: Any) -> None:
        self._name, self._hint = name, hint

    def __call__(self, word: str) -> Any:
        try:
            return from_word(self._name, self._hint, word)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{self._name} ")) from error


class _Gather(argparse.Action):
    """Adds what an option that is given several times lists."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        if hasattr(namespace, self.dest):
            try:
                values = gathered("it", getattr(namespace, self.dest), values)
            except ConfigError as error:
                raise argparse.ArgumentError(self, str(error)) from error
        setattr(namespace, self.dest, values)


def _metavar(hint: Any) -> str:
    words = str(hint)
    if "tuple[int" in words:
        return "N,N"
    if (few := choices(hint)) is not None and type(None) in get_args(hint):
        return f"{{{','.join(few)},none}}"
    return "N" if words in ("<class 'int'>", "int | None") else "X" if "float" in words else "NAME"


def _help(text: str, default: Any) -> str:
    shown = f"{text} (default: {default})" if default not in (None, False, (), {}) else text
    return shown.replace("%", "%%")


def _defaults(kind: type[ArchiveOptions]) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}


def _fields(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Path, type and description of each field, those of fields that are dataclasses instead of them."""
    described = descriptions(kind)
    for name, hint in hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from _fields(hint, f"{prefix}{name}.")
        elif name != "preset":
            yield prefix + name, hint, described.get(name, "")


ARCHIVE_HELP = "a path; of many files a pattern in quotes, {000..015}, or @LIST, which has a path in each line"


def add_archive_arguments(parser: argparse.ArgumentParser, *, required: bool, several: bool = False) -> None:
    """Add the archive, or several, and what a store does not say about how it was read."""
    described: dict[str, Any] = {"metavar": "ARCHIVE", "required": required}
    described["help"] = f"the archive that was converted: {ARCHIVE_HELP}"
    if several:
        described |= {"action": "append", "default": []}
        described["help"] += "; of a functaset that has grown, those of its parts, by several --archive"
    parser.add_argument("--archive", **described)
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option of functa convert that the store does not keep, such as labels=DIR",
    )


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add who fits the examples; see `engine_from`."""
    group = parser.add_argument_group("who fits").add_mutually_exclusive_group()
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="fit in N processes, which share the cores or have an accelerator each; 0 leaves that to functa work",
    )
    group.add_argument(
        "--scheduler", metavar="URL", help="fit on a cluster of dask.distributed, such as tcp://host:8786"
    )


def engine_from(args: argparse.Namespace) -> Any:
    """The engine that was asked for; None for this process.

    Raises:
        ConfigError: If the number of workers is negative.
        MissingLibraryError: If distributed is not installed.
        StorageError: If there is no scheduler at the address.
    """
    if args.scheduler is not None:
        from functa_store.conversion.workers.dask_engine import Dask

        return Dask(args.scheduler)
    if args.workers is None:
        return None
    if args.workers < 0:
        raise ConfigError(f"--workers must not be negative, got {args.workers}")
    from functa_store.conversion.workers.engine import Elsewhere
    from functa_store.conversion.workers.processes import Processes

    return Processes(args.workers) if args.workers else Elsewhere()


def add_hosts_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the processes that learn together; see `hosts_from`."""
    group = parser.add_argument_group(
        "learning on several hosts, each process started by the same command but for its id"
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="process 0, as all of them reach it, and a free port")
    group.add_argument("--num-processes", type=int, metavar="N", help="how many processes there are")
    group.add_argument(
        "--process-id", type=int, metavar="I", help="which one this is, from 0 on; 0 writes the functaset"
    )


def hosts_from(args: argparse.Namespace) -> Any:
    """The processes that learn together; None for this one alone.

    Raises:
        ConfigError: If not all of it is given, or a number is out of range.
    """
    given = (args.coordinator, args.num_processes, args.process_id)
    if given == (None, None, None):
        return None
    if None in given:
        raise ConfigError("--coordinator, --num-processes and --process-id belong together; give all three, or none")
    from functa_store.conversion.hosts import Hosts  # imports JAX

    return Hosts(coordinator=args.coordinator, num_processes=args.num_processes, process_id=args.process_id)


def options_of(converter: str, words: Sequence[str]) -> dict[str, Any]:
    """The values that words such as "labels=DIR" give to options of a converter.

    Raises:
        ConfigError: If one is no such word, or its value is none that the option may have.
        StoreMismatchError: If the converter is not installed.
    """
    if (found := converter_named(converter)) is None:
        raise StoreMismatchError(f"the converter {_brief(converter)} is not installed here; install it")
    return _from_words(found.options, words)


def typed_words(words: Sequence[str]) -> Given:
    """The options of a converter that words such as "labels=DIR" give; dashes in a name are underscores.

    Raises:
        ConfigError: When its options are known, if a word is none of them, or its value is none that it may have.
    """
    return lambda kind: _from_words(kind, words)


def _from_words(kind: type[ArchiveOptions], words: Sequence[str]) -> dict[str, Any]:
    known, found = hints(kind), {}
    for word in words:
        name, equals, value = word.partition("=")
        where = f"--option {shortened(word, BRIEF)}"
        if not equals or (field := name.replace("-", "_")) not in known:
            raise ConfigError(f"{where}: expected NAME=VALUE, NAME one of {', '.join(sorted(known))}")
        given = from_word(where, known[field], value)
        several = field in found and is_several(known[field])
        found[field] = gathered(where, found[field], given) if several else given
    return found


def parse_index(text: str, num_examples: int) -> list[int]:
    """Positions of examples.

    Args:
        text: Integers and slices as in Python, comma between them: "3", "0:16", "::100,-1".
        num_examples: Examples of the functaset, which negative numbers count back from.

    Returns:
        Positions in [0, num_examples), in the order given.

    Raises:
        ConfigError: If the text is no such list.
        ExampleIndexError: If it names no example, or one that is not there.
    """
    found = [position for part in text.split(",") for position in _positions(part.strip(), num_examples)]
    if not found:
        raise ExampleIndexError(f"--index {_brief(text)} names none of the {num_examples} examples")
    return found


def _positions(part: str, num_examples: int) -> list[int]:
    match = _SLICE.fullmatch(part)
    if match:
        bounds = [None if bound is None else _number(int, bound, "--index", EXPECTED) for bound in match.groups()]
        if bounds[2] == 0:
            raise ConfigError(f"--index {_brief(part)}: the step of a slice must not be 0")
        return list(range(num_examples)[slice(*bounds)])
    position = _number(int, part, "--index", EXPECTED)
    if not -num_examples <= position < num_examples:
        raise ExampleIndexError(f"--index {shortened(str(position), BRIEF)}: the functaset has {num_examples} examples")
    return [position % num_examples]


def keep_split(index: Sequence[int], split: str, splits: np.ndarray) -> list[int]:
    """Of some positions those of one split.

    Args:
        index: Positions of examples.
        split: Name of the split.
        splits: The split of every example.

    Raises:
        ExampleIndexError: If none of them is in it.
    """
    found = [position for position in index if splits[position] == split]
    if not found:
        there = ", ".join(sorted({str(splits[position]) for position in index}))
        raise ExampleIndexError(f"--split {split}: of {len(index):,} examples none is in it; found only {there}")
    return found


def parse_resolution(text: str) -> int | tuple[int, ...]:
    """Points per axis: "256" for every axis, or "256x128" axis by axis in array order.

    Raises:
        ConfigError: If the text says anything else.
    """
    expected = "positive integers such as 256 or 256x128 (height x width)"
    sizes = tuple(_number(int, part, "--resolution", expected) for part in text.lower().split("x"))
    if min(sizes) < 1 or max(sizes) >= MOST_INTEGER:
        raise ConfigError(f"--resolution takes {expected}, got {_brief(text)}")
    return sizes[0] if len(sizes) == 1 else sizes


def parse_region(text: str) -> tuple[tuple[float, float], ...]:
    """Bounds per axis in array order, in [0, 1] or degrees: "0.25:0.75,0:0.5".

    Raises:
        ConfigError: If the text says anything else; whether the window fits is the domain's to say.
    """
    expected = "low:high for every axis, such as 0.25:0.75,0:0.5 (y, x)"
    bounds = [tuple(_number(float, edge, "--region", expected) for edge in part.split(":")) for part in text.split(",")]
    if any(len(bound) != 2 for bound in bounds):
        raise ConfigError(f"--region takes {expected}, got {_brief(text)}")
    return tuple((bound[0], bound[1]) for bound in bounds)


def _number(kind: Callable[[str], N], text: str, option: str, expected: str) -> N:
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{option} takes {expected}, got {_brief(text)}") from error


def add_storage_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command on a store has. Credentials come from the environment alone."""
    group = parser.add_argument_group("disks and object stores (credentials come from the environment)")
    group.add_argument("--endpoint", metavar="URL", help="server other than the provider's, such as http://host:9000")
    group.add_argument("--bucket-region", metavar="REGION", help="region of the bucket")
    group.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=NO_OPTIONS.timeout,
        help="give a request up after so long, repetitions included, if the server is silent (default: %(default)g)",
    )
    group.add_argument(
        "--least-rate",
        type=float,
        metavar="BYTES",
        default=NO_OPTIONS.least_rate,
        help="bytes per second below which a server is too slow (default: %(default)g)",
    )
    group.add_argument("--anonymous", action="store_true", help="send no credentials, for public buckets")
    group.add_argument(
        "--no-mapping",
        dest="mapped",
        action="store_false",
        help="read files without mapping them into memory: slower, but safe if others make them shorter meanwhile",
    )


def storage_from(args: argparse.Namespace) -> StorageOptions:
    """The options of `add_storage_arguments`, as typed."""
    return StorageOptions(
        endpoint=args.endpoint,
        region=args.bucket_region,
        anonymous=args.anonymous,
        timeout=args.timeout,
        least_rate=args.least_rate,
        mapped=args.mapped,
    )


def _brief(value: Any) -> str:
    return shortened(repr(value), BRIEF)
