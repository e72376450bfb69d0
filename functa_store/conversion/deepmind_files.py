"""Parameters and modulations as google-deepmind/functa publishes them, read from pickles and checked.

Both kinds of file are pickles that dill wrote, whatever their names end in. `PARAMS` holds Haiku's parameters of a
latent modulated SIREN under `params`, by module and name, and the settings of its experiment under `config`.
`MODULATIONS` holds, by split, the latent vectors of examples (`modulation`) and the PSNRs of their fits (`psnr`).
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float32

from functa_store.config import MOST_FIT_STEPS, MOST_INTEGER, NetworkConfig, number, whole
from functa_store.domains.cells import MOST_CELLS
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.sources.source import Label, label_problem
from functa_store.sources.splits import split_of_word
from functa_store.store.format.side_arrays import base_shapes
from functa_store.support.inert_pickle import Inert, load_inert
from functa_store.support.memory import available_bytes, gibibytes
from functa_store.support.shortening import brief

MEMORY_PER_BYTE = 3
"""Of a file: its bytes, the arrays cut from them, and the arrays as they are stored."""

RATES_CLIPPED_TO, STEPS = (0.0, 1.0), 3
"""As get_config of experiment_meta_learning.py has them, for settings that do not say."""

MOST_SETTINGS_BYTES = 1 << 16
"""Of the settings as JSON; those of the experiment have less than 2,000."""

MODULATION, PSNR = "modulation", "psnr"

_SCENES = (
    "holds a radiance field; only images are imported: DeepMind's renderer takes its samples between depths near and "
    "far, both included, and stops the last one after 0.001, where a functaset's cuts the part of a ray inside a cube "
    "into equal bins, so that the same field would be seen with other colours"
)
_SCALES = "modulates scales, expected shifts alone, as in all published files and in a functaset"
_LAYER = re.compile(r"(?:.*/)?modulated_siren_layer(?:_(\d{1,4}))?/linear/(w|b)")
_MAP = re.compile(r"(?:.*/)?latent_to_modulation/(?:~/)?mlp/(?:~/)?linear_(\d{1,4})/(w|b)")
_RATES, _LATENT = re.compile(r"(?:.*/)?meta_sgd_lrs/meta_sgd_lrs"), re.compile(r"(?:.*/)?latent_vector/latent_vector")
_FIELD = {"w": "kernel", "b": "bias"}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PublishedBase:
    """A base network as published.

    Attributes:
        name: Of the file.
        sha256: Of its bytes, hexadecimal.
        network: Its sizes and frequency.
        weights: Arrays by the names of a functaset, kernels (input, output).
        num_channels: Numbers that it gives at a point.
        rates: Learning rates of each step of the fit.
        resolution: Pixels along y and x of the images that it was learned on.
        first_rate: Middle of the range in which learned rates of fits started, as far as settings say.
        outer_rate: Learning rate of the outer loop, as far as settings say.
        settings: Those of the experiment that the file holds, JSON-ready.
        notes: What a person should know of what was read.
    """

    name: str
    sha256: str
    network: NetworkConfig
    weights: Mapping[str, np.ndarray]
    num_channels: int
    rates: Float32[np.ndarray, "steps modulation"]
    resolution: tuple[int, int]
    first_rate: float | None
    outer_rate: float | None
    settings: Mapping[str, Any]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PublishedModulations:
    """Modulations as published, splits in the order of the file.

    Attributes:
        name: Of the file.
        sha256: Of its bytes, hexadecimal.
        values: A row per example.
        mse: Mean squared error of each fit, of its PSNR.
        ids: The key of the file and the row below it, such as "test/12".
        split: Split of each example.
        labels: Whatever else the file holds of every example.
        notes: What a person should know of what was read.
    """

    name: str
    sha256: str
    values: Float32[np.ndarray, "examples modulation"]
    mse: Float32[np.ndarray, " examples"]
    ids: tuple[str, ...]
    split: np.ndarray
    labels: Mapping[str, Label]
    notes: tuple[str, ...]


def read_base(path: str | os.PathLike[str], w0: float | None = None, resolution: int | None = None) -> PublishedBase:
    """Read a file of parameters, such as celeba_params_64_latents.npz; nothing in it is executed.

    Args:
        path: The file.
        w0: Frequency factor of its sines, where its settings do not say.
        resolution: Pixels along an edge of its images, where its settings do not say.

    Raises:
        ArchiveError: If it cannot be read, is none, or holds a network that a functaset cannot.
        ConfigError: If an option is needed, contradicts the file, or is out of range.
    """
    w0, resolution = _checked_options(w0, resolution)
    where, name, sha256, value = _read(path)
    try:
        holds = _mapping(value, "the file")
        if _looks_like_modulations(holds):
            raise MemberError("holds modulations; give the file of parameters first, and that of modulations second")
        if "params" not in holds and all(isinstance(part, Mapping) for part in holds.values()):
            holds = {"params": holds}
        settings = _Settings(holds.get("config"))
        arrays = dict(_arrays(_mapping(holds.get("params"), "'params'")))
        return _base(name, sha256, arrays, settings, w0, resolution)
    except (MemberError, ConfigError) as error:
        kind = ConfigError if isinstance(error, ConfigError) else ArchiveError
        raise kind(f"{where}: {error}") from error


def _checked_options(w0: float | None, resolution: int | None) -> tuple[float | None, int | None]:
    if w0 is not None and not 0 < (w0 := number("w0", w0)) < math.inf:
        raise ConfigError(f"w0 must be positive and finite, got {w0}")
    if resolution is not None and (resolution := whole("resolution", resolution, 1)) > MOST_CELLS:
        raise ConfigError(f"resolution must be at most {MOST_CELLS}, got {brief(resolution)}")
    return w0, resolution


def read_modulations(path: str | os.PathLike[str], size: int) -> PublishedModulations:
    """Read a file of modulations, such as celeba_modulations_64_latents.npz; nothing in it is executed.

    Args:
        path: The file.
        size: Numbers that a modulation of the base network has.

    Raises:
        ArchiveError: If it cannot be read, is none, or does not fit the base network.
    """
    where, name, sha256, value = _read(path)
    try:
        holds = _mapping(value, "the file")
        if "params" in holds:
            raise MemberError(
                "holds parameters; give the file of parameters first, and that of modulations second. A functaset "
                "needs examples: of SRN cars DeepMind publishes parameters, but no modulations"
            )
        return _modulations(name, sha256, holds, size)
    except MemberError as error:
        raise ArchiveError(f"{where}: {error}") from error


def _read(path: str | os.PathLike[str]) -> tuple[str, str, str, Any]:
    """What messages call a file, its name, its SHA-256, and the value of its pickle without classes of Haiku."""
    try:
        where = os.fsencode(path).decode("utf-8", "backslashreplace")
        data = _bytes_of(path, where)
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, ArchiveError):
            raise
        raise ArchiveError(f"{brief(path)}: cannot be read: {error}") from error
    if data[:4] == b"PK\x03\x04" or data[:6] == b"\x93NUMPY":
        raise ArchiveError(
            f"{where}: is an archive or array of NumPy, expected a pickle as google-deepmind/functa publishes it (its "
            "files are pickles, though their names end in .npz)"
        )
    try:
        return where, Path(where).name, hashlib.sha256(data).hexdigest(), _plain(load_inert(data))
    except MemberError as error:
        raise ArchiveError(f"{where}: {error}") from error


def _bytes_of(path: str | os.PathLike[str], where: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for ever
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ArchiveError(f"{where}: found no plain file but a folder, pipe or device; save it as a file")
        if (needed := MEMORY_PER_BYTE * found.st_size) > (there := available_bytes()):
            raise ArchiveError(
                f"{where}: reading it takes about {gibibytes(needed)} of memory, of which {gibibytes(there)} are left"
            )
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(found.st_size)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    """A value in which objects of Haiku and ml_collections have become the dictionaries that they stand for."""
    if isinstance(value, Inert):
        return _plain(_inside(value))
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _inside(value: Inert) -> Any:
    state = value.state
    if value.name.name in ("ConfigDict", "FrozenConfigDict") and isinstance(state, dict) and "_fields" in state:
        return state["_fields"]
    if value.name.name == "FieldReference" and isinstance(state, dict) and _is_empty(state.get("_ops")):
        return state.get("_value")
    if value.name.name in ("FlatMapping", "FlatMap", "frozendict") and len(value.args) == 1 and state is None:
        return value.args[0]
    raise MemberError(f"holds a {value.name} that is written in a way that is not known")


def _is_empty(operations: Any) -> bool:
    """Whether a reference is its value as it stands."""
    return isinstance(operations, list) and not operations


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise MemberError(
            f"found a {type(value).__name__} as {what}, expected a dictionary as google-deepmind/functa publishes it"
        )
    return value


def _looks_like_modulations(holds: Mapping[str, Any]) -> bool:
    return any(isinstance(part, dict) and MODULATION in part for part in holds.values())


# Parameters


class _Settings:
    """The settings of an experiment by section and name; what is not there is None."""

    def __init__(self, config: Any) -> None:
        self._config = {} if config is None else _mapping(config, "'config'")

    def _get(self, section: str, name: str) -> Any:
        part = self._config.get(section)
        value = part.get(name) if isinstance(part, dict) else None
        return value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value

    def text(self, section: str, name: str) -> str | None:
        """A setting that is a word."""
        value = self._get(section, name)
        return None if value is None else value if isinstance(value, str) else self._refuse(section, name, "a word")

    def flag(self, section: str, name: str) -> bool | None:
        """A setting that is true or false."""
        value = self._get(section, name)
        return value if value is None or isinstance(value, bool) else self._refuse(section, name, "true or false")

    def number(self, section: str, name: str) -> float | None:
        """A setting that is a finite number."""
        value = self._get(section, name)
        if value is None or (type(value) in (int, float) and abs(value) < 1e30):
            return None if value is None else float(value)
        return self._refuse(section, name, "a number")

    def whole(self, section: str, name: str) -> int | None:
        """A setting that is a whole number of at least 1."""
        value = self._get(section, name)
        if value is None or (type(value) is int and 1 <= value < MOST_INTEGER):
            return value
        return self._refuse(section, name, "a whole number of at least 1")

    def pair(self, section: str, name: str) -> tuple[float, float] | None:
        """A setting that is a rising range."""
        value = self._get(section, name)
        if isinstance(value, list) and len(value) == 2 and all(type(end) in (int, float) for end in value):
            low, high = value
            if -1e30 < low <= high < 1e30:
                return float(low), float(high)
        return None if value is None else self._refuse(section, name, "(low, high)")

    def _refuse(self, section: str, name: str, expected: str) -> NoReturn:
        found = brief(self._get(section, name))
        raise MemberError(f"found {found} as its setting config.{section}.{name}, expected {expected}")

    def as_json(self) -> dict[str, Any]:
        """All of them, for the record; what JSON has no word for as text."""
        found = _as_json(self._config)
        if len(json.dumps(found)) > MOST_SETTINGS_BYTES:
            raise MemberError(f"has settings of more than {MOST_SETTINGS_BYTES:,} characters")
        return found


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(str(key)): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return value
    return _text(value if isinstance(value, str) else brief(value))


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()


def _arrays(params: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays by module and name."""
    for module, named in params.items():
        for name, array in _mapping(named, f"the parameters of {brief(module)}").items():
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise MemberError(f"found {found} as the parameter {brief(f'{module}/{name}')}, expected floats")
            yield f"{module}/{name}", _float32(array, f"the parameter {brief(f'{module}/{name}')}")


