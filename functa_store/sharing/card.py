"""Dataset cards: a README.md in the form of the Hugging Face hub, with a sheet of decoded examples beside it."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from functa_store.decode.functaset import Functaset, opened
from functa_store.errors import ConfigError, GridError, StorageError, StoreExistsError
from functa_store.sharing.overview import QUALITY, Overview, Row, overview_of
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions
from functa_store.support.atomic_output import check_folder, replacing
from functa_store.support.printable import printable

MARK = "<!-- written by functa card -->"
"""A line by which a card is known that may be written again."""

PICTURE = "examples.png"
"""The sheet beside a card."""

PICTURES, PICTURE_SIZE = 16, 128
"""How many examples the sheet has, and the most points of one along each axis."""

MOST_BYTES = 2**24
"""Of a file that is looked at for the mark."""

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_SIZES += ((10**8, "10M<n<100M"), (10**9, "100M<n<1B"))
"""Size categories of the hub, with the number of examples that each is below; no store has more than a billion."""

_TASKS: Mapping[str, tuple[str, str]] = {
    "images": ("image-classification", "unconditional-image-generation"),
    "clips": ("video-classification", "other"),
    "sounds": ("audio-classification", "other"),
    "shapes": ("other", "other"),
}
"""Task categories of the hub by kind of examples: with a label of classes, and without one."""

_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,99}")
_URL = re.compile(r"https?://[!-~]{1,2000}", re.I)


def card(
    functaset: Functaset | Location,
    path: str | os.PathLike[str] = "README.md",
    *,
    licence: str = "unknown",
    name: str | None = None,
    tasks: Sequence[str] = (),
    tags: Sequence[str] = (),
    address: str | None = None,
    page: str | None = None,
    storage: StorageOptions = NO_OPTIONS,
) -> list[Path]:
    """Write a dataset card of a complete functaset, and beside it a sheet of decoded examples if they make pictures.

    Args:
        functaset: An open one, or where it is.
        path: The card. One that this has written before is replaced, and so is the sheet `examples.png` beside it.
        licence: Identifier of the hub, such as "cc-by-4.0", "other" or "unknown": that of the archive binds its
            functaset, too.
        name: What the card calls the data set; None takes the archive's name.
        tasks: Task categories of the hub; none chooses by the kind of examples.
        tags: Further tags.
        address: Where readers open it, such as "hf://datasets/NAME/x.functa"; None takes the name of the functaset.
        page: URL of a page that shows it.
        storage: How to reach the functaset.

    Returns:
        The files that were written, the card first.

    Raises:
        ConfigError: If a licence, task, tag, name, address or URL is none that a card may have, or there is no folder
            at the path.
        StoreExistsError: If something else is at the path.
        StoreFormatError: If there is no complete functaset.
        StorageError: If a place cannot be read or written.
    """
    path = Path(path)
    for kind, words in (("licence", [licence]), ("task", tasks), ("tag", tags)):
        for word in words:
            if not isinstance(word, str) or not _IDENTIFIER.fullmatch(word):
                raise ConfigError(
                    f"{kind}: found {word!r:.200}, expected small letters, digits and dashes, as cc-by-4.0"
                )
    for option, text in (("name", name), ("address", address)):
        if text is not None and (not text.strip() or not text.isprintable() or len(text) > 1000):
            raise ConfigError(f"{option}: found {text!r:.200}, expected up to 1,000 characters that can be seen")
    if page is not None and not _URL.fullmatch(page):
        raise ConfigError(f"page: found {page!r:.200}, expected a URL such as https://example.org/faces/")
    check_folder(path)
    picture = path.with_name(PICTURE)
    if not _is_ours(path) and os.path.lexists(picture):
        raise StoreExistsError(
            f"{picture}: is there already, beside no card of functa card. Move it, or write elsewhere."
        )
    functaset = opened(functaset, storage)
    functaset.store.check_complete()
    about = overview_of(functaset.store)
    has_sheet = _write_picture(functaset, picture)
    where = address or os.path.basename(functaset.store.path.rstrip("/"))
    matter = _front_matter(functaset, about, licence, name or _plain_name(about.name), tasks, tags)
    lines = [matter, MARK, "", *_body(functaset, about, name, where, page, has_sheet, licence)]
    try:
        with replacing(path) as part:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
    return [path, picture] if has_sheet else [path]


def _is_ours(path: Path) -> bool:
    """Whether a card of ours is at a path; nothing may be there, too.

    Raises:
        StoreExistsError: If something else is.
        StorageError: If it cannot be read.
    """
    try:
        if not os.path.lexists(path):
            return False
        is_ours = path.is_file() and path.stat().st_size <= MOST_BYTES and MARK.encode() in path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not is_ours:
        raise StoreExistsError(
            f"{path}: holds something that functa card did not write. Move it, or write the card elsewhere and put "
            "what you want of it there."
        )
    return True


def _write_picture(functaset: Functaset, path: Path) -> bool:
    """Write the sheet.

    Returns:
        Whether examples of this kind make pictures.
    """
    from functa_store.media.sheet import write_sheet  # imports Pillow

    domain = functaset.domain
    if domain.scene is not None:
        resolution: Any = min(PICTURE_SIZE, *domain.scene.image_size)
    else:
        resolution = [min(PICTURE_SIZE, size) for size in domain.resolution]
    count = min(PICTURES, len(functaset))
    try:
        write_sheet(functaset, slice(0, count), path, resolution)
    except (ConfigError, GridError):  # this kind makes no picture
        return False
    return True


def _plain_name(archive: str) -> str:
    return (
        printable(re.sub(r"(\.(zip|tar|gz|tgz|npz|npy|h5|hdf5|zarr|nc|parquet))+$", "", archive)).strip() or "functaset"
    )


def _front_matter(
    functaset: Functaset, about: Overview, licence: str, name: str, tasks: Sequence[str], tags: Sequence[str]
) -> str:
    import yaml

    classes, others = _TASKS.get(about.kind, ("other", "other"))
    has_classes = bool(functaset.store.label_names)
    size = next((words for most, words in _SIZES if len(functaset) < most), "1B<n<10B")
    known = {
        "license": licence,
        "pretty_name": name,
        "task_categories": list(tasks) or [classes if has_classes else others],
        "size_categories": [size],
        "tags": list(dict.fromkeys(["functa", "implicit-neural-representation", "siren", "zarr", *tags])),
        # The files are arrays of a Zarr group, of which the hub's viewer would make a table.
        "viewer": False,
    }
    return f"---\n{yaml.safe_dump(known, sort_keys=False, allow_unicode=False, width=1000)}---"


def _body(
    functaset: Functaset,
    about: Overview,
    name: str | None,
    address: str,
    page: str | None,
    has_sheet: bool,
    licence: str,
) -> Iterator[str]:
    yield f"# {escaped(name or _plain_name(about.name))}, as functa"
    yield ""
    yield (
        f"{len(functaset):,} {about.kind}, each stored as the modulation of one base network (*functa*): a function "
        "that is decoded at any point and any resolution. Written by functa-store."
    )
    yield ""
    if page:
        yield f"[Look at it in the browser](<{page.replace('<', '%3C').replace('>', '%3E')}>)"
        yield ""
    if has_sheet:
        yield f"![Decoded examples]({PICTURE})"
        yield ""
    yield from _table(("", ""), about.facts)
    yield from _loading(functaset, address)
    yield "## Quality"
    yield ""
    yield "Of the examples that are no augmentations, by split; PCA has as many components as a modulation has numbers."
    yield ""
    yield from _table(QUALITY, about.quality)
    if about.metrics:
        yield from _table(("metric, mean", *about.splits), about.metrics)
    if about.labels:
        yield from ("## Labels", "")
        yield from _table(("label", "from", "values"), about.labels)
    yield from ("## How it was made", "")
    yield from _table(("", ""), about.recipe)
    if about.num_rejects:
        yield f"Members of the archive that were rejected: {about.num_rejects:,}."
        yield ""
        yield from _table(("reason", "members", "one of them"), about.rejects)
    yield from ("## Licence", "")
    yield (
        f"`{licence}`. A functaset is made from its archive and can be decoded to nearly the same examples: the "
        "archive's licence binds it, too."
    )


def _loading(functaset: Functaset, address: str) -> Iterator[str]:
    """How to open it, as code that can be copied; an address is written as Python writes a text."""
    place = repr(address)
    splits = set(functaset.split[:].tolist())
    split = "train" if "train" in splits else min(splits, default="train")
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", place)), default=0) + 1)
    yield from ("## How to load it", "", f"{fence}console", "$ pip install functa-store", fence, "")
    yield from (f"{fence}python", "import functa_store", "from functa_store.loaders import Loader", "")
    yield f"functaset = functa_store.open({place})"
    yield "functaset.modulations[:16]  # NumPy, read when it is asked for"
    yield "functaset.decode(slice(0, 16))  # values on the archive's grid; any other resolution, window or points, too"
    yield ""
    yield f'train = Loader(functaset, 64, split="{split}")'
    yield "for batch in train.to_jax():  # JAX"
    yield '    batch["modulations"]'
    yield "for batch in train.to_torch():  # PyTorch; pip install 'functa-store[torch]'"
    yield '    batch["modulations"]'
    yield ""
    yield "import xarray as xr"
    yield ""
    yield f'dataset = xr.open_dataset({place}, engine="functa")  # decodes lazily'
    yield from (fence, "")


def _table(headings: Row, rows: Sequence[Row]) -> Iterator[str]:
    yield f"| {' | '.join(map(escaped, headings))} |"
    yield "|" + " --- |" * len(headings)
    for row in rows:
        yield f"| {' | '.join(map(escaped, row))} |"
    yield ""


def escaped(text: str) -> str:
    """A stranger's text as Markdown shows it letter by letter, on one line, without markup, links and mentions."""
    entities = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    marked = re.sub(r"([\\`*_{}\[\]#|~!$@])", r"\\\1", entities)
    return re.sub(r"(?i)://|\bwww\.", lambda found: found[0].replace(":", "\\:").replace(".", "\\."), marked)
