"""Errors of the client for buckets, in words that hold nothing a server or an address says in secret.

The client's messages repeat the URL of a request, which may hold a password, and the body of the answer, in which a
server may repeat the headers that it was sent. None of that is passed on but the status and one word, the code.
"""

import http
import re

from functa_store.store.storage.objects import first_line
from functa_store.support.redaction import redacted

MOST_TEXT = 4000
"""Characters of a message that are looked at; a body of gigabytes follows them."""

_CAUSES = {
    r"\bConnectionRefused\b|Connection refused": "the connection was refused; nothing listens there",
    r"dns error|failed to lookup": "the server's name is not known; check the URL and the network",
    r"[Cc]ertificate|UnknownIssuer|InvalidContentType|\bTls\b|handshake": "no secure connection could be made (TLS)",
    r"Header missing from response": "the server's answer makes no sense: it does not tell the length, or another "
    "field is missing",
    r"NetworkUnreachable|Network is unreachable|HostUnreachable|No route": "the network cannot be reached",
    r"TimedOut|timed out": "the server did not answer in time",
    r"response body|connection ended|IncompleteMessage|ConnectionReset|BodyError|unexpected EOF": (
        "the connection ended in the middle of the answer"
    ),
    r"error sending request|HTTP error": "the connection failed",
    r"Received redirect|LOCATION": "the server sends elsewhere; check the region and the endpoint",
    r"Missing [Cc]redentials|credential|token": "there are no credentials; set them in the environment, or ask for "
    "anonymous access",
    r"[Ii]nvalid (list|DeleteObjects|response)|[Mm]issing|[Uu]nable to (extract|parse)|Content-?Length|content range": (
        "the server's answer makes no sense; it is no object store of this kind"
    ),
    r"[Nn]on-partial|NotPartial|range": "the server knows no ranges",
}
"""Parts of messages, the first that is found being the cause."""


class CutError(Exception):
    """An answer began and did not end."""


class SilenceError(Exception):
    """Nothing came for a while; the next attempt may fare better."""


class TooSlowError(Exception):
    """All attempts together took too long."""


class GivenUpError(Exception):
    """Nobody wants the result any more."""


def status_of(error: Exception) -> int | None:
    """The status with which a server refused a request."""
    found = re.search(r"status code: (\d{3})\b", _head(error))
    return int(found[1]) if found else None


def is_worth_repeating(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, CutError | SilenceError):
        return True
    if (status := status_of(error)) is not None:
        return status in (408, 409, 429) or (status >= 500 and status not in (501, 505))
    text = _head(error)
    if re.search(r"certificate|UnknownIssuer|InvalidContentType|Header missing from response", text):
        return False
    return re.search(r"HTTP error|error sending request|response body|timed out|TimedOut|Connect", text) is not None


def is_unsupported(error: Exception) -> bool:
    """Whether a server, or the client for its kind, does not know such a request."""
    return isinstance(error, NotImplementedError) or status_of(error) in (400, 405, 501)


def reason(error: Exception) -> str:
    """What went wrong, in words."""
    if isinstance(error, CutError | SilenceError | TooSlowError | GivenUpError):
        return str(error)
    text = _head(error)
    if (status := status_of(error)) is not None:
        return f"the server answered {status}{_phrase(status)}{_code(text)}"
    for pattern, words in _CAUSES.items():
        if re.search(pattern, text):
            return words
    return first_line(error)


def _head(error: Exception) -> str:
    return re.sub(r"(?:https?://)\S*", "", str(error)[:MOST_TEXT])


def _phrase(status: int) -> str:
    try:
        return f" {http.HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _code(text: str) -> str:
    """The code of an answer of S3 or Google, such as NoSuchBucket."""
    found = re.search(r"<Code>([A-Za-z]{3,40})</Code>", text)
    return f" ({found[1]})" if found and redacted(found[1]) == found[1] else ""
