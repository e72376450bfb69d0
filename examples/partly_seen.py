"""Examples of which a part is seen: halves, coarse grids and single views; what is hidden, and how well it is found."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

import functa_store
from functa_store.metrics import psnr_mean

COARSER = 4
"""Points of an example for one that is seen, along each axis, of the task "coarse"."""

MOST_POINTS = 2**14
"""Seen points of an example, and hidden ones, drawn at random where there are more, as in shapes."""


RAYS_AT_ONCE = 256
"""Rays of every example that are rendered together, for the sake of memory."""


class Points(NamedTuple):
    """Points of some examples.

    Attributes:
        positions: Of each point, (points, axes); of scenes the ray through each pixel, origin and direction, of every
            example, (examples, points, 6).
        features: Of each example there, (examples, points, channels); of scenes the colours.
    """

    positions: np.ndarray
    features: np.ndarray


class Task(NamedTuple):
    """What is seen of some examples, and what is hidden and to be inferred.

    Attributes:
        seen: Points that are seen.
        hidden: Points that are to be inferred.
        grid: Features that are seen on a grid, (examples, *points, channels), not a number where they are not seen.
    """

    seen: Points
    hidden: Points
    grid: np.ndarray


def half(functaset: functa_store.Functaset, features: np.ndarray) -> Task:
    """The first half of the last axis is seen, as the left of a picture; the other one is hidden."""
    positions = functaset.domain.coords()
    is_seen = functaset.domain.fractions(positions)[:, -1] < 0.5
    rows = features.reshape(len(features), -1, features.shape[-1])
    seen, hidden = (_some(Points(positions[which], rows[:, which])) for which in (is_seen, ~is_seen))
    return Task(seen, hidden, np.where(is_seen[:, None], rows, np.nan).reshape(features.shape))


def coarse(functaset: functa_store.Functaset, features: np.ndarray) -> Task:
    """Means of blocks are seen, at the points of a coarser grid; all points are to be inferred."""
    count, channels, native = len(features), features.shape[-1], features.shape[1:-1]
    if any(points % COARSER for points in native):
        raise functa_store.ConfigError(
            f"{functaset.store.path}: found {native} points, expected multiples of {COARSER} along every axis of what "
            "is to be seen coarsely; take --task half"
        )
    coarser = tuple(points // COARSER for points in native)
    blocks = features.reshape(count, *(size for points in coarser for size in (points, COARSER)), channels)
    means = blocks.mean(axis=tuple(range(2, 2 * len(native) + 1, 2)))
    seen = Points(functaset.domain.coords(coarser), means.reshape(count, -1, channels))
    hidden = Points(functaset.domain.coords(), features.reshape(count, -1, channels))
    return Task(_some(seen), _some(hidden), means)


def view(functaset: functa_store.Functaset, features: np.ndarray) -> Task:
    """The first view of a scene is seen; the other ones are hidden.

    Args:
        functaset: Scenes.
        features: Rays and colours, (examples, views, height, width, 9), at least two views.
    """
    del functaset
    rows = features.reshape(*features.shape[:2], -1, 9)

    def points(views: slice) -> Points:
        found = rows[:, views].reshape(len(rows), -1, 9)
        return _some(Points(found[..., :6], found[..., 6:]))

    return Task(points(slice(1)), points(slice(1, None)), features[:, 0, ..., 6:])


TASKS: Mapping[str, Callable[[functa_store.Functaset, np.ndarray], Task]] = {
    "half": half,
    "coarse": coarse,
    "view": view,
}


def mirrored(functaset: functa_store.Functaset, seen: Points, axis: str) -> Points:
    """What is seen, and the same once more as if it had been seen in a mirror: for what is symmetric, as chairs are.

    Args:
        functaset: Which they are examples of.
        seen: What is seen of some.
        axis: One of the domain, at whose middle the mirror stands across it.
    """
    domain, positions = functaset.domain, seen.positions.copy()
    if domain.scene is not None:  # the middle of the cube is the world's origin, and rays are of x, y and z
        component = "xyz".index(axis)
        positions[..., [component, component + 3]] *= -1
    else:
        component = domain.axes.index(axis)
        places = domain.axis_coords()[component]
        positions[..., component] = places[0] + places[-1] - positions[..., component]
    return Points(np.concatenate([seen.positions, positions], axis=-2), np.concatenate([seen.features] * 2, axis=1))


def _some(points: Points) -> Points:
    """The same at no more points than are needed, and at none that has no value."""
    present = np.flatnonzero(~np.isnan(points.features).any(axis=(0, 2)))
    chosen = np.sort(np.random.default_rng(0).permutation(present)[:MOST_POINTS])
    return Points(points.positions[..., chosen, :], points.features[:, chosen])


def decoder_of(functaset: functa_store.Functaset) -> Callable[[Any, Any], jax.Array]:
    """(modulations, inputs or rays) -> features or colours, differentiable."""
    base = functaset.base
    if functaset.domain.scene is None:
        decoder = functaset.decoder
        return lambda modulations, inputs: decoder(base, modulations, inputs)
    along = functaset.ray_decoder
    return lambda modulations, rays: along(base, modulations, rays[..., :3], rays[..., 3:])


def plain_fit(functaset: functa_store.Functaset, seen: Points) -> np.ndarray:
    """Modulations of what is seen, as `Functaset.encode` fits them."""
    if functaset.domain.scene is not None:
        rays = np.concatenate(seen, axis=-1)[:, None, None]  # a view of one row of pixels
        return functaset.encode(rays).modulations
    return functaset.encode(as_values(functaset, seen.features), coords=seen.positions).modulations


def hidden_psnr(functaset: functa_store.Functaset, modulations: np.ndarray, hidden: Points) -> float:
    """Mean PSNR of examples at points that were hidden, in decibels; what is decoded is clipped to its range."""
    errors = decoded(functaset, modulations, hidden.positions) - as_values(functaset, hidden.features)
    if functaset.domain.scene is not None:
        return psnr_mean(np.mean(errors**2, axis=(1, 2)))
    errors /= np.asarray(functaset.features.value_scale, np.float32)
    return psnr_mean(np.mean(errors**2, axis=(1, 2)), functaset.features.span)


def decoded(functaset: functa_store.Functaset, modulations: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Values, or colours along rays, at the positions of some `Points`, (examples, points, channels), clipped."""
    if functaset.domain.scene is None:
        return functaset.decode_modulations(modulations, coords=positions)
    decode = decoder_of(functaset)
    parts = np.array_split(positions, math.ceil(positions.shape[1] / RAYS_AT_ONCE), axis=1)
    return np.clip(np.concatenate([decode(modulations, rays) for rays in parts], axis=1), 0, 1)