def _float32(array: np.ndarray, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, np.float32).reshape(array.shape)
    if not np.isfinite(values).all():
        raise MemberError(f"{what} holds numbers that are not finite in float32")
    return values


def _base(
    name: str,
    sha256: str,
    arrays: Mapping[str, np.ndarray],
    settings: _Settings,
    w0: float | None,
    resolution: int | None,
) -> PublishedBase:
    kind = settings.text("model", "type")
    if kind not in (None, "latent_modulated_siren") or any("/fi_lm" in key for key in arrays):
        raise MemberError(
            f"holds a network of type {brief(kind)}, expected 'latent_modulated_siren', whose modulations are latent "
            "vectors, as of all published files"
        )
    layers, maps, rates, latent = _sorted_out(arrays)
    inputs, num_channels = len(layers[0]["kernel"]), len(layers[-1]["bias"])
    data = settings.text("dataset", "type")
    if data == "scene" or (data is None and (inputs, num_channels) == (3, 4)):
        raise MemberError(_SCENES)
    if data not in (None, "image") or inputs != 2:
        raise MemberError(
            f"holds a network of {brief(data)} at points of {inputs} coordinates, expected one of images, whose points "
            "have 2"
        )
    _check_shift_only(settings, maps)
    network = _network(settings, layers, maps[0], w0)
    weights = {f"sine_{i}/{field}": array for i, layer in enumerate(layers[:-1]) for field, array in layer.items()}
    weights |= {f"linear/{field}": array for field, array in layers[-1].items()}
    weights |= {f"map/{field}": array for field, array in maps[0].items()}
    _check_shapes(weights, network)
    pixels = _told(settings.whole("dataset", "resolution"), resolution, "resolution", 64)
    steps, notes = _steps(settings, rates, network.modulation_size)
    if latent is not None and latent.any():
        notes += ("fits started from a latent vector that is not zero; the functaset keeps where they ended",)
    if noise := settings.number("model", "noise_std"):
        notes += (f"noise with a standard deviation of {noise:g} was added to modulations after their fit",)
    return PublishedBase(
        name=name,
        sha256=sha256,
        network=network,
        weights=weights,
        num_channels=num_channels,
        rates=steps,
        resolution=(pixels, pixels),
        first_rate=_middle(settings.pair("model", "meta_sgd_init_range")),
        outer_rate=settings.number("opt_outer", "lr"),
        settings=settings.as_json(),
        notes=notes,
    )


