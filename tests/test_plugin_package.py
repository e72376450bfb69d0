"""The package of docs/how-to/write-a-converter.md, installed by itself, converts and repairs what it says."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import functa_store

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "examples" / "plugin"
PAGE = ROOT / "docs" / "how-to" / "write-a-converter.md"
POINTS = 24


@pytest.fixture(scope="module", name="installed")
def _installed(tmp_path_factory):
    """Where the package is installed: by pip, or as pip would where it, or the build backend, is missing."""
    target = tmp_path_factory.mktemp("installed")
    if importlib.util.find_spec("pip") and importlib.util.find_spec("hatchling"):
        command = (
            "-m pip install --quiet --no-deps --no-build-isolation --no-index --disable-pip-version-check --target"
        )
        subprocess.run([sys.executable, *command.split(), str(target), str(PACKAGE)], check=True)
        return target
    (target / "functa_curves.py").write_bytes((PACKAGE / "functa_curves.py").read_bytes())
    facts = target / "functa_curves-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: functa-curves\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[functa_store.converters]\ncurves = functa_curves:converter\n")
    return target


@pytest.fixture(scope="module", name="functa")
def _functa(installed):
    """Runs `functa ...` with the package installed, and gives the last JSON object that it prints."""

    def run(*arguments, code=0):
        paths = os.pathsep.join([str(installed), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "functa_store.cli", *map(str, arguments), "--json"]
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module", name="archive")
def _archive(tmp_path_factory):
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, (40, 1))
    curves = np.sin(2 * np.pi * np.arange(POINTS) / POINTS + phases)
    lines = [",".join(f"{height:.4f}" for height in curve) for curve in curves]
    lines[7] = "no,curve"
    path = tmp_path_factory.mktemp("archive") / "curves.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module", name="store")
def _store(functa, archive, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "curves.functa"
    small = ("--outer-steps", 20, "--fit-steps", 3, "--batch-size", 4)
    functa("convert", "curves", archive, path, "--points", POINTS, "--max-rejects", 0.1, *small)
    return path


def test_an_installed_package_converts_its_archives(store):
    functaset = functa_store.open(store)
    assert len(functaset) == 39
    assert functaset.ids[7] == "line 9"
    assert [reject.member for reject in functaset.store.rejects] == ["line 8"]
    assert functaset.decode(slice(None), resolution=100).shape == (39, 100, 1)
    assert functaset.features.value_range == (-1, 1)


def test_its_presets_are_listed_and_its_archives_read_again(functa, store, archive):
    assert list(functa("presets")["curves"]) == ["curves-fast"]
    assert functa("verify", store, "--deep", "--archive", archive)


def test_its_errors_are_those_of_functa_store(functa, archive, tmp_path):
    said = functa("convert", "curves", archive, tmp_path / "a.functa", "--points", 7, code=2)
    assert said["error"] == "TooManyRejectsError"


def test_the_page_shows_the_package_as_it_is():
    blocks = re.findall(r"^```(?:toml|python)[^\n]*\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for name in ("pyproject.toml", "functa_curves.py"):
        assert (PACKAGE / name).read_text() in blocks, f"copy examples/plugin/{name} into {PAGE.name} again"
