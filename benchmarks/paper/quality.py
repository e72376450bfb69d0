"""Held-out quality of a recipe, bytes of its base, and the coarsest array that is as good."""

import math
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks.paper.results import Figures, Results
from benchmarks.recipes import learned_errors
from benchmarks.report import decibels
from benchmarks.shape_peers import averages, interpolation
from functa_store.config import ConvertConfig, to_dict
from functa_store.learn.scores import pca_reference
from functa_store.metrics import psnr_mean
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly

MOST_HELD_OUT = 128
"""Examples of the split "test" that a recipe is measured on."""


def held_out(source: Source) -> np.ndarray:
    """Places of at most `MOST_HELD_OUT` examples of the split "test", spread evenly."""
    return evenly(np.flatnonzero(source.split == "test"), MOST_HELD_OUT)


def quality(results: Results, name: str, source: Source, config: ConvertConfig) -> Figures:
    """Mean PSNR of held-out examples after the inner loop as it was learned, a cell of the results.

    Args:
        results: Has the cell, or keeps it.
        name: Of the cell.
        source: Has the splits "train" and "test".
        config: What is learned of it.

    Returns:
        `psnr` in decibels, `numbers` of a modulation, `base_numbers` of the weights that all examples share,
        `outer_steps`, and `pca`, the PSNR of as many principal components (None where there are none).
    """

    def measure() -> Figures:
        base, mse = learned_errors(source, config, held_out(source))
        pca = pca_reference(source, config.network.modulation_size)
        return {
            "psnr": psnr_mean(mse, source.features.span),
            "numbers": config.network.modulation_size,
            "base_numbers": sum(leaf.size for leaf in jax.tree.leaves(base.learnable.base)),
            "outer_steps": base.num_steps,
            "pca": pca["psnr_mean"]["test"] if pca else None,
        }

    return results.cell(name, {"config": to_dict(config)}, measure)


def numbers_for(psnr: float, numbers: Sequence[int], found: Sequence[float]) -> float | None:
    """Numbers of a modulation that reach a PSNR, interpolated along their logarithm; None if none of them does.

    Args:
        psnr: In decibels.
        numbers: Of some modulations, ascending.
        found: Their PSNRs.
    """
    best = np.maximum.accumulate(found)
    if psnr > best[-1]:
        return None
    if psnr <= best[0]:
        return float(numbers[0])
    upper = int(np.argmax(best >= psnr))
    share = (psnr - best[upper - 1]) / (best[upper] - best[upper - 1])
    return float(2 ** ((1 - share) * math.log2(numbers[upper - 1]) + share * math.log2(numbers[upper])))


def coarse_points(source: Source, psnr: float) -> int:
    """Points of the coarsest grid of means from which linear interpolation gives held-out examples a PSNR.

    Args:
        source: Examples on a grid.
        psnr: Their mean one, in decibels; all points are needed where no coarser grid reaches it.
    """
    features = source.features
    values = features.of_raw(np.stack([source.read(int(k)) for k in held_out(source)]))
    resolution = values.shape[1:-1]
    for size in range(1, max(resolution) + 1):
        coarse = [max(1, round(points * size / max(resolution))) for points in resolution]
        kept = values
        for points, few in zip(resolution, coarse, strict=True):
            kept = np.tensordot(kept, interpolation(few, points) @ averages(points, few), axes=(1, 1))
        kept = np.moveaxis(kept, 1, -1)  # each axis in turn came last, after the channels
        mse = ((kept - values) ** 2).mean(axis=tuple(range(1, values.ndim)))
        if decibels(mse, features.span) >= psnr:
            return math.prod(coarse)
    return math.prod(resolution)