def as_values(functaset: functa_store.Functaset, features: np.ndarray) -> np.ndarray:
    """Features in the unit of what is decoded; colours of scenes as they are."""
    if functaset.domain.scene is not None:
        return features
    return functaset.features.to_values(np.array(features, np.float32))


def features_of(
    functaset: functa_store.Functaset, examples: np.ndarray, source: functa_store.Source | None
) -> np.ndarray:
    """Features of some examples, (examples, *resolution, channels): of a source, or as they decode.

    Of scenes rays and colours of their views, (examples, views, height, width, 9), which a source alone has.

    Raises:
        ConfigError: If there are scenes and no source.
    """
    described = functaset.features
    if source is None and functaset.domain.scene is not None:
        raise functa_store.ConfigError(f"{functaset.store.path}: views of scenes are in their archive; give --archive")
    if source is None:
        values = functaset.decode(examples)
        scale, offset = (np.asarray(part, np.float32) for part in (described.value_scale, described.value_offset))
        return (values - offset) / scale
    places = {name: place for place, name in enumerate(source.ids)}
    raw = np.stack([source.read(places[str(name)]) for name in functaset.ids[examples]])
    if functaset.domain.scene is not None:
        return raw
    return raw.astype(np.float32) * np.float32(source.features.scale) + np.float32(source.features.offset)