_Layer = dict[str, np.ndarray]


def _sorted_out(
    arrays: Mapping[str, np.ndarray],
) -> tuple[list[_Layer], list[_Layer], np.ndarray | None, np.ndarray | None]:
    """Layers of the network, those of the map to shifts, learned rates, and the latent vector that fits start from."""
    parts: dict[str, dict[int, _Layer]] = {"layers": {}, "maps": {}}
    vectors: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        if (found := _LAYER.fullmatch(key)) or (found := _MAP.fullmatch(key)):
            part = parts["layers" if found.re is _LAYER else "maps"].setdefault(int(found[1] or 0), {})
            if part.setdefault(_FIELD[found[2]], array) is not array:
                raise MemberError(f"holds a second parameter for {brief(key)}")
        elif (found := _RATES.fullmatch(key)) or (found := _LATENT.fullmatch(key)):
            if vectors.setdefault("rates" if found.re is _RATES else "latent", array) is not array:
                raise MemberError(f"holds a second parameter for {brief(key)}")
        else:
            raise MemberError(
                f"holds the parameter {brief(key)}, expected those of a latent modulated SIREN of Haiku, such as "
                "'latent_modulated_siren/modulated_siren_layer_1/linear/w'"
            )
    for what, part, least in (("layers of the network", parts["layers"], 2), ("a map to shifts", parts["maps"], 1)):
        if sorted(part) != list(range(len(part))) or len(part) < least:
            raise MemberError(f"lacks {what}: found the numbers {brief(sorted(part))}")
        for number_of, layer in part.items():
            if layer.keys() != {"kernel", "bias"} or layer["kernel"].ndim != 2 or layer["bias"].ndim != 1:
                found = {field: array.shape for field, array in layer.items()}
                raise MemberError(f"{what} lack a kernel or a bias: number {number_of} has {found}")
    layers, maps = ([part[i] for i in range(len(part))] for part in parts.values())
    return layers, maps, vectors.get("rates"), vectors.get("latent")


