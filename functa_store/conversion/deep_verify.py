"""Deep verification: errors that a functaset and its parts keep, against those of what they decode beside archives."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from functa_store.conversion.agreement import another_archive, is_of_points
from functa_store.conversion.encode import AtPoints, OfBase, as_seen, check_fits
from functa_store.conversion.part_examples import agreeing, as_stored
from functa_store.decode.functaset import Functaset, opened
from functa_store.errors import ArchiveError, ConfigError, StoreExistsError, StoreMismatchError
from functa_store.learn.inner_loop import reconstruction_error
from functa_store.learn.observer import num_step_rows
from functa_store.learn.observers import observer_of
from functa_store.learn.tiling import tile_rows
from functa_store.nets.siren import network_of
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source, check_source
from functa_store.sources.splits import evenly_to_both_ends
from functa_store.store.format.parts import is_part, part_name
from functa_store.store.reading.joined_store import JoinedStore
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import archive_of
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions

SAMPLE = 64
"""Examples of a store that are decoded, evenly spread."""

SAMPLE_OF_KNOWN = 8
"""The same, where the examples of an archive are compared with those of the same names in a functaset."""

TOLERANCE, TOLERANCE_OF_KNOWN = 1e-3, 0.1
"""How far errors may be from stored ones, relative to these: of the same archive, and of examples of the same names."""

OWN = "."
"""What the store at the path itself is called beside the parts that follow it."""


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepVerdict:
    """What decoding examples of a functaset beside its archives showed, store by store.

    Stores are "." for what lies at the path itself, and parts by their names.

    Attributes:
        compared: How far errors are from what they should be.
        grown: Stores among these whose archive is not what it was, but still has their examples, and in what it
            differs. Their values are those that were fitted, as far as they were looked at.
        left: Stores that no archive which was given is of, and which archive each needs.
    """

    compared: dict[str, Disagreement]
    grown: dict[str, str]
    left: dict[str, str]

    @property
    def worst(self) -> Disagreement:
        """The worst one of all stores, with the number of examples of all."""
        worst = max(self.compared.values(), key=lambda found: found.worst)
        return dataclasses.replace(worst, examples=sum(found.examples for found in self.compared.values()))


def verify_deep(
    source: Source | Sequence[Source], functaset: Functaset | Location, *, storage: StorageOptions = NO_OPTIONS
) -> DeepVerdict:
    """Decode up to 64 examples of a functaset, and of each of its parts, and compare their errors with the stored ones.

    Which archive a part was fitted to is told by its ids, labels and checksum. An archive that has grown since is known
    by the examples themselves: where it has all those of a part, and these decode to what it holds.

    Args:
        source: The examples that it was converted from, such as `reopen_archive` gives them; several where parts are of
            other archives, or where an archive may have been read in one of several ways.
        functaset: An open one, or where it is; of an unfinished one the examples that are finished are compared.
        storage: How to reach it.

    Returns:
        How far errors are from what they should be; above 1 modulations are not those of their examples.

    Raises:
        ArchiveError: If a source is none, or contradicts itself.
        ConfigError: If there is no source, or the functaset lies in no place of its own.
        StoreExistsError: If it is a part of another.
        StoreMismatchError: If a source is none that it was converted from.
        StoreFormatError: If it is damaged.
        StorageError: If the place cannot be read.
    """
    sources, whole = checked_sources(source), opened(functaset, storage)
    store, name = whole.store, whole.store.objects.name
    if is_part(name):
        raise StoreExistsError(f"{name}: is a part of a functaset; verify that one.")
    stores = store.stores if isinstance(store, JoinedStore) else [store]
    found, used = DeepVerdict(compared={}, grown={}, left={}), set[int]()
    for number, one in enumerate(stores):
        before = None if number == 0 else JoinedStore(stores[:number])
        examples, wrong = agreeing(sources, one.spec, before, lambda: Functaset(stores[0]))
        key = OWN if number == 0 else part_name(number)
        if examples is not None:
            used.add(len(wrong))
            found.compared[key] = worst_disagreement(Functaset(one), examples)
            continue
        if len(stores) == 1:
            raise another_archive(name, one.spec, min(wrong, key=len))
        for place, candidate in enumerate(sources):
            if (grown := _of_grown(candidate, one, Functaset(stores[0]))) is not None:
                used.add(place)
                found.compared[key], found.grown[key] = grown, "; ".join(wrong[place][:5])
                break
        else:
            found.left[key] = archive_of(one.spec.provenance)
    known = {_archive(sources[place]) for place in used}
    if unknown := [one for one in sources if _archive(one) not in known]:
        needed = "; ".join(f"{key}: {what}" for key, what in found.left.items())
        told = f"Those that were not given are {needed}." if needed else "All of these were given."
        raise StoreMismatchError(
            f"{name}: {unknown[0].provenance['archive']} is none of the archives that it was converted from. {told} "
            "Files that options named are given by --option (labels=FILE)."
        )
    return found


def _archive(source: Source) -> tuple[Any, Any]:
    """Which archive a source reads, however it reads it."""
    return source.provenance["archive"], source.provenance.get("sha256")


def checked_sources(source: Source | Sequence[Source]) -> list[Source]:
    """One source or several as a list.

    Raises:
        ArchiveError: If one is no source, or contradicts itself.
        ConfigError: If there is none.
    """
    several: Any = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    sources: list[Source] = list(several)
    if not sources:
        raise ConfigError("no source was given, expected one, or a list of several")
    for one in sources:
        check_source(one, to_learn=False)
    return sources


def _of_grown(source: Source, store: StoreReader, base: Functaset) -> Disagreement | None:
    """How far errors are from those of an archive that is not what it was; None if it is another one."""
    if not {str(name) for name in store.ids[:]}.issubset(map(str, source.ids)):
        return None
    examples = as_stored(source, store.spec, lambda: base)
    if isinstance(examples, OfBase):
        try:
            check_fits(source, base)
        except ArchiveError:
            return None
    elif (source.domain, source.features) != (store.spec.domain, store.spec.features):
        return None
    found = worst_disagreement(Functaset(store), examples)
    return found if found.worst <= 1 else None


def worst_disagreement(functaset: Functaset, source: Source) -> Disagreement:
    """Look at a sample as its fit did, from what is stored, and compare its errors with the stored ones.

    Sums may be in another order than those of the fit, which allows for one part in a thousand. Rounding changes the
    decoded values by a root mean square r and so the error m by at most r^2 + 2 r sqrt(m) (Cauchy-Schwarz); r^2
    is taken as four times the largest that was measured when the store was rounded.

    Raises:
        StoreMismatchError: If the source has not the functaset's examples.
        StoreFormatError: If a shard is damaged.
    """
    store = functaset.store
    places = {name: i for i, name in enumerate(source.ids)}
    if any(str(name) not in places for name in store.ids[:]):
        raise StoreMismatchError(f"{store.path}: was converted from other examples; name the archive that it is from.")
    if not len(functaset):
        return Disagreement(examples=0, worst=0.0, id="")
    chosen = evenly_to_both_ends(len(functaset), SAMPLE)
    ids = [str(name) for name in store.ids[chosen]]
    ratio = _ratios(functaset, source, chosen, [places[name] for name in ids])
    return Disagreement(examples=len(chosen), worst=float(ratio.max()), id=ids[int(ratio.argmax())])


def first_differing_id(source: Source, grown: StoreReader, base: Functaset) -> str | None:
    """The id of an example that a source and a functaset both have, with other values in each; None if none is known.

    Up to `SAMPLE_OF_KNOWN` are decoded, unless the source is an archive that the functaset is of by its checksum. Their
    errors may differ by more than those of `verify_deep`, as other releases of a library read pictures a little
    otherwise. Not compared is what cannot be: all, if the source samples its examples at other points than the
    functaset; examples that may have been fitted at other points, see `is_of_points`; and those of unknown errors.

    Args:
        source: The examples.
        grown: The functaset, with its parts.
        base: The same without its parts.
    """
    stores = grown.stores if isinstance(grown, JoinedStore) else [grown]
    if source.provenance.get("sha256") in {one.spec.provenance.get("sha256") for one in stores} - {None}:
        return None
    if source.domain != base.domain:
        return None
    names, places = np.asarray(grown.ids).tolist(), {str(name): place for place, name in enumerate(source.ids)}
    comparable = np.repeat([is_of_points(one.spec) for one in stores], list(map(len, stores)))
    known = [row for row in np.flatnonzero(comparable).tolist() if str(names[row]) in places]
    if not known:
        return None
    chosen = np.array([known[k] for k in evenly_to_both_ends(len(known), SAMPLE_OF_KNOWN)])
    ids = [str(names[row]) for row in chosen]
    at = [places[name] for name in ids]
    ratio = _ratios(Functaset(grown), OfBase(source, base), chosen, at, tolerance=TOLERANCE_OF_KNOWN)
    return ids[int(np.nanargmax(ratio))] if (ratio > 1).any() else None


def _ratios(
    functaset: Functaset, source: Source, examples: np.ndarray, places: Sequence[int], tolerance: float = TOLERANCE
) -> np.ndarray:
    """Differences between stored errors and those of what is decoded, relative to what is allowed."""
    loss, stored = functaset.store.spec.rounding_loss, functaset.store.mse[examples].astype(np.float64)
    found = _errors(functaset, source, examples, places)
    squared = 4 * (loss.mse_max if loss else 0.0)
    allowed = tolerance * stored + 1e-9 * functaset.features.span**2 + squared + 2 * np.sqrt(squared * stored)
    return np.abs(found - stored) / allowed


def _errors(functaset: Functaset, source: Source, examples: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Mean squared error of each example over what its fit saw, which lies at a place of the source."""
    network, domain = functaset.config.network, functaset.domain
    seen = as_seen(source, functaset) if isinstance(source, OfBase) else source
    observer = seen.observer if isinstance(seen, AtPoints) else observer_of(seen.domain, seen.features, network)
    tile = tile_rows(functaset.config.fit.tile_points, observer.evaluations)
    view = observer.tiles(np.arange(num_step_rows(observer)), tile)
    graph, state = nnx.split(network_of(network, domain, functaset.features.num_channels, functaset.base))

    @jax.jit
    def error(state: nnx.State, modulation: jax.Array, raw: jax.Array) -> jax.Array:
        base = nnx.merge(graph, state)
        target = observer.look(raw, view.points, view.weights, None)
        return reconstruction_error(observer.predict, base, modulation, target)

    batches = BatchReader(seen, cache_bytes=0).batches(np.array([place]) for place in places)
    pairs = zip(functaset.modulations[examples], batches, strict=True)
    return np.array([error(state, modulation.ravel(), raw[0]) for modulation, raw in pairs], np.float64)
