"""Agreement of a store with a conversion, or with the archive that it was converted from."""

import dataclasses
import importlib.metadata
import json
import platform
from typing import Any

from functa_store.config import ConvertConfig, ModulationDtype, differences, to_dict
from functa_store.errors import StoreMismatchError
from functa_store.sources.source import Source
from functa_store.store.format.spec import StoreSpec, examples_sha256

LIBRARIES = ("functa-store", "jax", "jaxlib", "flax", "optax", "numpy", "pillow", "zarr")


def identify(source: Source, config: ConvertConfig) -> dict[str, Any]:
    """What must agree for an interrupted conversion to go on."""
    return {"config": to_dict(config), **_of_source(source, {"versions": versions()})}


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the bytes of a store, and of Python."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return found | {"python": platform.python_version()}


def differences_from_conversion(
    spec: StoreSpec, source: Source, config: ConvertConfig, modulation_dtype: ModulationDtype
) -> list[str]:
    """In what a complete store differs from what a conversion makes, but for what is decided on its way."""
    outer, fit = spec.config.outer, spec.config.fit
    decided = {name: value for name, value in to_dict(fit).items() if getattr(config.fit, name) is None}
    if fit.tuning_steps == 0:  # none of the steps that were tuned was better
        decided["tuning_steps"] = 0
    expected = dataclasses.replace(
        config,
        outer=dataclasses.replace(config.outer, num_steps=config.outer.num_steps or outer.num_steps, time_budget=None),
        fit=dataclasses.replace(config.fit, **decided),
        modulation_dtype=modulation_dtype,
    )
    found = {"config": to_dict(spec.config), **_of_store(spec)}
    return list(differences(_as_json(found), _as_json(identify(source, expected))))


def check_same_archive(name: str, spec: StoreSpec, source: Source) -> None:
    """Refuse a source that a store was not converted from.

    The name of the archive, versions of libraries and what newer versions of a converter keep do not count.

    Args:
        name: Path or URL of the store, for the message.
        spec: What it says about itself.
        source: The examples.

    Raises:
        StoreMismatchError: If examples, labels, or how they were read differ.
    """
    found, expected = _of_source(source), _of_store(spec)
    keys = found["provenance"].keys() - {"archive"}
    for one in (found, expected):
        provenance = one.pop("provenance")
        one["archive"] = {key: provenance.get(key) for key in keys}
    if wrong := list(differences(found, expected)):
        raise StoreMismatchError(
            f"{name}: was converted from another archive, or with other options: {'; '.join(wrong[:5])}. "
            "Name the archive that it was converted from, and files that its options named (--option labels=FILE)."
        )


def _of_source(source: Source, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a source gives a store, with more for its provenance."""
    return {
        "domain": to_dict(source.domain),
        "features": to_dict(source.features),
        "examples": {"count": len(source.ids), "sha256": examples_sha256(source)},
        "provenance": {**source.provenance, **(more or {})},
    }


def _of_store(spec: StoreSpec) -> dict[str, Any]:
    """The same as a store keeps it."""
    return {
        "domain": to_dict(spec.domain),
        "features": to_dict(spec.features),
        "examples": to_dict(spec.examples),
        "provenance": dict(spec.provenance),
    }


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value))
