"""What is known about one example?"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from functa_store.metrics import psnr

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One example of a functaset; everything is read when it is asked for.

    Attributes:
        functaset: Where it is from.
        index: Its place there.
    """

    functaset: "Functaset" = dataclasses.field(repr=False)
    index: int

    @property
    def id(self) -> str:
        """Its name in the archive."""
        return str(self.functaset.ids[self.index])

    @property
    def split(self) -> str:
        """Its split."""
        return str(self.functaset.split[self.index])

    @property
    def labels(self) -> dict[str, Any]:
        """The value of every label."""
        return {name: values[self.index] for name, values in self.functaset.labels.items()}

    @property
    def modulation(self) -> Float32[np.ndarray, " modulation"]:
        """The modulation."""
        return self.functaset.modulations[self.index]

    @property
    def psnr(self) -> float:
        """PSNR of the fit in decibels."""
        return float(psnr(self.functaset.mse[self.index], self.functaset.store.features.span))

    @property
    def metrics(self) -> dict[str, float]:
        """What else is kept of the fit, such as "iou"; not a number where it has none."""
        return {name: float(values[self.index]) for name, values in self.functaset.metrics.items()}

    def decode(self, resolution: int | Sequence[int] | None = None, **options: Any) -> np.ndarray:
        """Values without an examples' axis; arguments as for `Functaset.decode`."""
        return self.functaset.decode(self.index, resolution, **options)[0]
