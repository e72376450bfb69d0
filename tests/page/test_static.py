"""The built page that ships with functa-store."""

import gzip
import hashlib
import re
from pathlib import Path

import pytest

from functa_store.page.site import INDEX, STATIC

WEB = Path(__file__).parents[2] / "web"
SOURCES = ("index.html", "package-lock.json", "public", "src", "tsconfig.json", "vite.config.ts")

MOST_BYTES = 300_000
"""Of all files together, each packed by gzip."""


def test_the_build_is_that_of_the_source():
    """Without Node: the build holds a digest of its source, see `web/vite.config.ts`."""
    found = [path for name in SOURCES for path in (WEB / name, *(WEB / name).rglob("*")) if path.is_file()]
    names = sorted(path.relative_to(WEB).as_posix().encode() for path in found)
    lines = [f"{hashlib.sha256((WEB / n.decode()).read_bytes()).hexdigest()}  {n.decode()}\n" for n in names]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (STATIC / "source.sha256").read_text().strip() == expected, "run make web and commit what it builds"


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
