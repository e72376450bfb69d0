"""`python -m demo`: write a small archive, convert it, decode it, and compare."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from demo.archive import TILE, write_archive
from demo.table import markdown, rows
from functa_store import open as open_functaset
from functa_store.cli import convert, info
from functa_store.cli import main as cli
from functa_store.decode.pictures import comparison_sheet, to_image
from functa_store.plugins import SurveyOptions
from functa_store.progress import (
    Event,
    Fitted,
    Learned,
    silent,
)
from functa_store.sources import source as sources

DEMO_SECONDS = 100
"""Seconds of meta-learning: enough to see, far from enough to compare with published figures."""

DEMO_DIM = 512
"""Numbers per tile: these photographs have little in common, so 128 would show little of them."""

DEMO_FIT_STEPS = 9
"""Half of the default: tuning and fitting so many numbers take twice as long with 17."""

OUTPUT = Path("demo-output")
ENLARGED = 4
SHOWN = 8


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

    words = ["convert", "celeba", str(archive), str(store), "--time-budget", str(seconds)]
    words += ["--modulation-dim", str(DEMO_DIM), "--fit-steps", str(DEMO_FIT_STEPS), *options]
    _say("functa " + " ".join(words))
    events: list[Event] = []
    args = cli.parse(words)
    convert.run(args, watch=events.append)

    preset = convert.preset_from(args)
    source = args.converter.open(str(archive), convert.options_from(args, preset), SurveyOptions(), silent)
    held_out = np.flatnonzero(np.asarray(source.split) == "test")
    _write_sheet(output / "contact-sheet.png", store, source, held_out)
    _write_table(output / "table.md", info.facts(store), [source.read(int(i)) for i in held_out], events)


def _write_sheet(path: Path, store: Path, source: sources.Source, held_out: np.ndarray) -> None:
    functaset = open_functaset(store)
    shown = _with_most_contrast(source, held_out)
    originals = [Image.fromarray(source.read(i)) for i in shown]
    columns = {
        "original": originals,
        "decoded": [to_image(x) for x in np.asarray(functaset.decode(shown))],
        f"decoded at {ENLARGED}x": [
            to_image(x) for x in np.asarray(functaset.decode(shown, resolution=ENLARGED * TILE))
        ],
        f"original, bicubic {ENLARGED}x": [
            image.resize((ENLARGED * TILE, ENLARGED * TILE), Image.Resampling.BICUBIC) for image in originals
        ],
    }
    comparison_sheet(columns).save(path)
    _say(f"held-out tiles, original and decoded: {path}")


def _with_most_contrast(source: sources.Source, held_out: np.ndarray) -> list[int]:
    """Tiles that show something, in the archive's order: sky and noise say little to a person."""
    smooth = [source.read(int(i)).reshape(8, 8, 8, 8, -1).mean(axis=(1, 3)) for i in held_out]
    contrast = np.array([tile.std() for tile in smooth])
    return sorted(held_out[np.argsort(-contrast)[:SHOWN]].tolist())


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
