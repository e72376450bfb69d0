"""Converters: built-in ones and those of other packages, their presets, and the loops of the papers."""

import dataclasses
import functools
import importlib.metadata
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    OuterLoopConfig,
    overlaid,
    to_dict,
    unknown_keys,
)
from functa_store.errors import ConfigError
from functa_store.progress import Report
from functa_store.sources.options import (
    ArchiveOptions,
    SurveyOptions,
    check_options,
    checked,
    hints,
    option,
    overlaid_options,
)
from functa_store.sources.recipe import HasPaths, Recipe, plain
from functa_store.support.atomic_output import check_free, finished_or_gone
from functa_store.support.shortening import brief

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

_PARTS = ("config", "source")
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
            it as `Surveyed`, and raises ArchiveError if the archive cannot be converted. The source gets an attribute
            `recipe`, by which workers open it again, if its provenance names its converter.
        files: Finds the files of an archive by what was typed, which may be a pattern or a list; `open` is called
            with what it gives in place of the path, and workers with its paths. None if archives of this kind are
            one path, which is handed to `open` as it was typed.
    """

    summary: str
    options: type[ArchiveOptions]
    presets: Mapping[str, Preset]
    open: Callable[[Any, Any, SurveyOptions, Report], Any]
    files: Callable[[Any], HasPaths] | None = None

    def __post_init__(self) -> None:
        if callable(self.open):
            object.__setattr__(self, "open", _with_recipe(self.open, self.files))


def _with_recipe(
    open_source: Callable[[Any, Any, SurveyOptions, Report], Any], find: Callable[[Any], HasPaths] | None
) -> Callable[..., Any]:
    """The same function, given the files that are found, whose sources know how another process opens them."""

    @functools.wraps(open_source)
    def opened(archive: Any, options: Any, survey: SurveyOptions, report: Report) -> Any:
        found: Any = archive if find is None or isinstance(archive, HasPaths) else find(archive)
        source = open_source(found, options, survey, report)
        name = getattr(source, "provenance", {}).get("converter")
        if isinstance(name, str) and isinstance(options, ArchiveOptions):
            paths = found.paths if isinstance(found, HasPaths) else plain(found)
            source.recipe = Recipe.of(name, [paths] if isinstance(paths, str) else paths, options, survey)
        return source

    return opened


def read_preset(path: str | os.PathLike[str], preset: Preset, options: type[ArchiveOptions] | None = None) -> Preset:
    """A preset overlaid by a file of choices.

    Args:
        path: A YAML file, or a TOML file where its name ends in .toml, with some of what `write_preset` writes: the
            sections `config` (fields of `ConvertConfig`) and `source` (options of the converter).
        preset: What holds where the file says nothing.
        options: The converter's class of options, by which `source` is checked; of two that exclude each other, the
            file's stays. None takes `source` as it is.

    Raises:
        ConfigError: If it cannot be read, has other keys, or a value is out of range.
    """
    return _overlaid(_choices(path), path, preset, options)


def chosen_preset(converter: Converter, name: str | None, path: str | os.PathLike[str] | None) -> Preset:
    """The preset that a conversion starts from, under its name, overlaid by a file of choices.

    Args:
        converter: Has the presets.
        name: Of one of them; None takes what the file names, or else the first one.
        path: See `read_preset`; None if there is no file.

    Raises:
        ConfigError: As for `read_preset`, or if the file names another preset, or one that is none.
    """
    found = {} if path is None else _choices(path)
    said, known = found.get("config", {}).get("preset"), converter.presets
    if said is not None and (not isinstance(said, str) or said not in known):
        raise ConfigError(
            f"{path}: config.preset is {brief(said)}, expected one of {', '.join(known)}; leave it out to start from "
            "that of --preset"
        )
    if None not in (said, name) and said != name:
        raise ConfigError(f"{path}: config.preset is {said}, but --preset is {name}; leave out one of them")
    name = name or said or next(iter(known))
    preset = dataclasses.replace(known[name], config=dataclasses.replace(known[name].config, preset=name))
    return preset if path is None else _overlaid(found, path, preset, converter.options)


def _choices(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The sections of a file, each of names and values."""
    found = _read(os.fspath(path))
    if not isinstance(found, Mapping):
        raise ConfigError(f"{path}: found {type(found).__name__}, expected {_SECTIONS}")
    if unknown := unknown_keys(found, ("summary", *_PARTS)):
        raise ConfigError(f"{path}: found the keys {unknown}, expected {_SECTIONS}")
    for name, kind, expected in (("summary", str, "a text"), *((part, Mapping, "names and values") for part in _PARTS)):
        if not isinstance(part := found.get(name), kind | None):
            raise ConfigError(f"{path}: {name} is {brief(part)}, expected {expected}")
    return {name: part for name, part in found.items() if part is not None}


def _overlaid(
    choices: Mapping[str, Any], path: str | os.PathLike[str], preset: Preset, options: type[ArchiveOptions] | None
) -> Preset:
    config, source = choices.get("config", {}), choices.get("source", {})
    if config.get("preset") is None:
        config = {name: value for name, value in config.items() if name != "preset"}
    if options is not None:
        _check_source(f"{path}: source", options, source)
    return Preset(
        summary=choices.get("summary", preset.summary),
        config=overlaid(preset.config, config, f"{path}: config"),
        source={**preset.source, **source} if options is None else overlaid_options(options, preset.source, source),
    )


def _check_source(where: str, options: type[ArchiveOptions], source: Mapping[Any, Any]) -> None:
    known = hints(options)
    if unknown := unknown_keys(source, known):
        raise ConfigError(f"{where} has {unknown}, expected some of {', '.join(sorted(known))}")
    for name, value in source.items():
        checked(f"{where}.{name}", known[name], value)


