"""What a user imports from `functa_store`."""

import ast
from pathlib import Path

import functa_store


def test_every_name_is_listed_for_type_checkers_and_found_when_asked_for():
    tree = ast.parse(Path(functa_store.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    listed = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert listed == set(functa_store._FOUND_IN)
    for name in listed:
        assert getattr(functa_store, name) is not None
