"""The protocol Domain: what the loops, the store and readers ask of where examples are sampled, and its known kinds."""

from collections.abc import Sequence
from typing import Any, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32

from functa_store.config import Head, NetworkConfig
from functa_store.domains.cells import CellGrid, GridPoints, Region
from functa_store.domains.scene import SceneVolume
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import ConfigError


@runtime_checkable
class Domain(Protocol):
    """Where examples are sampled: a frozen dataclass that travels through a store as JSON.

    Positions are what people give and see, such as degrees or fractions of a cube; inputs are what the base network
    takes of them. Modulations can be decoded at all positions, whatever the native grid is.
    """

    @property
    def kind(self) -> str:
        """Name of this kind of domain in a store."""
        ...

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of positions, in array order."""
        ...

    @property
    def resolution(self) -> tuple[int, ...]:
        """Points of the native grid along each axis."""
        ...

    @property
    def lengths(self) -> tuple[float, ...]:
        """Length of the whole domain along each axis, in `units`."""
        ...

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each length, such as "s"; "1" where there is none."""
        ...

    @property
    def num_axes(self) -> int:
        """Number of coordinates of a position."""
        ...

    @property
    def num_inputs(self) -> int:
        """Numbers that the base network takes of a position."""
        ...

    @property
    def num_points(self) -> int:
        """Number of points of the native grid."""
        ...

    @property
    def quantity(self) -> str:
        """Name of decoded values among other variables, such as "image"."""
        ...

    @property
    def head(self) -> Head:
        """Meaning of the base network's last layer; see `NetworkConfig`."""
        ...

    @property
    def scene(self) -> SceneVolume | None:
        """The cube, where examples are views of it: raw values are rays. None where they are values at points."""
        ...

    @property
    def observed(self) -> tuple[int, ...]:
        """Shape of an example's raw values as a source hands them out, but for the last axis."""
        ...

    def num_columns(self, num_channels: int) -> int:
        """Length of the last axis of raw values, for so many channels of features."""
        ...

    @property
    def weights(self) -> Float[np.ndarray, " points"] | None:
        """Weight of each observed point in the error, 1 on average; None if all count the same."""
        ...

    def weights_at(self, positions: Float[np.ndarray, "*points axes"]) -> Float[np.ndarray, "*points"] | None:
        """What points that stand for equal steps along the axes count beside each other; None if all count the same."""
        ...

    @property
    def masked(self) -> bool:
        """Whether there are positions without a value."""
        ...

    def missing(self, positions: Float[np.ndarray, "*points axes"]) -> Bool[np.ndarray, "*points"]:
        """Whether each position has no value."""
        ...

    def resolve(self, resolution: int | Sequence[int] | None = None, region: Region | None = None) -> tuple[int, ...]:
        """Points per axis of a grid; arguments and errors as for `coords`."""
        ...

    def coords(
        self, resolution: int | Sequence[int] | None = None, region: Region | None = None
    ) -> Float32[np.ndarray, "points axes"]:
        """Positions of a grid in C order, the last axis fastest.

        Args:
            resolution: Points inside the region, one number for all axes or one per axis; None keeps the native
                spacing.
            region: Per axis (low, high); None means the whole domain.

        Raises:
            GridError: If they do not fit this domain.
        """
        ...

    def axis_coords(
        self, resolution: int | Sequence[int] | None = None, region: Region | None = None
    ) -> list[np.ndarray]:
        """Positions of a grid along each axis, float64; arguments and errors as for `coords`."""
        ...

    def points(self, resolution: int | Sequence[int] | None = None, region: Region | None = None) -> GridPoints:
        """Positions of a grid, computed as they are needed; arguments and errors as for `coords`."""
        ...

    def random_positions(self, rng: np.random.Generator, count: int) -> Float32[np.ndarray, "points axes"]:
        """Positions chosen uniformly over the domain."""
        ...

    def inputs(self, positions: Float[np.ndarray, "*points axes"]) -> Float32[np.ndarray, "*points inputs"]:
        """Inputs of the base network at positions."""
        ...

    def fractions(self, positions: Float[np.ndarray, "*points axes"]) -> Float32[np.ndarray, "*points axes"]:
        """Where positions lie in the whole domain along each axis, in [0, 1]: what grids of modulations divide."""
        ...

    @property
    def closed(self) -> tuple[bool, ...]:
        """Whether each axis closes on itself, as longitudes round the globe do."""
        ...

    def check_positions(self, axis: str, positions: np.ndarray) -> None:
        """Refuse positions along an axis where no example has been fitted.

        Raises:
            GridError: If there is one.
        """
        ...

    def axis_attributes(self, axis: str) -> dict[str, Any]:
        """CF attributes of positions along an axis."""
        ...

    @property
    def has_colours(self) -> bool:
        """Whether one, three or four channels of equal ranges are the greys or colours of one picture."""
        ...

    def map_flips(self, positions: Sequence[np.ndarray]) -> tuple[slice, ...]:
        """Slices that turn a grid for a picture, north up and west on the left; () where there is no such rule.

        Args:
            positions: Along each axis, as `axis_coords` gives them.
        """
        ...


StoredDomain = CellGrid | SphereGrid | SceneVolume
"""The kinds that a store can have, told apart by `kind`; a new kind is a file in this folder and a member here."""

KINDS: tuple[type[Domain], ...] = get_args(StoredDomain)
"""Their classes."""


def network_inputs(domain: Domain, network: NetworkConfig) -> int:
    """How many numbers a network takes of a position: with a grid of modulations, coordinates local to a cell."""
    return domain.num_inputs if network.modulation_grid is None else domain.num_axes


def inputs_of(
    domain: Domain, network: NetworkConfig, positions: Float[np.ndarray, "*points axes"]
) -> Float32[np.ndarray, "*points inputs"]:
    """What a network is given of positions: the domain's inputs, or for a grid of modulations fractions of its axes."""
    return domain.inputs(positions) if network.modulation_grid is None else domain.fractions(positions)


def check_grid(domain: Domain, network: NetworkConfig) -> None:
    """Refuse a grid of modulations whose axes are not those of a domain.

    Raises:
        ConfigError: If it is such a one.
    """
    if network.modulation_grid is not None and len(network.modulation_grid) != domain.num_axes:
        axes = ", ".join(domain.axes)
        raise ConfigError(
            f"modulation_grid={network.modulation_grid} has {len(network.modulation_grid)} axes, expected one number "
            f"of cells for each axis of the examples: {axes}"
        )
