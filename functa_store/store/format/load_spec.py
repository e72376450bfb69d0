"""Reading and checking of a store's root, and migration of older format versions."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from functa_store.config import (
    MOST_NUMBERS,
    FitConfig,
    NetworkConfig,
    differences,
    from_dict,
    to_dict,
)
from functa_store.domains.domain import check_grid, network_inputs
from functa_store.errors import NoFunctasetError, StorageError, StoreFormatError
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.manifest import ARRAYS_VERSION, manifest_problems
from functa_store.store.format.parts import PARTS_VERSION, PartRecord, read_parts
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.side_arrays import summary_units
from functa_store.store.format.spec import (
    FORMAT_VERSION,
    IDENTITY,
    ROOT,
    StoreSpec,
    sha256_json,
)
from functa_store.store.storage.objects import Objects, check_key
from functa_store.store.storage.writer_lock import CONVERSION, EXACT_STORE, WORK_SUFFIX

MOST_EXAMPLES, MOST_SHARDS, MOST_CHUNKS = 10**12, 10**6, 2**20
"""Far more examples, shards, and chunks of a shard than can be meant."""

CHECKSUMMED = range(3, FORMAT_VERSION + 1)
"""Versions whose root has a checksum."""

MOST_EXPLAINED_BYTES = 2**15
"""Longest metadata of which all problems are looked for."""

MOST_JSON_BYTES = 256 * 2**20
"""Longest metadata that is read; a million shards take half of it."""


def load_spec(objects: Objects) -> StoreSpec:
    """Read and check the attributes of a store, not of parts that its root lists.

    Raises:
        StoreFormatError: If there is no functaset that this release can read.
        StorageError: If the place cannot be read.
    """
    return load_root(objects)[0]


def load_root(objects: Objects) -> tuple[StoreSpec, tuple[PartRecord, ...]]:
    """The same, and the parts that its root lists.

    Raises:
        StoreFormatError: If there is no functaset that this release can read.
        StorageError: If the place cannot be read.
    """
    attributes, size = read_root(objects)
    parts: tuple[PartRecord, ...] = ()
    if attributes.get("format_version") == PARTS_VERSION:
        try:
            attributes, parts = read_parts(attributes)
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(objects.name, str(error)) from error
        attributes = {key: value for key, value in attributes.items() if key != "checksum"}
    spec = parse_spec(objects.name, attributes, brief=size > MOST_EXPLAINED_BYTES)
    if parts and not spec.complete:
        raise _damaged(objects.name, "the functaset is unfinished, but followed by parts")
    return spec, parts


def read_root(objects: Objects) -> tuple[dict[str, Any], int]:
    """The attribute `functa` of a store's root without its checksum, which is compared, and the bytes of the root.

    Raises:
        StoreFormatError: If there is no functaset, or the root is damaged.
        StorageError: If the place cannot be read.
    """
    name = objects.name
    try:
        data = objects.read(ROOT, MOST_JSON_BYTES)
        root = json.loads(data)
    except FileNotFoundError as error:
        raise _nothing(objects) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, StoreFormatError):
            raise
        raise StoreFormatError(f"{name}/{ROOT}: no valid JSON ({error}); copy or convert again.") from error
    attributes = root.get("attributes") if isinstance(root, dict) else None
    attributes = attributes.get("functa") if isinstance(attributes, dict) else None
    if not isinstance(attributes, dict):
        raise NoFunctasetError(
            f"{name}: a Zarr node, but no functaset: its attributes lack the key 'functa'. Open it with zarr.open."
        )
    checksum = attributes.pop("checksum", None)
    if attributes.get("format_version") in CHECKSUMMED and checksum != _sha256(name, root):
        raise StoreFormatError(f"{name}/{ROOT}: damaged: its checksum is not that of what it says. Copy it again.")
    return attributes, len(data)


def _nothing(objects: Objects) -> NoFunctasetError:
    """The error for a path where no store is; says what is there."""
    work = objects.sibling(WORK_SUFFIX)
    found = "no Zarr v3 group" if _holds_something(objects) else "nothing"
    if _is_there(work, CONVERSION):
        found = "a conversion that is learning or was interrupted (the same command goes on with it)"
        if _is_there(work, f"{EXACT_STORE}/{ROOT}"):
            found += f"; what is fitted so far is at {work.name}/{EXACT_STORE}"
    return NoFunctasetError(f"{objects.name}: found {found}, expected a functaset; check the path.")


def _holds_something(objects: Objects) -> bool:
    try:
        return bool(objects.sizes())
    except (StorageError, StoreFormatError):  # it is no folder, or a web server, which lists nothing
        return True


def _is_there(work: Objects, key: str) -> bool:
    try:
        return work.size(key) is not None
    except (StorageError, StoreFormatError):
        return False


def parse_spec(name: str, attributes: Mapping[str, Any], *, brief: bool = False) -> StoreSpec:
    """Turn the attribute `functa` into a specification, refusing whatever it would not write itself.

    Args:
        name: Where it is from, for messages.
        attributes: Without the checksum.
        brief: Name the first problem only; see `from_dict`.

    Raises:
        StoreFormatError: If the format is newer, or an attribute is missing, unknown, malformed or absurd.
    """
    version = attributes.get("format_version")
    if type(version) is not int or version < 1:
        raise StoreFormatError(
            f"{name}: format_version is {repr(version)[:100]}, expected a positive integer; convert again."
        )
    if version > FORMAT_VERSION:
        raise NoFunctasetError(
            f"{name}: format version {str(version)[:100]}, but this release reads versions up to {FORMAT_VERSION}. "
            "Upgrade functa-store."
        )
    try:
        current = dict(attributes)
        if version == PARTS_VERSION:
            raise ValueError(f"format version {version} is that of a root that lists parts, which this one does not")
        for older, migrate in _MIGRATIONS.items():
            current = migrate(current) if older >= version else current
        spec = from_dict(StoreSpec, current, brief=brief)
        damage = next(differences(current, spec.to_attributes()["functa"]), None) or next(_absurdities(spec), None)
    except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError, RecursionError) as error:
        raise _damaged(name, str(error)) from error
    if damage:
        raise _damaged(name, damage)
    if spec.fingerprint != _sha256(name, {key: attributes[key] for key in IDENTITY if key in attributes}):
        raise _damaged(name, "the fingerprint does not belong to the other attributes; they were edited")
    return spec


def _sha256(name: str, value: Any) -> str:
    """SHA-256 of a stranger's JSON, which may be deeper than can be written, or hold text that is no Unicode."""
    try:
        return sha256_json(value)
    except (ValueError, RecursionError) as error:
        raise _damaged(name, str(error)) from error


