"""Arrays beside the shards: names of base weights, units of metrics, bytes of a chunk."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np
from numcodecs.vlen import VLenUTF8
from numcodecs.zstd import Zstd

from functa_store.config import (
    CHANNELS_OF_HEAD,
    MOST_FIT_STEPS,
    BaseDtype,
    NetworkConfig,
    differences,
)
from functa_store.metrics import Metric, columns_of
from functa_store.sources.features import FeatureSpec

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
    if len(rates) != 2 or rates[1] != network.cell_size or rates[0] > MOST_FIT_STEPS:
        yield f"{RATES} has shape {rates}, expected (steps, {network.cell_size})"
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
        sizes["map"] = (network.map_inputs, network.num_shifts)
    kernels = {f"{name}/kernel": size for name, size in sizes.items()}
    biases: dict[str, tuple[int, ...]] = {f"{name}/bias": (fan_out,) for name, (_, fan_out) in sizes.items()}
    if "map" in sizes:
        biases["map/bias"] = network.bias_shape
    return kernels | biases


def describe_array(array: np.ndarray) -> BaseArray:
    """What the attributes of a store say about an array of the base."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return BaseArray(dtype=array.dtype.name, shape=array.shape, sha256=hashlib.sha256(little.tobytes()).hexdigest())


HELD_OUT, PSNR_HELD_OUT = "mse_held_out", "psnr_held_out"
"""The column whose values also have a PSNR, and what that is called."""

LONG_NAMES: Mapping[Metric, str] = {
    "iou": "intersection over union of what is above 0.5",
    "accuracy": "share of the points that are on the same side of 0.5",
    "rmse": "root mean squared error",
    "mse_held_out": "mean squared error of features that the fit did not see",
}


def metric_attributes(spec: FeatureSpec) -> dict[str, dict[str, str]]:
    """`long_name` and `units` of each column, in order."""
    found = {
        column: {"long_name": LONG_NAMES[metric], "units": "1"}
        for metric in spec.metrics
        for column in columns_of(metric, spec.channels)
    }
    for column, channel, unit in zip(columns_of("rmse", spec.channels), spec.channels, spec.units, strict=True):
        if column in found:
            found[column] = {"long_name": f"{LONG_NAMES['rmse']} of {channel}", "units": unit}
    return found


def summary_units(spec: FeatureSpec) -> dict[str, str]:
    """The unit of every number that a store keeps of a whole split: its columns, and the PSNR of what was held out."""
    units = {column: attributes["units"] for column, attributes in metric_attributes(spec).items()}
    return units | ({PSNR_HELD_OUT: "dB"} if HELD_OUT in units else {})


AUGMENTATION_ATTRIBUTES: Mapping[str, dict[str, str]] = {
    "augmentation_of": {"long_name": "row of the example that this one is an augmentation of; its own of an original"},
    "augmentation_flip": {"long_name": "whether left and right are exchanged"},
    "augmentation_top": {
        "long_name": "upper edge of the part cut out, in heights of the original",
        "units": "1",
    },
    "augmentation_left": {"long_name": "left edge of that part, in widths of the original", "units": "1"},
    "augmentation_side": {"long_name": "height and width of that part, in those of the original", "units": "1"},
}


BYTES_PER_TEXT, FREE_TEXT_BYTES = 4096, 2**20
"""A chunk of n texts may have n times the first, and the second in any case."""

FREE_BYTES, MOST_EXPANSION = 2**24, 256
"""A chunk of more bytes than the first may be as many times longer than it is compressed as the second: weights are
1.1 times, and a stranger's zeros 30,000 times."""

TEXT = np.dtypes.StringDType()


def codecs_of(data_type: str) -> list[dict[str, Any]]:
    """The codecs that this project writes."""
    if data_type == "string":
        first: dict[str, Any] = {"name": "vlen-utf8", "configuration": {}}
    elif np.dtype(data_type).itemsize == 1:
        first = {"name": "bytes"}
    else:
        first = {"name": "bytes", "configuration": {"endian": "little"}}
    return [first, {"name": "zstd", "configuration": {"checksum": False}}]


def text_limit(count: int) -> int:
    """Most bytes that a chunk of so many strings may have before it is compressed."""
    return FREE_TEXT_BYTES + BYTES_PER_TEXT * count


def packed_limit(length: int) -> int:
    """Most bytes that zstd makes of so many."""
    return length + length // 128 + 4096


def numbers_of(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The numbers of a chunk.

    Args:
        data: Its bytes as they are stored.
        shape: Of the chunk.
        dtype: In the byte order of this machine; stored is little endian.

    Raises:
        ValueError: If the bytes are not those of so many numbers.
        RuntimeError: If zstd cannot read them.
    """
    length = math.prod(shape) * dtype.itemsize
    unpacked = _unpack(data, length, exactly=True)
    return np.frombuffer(unpacked, dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)


def texts_of(data: bytes, count: int) -> np.ndarray:
    """The strings of a chunk; raises as `numbers_of` does."""
    unpacked = _unpack(data, text_limit(count), exactly=False)
    if (found := int.from_bytes(unpacked[:4], "little")) != count:
        raise ValueError(f"a chunk of {found} strings, expected {count}")
    return np.array(list(VLenUTF8().decode(unpacked)), TEXT)


def _unpack(data: bytes, length: int, *, exactly: bool) -> bytes:
    size = zstd_size(data)
    if size is None or size > length or (exactly and size != length):
        raise ValueError(f"its zstd frame declares {size} bytes, expected {length}")
    if size > max(FREE_BYTES, MOST_EXPANSION * len(data)):
        raise ValueError(f"its {len(data):,} bytes declare {size:,}, more than {MOST_EXPANSION} times as many")
    return bytes(Zstd().decode(data, out=np.empty(size, np.uint8)))  # another frame may follow the first


def zstd_size(data: bytes) -> int | None:
    """Bytes that a zstd frame says it holds; None if it is no frame, or does not say (RFC 8878, section 3.1.1)."""
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = data[4]
    single_segment, dictionary = descriptor >> 5 & 1, (0, 1, 2, 4)[descriptor & 3]
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    if not width:
        return None
    start = 5 + (1 - single_segment) + dictionary
    size = int.from_bytes(data[start : start + width], "little")
    return size + 256 if width == 2 else size
