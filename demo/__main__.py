"""`python -m demo`: write a small archive, convert it, decode it, and compare."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from demo.archive import TILE, write_archive
from demo.table import as_jpeg, markdown, principal_components, rows
from functa_store import info
from functa_store import open as open_functaset
from functa_store.cli import convert
from functa_store.cli import main as cli
from functa_store.decode.functaset import Functaset
from functa_store.decode.pictures import comparison_sheet, to_image
from functa_store.metrics import psnr_of_mean_mse
from functa_store.plugins import SurveyOptions
from functa_store.progress import (
    Event,
    Fitted,
    Learned,
    silent,
)
from functa_store.sources import source as sources

DEMO_SECONDS = 60
"""Seconds of meta-learning: enough to see, far from enough to compare with published figures."""

DEMO_MODULATION = ("--preset", "images64-spatial", "--modulation-grid", "4,4", "--modulation-dim", "16")
"""256 numbers, and in int8 bytes, per tile: 4x4 cells of 16."""

DEMO_NETWORK = ("--network.depth", "4", "--network.w0", "15", "--outer.map_learning_rate", "2e-3")
"""A shallower network than the preset's learns more in a minute; a cell is 8 pixels wide here, half of one there."""

DEMO_FIT = ("--fit-steps", "9", "--fit.tuning_steps", "24")
"""Half of the usual steps and fewer updates of their rates: tuning and fitting take twice as long with 17 and 100."""

OUTPUT = Path("demo-output")
ENLARGED = 4


def main(output: Path = OUTPUT, seconds: float = DEMO_SECONDS, options: tuple[str, ...] = ()) -> None:
    """Run the demo.

    Args:
        output: Folder for everything it writes; what an earlier demo left there is replaced.
        seconds: Seconds of meta-learning.
        options: More words for `functa convert celeba`.
    """
    output.mkdir(parents=True, exist_ok=True)
    archive, store = output / "photographs_celeba_layout.zip", output / "photographs.functa"
    for leftover in (store, store.with_name(f"{store.name}.work")):
        shutil.rmtree(leftover, ignore_errors=True)
    store.with_name(f"{store.name}.log").unlink(missing_ok=True)
    _say(f"{write_archive(archive):,} tiles of {TILE} x {TILE} pixels of scikit-image's photographs: {archive}")

    words = ["convert", "celeba", str(archive), str(store), "--resolution", str(TILE), "--time-budget", str(seconds)]
    words += ["--dtype", "int8", "--outer.num_points", "256"]
    words += [*DEMO_MODULATION, *DEMO_NETWORK, *DEMO_FIT, *options]
    _say("functa " + " ".join(words))
    events: list[Event] = []
    args = cli.parse(words)
    convert.run(args, watch=events.append)

    preset = convert.preset_from(args)
    source = args.converter.open(str(archive), convert.options_from(args, preset), SurveyOptions(), silent)
    held_out = np.flatnonzero(np.asarray(source.split) == "test")
    _write_sheet(output / "contact-sheet.png", open_functaset(store), source, held_out)
    _write_table(output / "table.md", info(store), [source.read(int(i)) for i in held_out], events)


def _write_sheet(path: Path, functaset: Functaset, source: sources.Source, held_out: np.ndarray) -> None:
    """Held-out tiles as they are, as functa, and as PCA and JPEG of as many numbers and bytes."""
    originals = np.stack([source.read(int(i)) for i in held_out])
    size = functaset.config.network.modulation_size
    training = np.stack([source.read(int(i)) for i in np.flatnonzero(np.asarray(source.split) == "train")])
    ways = {
        f"functa, {size} B": np.asarray(functaset.decode(held_out)),
        f"PCA, {size} numbers": principal_components(training, originals, size),
        f"JPEG, {size} B": np.stack([as_jpeg(tile, size) for tile in originals]) / 255,
    }
    rows = _one_per_photograph(source, held_out, originals)
    columns = {"original": [Image.fromarray(originals[k]) for k in rows]}
    for name, found in ways.items():
        errors = ((found - originals / 255) ** 2).mean(axis=(1, 2, 3))
        columns[f"{name}\n{psnr_of_mean_mse(errors):.1f} dB"] = [to_image(found[k]) for k in rows]
    large = ENLARGED * TILE
    decoded = np.asarray(functaset.decode(held_out[rows], resolution=large))
    columns[f"functa,\ndecoded at {ENLARGED}x"] = [to_image(pixels) for pixels in decoded]
    columns[f"original,\nbicubic {ENLARGED}x"] = [
        Image.fromarray(originals[k]).resize((large, large), Image.Resampling.BICUBIC) for k in rows
    ]
    comparison_sheet(columns).save(path)
    _say(f"held-out tiles, decoded, and as PCA and JPEG (dB of the mean error of all {len(held_out)} of them): {path}")


def _one_per_photograph(source: sources.Source, held_out: np.ndarray, tiles: np.ndarray) -> list[int]:
    """Of each photograph the held-out tile with more contrast than nine tenths of its others.

    Sky and other smooth tiles say little to a person; which tile is decoded well plays no part.
    """
    contrast = tiles.std(axis=(1, 2)).mean(axis=-1)
    found = []
    for label in source.labels.values():
        of_photograph = np.flatnonzero(np.asarray(label.values)[held_out] == 1)
        by_contrast = of_photograph[np.argsort(contrast[of_photograph])]
        found.append(int(by_contrast[len(by_contrast) * 9 // 10]))
    return sorted(found)


def _write_table(path: Path, facts: dict[str, Any], originals: list[np.ndarray], events: list[Event]) -> None:
    learned = [event for event in events if isinstance(event, Learned)]
    fitted = [event for event in events if isinstance(event, Fitted)]
    text = (
        f"{facts['examples']:,} tiles, of which {len(originals)} held out; "
        f"{learned[-1].step:,} outer steps in {learned[-1].seconds:.0f} s; "
        f"fitted at {fitted[-1].examples_per_second:.1f} examples per second.\n\n"
        f"{markdown(rows(facts, originals))}"
    )
    path.write_text(text)
    _say(f"\n{text}\nThe same table: {path}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
