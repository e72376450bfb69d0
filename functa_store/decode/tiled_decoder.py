"""Decoding of any examples at any points, in tiles of few sizes by compiled programs, and rendering along rays."""

import collections
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from functa_store.config import CHANNELS_OF_HEAD, NetworkConfig
from functa_store.domains.cells import GridPoints
from functa_store.domains.domain import Domain, inputs_of, network_inputs
from functa_store.domains.scene import SceneVolume
from functa_store.nets.siren import ModulatedSiren, from_weights
from functa_store.nets.volume_rendering import Rendered, render, samples_along

Weights = Mapping[str, Array | np.ndarray]
Decoder = Callable[[Weights, Array, Float[Array, "points inputs"]], Array]
RayDecoder = Callable[[Weights, Array, Array, Array], Array]


@functools.cache
def make_decoder(config: NetworkConfig, num_inputs: int, num_channels: int, closed: tuple[bool, ...] = ()) -> Decoder:
    """The pure, jitted decoder of a functaset, the same one for all of these sizes.

    Args:
        config: Its base network.
        num_inputs: Numbers that the network takes of a point.
        num_channels: Features at a point.
        closed: Whether each axis of the domain closes on itself; for spatial modulations.

    Returns:
        A function (base, modulations, inputs) -> features of shapes (examples, *modulation),
        (points, inputs) and (examples, points, channels), where `base` holds the base weights by
        name. Differentiable in all three; features are not clipped.
    """

    @jax.jit
    def decoder(base: Weights, modulations: Array, inputs: Array) -> Array:
        network = from_weights(config, num_inputs, num_channels, base, closed)
        return jax.vmap(lambda modulation: network(modulation.ravel(), inputs))(modulations)

    return decoder


@functools.cache
def make_ray_decoder(config: NetworkConfig, domain: SceneVolume) -> RayDecoder:
    """The pure, jitted decoder of rays through scenes, the same one for all of one network and cube.

    Args:
        config: The base network.
        domain: The cube, near, far and the number of samples along a ray.

    Returns:
        A function (base, modulations, origins, directions) -> colours in front of white, of shapes (examples,
        *modulation), (examples, rays, 3), the same with unit directions, and (examples, rays, 3), where `base` holds
        the base weights by name. Differentiable in all four; colours are not clipped. All samples of all rays are in
        memory at once.
    """

    @jax.jit
    def decoder(base: Weights, modulations: Array, origins: Array, directions: Array) -> Array:
        network = from_weights(config, network_inputs(domain, config), CHANNELS_OF_HEAD["radiance"], base)

        def seen(modulation: Array, origins: Array, directions: Array) -> Array:
            samples = samples_along(origins, directions, domain)
            features = network(modulation.ravel(), samples.positions.reshape(-1, domain.num_axes))
            return render(features.reshape(*samples.distances.shape, CHANNELS_OF_HEAD["radiance"]), samples).colour

        return jax.vmap(seen)(modulations, origins, directions)

    return decoder


@functools.cache
def tile_programs(
    config: NetworkConfig, num_inputs: int, num_channels: int, closed: tuple[bool, ...]
) -> tuple[Callable[..., Array], ...]:
    """Jitted evaluation of groups of tiles: all points of a tile with one modulation, or each with one of its own.

    Args:
        config: The base network.
        num_inputs: Numbers that the network takes of a point.
        num_channels: Features at a point.
        closed: Whether each axis of the domain closes on itself; for spatial modulations.

    Returns:
        Two functions (base, modulations, inputs, count) -> features, of shapes (groups, tiles, modulation) or
        (groups, tiles, points, modulation), (groups, tiles, points, inputs) and (groups, tiles, points, channels),
        which evaluate the first `count` groups and leave zeros in the others.
    """

    def program(evaluate: Callable[[ModulatedSiren, Array, Array], Array]) -> Callable[..., Array]:
        def tiles(base: Weights, modulations: Array, inputs: Array, count: Array) -> Array:
            network = from_weights(config, num_inputs, num_channels, base, closed)

            def group(i: Array, features: Array) -> Array:
                evaluated = jax.vmap(lambda *tile: evaluate(network, *tile))(modulations[i], inputs[i])
                return features.at[i].set(evaluated)

            features = jnp.zeros((*inputs.shape[:-1], num_channels), jnp.float32)
            return jax.lax.fori_loop(0, count, group, features)

        return jax.jit(tiles)

    return program(_together), program(_each_its_own)