def write_preset(path: str | os.PathLike[str], preset: Preset) -> None:
    """Write every choice of a preset to a YAML file that `read_preset` and `functa convert --config` take.

    Raises:
        ConfigError: If the name ends in something else than .yaml or .yml, or the preset says what no file can.
        OSError: If something is there already, or it cannot be written.
    """
    import yaml

    if not os.fspath(path).endswith((".yaml", ".yml")):
        raise ConfigError(f"{path}: presets are written as YAML, expected a name that ends in .yaml")
    text = yaml.safe_dump(preset_values(preset), sort_keys=False, allow_unicode=True)
    check_free(Path(path))
    with finished_or_gone(Path(path), is_file=True) as part:
        part.write_text(text, encoding="utf-8")


def preset_values(preset: Preset) -> dict[str, Any]:
    """Everything that a preset says, as plain JSON types.

    Raises:
        ConfigError: If it says something else, such as a `Path`.
    """
    found = {"summary": preset.summary, "source": dict(preset.source), "config": to_dict(preset.config)}
    try:
        return json.loads(json.dumps(found, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"preset {preset.config.preset or preset.summary!r}: source is {brief(preset.source)}, expected texts, "
            f"numbers, and lists of them ({error})"
        ) from error


def _read(path: str) -> Any:
    import tomllib

    import yaml

    try:
        with open(path, "rb") as file:
            return tomllib.load(file) if path.endswith(".toml") else yaml.load(file, _yaml_loader())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: is no {'TOML' if path.endswith('.toml') else 'YAML'}: {error}") from error


@functools.cache
def _yaml_loader() -> Any:
    """PyYAML's safe loader without what is silently wrong or endless: a key twice, aliases, and 1e-3 as a text."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.MarkedYAMLError(problem="found an alias, expected the value itself", problem_mark=mark)
            return super().compose_node(parent, index)

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except ValueError as error:  # such as a 13th month, or more digits than Python reads
                problem = f"found {brief(node.value)}: {error}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key
                if name in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {brief(key.value)} is there twice", problem_mark=key.start_mark
                    )
                seen.add(name)
            return super().construct_mapping(node, deep)

    number = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return Loader


def converters() -> dict[str, Converter]:
    """Every installed converter by its command-line name.

    One that cannot be imported, is none, has options or presets that cannot work, or whose name is taken, is left out
    with a warning; a built-in one keeps its name.
    """
    return _loaded(importlib.metadata.entry_points(group=GROUP))


def converter_named(name: str) -> Converter | None:
    """One installed converter, without importing the others; None if there is none of the name. See `converters`."""
    return _loaded(importlib.metadata.entry_points(group=GROUP, name=name)).get(name)


def _loaded(entries: importlib.metadata.EntryPoints) -> dict[str, Converter]:
    found: dict[str, Converter] = {}
    for entry in sorted(entries, key=lambda entry: (entry.name, not entry.value.startswith(OWN), entry.value)):
        if entry.name in found:
            logger.warning("converter %s: %s is left out, since that name is taken", entry.name, entry.value)
            continue
        try:
            converter = entry.load()
            _check_converter(converter)
            found[entry.name] = converter
        except (Exception, SystemExit) as error:  # a broken plugin must not take the others with it
            what = f"{type(error).__name__}: {error}"
            logger.warning("converter %s is left out: %s fails (%s)", entry.name, entry.value, what)
    return found


def _check_converter(found: Any) -> None:
    """Refuse what is no converter, or one that could be neither listed nor asked for.

    Raises:
        ConfigError: If it is one of these.
    """
    if not isinstance(found, Converter):
        raise ConfigError(f"it is {brief(found)}, expected a Converter")
    check_options(found.options)
    if not isinstance(found.summary, str) or not callable(found.open):
        raise ConfigError(
            f"it has summary={brief(found.summary)} and open={brief(found.open)}, expected a text, and "
            "what can be called"
        )
    if not isinstance(found.presets, Mapping) or not found.presets:
        raise ConfigError(f"its presets are {brief(found.presets)}, expected one or more by name")
    for name, preset in found.presets.items():
        if not isinstance(name, str) or not isinstance(preset, Preset):
            raise ConfigError(f"preset {brief(name)} is {brief(preset)}, expected a name and a Preset")
        parts = (("summary", str), ("config", ConvertConfig), ("source", Mapping))
        if wrong := [part for part, kind in parts if not isinstance(getattr(preset, part), kind)]:
            raise ConfigError(f"preset {name}: {wrong[0]} is {brief(getattr(preset, wrong[0]))}")
        _check_source(f"preset {name}: source", found.options, preset.source)


def paper_loops(
    num_steps: int, batch_size: int, num_points: int | None, learning_rate: float = 3e-6, **more: int
) -> dict[str, Any]:
    """The loops of the functa, COIN++ and Spatial Functa papers: 3 inner steps, one Adam for everything, no schedule.

    Args:
        num_steps: Updates of the base network.
        batch_size: Examples per update.
        num_points: Points of each example per inner step; None takes all of them.
        learning_rate: Of Adam; 3e-6 in functa and COIN++, 3e-5 in Spatial Functa.
        **more: Further fields of `OuterLoopConfig`.

    Returns:
        Fields of a `ConvertConfig`.
    """
    outer = OuterLoopConfig(
        num_steps=num_steps,
        batch_size=batch_size,
        num_points=num_points,
        learning_rate=learning_rate,
        map_learning_rate=learning_rate,
        rates_learning_rate=learning_rate,
        warmup_steps=0,
        decay_fraction=0.0,
        **more,
    )
    fit = FitConfig(num_steps=3, stride=1, tuning_steps=0)
    return {"inner": InnerLoopConfig(num_steps=3, learning_rate=1e-2), "outer": outer, "fit": fit}
