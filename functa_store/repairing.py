"""How are the examples of damaged shards fitted again, and are the others what their errors say?"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import nnx

from functa_store.config import differences, to_dict
from functa_store.conversion import fit_shards
from functa_store.decode.functaset import Functaset
from functa_store.errors import StoreFormatError, StoreMismatchError
from functa_store.learn.fit import Fit
from functa_store.learn.inner_loop import Steps
from functa_store.learn.parallel import use_all_cores
from functa_store.learn.tuning import ReadyFit
from functa_store.nets.weights import from_weights
from functa_store.progress import Note, Report, silent
from functa_store.sources import Source, check_source
from functa_store.store.arrays import SmallArrays
from functa_store.store.base import MOMENTA, RATES
from functa_store.store.claim import sole_writer
from functa_store.store.inventory import Inventory, take_inventory
from functa_store.store.objects import NO_OPTIONS, Location, Objects, StorageOptions, open_objects
from functa_store.store.receipts import Receipts
from functa_store.store.rounding import Rounding
from functa_store.store.spec import ROOT, Contents, StoreSpec, examples_sha256, identity
from functa_store.store.verify import damage
from functa_store.store.writer import StoreWriter

SAMPLE = 64
"""Examples that are decoded by `worst_disagreement`."""


def repair(
    path: Location,
    source: Source,
    *,
    storage: StorageOptions = NO_OPTIONS,
    fit_batch_size: int | None = None,
    report: Report = silent,
) -> list[str]:
    """Write what is damaged in a complete functaset again, fitting the examples of its damaged shards.

    On the machine that converted them, shards get the bytes that they had; on another one, the last bits of
    modulations may differ, and the store's checksums are those of the new bytes. Interrupted at any moment, the
    same call goes on where it stopped.

    Args:
        path: The functaset.
        source: The examples that it was converted from.
        storage: How to reach a bucket.
        fit_batch_size: As for `convert`.
        report: Told of the progress.

    Returns:
        The objects that were written again.

    Raises:
        StoreFormatError: If the root or the base is damaged, which only another conversion can mend.
        StoreMismatchError: If the source is not the one that was converted.
        StoreExistsError: If another process is writing the store.
        StorageError: If the place cannot be read or written; what is written stays.
    """
    check_source(source)
    use_all_cores()
    with sole_writer(open_objects(path, storage)) as (store, _):
        there = take_inventory(store)
        records = there.records or {}
        damaged = damage(store, records)
        if there.spec.complete and not damaged:
            return []
        contents = _contents(store, there, source)
        if there.spec.complete:
            _reopen(store, there, contents, set(damaged))
        else:
            _forget(store, there, contents, set(damaged))
        with StoreWriter.resume_or_create(store, contents) as writer:
            ready = _ready(contents, source)
            if missing := writer.missing_shards():
                for shard, modulations, mse in fit_shards(
                    source, ready, missing, contents.config, fit_batch_size, report
                ):
                    writer.write(shard, modulations, mse)
        after = take_inventory(store).records or {}
        if changed := [key for key in damaged if after.get(key) != records[key]]:
            report(Note(message=f"{len(changed)} repaired files differ from what they were in their last bits"))
        return sorted(damaged)


def _contents(store: Objects, there: Inventory, source: Source) -> Contents:
    """What the store held, from its base and the source."""
    spec = there.spec
    small = SmallArrays(store, there.records)
    try:
        base = {name: small.read(f"base/{name}", array.shape) for name, array in spec.base.items()}
        rounding = {name: small.read(name, array.shape) for name, array in spec.rounding.items()}
    except StoreFormatError as error:
        raise StoreFormatError(
            f"{error} Only shards, ids, labels, rejects and statistics can be repaired; without its base, the archive "
            "must be converted again."
        ) from error
    _check_same(store, spec, source)
    contents = Contents(
        domain=source.domain,
        features=source.features,
        config=spec.config,
        base=base,
        ids=source.ids,
        split=source.split,
        labels=source.labels,
        rejects=source.rejects,
        provenance=spec.provenance,
        reference=spec.reference,
        rounding=Rounding(spec.config.modulation_dtype, **rounding),
        rounding_loss=spec.rounding_loss,
    )
    found = identity(contents.spec())
    wrong = [w for w in differences(identity(spec), found) if not w.startswith("format_version")]
    if wrong:
        raise StoreFormatError(f"{store.name}: its base or layout is damaged: {'; '.join(wrong[:3])}. Convert again.")
    return contents


def _check_same(store: Objects, spec: StoreSpec, source: Source) -> None:
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
            f"{store.name}: was converted from another archive, or with other options: {'; '.join(wrong[:5])}. "
            "Name the archive that it was converted from."
        )


def _reopen(store: Objects, there: Inventory, contents: Contents, damaged: set[str]) -> None:
    """Make a complete store one whose damaged shards are missing; receipts first, so that nothing is lost."""
    spec, manifest = contents.spec(), there.spec.manifest
    receipts, tables = Receipts(store, spec.fingerprint), spec.tables(contents.rounding).values()
    shards = {shard: [table.key(shard) for table in tables] for shard in there.shards}
    of_shards = {key for keys in shards.values() for key in keys}
    receipts.clear()
    receipts.write_skeleton(
        {key: file for key, file in manifest.items() if key not in of_shards and not key.startswith("statistics/")}
    )
    for shard, keys in shards.items():
        if damaged.isdisjoint(keys):
            receipts.write(shard, {key: manifest[key] for key in keys})
    store.write(ROOT, spec.to_root())


def _forget(store: Objects, there: Inventory, contents: Contents, damaged: set[str]) -> None:
    """Make the damaged shards of an unfinished store missing ones."""
    receipts = Receipts(store, there.spec.fingerprint)
    for shard in there.shards:
        if not damaged.isdisjoint(table.key(shard) for table in there.spec.tables(contents.rounding).values()):
            receipts.forget(shard)


def _ready(contents: Contents, source: Source) -> ReadyFit:
    """The fit as it was, from what the store keeps."""
    config, base = contents.config, {name: np.asarray(array, np.float32) for name, array in contents.base.items()}
    sizes = config.network, source.domain.num_axes, source.features.num_channels
    graph, state = nnx.split(from_weights(*sizes, base))
    fit = Fit(graph, config, source)
    rates = base[RATES]
    momenta = base.get(MOMENTA, np.zeros_like(rates))  # format version 1 had none
    steps = Steps(jnp.asarray(rates), jnp.asarray(momenta))
    return ReadyFit(fit, fit.prepare(state, steps), config.fit)


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
    """Decode a sample and compare its errors with the stored ones.

    Decoding sums in another order than the fit, which allows for one part in a thousand. Rounding changes the
    decoded values by a root mean square r and so the error m by at most r^2 + 2 r sqrt(m) (Cauchy-Schwarz); r^2
    is taken as four times the largest that was measured when the store was rounded.

    Raises:
        StoreMismatchError: If the source has not the functaset's examples.
        StoreFormatError: If a shard is damaged.
    """
    store, features = functaset.store, functaset.features
    if list(source.ids) != [str(name) for name in store.ids[:]] and store.complete:
        raise StoreMismatchError(f"{store.path}: was converted from other examples; name the archive that it is from.")
    places = {name: i for i, name in enumerate(source.ids)}
    chosen = np.unique(np.linspace(0, len(functaset) - 1, SAMPLE).astype(np.int64))
    ids, stored = [str(name) for name in store.ids[chosen]], store.mse[chosen].astype(np.float64)
    found = np.zeros(len(chosen))
    for i, example in enumerate(chosen):
        wanted = source.read(places[ids[i]]).astype(np.float64) * features.scale + features.offset
        found[i] = np.mean((functaset.decode(int(example))[0] - wanted) ** 2)
    squared = 4 * (store.spec.rounding_loss.mse_max if store.spec.rounding_loss else 0.0)
    allowed = 1e-3 * stored + 1e-9 * features.span**2 + squared + 2 * np.sqrt(squared * stored)
    ratio = np.abs(found - stored) / allowed
    return Disagreement(examples=len(chosen), worst=float(ratio.max()), id=ids[int(ratio.argmax())])
