"""Converters: built-in ones and those of other packages, their presets, and the loops of the papers."""

import dataclasses
import importlib.metadata
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    OuterLoopConfig,
    overlaid,
    to_dict,
)
from functa_store.errors import ConfigError
from functa_store.progress import Report
from functa_store.sources.options import ArchiveOptions, SurveyOptions, option

__all__ = [
    "ArchiveOptions",
    "Converter",
    "Preset",
    "SurveyOptions",
    "converters",
    "option",
    "paper_loops",
    "preset_values",
    "read_preset",
    "write_preset",
]

GROUP, OWN = "functa_store.converters", "converters."
"""Group of the entry points, and the package of those that come with the library."""

_SECTIONS = "the sections config and source; see functa presets --write"

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """A named, measured choice of every option of a conversion.

    Attributes:
        summary: One line: for which data and machine, and what to expect.
        config: The conversion.
        source: Defaults of the converter's own options, such as {"resolution": 64}.
    """

    summary: str
    config: ConvertConfig
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Converter:
    """What an entry point of the group `functa_store.converters` names.

    The command line, provenance and what opens an archive again all come from `options`.

    Attributes:
        summary: One line for `functa convert --help`.
        options: Class of the options that only this kind of archive has.
        presets: Its presets; the first one is the default.
        open: Called as `open(archive, options, survey, report)`: a path, an instance of the class, how much of the
            archive is taken, and what is told of progress. Returns the `Source`; it reads every member once, reports
            it as `Surveyed`, and raises ArchiveError if the archive cannot be converted.
    """

    summary: str
    options: type[ArchiveOptions]
    presets: Mapping[str, Preset]
    open: Callable[[str, Any, SurveyOptions, Report], Any]


def read_preset(path: str | os.PathLike[str], preset: Preset) -> Preset:
    """A preset overlaid by a file of choices.

    Args:
        path: A YAML file, or a TOML file where its name ends in .toml, with some of what `write_preset` writes: the
            sections `config` (fields of `ConvertConfig`) and `source` (options of the converter).
        preset: What holds where the file says nothing.

    Raises:
        ConfigError: If it cannot be read, has other keys, or a value is out of range.
    """
    found = _read(os.fspath(path))
    if not isinstance(found, Mapping):
        raise ConfigError(f"{path}: found {type(found).__name__}, expected {_SECTIONS}")
    if unknown := sorted(map(str, found.keys() - {"summary", "config", "source"})):
        raise ConfigError(f"{path}: found the keys {', '.join(unknown)}, expected {_SECTIONS}")
    parts = {name: found.get(name) or {} for name in ("config", "source")}
    for name, part in parts.items():
        if not isinstance(part, Mapping):
            raise ConfigError(f"{path}: {name} is {part!r}, expected names and values")
    try:
        config = overlaid(preset.config, parts["config"])
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Preset(
        summary=str(found.get("summary", preset.summary)),
        config=dataclasses.replace(config, preset=preset.config.preset),
        source={**preset.source, **parts["source"]},
    )


def write_preset(path: str | os.PathLike[str], preset: Preset) -> None:
    """Write every choice of a preset to a YAML file that `read_preset` and `functa convert --config` take.

    Raises:
        ConfigError: If the name ends in something else than .yaml or .yml.
        OSError: If something is there already, or it cannot be written.
    """
    import yaml

    if not os.fspath(path).endswith((".yaml", ".yml")):
        raise ConfigError(f"{path}: presets are written as YAML, expected a name that ends in .yaml")
    with open(path, "x", encoding="utf-8") as file:
        yaml.safe_dump(preset_values(preset), file, sort_keys=False, allow_unicode=True)


def preset_values(preset: Preset) -> dict[str, Any]:
    """Everything that a preset says, as plain JSON types."""
    return {"summary": preset.summary, "source": dict(preset.source), "config": to_dict(preset.config)}


def _read(path: str) -> Any:
    import tomllib

    import yaml

    try:
        with open(path, "rb") as file:
            return tomllib.load(file) if path.endswith(".toml") else yaml.safe_load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is no {'TOML' if path.endswith('.toml') else 'YAML'}: {error}") from error


def converters() -> dict[str, Converter]:
    """Every installed converter by its command-line name.

    One that cannot be imported, or whose name is taken, is left out with a warning; a built-in one keeps its name.
    """
    found: dict[str, Converter] = {}
    entries = importlib.metadata.entry_points(group=GROUP)
    for entry in sorted(entries, key=lambda entry: (entry.name, not entry.value.startswith(OWN), entry.value)):
        if entry.name in found:
            logger.warning("converter %s: %s is left out, since that name is taken", entry.name, entry.value)
            continue
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # a broken plugin must not take the others with it
            logger.warning("converter %s is left out: %s fails (%r)", entry.name, entry.value, error)
    return found


def paper_loops(num_steps: int, batch_size: int, num_points: int | None, **more: int) -> dict[str, Any]:
    """The loops of the functa and COIN++ papers: 3 inner steps, Adam 3e-6 for everything, no schedule.

    Args:
        num_steps: Updates of the base network.
        batch_size: Examples per update.
        num_points: Points of each example per inner step; None takes all of them.
        **more: Further fields of `OuterLoopConfig`.

    Returns:
        Fields of a `ConvertConfig`.
    """
    outer = OuterLoopConfig(
        num_steps=num_steps,
        batch_size=batch_size,
        num_points=num_points,
        learning_rate=3e-6,
        map_learning_rate=3e-6,
        rates_learning_rate=3e-6,
        warmup_steps=0,
        decay_fraction=0.0,
        **more,
    )
    fit = FitConfig(num_steps=3, stride=1, tuning_steps=0)
    return {"inner": InnerLoopConfig(num_steps=3, learning_rate=1e-2), "outer": outer, "fit": fit}
