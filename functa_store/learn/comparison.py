"""What does a fit in reduced precision cost?"""

import dataclasses
from typing import Any

import numpy as np

from functa_store.config import ConvertConfig
from functa_store.feed import Feed
from functa_store.learn.fit import Fit, mean_psnr
from functa_store.learn.inner_loop import Steps
from functa_store.learn.meta_learn import Base, choose_examples
from functa_store.sources import Source


def compare_precision(base: Base, steps: Steps, source: Source, config: ConvertConfig) -> dict[str, Any]:
    """Mean PSNR of the monitored examples, fitted in the precision of the conversion and in float32.

    What learning in reduced precision costs is not in it: both fits have the base that was learned.

    Returns:
        JSON-ready, under `matmul_precision`: `precision`, `examples`, and `psnr_mean` and
        `psnr_mean_in_float32` in decibels; empty if the conversion is in float32.
    """
    if config.matmul_precision == "float32":
        return {}
    _, monitored = choose_examples(source, config.outer.num_monitored)
    found, feed = {}, Feed(source)
    for name, precision in {"psnr_mean": config.matmul_precision, "psnr_mean_in_float32": "float32"}.items():
        fit = Fit(base.graph, dataclasses.replace(config, matmul_precision=precision), source)
        psnr = mean_psnr(fit, fit.prepare(base.learnable.base, steps), feed, monitored)
        found[name] = round(psnr, 3) if np.isfinite(psnr) else None
    return {"matmul_precision": {"precision": config.matmul_precision, "examples": len(monitored), **found}}