def _damaged(name: str, what: str) -> StoreFormatError:
    return StoreFormatError(f"{name}/{ROOT}: damaged attributes: {what[:500]}. Copy or convert again.")


def _absurdities(spec: StoreSpec) -> Iterator[str]:
    """What no writer would write, and no reader can read; sizes first, since others multiply them."""
    network, layout, count = spec.config.network, spec.layout, spec.examples.count
    rows = (layout.rows_per_shard, layout.rows_per_chunk, layout.mse_rows_per_chunk)
    if not 1 <= count <= MOST_EXAMPLES:
        yield f"examples.count is {count}, expected 1 to {MOST_EXAMPLES}"
    elif any(n < 1 or n & (n - 1) or n > rows[0] for n in rows):
        yield f"layout has {rows} rows, expected powers of two, none larger than a shard's"
    elif rows[0] // min(rows[1:]) > MOST_CHUNKS:
        yield f"layout has {rows} rows, expected at most {MOST_CHUNKS} chunks in a shard"
    elif layout.num_shards(count) > MOST_SHARDS:
        yield f"{count} examples in shards of {rows[0]} are more than {MOST_SHARDS} shards"
    elif not _numbers(network, spec) <= MOST_NUMBERS or rows[0] * _longest_row(spec) > MOST_NUMBERS:
        yield f"a network or shard has more than {MOST_NUMBERS} numbers"
    else:
        yield from _contradictions(spec)


def _numbers(network: NetworkConfig, spec: StoreSpec) -> int:
    """An upper bound on the numbers of the base network."""
    inputs = network.width + network_inputs(spec.domain, network) + spec.features.num_channels + network.map_inputs
    return network.depth * network.width * (inputs + 1) + math.prod(network.bias_shape)


def _longest_row(spec: StoreSpec) -> int:
    return max(spec.config.network.modulation_size, len(spec.features.columns))


