"""Paths and URLs as people type them, taken apart and checked before anything is opened."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from functa_store.errors import ConfigError
from functa_store.support import redaction

SCHEMES = ("s3", "gs", "hf", "http", "https", "memory", "file")

ENDPOINT_VARIABLES = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "hf": ("HF_ENDPOINT",),
}
"""Variables of the environment that name another server than the provider's, the first that is set being used."""

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\]")
_BUCKET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SLASH_MISSING = re.compile(rf"\s*({'|'.join((*redaction.ADDRESS_SCHEMES, 'sftp', 'ssh', 'hf'))}):(?!//)", re.I)
_DATASET = re.compile(
    r"datasets/([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(?:@(refs/(?:convert|pr)/[\w.-]{1,100}|[A-Za-z0-9](?:[\w.-]|%2[Ff]){0,200}))?(?:/(.*))?",
    re.ASCII,
)
"""Name, revision and path of a data set of the Hugging Face hub."""

_NO_DATASET = re.compile(r"--|\.\.|[.-](?:/|$)|\.git$")
"""What the hub allows in no name."""

_ADDRESS_TYPED = re.compile(
    rf"\s*([a-z][a-z0-9+.-]{{1,15}}(?=://)|(?:{'|'.join(redaction.ADDRESS_SCHEMES)})(?=:))", re.I
)
_CREDENTIALS = "credentials belong into the environment"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Address:
    """A folder in a bucket, on a web server, or in a data set of the Hugging Face hub.

    Attributes:
        scheme: In lower case.
        host: The bucket, host and port, or "datasets/OWNER/NAME@REVISION".
        prefix: The folder in it, without slashes around it.
    """

    scheme: str
    host: str
    prefix: str

    @property
    def bucket(self) -> str:
        """URL of the bucket, or of the web server's top."""
        return f"{self.scheme}://{self.host}"


def local_path(out: str | os.PathLike[str]) -> Path:
    """A path on this machine.

    Raises:
        ConfigError: If it is an address, also one of too few slashes, whose credentials the message does not repeat.
    """
    text = os.fspath(out) if isinstance(out, os.PathLike) else out
    if not isinstance(text, str) or not text:
        raise ConfigError(f"expected a path to write to, got {text!r}")
    if "\0" in text:
        raise ConfigError(f"{redaction.redacted(text)!r}: no path has a NUL character in it")
    if scheme := _ADDRESS_TYPED.match(text):
        raise ConfigError(
            f"{scheme[1]}:...: found an address, expected a file or folder on a disk of this machine; copy it to a "
            "bucket afterwards, or write ./ before a path that begins so"
        )
    return Path(text)


def parse_location(location: Any) -> str | Address:
    """A path on a disk, or an address of something that is reached over a network.

    Args:
        location: A path as text or path-like object, or a URL.

    Raises:
        ConfigError: If it is neither, names no bucket or host, or holds credentials, which the message does not repeat.
    """
    text = _as_text(location)
    if missing := _SLASH_MISSING.match(text):
        scheme = missing[1].lower()
        expected = f"{scheme}:///path" if scheme == "file" else f"{scheme}://bucket/path"
        raise ConfigError(
            f"{scheme}:...: found an address with too few slashes, expected {expected}; write ./ before a path that "
            "begins so"
        )
    if "://" not in text:
        return os.path.expanduser(text)
    scheme = text.partition("://")[0].strip().lower()
    if scheme not in SCHEMES:
        shown = scheme if re.fullmatch(r"[a-z][a-z0-9+-]{0,15}", scheme) else ""
        raise ConfigError(f"{shown}://...: unknown scheme {shown!r}, expected a path or one of {', '.join(SCHEMES)}")
    if scheme == "hf":
        return _hub_address(text)
    return _path_of(text) if scheme == "file" else _address_of(scheme, text)


