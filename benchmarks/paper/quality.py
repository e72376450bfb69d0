"""Held-out quality of a recipe, bytes of its base, and the coarsest array that is as good."""

import math
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks.paper.results import Figures, Results
from benchmarks.shape_peers import averages, interpolation
from functa_store.config import ConvertConfig, to_dict
from functa_store.learn.fit import fit_examples
from functa_store.learn.inner_loop import extend
from functa_store.learn.meta_learn import learned_fit, meta_learn
from functa_store.learn.scores import pca_reference
from functa_store.learn.training_set import TrainingSet
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

    Returns:
        `psnr` in decibels, `numbers` of a modulation, `base_numbers` of the weights that all examples share,
        `outer_steps`, and `pca`, the PSNR of as many principal components (None where there are none).
    """

    def measure() -> Figures:
        training = TrainingSet(source, config)
        base = meta_learn(training, config)
        fit = learned_fit(base.graph, config, source)
        shared = fit.prepare(base.learnable.base, extend(base.learnable.rates, config.inner.num_steps))
        mse = fit_examples(fit, shared, training.reader, held_out(source)).mse
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
    """Points of the coarsest grid of means from which linear interpolation gives held-out examples a PSNR."""
    features = source.features
    raw = np.stack([source.read(int(k)) for k in held_out(source)])
    values = (raw * features.scale + features.offset).astype(np.float32)
    resolution = values.shape[1:-1]
    for size in range(1, max(resolution) + 1):
        coarse = [max(1, round(points * size / max(resolution))) for points in resolution]
        kept = values
        for points, few in zip(resolution, coarse, strict=True):
            kept = np.tensordot(kept, interpolation(few, points) @ averages(points, few), axes=(1, 1))
        kept = np.moveaxis(kept, 1, -1)  # each axis in turn came last, after the channels
        mse = ((kept - values) ** 2).mean(axis=tuple(range(1, values.ndim)))
        if psnr_mean(np.maximum(mse, 1e-12), features.span) >= psnr:
            return math.prod(coarse)
    return math.prod(resolution)
