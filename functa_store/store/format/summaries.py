"""Summaries of shards: moments of modulations and sums of errors, from which a store is completed without its shards.

Each receipt carries that of its shard. Merged in the order of the shards they give the statistics and the quality of
the store, whoever wrote the shards, and in whichever order.
"""

import base64
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from functa_store.metrics import Moments, merged, moments_of, psnr
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.layout import Shard
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.side_arrays import HELD_OUT, PSNR_HELD_OUT
from functa_store.store.format.spec import Quality, Values
from functa_store.support.memory import row_blocks

_MOMENTS = {"mean": "<f8", "variance": "<f8", "low": "<f4", "high": "<f4"}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """What a store keeps of its examples, as far as those who write shards must know it.

    Attributes:
        ids: Name of each, read in slices.
        split: Split of each, likewise.
        augmentation_of: Row of the original of each, its own where it is one; None where all are originals.
    """

    ids: Values
    split: Values
    augmentation_of: Values | None

    def are_own(self, shard: Shard) -> np.ndarray:
        """Whether each example of a shard is no augmentation of another one; augmentations do not count for quality."""
        if self.augmentation_of is None:
            return np.ones(len(shard), bool)
        rows = np.arange(shard.start, shard.stop)
        return np.asarray(self.augmentation_of[shard.start : shard.stop]) == rows


