"""Quality of held-out images beside PCA, PCA of blocks and cosines of as many numbers, JPEG and WebP of as many bytes.

    python -m benchmarks.images KIND ARCHIVE NAME [--folder bench-output] [words of functa convert]

Learns and tunes as `functa convert KIND ARCHIVE` with these words would, such as `--preset images64-spatial`, and fits
held-out images, at most `MOST_HELD_OUT`. Writes NAME.json, NAME.md and NAME.png into the folder:

- mean PSNR of ours, in float32 and as int8, of principal components of whole images and of blocks, and of cosines of
  8x8 blocks: those of most energy in the training images, and the largest of each image, whose places are not counted;
- of JPEG (its tables left out) and WebP of one byte per number, and of as many more as are an example's share of the
  base in float32;
- decoded at four times the resolution, the mean jump between neighbours divided by that of the image enlarged by cubic
  interpolation: above 1 where the functa is rougher between the archive's pixels than they say;
- for grids of modulations, at four times the resolution, the mean jump across borders of cells divided by that between
  other neighbours, in ours and in the enlarged image.
"""

import argparse
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks import image_peers, report
from benchmarks.harmonics import principal
from benchmarks.signals import features
from demo.table import as_jpeg
from functa_store.cli import convert as convert_command
from functa_store.cli import main as cli
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.decode.pictures import comparison_sheet, to_image
from functa_store.decode.tiled_decoder import TiledDecoder
from functa_store.domains.cells import CellGrid
from functa_store.errors import ConfigError
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import fit_examples
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import tune
from functa_store.nets.siren import to_weights
from functa_store.progress import Event, Learned, silent
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly
from functa_store.store.format.quantization import choose_rounding

MOST_HELD_OUT = 1024
MOST_TRAINING = 2048
"""Examples that principal components and the choice of cosines are learned from."""

MOST_ROUNDED = 64
"""Training examples whose modulations decide the range of int8."""

BLOCK = 8
"""Pixels along a side of a block of cosines, as JPEG's."""

SHOWN, ENLARGED = 6, 4


class Ours(NamedTuple):
    """What was learned and fitted.

    Attributes:
        decoder: Of the base.
        modulations: Of held-out images, float32.
        coarse: The same as int8 gives them back.
        base_bytes: Of the base in float32.
        outer_steps: Steps that were learned.
        seconds: Time of learning, compilation apart.
    """

    decoder: TiledDecoder
    modulations: np.ndarray
    coarse: np.ndarray
    base_bytes: int
    outer_steps: int
    seconds: float


def learned(source: Source, config: ConvertConfig, held_out: np.ndarray) -> Ours:
    """A base of the training split, and modulations of held-out images."""
    events: list[Event] = []
    training = TrainingSet(source, config)
    base = meta_learn(training, config, report=events.append)
    ready = tune(base, training, config)
    modulations = fit_examples(ready.fit, ready.shared, training.reader, held_out).modulations
    seen = fit_examples(ready.fit, ready.shared, training.reader, evenly(training.train, MOST_ROUNDED)).modulations
    channels = seen.reshape(-1, config.network.cell_size)
    rounding = choose_rounding("int8", channels.min(axis=0), channels.max(axis=0))
    rows = modulations.reshape(-1, channels.shape[-1])
    weights = to_weights(base.learnable.base)
    return Ours(
        TiledDecoder(config.network, weights, source.domain, source.features.num_channels),
        modulations,
        rounding.to_values(rounding.to_stored(rows)).reshape(modulations.shape),
        sum(np.asarray(array).nbytes for array in weights.values()),
        base.num_steps,
        max(event.seconds for event in events if isinstance(event, Learned)),
    )


def jump(images: np.ndarray) -> float:
    """Mean absolute difference of neighbours along both axes; images as for `seam`."""
    return float(np.mean([np.abs(np.diff(images, axis=axis)).mean() for axis in (1, 2)]))