def _check_shift_only(settings: _Settings, maps: list[_Layer]) -> None:
    if len(maps) > 1:
        raise MemberError(
            f"maps latent vectors to shifts by {len(maps)} layers, expected a single one: that of a functaset is linear"
        )
    if settings.flag("model", "modulate_scale") or settings.flag("model", "modulate_shift") is False:
        raise MemberError(_SCALES)


def _network(settings: _Settings, layers: list[_Layer], to_shifts: _Layer, w0: float | None) -> NetworkConfig:
    width, dim = layers[0]["kernel"].shape[1], to_shifts["kernel"].shape[0]
    sizes = {
        ("model", "width"): width,
        ("model", "depth"): len(layers),
        ("model", "latent_dim"): dim,
        ("dataset", "num_channels"): len(layers[-1]["bias"]),
    }
    for (section, name), found in sizes.items():
        if (said := settings.whole(section, name)) not in (None, found):
            raise MemberError(f"its parameters have {name} {found}, but config.{section}.{name} says {said}")
    frequency = _told(settings.number("model", "w0"), w0, "w0", 30)
    try:
        return NetworkConfig(
            width=width, depth=len(layers), w0=frequency, modulation="latent", modulation_dim=dim, head="linear"
        )
    except ConfigError as error:
        raise MemberError(f"holds no network that a functaset can: {error}") from error