def masks_by_split(split: Values, start: int, stop: int) -> dict[str, np.ndarray]:
    """Whether each of some examples is in a split, by the name of the split; texts of few are held at a time.

    Args:
        split: Of all examples.
        start: The first of them.
        stop: The one after the last.
    """
    found: dict[str, np.ndarray] = {}
    for block in row_blocks(stop - start):
        names = np.asarray(split[start + block.start : start + block.stop])
        for name in np.unique(names):
            found.setdefault(str(name), np.zeros(stop - start, bool))[block] = names == name
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitSums:
    """Sums over the examples of one split in one shard that are no augmentations.

    Attributes:
        examples: How many.
        psnr: Sum of their PSNRs in decibels, infinite if one has no error.
        mse: Sum of their mean squared errors.
        metrics: For each column of the table `metrics`, and the PSNR of what was held out, how many have a number
            there, and the sum of these.
    """

    examples: int
    psnr: float
    mse: float
    metrics: dict[str, tuple[int, float]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShardSummary:
    """What completing a store needs of one shard.

    Attributes:
        moments: Of its modulations as a reader sees them, per dimension; of a grid per channel, over all cells.
        splits: Sums by split, of the splits that have examples in it.
    """

    moments: Moments
    splits: dict[str, SplitSums]

    def to_plain(self) -> dict[str, Any]:
        """The summary as JSON, numbers exact: vectors are base64 of little-endian floats."""
        vectors = {name: _packed(getattr(self.moments, name), dtype) for name, dtype in _MOMENTS.items()}
        splits = {name: dataclasses.asdict(sums) for name, sums in self.splits.items()}
        return {"rows": self.moments.rows, **vectors, "splits": splits}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "ShardSummary":
        """The summary that `to_plain` wrote.

        Raises:
            ValueError: If it is none.
        """
        try:
            moments = Moments(
                int(plain["rows"]), **{name: _unpacked(plain[name], dtype) for name, dtype in _MOMENTS.items()}
            )
            if len({len(vector) for vector in moments[1:]}) != 1 or moments.rows < 1:
                raise ValueError("vectors of several lengths")
            splits = {str(name): _sums(sums) for name, sums in plain["splits"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no summary of a shard: {error!r}") from error
        return cls(moments=moments, splits=splits)


def summarise(
    shard: Shard,
    examples: Examples,
    features: FeatureSpec,
    cell_size: int,
    rounding: Rounding,
    stored: Mapping[str, np.ndarray],
) -> ShardSummary:
    """Sum up one shard.

    Args:
        shard: Which.
        examples: All of the store's.
        features: Those of the store.
        cell_size: Numbers of a modulation, or of one cell of it.
        rounding: How modulations are stored.
        stored: Rows of each table as they are stored: `modulations`, `mse`, and `metrics` if there are some.
    """
    own = examples.are_own(shard)
    splits = {name: mask[own] for name, mask in masks_by_split(examples.split, shard.start, shard.stop).items()}
    columns = stored["metrics"][own].T if "metrics" in stored else ()
    metrics = dict(zip(features.columns, columns, strict=True))
    return ShardSummary(
        moments=moments_of(stored["modulations"].reshape(-1, cell_size), rounding.to_values),
        splits=sums_by_split(stored["mse"][own], metrics, splits, features.span),
    )


def sums_by_split(
    mse: np.ndarray, metrics: Mapping[str, np.ndarray], splits: Mapping[str, np.ndarray], span: float
) -> dict[str, SplitSums]:
    """Sums of errors and metrics by split, of the splits that have examples, in alphabetical order.

    Args:
        mse: Mean squared error of each example.
        metrics: Each column of the table `metrics`; not a number for examples that have none.
        splits: Whether it is in a split, by the name of the split.
        span: Width of the data range that PSNR is relative to.
    """
    if HELD_OUT in metrics:
        metrics = {**metrics, PSNR_HELD_OUT: psnr(metrics[HELD_OUT], span)}
    found = {}
    for name, chosen in sorted(splits.items()):
        if not chosen.any():
            continue
        errors = mse[chosen].astype(np.float64)
        numbers = {column: _numbers(values[chosen]) for column, values in metrics.items()}
        found[name] = SplitSums(
            examples=int(chosen.sum()),
            psnr=float(psnr(errors, span).sum()),
            mse=float(errors.sum()),
            metrics={column: (len(values), float(values.sum())) for column, values in numbers.items()},
        )
    return found


def merged_statistics(summaries: Iterable[ShardSummary]) -> dict[str, np.ndarray]:
    """Statistics over all shards, given in order; see `metrics.merged`."""
    return merged(summary.moments for summary in summaries)


def merged_quality(shards: Iterable[Mapping[str, SplitSums]], span: float) -> dict[str, Quality]:
    """How well each split was fitted, from all shards, given in order.

    Args:
        shards: Sums by split of each.
        span: Width of the data range that PSNR is relative to.

    Returns:
        One entry per split that has examples, in alphabetical order.
    """
    totals: dict[str, SplitSums] = {}
    for splits in shards:
        for name, sums in splits.items():
            totals[name] = _added(totals[name], sums) if name in totals else sums
    return {name: _quality(totals[name], span) for name in sorted(totals)}


def _added(first: SplitSums, second: SplitSums) -> SplitSums:
    metrics = {
        column: (first.metrics[column][0] + count, first.metrics[column][1] + total)
        for column, (count, total) in second.metrics.items()
    }
    return SplitSums(
        examples=first.examples + second.examples,
        psnr=first.psnr + second.psnr,
        mse=first.mse + second.mse,
        metrics=metrics,
    )


def _quality(sums: SplitSums, span: float) -> Quality:
    return Quality(
        examples=sums.examples,
        psnr_mean=_if_finite(sums.psnr / sums.examples),
        psnr_of_mean_mse=_if_finite(float(psnr(np.asarray(sums.mse / sums.examples), span))),
        metrics={
            column: _if_finite(total / count) if count else None for column, (count, total) in sums.metrics.items()
        },
    )


def _numbers(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)].astype(np.float64)


def _if_finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None


def _packed(vector: np.ndarray, dtype: str) -> str:
    return base64.b64encode(vector.astype(dtype).tobytes()).decode()


def _unpacked(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype)


def _sums(plain: Mapping[str, Any]) -> SplitSums:
    metrics = {str(column): (int(count), float(total)) for column, (count, total) in plain["metrics"].items()}
    return SplitSums(
        examples=int(plain["examples"]), psnr=float(plain["psnr"]), mse=float(plain["mse"]), metrics=metrics
    )