def _together(network: ModulatedSiren, modulation: Array, coords: Array) -> Array:
    """A tile of points of one example."""
    return network(modulation, coords)


def _each_its_own(network: ModulatedSiren, modulations: Array, coords: Array) -> Array:
    """A tile of points of as many examples."""
    return network.each_its_own(modulations, coords)


T = TypeVar("T")

TILE_POINTS = 2048
"""Points of a tile: small enough for a CPU's cache, large enough to fill its cores."""

TILES_AT_ONCE = {"cpu": 1}
"""Tiles that a device evaluates together; an accelerator, which any other name means, `TILES_ON_ACCELERATOR`."""

TILES_ON_ACCELERATOR = 16

TILES_PER_CALL = 64
"""Tiles per call, of which only as many are evaluated as are needed."""

SCATTERED_TILE_POINTS = 256
"""Points of a tile in which each point has an example, and so shifts, of its own."""

SCATTERED_TILES_PER_CALL = 16

_STARTING = threading.Lock()

FEW_POINTS = TILE_POINTS // 4
"""Most points of each example that are evaluated as scattered ones are: a shift for each point costs about as much
again as the point, a tile for each example more. Of 32 examples at 512 points, 0.6 (128x6) or 0.3 (256x10) times the
time of tiles on 2 CPU cores; at 1,024 points as long."""


