"""Options of the climate converter."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from functa_store.sources.options import ArchiveOptions, option

Missing = Literal["nan", "fill"]
"""`nan`: points that are missing in every example decode to not a number. `fill`: the function is decoded there."""

Scaling = Literal["minmax", "standard"]
"""Whether the extremes, or the mean and the deviation, of a variable become fixed features."""

Split = Literal["last", "every"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClimateOptions(ArchiveOptions):
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

    variable: tuple[str, ...] = option((), metavar="NAME,...")
    example_dims: tuple[str, ...] = option((), metavar="DIM,...")
    select: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict, metadata={"metavar": "DIM=VALUE,..."}
    )
    scaling: Scaling = "minmax"
    missing: Missing = "nan"
    area_weighting: bool = False
    split: Split = "last"
