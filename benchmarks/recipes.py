"""Comparison of recipes, changes of one configuration, without a look at what is held out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from functa_store.cli import main as cli
from functa_store.cli.arguments import typed_config
from functa_store.config import ConvertConfig, overlaid
from functa_store.learn.fit import fit_examples
from functa_store.learn.inner_loop import extend
from functa_store.learn.meta_learn import learned_fit, meta_learn
from functa_store.learn.outer_loop import Base
from functa_store.learn.training_set import TrainingSet
from functa_store.metrics import psnr_mean
from functa_store.sources.source import Source

Changes = dict[str, dict[str, Any]]
"""New values of fields of a configuration's parts: {"network": {"w0": 20.0}}."""


def with_length(config: ConvertConfig, outer_steps: int | None, time_budget: float | None) -> ConvertConfig:
    """A configuration that learns for so many steps or seconds; as it is if both are None.

    Raises:
        ConfigError: If both are given, or one is not positive.
    """
    if outer_steps is None and time_budget is None:
        return config
    return overlaid(config, {"outer": {"num_steps": outer_steps, "time_budget": time_budget}})


def with_words(config: ConvertConfig, words: Sequence[str]) -> ConvertConfig:
    """A configuration changed by words of `functa convert`, such as `--modulation-grid 4,4 --network.w0 10`.

    Raises:
        SystemExit: If a word is none of them.
        ConfigError: If a value is out of range.
    """
    return overlaid(config, typed_config(cli.parse(["convert", "arrays", "values.npy", "values.functa", *words])))


def validated(source: Source, start: ConvertConfig, recipes: Mapping[str, Changes]) -> Iterator[dict[str, Any]]:
    """The name of each recipe as `recipe` and its `validation_psnr` in decibels as `psnr`, one after the other.

    Args:
        source: A `TrainingPart`, see `benchmarks.altered_sources`.
        start: What the recipes change.
        recipes: By name.
    """
    for name, changes in recipes.items():
        yield {"recipe": name, "psnr": validation_psnr(source, overlaid(start, changes))}


def validation_psnr(source: Source, config: ConvertConfig) -> float:
    """Mean PSNR in decibels of the examples held out, fitted by the inner loop as it was learned, untuned."""
    _, mse = learned_errors(source, config, np.flatnonzero(source.split == "test"))
    return psnr_mean(mse, source.features.span)


def learned_errors(
    source: Source, config: ConvertConfig, indices: Int[np.ndarray, " examples"]
) -> tuple[Base, Float32[np.ndarray, " examples"]]:
    """Learn a base, and fit examples by the inner loop as it was learned, untuned.

    Args:
        source: Whose split "train" is learned.
        config: How; of the fit only the tiles are used, and its stride where examples share no grid.
        indices: Examples to fit, so many that memory holds them at once.

    Returns:
        The base, and the mean squared error of each example in the squared unit of the features.
    """
    training = TrainingSet(source, config)
    base = meta_learn(training, config)
    fit = learned_fit(base.graph, config, source)
    shared = fit.prepare(base.learnable.base, extend(base.learnable.rates, config.inner.num_steps))
    return base, fit_examples(fit, shared, training.reader, indices).mse
