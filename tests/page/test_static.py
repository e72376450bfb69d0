"""The built page that ships with functa-store."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from functa_store.page.site import INDEX, STATIC

WEB = Path(__file__).parents[2] / "web"
SOURCES = ("index.html", "package-lock.json", "package.json", "public", "src", "tsconfig.json", "vite.config.ts")

MOST_BYTES = 300_000
"""Of all files together, each packed by gzip."""


def test_the_build_is_that_of_the_source():
    """Without Node: the build holds a digest of its source, see `web/vite.config.ts`."""
    found = [path for name in SOURCES for path in (WEB / name, *(WEB / name).rglob("*")) if path.is_file()]
    names = sorted(path.relative_to(WEB).as_posix().encode() for path in found)
    lines = [f"{hashlib.sha256((WEB / n.decode()).read_bytes()).hexdigest()}  {n.decode()}\n" for n in names]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (STATIC / "source.sha256").read_text().strip() == expected, "run make web and commit what it builds"


@pytest.mark.slow
def test_the_build_is_made_again_byte_by_byte(tmp_path):
    if (npm := shutil.which("npm")) is None:
        pytest.skip("npm is not installed")
    if not (WEB / "node_modules/.installed").is_file():
        pytest.skip("web/node_modules is not there; make web/node_modules/.installed")
    build = [npm, "run", "build", "--", "--outDir", str(tmp_path / "static"), "--emptyOutDir"]
    subprocess.run(build, cwd=WEB, check=True, capture_output=True)
    found = {path.relative_to(tmp_path / "static"): path for path in (tmp_path / "static").rglob("*") if path.is_file()}
    kept = {path.relative_to(STATIC): path for path in STATIC.rglob("*") if path.is_file()}
    assert found.keys() == kept.keys(), "run make web and commit what it builds"
    assert [name for name in kept if kept[name].read_bytes() != found[name].read_bytes()] == []


def test_the_lock_names_no_registry():
    """Packages are those of their checksums, from wherever npm is told to fetch them."""
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert [path for path, entry in packages.items() if "resolved" in entry] == []
    assert [path for path, entry in packages.items() if path and "integrity" not in entry] == []


def test_the_page_is_small():
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    assert sum(len(gzip.compress(path.read_bytes(), mtime=0)) for path in files) < MOST_BYTES


def test_the_page_refers_to_nothing_but_its_own_files():
    text = (STATIC / INDEX).read_text()
    named = re.findall(r"""(?:src|href)="([^"]*)\"""", text)
    assert len(named) == 3
    for name in named:
        assert (STATIC / name).is_file(), name


def test_the_policy_lets_nothing_run_but_the_page():
    text = (STATIC / INDEX).read_text()
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert rules["worker-src"] == rules["style-src"] == "'self'"
    assert "unsafe-inline" not in policy[1]
    assert "<script>" not in text
    assert not re.search(r"\sstyle=|\son\w+=", text)


@pytest.mark.parametrize(
    "word", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval("]
)
def test_the_source_makes_no_markup_of_texts(word):
    for path in (WEB / "src").rglob("*.ts"):
        assert word not in path.read_text(), path
