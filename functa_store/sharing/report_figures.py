"""Figures of a report as addresses that hold them: plots by matplotlib, and pictures of examples."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.decode.functaset import Functaset
from functa_store.decode.pictures import solid_image, to_image
from functa_store.domains.domain import Domain
from functa_store.errors import ConfigError, GridError
from functa_store.media.sheet import SOLID, pictures, plane_pictures
from functa_store.sharing.run_history import Look
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Source
from functa_store.support.optional import require

MOST_POINTS = 256
"""Points of a picture along each axis."""

BINS = 40

MOST_CURVES = 4
"""Channels that a plot of an example shows."""


def learning_curve(looks: Sequence[Look]) -> str:
    """PSNR over outer steps: of training batches, and of the monitored examples."""
    figure, axes = _figure("outer step", "PSNR (dB)")
    steps = [look.step for look in looks]
    axes.plot(steps, [look.psnr for look in looks], label="training batches", color="#888888", linewidth=1)
    seen = [(look.step, look.monitored_psnr) for look in looks if look.monitored_psnr is not None]
    if seen:
        axes.plot(*zip(*seen, strict=True), label="monitored examples", color="#1f77b4")
    axes.legend(frameon=False)
    return _as_svg(figure)


def histogram(psnr: Mapping[str, np.ndarray]) -> str:
    """How many examples of each split have which PSNR; all are finite, and there is at least one."""
    figure, axes = _figure("PSNR (dB)", "examples")
    everything = np.concatenate(list(psnr.values()))
    low, high = float(everything.min()), float(everything.max())
    edges = np.linspace(low - 0.5, high + 0.5, BINS + 1) if high - low < 1e-6 else np.linspace(low, high, BINS + 1)
    axes.hist(list(psnr.values()), edges, stacked=True, label=list(psnr))
    axes.legend(frameon=False)
    return _as_svg(figure)


def decoded_figures(functaset: Functaset, index: int) -> list[str]:
    """An example as it is decoded; none where its kind has neither pictures nor curves."""
    domain, features = functaset.domain, functaset.features
    if domain.scene is not None:
        side = min(MOST_POINTS, *domain.scene.image_size)
        return [_as_png(picture) for picture in pictures(functaset, [index], side)]
    resolution = [min(MOST_POINTS, size) for size in domain.resolution] if len(domain.axes) == 2 else None
    return value_figures(domain, features, functaset.decode([index], resolution)[0], resolution)


def original_figures(source: Source, place: int) -> list[str]:
    """An example as its archive has it; none where that cannot be shown beside what is decoded.

    Raises:
        MemberError: If it cannot be read.
    """
    domain, features, raw = source.domain, source.features, source.read(place)
    if domain.scene is not None or raw.shape != (*domain.resolution, features.num_channels):
        return []
    return value_figures(domain, features, features.to_values(features.of_raw(raw), clip=True))


def value_figures(
    domain: Domain, features: FeatureSpec, values: np.ndarray, resolution: Sequence[int] | None = None
) -> list[str]:
    """An example by its values on a grid: pictures of a plane, a solid, the middle frame of a clip, or a curve."""
    try:
        if domain.axes == SOLID and features.num_channels == 1:
            low, high = features.value_range
            return [_as_png(solid_image(values[..., 0], level=(low + high) / 2))]
        if domain.axes == ("t", "y", "x") and features.num_channels in (1, 3, 4):
            return [_as_png(to_image(values[len(values) // 2], features.value_range))]
        if len(domain.axes) == 1:
            return [_curve(domain, features, values)]
        if len(domain.axes) == 2:
            return [_as_png(picture) for picture in plane_pictures(domain, features, values, resolution)]
    except (ConfigError, GridError):  # this kind makes no picture
        pass
    return []


def _curve(domain: Domain, features: FeatureSpec, values: np.ndarray) -> str:
    figure, axes = _figure("", "", size=(3.0, 1.6))
    for channel in range(min(features.num_channels, MOST_CURVES)):
        axes.plot(np.linspace(0, domain.lengths[0], len(values)), values[:, channel], linewidth=0.6)
    axes.set_ylim(*features.value_range)
    return _as_svg(figure)


def _figure(across: str, up: str, size: tuple[float, float] = (7.0, 3.2)) -> Any:
    """A figure without the interface that keeps all figures of a process; texts in it become outlines."""
    figure = require("matplotlib.figure", extra="report").Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=across, ylabel=up)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _as_svg(figure: Any) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return _address("image/svg+xml", file.getvalue())


def _as_png(picture: Any) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return _address("image/png", file.getvalue())


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
