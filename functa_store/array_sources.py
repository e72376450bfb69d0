"""How does an array of measured values, of whatever kind, become a source?"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.array_described import ArrayFacts, ArrayOptions
from functa_store.array_examples import ArrayExamples, ArrayLike, Examples, scan
from functa_store.domains import Domain
from functa_store.errors import TooManyRejectsError
from functa_store.grids import CellGrid
from functa_store.progress import Report, Surveyed, silent
from functa_store.sources import FeatureSpec, Label, Reject, check_source, hold_out_every

AXES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
_PERIOD = 10
_NUM_NAMED = 5


class ValuesSource:
    """The examples of an array, as values in their units; see `functa_store.sources.Source`.

    Every example is read once here, in blocks, and none is kept.

    Args:
        examples: The array.
        facts: What is known of it.
        options: How much of it is taken.
        report: Told how far the reading is.
        provenance: More for the provenance.

    Raises:
        ArchiveError: If the facts contradict the array, or nothing is left to learn from.
        TooManyRejectsError: If more examples cannot be learned than allowed.
    """

    domain: Domain
    ids: Sequence[str]
    labels: Mapping[str, Label]
    rejects: Sequence[Reject]
    provenance: Mapping[str, Any]

    def __init__(
        self,
        examples: Examples,
        facts: ArrayFacts,
        options: ArrayOptions,
        report: Report = silent,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self._examples, name = examples, facts.name
        facts.check(examples.shape)
        total = min(examples.shape[0], options.limit or examples.shape[0])
        read = total if options.check_first is None else min(total, options.check_first)
        found = scan(
            examples,
            read,
            missing=options.missing,
            progress=lambda done, rejects: report(Surveyed(done=done, total=read, rejects=rejects)),
        )
        ids = [str(k) for k in range(examples.shape[0])] if facts.ids is None else list(facts.ids)
        self.rejects = [Reject(member=ids[k], reason=reason) for k, reason in found.problems.items()]
        _check_rejects(name, self.rejects, total, options.max_rejects)
        self._rows = rows = np.array([k for k in range(total) if k not in found.problems], np.int64)
        self.ids = [ids[k] for k in rows]
        self.split = hold_out_every(len(rows), _PERIOD) if facts.split is None else facts.split[rows]
        self.labels = {k: dataclasses.replace(v, values=v.values[rows]) for k, v in facts.labels.items()}
        self.domain = CellGrid(
            axes=facts.axes or AXES[len(examples.shape) - 2],
            resolution=examples.shape[1:-1],
            cell_aspect=facts.cell_aspect,
            lengths=facts.lengths,
            units=facts.length_units,
        )
        training = rows[(self.split == "train") & (rows < read)]
        self._low, self._span = _scaling(examples.dtype, options.value_range, found.low[training], found.high[training])
        self.features = _features(examples, facts, options, self._low, self._span)
        rule = "every tenth example held out" if facts.split is None else "published"
        self.provenance = {
            "archive": name,
            "sha256": found.sha256 if options.check_first is None else None,
            "split": rule,
            "limit": options.limit,
            "rejects": len(self.rejects),
            **(provenance or {}),
        }
        check_source(self)

    def read(self, index: int) -> np.ndarray:
        """Features of one example, float32; bytes as they are. Safe to call from threads."""
        row = int(self._rows[index])
        values = self._examples.block(row, row + 1)[0]
        if values.dtype.kind == "b" or (values.dtype == np.uint8 and self.features.scale != 1):
            return values.astype(np.uint8)
        return ((values - self._low) / self._span).astype(np.float32)


def from_array(
    values: ArrayLike,
    *,
    channels_axis: int | None = -1,
    facts: ArrayFacts | None = None,
    options: ArrayOptions | None = None,
) -> ValuesSource:
    """A source over an array of values in their units: numpy, memory-mapped, `h5py.Dataset` or `zarr.Array`.

    Unlike an `ArraySource`, whose values are features already, this scales values to [0, 1] and decodes them back to
    their units, reads no more than an example at a time, and checks every one of them once.

    Args:
        values: Examples first.
        channels_axis: Which axis is the channels'; None if there is none.
        facts: What is known of it.
        options: How much of it is taken, and how it is scaled.

    Raises:
        ArchiveError: If the array cannot be learned; as for `ValuesSource`.
    """
    facts = facts or ArrayFacts()
    examples = ArrayExamples(values, channels_axis=channels_axis, name=facts.name)
    return ValuesSource(examples, facts, options or ArrayOptions())


def _features(
    examples: Examples, facts: ArrayFacts, options: ArrayOptions, low: np.ndarray, span: np.ndarray
) -> FeatureSpec:
    num_channels = examples.shape[-1]
    return FeatureSpec(
        channels=facts.channels or tuple(str(k) for k in range(num_channels)),
        units=facts.units,
        scale=1 / 255 if examples.dtype == np.uint8 and options.value_range is None else 1.0,
        value_scale=tuple(span.tolist()),
        value_offset=tuple(low.tolist()),
        missing=options.missing,
        metrics=("rmse",),
    )


def _scaling(
    dtype: np.dtype[Any], value_range: tuple[float, float] | None, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each channel the value that becomes 0, and how far from it the one that becomes 1 is; float64."""
    num_channels = low.shape[-1]
    if value_range is None and dtype.kind == "b":
        value_range = (0.0, 1.0)
    elif value_range is None and dtype == np.uint8:
        value_range = (0.0, 255.0)
    if value_range is not None:
        return np.full(num_channels, value_range[0]), np.full(num_channels, value_range[1] - value_range[0])
    if not len(low):
        return np.zeros(num_channels), np.ones(num_channels)  # `check_source` says that there is nothing to learn
    with np.errstate(invalid="ignore"):
        smallest, largest = np.fmin.reduce(low), np.fmax.reduce(high)
    smallest, span = np.nan_to_num(smallest), np.nan_to_num(largest - smallest)
    return smallest, np.where(span > 0, span, 1.0)  # a constant channel, or one that is missing throughout


def _check_rejects(name: str, rejects: Sequence[Reject], total: int, max_rejects: float) -> None:
    if len(rejects) > max_rejects * total:
        first = "; ".join(f"example {r.member} {r.reason}" for r in rejects[:_NUM_NAMED])
        more = f"; and {len(rejects) - _NUM_NAMED} more" if len(rejects) > _NUM_NAMED else ""
        raise TooManyRejectsError(
            f"{name}: {len(rejects)} of {total} examples cannot be learned, more than the {max_rejects:.1%} that "
            f"max_rejects allows: {first}{more}. Mend the array or raise max_rejects."
        )
