"""Figure 3: PSNR of held-out portraits against the numbers of a modulation, for each kind of modulation."""

from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

from benchmarks import report
from benchmarks.paper.archives import Archives
from benchmarks.paper.quality import quality
from benchmarks.paper.results import Figures, Results
from benchmarks.paper.sizes import Size
from functa_store.config import overlaid
from functa_store.errors import ConfigError

NEEDS = frozenset({"portraits"})

W0_IN_CELLS = 10.0
"""Cells are small, and want lower frequencies than a whole portrait."""


def _networks(size: Size) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Kind of modulation, its numbers, and the changes of the network."""
    layers = size.portraits.network.depth - 1
    for count in size.latent:
        yield "latent", count, {"modulation_dim": count}
    for count in size.shift:
        if count % layers:
            raise ConfigError(f"shift modulations are as long as {layers} layers are wide, which cannot give {count}")
        yield "shift", count, {"modulation": "shift", "modulation_dim": None, "width": count // layers}
    for count in size.cells:
        grid = {"modulation": "spatial", "modulation_grid": (size.grid,) * 2, "w0": W0_IN_CELLS}
        yield "spatial", count, {**grid, "modulation_dim": count // size.grid**2}


def measure(results: Results, archives: Archives, size: Size) -> list[Figures]:
    """A row per kind and numbers."""
    resolution = size.portrait_resolutions[-1]
    source = archives.portraits(resolution)
    rows = []
    for kind, count, network in _networks(size):
        config = overlaid(size.portraits, {"network": network})
        found = quality(results, f"portraits-{resolution}-{kind}-{count}", source, config)
        rows.append({"kind": kind, "width": config.network.width, **found})
    return rows


def render(results: Results, rows: list[Figures]) -> str:
    """Draw the figure, and put it with its table into Markdown."""
    figure = Figure((5, 3.4), dpi=80, layout="constrained")
    panel = figure.subplots()
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        panel.semilogx([row["numbers"] for row in of_kind], [row["psnr"] for row in of_kind], "o-", label=kind)
    components = {row["numbers"]: row["pca"] for row in rows if row["pca"] is not None}
    panel.semilogx(sorted(components), [components[count] for count in sorted(components)], "k:", label="PCA")
    ticks = sorted({row["numbers"] for row in rows})
    panel.set_xticks(ticks, [str(count) for count in ticks])
    panel.minorticks_off()
    panel.set_xlabel("numbers per portrait")
    panel.set_ylabel("PSNR (dB)")
    panel.legend()
    path = results.picture("figure3")
    figure.savefig(path)
    headings = {"kind": "modulation", "numbers": "numbers", "width": "width of the network", "psnr": "PSNR (dB)",
                "pca": "PCA of as many (dB)", "outer_steps": "outer steps"}  # fmt: skip
    return f"![PSNR against numbers]({results.relative(path)})\n\n{report.table_of(rows, headings)}"
