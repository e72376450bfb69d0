"""Static sites that show a functaset in a browser: the built page, and the functaset beside it or by its URL."""

import functools
import html
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from functa_store.errors import ConfigError, StorageError, StoreFormatError
from functa_store.page.published import PublishedFile, PublishedStore
from functa_store.progress import Note, Report, silent
from functa_store.store.storage.local import check_outside
from functa_store.store.storage.location import local_path
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions, open_objects
from functa_store.support.atomic_output import check_folder, check_free, finished_or_gone
from functa_store.support.redaction import redacted

STATIC = Path(__file__).parent / "static"
"""The built page; its source is the folder `web` of the repository, and `make web` builds it."""

INDEX = "index.html"

_STORE_TAG, _TITLE_TAG = '<meta name="functaset" content="">', "<title>Functaset</title>"
"""What `page_files` fills in; the page's source has them in these words."""


def write_page(
    store: Location,
    out: str | os.PathLike[str],
    *,
    store_url: str | None = None,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> int:
    """Write a folder of static files that shows a functaset in any browser, from any static host.

    The folder holds the page and a copy of the functaset. Any web server may give it out, if it answers requests for
    byte ranges, as all usual ones do. Until everything is written it has another name, which ends in `.part`.

    Args:
        store: The functaset. Of an unfinished one the examples that are finished are shown.
        out: The folder to write.
        store_url: Where the functaset is or will be on the web, `https://...` or relative to the page; nothing is
            copied then. A host other than the page's must allow it to be read (CORS).
        storage: How to reach a store that is not open.
        report: Told if the functaset is unfinished.

    Returns:
        Bytes written.

    Raises:
        ConfigError: If `out` is no path on this machine, lies in no folder or inside the store, or `store_url` is no
            such address.
        StoreExistsError: If there is something at `out` already.
        StoreFormatError: If there is no functaset that this release reads, or a file of it is missing.
        StorageError: If the disk cannot be written, or the store cannot be read.
    """
    objects = open_objects(store, storage)
    path = local_path(out)
    check_folder(path)
    check_outside(path, [objects])
    check_free(path)
    address = None if store_url is None else _checked_url(store_url)
    published = PublishedStore(objects)
    if not published.is_complete:
        report(Note(message=f"{objects.name}: unfinished; the page shows the examples that are finished by now"))
    files: list[PublishedFile] = [] if address else list(published.all())
    with finished_or_gone(path, is_file=False) as part:
        pages = page_files(address or quote(published.name), published.name)
        (part / ".nojekyll").touch()  # GitHub would leave files out
        written = sum(_write(part / name, [content]) for name, content in pages.items())
        return written + sum(_copy(part / file.name, file) for file in files)


def page_files(store_url: str, name: str) -> Mapping[str, bytes]:
    """Files of the page by their names, with the functaset that it shows.

    Args:
        store_url: Where the functaset is, relative to the page or as a whole.
        name: The functaset's, for the title.

    Raises:
        StorageError: If the page was not built, or is another release's.
    """
    files = dict(_built())
    text = files[INDEX].decode()
    for found, wanted in (
        (_STORE_TAG, f'<meta name="functaset" content="{html.escape(store_url)}">'),
        (_TITLE_TAG, f"<title>{html.escape(name)}</title>"),
    ):
        if text.count(found) != 1:
            raise StorageError(f"{STATIC / INDEX}: found no {found}, expected it once; install functa-store again")
        text = text.replace(found, wanted)
    return {**files, INDEX: text.encode()}


@functools.cache
def _built() -> Mapping[str, bytes]:
    names = [path for path in sorted(STATIC.rglob("*")) if path.is_file()]
    files = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in names}
    if INDEX not in files:
        raise StorageError(f"{STATIC}: the page is not there; run make web, or install functa-store again")
    return files


def _checked_url(url: str) -> str:
    """The address of a functaset, if a browser can fetch it.

    Raises:
        ConfigError: If it is none; credentials are not repeated.
    """
    expected = "expected https://host/path/NAME.functa, or a path relative to the page"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = None, None
    if parts is None or not url.isprintable() or " " in url or "\\" in url:
        raise ConfigError(f"store_url: found {redacted(json.dumps(url))}, {expected}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(f"store_url: found credentials, a query or a fragment in the address, {expected}")
    if parts.scheme not in ("", "http", "https") or bool(parts.scheme) != bool(host) or not parts.path.strip("/"):
        raise ConfigError(f"store_url: found {redacted(url)!r}, {expected}")
    return url.rstrip("/")


def _copy(path: Path, file: PublishedFile) -> int:
    try:
        return _write(path, file.blocks(0, file.size))
    except FileNotFoundError as error:
        raise StoreFormatError(
            f"{file.objects.name}/{file.key}: is missing; run functa verify, or, if a conversion is writing there, "
            "try again"
        ) from error


def _write(path: Path, blocks: Iterable[bytes | memoryview]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        return sum(file.write(block) for block in blocks)
