"""The accelerator's script runs through on a CPU, tiny, and no part of it takes the others along when it fails."""

import io
import json
import math
import os
import pathlib
import subprocess
import sys
import threading
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from benchmarks import accelerator

ROOT = pathlib.Path(__file__).parents[1]
PARTS = ("fits", "decode", "outer_steps", "learning")


def run_script(*options):
    """The script as on a device; its standard output."""
    command = ["sh", str(ROOT / "benchmarks" / "accelerator.sh"), "--cpu", "--runs", "1", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_script_measures_everything_and_learns_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "cifar.zip", "w") as archive:
        rng = np.random.default_rng(0)
        for split, count in (("train", 12), ("test", 6)):
            for number in range(count):
                content = io.BytesIO()
                small = Image.fromarray(rng.integers(0, 256, size=(4, 4, 3), dtype=np.uint8))
                small.resize((32, 32), Image.Resampling.BICUBIC).save(content, "JPEG")
                archive.writestr(f"{split}/{'ab'[number % 2]}/{number:04}.jpg", content.getvalue())
    printed = run_script("--archive", tmp_path / "cifar.zip", "--out", tmp_path / "out" / "found.json")
    found = json.loads((tmp_path / "out" / "found.json").read_text())
    assert not [row for part in PARTS for row in found[part] if "failed" in row or "skipped" in row]
    pairs = {(row["workload"], row["precision"]) for row in found["fits"]}
    assert pairs == {(name, precision) for name in ("16x3", "16x3-2x2x4") for precision in ("float32", "bfloat16")}
    assert pairs == {(row["workload"], row["precision"]) for row in found["outer_steps"]}
    assert all(row["speedup"] > 0 and row["share"] > 0 for part in ("fits", "outer_steps") for row in found[part])
    assert all(row["points_per_second"] > 0 for row in found["decode"])
    assert [row["name"] for row in found["learning"]] == ["2x2x4", "one vector of 16"]
    assert all(row["psnr_test_3_steps"] > 5 and row["psnr_test_10_steps"] > 5 for row in found["learning"])
    assert all(found["curves"][row["name"]][-1][0] == row["outer_steps"] for row in found["learning"])
    assert "| 16x3-2x2x4 | bfloat16 |" in printed
    assert "| one vector of 16 |" in printed


@pytest.mark.slow
def test_the_script_skips_learning_without_its_archive(tmp_path):
    printed = run_script("--archive", tmp_path / "none.zip", "--parts", "learning", "--out", tmp_path / "found.json")
    rows = json.loads((tmp_path / "found.json").read_text())["learning"]
    assert all("none.zip; give CIFAR-10" in row["skipped"] for row in rows)
    assert len(rows) == 2
    assert "give CIFAR-10" in printed


def test_without_an_accelerator_it_says_what_to_do(tmp_path):
    with pytest.raises(accelerator.NoAcceleratorError, match=r"sees a CPU alone.*jax\[cuda13\].*--cpu"):
        accelerator.main(["--out", str(tmp_path / "found.json")])


def test_without_time_everything_is_skipped_with_its_reason(tmp_path, capsys):
    options = ["--cpu", "--minutes", "0", "--archive", str(tmp_path / "none.zip")]
    assert accelerator.main([*options, "--out", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert all(row["skipped"] for part in PARTS for row in found[part])
    assert [len(found[part]) for part in PARTS] == [4, 2, 4, 2]
    assert "no time is left for this part" in capsys.readouterr().out


def test_a_job_that_fails_or_takes_too_long_leaves_the_others():
    def broken():
        raise MemoryError("too large")

    release = threading.Event()
    found = dict(accelerator.compiled({"fine": lambda: 7, "broken": broken, "slow": release.wait}, 0.2))
    release.set()
    assert found["fine"] == 7
    assert isinstance(found["broken"], MemoryError)
    assert "not compiled in the time" in str(found["slow"])


def test_results_are_a_whole_file_after_each_row(tmp_path):
    results = accelerator.Results(tmp_path / "found.json", {"machine": {}}, accelerator.Clock(60.0))
    results.add("fits", {"workload": "a", "speedup": math.nan})
    assert json.loads(results.path.read_text())["fits"] == [{"workload": "a", "speedup": None}]
    results.add("decode", {"workload": "a", "failed": "MemoryError: too large"})
    assert json.loads(results.path.read_text())["decode"][0]["failed"] == "MemoryError: too large"
    assert results.failures == 1
    assert "MemoryError: too large" in accelerator.markdown(results.facts)


def test_sides_that_differ_are_a_failure():
    ceiling = accelerator.Ceiling({"1x1": 1.0}, "1x1", 1, lambda: jnp.ones(1))
    ours = accelerator.Ready(lambda: np.ones((2, 3)), 2, 0.0)
    plain = accelerator.Ready(lambda: np.full((1, 3), 1.01), 1, 0.0)
    row = accelerator.compare(ours, plain, ceiling, 1, 1, 7.0, check=True)
    assert "differ by 0.0099 of the largest" in row["failed"]
    assert "failed" not in accelerator.compare(ours, plain, ceiling, 1, 1, 7.0, check=False)