class TiledDecoder:
    """Decodes any number of examples at any number of points, with one compilation for few points and one for many.

    Those of one network and size share their compilations.

    Args:
        config: The base network.
        base: Its weights by name.
        domain: Whose positions the points are.
        num_channels: Features at a point.

    Attributes:
        points_asked: Features that calls so far have asked for: points, counted once for each example.
        points_evaluated: Those that were evaluated; the last tile of a call is always full.
    """

    def __init__(self, config: NetworkConfig, base: Weights, domain: Domain, num_channels: int) -> None:
        self._base = {name: jnp.asarray(array) for name, array in base.items()}
        self._num_channels = num_channels
        self._at_once = TILES_AT_ONCE.get(jax.default_backend(), TILES_ON_ACCELERATOR)
        self._inputs = functools.partial(inputs_of, domain, config)
        self._tiles, self._scattered = tile_programs(
            config, network_inputs(domain, config), num_channels, domain.closed
        )
        self.points_asked = self.points_evaluated = 0

    def __call__(
        self,
        modulations: Float32[np.ndarray, "examples modulation"],
        points: GridPoints | Float32[np.ndarray, "points axes"],
    ) -> Float32[np.ndarray, "examples points channels"]:
        """Features of every example at every point, not clipped."""
        features = np.empty((len(modulations), len(points), self._num_channels), np.float32)
        self.into(features, np.arange(len(modulations)), modulations, points)
        return features

    def into(
        self,
        features: Float32[np.ndarray, "rows points channels"],
        rows: Int[np.ndarray, " examples"],
        modulations: Float32[np.ndarray, "examples modulation"],
        points: GridPoints | Float32[np.ndarray, "points axes"],
    ) -> None:
        """Write the same into rows of an array in C order, one of each example."""
        assert features.flags.c_contiguous, "its points would be written into a copy"
        if len(points) > FEW_POINTS:
            for (examples, starts), tiles in self._all(modulations, points):
                for row, start, tile in zip(rows[examples], starts, tiles, strict=False):
                    features[row, start : start + TILE_POINTS] = tile[: len(points) - start]
        else:
            num_points, flat = len(points), features.reshape(-1, self._num_channels)
            count = len(modulations) * num_points
            for where, found in self._each(count, lambda i: (modulations[i // num_points], points[i % num_points])):
                flat[rows[where // num_points] * num_points + where % num_points] = found

    def scattered(
        self,
        modulations: Float32[np.ndarray, "examples modulation"],
        examples: Int[np.ndarray, " points"],
        coords: Float32[np.ndarray, "points axes"],
    ) -> Float32[np.ndarray, "points channels"]:
        """Features of a number of points, each of an example of its own, not clipped.

        Args:
            modulations: Those that the points need.
            examples: Which of the modulations each point is evaluated with.
            coords: The points.
        """
        features = np.empty((len(coords), self._num_channels), np.float32)
        for where, found in self._each(len(coords), lambda i: (modulations[examples[i]], coords[i])):
            features[where] = found
        return features

    def _all(
        self, modulations: np.ndarray, points: GridPoints | np.ndarray
    ) -> Iterator[tuple[tuple[np.ndarray, np.ndarray], np.ndarray]]:
        """Example and first point of some tiles, and their features."""
        for where, decoded in _once_next_began(self._start_all(modulations, points)):
            yield where, np.asarray(decoded).reshape(-1, TILE_POINTS, self._num_channels)

    def _each(
        self, count: int, locate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places of some points and their features, given the modulations and coordinates of places."""
        for start, decoded in _once_next_began(self._start_each(count, locate)):
            tiles = np.asarray(decoded).reshape(-1, self._num_channels)[: count - start]
            yield np.arange(start, start + len(tiles)), tiles

    def _start_all(
        self, modulations: np.ndarray, points: GridPoints | np.ndarray
    ) -> Iterator[tuple[tuple[np.ndarray, np.ndarray], Array]]:
        """Example and first point of the tiles of each call, and what is going to be there."""
        starts = np.arange(0, len(points), TILE_POINTS)
        num_tiles = len(modulations) * len(starts)
        for first in range(0, num_tiles, TILES_PER_CALL):
            tiles = np.arange(first, min(first + TILES_PER_CALL, num_tiles))
            examples, begin = tiles // len(starts), starts[tiles % len(starts)]
            wanted = np.minimum(begin[:, None] + np.arange(TILE_POINTS), len(points) - 1)
            asked = int(np.minimum(len(points) - begin, TILE_POINTS).sum())
            yield (examples, begin), self._start(self._tiles, modulations[examples], points[wanted], asked)

    def _start_each(
        self, count: int, locate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[int, Array]]:
        """First point of each call, and what is going to be there."""
        per_call = SCATTERED_TILES_PER_CALL * SCATTERED_TILE_POINTS
        for first in range(0, count, per_call):
            asked = min(per_call, count - first)
            wanted = first + np.arange(-(-asked // SCATTERED_TILE_POINTS) * SCATTERED_TILE_POINTS)
            tiles = np.minimum(wanted, count - 1).reshape(-1, SCATTERED_TILE_POINTS)
            yield first, self._start(self._scattered, *locate(tiles), asked)

    def _start(self, program: Callable[..., Array], modulations: np.ndarray, coords: np.ndarray, asked: int) -> Array:
        """Evaluate some tiles, filled up to the fixed size of a call, without waiting for them."""
        most = TILES_PER_CALL if program is self._tiles else SCATTERED_TILES_PER_CALL
        num_groups, groups = -(-most // self._at_once), -(-len(coords) // self._at_once)
        filled = (_filled_up(array, num_groups, self._at_once) for array in (modulations, self._inputs(coords)))
        with _STARTING:  # threads that come together compile once
            self.points_asked += asked
            self.points_evaluated += groups * self._at_once * coords.shape[1]
            return program(self._base, *filled, np.int32(groups))


def _filled_up(tiles: np.ndarray, num_groups: int, at_once: int) -> np.ndarray:
    """Tiles in groups, with zeros up to a fixed number."""
    filled = np.zeros((num_groups * at_once, *tiles.shape[1:]), tiles.dtype)
    filled[: len(tiles)] = tiles
    return filled.reshape(num_groups, at_once, *tiles.shape[1:])


def _once_next_began(calls: Iterable[T]) -> Iterator[T]:
    """The same, each handed on when the next one has been started: the device goes on while the host copies."""
    started: collections.deque[T] = collections.deque()
    for call in calls:
        started.append(call)
        if len(started) > 1:
            yield started.popleft()
    yield from started


SAMPLES_PER_TILE = 2048
"""Samples along all rays of a tile; a ray with more is a tile by itself."""

RAY_TILES_PER_CALL = 64
"""Tiles of rays per call, of which only as many are rendered as are needed."""

Renderer = Callable[..., Rendered]


@functools.cache
def make_renderer(network: NetworkConfig, domain: SceneVolume) -> Renderer:
    """A function (base weights, modulation, origins, directions) -> what is seen along any number of rays.

    It takes and gives NumPy arrays, of shapes (*rays, 3) and (*rays); colours are clipped to [0, 1], and what passes
    through the cube counts as far in the depth.

    Args:
        network: The base network.
        domain: The cube, near, far and the number of samples.
    """
    tiles = _compiled(network, domain)
    rays_per_tile = max(1, SAMPLES_PER_TILE // domain.num_samples)
    per_call = RAY_TILES_PER_CALL * rays_per_tile

    def renderer(
        base: Weights,
        modulation: Float32[np.ndarray, " modulation"],
        origins: Float[np.ndarray, "*rays 3"],
        directions: Float[np.ndarray, "*rays 3"],
    ) -> Rendered:
        shape = origins.shape[:-1]
        rays = np.stack([origins.reshape(-1, 3), directions.reshape(-1, 3)]).astype(np.float32)
        pieces = []
        for start in range(0, rays.shape[1], per_call):
            piece = rays[:, start : start + per_call]
            filled = np.broadcast_to(piece[:, :1], (2, per_call, 3)).copy()
            filled[:, : piece.shape[1]] = piece
            count = np.int32(-(-piece.shape[1] // rays_per_tile))
            pieces.append(tiles(base, modulation, filled.reshape(2, RAY_TILES_PER_CALL, rays_per_tile, 3), count))
        joined = (
            np.concatenate([np.asarray(p).reshape(per_call, -1) for p in part]) for part in zip(*pieces, strict=True)
        )
        colour, depth, opacity = (part[: rays.shape[1]].reshape(*shape, -1) for part in joined)
        behind = depth[..., 0] + (1 - opacity[..., 0]) * domain.far
        return Rendered(np.clip(colour, 0, 1), behind, opacity[..., 0])  # type: ignore[arg-type]  # NumPy's, for people

    return renderer


def _compiled(network: NetworkConfig, domain: SceneVolume) -> Callable[..., Rendered]:
    """(base, modulation, rays, count) -> what is seen along the rays of the first `count` tiles, zeros elsewhere."""

    def tile(base: Weights, modulation: Array, origins: Array, directions: Array) -> Rendered:
        siren = from_weights(network, domain.num_inputs, CHANNELS_OF_HEAD["radiance"], base)
        samples = samples_along(origins, directions, domain)
        features = siren(modulation, samples.positions.reshape(-1, domain.num_inputs))
        return render(features.reshape(*samples.distances.shape, CHANNELS_OF_HEAD["radiance"]), samples)

    @jax.jit
    def tiles(base: Weights, modulation: Array, rays: Array, count: Array) -> Rendered:
        def one(i: Array, seen: Rendered) -> Rendered:
            found = tile(base, modulation, *rays[:, i])
            return jax.tree.map(lambda everything, part: everything.at[i].set(part), seen, found)

        plain = jnp.zeros(rays.shape[1:3], jnp.float32)
        return jax.lax.fori_loop(0, count, one, Rendered(jnp.zeros(rays.shape[1:], jnp.float32), plain, plain))

    return tiles
