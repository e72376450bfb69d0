"""Removal of credentials from texts that people see: messages, logs, names of places.

Every text that a library or a server wrote passes `redacted` before it becomes part of a message. It knows the
credentials of the environment, in the forms in which servers repeat them, and what credentials look like in addresses
and headers. It prefers to hide too much: "https://host:80/a@b" loses its host, too.
"""

import base64
import html
import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

HIDDEN = "***"
"""What stands in the place of a credential."""

SHORTEST, SHORTEST_PASSWORD = 6, 3
"""Characters of the shortest variable, and password in an address, that is taken for a credential; hiding shorter ones
would garble every text."""

MOST_CHARACTERS = 20_000
"""Of a text that is looked through; the rest of a longer one is left out."""

MOST_FILE_BYTES = 2**16
"""Of a file of credentials; longer ones are none."""

ADDRESS_SCHEMES = ("s3", "s3a", "gs", "gcs", "http", "https", "ftp", "az", "abfs", "abfss", "memory", "file")
"""Schemes after which an address begins even where a slash is missing."""

_SECRET_NAME = re.compile(
    r"(SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|_KEY|KEY_ID|AUTHORIZATION|SIGNATURE)$", re.I
)
"""Names of variables of the environment, and of entries of files, whose values are credentials."""

_PROVIDERS_SECRET = re.compile(r"AWS_(?!ACCESS_KEY_ID$|ACCESS_KEY$)|GOOGLE_")
"""Beginnings of the names of providers' variables; the name of a key is no secret, and may be that of a bucket, too."""

_JSON_FILES = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH")
_TOKEN_FILES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
_GOOGLE_LOGIN = "~/.config/gcloud/application_default_credentials.json"

_HEADER = r"(?:proxy-)?authorization|(?:set-)?cookie|x-(?:amz|goog|ms)-[a-z-]*(?:token|signature|credential)"
_ENTRY = (
    r"x-api-key|aws_?access_?key_?id|(?:aws_?)?secret_?(?:access_?)?key|access_?key(?:_?id)?|client_?secret|"
    r"(?:aws_?)?(?:session_?|security_?|access_?|refresh_?|id_?|auth_?|sas_?)?token|private_?key|api_?key|password|"
    r"passwd|pwd|secret|sig|signature|credential|signatureprovided|stringtosign(?:bytes)?|canonicalrequest(?:bytes)?"
)
_QUOTE = r"(?:%22|&quot;|&#34;|\\?[\"'])?"
_PATTERNS = tuple(
    (re.compile(pattern, re.I | re.S), replacement)
    for pattern, replacement in (
        (rf"<({_HEADER}|{_ENTRY})>.*?(</\1>|$)", rf"<\1>{HIDDEN}\2"),
        (rf"(?<![\w-])({_HEADER})({_QUOTE}[ \t]*[:=][ \t]*{_QUOTE})[^\r\n\"'<>&]+", rf"\1\2{HIDDEN}"),
        (rf"(?<![\w-])({_ENTRY})({_QUOTE}[ \t]*[:=][ \t]*{_QUOTE})[^\s\"'<>&,;}}]+", rf"\1\2{HIDDEN}"),
        (r"\b(AWS4-HMAC-SHA256|GOOG4-RSA-SHA256|Bearer)[ \t]+(?!of\b|is\b)[^\r\n\"'<>&]+", rf"\1 {HIDDEN}"),
        (r"\b(Basic)[ \t]+(?=(?-i:[a-z]*[A-Z0-9+/=]))[\w+/=.~-]{4,}", rf"\1 {HIDDEN}"),
        (r"\bhf_[A-Za-z0-9]{16,}\b", HIDDEN),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{8,}\b|\bya29\.[\w.-]+|\bey[JK][\w-]{8,}\.[\w-]+(?:\.[\w-]*)?", HIDDEN),
        (r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)", HIDDEN),
    )
)
_ADDRESS = re.compile(
    rf"([a-z][a-z0-9+.-]{{0,20}}:/{{2,}}|(?<![a-z0-9])(?:{'|'.join(ADDRESS_SCHEMES)}):/?)(.*)", re.I | re.S
)


