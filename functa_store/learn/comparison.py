"""What does a fit in reduced precision cost?"""

import dataclasses
from typing import Any

import numpy as np

from functa_store.config import ConvertConfig
from functa_store.feed import Feed
from functa_store.learn.batches import mean_psnr
from functa_store.learn.fit import Fit
from functa_store.learn.meta_learn import Base, choose_examples
from functa_store.learn.tuning import ReadyFit
from functa_store.sources import Source


def compare_precision(base: Base, ready: ReadyFit, source: Source, config: ConvertConfig) -> dict[str, Any]:
    """Mean PSNR of the monitored examples, fitted in the precision of the conversion and in float32.

    What learning in reduced precision costs is not in it: both fits have the base that was learned.

    Returns:
        JSON-ready, under `matmul_precision`: `precision`, `examples`, and `psnr_mean` and
        `psnr_mean_in_float32` in decibels; empty if the conversion is in float32.
    """
    if config.matmul_precision == "float32":
        return {}
    _, monitored = choose_examples(source, config.outer.num_monitored)
    exact = Fit(base.graph, dataclasses.replace(config, matmul_precision="float32"), source)
    fits = {
        "psnr_mean": (ready.fit, ready.shared),
        "psnr_mean_in_float32": (exact, exact.prepare(base.learnable.base, ready.shared.steps)),
    }
    found, feed = {}, Feed(source)
    for name, (fit, shared) in fits.items():
        psnr = mean_psnr(fit, shared, feed, monitored)
        found[name] = round(psnr, 3) if np.isfinite(psnr) else None
    return {"matmul_precision": {"precision": config.matmul_precision, "examples": len(monitored), **found}}
