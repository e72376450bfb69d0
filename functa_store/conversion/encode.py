"""Encoding of an archive with the base of a finished functaset, into a functaset of the same base."""

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.config import differences, to_dict
from functa_store.conversion.agreement import ENCODED_WITH, SAME_POINTS
from functa_store.conversion.convert import contents_of, write_fitted
from functa_store.conversion.encoder import as_raw
from functa_store.conversion.fit_shards import Sampling, check_batch, ready_fit
from functa_store.conversion.run_files import RunLog
from functa_store.conversion.workers.engine import InProcess, fit_missing
from functa_store.decode.functaset import Functaset, opened
from functa_store.domains.cells import CellGrid
from functa_store.domains.domain import Domain
from functa_store.errors import ArchiveError
from functa_store.learn.point_observer import PointObserver, PointRows
from functa_store.learn.tuning import ReadyFit
from functa_store.progress import Report, silent
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label, Reject, Source, check_source, check_unchanged
from functa_store.store.storage.objects import NO_OPTIONS, Location, Objects, StorageOptions

SEEN_OTHERWISE = (
    *("resolution", "cell_aspect"),
    *("views", "held_out_views", "image_size", "centre", "radius"),
    *("latitudes", "longitudes", "area_weighting", "mask"),
)
"""Fields of a domain in which an archive may differ from the one that a base was learned on."""


def encode(
    source: Source,
    functaset: Functaset | Location,
    path: Location,
    *,
    storage: StorageOptions = NO_OPTIONS,
    fit_batch_size: int | None = None,
    report: Report = silent,
) -> None:
    """Fit the examples of a source with the base of a finished functaset, and write a functaset of the same base.

    Modulations are those of a conversion of the source with this base, bit for bit if it is sampled as the functaset's
    archive was. At another resolution examples are observed at the points of their own grid, scenes in the views that
    they have. Values of another scaling are taken over in their unit. Interrupted at any moment, the same call goes on
    where it stopped.

    Args:
        source: The examples; splits are kept as they are, and none needs to be "train".
        functaset: An open one, or where it is; complete. Data types of modulations and base are taken over.
        path: The new store, a path or URL ending in `.functa`.
        storage: How to reach both.
        fit_batch_size: As for `convert`.
        report: Told of the progress.

    Raises:
        ArchiveError: If the source contradicts itself, or its examples are none that the base can describe: other axes,
            channels, units, or another part of the world.
        ConfigError: If the path does not end in `.functa`, or a number is out of range.
        StoreExistsError: If the path holds a finished store or something foreign, or another process is writing it.
        StoreFormatError: If the functaset is unfinished or damaged.
        StoreMismatchError: If another conversion was left unfinished at the path.
        StorageError: If a place cannot be reached, read or written; what is written stays.
    """
    check_source(source, to_learn=False)
    check_batch(fit_batch_size)
    functaset = opened(functaset, storage)
    functaset.store.check_complete()
    check_fits(source, functaset)
    config, examples = functaset.config, OfBase(source, functaset)

    def fit_into(store: Objects, work: Objects, conversion: dict[str, Any], log: RunLog) -> bool:
        contents = contents_of(examples, config, dict(functaset.store.stored_base), {})
        seen = as_seen(examples, functaset)
        ready = functools.partial(ready_for, seen, functaset)
        return fit_missing(store, contents, seen, ready, InProcess(), fit_batch_size=fit_batch_size, report=log)

    write_fitted(examples, path, config, fit_into, storage=storage, report=report)


