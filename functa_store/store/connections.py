"""How is a connection to a bucket made?"""

import datetime
import json
import os
import threading
from typing import Any

import obstore.exceptions
import obstore.store

from functa_store.errors import ConfigError
from functa_store.store.objects import StorageOptions, first_line

RETRIES = 9
"""Times that a request is repeated after an error of the server or the connection, waiting longer each time."""

RETRY_SECONDS = 300
FIRST_WAIT, LONGEST_WAIT = 0.1, 15.0
READ_TIMEOUT = 60


def connect(scheme: str, bucket: str, storage: StorageOptions) -> Any:
    """A connection to a bucket; no request is made yet.

    Raises:
        ConfigError: If the options make no sense.
    """
    if scheme == "memory":
        return _memory(bucket)
    retry: Any = {
        "max_retries": RETRIES,
        "retry_timeout": datetime.timedelta(seconds=RETRY_SECONDS),
        "backoff": {
            "init_backoff": datetime.timedelta(seconds=FIRST_WAIT),
            "max_backoff": datetime.timedelta(seconds=LONGEST_WAIT),
            "base": 2,
        },
    }
    endpoint = storage.endpoint or (_environment_endpoint() if scheme == "s3" else None)
    insecure = scheme == "http" or (endpoint or "").startswith("http://")
    client: Any = {
        "allow_http": insecure,
        "timeout": datetime.timedelta(seconds=RETRY_SECONDS),  # of a whole request: 16 MB over a slow line, too
        "read_timeout": datetime.timedelta(seconds=READ_TIMEOUT),
    }
    try:
        if scheme == "s3":
            options: Any = {"skip_signature": True} if storage.anonymous else {}
            options |= {"endpoint": endpoint} if endpoint else {}
            options |= {"region": storage.region} if storage.region else {}
            return obstore.store.S3Store(bucket, client_options=client, retry_config=retry, **options)
        if scheme == "gs":
            options = {"skip_signature": True} if storage.anonymous else {}
            options |= {"base_url": endpoint} if endpoint else {}
            if endpoint and storage.anonymous:  # uploads ask for a token all the same
                key = {
                    "gcs_base_url": endpoint,
                    "disable_oauth": True,
                    "client_email": "",
                    "private_key": "",
                    "private_key_id": "",
                }
                options = {"service_account_key": json.dumps(key)}
            return obstore.store.GCSStore(bucket, client_options=client, retry_config=retry, **options)
        return obstore.store.HTTPStore.from_url(f"{scheme}://{bucket}", client_options=client, retry_config=retry)
    except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
        raise ConfigError(f"{scheme}://{bucket}: cannot be reached with {storage}: {first_line(error)}") from error


def _environment_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


_memories: dict[str, Any] = {}
_memories_lock = threading.Lock()


def _memory(bucket: str) -> Any:
    """One bucket per name and process."""
    with _memories_lock:
        return _memories.setdefault(bucket, obstore.store.MemoryStore())
