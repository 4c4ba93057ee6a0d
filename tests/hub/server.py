"""A Hub on 127.0.0.1 with repositories in memory, as huggingface_hub 2.x speaks to one.

It implements the requests that the client makes; a `fault` may answer a request in its place.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from . import xet

LARGE = (".safetensors", ".bin", ".pt", ".pth", ".h5")


def is_large(path: str) -> bool:
    return path.endswith(LARGE)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Commit:
    oid: str
    files: dict[str, bytes]
    title: str


@dataclass
class Repo:
    name: str
    private: bool = False
    gated: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=dict)
    requests: dict[int, str] = field(default_factory=dict)
    """Number of a pull request -> its title; its commits are the branch `refs/pr/N`."""

    def commit(self, files: dict[str, bytes], title: str = "", branch: str = "main") -> str:
        history = self.branches.setdefault(branch, list(self.branches.get("main", ())))
        merged = (history[-1].files if history else {}) | files
        seed = f"{self.name} {branch} {len(history)} {title} {sorted(map(sha256, merged.values()))}"
        history.append(Commit(hashlib.sha1(seed.encode()).hexdigest(), merged, title))
        return history[-1].oid

    def find(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        commits = (commit for history in self.branches.values() for commit in history)
        return next((commit for commit in commits if commit.oid == revision), None)

    @property
    def head(self) -> Commit:
        return self.branches["main"][-1]


Fault = Callable[["Handler"], bool]
"""Answers a request and returns True, or returns False."""


class Hub(ThreadingHTTPServer):
    """The server; start it with `with Hub() as hub`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.tokens: dict[str, str] = {}
        self.large: dict[str, bytes] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        """Method, path and headers of every request."""
        self.fault: Fault | None = None
        self.early: Fault | None = None
        """A fault that acts before the body of a request is read."""
        self.xet: Path | None = None
        """A folder that is the content store of Xet, which clients then use for large files."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage_url(self) -> str:
        """Large files are sent from another host, as the Hub does."""
        return f"http://localhost:{self.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()

    def add(self, name: str, files: dict[str, bytes], **kind: bool) -> Repo:
        repo = self.repos[name] = Repo(name, **kind)
        repo.commit(files, "first")
        return repo

    def count(self, method: str, pattern: str) -> int:
        return sum(m == method and re.search(pattern, path) is not None for m, path, _ in self.seen)

    def handle_error(self, request: object, client_address: object) -> None:
        """Tests let clients disconnect within a request."""


class Handler(BaseHTTPRequestHandler):
    """One request. Routes are methods named by what they answer."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        self.route, self.query = parts.path, parse_qs(parts.query)
        if self.server.early and self.server.early(self):
            return
        length = int(self.headers.get("content-length", 0))
        self.body = self._read_chunked() if "chunked" in str(self.headers) else b""
        self.body = self.body or self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers))
        if self.server.fault and self.server.fault(self):
            return
        self.answer()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _read_chunked(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    # Answering

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Date", formatdate(usegmt=True))
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object, status: int = 200) -> None:
        self.reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str = "", **headers: str) -> None:
        text = json.dumps({"error": message or code}).encode()
        self.reply(
            status, text, {"X-Error-Code": code, "X-Error-Message": message or code, **headers}
        )

    def reset(self) -> None:
        """Hang up with a TCP reset, as a crashed machine does."""
        self.wfile.flush()
        linger = b"\x01\0\0\0\0\0\0\0"
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    # Routing

    def answer(self) -> None:
        routes = (
            ("GET", r"/api/models/([^/]+/[^/]+)", self.info),
            ("GET", r"/api/models/([^/]+/[^/]+)/revision/(.+)", self.info),
            ("GET", r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self.tree),
            ("GET", r"/api/models/([^/]+/[^/]+)/discussions", self.discussions),
            ("GET", r"/api/models/([^/]+/[^/]+)/xet-(?:read|write)-token/(.+)", self.xet_token),
            ("POST", r"/api/models/([^/]+/[^/]+)/preupload/(.+)", self.preupload),
            ("POST", r"/api/models/([^/]+/[^/]+)/commit/(.+)", self.commit),
            ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.batch),
            ("POST", r"/([^/]+/[^/]+)/verify", self.verify),
            ("PUT", r"/upload/([0-9a-f]{64})", self.upload),
            ("GET", r"/large/([0-9a-f]{64})", self.download),
            ("POST", r"/api/repos/create", self.create),
            ("POST", r"/api/validate-yaml", self.validate),
            ("GET", r"/api/whoami-v2", self.whoami),
            ("GET|HEAD", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.resolve),
        )
        for methods, pattern, route in routes:
            match = re.fullmatch(pattern, self.route)
            if match and re.fullmatch(methods, self.command):
                return route(*map(unquote, match.groups()))
        self.no_route()

    def no_route(self, *args: str) -> None:
        self.reply(404, b"Not Found")

    @property
    def user(self) -> str | None:
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        return self.server.tokens.get(token)

    def repo(self, name: str, *, write: bool = False) -> Repo | None:
        """The repository if this client may see it; otherwise the request is answered."""
        repo = self.server.repos.get(name)
        bad_token = "authorization" in self.headers and self.user is None
        if bad_token:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif repo is None or (repo.private and self.user != name.split("/")[0]):
            self.refuse(404 if self.user else 401, "RepoNotFound", "Repository not found")
        elif repo.gated and self.user != name.split("/")[0]:
            self.refuse(403 if self.user else 401, "GatedRepo", f"Access to {name} is restricted.")
        elif write and self.user != name.split("/")[0]:
            self.refuse(403, "", "You don't have the rights to write to this repo")
        else:
            return repo
        return None

    def at(self, name: str, revision: str) -> tuple[Repo, Commit] | None:
        if (repo := self.repo(name)) is None:
            return None
        if (commit := repo.find(revision)) is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo, commit

    # Reading

    def info(self, name: str, revision: str = "main") -> None:
        if not (state := self.at(name, revision)):
            return
        repo, commit = state
        siblings = [self.sibling(path, data) for path, data in sorted(commit.files.items())]
        front = re.match(rb"---\n(.*?)\n---", commit.files.get("README.md", b""), re.DOTALL)
        license = re.search(rb"^license: (\S+)", front[1], re.MULTILINE) if front else None
        self.json({
            "id": name, "sha": commit.oid, "private": repo.private, "tags": [],
            "gated": "manual" if repo.gated else False, "siblings": siblings,
            "cardData": {"license": license[1].decode()} if license else {},
            "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
        })  # fmt: skip

    def sibling(self, path: str, data: bytes) -> dict[str, object]:
        entry: dict[str, object] = {"rfilename": path}
        if "blobs" in self.query:
            entry |= {"size": len(data), "blobId": git_sha1(data)}
            if is_large(path):
                entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
        return entry

    def tree(self, name: str, revision: str) -> None:
        if state := self.at(name, revision):
            self.json([
                {"type": "file", "path": path, "size": len(data), "oid": git_sha1(data)}
                for path, data in sorted(state[1].files.items())
            ])  # fmt: skip

    def resolve(self, name: str, revision: str, path: str) -> None:
        if not (state := self.at(name, revision)):
            return None
        _, commit = state
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            return self.refuse(404, "EntryNotFound", "Entry not found", **headers)
        data = commit.files[path]
        if not is_large(path):
            return self.send_data(data, headers | {"ETag": f'"{git_sha1(data)}"'})
        self.server.large[sha256(data)] = data
        address = f"{self.server.storage_url}/large/{sha256(data)}"
        linked = {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
        if self.server.xet and (hashed := xet.hashes(self.server.xet).get(sha256(data))):
            token = f"{self.server.url}/api/models/{name}/xet-read-token/{commit.oid}"
            linked |= {"X-Xet-Hash": hashed, "Link": f'<{token}>; rel="xet-auth"'}
        self.reply(302, b"", headers | linked | {"Location": address})

    def xet_token(self, name: str, revision: str) -> None:
        if self.server.xet is None or self.repo(name) is None:
            return self.no_route()
        store, end = f"local://{self.server.xet}", 4102444800
        body = json.dumps({"casUrl": store, "accessToken": "xet", "exp": end}).encode()
        named = {"Cas-Url": store, "Access-Token": "xet", "Token-Expiration": str(end)}
        self.reply(200, body, {f"X-Xet-{key}": value for key, value in named.items()})

    def download(self, oid: str) -> None:
        if oid not in self.server.large:
            return self.no_route()
        self.send_data(self.server.large[oid], {"ETag": f'"{oid}"'})

    def send_data(self, data: bytes, headers: dict[str, str]) -> None:
        offset = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        if offset is None:
            return self.reply(200, data, headers)
        start = int(offset[1])
        about = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self.reply(206, data[start:], headers | about)

    def whoami(self) -> None:
        if self.user is None:
            return self.refuse(401, "", "Invalid user token.")
        self.json({"name": self.user, "type": "user", "orgs": []})

    def discussions(self, name: str) -> None:
        if repo := self.repo(name):
            listed = [
                {
                    "num": number, "title": title, "status": "open", "isPullRequest": True,
                    "author": {"name": "me"}, "createdAt": "2026-01-01T00:00:00.000Z",
                    "repo": {"name": name, "type": "model"},
                }
                for number, title in repo.requests.items()
            ]  # fmt: skip
            self.json({"discussions": listed, "count": len(listed), "start": 0})

    # Writing

    def create(self) -> None:
        options = json.loads(self.body)
        if self.user is None:
            return self.refuse(401, "", "Invalid user token.")
        owner = options.get("organization") or self.user
        name = f"{owner}/{options['name']}"
        about = {"url": f"{self.server.url}/{name}"}
        if owner != self.user:
            return self.refuse(
                403, "", f"You don't have the rights to create a model under {owner}"
            )
        if name in self.server.repos:
            return self.json(about | {"error": "You already created this model repo"}, 409)
        private = options.get("visibility") == "private"
        self.server.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        self.json(about)

    def validate(self) -> None:
        import yaml

        front = re.match(r"---\n(.*?)\n---", json.loads(self.body)["content"], re.DOTALL)
        try:
            yaml.safe_load(front[1] if front else "")
        except yaml.YAMLError as error:
            return self.json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        self.json({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        if (repo := self.repo(name, write=True)) is None:
            return
        existing = repo.find(revision).files if repo.find(revision) else {}
        files = []
        for file in json.loads(self.body)["files"]:
            path, large = file["path"], is_large(file["path"])
            entry = {"path": path, "shouldIgnore": False}
            entry["uploadMode"] = "lfs" if large and file["size"] else "regular"
            if path in existing:
                entry["oid"] = sha256(existing[path]) if large else git_sha1(existing[path])
            files.append(entry)
        self.json({"files": files})

    def batch(self, name: str) -> None:
        if self.repo(name, write=True) is None:
            return
        objects = []
        for entry in json.loads(self.body)["objects"]:
            oid = entry["oid"]
            if oid not in self.server.large:
                entry["actions"] = {
                    "upload": {"href": f"{self.server.storage_url}/upload/{oid}"},
                    "verify": {"href": f"{self.server.url}/{name}/verify"},
                }
            objects.append(entry)
        self.json({"objects": objects})

    def upload(self, oid: str) -> None:
        if sha256(self.body) != oid:
            return self.reply(400, b"the content is another")
        self.server.large[oid] = self.body
        self.reply(200)

    def verify(self, name: str) -> None:
        upload = json.loads(self.body)
        data = self.server.large.get(upload["oid"])
        self.reply(200 if data is not None and len(data) == upload["size"] else 404)

    def commit(self, name: str, revision: str) -> None:
        if (repo := self.repo(name, write=True)) is None:
            return None
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        header, files = lines[0]["value"], {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        as_request = "1" in self.query.get("create_pr", [])
        if not as_request and header.get("parentCommit") not in (None, repo.head.oid):
            return self.refuse(
                412, "", "A commit has happened since. Please refresh and try again."
            )
        branch, about = "main", {}
        if as_request:
            number = len(repo.requests) + 1
            branch = f"refs/pr/{number}"
            repo.requests[number] = header["summary"]
            about = {"pullRequestUrl": f"{self.server.url}/{name}/discussions/{number}"}
        oid = repo.commit(files, header["summary"], branch)
        about |= {"commitUrl": f"{self.server.url}/{name}/commit/{oid}", "commitOid": oid}
        self.json({"success": True} | about)
