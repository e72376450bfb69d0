"""Data sets of the Hugging Face hub as places of stores: revisions pinned to commits, and the token of the environment.

The files of a data set are read at addresses of the form ENDPOINT/datasets/OWNER/NAME/resolve/COMMIT/PATH, from which
the hub sends most requests on to servers of files. The token goes to the endpoint alone: a gate stands before it,
which takes it out of what is sent elsewhere.
"""

import json
import os
import re
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import obstore.store

from functa_store.errors import ConfigError, NoFunctasetError, StorageError
from functa_store.store.storage.location import Address, environment_endpoint
from functa_store.store.storage.objects import StorageOptions
from functa_store.store.storage.proxy import Gate, gate_to

ENDPOINT = "https://huggingface.co"
"""The hub, unless an option or HF_ENDPOINT names another one."""

TOKEN = "HF_TOKEN"
"""Variable of the environment that holds the token."""

COMMIT = re.compile(r"[0-9a-f]{40}")
MAIN = "main"

MOST_ANSWER = 2**26
"""Bytes of what the hub says of a revision; it lists every file of the data set."""


class Dataset(NamedTuple):
    """A data set of the hub at one of its revisions.

    Attributes:
        name: OWNER/NAME.
        revision: A branch, a tag or a commit.
    """

    name: str
    revision: str

    @classmethod
    def of(cls, address: Address) -> "Dataset":
        """The data set in which an address lies."""
        name, _, revision = address.host.partition("@")
        return cls(name.removeprefix("datasets/"), revision or MAIN)

    @property
    def host(self) -> str:
        """What stands for it in an address."""
        return f"datasets/{self.name}@{self.revision}"


def endpoint_of(storage: StorageOptions) -> str:
    """URL of the hub, without a slash at its end.

    Raises:
        ConfigError: If HF_ENDPOINT is no URL of a server.
    """
    named = environment_endpoint("hf")
    return (storage.endpoint or named or ENDPOINT).rstrip("/")


def token_of(storage: StorageOptions) -> str | None:
    """The token that requests to the hub carry; None for anonymous ones.

    Raises:
        ConfigError: If it cannot be one.
    """
    token = None if storage.anonymous else os.environ.get(TOKEN, "").strip() or None
    if token is not None and not re.fullmatch(r"[!-~]{1,4096}", token):
        raise ConfigError(f"{TOKEN}: expected the token as the hub shows it, letters, digits and dashes")
    return token


def files_url(address: Address, storage: StorageOptions) -> str:
    """URL below which the hub has the files of a data set at a revision."""
    dataset = Dataset.of(address)
    return f"{endpoint_of(storage)}/datasets/{dataset.name}/resolve/{quote(dataset.revision, safe='')}"


def hub_client(below: str, storage: StorageOptions, client: dict[str, Any], **common: Any) -> tuple[Any, Gate | None]:
    """A client of what lies below the hub's endpoint, and the gate before it.

    Args:
        below: The beginning of every path, such as "datasets/OWNER/NAME/resolve/COMMIT".
        storage: How to reach it.
        client: Options of the client.
        **common: More of the client.

    Raises:
        ConfigError: If endpoint or token make no sense, or the token cannot be kept from others.
        StorageError: If this process can open no way to a server.
    """
    endpoint, token = endpoint_of(storage), token_of(storage)
    parts = urlsplit(endpoint)
    gate = gate_to(parts.scheme, parts.netloc, follows=True)
    if gate is None and token is not None:
        raise ConfigError(
            f"{endpoint}: a token would go through a proxy that is none of HTTP, behind which nothing keeps it from "
            "servers that the hub sends requests on to; ask for anonymous access, or use another proxy"
        )
    headers: dict[str, Any] = {"default_headers": {"Authorization": f"Bearer {token}"}} if token else {}
    url = f"{endpoint}/{quote(below, safe='/')}"
    options: Any = client | headers | ({"proxy_url": gate.url} if gate else {})
    options["allow_http"] = gate is not None or parts.scheme == "http"
    here = gate.here(url) if gate else url
    return obstore.store.HTTPStore.from_url(here, client_options=options, **common), gate


def pinned(address: Address, storage: StorageOptions) -> Address:
    """The same address at the commit that its revision is now; no request is made for one that names a commit.

    Raises:
        NoFunctasetError: If the data set has no such revision, or there is no such data set.
        StorageError: If the hub cannot be asked, or refuses.
    """
    dataset = Dataset.of(address)
    if COMMIT.fullmatch(dataset.revision):
        return address
    from functa_store.store.storage.connections import connect
    from functa_store.store.storage.remote import RemoteObjects

    api = Address(scheme="hf", host=f"api/datasets/{dataset.name}", prefix="")
    objects = RemoteObjects(connect(api.scheme, api.host, storage), f"hf://datasets/{dataset.name}", "", storage)
    key = "refs" if "/" in dataset.revision else f"revision/{dataset.revision}"
    try:
        said = json.loads(objects.read(key, MOST_ANSWER))
        commit = _commit_of(said, dataset.revision) if key == "refs" else said.get("sha")
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise ValueError(f"found the commit {commit!r:.100}")
    except (FileNotFoundError, LookupError) as error:
        raise NoFunctasetError(
            f"hf://{dataset.host}: there is no such data set at {endpoint_of(storage)}, or it has no revision "
            f"{dataset.revision!r}; expected hf://datasets/OWNER/NAME@REVISION/PATH, with a branch, a tag or a commit"
        ) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"hf://{dataset.host}: the answer of {endpoint_of(storage)} tells no commit; it is no hub"
        ) from error
    return Address(scheme="hf", host=Dataset(dataset.name, commit).host, prefix=address.prefix)


def _commit_of(refs: Any, revision: str) -> Any:
    """The commit of a branch or tag whose name has slashes."""
    listed = [ref for kind in ("branches", "tags", "converts") for ref in refs.get(kind) or ()]
    return {ref[key]: ref["targetCommit"] for ref in listed for key in ("name", "ref")}[revision]
