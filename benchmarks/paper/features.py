"""Feature spaces that are learned here, and the Fréchet distance of two sets of examples in them."""

from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float

from benchmarks.paper.archives import Archives
from benchmarks.paper.classifiers import HELD_OUT_AT_ONCE, ConvNet, Inputs, train
from benchmarks.paper.results import Figures, Results
from benchmarks.paper.sizes import Size
from examples.command import Options
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly

WIDTH = 16
OF_PICTURES = ((3, 1), (3, 2), (3, 2))
OF_SHAPES = ((4, 4), (3, 2), (3, 2))
"""Kernels and strides; the last of three convolutions has 64 channels, fewer than there are examples to compare."""

MOST_HELD_OUT = 2000
"""Examples by which the classifier's accuracy is measured."""

Featurize = Callable[[np.ndarray], np.ndarray]
"""Features of decoded examples, (examples, *resolution, channels) with values in [0, 1]."""


def feature_space(results: Results, kind: str, archives: Archives, size: Size) -> tuple[Featurize, Figures]:
    """A classifier's last features before its logits.

    Args:
        results: Keep its weights.
        kind: "portraits": a classifier of CIFAR-10, which sees them at its resolution; "shapes": one of their classes.
        archives: What it is trained on.
        size: For how long.

    Returns:
        The features, and how well the classifier does.
    """
    layers, channels, axes = (OF_SHAPES, 1, 3) if kind == "shapes" else (OF_PICTURES, 3, 2)
    source = archives.shapes(size.feature_resolution) if kind == "shapes" else archives.pictures()
    classes = source.labels["class"].values
    path = results.network(f"features-{kind}")

    def make() -> ConvNet:
        return ConvNet(channels, axes, WIDTH, layers, int(classes.max()) + 1, Options.dropout)

    def measure() -> Figures:
        torch.manual_seed(0)
        model = make()
        figures = train(model, _inputs(source, classes, size.most_pictures), Options(), epochs=size.feature_epochs)
        torch.save(model.state_dict(), path)
        return figures

    figures = results.cell(f"features-{kind}", {"epochs": size.feature_epochs, "most": size.most_pictures}, measure)
    model = make()
    model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    resolution = source.domain.resolution

    @torch.no_grad()
    def featurize(decoded: np.ndarray) -> np.ndarray:
        grids = torch.as_tensor(np.moveaxis(np.clip(decoded, 0, 1), -1, 1))
        if kind == "shapes":
            grids = (grids > 0.5).float()
        elif tuple(grids.shape[2:]) != resolution:
            grids = torch.nn.functional.interpolate(grids, resolution, mode="area")
        return np.concatenate([model.features(part).numpy() for part in grids.split(HELD_OUT_AT_ONCE)])

    return featurize, figures


def _inputs(source: Source, classes: np.ndarray, most: int) -> Inputs:
    """Examples evenly spread over both splits, channels first, with values in [0, 1]."""
    counts = {"train": most, "test": MOST_HELD_OUT}
    parts = [evenly(np.flatnonzero(source.split == part), count) for part, count in counts.items()]
    chosen = np.concatenate(parts)
    values = np.empty((len(chosen), source.features.num_channels, *source.domain.resolution), np.float16)
    for row, index in enumerate(chosen):
        values[row] = np.moveaxis(source.features.of_raw(source.read(int(index))), -1, 0)
    learned, held_out = np.split(np.arange(len(chosen)), [len(parts[0])])
    return Inputs(values=values, classes=np.asarray(classes)[chosen], train=learned, held_out=held_out)


def frechet_distance(one: Float[np.ndarray, "one features"], other: Float[np.ndarray, "other features"]) -> float:
    """Squared distance of the Gaussians of two sets of features (Dowson and Landau 1982), as in the FID.

    It is above 0 for two sets of one distribution, the more the fewer examples there are.
    """
    means = one.mean(axis=0) - other.mean(axis=0)
    spreads = [np.cov(rows.astype(np.float64), rowvar=False) for rows in (one, other)]
    root = scipy.linalg.sqrtm(spreads[0] @ spreads[1])
    return float(means @ means + np.trace(spreads[0] + spreads[1] - 2 * np.real(root)))