def _contradictions(spec: StoreSpec) -> Iterator[str]:
    stored = spec.config.modulation_dtype
    expected = {name: to_dict(array) for name, array in spec.rounding.items()}
    size = spec.config.network.cell_size
    wanted = ("offset", "scale") if stored == "int8" else ()
    if tuple(sorted(spec.rounding)) != wanted or any(
        (array.dtype, array.shape) != ("float32", (size,)) for array in spec.rounding.values()
    ):
        yield f"rounding describes {expected}, but modulations are {stored}"
    columns = summary_units(spec.features).keys()
    for split, quality in spec.quality.items():
        if quality.metrics.keys() != columns:
            yield f"quality.{split}.metrics has {list(quality.metrics)}, expected {list(columns)}"
    head = spec.config.network.head
    if spec.domain.head != head:
        yield f"the network's head is {head!r}, expected {spec.domain.head!r}, since the head is that of the domain"
    check_grid(spec.domain, spec.config.network)
    for key in spec.manifest:
        check_key(key)
    if spec.format_version >= ARRAYS_VERSION:
        yield from manifest_problems(spec)
    elif spec.complete:
        described, shards = spec.tables(Rounding(stored)), range(spec.layout.num_shards(spec.examples.count))
        for key, table in ((table.key(i), table) for table in described.values() for i in shards):
            if key not in spec.manifest or spec.manifest[key].bytes != table.shard_bytes:
                yield f"the manifest has {spec.manifest.get(key)} for {key}, expected {table.shard_bytes} bytes"


def _from_version_1(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Say what version 1 left unsaid: examples were fitted by the steps of learning, each on the whole grid."""
    config = attributes["config"]
    fit = to_dict(FitConfig(num_steps=config["inner"]["num_steps"], stride=1, tuning_steps=0))
    outer = _with(config["outer"], "config.outer", microbatch_size=None)
    config = _with({**config, "outer": outer}, "config", fit=fit, matmul_precision="float32")
    return {**attributes, "config": config}


def _from_version_2(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Say what version 2 left unsaid: nothing is rounded."""
    config = _with(attributes["config"], "config", modulation_dtype="float32", base_dtype="float32")
    return _with({**attributes, "config": config}, "functa", rounding={}, rounding_loss=None)


def _from_version_3(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Say what version 3 left unsaid: grids of cells have no physical length, values are features."""
    axes, features = attributes["domain"]["axes"], dict(attributes["features"])
    physical = {"lengths": [1.0] * len(axes), "units": ["1"] * len(axes)}
    domain = _with(attributes["domain"], "domain", kind="cells", **physical)
    features["units"] = [features["units"]] * len(features["channels"])
    features = json.loads(json.dumps(to_dict(from_dict(FeatureSpec, features)))) | features
    network = _with(attributes["config"]["network"], "config.network", head="linear")
    config = {**attributes["config"], "network": network}
    quality = {split: {"metrics": {}, **figures} for split, figures in attributes["quality"].items()}
    return {**attributes, "domain": domain, "features": features, "config": config, "quality": quality}


def _from_version_4(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Say what version 4 left unsaid: features of 1 counted as much as those of 0."""
    return {**attributes, "config": _with(attributes["config"], "config", weight_of_ones=1.0)}


def _from_version_5(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Say what version 5 left unsaid: a modulation is one vector."""
    vector = {"modulation_grid": None, "lookup": "nearest", "map_kernel": 1}
    network = _with(attributes["config"]["network"], "config.network", **vector)
    return {**attributes, "config": {**attributes["config"], "network": network}}


def _from_version_6(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Say what version 6 left unsaid: cells of a grid share the bias of their map."""
    network = _with(attributes["config"]["network"], "config.network", map_bias="shared")
    return {**attributes, "config": {**attributes["config"], "network": network}}


def _from_version_7(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Say what version 7 left unsaid: the manifest has all files, none is in arrays."""
    return _with(attributes, "functa", manifest_sha256=None)


def _with(fields: Mapping[str, Any], where: str, **new: Any) -> dict[str, Any]:
    """Fields and what a later version says beside them.

    Raises:
        ValueError: If they say it already, which no writer of their version did.
    """
    if unknown := sorted(fields.keys() & new.keys()):
        raise ValueError(f"{where}.{unknown[0]} is there, but no field of this version")
    return {**fields, **new}


_MIGRATIONS: Mapping[int, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    1: _from_version_1,
    2: _from_version_2,
    3: _from_version_3,
    4: _from_version_4,
    5: _from_version_5,
    6: _from_version_6,
    7: _from_version_7,
}
"""What makes the description of a version one of the next; version 8 is that of roots that list parts."""
