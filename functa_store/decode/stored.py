"""What does a functaset hold, as it is stored?"""

from collections.abc import Mapping

import numpy as np

from functa_store.config import ConvertConfig
from functa_store.domains import Domain
from functa_store.metrics import psnr
from functa_store.sources import FeatureSpec
from functa_store.store.reader import StoreReader
from functa_store.store.rows import Rows


class Stored:
    """The part of a functaset that is read, not decoded.

    Args:
        store: The open store.

    Attributes:
        store: The same; what is not named here is there.
    """

    def __init__(self, store: StoreReader) -> None:
        self.store = store

    def __len__(self) -> int:
        return self.store.num_examples

    @property
    def modulations(self) -> Rows:
        """The modulations, (example, modulation); read when indexed."""
        return self.store.modulations

    @property
    def mse(self) -> Rows:
        """Mean squared error of each example's fit, unclipped; read when indexed."""
        return self.store.mse

    @property
    def metrics(self) -> Mapping[str, Rows]:
        """What else is kept of each example's fit, such as "iou"; read when indexed, not a number where it has none."""
        return self.store.metrics

    @property
    def psnr(self) -> np.ndarray:
        """PSNR of each example's fit in decibels."""
        return psnr(self.mse[:], self.store.features.span)

    @property
    def ids(self) -> Rows:
        """Name of each example in its archive."""
        return self.store.ids

    @property
    def split(self) -> Rows:
        """Split of each example: "train", "validation" or "test"."""
        return self.store.split

    @property
    def labels(self) -> Mapping[str, Rows]:
        """Every label by name, one value per example; read when indexed."""
        return self.store.labels

    @property
    def base(self) -> dict[str, np.ndarray]:
        """The base weights by name, such as "sine_0/kernel", and the inner loop's rates."""
        return self.store.base

    @property
    def domain(self) -> Domain:
        """Where the examples were sampled."""
        return self.store.domain

    @property
    def features(self) -> FeatureSpec:
        """What decoded values mean: channels, units, data range."""
        return self.store.features

    @property
    def config(self) -> ConvertConfig:
        """The whole configuration of the conversion."""
        return self.store.config
