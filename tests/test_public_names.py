"""What a user imports from `functa_store`."""

import ast
from pathlib import Path

import numpy as np

import functa_store


def test_every_name_is_listed_for_type_checkers_and_found_when_asked_for():
    tree = ast.parse(Path(functa_store.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    listed = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert listed == set(functa_store._FOUND_IN)
    for name in listed:
        assert getattr(functa_store, name) is not None


def test_what_takes_a_store_takes_its_path_or_an_open_functaset(tmp_path):
    golden = Path(__file__).parent / "golden/v6.functa"
    with_path, open_one = str(golden), functa_store.open(golden)
    assert functa_store.verify(open_one) == functa_store.verify(with_path)
    assert len(functa_store.open(open_one)) == len(open_one)
    for name, given in (("path", with_path), ("open", open_one)):
        functa_store.recode(given, tmp_path / f"{name}.functa", "int8")
        functa_store.export(given, tmp_path / f"{name}.npz")
    assert np.array_equal(*(functa_store.open(tmp_path / f"{n}.functa").modulations[:] for n in ("path", "open")))
    assert (tmp_path / "path.npz").read_bytes() == (tmp_path / "open.npz").read_bytes()
