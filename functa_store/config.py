"""Options of networks, loops, fits and conversions: frozen dataclasses that travel through a store as JSON."""

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import cattrs
import cattrs.v

from functa_store.errors import ConfigError, FunctaStoreError
from functa_store.support.shortening import brief, shown

C = TypeVar("C")
MatmulPrecision = Literal["float32", "tensorfloat32", "bfloat16"]
"""Precision of the products between hidden layers while learning and fitting; see `nets.fast_math`."""

ModulationDtype = Literal["float32", "float16", "int8"]
"""How modulations are stored; see `store.format.quantization`."""

BaseDtype = Literal["float32", "float16"]
"""How base weights are stored."""

Head = Literal["linear", "radiance"]
"""What the last layer's numbers become; see `NetworkConfig`."""

Modulation = Literal["latent", "shift", "spatial"]
"""What a modulation is; see `NetworkConfig`."""

Lookup = Literal["nearest", "linear"]
"""Which cells of a grid of modulations shift the network at a point; see `NetworkConfig`."""

MapBias = Literal["shared", "per_cell"]
"""Whether the cells of a grid of modulations share the bias of their map; see `NetworkConfig`."""

MAP_KERNELS = (1, 3)
"""Cells along each axis that the map to a cell's shifts may see."""

CHANNELS_OF_HEAD: Mapping[Head, int] = {"radiance": 4}
"""Channels that a head means, where they are not free."""

MOST_FIT_STEPS = 1000
"""Far more than pay; a larger number is a slip, which would take hours or all memory."""

MOST_WEIGHT = 1000.0
"""Beyond it, and below its inverse, one half of an example would count nothing in float32's gradients."""

MOST_INTEGER = 2**32
"""Beyond any number of examples, points or cells, and below what libraries cannot count."""

MOST_NUMBERS = 2**31
"""Of a base network, and of the modulations in a shard."""

MOST_LAYERS = 1000
"""Far more than can be learned; a larger number is a slip, which would take all memory."""

MOST_GRID_AXES = 8
"""Far more axes of cells than can be meant; a point has 2 ** axes neighbours."""

_converter = cattrs.Converter(forbid_extra_keys=True)
_brief_converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON types that `from_dict` turns back into an equal configuration."""
    return _converter.unstructure(config)


def from_dict(kind: type[C], values: Mapping[str, Any], *, brief: bool = False) -> C:
    """The configuration that `to_dict` wrote.

    Args:
        kind: Its class.
        values: What was written.
        brief: Stop at the first problem; naming a million of them takes minutes.

    Raises:
        ConfigError: If a key is unknown or missing, or a value is refused.
    """
    if brief:
        try:
            return _brief_converter.structure(values, kind)
        except Exception as error:  # whatever the first wrong value makes its class, or cattrs, raise
            raise ConfigError(f"cannot read a {kind.__name__}: {type(error).__name__}: {str(error)[:500]}") from error
    try:
        return _converter.structure(values, kind)
    except cattrs.BaseValidationError as error:
        problems = "; ".join(cattrs.transform_error(error, path=kind.__name__, format_exception=_explain))
        raise ConfigError(f"cannot read a {kind.__name__}: {problems}") from error


def differences(found: Any, expected: Any, where: str = "") -> Iterator[str]:
    """The leaves in which two JSON values differ, in words."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in sorted(found.keys() | expected.keys()):
            pair = found.get(key, "missing"), expected.get(key, "missing")
            yield from differences(*pair, f"{where}.{key}" if where else key)
    elif found != expected:
        yield f"{where} is {brief(found)}, expected {brief(expected)}"


def unknown_keys(found: Iterable[Any], known: Iterable[str]) -> str:
    """The first keys that are none of those known, with commas between them; empty if there are none."""
    names = [shown(key) if isinstance(key, str) else brief(key) for key in found if key not in known]
    return ", ".join(names[:5])


def _explain(error: BaseException, expected: Any) -> str:
    return str(error) if isinstance(error, FunctaStoreError) else cattrs.v.format_exception(error, expected)


def whole(name: str, value: Any, lowest: int) -> int:
    """An option as a Python integer, of whatever kind of integer it is.

    Raises:
        ConfigError: If it is no whole number, or below the lowest one allowed.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < lowest:
        raise ConfigError(f"{name} must be a whole number of at least {lowest}, got {brief(value)}")
    return int(value)


def number(name: str, value: Any) -> float:
    """An option as a Python float, of whatever kind of number it is; infinite if it is larger than any.

    Raises:
        ConfigError: If it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} must be a number, got {brief(value)}")
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf  # pyright: ignore[reportOperatorIssue]


