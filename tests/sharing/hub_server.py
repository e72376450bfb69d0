"""A server on loopback that imitates the API of the Hugging Face hub, and the server of large files that it sends to.

It keeps data sets in memory: commits as trees of files, of which the large ones are named by their SHA-256, as in Git
LFS. Like the hub it answers 401 for what a caller may not see, sends requests for large files on to another server with
a signed address, and those for small ones on to a cache of its own.
"""

import base64
import collections
import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

OWNER_TOKEN = "hf_" + "owner" * 5
STRANGER_TOKEN = "hf_" + "stranger" * 3
LARGE = 1000
"""Bytes from which on a file counts as a large one here."""


@dataclasses.dataclass
class Repo:
    """One data set.

    Attributes:
        private: Whether only its owner sees it.
        commits: By its hash, a tree: path -> content, or the SHA-256 of a large file.
        branches: Name -> hash.
    """

    private: bool = False
    commits: dict[str, dict[str, bytes | str]] = dataclasses.field(default_factory=dict)
    branches: dict[str, str] = dataclasses.field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, bytes | str]) -> str:
        """Add a commit."""
        described = json.dumps([len(self.commits), sorted(tree)]).encode()
        oid = hashlib.sha1(described).hexdigest()
        self.commits[oid], self.branches[branch] = dict(tree), oid
        return oid

    def resolved(self, revision: str) -> str | None:
        """The hash of a branch or commit."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class Hub:
    """The hub and its server of large files.

    Attributes:
        url: Endpoint.
        large_url: Of the other server.
        repos: Data sets by name.
        large: Large files by SHA-256.
        requests: Method and path of every request to the hub, "large METHOD" of the others.
        leaked: Headers with credentials that the server of large files was sent.
        fault: Asked for every request with server, method and path; what it returns, status and headers, is answered.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.leaked: list[str] = []
        self.counts = collections.Counter[str]()
        self.fault: Callable[[str, str, str], tuple[int, dict[str, str]] | None] = lambda *_: None
        self._hub = _server(self, _HubHandler)
        self._large = _server(self, _LargeHandler)
        self.url = f"http://127.0.0.1:{self._hub.server_port}"
        self.large_url = f"http://127.0.0.1:{self._large.server_port}"

    def close(self) -> None:
        """Stop both servers."""
        for server in (self._hub, self._large):
            server.shutdown()
            server.server_close()

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False, branch: str = "main") -> str:
        """Add a commit to a data set; returns its hash."""
        repo = self.repos.setdefault(name, Repo(private=private))
        tree: dict[str, bytes | str] = {}
        for path, content in files.items():
            tree[path] = self.keep(content) if len(content) >= LARGE else content
        return repo.commit(branch, tree)

    def keep(self, content: bytes) -> str:
        """Keep a large file; its SHA-256."""
        digest = hashlib.sha256(content).hexdigest()
        self.large[digest] = content
        return digest

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """Content of every file of a data set."""
        repo = self.repos[name]
        tree = repo.commits[repo.resolved(revision) or ""]
        return {path: self.large[found] if isinstance(found, str) else found for path, found in tree.items()}


@contextlib.contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub without data sets."""
    hub = Hub()
    try:
        yield hub
    finally:
        hub.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that went away are no news."""


