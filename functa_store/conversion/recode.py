"""A functaset in another data type, without its archive, and what rounding costs."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from functa_store.config import ModulationDtype
from functa_store.decode.tiled_decoder import TiledDecoder, make_renderer
from functa_store.domains.scene import SceneVolume
from functa_store.sources.source import Label
from functa_store.sources.splits import evenly_to_both_ends
from functa_store.store.format.quantization import Rounding, choose_rounding
from functa_store.store.format.spec import Contents, RoundingLoss
from functa_store.store.reading.joined_store import open_store
from functa_store.store.reading.reader import StoreReader, read_augmentations
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    Location,
    Objects,
    StorageOptions,
)
from functa_store.store.writing.destination import claim
from functa_store.store.writing.writer import StoreWriter


class Compared(NamedTuple):
    """Places at which decoded modulations are compared, the same for all examples.

    Attributes:
        look: (modulation) -> features or colours there, (places, channels), not as values; a grid as its numbers in C
            order.
        weights: What each place counts.
    """

    look: Callable[[Float32[np.ndarray, " modulation"]], Float32[np.ndarray, "places channels"]]
    weights: Float64[np.ndarray, " places"]


def compared(store: StoreReader, most_points: int) -> Compared:
    """Where modulations of a functaset are compared.

    Args:
        store: The functaset.
        most_points: Points at which the network may be evaluated for one modulation.
    """
    if (scene := store.spec.domain.scene) is not None:
        return _along_rays(store, scene, most_points)
    return _on_grid(store, most_points)


def _on_grid(store: StoreReader, most_points: int) -> Compared:
    """Points of the native grid that have a value, evenly spread."""
    domain = store.spec.domain
    decoder = TiledDecoder(store.spec.config.network, store.base, domain, store.spec.features.num_channels)
    places = evenly_to_both_ends(domain.num_points, most_points)
    coords = domain.points()[places]
    weights = np.ones(len(places)) if domain.weights is None else np.asarray(domain.weights, np.float64)[places]
    present = np.where(domain.missing(coords), 0.0, weights)
    return Compared(lambda modulation: decoder(modulation[None], coords)[0], present if present.any() else weights)


def _along_rays(store: StoreReader, domain: SceneVolume, most_points: int) -> Compared:
    """Rays from where cameras may stand, all around, through random points of the cube."""
    rng = np.random.default_rng(0)
    count = max(1, most_points // domain.num_samples)
    around = rng.normal(size=(count, 3))
    origins = (domain.near + domain.far) / 2 * around / np.linalg.norm(around, axis=1, keepdims=True)
    towards = rng.uniform(-domain.bound, domain.bound, (count, 3)) - origins
    directions = towards / np.linalg.norm(towards, axis=1, keepdims=True)
    renderer = make_renderer(store.spec.config.network, domain)
    return Compared(
        lambda modulation: np.asarray(renderer(store.base, modulation, origins, directions).colour), np.ones(count)
    )


MEASURED, MEASURED_POINTS = 256, 2**15
"""Most examples, evenly spread, and points of each, on which the loss is measured."""


def recode(
    path: Location, out: Location, modulation_dtype: ModulationDtype, *, storage: StorageOptions = NO_OPTIONS
) -> None:
    """Write a functaset again with its modulations in another data type.

    Interrupted at any moment, the same call goes on where it stopped.

    Args:
        path: A complete functaset, open or not.
        out: The new one.
        modulation_dtype: How it is to store modulations.
        storage: How to reach buckets.

    Raises:
        StoreFormatError: If the functaset is unfinished or damaged.
        StoreExistsError: If `out` holds something already, or another process is writing it.
        StoreMismatchError: If another recoding was left unfinished there.
        LearningError: If a modulation is beyond the range of float16.
        StorageError: If a place cannot be reached, read or written.
    """
    reader = open_store(path, storage=storage, verify=True)
    with claim(out, storage) as (destination, _):
        write_recoded(reader, destination.store, modulation_dtype)


def write_recoded(reader: StoreReader, store: Objects, modulation_dtype: ModulationDtype) -> None:
    """Write what `recode` writes; under `claim`. Modulations that are stored so already are not rounded again."""
    reader.check_complete()
    rounding = reader.rounding
    if modulation_dtype != rounding.dtype:
        rounding = choose_rounding(modulation_dtype, reader.statistics["min"], reader.statistics["max"])
    contents = Contents(
        domain=reader.spec.domain,
        features=reader.spec.features,
        config=dataclasses.replace(reader.spec.config, modulation_dtype=modulation_dtype),
        base=reader.stored_base,
        ids=reader.ids,
        split=reader.split,
        labels={
            name: Label(values=values[:], names=reader.label_names.get(name)) for name, values in reader.labels.items()
        },
        augmentations=read_augmentations(reader),
        rejects=reader.rejects,
        provenance=reader.spec.provenance,
        reference=reader.spec.reference,
        rounding=rounding,
        rounding_loss=measure_loss(reader, rounding),
    )
    with StoreWriter.resume_or_create(store, contents) as writer:
        for shard in writer.missing_shards():
            rows = slice(shard.start, shard.stop)
            metrics = None if reader.metrics_table is None else reader.metrics_table[rows]
            if (unknown := np.isnan(mse := reader.mse[rows])).all():  # derived, not fitted: its errors are unknown
                mse = metrics = None
            writer.write(shard, reader.modulations[rows], mse, metrics, some_unknown=bool(unknown.any()))


def measure_loss(reader: StoreReader, rounding: Rounding) -> RoundingLoss | None:
    """What rounding costs, from what is decoded before and after it, as `compared` looks at a functaset.

    The error of a rounded example is taken as its stored error plus that difference: on average over examples
    the two are uncorrelated, since rounding errors do not depend on what a fit has left over. Scenes are looked at
    from other places than their cameras', so that theirs is an estimate.

    Returns:
        The loss, added to what the functaset had lost before; None if nothing was ever rounded, or no error is known.
    """
    before = reader.spec.rounding_loss
    if rounding.dtype == "float32" or rounding is reader.rounding:
        return before
    look, weights = compared(reader, MEASURED_POINTS)
    chosen = evenly_to_both_ends(reader.num_examples, MEASURED)
    if np.isnan(reader.mse[chosen]).any():  # of a derived functaset, whose modulations were fitted to nothing
        return before
    difference = np.zeros(len(chosen))
    for i, example in enumerate(chosen):
        exact = reader.modulations[example : example + 1]
        before_and_after = exact, rounding.to_values(rounding.to_stored(exact))
        decoded, rounded = (look(modulation.ravel()).astype(np.float64) for modulation in before_and_after)
        difference[i] = np.average(np.mean((decoded - rounded) ** 2, axis=-1), weights=weights)
    mse = np.maximum(reader.mse[chosen].astype(np.float64), np.finfo(np.float32).tiny)
    loss = 10 * np.log10(1 + difference / mse)
    return RoundingLoss(
        examples=len(chosen),
        mse_mean=float(difference.mean()) + (before.mse_mean if before else 0.0),
        mse_max=float(difference.max()) + (before.mse_max if before else 0.0),
        psnr_loss=float(loss.mean()) + (before.psnr_loss if before else 0.0),
        psnr_loss_max=float(loss.max()) + (before.psnr_loss_max if before else 0.0),
    )