def check_endpoint(endpoint: str, called: str) -> str:
    """The URL of a server, if it is one and holds nothing else.

    Args:
        endpoint: The URL.
        called: Option or variable that it comes from, for messages.

    Raises:
        ConfigError: If it has another scheme, no host, or credentials, a query or a fragment.
    """
    try:
        parts = urlsplit(endpoint) if isinstance(endpoint, str) and _is_plain(endpoint) else None
        fits = parts is not None and _has_host(parts) and not (parts.query or parts.fragment or "@" in endpoint)
    except ValueError:
        fits = False
    if not fits or "?" in endpoint or "#" in endpoint or urlsplit(endpoint).scheme not in ("http", "https"):
        raise ConfigError(
            f"{called}: expected http://host:port or https://host:port without credentials, query or fragment; "
            f"{_CREDENTIALS}, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return endpoint


def environment_endpoint(scheme: str) -> str | None:
    """What the environment names as the server of a scheme, checked as an option is.

    Raises:
        ConfigError: If it is no URL of a server, or holds credentials.
    """
    found = [(name, os.environ[name]) for name in ENDPOINT_VARIABLES.get(scheme, ()) if os.environ.get(name)]
    checked = [check_endpoint(value, name) for name, value in found]
    return checked[0] if checked else None


def _as_text(location: Any) -> str:
    try:
        text = os.fspath(location)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise ConfigError(f"expected a path or a URL as text, got {type(location).__name__}")
    if not text:
        raise ConfigError("expected a path or a URL, got an empty text")
    if "\0" in text:
        raise ConfigError(f"{redaction.redacted(text)!r}: no path and no URL has a NUL character in it")
    return text


def _address_of(scheme: str, text: str) -> Address:
    expected = f"{scheme}://host/path" if scheme in ("http", "https") else f"{scheme}://bucket/path"
    kind = "host" if scheme in ("http", "https") else "bucket"
    if not _is_plain(text.replace(" ", "")):
        raise ConfigError(f"{scheme}://...: found control characters in the URL, expected {expected}")
    try:
        parts = urlsplit(text.strip())
        netloc = parts.netloc
    except ValueError:
        raise ConfigError(f"{scheme}://...: found no valid {kind} in the URL, expected {expected}") from None
    if "@" in netloc or "?" in text or "#" in text:
        raise ConfigError(
            f"{scheme}://...: found credentials, a query or a fragment in the URL, expected {expected}; {_CREDENTIALS}"
        )
    if not netloc:
        raise ConfigError(f"{redaction.redacted(text)}: expected {expected}")
    if not (_has_host(parts) if kind == "host" else _BUCKET.fullmatch(netloc)):
        raise ConfigError(f"{scheme}://...: found no valid {kind} in the URL{_hint(netloc)}, expected {expected}")
    if redaction.holds_credentials(text):
        raise ConfigError(f"{scheme}://...: found what looks like credentials in the URL; {_CREDENTIALS}")
    prefix = parts.path.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise ConfigError(f"{text}: found an empty name or dots between slashes, expected {expected}")
    return Address(scheme=scheme, host=netloc, prefix=prefix)


def _hub_address(text: str) -> Address:
    rest = text.strip().partition("://")[2].rstrip("/")
    found = _DATASET.fullmatch(rest)
    expected = "hf://datasets/OWNER/NAME/PATH or hf://datasets/OWNER/NAME@REVISION/PATH"
    if not _is_plain(rest.replace(" ", "")) or redaction.holds_credentials(text):
        raise ConfigError(f"hf://...: found control characters or credentials in the address, expected {expected}")
    path = (found[3] or "") if found else ""
    if found is None or (path and any(part in ("", ".", "..") for part in path.split("/"))):
        raise ConfigError(f"{redaction.redacted(text)}: expected {expected}")
    if _NO_DATASET.search(found[1]):
        raise ConfigError(f"{redaction.redacted(text)}: the hub has no data set of such a name, expected {expected}")
    return Address(scheme="hf", host=f"datasets/{found[1]}@{unquote(found[2] or 'main')}", prefix=path)


def _path_of(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        path = unquote(parts.path, errors="surrogateescape")
    except ValueError:
        raise ConfigError("file://...: found no path in the URL, expected file:///path") from None
    if parts.netloc not in ("", "localhost") or not path or "\0" in path or "?" in text or "#" in text:
        raise ConfigError(
            f"{redaction.redacted(text)}: expected file:///path, in which a question mark is %3F and a hash %23"
        )
    return path


def _has_host(parts: SplitResult) -> bool:
    """Whether an address has a host, and a port in range if any."""
    try:
        port = parts.port
    except ValueError:
        return False
    if (port is not None and port < 1) or not parts.netloc.isascii():
        return False
    return _HOST.fullmatch(re.sub(r":\d{1,5}$", "", parts.netloc)) is not None


def _hint(host: str) -> str:
    try:
        return "" if host.isascii() else f" (its ASCII form is {host.encode('idna').decode()})"
    except UnicodeError:
        return ""


def _is_plain(text: str) -> bool:
    """Whether a text has neither spaces nor control characters, and can be sent."""
    return all(character.isprintable() and not character.isspace() for character in text)