def _server(hub: Hub, handler: type["_Handler"]) -> _Server:
    server = _Server(("127.0.0.1", 0), type("Bound", (handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: Hub
    side = ""

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        self.path = urllib.parse.unquote(self.path.partition("?")[0]) if self.side == "hub" else self.path
        self.hub.requests.append(f"{self.side} {self.command} {self.path}".strip())
        if (found := self.hub.fault(self.side, self.command, self.path)) is not None:
            if found[0] == 0:
                self.close_connection = True
                return None
            return self.answer(found[0], b'{"error": "as asked"}', found[1])
        return self.respond(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def respond(self, body: bytes) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def answer_file(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        """A file, or the range of it that is asked for."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted or not content:
            return self.answer(200, content, headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
        if first >= len(content):
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        where = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        return self.answer(206, content[first : last + 1], where | (headers or {}))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _LargeHandler(_Handler):
    side = "large"

    def respond(self, body: bytes) -> None:
        for name in ("Authorization", "Cookie"):
            if self.headers.get(name):
                self.hub.leaked.append(f"{name}: {self.headers[name]}")
        path, _, query = self.path.partition("?")
        digest = path.strip("/")
        if "signature=" not in query:
            return self.answer(403)
        if self.command == "PUT":
            if hashlib.sha256(body).hexdigest() != digest:
                return self.answer(400)
            self.hub.large[digest] = body
            return self.answer(200)
        if digest not in self.hub.large:
            return self.answer(404)
        return self.answer_file(self.hub.large[digest], {"ETag": f'"{digest}"'})


class _HubHandler(_Handler):
    side = "hub"

    def respond(self, body: bytes) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.is_owner = token == OWNER_TOKEN
        if token not in ("", OWNER_TOKEN, STRANGER_TOKEN):  # the hub then refuses what is public, too
            return self.answer_json({"error": "Invalid credentials in Authorization header"}, 401)
        for pattern, answer in self._routes().items():
            if found := re.fullmatch(pattern, f"{self.command} {self.path}"):
                return answer(body, *found.groups())
        return self.answer_json({"error": f"no route {self.command} {self.path}"}, 404)

    def _routes(self) -> dict[str, Callable[..., None]]:
        name = r"([^/]+/[^/]+)"
        return {
            r"POST /api/repos/create": self._create,
            r"POST /api/validate-yaml": lambda *_: self.answer_json({"errors": [], "warnings": []}),
            rf"GET /api/datasets/{name}/revision/(.+)": self._revision,
            rf"GET /api/datasets/{name}": lambda body, repo: self._revision(body, repo, "main"),
            rf"GET /api/datasets/{name}/refs": self._refs,
            rf"GET /api/datasets/{name}/tree/([^/]+)/?(.*)": self._tree,
            rf"POST /api/datasets/{name}/branch/(.+)": self._branch,
            rf"POST /api/datasets/{name}/preupload/(.+)": self._preupload,
            rf"POST /api/datasets/{name}/commit/(.+)": self._commit,
            rf"POST /datasets/{name}\.git/info/lfs/objects/batch": self._batch,
            rf"(?:GET|HEAD) /datasets/{name}/resolve/([^/]+)/(.+)": self._resolve,
            rf"(?:GET|HEAD) /api/resolve-cache/datasets/{name}/([^/]+)/(.+)": self._cached,
        }

    def _repo(self, name: str, *, writes: bool = False) -> Repo | None:
        """A data set that the caller may see; None if the refusal is answered."""
        repo = self.hub.repos.get(name)
        if repo is None or ((repo.private or writes) and not self.is_owner):
            code = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            self.answer_json({"error": "Repository not found"}, 404 if self.is_owner else 401, code)
            return None
        return repo

    def _at(self, name: str, revision: str) -> tuple[Repo, str] | None:
        if (repo := self._repo(name)) is None:
            return None
        if (oid := repo.resolved(revision)) is None:
            self.answer_json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repo, oid

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self.is_owner:
            return self.answer_json({"error": "Unauthorized"}, 401)
        if name in self.hub.repos:
            return self.answer_json({"error": "exists", "url": f"{self.hub.url}/datasets/{name}"}, 409)
        self.hub.repos[name] = Repo(private=asked.get("visibility") == "private" or bool(asked.get("private")))
        self.hub.repos[name].commit("main", {".gitattributes": b"* text=auto\n"})
        return self.answer_json({"url": f"{self.hub.url}/datasets/{name}", "name": name})

    def _revision(self, _: bytes, name: str, revision: str) -> None:
        if (found := self._at(name, revision)) is not None:
            repo, oid = found
            siblings = [{"rfilename": path} for path in repo.commits[oid]]
            self.answer_json({"id": name, "sha": oid, "private": repo.private, "siblings": siblings, "tags": []})

    def _refs(self, _: bytes, name: str) -> None:
        if (repo := self._repo(name)) is not None:
            branches = [
                {"name": key, "ref": f"refs/heads/{key}", "targetCommit": oid} for key, oid in repo.branches.items()
            ]
            self.answer_json({"branches": branches, "tags": [], "converts": []})

    def _tree(self, _: bytes, name: str, revision: str, below: str) -> None:
        if (found := self._at(name, revision)) is None:
            return None
        repo, oid = found
        entries: list[dict[str, Any]] = []
        for path, content in repo.commits[oid].items():
            if below and not path.startswith(f"{below}/"):
                continue
            if isinstance(content, str):
                size = len(self.hub.large[content])
                lfs = {"oid": content, "size": size, "pointerSize": 130}
                entries.append({"type": "file", "path": path, "size": size, "oid": content[:40], "lfs": lfs})
            else:
                entries.append({"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)})
        if below and not entries:
            return self.answer_json({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        return self.answer_json(entries)

    def _branch(self, _: bytes, name: str, branch: str) -> None:
        if (repo := self._repo(name, writes=True)) is None:
            return None
        if branch in repo.branches:
            return self.answer_json({"error": "exists"}, 409)
        repo.branches[branch] = repo.branches["main"]
        return self.answer_json({})

    def _preupload(self, body: bytes, name: str, revision: str) -> None:
        if (repo := self._repo(name, writes=True)) is None:
            return
        tree = repo.commits[repo.resolved(revision) or ""]
        files = []
        for file in json.loads(body)["files"]:
            there = tree.get(file["path"])
            oid = there if isinstance(there, str) else None if there is None else _git_hash(there)
            mode = "lfs" if file["size"] >= LARGE else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.answer_json({"files": files})

    def _batch(self, body: bytes, name: str) -> None:
        if self._repo(name, writes=True) is None:
            return
        objects = []
        for wanted in json.loads(body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.large:
                entry["actions"] = {"upload": {"href": f"{self.hub.large_url}/{wanted['oid']}?signature=s"}}
            objects.append(entry)
        self.answer_json({"transfer": "basic", "objects": objects})

    def _commit(self, body: bytes, name: str, branch: str) -> None:
        if (repo := self._repo(name, writes=True)) is None:
            return None
        tree = dict(repo.commits[repo.branches[branch]])
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header" and value.get("parentCommit") not in (None, repo.branches[branch]):
                return self.answer_json({"error": "A commit has happened since. Please refresh and try again."}, 412)
            if entry["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.hub.large:
                    return self.answer_json({"error": "LFS pointer to a file that is not there"}, 400)
                tree[value["path"]] = value["oid"]
            elif entry["key"] == "deletedFile":
                del tree[value["path"]]
        oid = repo.commit(branch, tree)
        return self.answer_json({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}"})

    def _file(self, name: str, revision: str, path: str) -> tuple[str, bytes | str] | None:
        if (found := self._at(name, revision)) is None:
            return None
        repo, oid = found
        if path not in repo.commits[oid]:
            self.answer(404, b"Entry not found", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid})
            return None
        return oid, repo.commits[oid][path]

    def _resolve(self, _: bytes, name: str, revision: str, path: str) -> None:
        if (found := self._file(name, revision, path)) is None:
            return None
        oid, content = found
        quoted = urllib.parse.quote(path)
        if isinstance(content, str):
            size = len(self.hub.large[content])
            linked = {"X-Linked-Size": str(size), "X-Linked-Etag": f'"{content}"', "X-Repo-Commit": oid}
            return self.answer(302, b"", {"Location": f"{self.hub.large_url}/{content}?signature=a%2Fb"} | linked)
        linked = {"X-Repo-Commit": oid, "ETag": f'"{_git_hash(content)}"'}
        return self.answer(307, b"", {"Location": f"/api/resolve-cache/datasets/{name}/{oid}/{quoted}"} | linked)

    def _cached(self, _: bytes, name: str, revision: str, path: str) -> None:
        if (found := self._file(name, revision, path)) is not None:
            oid, content = found
            assert isinstance(content, bytes)
            self.answer_file(content, {"X-Repo-Commit": oid, "ETag": f'"{_git_hash(content)}"'})


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
