"""Every figure and table of the functa paper that can be measured here, from one command.

    python -m benchmarks.paper [--only figure2 figure3 tables figure5] [--archives ../shared/data] [--out paper-output]
                               [--paper-size]

measures what Figures 2, 3 and 5 and Tables 2 and 6 of Dupont et al. 2022, "From data to functa", show, on archives that
are at hand, and writes pictures and report.md. Every cell that is measured becomes a file, so that the same command
goes on where it was interrupted, and measures nothing twice. It takes about two hours on a CPU core; with --paper-size
networks and steps are those of the paper, for accelerators.
"""

import argparse
import logging
import sys
from pathlib import Path

from benchmarks.paper import figure2, figure3, figure5, tables
from benchmarks.paper.archives import Archives, Folder
from benchmarks.paper.page import page
from benchmarks.paper.results import Results
from benchmarks.paper.sizes import MACHINE, PAPER, Size
from functa_store.errors import FunctaStoreError
from functa_store.learn.devices import use_all_cores
from functa_store.progress import Event, Note

PARTS = {"figure2": figure2, "figure3": figure3, "tables": tables, "figure5": figure5}
"""Modules that `measure` and `render` a part of the page, and say which archives it needs."""

logger = logging.getLogger(__name__)


def run(parts: list[str], results: Results, archives: Archives, size: Size) -> str:
    """Measure some parts, and write the page.

    Args:
        parts: Some of `PARTS`.
        results: Where cells are, or go.
        archives: What is measured on.
        size: How much is learned.

    Returns:
        The page in Markdown, with what is measured of the other parts, too, if they are complete.
    """
    for name in parts:
        logger.info("%s", name)
        part = PARTS[name]
        (results.folder / f"{name}.md").write_text(part.render(results, part.measure(results, archives, size)))
    kept = {name: results.folder / f"{name}.md" for name in PARTS}
    text = page({name: path.read_text() for name, path in kept.items() if path.exists()}, size)
    (results.folder / "report.md").write_text(text)
    return text


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 2 if archives are missing, or results of other settings are in the way.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help="some of %(choices)s"
    )
    parser.add_argument("--archives", type=Path, default=Path("../shared/data"), help="folder of the archives")
    parser.add_argument(
        "--out", type=Path, default=Path("paper-output"), help="folder of results (default: %(default)s)"
    )
    parser.add_argument("--paper-size", action="store_true", help="networks and steps of the paper")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(message)s")
    logger.setLevel(logging.INFO)
    archives = Folder(args.archives)
    try:
        archives.check({kind for name in args.only for kind in PARTS[name].NEEDS})
        use_all_cores()
        text = run(args.only, Results(args.out, _log), archives, PAPER if args.paper_size else MACHINE)
    except FunctaStoreError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(text)
    return 0


def _log(event: Event) -> None:
    if isinstance(event, Note):
        logger.info("%s", event.message)


if __name__ == "__main__":
    sys.exit(main())
