"""Import of the functa that google-deepmind/functa publishes: a functaset of their parameters and modulations."""

import importlib.metadata
import json
import math
import os

import numpy as np

from functa_store.config import ConvertConfig, FitConfig, InnerLoopConfig, OuterLoopConfig
from functa_store.conversion.agreement import clear, is_begun
from functa_store.conversion.deepmind_files import PublishedBase, PublishedModulations, read_base, read_modulations
from functa_store.domains.cells import CellGrid
from functa_store.progress import Note, Report, silent
from functa_store.sources.features import FeatureSpec
from functa_store.sources.pictures import CHANNELS
from functa_store.sources.source import counts
from functa_store.store.format.side_arrays import MOMENTA, RATES
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions
from functa_store.store.storage.writer_lock import CONVERSION
from functa_store.store.writing.destination import already_complete, check_output, claim
from functa_store.store.writing.writer import StoreWriter, rehearse

_INNER_RATE, _OUTER_RATE, _OUTER_STEPS = 0.0525, 3e-6, 500_000
"""Middle of the range in which learned rates start, rate and steps of the outer loop in their published settings."""

_NO_CLIPPING = 1e30
"""A norm that no gradient has."""

_PRESET = "deepmind-functa"
_CHANNELS = {1: CHANNELS["grey"], 3: CHANNELS["rgb"]}
_PUBLISHER = "google-deepmind/functa"

_UNKNOWN = (
    "where the settings do not say, config.outer's number of steps is that of the published code, and its other fields "
    "and config.seed are this release's defaults: how the base was learned is not known"
)


def import_deepmind(
    params: str | os.PathLike[str],
    modulations: str | os.PathLike[str],
    path: Location,
    *,
    w0: float | None = None,
    resolution: int | None = None,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> None:
    """Write a functaset of the parameters and modulations that google-deepmind/functa publishes for CelebA-HQ.

    Their files are pickles, which would run any code when they are loaded. Here they are interpreted: nothing is
    imported, called or executed, and Haiku and dill need not be installed. Weights and modulations are kept as they
    are, in float32, and errors are those that the file tells of its fits. Interrupted at any moment, the same call goes
    on where it stopped.

    Args:
        params: A file such as `celeba_params_64_latents.npz`.
        modulations: A file such as `celeba_modulations_64_latents.npz`, made with these parameters.
        path: The functaset, a path or URL ending in `.functa`.
        w0: Frequency factor of the sines, for files that do not say; 30 in those that are published.
        resolution: Pixels along an edge of the images, for files that do not say; 64 in those that are published.
        storage: How to reach the store.
        report: Told what was found.

    Raises:
        ArchiveError: If a file cannot be read, is none of theirs, or holds what a functaset cannot, as radiance fields.
        ConfigError: If the path does not end in `.functa`, or an option is missing, or contradicts the file.
        StoreExistsError: If the path holds a finished store or something foreign, or another process is writing it.
        StoreMismatchError: If another conversion was left unfinished at the path.
        StorageError: If a place cannot be reached or written.
    """
    check_output(path, storage)
    base = read_base(params, w0, resolution)
    fitted = read_modulations(modulations, base.network.modulation_size)
    contents = _contents(base, fitted)
    rehearse(contents)
    for message in (_origin(base, fitted), *base.notes, *fitted.notes):
        report(Note(message=message))
    begun = {"imported_from": _PUBLISHER, "params": base.sha256, "modulations": fitted.sha256}
    with claim(path, storage) as (destination, work):
        is_ours = is_begun(work, begun)
        if destination.state == "complete":
            if not is_ours:
                raise already_complete(destination.store)
            clear(work)  # all that was left to do
            return
        if not is_ours:
            work.write(CONVERSION, json.dumps(begun, indent=1).encode())
        with StoreWriter.resume_or_create(destination.store, contents) as writer:
            for shard in writer.missing_shards():
                rows = slice(shard.start, shard.stop)
                writer.write(shard, fitted.values[rows], fitted.mse[rows])
        clear(work)


def _contents(base: PublishedBase, fitted: PublishedModulations) -> Contents:
    """Everything about the functaset but its modulations and errors."""
    channels = _CHANNELS.get(base.num_channels, tuple(f"channel_{i}" for i in range(base.num_channels)))
    return Contents(
        domain=CellGrid(axes=("y", "x"), resolution=base.resolution),
        features=FeatureSpec(channels=channels),
        config=_config(base),
        base={**base.weights, RATES: base.rates, MOMENTA: np.zeros_like(base.rates)},
        ids=fitted.ids,
        split=fitted.split,
        labels=fitted.labels,
        provenance={
            "archive": fitted.name,
            "sha256": fitted.sha256,
            "imported_from": _PUBLISHER,
            "params": base.name,
            "params_sha256": base.sha256,
            "split": f"published in {fitted.name}",
            "labels_by": dict.fromkeys(fitted.labels, fitted.name),
            "settings": base.settings,
            "notes": [*base.notes, *fitted.notes, _UNKNOWN],
            "versions": {"functa-store": importlib.metadata.version("functa-store")},
        },
    )


def _config(base: PublishedBase) -> ConvertConfig:
    """The conversion as far as it is known; of the outer loop, which the files tell little of, see `_UNKNOWN`."""
    num_steps = len(base.rates)
    inner, outer = (
        found if found is not None and found > 0 else usual
        for found, usual in ((base.first_rate, _INNER_RATE), (base.outer_rate, _OUTER_RATE))
    )
    return ConvertConfig(
        preset=_PRESET,
        network=base.network,
        inner=InnerLoopConfig(num_steps=num_steps, learning_rate=inner),
        outer=OuterLoopConfig(
            num_steps=_OUTER_STEPS,
            num_points=None,
            learning_rate=outer,
            map_learning_rate=outer,
            rates_learning_rate=outer,
            warmup_steps=0,
            decay_fraction=0.0,
            max_gradient_norm=_NO_CLIPPING,
        ),
        fit=FitConfig(num_steps=num_steps, stride=1, tuning_steps=0, tile_points=math.prod(base.resolution)),
    )


def _origin(base: PublishedBase, fitted: PublishedModulations) -> str:
    counted = ", ".join(f"{count:,} {name}" for name, count in counts(fitted.split).items())
    return (
        f"{base.name}: {base.network.depth} layers of {base.network.width} units, modulations of "
        f"{base.network.modulation_size} numbers; splits published in {fitted.name}: {counted}"
    )
