"""The package of docs/how-to/write-a-converter.md, installed by itself, converts and repairs what it says."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import functa_store
from functa_store.errors import ArchiveError, TooManyRejectsError
from functa_store.plugins import SurveyOptions, converters
from functa_store.progress import silent
from functa_store.reopen import reopened
from functa_store.sources.source import check_source

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "examples" / "plugin"
PAGE = ROOT / "docs" / "how-to" / "write-a-converter.md"
POINTS = 24


def by_hand(target):
    """What pip makes of the package, without waiting for pip."""
    (target / "functa_curves.py").write_bytes((PACKAGE / "functa_curves.py").read_bytes())
    (target / "functa_curves-1.0.dist-info").mkdir()
    points = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in named.items()) for group, named in points.items()]
    (target / "functa_curves-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: functa-curves\n")
    (target / "functa_curves-1.0.dist-info" / "entry_points.txt").write_text("".join(lines))


@pytest.fixture(name="curves")
def _curves(tmp_path, monkeypatch):
    """The converter as this process finds it."""
    (tmp_path / "installed").mkdir()
    by_hand(tmp_path / "installed")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    yield converters()["curves"]
    sys.modules.pop("functa_curves")


@pytest.fixture(scope="module", name="installed")
def _installed(tmp_path_factory):
    """Where pip has installed the package."""
    for needed in ("pip", "hatchling"):
        pytest.importorskip(needed)
    target = tmp_path_factory.mktemp("installed")
    command = "-m pip install --quiet --no-deps --no-build-isolation --no-index --disable-pip-version-check --target"
    subprocess.run([sys.executable, *command.split(), str(target), str(PACKAGE)], check=True)
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


def test_a_file_of_curves_is_read_as_the_options_say(curves, archive):
    survey = SurveyOptions(limit=30, max_rejects=0.1)
    source = curves.open(str(archive), curves.options(points=POINTS), survey, silent)
    assert isinstance(source, functa_store.Source)
    check_source(source)
    assert (len(source.ids), source.ids[7], source.read(7).shape) == (29, "line 9", (POINTS, 1))
    assert [(reject.member, reject.reason[:15]) for reject in source.rejects] == [("line 8", "could not conve")]
    again = reopened(str(archive), source.provenance)
    np.testing.assert_array_equal(again.read(20), source.read(20))


def test_its_errors_are_those_of_functa_store(curves, archive, tmp_path):
    options, survey = curves.options(points=7), SurveyOptions(max_rejects=0.1)
    with pytest.raises(TooManyRejectsError, match=r"40 of 40 lines .* line 1 has 24 numbers, expected 7"):
        curves.open(str(archive), options, survey, silent)
    with pytest.raises(ArchiveError, match="no such file"):
        curves.open(str(tmp_path / "none.csv"), options, survey, silent)
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)))
    with pytest.raises(TooManyRejectsError, match="line 1 could not convert"):
        curves.open(str(tmp_path / "bytes.csv"), options, survey, silent)


@pytest.mark.long
def test_an_installed_package_converts_its_archives(store):
    functaset = functa_store.open(store)
    assert len(functaset) == 39
    assert functaset.ids[7] == "line 9"
    assert [reject.member for reject in functaset.store.rejects] == ["line 8"]
    assert functaset.decode(slice(None), resolution=100).shape == (39, 100, 1)
    assert functaset.features.value_range == (-1, 1)


@pytest.mark.long
def test_its_presets_are_listed_and_its_archives_read_again(functa, store, archive):
    assert list(functa("presets")["curves"]) == ["curves-fast"]
    assert functa("verify", store, "--deep", "--archive", archive)


def test_the_page_shows_the_package_as_it_is():
    blocks = re.findall(r"^```(?:toml|python)[^\n]*\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for name in ("pyproject.toml", "functa_curves.py"):
        assert (PACKAGE / name).read_text() in blocks, f"copy examples/plugin/{name} into {PAGE.name} again"
