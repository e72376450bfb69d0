"""Reports: one HTML file that shows how a conversion went and what became of its examples.

The page runs no scripts and loads nothing: pictures and plots are in it, and a policy forbids the rest. Texts of
archives are escaped.
"""

import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from functa_store.decode.functaset import Functaset, opened
from functa_store.errors import ArchiveError, ConfigError, StorageError
from functa_store.progress import Note, Report, silent
from functa_store.sharing import report_figures
from functa_store.sharing.overview import QUALITY, Overview, Row, overview_of
from functa_store.sharing.run_history import History, read_history
from functa_store.sources.source import Source
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions
from functa_store.support.atomic_output import check_folder, check_replaceable, replacing
from functa_store.support.optional import require
from functa_store.support.printable import printable

SHOWN = 8
"""Of the best and of the worst examples."""

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; display: block; overflow-x: auto; }
th, td { text-align: left; padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
td { overflow-wrap: anywhere; min-width: 4rem; }
img.plot { background: #fff; max-width: 100%; border-radius: 4px; }
.examples { display: flex; flex-wrap: wrap; gap: 1rem; margin: 0; padding: 0; }
.examples figure { margin: 0; max-width: 17rem; }
.examples img { height: 8rem; max-width: 16rem; image-rendering: pixelated; background: #fff; margin-right: 2px; }
figcaption { font-size: 0.85rem; overflow-wrap: anywhere; }
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def report(
    functaset: Functaset | Location,
    path: str | os.PathLike[str],
    *,
    source: Source | None = None,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> None:
    """Write one HTML file about a functaset, which may be unfinished.

    It has the learning curve and the runs of the conversion, as the log beside the store tells them; a histogram of
    PSNRs; the best and the worst examples; quality, labels, sizes, rejects by reason, and how it was made.

    Args:
        functaset: An open one, or where it is.
        path: The file, ending in .html; it is replaced.
        source: The archive, such as `reopen_archive` gives it: examples are shown beside their originals.
        storage: How to reach the functaset.
        report: Told of originals that cannot be read.

    Raises:
        ConfigError: If the path does not end in .html, or lies in no folder.
        StoreFormatError: If there is no functaset, or it is damaged.
        StorageError: If a place cannot be read or written.
        MissingLibraryError: If matplotlib is not installed.
    """
    path = Path(path)
    check_place(path)
    functaset = opened(functaset, storage)
    page = "\n".join(_page(functaset, source, storage, report))
    try:
        with replacing(path) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def check_place(path: Path) -> None:
    """Refuse a report that cannot be written, before anything is opened for it.

    Raises:
        ConfigError: If the path does not end in .html, or lies in no folder.
        StorageError: If it cannot be written.
        MissingLibraryError: If matplotlib is not installed.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{path}: expected a name that ends in .html, found {path.suffix!r}")
    check_folder(path)
    require("matplotlib.figure", extra="report")
    check_replaceable(path)


def _page(functaset: Functaset, source: Source | None, storage: StorageOptions, told: Report) -> Iterator[str]:
    about = overview_of(functaset.store)
    history = read_history(functaset.objects, storage)
    title = f"{about.name}: report of a functaset"
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body><main>"
    yield f"<h1>{_text(about.name)}</h1><p>{_text(functaset.store.path)}</p>"
    if not (spec := functaset.spec).complete:
        done = f"{len(functaset):,} of {spec.examples.count:,} examples are fitted"
        yield f'<p><progress value="{len(functaset)}" max="{spec.examples.count}">{done}</progress> {done}</p>'
    yield from _table(None, about.facts)
    yield from _learning(history)
    yield from _quality(functaset, about)
    yield from _examples(functaset, source, told)
    if about.labels:
        yield from _section("Labels", _table(("label", "from", "values"), about.labels))
    yield from _section("Rejects", _rejects(about))
    yield from _section("Sizes", _table(("part", "files", "bytes"), _sizes(functaset)))
    yield from _section("How it was made", _table(None, about.recipe))
    yield "</main></body></html>"


def _learning(history: History | None) -> Iterator[str]:
    yield "<h2>Learning and runs</h2>"
    if history is None:
        yield "<p>There is no log beside the functaset, which functa convert leaves there.</p>"
        return
    if history.looks:
        last, seen = history.looks[-1], ""
        yield _plot(report_figures.learning_curve(history.looks), "PSNR in decibels over outer steps")
        if looks := [look for look in history.looks if look.monitored_psnr is not None]:
            best = max(looks, key=lambda look: look.monitored_psnr or 0.0)
            seen = f"; on the monitored examples {best.monitored_psnr:.2f} dB at best, after {best.step:,} steps"
        yield f"<p>After {last.step:,} steps {last.psnr:.2f} dB on training batches{seen}.</p>"
    rows = [
        (run.began, run.machine, "; ".join(f"{name} {text}" for name, text in run.facts.items()), run.ended or "-")
        for run in history.runs
    ]
    yield from _table(("began", "machine", "went as far as", "ended"), rows)


def _quality(functaset: Functaset, about: Overview) -> Iterator[str]:
    yield "<h2>Quality</h2>"
    psnr, split = functaset.psnr, functaset.split[:]
    known = np.isfinite(psnr)
    if known.any():
        groups = {name: psnr[known & (split == name)] for name in about.splits}
        plot = report_figures.histogram({name: values for name, values in groups.items() if len(values)})
        yield _plot(plot, "Histogram of the PSNR of examples in decibels, by split")
    if (left_out := int((~known).sum())) > 0:
        yield f"<p>{left_out:,} examples have no finite PSNR.</p>"
    yield "<p>PCA has as many components as a modulation has numbers.</p>"
    yield from _table(QUALITY, about.quality)
    if about.metrics:
        yield from _table(("metric, mean", *about.splits), about.metrics)


def _examples(functaset: Functaset, source: Source | None, told: Report) -> Iterator[str]:
    """The best and the worst examples, beside their originals if there is an archive."""
    psnr = functaset.psnr
    known = np.flatnonzero(np.isfinite(psnr))
    ordered = known[np.argsort(psnr[known], kind="stable")].tolist()
    places = {example: place for place, example in enumerate(source.ids)} if source is not None else {}
    for title, rows in (("Worst examples", ordered[:SHOWN]), ("Best examples", ordered[::-1][:SHOWN])):
        yield f"<h2>{title}</h2>"
        yield f"<p>{'Original, then decoded.' if source is not None else 'As they are decoded.'}</p>"
        yield '<div class="examples">'
        for row in rows:
            name = str(functaset.ids[row])
            figures = [(figure, f"{name}, decoded") for figure in report_figures.decoded_figures(functaset, row)]
            if source is not None and name in places:
                originals = _originals(source, places[name], told)
                figures = [(figure, f"{name}, original") for figure in originals] + figures
            shown = "".join(f'<img src="{figure}" alt="{_text(alt)}">' for figure, alt in figures)
            caption = f"{_text(name)}<br>{psnr[row]:.2f} dB, {_text(str(functaset.split[row]))}"
            yield f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"
        yield "</div>"


def _originals(source: Source, place: int, told: Report) -> list[str]:
    try:
        return report_figures.original_figures(source, place)
    except (ArchiveError, OSError) as error:
        told(Note(message=f"{source.ids[place]}: its original is left out: {error}"))
        return []


def _rejects(about: Overview) -> Iterator[str]:
    yield f"<p>Members of the archive that were rejected: {about.num_rejects:,}.</p>"
    if about.rejects:
        yield from _table(("reason", "members", "one of them"), about.rejects)


def _sizes(functaset: Functaset) -> list[Row]:
    """Files and bytes of a store by what they hold, parts together, the largest first."""
    sizes = sorted(functaset.store.sizes.items(), key=lambda entry: -entry[1].bytes)
    return [(name, f"{size.files:,}", f"{size.bytes:,}") for name, size in sizes]


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield f"<h2>{title}</h2>"
    yield from lines


def _plot(address: str, alt: str) -> str:
    return f'<p><img class="plot" src="{address}" alt="{alt}"></p>'


def _table(headings: Row | None, rows: Sequence[Row]) -> Iterator[str]:
    yield "<table>"
    if headings is not None:
        cells = "".join(f'<th scope="col">{_text(text)}</th>' for text in headings)
        yield f"<thead><tr>{cells}</tr></thead>"
    yield "<tbody>"
    for first, *others in rows:
        cells = "".join(f"<td>{_text(text)}</td>" for text in others)
        yield f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>'
    yield "</tbody></table>"


def _text(text: str) -> str:
    return html.escape(printable(text))
