"""Figure 2: bytes of arrays and of functa against the resolution, at equal PSNR."""

import dataclasses
import math
from collections.abc import Callable, Iterator

from matplotlib.figure import Figure

from benchmarks import report
from benchmarks.paper.archives import Archives
from benchmarks.paper.quality import coarse_points, numbers_for, quality
from benchmarks.paper.results import Figures, Results
from benchmarks.paper.sizes import Size
from functa_store.config import ConvertConfig, overlaid
from functa_store.sources.source import Source

FLOAT32 = 4
KINDS = {"portraits": "images", "shapes": "voxels", "fields": "a field"}
NEEDS = frozenset(KINDS)


@dataclasses.dataclass(frozen=True)
class _Kind:
    """One panel: examples at a resolution, how they are learned, and bytes of a value in an array."""

    open: Callable[[int], Source]
    resolutions: tuple[int, ...]
    config: ConvertConfig
    value_bytes: int


def _kinds(archives: Archives, size: Size) -> dict[str, _Kind]:
    return {
        "portraits": _Kind(archives.portraits, size.portrait_resolutions, size.portraits, 1),
        "shapes": _Kind(archives.shapes, size.shape_resolutions, size.shapes, 1),
        "fields": _Kind(archives.fields, size.field_strides, size.fields, FLOAT32),
    }


def measure(results: Results, archives: Archives, size: Size) -> list[Figures]:
    """A row per kind and resolution, the coarsest first.

    Each resolution is learned with some sizes of modulations. The PSNR that is asked of all of them is the lowest that
    the largest modulation has at any resolution; the numbers that reach it are interpolated between the sizes.
    """
    return [row for name, kind in _kinds(archives, size).items() for row in _rows(results, name, kind, size.numbers)]


def _rows(results: Results, name: str, kind: _Kind, numbers: tuple[int, ...]) -> Iterator[Figures]:
    found: dict[int, list[Figures]] = {}
    for resolution in kind.resolutions:
        source, found[resolution] = kind.open(resolution), []
        for count in numbers:
            config = overlaid(kind.config, {"network": {"modulation_dim": count}})
            found[resolution].append(quality(results, f"{name}-{resolution}-latent-{count}", source, config))
    asked = min(max(cell["psnr"] for cell in cells) for cells in found.values())
    for resolution, cells in found.items():
        settings = {"psnr": asked}
        array = results.cell(f"{name}-{resolution}-array", settings, lambda r=resolution: _array(kind, r, asked))
        needed = numbers_for(asked, numbers, [cell["psnr"] for cell in cells])
        assert needed is not None
        base = max(cell["base_numbers"] for cell in cells)
        yield {
            "kind": name,
            "resolution": " x ".join(map(str, array["resolution"])),
            "points": math.prod(array["resolution"]),
            "psnr": asked,
            "array": array["values"] * kind.value_bytes,
            "coarse": array["coarse_values"] * kind.value_bytes,
            "functa": needed * FLOAT32,
            "with_base": needed * FLOAT32 + base * FLOAT32 / array["examples"],
            "base": base * FLOAT32,
        }


def _array(kind: _Kind, resolution: int, psnr: float) -> Figures:
    source = kind.open(resolution)
    channels = source.features.num_channels
    return {
        "resolution": list(source.domain.resolution),
        "values": math.prod(source.domain.resolution) * channels,
        "coarse_values": coarse_points(source, psnr) * channels,
        "examples": len(source.ids),
    }


LINES = {
    "array": "array",
    "coarse": "coarser array, interpolated",
    "functa": "functa",
    "with_base": "functa and its share of the base",
}


def render(results: Results, rows: list[Figures]) -> str:
    """Draw the figure, and put it with its table into Markdown."""
    figure = Figure((10, 3.2), dpi=80, layout="constrained")
    panels = figure.subplots(1, len(KINDS))
    for panel, (name, title) in zip(panels, KINDS.items(), strict=True):
        of_kind = [row for row in rows if row["kind"] == name]
        for key, label in LINES.items():
            panel.loglog([row["points"] for row in of_kind], [row[key] for row in of_kind], "o-", label=label)
        panel.set_title(f"{title}, {of_kind[0]['psnr']:.1f} dB")
        panel.set_xticks([row["points"] for row in of_kind], [row["resolution"] for row in of_kind], fontsize=7)
        panel.minorticks_off()
        panel.set_xlabel("resolution")
    panels[0].set_ylabel("bytes per example")
    panels[0].legend(fontsize=7)
    path = results.picture("figure2")
    figure.savefig(path)
    headings = ["kind", "resolution", "PSNR asked (dB)", *(f"{label} (bytes)" for label in LINES.values()), "base"]
    lines = [[row["kind"], row["resolution"], row["psnr"], *(round(row[key]) for key in (*LINES, "base"))]
             for row in rows]  # fmt: skip
    return f"![Bytes against resolution]({results.relative(path)})\n\n{report.table(headings, lines)}"
