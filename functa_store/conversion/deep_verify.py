"""Comparison of a functaset with the archive that it was converted from."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from functa_store.config import differences, to_dict
from functa_store.decode.functaset import Functaset
from functa_store.errors import StoreMismatchError
from functa_store.learn.inner_loop import reconstruction_error
from functa_store.learn.observers import num_step_rows, observer_of
from functa_store.learn.tiling import all_points, tile_points, tile_rows
from functa_store.nets.siren import from_weights
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly_to_both_ends
from functa_store.store.format.spec import StoreSpec, examples_sha256

SAMPLE = 64
"""Examples that are decoded, evenly spread."""


def check_same_archive(name: str, spec: StoreSpec, source: Source) -> None:
    """Refuse a source that a store was not converted from.

    Args:
        name: Path or URL of the store, for the message.
        spec: What it says about itself.
        source: The examples.

    Raises:
        StoreMismatchError: If examples, labels, or how they were read differ.
    """
    expected = {
        "domain": to_dict(spec.domain),
        "features": to_dict(spec.features),
        "examples": to_dict(spec.examples),
        "archive": {key: spec.provenance.get(key) for key in source.provenance if key != "archive"},
    }
    found = {
        "domain": to_dict(source.domain),
        "features": to_dict(source.features),
        "examples": {"count": len(source.ids), "sha256": examples_sha256(source)},
        "archive": {key: value for key, value in source.provenance.items() if key != "archive"},
    }
    if wrong := list(differences(found, expected)):
        raise StoreMismatchError(
            f"{name}: was converted from another archive, or with other options: {'; '.join(wrong[:5])}. "
            "Name the archive that it was converted from."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Disagreement:
    """How far errors that a store keeps are from those of what it decodes.

    Attributes:
        examples: Examples that were decoded.
        worst: The largest difference, relative to what is allowed; above 1 something is wrong.
        id: The example that it belongs to.
    """

    examples: int
    worst: float
    id: str


def worst_disagreement(functaset: Functaset, source: Source) -> Disagreement:
    """Look at a sample as its fit did, from what is stored, and compare its errors with the stored ones.

    Sums may be in another order than those of the fit, which allows for one part in a thousand. Rounding changes the
    decoded values by a root mean square r and so the error m by at most r^2 + 2 r sqrt(m) (Cauchy-Schwarz); r^2
    is taken as four times the largest that was measured when the store was rounded.

    Raises:
        StoreMismatchError: If the source has not the functaset's examples.
        StoreFormatError: If a shard is damaged.
    """
    store, features = functaset.store, functaset.features
    places = {name: i for i, name in enumerate(source.ids)}
    if any(str(name) not in places for name in store.ids[:]):
        raise StoreMismatchError(f"{store.path}: was converted from other examples; name the archive that it is from.")
    if not len(functaset):
        return Disagreement(examples=0, worst=0.0, id="")
    chosen = evenly_to_both_ends(len(functaset), SAMPLE)
    ids, stored = [str(name) for name in store.ids[chosen]], store.mse[chosen].astype(np.float64)
    found = _errors(functaset, source, chosen, [places[name] for name in ids])
    squared = 4 * (store.spec.rounding_loss.mse_max if store.spec.rounding_loss else 0.0)
    allowed = 1e-3 * stored + 1e-9 * features.span**2 + squared + 2 * np.sqrt(squared * stored)
    ratio = np.abs(found - stored) / allowed
    return Disagreement(examples=len(chosen), worst=float(ratio.max()), id=ids[int(ratio.argmax())])


def _errors(functaset: Functaset, source: Source, examples: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Mean squared error of each example over what its fit saw, which lies at a place of the source."""
    observer, network = observer_of(source.domain, source.features), functaset.config.network
    view = all_points(num_step_rows(observer), tile_rows(tile_points(functaset.config.fit.tile_points), observer))
    sizes = source.domain.num_inputs, source.features.num_channels
    graph, state = nnx.split(from_weights(network, *sizes, functaset.base))

    @jax.jit
    def error(state: nnx.State, modulation: jax.Array, raw: jax.Array) -> jax.Array:
        base = nnx.merge(graph, state)
        target = observer.look(raw, view.points, view.weights, None)
        return reconstruction_error(observer.predict, base, base.shifts(modulation), target)

    batches = BatchReader(source, cache_bytes=0).batches(np.array([place]) for place in places)
    pairs = zip(functaset.modulations[examples], batches, strict=True)
    return np.array([error(state, modulation, raw[0]) for modulation, raw in pairs], np.float64)