def _given(config: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Fields with their values, those apart that may be None and are."""
    optional = {field.name for field in dataclasses.fields(config) if type(None) in get_args(field.type)}
    for name in names:
        if (value := getattr(config, name)) is not None or name not in optional:
            yield name, value


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ConfigError(f"{name} must be a whole number, got {brief(value)}")
    return int(value)  # of whatever kind it was: JSON takes Python's


def _integers(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigError(f"{name} must be whole numbers such as (8, 8), got {brief(value)}")
    return tuple(_integer(name, number) for number in value)


def _word(name: str, value: Any, literal: Any) -> str:
    if not isinstance(value, str) or value not in get_args(literal):
        raise ConfigError(f"{name} must be one of {', '.join(get_args(literal))}, got {brief(value)}")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a text, got {brief(value)}")
    return value


def _of_type(name: str, hint: Any, value: Any) -> Any:
    """A value as its field keeps it, as far as the type of the field decides that."""
    kinds = (hint,) if get_origin(hint) is Literal else get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return None
    if get_origin(hint) is Literal:
        return _word(name, value, hint)
    if any(get_origin(kind) is tuple for kind in kinds):
        return _integers(name, value)
    check: Callable[[str, Any], Any] = _integer if int in kinds else number if float in kinds else _text
    return check(name, value)


def at_least(config: Any, lowest: int, *names: str) -> None:
    """Check fields of a frozen dataclass that are integers, or None if that is allowed, and keep them as Python's.

    Raises:
        ConfigError: If one is no whole number, below the lowest one allowed, or 2**32 or more.
    """
    for name, value in _given(config, *names):
        found = _integer(name, value)
        if not lowest <= found < MOST_INTEGER:
            expected = f"at least {lowest}" if found < lowest else "below 2**32"
            raise ConfigError(f"{name} must be {expected}, got {brief(value)}")
        object.__setattr__(config, name, found)


def _one_of(config: Any, **choices: Any) -> None:
    for name, literal in choices.items():
        _word(name, getattr(config, name), literal)


def _positive(config: Any, *names: str) -> None:
    for name, value in _given(config, *names):
        if not 0 < (found := number(name, value)) < math.inf:
            raise ConfigError(f"{name} must be positive and finite, got {brief(value)}")
        object.__setattr__(config, name, found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The base network: a SIREN whose sine layers are shifted by a modulation.

    Attributes:
        width: Units per hidden layer.
        depth: Linear layers, the first and the last one included (15 in the functa paper).
        w0: Frequency factor inside the sine (SIREN, Sitzmann et al. 2020, section 3.2).
        modulation: "latent" maps the modulation linearly to all shifts (functa, section 3.1);
            "shift" stores the shifts themselves; "spatial" has a latent modulation for each cell of a grid, which
            shifts the network there, and the network takes coordinates local to the cell (Bauer et al. 2023,
            "Spatial Functa", section 3).
        modulation_dim: Length of a latent modulation, of a spatial one the numbers per cell; None for "shift", whose
            length is width * (depth - 1).
        modulation_grid: Cells of a spatial modulation along each axis of the domain; None for the others.
        lookup: Of spatial modulations. "nearest" evaluates the network with the cell that a point lies in; "linear"
            with every cell whose centre is within one cell of it along every axis (4 for images, 8 for volumes), and
            adds their results by weights that fall linearly to zero: what is decoded has no seams between cells.
        map_kernel: Of spatial modulations: cells along each axis whose modulations the map to a cell's shifts takes
            together, 1 or 3.
        map_bias: Of spatial modulations: "shared" by all cells, so that the network knows nothing of where a cell is
            (Bauer et al. 2023), or "per_cell", for fields that differ little from their mean.
        head: What the last layer's numbers become: "linear" adds 0.5; "radiance" does so for red, green and
            blue, and makes a fourth number x the density elu(x, alpha 0.1) + 0.1, clipped to [0, 10] (functa,
            appendix on NeRF).
    """

    width: int = 192
    depth: int = 4
    w0: float = 30.0
    modulation: Modulation = "latent"
    modulation_dim: int | None = 128
    modulation_grid: tuple[int, ...] | None = None
    lookup: Lookup = "nearest"
    map_kernel: int = 1
    map_bias: MapBias = "shared"
    head: Head = "linear"

    def __post_init__(self) -> None:
        at_least(self, 1, "width", "modulation_dim", "map_kernel")
        at_least(self, 2, "depth")
        _positive(self, "w0")
        _one_of(self, head=Head, lookup=Lookup, map_bias=MapBias, modulation=Modulation)
        if (self.modulation == "shift") != (self.modulation_dim is None):
            raise ConfigError(
                f"modulation_dim must be given for latent and spatial modulations and left out for shift modulations, "
                f"got modulation={self.modulation!r} with modulation_dim={self.modulation_dim}"
            )
        self._check_grid()
        if self.depth * self.width * (self.width + self.map_inputs + 1) > MOST_NUMBERS:
            raise ConfigError(
                f"width={self.width}, depth={self.depth} and modulation_dim={self.modulation_dim} give a network of "
                f"more than {MOST_NUMBERS} numbers; lower one of them"
            )
        if math.prod(self.bias_shape) > MOST_NUMBERS:
            raise ConfigError(
                f"modulation_grid={self.modulation_grid}, width={self.width} and depth={self.depth} give biases of "
                f"more than {MOST_NUMBERS} numbers; lower one of them, or take map_bias='shared'"
            )
        if self.modulation_size > MOST_NUMBERS:
            raise ConfigError(
                f"modulation_grid={self.modulation_grid} and modulation_dim={self.modulation_dim} give modulations of "
                f"more than {MOST_NUMBERS} numbers; lower one of them"
            )
        if self.depth > MOST_LAYERS:
            raise ConfigError(f"depth must be at most {MOST_LAYERS} layers, got {self.depth}")

    def _check_grid(self) -> None:
        if (self.modulation == "spatial") != (self.modulation_grid is not None):
            raise ConfigError(
                "modulation_grid must be given for spatial modulations, such as (8, 8), and left out for others, "
                f"got modulation={self.modulation!r} with modulation_grid={brief(self.modulation_grid)}"
            )
        if self.modulation_grid is None:
            if (self.lookup, self.map_kernel, self.map_bias) != ("nearest", 1, "shared"):
                raise ConfigError(
                    f"lookup={self.lookup!r}, map_kernel={self.map_kernel} and map_bias={self.map_bias!r} are of "
                    f"spatial modulations; leave them out for modulation={self.modulation!r}"
                )
            return
        grid = _integers("modulation_grid", self.modulation_grid)
        if not grid or min(grid) < 1 or len(grid) > MOST_GRID_AXES or math.prod(grid) > MOST_NUMBERS:
            raise ConfigError(
                f"modulation_grid must be 1 to {MOST_GRID_AXES} numbers of cells, each at least 1, got {brief(grid)}"
            )
        object.__setattr__(self, "modulation_grid", grid)
        if self.map_kernel not in MAP_KERNELS:
            raise ConfigError(f"map_kernel must be one of {MAP_KERNELS}, got {self.map_kernel}")

    @property
    def num_shifts(self) -> int:
        """Shifts of all sine layers together, of one cell of a spatial modulation."""
        return self.width * (self.depth - 1)

    @property
    def num_cells(self) -> int:
        """Cells of a spatial modulation; 1 for the others."""
        return math.prod(self.modulation_grid or ())

    @property
    def cell_size(self) -> int:
        """Numbers per cell of a spatial modulation; all of them for the others."""
        return self.num_shifts if self.modulation_dim is None else self.modulation_dim

    @property
    def modulation_shape(self) -> tuple[int, ...]:
        """Shape of a modulation as the store keeps it: (*grid, numbers per cell), or one vector."""
        return (*(self.modulation_grid or ()), self.cell_size)

    @property
    def modulation_size(self) -> int:
        """Numbers that the store keeps per example."""
        return math.prod(self.modulation_shape)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the map's bias: that of all shifts, or (*grid, shifts) where each cell has a bias."""
        return (*(self.modulation_grid or ()), self.num_shifts) if self.map_bias == "per_cell" else (self.num_shifts,)

    @property
    def map_inputs(self) -> int:
        """Numbers that the map to the shifts takes: those of a cell, or of all that its kernel covers."""
        return self.cell_size * self.map_kernel ** len(self.modulation_grid or ())


@dataclasses.dataclass(frozen=True, kw_only=True)
class InnerLoopConfig:
    """The inner loop through which the base network is learned (functa, Algorithm 1).

    Attributes:
        num_steps: Gradient steps from the zero modulation.
        learning_rate: Where the meta-learned rates start.
    """

    num_steps: int = 3
    learning_rate: float = 0.2

    def __post_init__(self) -> None:
        at_least(self, 1, "num_steps")
        _positive(self, "learning_rate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OuterLoopConfig:
    """How the base network is meta-learned through the inner loops.

    Attributes:
        num_steps: Updates of the base network; None only beside a time budget.
        time_budget: Seconds of meta-learning, compilation apart, instead of `num_steps`.
        batch_size: Examples per update.
        microbatch_size: Examples that a device takes together, their gradients added up: the largest
            divisor of its share of a batch up to this. None takes as many as its memory holds on an
            accelerator, and always one at a time on a CPU, which is fastest there.
        num_points: Random points of each example per inner step; None takes all of them, and so do cells whose map
            sees their neighbours (`map_kernel`).
        learning_rate: Adam's rate for the SIREN weights.
        map_learning_rate: Adam's rate for the map from modulation to shifts.
        rates_learning_rate: Adam's rate for the inner loop's own learning rates.
        warmup_steps: Updates over which the rates rise linearly.
        decay_fraction: Last part of the updates over which the rates fall along a cosine to zero.
        max_gradient_norm: Global norm at which the outer gradient is clipped.
        num_monitored: Examples to choose the best state by: of the validation split, or else training
            examples kept out of the updates.
        monitor_every: Updates between two looks at the monitored examples, to within ten; up to the first of these
            five times as many.
    """

    num_steps: int | None = 4000
    time_budget: float | None = None
    batch_size: int = 16
    microbatch_size: int | None = None
    num_points: int | None = 512
    learning_rate: float = 2e-4
    map_learning_rate: float = 2e-3
    rates_learning_rate: float = 1e-2
    warmup_steps: int = 100
    decay_fraction: float = 0.7
    max_gradient_norm: float = 1.0
    num_monitored: int = 64
    monitor_every: int = 250

    def __post_init__(self) -> None:
        if (self.num_steps is None) == (self.time_budget is None):
            raise ConfigError(
                "give either the number of outer steps or a time budget, "
                f"got num_steps={self.num_steps} and time_budget={self.time_budget}"
            )
        at_least(self, 1, "num_steps", "batch_size", "microbatch_size", "num_points", "num_monitored", "monitor_every")
        at_least(self, 0, "warmup_steps")
        _positive(self, "time_budget", "learning_rate", "map_learning_rate", "rates_learning_rate")
        _positive(self, "max_gradient_norm")
        if not 0 <= (fraction := number("decay_fraction", self.decay_fraction)) < 1:
            raise ConfigError(f"decay_fraction must be at least 0 and below 1, got {brief(self.decay_fraction)}")
        object.__setattr__(self, "decay_fraction", fraction)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How every example's modulation is fitted once the base network is learned.

    Gradient steps with momentum from the zero modulation, the same for every example. Their rates and
    momenta, one per step and modulation dimension, are tuned on training examples with the base held
    still, starting from the rates that it was learned with; docs/benchmarks/fitting.md has the figures.

    Attributes:
        num_steps: Gradient steps.
        stride: All steps but the first look at every `stride`-th point along each axis, each step at
            the next phase of that pattern. The first one looks at all points, which costs next to nothing.
            None takes the largest of 1, 2 and 4 that leaves a step enough points; see `learn.tiling`.
        tuning_steps: Updates of rates and momenta; 0 keeps the learned rates (the last row for any
            further step) and no momentum.
        tile_points: Points evaluated at once, while learning, too; None takes what suits the device. Bounds
            the memory for activations and, through the order of sums, changes the last bits of the result.
    """

    num_steps: int = 17
    stride: int | None = None
    tuning_steps: int = 100
    tile_points: int | None = None

    def __post_init__(self) -> None:
        if whole("num_steps", self.num_steps, 1) > MOST_FIT_STEPS:
            raise ConfigError(f"num_steps of a fit must be at most {MOST_FIT_STEPS}, got {brief(self.num_steps)}")
        at_least(self, 1, "num_steps", "stride", "tile_points")
        at_least(self, 0, "tuning_steps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Everything about a conversion that changes the bytes of its store.

    Attributes:
        preset: Name of the preset this came from, for the record.
        network: The base network.
        inner: The inner loop that the base network is learned through.
        outer: How the base network is learned.
        fit: How modulations are fitted with it.
        weight_of_ones: What a place with features of 1 counts in the errors that are minimised, relative to one
            with features of 0: 1 + (weight - 1) * mean of its channels, clipped to [0, 1]. For shapes, which are
            thresholded at 0.5: above 1, less is needed to be decoded as occupied, as the best IoU asks. `mse`,
            PSNRs and metrics know nothing of it.
        matmul_precision: Of the products between hidden layers, while learning and fitting; the errors
            that a store keeps are measured in float32.
        modulation_dtype: How modulations are stored; "int8" has a scale and an offset per dimension.
        base_dtype: How base weights are stored; examples are fitted with the weights as they are stored.
        seed: Decides everything that is random.
        rows_per_shard: Examples per shard, a power of two; None chooses by size.
    """

    preset: str | None = None
    network: NetworkConfig = NetworkConfig()
    inner: InnerLoopConfig = InnerLoopConfig()
    outer: OuterLoopConfig = OuterLoopConfig()
    fit: FitConfig = FitConfig()
    weight_of_ones: float = 1.0
    matmul_precision: MatmulPrecision = "float32"
    modulation_dtype: ModulationDtype = "float32"
    base_dtype: BaseDtype = "float32"
    seed: int = 0
    rows_per_shard: int | None = None

    def __post_init__(self) -> None:
        if self.preset is not None:
            _text("preset", self.preset)
        for part in dataclasses.fields(self):
            kind, value = part.type, getattr(self, part.name)
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and not isinstance(value, kind):
                raise ConfigError(f"{part.name} must be a {kind.__name__}, got {brief(value)}")
        _positive(self, "weight_of_ones")
        if not 1 / MOST_WEIGHT <= self.weight_of_ones <= MOST_WEIGHT:
            raise ConfigError(
                f"weight_of_ones must be from {1 / MOST_WEIGHT} to {MOST_WEIGHT}, got {self.weight_of_ones}"
            )
        at_least(self, 0, "seed")
        at_least(self, 1, "rows_per_shard")
        _one_of(self, matmul_precision=MatmulPrecision, modulation_dtype=ModulationDtype, base_dtype=BaseDtype)
        if self.seed >= 2**32:
            raise ConfigError(f"seed must be at least 0 and below 2**32, got {self.seed}")
        rows = self.rows_per_shard
        if rows is not None and rows & (rows - 1):
            raise ConfigError(f"rows_per_shard must be a power of two, got {rows}")
        if rows is not None and rows * self.network.modulation_size > MOST_NUMBERS:
            raise ConfigError(
                f"rows_per_shard must be at most {MOST_NUMBERS // self.network.modulation_size} for modulations of "
                f"{self.network.modulation_size} numbers, got {rows}"
            )


def overlaid(config: C, changes: Mapping[Any, Any], where: str = "") -> C:
    """A configuration with some of its values changed; of two that exclude each other, the new one stays.

    Values are no more converted than from Python: what a class refuses there, it refuses from a file, too.

    Args:
        config: What holds where `changes` say nothing.
        changes: Some values, nested like those of `to_dict`.
        where: What messages call the configuration, such as a file and its section.

    Raises:
        ConfigError: If a key is unknown, or a value is refused.
    """
    above = f"{where}: " if where else ""
    kinds = {field.name: field.type for field in dataclasses.fields(config)}  # pyright: ignore[reportArgumentType]
    if unknown := unknown_keys(changes, kinds):
        raise ConfigError(f"{above}found {unknown}, expected some of {', '.join(kinds)}")
    found = _displaced(config, changes)
    try:
        for name, value in changes.items():
            if not dataclasses.is_dataclass(part := getattr(config, name)):
                found[name] = _of_type(name, kinds[name], value)
            elif not isinstance(value, Mapping):
                raise ConfigError(f"{name} is {brief(value)}, expected names and values")
            else:
                inner = f"{where}.{name}" if where else name
                found[name] = overlaid(part, value, inner)
        return dataclasses.replace(config, **found)  # pyright: ignore[reportArgumentType]
    except ConfigError as error:
        raise ConfigError(f"{above}{error}") from error


def _displaced(config: Any, changes: Mapping[Any, Any]) -> dict[str, Any]:
    """What gives way to values that exclude it."""
    if isinstance(config, OuterLoopConfig):
        pairs = (("time_budget", "num_steps"), ("num_steps", "time_budget"))
        return {dropped: None for given, dropped in pairs if changes.get(given) is not None}
    if isinstance(config, NetworkConfig):
        return _displaced_modulation(changes)
    return {}


def _displaced_modulation(changes: Mapping[Any, Any]) -> dict[str, Any]:
    """A grid makes a modulation spatial, and one of another kind has neither a grid nor what belongs to it."""
    if changes.get("modulation_grid") is not None:
        return {"modulation": "spatial"}
    others = {"modulation_grid": None, "lookup": "nearest", "map_kernel": 1, "map_bias": "shared"}
    if changes.get("modulation") == "shift":
        return {"modulation_dim": None, **others}
    return others if changes.get("modulation") == "latent" else {}


ExportDtype = Literal["float32", "uint8"]
"""`uint8` has 256 levels over the range of the values, or 255 where values may be missing."""
