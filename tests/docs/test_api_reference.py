"""The reference of Python documents every public name, and nothing that is not there."""

import ast
import re
from pathlib import Path

import functa_store
from functa_store import loaders

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/api.md").read_text()
ENTRIES = re.findall(r"^::: (\S+)$", PAGE, flags=re.MULTILINE)

PUBLIC = {
    *(f"functa_store.{home}.{inner}" for home, inner in functa_store._FOUND_IN.values()),
    *(f"functa_store.loaders.{home}.{name}" for name, home in loaders._FOUND_IN.items()),
}
"""Where each name is defined that a user imports; read without importing JAX or torch."""


def definitions(body):
    """Names bound at the top of a module or class, and the statement that binds each."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from ((target.id, node) for target in targets if isinstance(target, ast.Name))


def documented(entry):
    """What an entry stands for: itself, or all public names of a module; None if there is no such thing."""
    parts = entry.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length]).with_suffix(".py")
        if not path.is_file():
            continue
        body = ast.parse(path.read_text()).body
        if length == len(parts):
            return {f"{entry}.{name}" for name, _ in definitions(body) if not name.startswith("_")}
        for part in parts[length:]:
            found = dict(definitions(body)).get(part)
            if found is None:
                return None
            body = getattr(found, "body", [])
        return {entry}
    return None


def test_every_public_name_is_documented():
    shown = set().union(*(documented(entry) or () for entry in ENTRIES))
    assert not sorted(PUBLIC - shown)


def test_every_entry_is_something_that_a_user_reaches():
    """Public names, and what xarray calls."""
    missing = [entry for entry in ENTRIES if documented(entry) is None]
    assert not missing
    others = set().union(*map(documented, ENTRIES)) - PUBLIC
    assert all(name.startswith("functa_store.xarray_backend.") for name in others), sorted(others)


def test_every_entry_stands_once():
    assert len(ENTRIES) == len(set(ENTRIES))


def test_names_in_the_text_exist():
    named = re.findall(r"`functa_store\.(\w+)`", PAGE)
    assert named
    for name in named:
        assert name in functa_store._FOUND_IN or (ROOT / "functa_store" / name).is_dir(), name
