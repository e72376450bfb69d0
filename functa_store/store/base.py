"""Which named arrays make up the base of a functaset?"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import get_args

import numpy as np

from functa_store.config import CHANNELS_OF_HEAD, MOST_FIT_STEPS, BaseDtype, NetworkConfig, differences

BASE_DTYPES = get_args(BaseDtype)
RATES = "inner_loop/learning_rate"
MOMENTA = "inner_loop/momentum"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseArray:
    """Dtype, shape and SHA-256 (of the little-endian bytes in C order) of one array of the base."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


def base_problems(
    base: Mapping[str, np.ndarray], network: NetworkConfig, num_inputs: int, num_channels: int
) -> Iterator[str]:
    """What keeps named arrays from being the base of this network, in words."""
    described = {name: (array.dtype.name, array.shape) for name, array in base.items()}
    yield from description_problems(described, network, num_inputs, num_channels)
    for name, array in base.items():
        if array.dtype.name in BASE_DTYPES and not np.isfinite(array).all():
            yield f"{name} holds values that are not finite"


def description_problems(
    described: Mapping[str, tuple[str, tuple[int, ...]]], network: NetworkConfig, num_inputs: int, num_channels: int
) -> Iterator[str]:
    """What keeps arrays of these dtypes and shapes from being the base of this network, in words."""
    if num_channels != (expected := CHANNELS_OF_HEAD.get(network.head, num_channels)):
        yield f"found {num_channels} channels, expected {expected}, since the head is {network.head}"
    found = {name: shape for name, (_, shape) in described.items() if name not in (RATES, MOMENTA)}
    if network.depth > len(found):  # by far, perhaps: no names are made for so many layers
        yield f"found {len(found)} arrays of base weights, expected those of {network.depth} layers"
        return
    yield from differences(found, base_shapes(network, num_inputs, num_channels))
    rates = described[RATES][1] if RATES in described else ()
    if len(rates) != 2 or rates[1] != network.modulation_size or rates[0] > MOST_FIT_STEPS:
        yield f"{RATES} has shape {rates}, expected (steps, {network.modulation_size})"
    elif MOMENTA in described and described[MOMENTA][1] != rates:  # format version 1 has no momenta
        yield f"{MOMENTA} has shape {described[MOMENTA][1]}, expected that of {RATES}, {rates}"
    for name, (dtype, _) in described.items():
        if dtype not in BASE_DTYPES:
            yield f"{name} has dtype {dtype}, expected one of {BASE_DTYPES}"


def base_shapes(network: NetworkConfig, num_inputs: int, num_channels: int) -> dict[str, tuple[int, ...]]:
    """Shape of every array of base weights; kernels are (input, output)."""
    inputs = [num_inputs] + [network.width] * (network.depth - 1)
    layers = [(f"sine_{i}", network.width) for i in range(network.depth - 1)] + [("linear", num_channels)]
    sizes = {name: (fan_in, fan_out) for fan_in, (name, fan_out) in zip(inputs, layers, strict=True)}
    if network.modulation_dim is not None:
        sizes["map"] = (network.modulation_dim, network.num_shifts)
    return {f"{name}/kernel": size for name, size in sizes.items()} | {f"{n}/bias": s[1:] for n, s in sizes.items()}


def describe_array(array: np.ndarray) -> BaseArray:
    """What the attributes of a store say about an array of the base."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return BaseArray(dtype=array.dtype.name, shape=array.shape, sha256=hashlib.sha256(little.tobytes()).hexdigest())
