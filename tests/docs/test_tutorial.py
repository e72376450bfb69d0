"""The tutorial's commands and code run as they are written, and give what it says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from functa_store.cli.main import main
from tests.docs.pages import PAGES, blocks

PAGE = PAGES / "tutorial.md"
WRITTEN_BUDGET, SHORT_BUDGET = "--time-budget 120", "--time-budget 4"
"""The only words that the test changes: seconds of learning."""


def run(page):
    """Run a page's commands of `functa` and its Python in the working directory; returns the Python's names."""
    names = {"__name__": "tutorial"}
    for number, (kind, text) in enumerate(blocks(page), start=1):
        if kind == "python":
            exec(compile(text, f"block {number} of the tutorial", "exec"), names)
            continue
        for line in text.splitlines():
            if line.startswith("$ functa "):
                assert main(shlex.split(line, comments=True)[2:]) == 0, line
    return names


@pytest.mark.slow
def test_the_tutorial_runs_from_top_to_bottom_and_gives_what_it_says(tmp_path, monkeypatch, capsys):
    page = PAGE.read_text()
    assert page.count(WRITTEN_BUDGET) == 1
    monkeypatch.chdir(tmp_path)
    found = run(page.replace(WRITTEN_BUDGET, SHORT_BUDGET))

    tiles, shown = found["tiles"], capsys.readouterr().out
    files = [path.relative_to("tiles").as_posix() for path in sorted(Path("tiles").rglob("*.png"))]
    assert tiles.ids[:].tolist() == files
    splits = [int(np.sum(tiles.split[:] == split)) for split in ("train", "test")]
    assert "These are {:,} tiles to learn from and {:,} held out.".format(*splits) in page
    assert f"{len(tiles):,} of 32 x 32 points, 3 channels" in page
    assert f"{len(tiles):,} of 32 x 32 points, 3 channels" in shown
    assert found["held_out"].tolist() == list(range(splits[1]))  # as `--index 0:343:14` takes it

    assert found["decoded"].shape == (12, 32, 32, 3)
    assert found["decoded"].dtype == np.float32
    assert found["whole"].shape == found["middle"].shape == found["window"].shape == (256, 256, 3)
    assert found["between"].shape == (1, 3)
    assert found["table"].shape == (27, 64)
    assert found["names"] == ("astronaut", "camera", "cat", "coffee", "motorcycle", "rocket")
    for name in ("sheet", "beside", "zoom"):
        with Image.open(f"{name}.png") as made, Image.open(PAGE.parent / f"images/tutorial-{name}.png") as pictured:
            assert made.size == pictured.size, name

    accuracies = found["accuracies"]
    assert accuracies["modulations, 64 numbers"] > 1.5 * accuracies["the most frequent class"]
    for line in re.findall(r"^.+ +\d+\.\d%$", page, flags=re.MULTILINE):
        words = line.rsplit(maxsplit=1)[0].strip()
        assert words in accuracies
        assert words in shown
    assert f"{accuracies['the most frequent class']:.1%}" in page
