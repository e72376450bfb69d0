"""Sources that differ from another one in a single respect: fewer examples, another split, a coarser grid."""

import numpy as np

from functa_store.domains.sphere import SphereGrid
from functa_store.sources.source import Source
from functa_store.sources.splits import hold_out_last

HELD_OUT = 10
"""A random split holds out one of so many examples."""


class AlteredSource(Source):
    """A source that is another one, unless something is changed afterwards; of augmentations it knows nothing.

    Args:
        source: The other one.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.domain, self.features, self.ids, self.split = source.domain, source.features, source.ids, source.split
        self.labels, self.rejects, self.provenance = source.labels, source.rejects, source.provenance

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example, as there."""
        return self.source.read(index)


class TrainingPart(AlteredSource):
    """The training split of a source as a source of its own, its last tenth held out, without labels."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._indices = np.flatnonzero(source.split == "train")
        self.ids = [source.ids[int(i)] for i in self._indices]
        self.split = hold_out_last(len(self.ids))
        self.labels, self.rejects = {}, []

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example."""
        return self.source.read(int(self._indices[index]))


class RandomSplit(AlteredSource):
    """A source of which a random tenth is held out, whatever split it had."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.provenance = {**source.provenance, "split": f"a random share of 1 in {HELD_OUT} held out"}
        self.split = np.full(len(source.ids), "train", "U10")
        self.split[np.random.default_rng(0).permutation(len(source.ids))[: len(source.ids) // HELD_OUT]] = "test"


class Strided(AlteredSource):
    """Every so many-th latitude and longitude of a source of fields, from the first on.

    Args:
        source: Fields on a `SphereGrid`.
        stride: Of latitudes and of longitudes, at least 1.
    """

    def __init__(self, source: Source, stride: int) -> None:
        super().__init__(source)
        domain, self._stride = source.domain, stride
        assert isinstance(domain, SphereGrid)
        axes = (np.array(axis)[::stride] for axis in (domain.latitudes, domain.longitudes))
        self.domain = SphereGrid.around(*axes, area_weighting=domain.area_weighting)

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example."""
        return self.source.read(index)[:: self._stride, :: self._stride]