def seam(images: np.ndarray, grid: tuple[int, ...]) -> float:
    """Mean absolute difference of neighbours across borders of cells, divided by that of all other neighbours.

    Args:
        images: Shape (examples, y, x, channels).
        grid: Cells along y and x.
    """
    across, within = [], []
    for axis, cells in zip((1, 2), grid, strict=True):
        jumps = np.abs(np.diff(images, axis=axis)).mean(axis=(0, 3 - axis, 3))
        border = np.diff((np.arange(images.shape[axis]) + 0.5) * cells // images.shape[axis]) > 0
        across.append(jumps[border])
        within.append(jumps[~border])
    return float(np.concatenate(across).mean() / np.concatenate(within).mean())


def peers(training: np.ndarray, truth: np.ndarray, network: NetworkConfig) -> dict[str, Callable[[], np.ndarray]]:
    """Other codes of as many numbers, by name."""
    numbers, size = network.modulation_size, truth.shape[1]
    found: dict[str, Callable[[], np.ndarray]] = {}
    if numbers < len(training):
        found[f"PCA, {numbers} components"] = lambda: principal(training, truth, numbers)
    grid = network.modulation_grid
    if grid is not None and not (size % grid[0] or size % grid[1]):
        name = f"PCA of blocks, {grid[0]}x{grid[1]} of {network.cell_size}"
        found[name] = functools.partial(image_peers.block_pca, training, truth, grid, network.cell_size)
    if size % BLOCK == 0 and truth.shape[-1] == 3:
        found["cosines of blocks, those of most energy"] = functools.partial(
            image_peers.block_dct, training, truth, BLOCK, numbers
        )
        found["cosines of blocks, the largest ones"] = functools.partial(image_peers.largest_dct, truth, BLOCK, numbers)
    return found


def files(pixels: np.ndarray, ours: Ours, numbers: int, examples: int) -> dict[str, np.ndarray]:
    """JPEG and WebP of one byte per number, without and with an example's share of the base."""
    share = round(ours.base_bytes / examples)
    found = {}
    for size, name in ((numbers, f"{numbers:,} bytes"), (numbers + share, f"{numbers + share:,} bytes, base counted")):
        for kind, code in (("JPEG", as_jpeg), ("WebP", image_peers.as_webp)):
            found[f"{kind}, {name}"] = np.stack([code(image, size) for image in pixels]) / 255
    return found


def compare(source: Source, config: ConvertConfig) -> tuple[dict[str, Any], Image.Image]:
    """JSON-ready figures, and a picture of some held-out images.

    Raises:
        ConfigError: If examples are no images, or none are held out.
    """
    if not isinstance(source.domain, CellGrid) or len(source.domain.resolution) != 2:
        raise ConfigError(f"{source.provenance['archive']}: expected images, with the axes y and x")
    held_out = evenly(np.flatnonzero(source.split == "test"), MOST_HELD_OUT)
    if not len(held_out):
        raise ConfigError(f"{source.provenance['archive']}: no example is held out, take more of them")
    truth = features(source, held_out)
    ours = learned(source, config, held_out)
    grid = source.domain.points()
    decoded = {
        name: ours.decoder(modulations, grid).reshape(truth.shape)
        for name, modulations in (("float32", ours.modulations), ("int8", ours.coarse))
    }
    training = features(source, evenly(np.flatnonzero(source.split == "train"), MOST_TRAINING))
    pixels = np.rint(np.clip(truth, 0, 1) * 255).astype(np.uint8)
    sides = {f"functa, {name}": images for name, images in decoded.items()}
    sides |= {name: code() for name, code in peers(training, truth, config.network).items()}
    if truth.shape[-1] == 3:
        sides |= files(pixels, ours, config.network.modulation_size, len(source.ids))
    mse = {name: np.mean((images - truth) ** 2, axis=(1, 2, 3)) for name, images in sides.items()}
    facts = {
        "source": source.provenance,
        "config": dataclasses.asdict(config),
        "train": int(np.sum(source.split == "train")),
        "held_out": len(held_out),
        "outer_steps": ours.outer_steps,
        "learning_seconds": ours.seconds,
        "base_bytes": ours.base_bytes,
        "rows": [{"side": name, "psnr": report.decibels(errors)} for name, errors in mse.items()],
    }
    shown = evenly(np.arange(len(held_out)), SHOWN)
    large = source.domain.points(tuple(ENLARGED * n for n in source.domain.resolution))
    enlarged = ours.decoder(ours.modulations[shown], large).reshape(len(shown), *large.shape, -1)
    cubic = [to_image(truth[k]).resize(enlarged.shape[2:0:-1], Image.Resampling.BICUBIC) for k in shown]
    smooth = np.stack([np.asarray(picture) for picture in cubic]).reshape(enlarged.shape) / 255
    facts["roughness"] = jump(enlarged) / jump(smooth)
    if (cells := config.network.modulation_grid) is not None:
        facts["seam"] = {"functa": seam(enlarged, cells), "cubic": seam(smooth, cells)}
    columns = {"archive": [to_image(truth[k]) for k in shown]}
    for name in list(sides)[:1] + list(sides)[2:]:
        columns[name.replace(", ", ",\n")] = [to_image(sides[name][k]) for k in shown]
    columns |= {f"functa at {ENLARGED}x": [to_image(image) for image in enlarged], f"cubic,\n{ENLARGED}x": cubic}
    return facts, comparison_sheet(columns)


def markdown(facts: dict[str, Any]) -> str:
    """The figures as a table and a line."""
    heading = (
        f"{facts['held_out']:,} held-out images beside {facts['train']:,} of the training split; "
        f"{facts['outer_steps']:,} outer steps in {facts['learning_seconds'] / 60:.1f} minutes.\n\n"
    )
    rows = report.table(
        ["held-out images as", "mean PSNR (dB)"], [[r["side"], f"{r['psnr']:.2f}"] for r in facts["rows"]]
    )
    seams = facts.get("seam")
    last = f"\nRoughness at {ENLARGED}x: {facts['roughness']:.2f}.\n"
    if seams is not None:
        last += f"Seams: {seams['functa']:.2f}, of enlarged images {seams['cubic']:.2f}.\n"
    return heading + rows + last


HONOURED = ("preset", "config", "limit")
"""Words of `functa convert` that hold here, beside those of an archive's options and of a configuration."""


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind")
    parser.add_argument("archive")
    parser.add_argument("name")
    parser.add_argument("--folder", type=Path, default=Path("bench-output"))
    args, words = parser.parse_known_args(argv)
    usual = ["convert", args.kind, args.archive, f"{args.name}.functa"]
    command, plain = cli.parse([*usual, *words]), cli.parse(usual)
    for name, value in vars(command).items():
        honoured = name in HONOURED or name.startswith(("config.", "source."))
        if not honoured and value != getattr(plain, name):
            parser.error(f"--{name.replace('_', '-')} is of what functa convert does and this does not; leave it out")
    use_all_cores()
    preset = convert_command.preset_from(command)
    options = convert_command.options_from(command, preset)
    source = command.converter.open(args.archive, options, SurveyOptions(limit=command.limit), silent)
    facts, picture = compare(source, preset.config)
    args.folder.mkdir(parents=True, exist_ok=True)
    text = markdown(facts)
    report.publish(args.name, facts, text, args.folder / f"{args.name}.json")
    (args.folder / f"{args.name}.md").write_text(text)
    picture.save(args.folder / f"{args.name}.png")


if __name__ == "__main__":
    main()