def _told(said: Any, given: Any, option: str, usual: int) -> Any:
    """A setting that the file has, or else the user.

    Raises:
        ConfigError: If neither has, or they contradict each other.
    """
    if said is None and given is None:
        raise ConfigError(f"has no setting {option}; say it by --{option}, which is {usual} in all published files")
    if None not in (said, given) and said != given:
        raise ConfigError(f"--{option} is {given}, but the settings of the file say {said}; leave the option out")
    return given if said is None else said


def _check_shapes(weights: Mapping[str, np.ndarray], network: NetworkConfig) -> None:
    if weights["map/bias"].shape == (2 * network.num_shifts,):
        raise MemberError(_SCALES)
    for name, shape in base_shapes(network, 2, len(weights["linear/bias"])).items():
        if weights[name].shape != shape:
            raise MemberError(f"{name} has shape {weights[name].shape}, expected {shape} of the other parameters")


def _middle(ends: tuple[float, float] | None) -> float | None:
    return None if ends is None else sum(ends) / 2


def _steps(settings: _Settings, rates: np.ndarray | None, size: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The rates of each step, and notes about them."""
    num_steps = settings.whole("training", "inner_steps") or STEPS
    if num_steps > MOST_FIT_STEPS:
        raise MemberError(f"config.training.inner_steps is {brief(num_steps)}, expected at most {MOST_FIT_STEPS}")
    notes: tuple[str, ...] = ()
    if rates is None:
        if (rate := settings.number("opt_inner", "lr")) is None or rate < 0:
            raise MemberError("holds no learning rates of fits: neither meta_sgd_lrs nor config.opt_inner.lr")
        rates = np.full(size, rate, np.float32)
    elif rates.shape != (size,):
        raise MemberError(f"meta_sgd_lrs has shape {rates.shape}, expected {(size,)}, as latent vectors have")
    else:
        low, high = settings.pair("model", "meta_sgd_clip_range") or RATES_CLIPPED_TO
        clipped = np.clip(rates, np.float32(low), np.float32(high))
        if outside := int((clipped != rates).sum()):
            notes = (f"{outside:,} of {size:,} learning rates were outside of {low:g} to {high:g} and are clipped",)
        rates = clipped
    return np.tile(rates, (num_steps, 1)), notes


# Modulations


def _modulations(name: str, sha256: str, holds: Mapping[str, Any], size: int) -> PublishedModulations:
    parts: dict[str, dict[str, Any]] = {}
    splits: dict[str, str] = {}
    left_out: list[str] = []
    for key, part in holds.items():
        if not isinstance(part, dict) or MODULATION not in part:
            left_out.append(key)
        elif (split := split_of_word(key)) is None:
            raise MemberError(f"has the split {brief(key)}, expected names such as train, validation and test")
        else:
            parts[key], splits[key] = _mapping(part, brief(key)), split
    if not parts:
        raise MemberError(f"holds {brief(list(holds))}, expected splits such as 'train', each with '{MODULATION}'")
    checked = {key: _checked_split(key, part, size) for key, part in parts.items()}
    counts = {key: len(values) for key, (values, _) in checked.items()}
    labels, unused = _labels(parts, counts)
    if not sum(counts.values()):
        raise MemberError("holds no modulation")
    left_out += unused
    return PublishedModulations(
        name=name,
        sha256=sha256,
        values=np.concatenate([values for values, _ in checked.values()]),
        mse=np.concatenate([mse for _, mse in checked.values()]),
        ids=tuple(f"{key}/{row}" for key, count in counts.items() for row in range(count)),
        split=np.repeat(np.array(list(splits.values()), "U10"), list(counts.values())),
        labels=labels,
        notes=(f"left out of {name}, since it says nothing of every example: {brief(left_out)}",) if left_out else (),
    )


def _checked_split(key: str, part: Mapping[str, Any], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Modulations and mean squared errors of a split."""
    values, psnr = part[MODULATION], part.get(PSNR)
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.ndim != 2 or values.shape[1] != size:
        found = f"{values.dtype} of {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise MemberError(
            f"{key}/{MODULATION} is {found}, expected floats of shape (examples, {size}), since the modulations of the "
            f"base network have {size} numbers"
        )
    if psnr is None:
        raise MemberError(
            f"{key} has no '{PSNR}', expected one per modulation: a functaset keeps the error of each fit, which "
            "without the images nobody can compute"
        )
    if not isinstance(psnr, np.ndarray) or psnr.dtype.kind != "f" or psnr.shape != values.shape[:1]:
        found = f"{psnr.dtype} of {psnr.shape}" if isinstance(psnr, np.ndarray) else type(psnr).__name__
        raise MemberError(f"{key}/{PSNR} is {found}, expected floats of shape {values.shape[:1]}")
    with np.errstate(over="ignore"):
        mse = np.power(10.0, -np.asarray(psnr, np.float64) / 10).astype(np.float32)
    if not np.isfinite(mse).all():
        raise MemberError(f"{key}/{PSNR} holds {psnr[~np.isfinite(mse)][0]}, expected decibels")
    return _float32(values, f"{key}/{MODULATION}"), mse


def _labels(parts: Mapping[str, Mapping[str, Any]], counts: Mapping[str, int]) -> tuple[dict[str, Label], list[str]]:
    """Numbers that there are of every example, and the names of whatever else there is."""
    found: dict[str, Label] = {}
    left_out: list[str] = []
    for name in dict.fromkeys(name for part in parts.values() for name in part if name not in (MODULATION, PSNR)):
        columns = [part[name] for part in parts.values() if isinstance(part.get(name), np.ndarray)]
        alone = name.casefold() not in {other.casefold() for other in found}  # two would be one folder on some disks
        if [column.shape for column in columns] == [(count,) for count in counts.values()] and alone:
            values = np.concatenate(columns)
            label = Label(values=values.astype(values.dtype.newbyteorder("=")))
            if len({column.dtype for column in columns}) == 1 and label_problem(name, label) is None:
                found[name] = label
                continue
        left_out.append(name)
    return found, left_out
