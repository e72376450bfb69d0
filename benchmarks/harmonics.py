"""Spherical harmonics, bilinear interpolation and principal components of fields on the globe."""

import itertools

import numpy as np
from scipy.special import sph_harm_y

from functa_store.learn.scores import principal_axes


def harmonics(latitudes: np.ndarray, longitudes: np.ndarray, count: int) -> np.ndarray:
    """The first real spherical harmonics at the points of a grid, orthonormal on the sphere.

    By degree, and within a degree by order: 0, then cosine and sine of 1, 2, ...; the last degree may be partial.

    Args:
        latitudes: Degrees north.
        longitudes: Degrees east.
        count: How many.

    Returns:
        Shape (points, count), points in C order.
    """
    colatitude, longitude = np.radians(90 - latitudes)[:, None], np.radians(longitudes)[None, :]
    columns = itertools.islice(
        (part for degree in itertools.count() for part in _of_degree(degree, colatitude, longitude)), count
    )
    return np.stack([np.broadcast_to(c, (len(latitudes), len(longitudes))).ravel() for c in columns], axis=-1)


def _of_degree(degree: int, colatitude: np.ndarray, longitude: np.ndarray):
    for order in range(degree + 1):
        complex_one = sph_harm_y(degree, order, colatitude, longitude)
        if order == 0:
            yield complex_one.real
        else:
            yield np.sqrt(2) * complex_one.real
            yield np.sqrt(2) * complex_one.imag


def truncated(
    fields: np.ndarray, latitudes: np.ndarray, longitudes: np.ndarray, weights: np.ndarray, count: int
) -> np.ndarray:
    """Fields as the sum of their first harmonics, fitted by least squares with weights.

    Args:
        fields: Shape (examples, lat, lon, channels), without missing values.
        latitudes: Degrees north.
        longitudes: Degrees east.
        weights: What each point counts, shape (lat * lon,).
        count: Coefficients per channel.
    """
    basis, root = harmonics(latitudes, longitudes, count), np.sqrt(weights)[:, None]
    num, rows, columns, channels = fields.shape
    values = np.moveaxis(fields.reshape(num, rows * columns, channels).astype(np.float64), 1, 0).reshape(len(basis), -1)
    coefficients, *_ = np.linalg.lstsq(basis * root, values * root, rcond=None)
    return np.moveaxis((basis @ coefficients).reshape(-1, num, channels), 0, 1).reshape(fields.shape)


def principal(training: np.ndarray, fields: np.ndarray, components: int) -> np.ndarray:
    """Fields as the mean and the first principal components of training fields, on one scale for all channels.

    Args:
        training: Shape (examples, *resolution, channels), features; more of them than `components`.
        fields: What to reconstruct, shaped so, too.
        components: Numbers per field.
    """
    mean, axes = principal_axes(training.reshape(len(training), -1).astype(np.float32), components)
    rows = fields.reshape(len(fields), -1) - mean
    return (mean + rows @ axes @ axes.T).reshape(fields.shape)


def bilinear(
    fields: np.ndarray, coarse: tuple[np.ndarray, np.ndarray], fine: tuple[np.ndarray, np.ndarray], *, periodic: bool
) -> np.ndarray:
    """Fields of a coarse grid at the points of a finer one, interpolated along latitude and longitude.

    Args:
        fields: Shape (examples, lat, lon, channels).
        coarse: Latitudes and longitudes where they are known.
        fine: Where they are wanted.
        periodic: Whether the longitudes go round the globe.
    """
    rows = _between(coarse[0], fine[0], None)
    columns = _between(coarse[1], fine[1], 360.0 if periodic else None)
    return np.einsum("ai,eijc,bj->eabc", rows, fields, columns, optimize=True)


def _between(known: np.ndarray, wanted: np.ndarray, period: float | None) -> np.ndarray:
    """Weights of the known points at each wanted one, shape (wanted, known); beyond the last one, its value."""
    identity = np.eye(len(known))
    order = np.argsort(known)
    if period is None:
        return np.stack([np.interp(wanted, known[order], row[order]) for row in identity], axis=-1)
    return np.stack([np.interp(wanted, known, row, period=period) for row in identity], axis=-1)
