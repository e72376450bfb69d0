"""What is known of an array beside its values, and how much of it is taken?"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from functa_store.errors import ArchiveError, ConfigError
from functa_store.sources import Label


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayFacts:
    """What is known of an array beside its values; what is left out takes the obvious.

    Attributes:
        name: What the provenance and errors call it.
        axes: Names of the spatial axes, in order.
        cell_aspect: See `CellGrid`.
        lengths: See `CellGrid`.
        length_units: `CellGrid.units`.
        channels: Name of each channel.
        units: Unit of each channel.
        ids: Unique names of the examples.
        split: One of `SPLITS` per example; every tenth example is held out as "test" otherwise.
        labels: Named labels.
    """

    name: str = "array"
    axes: tuple[str, ...] = ()
    cell_aspect: tuple[float, ...] = ()
    lengths: tuple[float, ...] = ()
    length_units: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    ids: Sequence[str] | None = None
    split: np.ndarray | None = None
    labels: Mapping[str, Label] = dataclasses.field(default_factory=dict)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse what does not fit an array.

        Args:
            shape: (examples, *resolution, channels).

        Raises:
            ArchiveError: If there is not one axis, channel, id and so on for each.
        """
        num_axes = len(shape) - 2
        expected = {"axes": num_axes, "lengths": num_axes, "channels": shape[-1], "units": shape[-1], "ids": shape[0]}
        for what, count in expected.items():
            if (given := getattr(self, what)) and len(given) != count:
                raise ArchiveError(f"{self.name}: found {len(given)} {what}, expected {count} for shape {shape}")
        values = {f"label {name}": label.values for name, label in self.labels.items()}
        for what, given in (values | ({} if self.split is None else {"split": self.split})).items():
            if len(given) != shape[0]:
                raise ArchiveError(f"{self.name}: {what} has {len(given)} values for {shape[0]} examples")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayOptions:
    """How much of an array is taken, and how its values become features.

    Attributes:
        value_range: Values that become the features 0 and 1. None takes 0 to 255 for bytes, 0 and 1 for booleans,
            and for other numbers the smallest and largest value of each channel among the training examples.
        missing: Whether NaN means that a value is missing; else an example with one is rejected.
        max_rejects: Fraction of the examples that may be rejected.
        limit: Examples at most, the first ones.
        check_first: Examples to read now, for a dry run; None reads all.
    """

    value_range: tuple[float, float] | None = None
    missing: bool = False
    max_rejects: float = 0.0
    limit: int | None = None
    check_first: int | None = None

    def __post_init__(self) -> None:
        if self.value_range is not None and not -np.inf < self.value_range[0] < self.value_range[1] < np.inf:
            raise ConfigError(
                f"value_range must be (low, high), low below high and both finite, got {self.value_range}"
            )
        if not 0 <= self.max_rejects <= 1:
            raise ConfigError(f"max_rejects must be a fraction in [0, 1], got {self.max_rejects}")


def as_label(name: str, values: np.ndarray) -> Label:
    """A label of numbers, or of classes where the values are text.

    Raises:
        ArchiveError: If they are neither.
    """
    if values.ndim == 1 and values.dtype.kind in "biuf":
        return Label(values=values)
    if values.ndim == 1 and values.dtype.kind in "SUOT":
        names, numbers = np.unique(as_text(values), return_inverse=True)
        return Label(values=numbers.astype(np.int32), names=tuple(str(text) for text in names))
    raise ArchiveError(f"label {name}: found {values.dtype} of shape {values.shape}, expected a number or text each")


def as_text(values: np.ndarray) -> np.ndarray:
    """Text of bytes, text or numbers."""
    return np.array([v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values.tolist()], np.str_)
