"""The rooms are as the architecture page says."""

import ast
import collections
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = [path for name in ("functa_store", "converters") for path in (ROOT / name, *(ROOT / name).rglob("*/"))]
FOLDERS = sorted(folder for folder in FOLDERS if any(folder.glob("*.py")))
MODULES = [path for folder in FOLDERS for path in sorted(folder.glob("*.py"))]


def first_line(path):
    return (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]


def test_the_page_names_every_file_by_its_first_line():
    page = (ROOT / "docs/explanation/architecture.md").read_text()
    for path in MODULES:
        if not path.name.startswith("__"):
            assert f"| `{path.name}` | {first_line(path)} |" in page, path
    for folder in FOLDERS:
        assert f"### `{folder.relative_to(ROOT)}/`" in page


def test_every_file_opens_with_a_statement():
    for path in MODULES:
        assert first_line(path).endswith("."), path


def test_no_module_binds_a_name_twice():
    """The later one would be used by what was written for the earlier one."""
    for path in MODULES:
        bound = collections.Counter()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                bound[node.name] += 1
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                bound.update(name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
        assert not [name for name, times in bound.items() if times > 1], path


def test_a_folder_has_about_fifteen_files_at_most():
    for folder in FOLDERS:
        assert len([path for path in folder.glob("*.py") if not path.name.startswith("__")]) <= 16, folder


@pytest.mark.slow
def test_every_module_can_be_imported_first():
    """In a process that has imported nothing of this project: no hidden order."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]
    code = (
        "import importlib, sys, jax, xarray, torch, warnings; warnings.simplefilter('ignore')\n"
        "for name in sys.argv[1:]:\n"
        "    for own in [n for n in sys.modules if n.split('.')[0] in ('functa_store', 'converters')]:\n"
        "        del sys.modules[own]\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