def check_fits(source: Source, functaset: Functaset) -> None:
    """Refuse examples that a base cannot describe.

    Raises:
        ArchiveError: If kind, axes, extent, channels or units differ.
    """
    name, found, base = source.provenance["archive"], source.features, functaset.features
    wanted = functaset.domain
    other = []
    if (found.channels, found.units) != (base.channels, base.units):
        other.append(f"channels {found.channels} in {found.units}, expected {base.channels} in {base.units}")
    described, expected = to_dict(source.domain), to_dict(wanted)
    if source.domain.kind != wanted.kind:
        other.append(f"examples over {source.domain.axes}, expected {wanted.axes}")
    else:
        given, asked = ({k: v for k, v in d.items() if k not in SEEN_OTHERWISE} for d in (described, expected))
        other += [f"domain.{difference}" for difference in differences(given, asked)]
    if other:
        raise ArchiveError(
            f"{name}: its examples are not of the kind that {functaset.store.path} was learned on: "
            f"{'; '.join(other[:5])}. Convert it by itself, or give options that make them so"
        )
    if source.domain.scene is None and source.domain != wanted:
        for axis, along in zip(wanted.axes, source.domain.axis_coords(), strict=True):
            wanted.check_positions(axis, along)
        network = functaset.config.network
        if network.modulation_grid is not None and any(
            points < cells for points, cells in zip(source.domain.resolution, network.modulation_grid, strict=True)
        ):
            raise ArchiveError(
                f"{name}: has {source.domain.resolution} points, expected at least one in each of "
                f"{network.modulation_grid} cells of a modulation; give a higher resolution"
            )


class OfBase(Source):
    """Examples of a source as those of a functaset: its domain and features, and where the base is from.

    Args:
        source: The examples.
        functaset: Whose base fits them.
    """

    def __init__(self, source: Source, functaset: Functaset) -> None:
        self.domain: Domain = functaset.domain
        self.features: FeatureSpec = functaset.features
        self.source = source
        self.ids: Sequence[str] = source.ids
        self.split = source.split
        self.labels: Mapping[str, Label] = source.labels
        self.rejects: Sequence[Reject] = source.rejects
        self.provenance: Mapping[str, Any] = {
            **source.provenance,
            ENCODED_WITH: {
                "archive": functaset.spec.provenance.get("archive"),
                "fingerprint": functaset.spec.fingerprint,
                SAME_POINTS: source.domain == functaset.domain,
            },
        }
        if (augmentations := getattr(source, "augmentations", None)) is not None:
            self.augmentations = augmentations
        self.same_scale = _scaling(source.features) == _scaling(self.features)

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example, as the functaset's archive would have them, at the points of their own."""
        raw = self.source.read(index)
        if self.same_scale or self.source.domain.scene is not None:
            return raw
        values = self.source.features.to_values(self.source.features.of_raw(raw))
        return as_raw(f"{self.provenance['archive']}/{self.ids[index]}", values, self.features)

    def check_unchanged(self) -> None:
        """Compare the archive with what it was."""
        check_unchanged(self.source)


class AtPoints(OfBase):
    """The same as rows of points for a `PointObserver`, where they are sampled otherwise than the functaset's archive.

    Args:
        source: The examples.
        functaset: Whose base fits them.
    """

    def __init__(self, source: Source, functaset: Functaset) -> None:
        super().__init__(source, functaset)
        positions = source.domain.coords()
        self._unseen = functaset.domain.missing(positions)
        self._rows = PointRows(functaset.domain, functaset.config.network, positions)
        self.observer = PointObserver(functaset.domain, functaset.config.network, self._rows.num_rows)
        self.domain = CellGrid(axes=("row",), resolution=(self._rows.num_rows,))
        self._scaled, self.features = self.features, dataclasses.replace(self.features, missing=True)

    def read(self, index: int) -> np.ndarray:
        """Rows of one example."""
        raw = super().read(index)
        features = self._scaled.of_raw(raw.reshape(1, -1, raw.shape[-1]))
        features[:, self._unseen] = np.nan
        return self._rows(features)[0][0]


def as_seen(examples: OfBase, functaset: Functaset) -> OfBase:
    """Examples as the fit with a base looks at them: at points of their own where these differ, see `AtPoints`."""
    source = examples.source
    if source.domain.scene is None and source.domain != functaset.domain:
        return AtPoints(source, functaset)
    seen = copy.copy(examples)
    seen.domain = source.domain
    seen.features = dataclasses.replace(seen.features, missing=seen.features.missing or source.features.missing)
    return seen


def ready_for(seen: OfBase, functaset: Functaset) -> ReadyFit:
    """The fit of a base that looks at examples so; see `as_seen`."""
    if isinstance(seen, AtPoints):
        sampling = Sampling(domain=functaset.domain, features=seen.features)
        return ready_fit(functaset.config, functaset.base, sampling, seen.observer)
    return ready_fit(functaset.config, functaset.base, seen)


def _scaling(features: FeatureSpec) -> tuple[Any, ...]:
    return features.scale, features.offset, features.value_scale, features.value_offset
