"""Connections to buckets."""

import contextlib
import datetime
import json
import os
import threading
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import obstore.exceptions
import obstore.store

from functa_store.errors import ConfigError
from functa_store.store.storage.location import Address, environment_endpoint
from functa_store.store.storage.objects import StorageOptions, first_line
from functa_store.store.storage.proxy import (
    CONNECT_SECONDS,
    METADATA_HOSTS,
    Gate,
    gate_to,
)

NEVER = datetime.timedelta(days=1)
"""The client's own limit of a request; `Patience` ends requests sooner, and lets those go on that make progress."""

# Requests are repeated by `RemoteObjects`, which asks before each whether this process may still write.
_ONCE: Any = {"max_retries": 0, "retry_timeout": NEVER}
_PATIENT: Any = {"timeout": NEVER, "connect_timeout": datetime.timedelta(seconds=CONNECT_SECONDS)}

_OWN_WAY = {
    "s3": ("AWS_PROXY_URL", "AWS_ALLOW_INVALID_CERTIFICATES", "AWS_ROOT_CERTIFICATE"),
    "gs": ("GOOGLE_PROXY_URL", "GOOGLE_ALLOW_INVALID_CERTIFICATES", "GOOGLE_ROOT_CERTIFICATE"),
}
"""Variables that tell the client itself how to reach a server, which it does without a gate then."""


class Connection(NamedTuple):
    """The way to a bucket.

    Attributes:
        store: The client.
        gate: What its requests pass; None for a provider's own servers.
    """

    store: Any
    gate: Gate | None

    def expecting(self, at_most: int) -> contextlib.AbstractContextManager[None]:
        """Take answers of so many bytes for a while."""
        return self.gate.expecting(at_most) if self.gate else contextlib.nullcontext()


def connect(scheme: str, bucket: str, storage: StorageOptions) -> Connection:
    """A connection to a bucket; no request is made yet.

    Raises:
        ConfigError: If the options make no sense.
        StorageError: If this process can open no way to a server.
    """
    if scheme == "memory":
        return Connection(_memory(bucket), None)
    if scheme == "hf":
        return _to_hub(bucket, storage)
    named = endpoint = _checked_endpoint(scheme, storage)
    gate = _gate(scheme, bucket, endpoint)
    client: Any = dict(_PATIENT)
    if gate is not None:
        client |= {"proxy_url": gate.url}
        if scheme not in ("http", "https"):  # which want no credentials
            client |= {"proxy_excludes": METADATA_HOSTS}
        endpoint = gate.here(endpoint) if endpoint else None
    client["allow_http"] = gate is not None or scheme == "http" or (endpoint or "").startswith("http://")
    try:
        return Connection(
            _client(scheme, bucket, endpoint, storage, gate, client_options=client, retry_config=_ONCE), gate
        )
    except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
        said = first_line(error)
    server = f" at {named}" if named else ""
    raise ConfigError(f"{scheme}://{bucket}: cannot be reached{server}: {said}")


def _to_hub(host: str, storage: StorageOptions) -> Connection:
    """The way to the files of a data set of the hub, at a commit, or to what the hub says of it."""
    from functa_store.store.storage.hub import Dataset, hub_client

    below = host
    if host.startswith("datasets/"):
        dataset = Dataset.of(Address(scheme="hf", host=host, prefix=""))
        below = f"datasets/{dataset.name}/resolve/{dataset.revision}"
    return Connection(*hub_client(below, storage, _PATIENT, retry_config=_ONCE))


def _client(
    scheme: str, bucket: str, endpoint: str | None, storage: StorageOptions, gate: Gate | None, **common: Any
) -> Any:
    options: Any = {"skip_signature": True} if storage.anonymous else {}
    if scheme == "s3":
        options |= {"endpoint": endpoint} if endpoint else {}
        options |= {"region": storage.region} if storage.region else {}
        return obstore.store.S3Store(bucket, **options, **common)
    if scheme == "gs":
        options |= {"base_url": endpoint} if endpoint else {}
        if endpoint and storage.anonymous:  # uploads ask for a token all the same
            key = {"client_email": "", "private_key": "", "private_key_id": ""}
            options = {"service_account_key": json.dumps(key | {"gcs_base_url": endpoint, "disable_oauth": True})}
        return obstore.store.GCSStore(bucket, **options, **common)
    url = f"{scheme}://{bucket}"
    return obstore.store.HTTPStore.from_url(gate.here(url) if gate else url, **common)


def _checked_endpoint(scheme: str, storage: StorageOptions) -> str | None:
    """The server that is named by an option or the environment; all that the environment names is checked."""
    named = environment_endpoint(scheme)
    return storage.endpoint or named if scheme in ("s3", "gs") else None


def _gate(scheme: str, bucket: str, endpoint: str | None) -> Gate | None:
    """What stands before a server that a stranger may run; web servers get no credentials and may send elsewhere."""
    if scheme in ("http", "https"):
        return gate_to(scheme, bucket, follows=True)
    if endpoint is None or any(os.environ.get(name) for name in _OWN_WAY[scheme]):
        return None
    parts = urlsplit(endpoint)
    return gate_to(parts.scheme, parts.netloc, follows=False)


_memories: dict[str, Any] = {}
_memories_lock = threading.Lock()


def _memory(bucket: str) -> Any:
    """One bucket per name and process."""
    with _memories_lock:
        return _memories.setdefault(bucket, obstore.store.MemoryStore())
