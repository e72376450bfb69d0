"""Options of the climate converter."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from functa_store.errors import ConfigError

Missing = Literal["nan", "fill"]
"""`nan`: points that are missing in every example decode to not a number. `fill`: the function is decoded there."""

Split = Literal["last", "every"]

Words = str | Sequence[str] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClimateOptions:
    """What to take of an archive of fields, and how.

    Attributes:
        variable: Variables, which become channels; none takes the only one that there is.
        example_dims: Dimensions that make examples; none takes all but latitude and longitude.
        select: Values to take along dimensions, in words.
        scaling: How values become features; see `converters.climate.scaling`.
        missing: What becomes of points that are missing in every example.
        area_weighting: Whether points count by the area of their cell.
        split: Whether the last tenth or every tenth is held out, of the times where there are some.

    Raises:
        ConfigError: If a choice is none of those.
    """

    variable: tuple[str, ...] = ()
    example_dims: tuple[str, ...] = ()
    select: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    scaling: str = "minmax"
    missing: str = "nan"
    area_weighting: bool = False
    split: str = "last"

    def __post_init__(self) -> None:
        for name, choices in (("missing", get_args(Missing)), ("split", get_args(Split))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not isinstance(self.area_weighting, bool):
            raise ConfigError(f"area_weighting must be True or False, got {self.area_weighting!r}")

    @classmethod
    def from_words(
        cls, *, variable: Words = None, example_dims: Words = None, select: Words = None, **others: Any
    ) -> "ClimateOptions":
        """Options as a command line, or a store, has them."""
        chosen: dict[str, tuple[str, ...]] = {}
        for one in _parts(select, ";"):
            dim, equals, values = one.partition("=")
            if not equals or not _parts(values, ","):
                raise ConfigError(f"--select {one}: expected DIMENSION=VALUE, or several values with commas")
            chosen[dim.strip()] = (*chosen.get(dim.strip(), ()), *_parts(values, ","))
        lists = {"variable": tuple(_parts(variable, ",")), "example_dims": tuple(_parts(example_dims, ","))}
        return cls(**lists, select=chosen, **{name: value for name, value in others.items() if value is not None})

    def to_words(self, channels: Sequence[str]) -> dict[str, Any]:
        """The same as plain JSON, with the variables that they came to mean."""
        return {
            "variable": ",".join(channels),
            "example_dims": ",".join(self.example_dims) or None,
            "select": ";".join(f"{dim}={','.join(values)}" for dim, values in self.select.items()) or None,
            "scaling": self.scaling,
            "missing": self.missing,
            "area_weighting": self.area_weighting or None,
            "split": self.split,
        }


def add_climate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `ClimateOptions.from_words` takes."""
    parser.add_argument(
        "--variable",
        action="append",
        metavar="NAME",
        help="a variable, repeatedly for channels (default: the only one)",
    )
    parser.add_argument(
        "--example-dims", metavar="DIM,...", help="what makes examples (default: all but latitude and longitude)"
    )
    parser.add_argument(
        "--select",
        action="append",
        metavar="DIM=VALUE,...",
        help="take these values along a dimension, as ids name them",
    )
    parser.add_argument("--scaling", choices=("minmax", "standard"), help="to features, per variable (default: minmax)")
    parser.add_argument(
        "--missing",
        choices=get_args(Missing),
        help="points without any value decode to nan (default), or are filled by the function",
    )
    parser.add_argument(
        "--area-weighting", action="store_true", default=None, help="points count by the area of their cell"
    )
    parser.add_argument("--split", choices=get_args(Split), help="tenth that is held out (default: last)")


def _parts(given: Words, separator: str) -> list[str]:
    words = [given] if isinstance(given, str) else list(given or ())
    return [part.strip() for word in words for part in word.split(separator) if part.strip()]
