"""Every kind of archive is named wherever a reader looks for one."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
CONVERTERS = ENTRY_POINTS["functa_store.converters"]
PAGES = sorted(path.name for path in (ROOT / "docs/how-to").glob("*.md") if re.match("convert-|import-", path.name))


def rows(page):
    """Lines of tables."""
    return "\n".join(line for line in (ROOT / page).read_text().splitlines() if line.startswith("|"))


@pytest.mark.parametrize("kind", CONVERTERS)
def test_every_converter_has_its_row(kind):
    for page in ("README.md", "docs/reference/cli.md"):
        assert re.search(rf"`(functa convert )?{kind}`", rows(page)), page
    assert f"`{CONVERTERS[kind].partition(':')[0]}.open_" in rows("docs/reference/api.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_kind_of_data_is_found_from_the_first_page_and_in_the_contents(page):
    assert f"](how-to/{page})" in (ROOT / "docs/index.md").read_text()
    assert f": how-to/{page}\n" in (ROOT / "mkdocs.yml").read_text()
