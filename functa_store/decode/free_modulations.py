"""Modulations that are in no store, such as generated or edited ones: their checks, and what tells them apart."""

import hashlib
import math
import sys
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Shaped

from functa_store.config import NetworkConfig
from functa_store.errors import ConfigError


@runtime_checkable
class Inverse(Protocol):
    """What takes normalised modulations back, such as `functa_store.loaders.Normalization`."""

    def invert(self, normalized: Any) -> Any:
        """Modulations as the base network takes them; the last axis is the dimension or channel."""
        ...


def is_free(which: Any) -> bool:
    """Whether an argument that may be an index or modulations is the latter: an array of floats, which no index is."""
    return hasattr(which, "dtype") and "float" in str(which.dtype) and math.prod(which.shape) > 0


def readable_array(given: Any) -> np.ndarray:
    """An array of any library that NumPy can read; of numbers in bfloat16, which NumPy has not, in float32.

    Raises:
        TypeError: If NumPy cannot read it, or, as for what follows, it holds no numbers, shapes differ, or a tensor is
            on another device or part of a gradient.
        ValueError: See above.
        RuntimeError: See above.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(given, torch.Tensor) and given.dtype == torch.bfloat16:
        given = given.float()
    array = np.asarray(given)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def check_modulations(
    name: str, network: NetworkConfig, modulations: Any, normalization: Inverse | None = None
) -> Float32[np.ndarray, "examples ..."]:
    """Modulations of a base network, one per example, float32.

    Args:
        name: The functaset, for messages.
        network: Whose modulations they are.
        modulations: Shape (examples, *shape of a modulation), or that of a single one; an array of any library that
            NumPy can read.
        normalization: What they were normalised by; None if they were not.

    Raises:
        ConfigError: If they are no numbers of that shape, or not finite in float32, or the normalisation is none.
    """
    if normalization is not None and not isinstance(normalization, Inverse):
        raise ConfigError(
            f"{name}: found normalization={normalization!r}, expected what the modulations were normalised by, such as "
            "functa_store.loaders.Normalization.of_all(functaset), or None"
        )
    shape = network.modulation_shape
    expected = f"expected numbers of shape (examples, {', '.join(map(str, shape))}), or one modulation of shape {shape}"
    try:
        given = readable_array(modulations)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{name}: the modulations cannot be read as an array ({error}); {expected}") from error
    if given.shape == shape:
        given = given[None]
    if given.dtype.kind not in "iuf" or given.shape[1:] != shape or given.ndim != len(shape) + 1:
        raise ConfigError(f"{name}: found modulations of {given.dtype} and shape {given.shape}; {expected}")
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.asarray(given if normalization is None else normalization.invert(given), np.float32)
    if rows.shape != given.shape:
        raise ConfigError(f"{name}: the normalization made shape {rows.shape} of {given.shape}; it is of another one")
    if not (finite := np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))).all():
        raise ConfigError(f"{name}: modulation {int(np.argmin(finite))} is not finite in float32; leave it out")
    return rows


def keys_of(rows: Float32[np.ndarray, "examples numbers"]) -> Shaped[np.ndarray, " examples"]:
    """SHA-256 of the bytes of each modulation, 32 bytes a key: equal for equal ones."""
    digests = [hashlib.sha256(np.ascontiguousarray(row).data).digest() for row in rows]
    return np.array(digests, np.dtype("V32"))
