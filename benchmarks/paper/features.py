"""Feature spaces that are learned here, and the Fréchet distance of two sets of examples in them."""

from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float

from benchmarks.paper.archives import Archives
from benchmarks.paper.classifiers import EVALUATED, ConvNet, Inputs, train
from benchmarks.paper.results import Figures, Results
from benchmarks.paper.sizes import Size
from examples.command import Options
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly

WIDTH = 16
OF_PICTURES = ((3, 1), (3, 2), (3, 2))
OF_SHAPES = ((4, 4), (3, 2), (3, 2))
"""Kernels and strides; the last of three convolutions has 64 channels, fewer than there are examples to compare."""

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
    model = ConvNet(channels, axes, WIDTH, layers, int(classes.max()) + 1, Options.dropout)
    path = results.network(f"features-{kind}")

    def measure() -> Figures:
        torch.manual_seed(0)
        fresh = ConvNet(channels, axes, WIDTH, layers, int(classes.max()) + 1, Options.dropout)
        figures = train(fresh, _inputs(source, classes, size.most_pictures), Options(), epochs=size.feature_epochs)
        torch.save(fresh.state_dict(), path)
        return figures

    figures = results.cell(f"features-{kind}", {"epochs": size.feature_epochs, "most": size.most_pictures}, measure)
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
        return np.concatenate([model.features(part).numpy() for part in grids.split(EVALUATED)])

    return featurize, figures


def _inputs(source: Source, classes: np.ndarray, most: int) -> Inputs:
    """Examples evenly spread over both splits, channels first, with values in [0, 1]."""
    parts = [evenly(np.flatnonzero(source.split == part), count) for part, count in (("train", most), ("test", 2000))]
    scale, offset = source.features.scale, source.features.offset
    first = np.asarray(source.read(int(parts[0][0])))
    values = np.empty((len(parts[0]) + len(parts[1]), *np.moveaxis(first, -1, 0).shape), np.float16)
    for row, index in enumerate(np.concatenate(parts)):
        values[row] = np.moveaxis(source.read(int(index)) * scale + offset, -1, 0)
    places = np.arange(len(values))
    return Inputs(
        values=values,
        classes=np.asarray(classes)[np.concatenate(parts)],
        train=places[: len(parts[0])],
        held_out=places[len(parts[0]) :],
    )


def frechet_distance(one: Float[np.ndarray, "one features"], other: Float[np.ndarray, "other features"]) -> float:
    """Squared distance of the Gaussians of two sets of features (Dowson and Landau 1982), as in the FID.

    It is above 0 for two sets of one distribution, the more the fewer examples there are.
    """
    means = one.mean(axis=0) - other.mean(axis=0)
    spreads = [np.cov(rows.astype(np.float64), rowvar=False) for rows in (one, other)]
    root = scipy.linalg.sqrtm(spreads[0] @ spreads[1])
    return float(means @ means + np.trace(spreads[0] + spreads[1] - 2 * np.real(root)))