def redacted(text: str) -> str:
    """The text, with three asterisks in the place of everything that may be a credential.

    Args:
        text: Such as the message of a library, which may hold the answer of a server, or an address that was typed.

    Returns:
        The text without the credentials of the environment, userinfo of addresses, values of headers and parameters
        that sign or authenticate requests, and keys of well-known forms.
    """
    return _without(text, os.environ)


def holds_credentials(address: str) -> bool:
    """Whether an address looks as if it held credentials.

    Of the environment, it may hold no credential of a provider; the value of any other variable, such as
    EXPERIMENT_KEY=faces, may be an ordinary word.
    """
    own = {name: value for name, value in os.environ.items() if _PROVIDERS_SECRET.match(name)}
    return _without(address, own) != address


def _without(text: str, environment: Mapping[str, str]) -> str:
    text = text[:MOST_CHARACTERS]
    for secret in sorted(set(_environment_secrets(environment)), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = re.sub(r"\S+", lambda word: _without_userinfo(word[0]) if "@" in word[0] else word[0], text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _without_userinfo(word: str) -> str:
    """A word without what stands before the "@" of an address in it, also where a password holds a slash."""
    address = _ADDRESS.search(word)
    if address is None:
        return word
    scheme, rest = address[1], address[2]
    netloc, behind = re.match(r"([^/?#]*)(.*)", rest, re.S).groups()  # type: ignore[union-attr]  # always matches
    if not scheme.endswith("//") or (":" in netloc and "@" in behind):
        netloc, behind = rest, ""
    if "@" not in netloc:
        return f"{word[: address.start()]}{scheme}{netloc}{_without_userinfo(behind)}"
    behind = _without_userinfo(behind)
    return f"{word[: address.start()]}{scheme}{HIDDEN}@{netloc.rpartition('@')[2]}{behind}"


def _environment_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Every credential of the environment, in every form in which it may come back."""
    for secret in _variables(environment):
        if len(secret) >= SHORTEST:
            yield from _forms(secret)
    for address in environment.values():
        if re.match(r"[a-z0-9+.-]+://\S*@\S*$", address, re.I):
            for secret in _userinfo(address):
                if len(secret) >= SHORTEST_PASSWORD:
                    yield from _forms(secret)


def _variables(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and name not in _JSON_FILES:
            yield value
            yield from _entries(value)
    for path in (*(environment[name] for name in _JSON_FILES if name in environment), _GOOGLE_LOGIN):
        yield from _entries(_content(path))
    for name in _TOKEN_FILES:
        yield _content(environment.get(name, "")).strip()


def _userinfo(address: str) -> Iterator[str]:
    """What stands before the last "@" of an address, and its password alone."""
    userinfo = address.partition("://")[2].rpartition("@")[0]
    user, colon, password = userinfo.partition(":")
    for part in (userinfo, password if colon else user):
        yield part
        yield urllib.parse.unquote(part)


def _entries(text: str) -> Iterator[str]:
    """The credentials in a JSON object, and the lines of its keys."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return
    for name, value in found.items() if isinstance(found, dict) else ():
        if isinstance(value, str) and _SECRET_NAME.search(str(name)):
            yield value
            yield from (line for line in value.splitlines() if not line.startswith("-"))


def _content(path: str) -> str:
    """The text of a file; nothing if it cannot be read."""
    try:
        file = Path(path).expanduser()
        return file.read_text(errors="replace") if file.is_file() and file.stat().st_size <= MOST_FILE_BYTES else ""
    except (OSError, ValueError, RuntimeError):
        return ""


def _forms(secret: str) -> Iterator[str]:
    """A credential as it may stand in an address, in a page, in JSON, or encoded."""
    yield secret
    yield urllib.parse.quote(secret, errors="surrogateescape")
    yield urllib.parse.quote(secret, safe="", errors="surrogateescape")
    yield urllib.parse.quote(secret, safe="", errors="surrogateescape").lower()
    yield urllib.parse.quote_plus(secret, errors="surrogateescape")
    yield html.escape(secret)
    yield html.escape(secret).replace("/", "&#x2F;")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret)[1:-1].replace("/", "\\/")
    encoded = secret.encode("utf-8", "surrogateescape")
    yield base64.b64encode(encoded).decode()
    yield base64.b64encode(encoded).decode().rstrip("=")
    yield base64.urlsafe_b64encode(encoded).decode().rstrip("=")
    yield encoded.hex()
