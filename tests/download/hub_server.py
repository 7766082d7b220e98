"""A model hub on the loopback that the real client speaks to, and that misbehaves where told to.

    with hub({"LeonMiao/ViRC-3B": {"config.json": b"{}", "model.safetensors": weights},
              "datasets/LeonMiao/CRUX": Repo({"images.tar.lz4": path}, revisions={"v1": {...}})}) as server:
        environ.update(server.env(tmp_path))       # HF_ENDPOINT, HF_HOME …; or HfApi(endpoint=server.url)
        server.misbehave(drop(1000), name="model.safetensors", times=2)
        ...
        assert all("authorization" not in r.headers for r in server.asked("storage"))
        assert server.sent("model.safetensors") < 2 * len(weights)

Five places are told apart (`on`): "api" (what is said of a repository, whose name is `name`), "tree" (its files, by
pages of `server.page`), "resolve" (a file's address at the hub), "cache" (where small files lie) and "storage": a
second port, where large files lie behind signed addresses. As at the real hub, a large file is answered by 302 to the
storage, a small one by a relative 307 to the cache, a gated repository shows its listing but not its files, and the
storage refuses a request that carries a token.

A fault changes a `Reply` before it is sent: `status(503)`, `drop(after)`, `ignore_range`, `etag('"x"')`,
`becomes(content)`, `wrong(at)`, `slow(rate)`, `short(by)`, `moved(url)`, `hang`, `body(data)`, or any function of one.
Signed addresses expire where `server.address_bytes` is set.

It takes uploads (`hub_uploads.py`) of tokens that may write: `server.writers["hf_mine"] = {"me"}`. Their `on` is
"create", "preupload", "lfs", "commit", or "storage" with the method PUT.
"""

import fnmatch
import hashlib
import io
import json
import re
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from download import hub_uploads
from support.loopback import Connection, Loopback

Content = bytes | Path
Files = Mapping[str, Content]

_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+?)(?:/(revision|tree)/([^/]+))?")
_CACHED = re.compile(r"/api/resolve-cache/(models|datasets)/([^/]+/[^/]+)/([^/]+)/(.+)")
_RESOLVE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_LARGE_NAMES = ("*.safetensors", "*.lz4", "*.gz", "*.tgz", "*.tar", "*.zip", "*.parquet", "*.bin")
_PIECE = 2**20


@dataclass
class Repo:
    """A repository: its files by name on `main`, and on other branches and tags.

    `members` are the tokens that may read it where it is private or gated.
    """

    files: Files
    revisions: Mapping[str, Files] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    members: Collection[str] = ()


@dataclass
class Request:
    """One request as it arrived (header names in lower case), and what it got."""

    method: str
    path: str
    headers: Mapping[str, str]
    on: str = ""
    name: str = ""
    code: int = 0
    sent: int = 0  # bytes of the body, counted as they leave
    body: bytes = b""


@dataclass
class Reply:
    """What is about to be sent; a Range is applied to a 200 when it leaves. Faults change it."""

    code: int = 200
    content: Content = b""
    headers: dict[str, str] = field(default_factory=dict)  # these win over those that are computed
    etag: str | None = None
    ranges: bool = False  # whether a Range is honoured
    missing: int = 0  # bytes left out at the end; Content-Length says so
    cut: int | None = None  # bytes of the body after which the connection breaks
    reset: bool = False  # whether it breaks by a reset
    rate: int | None = None  # bytes/s
    silent: bool = False  # whether nothing comes at all
    then: Callable[[], object] | None = None  # what a request that is granted changes
    address: "_Address | None" = None


Fault = Callable[[Reply], None]


def status(code: int, message: str = "scripted", error: str | None = None, **headers: str) -> Fault:
    """An HTTP error; `error` is the hub's X-Error-Code; `retry_after="1"` becomes Retry-After."""

    def change(reply: Reply) -> None:
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        vars(reply).update(vars(_refusal(code, message, error)))
        reply.headers.update(named)

    return change


def _changes(**fields: Any) -> Fault:
    """Change fields of a reply."""
    return lambda reply: vars(reply).update(fields)


def drop(after: int, reset: bool = False) -> Fault:
    """Break the connection after so many bytes of the body, though Content-Length promised all."""
    return _changes(cut=after, reset=reset)


ignore_range = _changes(ranges=False)
"""Send the whole file, with 200, whatever part is asked for."""


def etag(value: str) -> Fault:
    """Say another ETag for the same bytes."""
    return _changes(etag=value)


def becomes(content: Content) -> Fault:
    """Serve other bytes, under an ETag of their own."""
    return _changes(content=content, etag=f'"{_sha256(content)}"')


def wrong(at: int = 0) -> Fault:
    """Serve the file with one bit flipped in the byte `at`, under the ETag of the right one."""

    def change(reply: Reply) -> None:
        data = bytearray(_bytes(reply.content))
        data[at] ^= 1
        reply.content = bytes(data)

    return change


def slow(rate: int) -> Fault:
    """Send `rate` bytes a second."""
    return _changes(rate=rate)


def short(by: int) -> Fault:
    """Leave out the last bytes, with a Content-Length that agrees."""
    return _changes(missing=by)


def moved(url: str, code: int = 302) -> Fault:
    """Redirect to `url`, whatever was asked for."""

    def change(reply: Reply) -> None:
        reply.code, reply.content = code, b""
        reply.headers["Location"] = url

    return change


hang = _changes(silent=True)
"""Take the request and say nothing."""


def body(data: bytes, kind: str = "application/json") -> Fault:
    """Answer 200 with exactly these bytes."""
    return lambda reply: vars(reply).update(code=200, content=data, headers={"Content-Type": kind})


@dataclass(frozen=True)
class _Entry:
    """A file of a commit; `git` is the id of its blob, which for a large file is that of the pointer."""

    content: Content
    size: int
    sha256: str
    git: str
    large: bool

    @property
    def pointer_size(self) -> int:
        return len(_pointer(self.sha256, self.size))


@dataclass
class _Kept:
    """A repository as it is served: every commit that was ever put stays."""

    repo: Repo
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, _Entry]] = field(default_factory=dict)


@dataclass
class _Address:
    """A signed address of a large file, and what it is still good for."""

    entry: _Entry
    bytes: int | None


@dataclass
class _Rule:
    fault: Fault
    on: str
    name: str
    method: str
    skip: int
    times: int | None

    def takes(self, request: Request) -> bool:
        """Whether this request shall go wrong; counts those it looked at."""
        asked = (request.on, request.method) == (self.on, self.method)
        if not (asked and fnmatch.fnmatchcase(request.name, self.name)) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Hub:
    """The running hub: see the top of this file."""

    def __init__(self, large: int = 2**20) -> None:
        self.large = large  # bytes from which any file is a large one
        self.tokens: set[str] = set()  # those of members are known too
        self.writers: dict[str, set[str]] = {}  # the owners that a token may write to
        self.stored: dict[str, bytes] = {}  # what was uploaded, by its SHA-256
        self.ignored: list[str] = []  # patterns of names that it takes in no commit, as by .gitignore
        self.lost: list[str] = []  # patterns of names that it loses without a word
        self.faults_of_card: list[str] = []
        self.address_bytes: int | None = None
        self.page = 1000
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._repos: dict[str, _Kept] = {}
        self._addresses: dict[str, _Address] = {}
        self._rules: list[_Rule] = []
        self._changed = threading.Condition()
        self._front = _Listener(self, self._front_answer)
        self._storage = _Listener(self, self._storage_answer)

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to say."""
        return self._front.address

    @property
    def storage_url(self) -> str:
        """By another name of this machine: some clients take two ports of one host for the same place."""
        return self._storage.address.replace("127.0.0.1", "localhost")

    def env(self, home: Path, token: str | None = None) -> dict[str, str]:
        """The variables of a process that uses this hub, and none of the user's own settings."""
        known = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "NO_PROXY": "127.0.0.1,localhost",
            "HF_HUB_OFFLINE": "0",
        }
        return {**known, "HF_TOKEN": token or "", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}

    def put(self, key: str, files: Files, revision: str = "main") -> str:
        """Commit `files` as the new state of a branch; returns the commit. Earlier commits stay."""
        entries = {name: self._entry(name, content) for name, content in files.items()}
        told = "\n".join(f"{name} {entry.sha256}" for name, entry in sorted(entries.items()))
        commit = hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        kept = self._repos.setdefault(key, _Kept(Repo(files)))
        kept.branches[revision] = commit
        kept.commits[commit] = entries
        return commit

    def add(self, key: str, repo: Repo | Files) -> None:
        """Serve a repository; `key` is its hub id, after `datasets/` for a dataset."""
        repo = repo if isinstance(repo, Repo) else Repo(repo)
        self._repos[key] = _Kept(repo)
        self.tokens.update(repo.members)
        for revision, files in {"main": repo.files, **repo.revisions}.items():
            self.put(key, files, revision)

    def commit(self, key: str, revision: str = "main") -> str:
        return self._repos[key].branches[revision]

    def states(self, key: str) -> list[dict[str, bytes]]:
        """The files of a repository after each of its commits, from that which made it."""
        return [{name: each.content for name, each in at.items()} for at in self._repos[key].commits.values()]

    def create(self, key: str, private: bool, token: str) -> None:
        """Serve a new repository of a token's."""
        self.add(key, Repo({}, private=private, members=[token]))

    def repo(self, key: str) -> Repo | None:
        """A repository as it was added or created; None where there is none."""
        return self._repos[key].repo if key in self._repos else None

    def held(self, key: str) -> dict[str, bytes]:
        """The files on `main`."""
        return {name: _bytes(entry.content) for name, entry in self.entries(key).items()}

    def entries(self, key: str) -> "dict[str, _Entry]":
        kept = self._repos[key]
        return kept.commits[kept.branches["main"]]

    def is_large(self, name: str, size: int) -> bool:
        """Whether a file of that name and size lies in the storage."""
        return size >= self.large or any(fnmatch.fnmatchcase(name, glob) for glob in _LARGE_NAMES)

    def misbehave(
        self,
        fault: Fault,
        on: str = "storage",
        name: str = "*",
        method: str = "GET",
        times: int | None = 1,
        skip: int = 0,
    ) -> None:
        """Let `times` requests (None: all) for names that match go wrong, after `skip` that do not."""
        with self._changed:
            self._rules.append(_Rule(fault, on, name, method, skip, times))

    def behave(self) -> None:
        """Forget all faults."""
        with self._changed:
            self._rules.clear()

    def asked(self, on: str | None = None, name: str = "*") -> list[Request]:
        """The requests so far to one place, for names that match."""
        with self._changed:
            return [r for r in self.requests if on in (None, r.on) and fnmatch.fnmatchcase(r.name, name)]

    def sent(self, name: str = "*", on: str | None = None) -> int:
        """Bytes of files that left, for names that match, from storage and hub."""
        return sum(r.sent for r in self.asked(on, name) if r.on not in ("api", "tree") and r.code in (200, 206))

    def until(self, ready: Callable[[], bool], seconds: float = 200) -> bool:
        """Wait until something about the requests holds; False where it never did."""
        with self._changed:  # a condition's lock is reentrant, so `ready` may look at the log
            return self._changed.wait_for(ready, timeout=seconds)

    def die(self) -> None:
        """End: nothing listens any more, and what is under way breaks."""
        self.stopping.set()
        for listener in (self._front, self._storage):
            listener.die()

    # What the listeners call.

    def arrived(self, request: Request, reply: Reply) -> None:
        """Log a request, and let go wrong what shall."""
        with self._changed:
            self.requests.append(request)
            faults = [rule.fault for rule in self._rules if rule.takes(request)]
            self._changed.notify_all()
        for fault in faults:
            fault(reply)

    def left(self, request: Request, reply: Reply, count: int) -> None:
        """Count bytes that left."""
        with self._changed:
            request.sent += count
            if reply.address is not None and reply.address.bytes is not None:
                reply.address.bytes -= count
            self._changed.notify_all()

    def _entry(self, name: str, content: Content) -> _Entry:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        sha256 = _sha256(content)
        large = self.is_large(name, size)
        return _Entry(content, size, sha256, git_id(_pointer(sha256, size) if large else _bytes(content)), large)

    def _front_answer(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        if request.method == "POST":
            return _granted(hub_uploads.answer(self, request))
        if match := _CACHED.fullmatch(parts.path):
            request.on, request.name = "cache", unquote(match[4])
            return self._file(request, _key(match[1], match[2]), match[3], cached=True)
        if match := _API.fullmatch(parts.path):
            request.on, request.name = "tree" if match[3] == "tree" else "api", _key(match[1], match[2])
            return self._listing(request, match[3] == "tree", unquote(match[4] or "main"), parts.query)
        if match := _RESOLVE.fullmatch(parts.path):
            request.on, request.name = "resolve", unquote(match[4])
            return self._file(request, _key(match[1], match[2]), unquote(match[3]))
        return _refusal(404, "Not Found")

    def _found(self, request: Request, key: str, revision: str, files: bool) -> tuple[str, dict[str, _Entry]] | Reply:
        """The commit of a revision and its files, or the refusal the real hub would give."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            return _refusal(401, "Invalid credentials in Authorization header")
        kept = self._repos.get(key)
        if kept is None or (kept.repo.private and token not in kept.repo.members):
            if token:
                return _refusal(404, "Repository not found", "RepoNotFound")
            return _refusal(401, "Invalid username or password.", "RepoNotFound")
        if files and kept.repo.gated and token not in kept.repo.members:
            return _refusal(
                403 if token else 401, f"Access to {key} is restricted. Visit {self.url}/{key}", "GatedRepo"
            )
        commit = kept.branches.get(revision, revision)
        if commit not in kept.commits:
            return _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit, kept.commits[commit]

    def _listing(self, request: Request, tree: bool, revision: str, query: str) -> Reply:
        found = self._found(request, request.name, revision, files=False)
        if isinstance(found, Reply):
            return found
        commit, entries = found
        kept = self._repos[request.name]
        headers = {"Content-Type": "application/json", "X-Repo-Commit": commit}
        told: object
        if tree:
            begin = int(parse_qs(query).get("cursor", ["0"])[0])
            told = [_tree_entry(*each) for each in list(entries.items())[begin : begin + self.page]]
            if begin + self.page < len(entries):
                following = f"https://huggingface.co{urlsplit(request.path).path}?recursive=true&cursor="
                headers["Link"] = f'<{following}{begin + self.page}>; rel="next"'
        else:
            told = {"id": request.name.removeprefix("datasets/"), "sha": commit, "private": kept.repo.private}
            told |= {
                "gated": "manual" if kept.repo.gated else False,
                "siblings": [{"rfilename": each} for each in entries],
            }
        return Reply(content=json.dumps(told).encode(), headers=headers)

    def _file(self, request: Request, key: str, revision: str, cached: bool = False) -> Reply:
        found = self._found(request, key, revision, files=True)
        if isinstance(found, Reply):
            return found
        commit, entries = found
        entry = entries.get(request.name)
        if entry is None:
            refusal = _refusal(404, "Entry not found", "EntryNotFound")
            refusal.headers["X-Repo-Commit"] = commit
            return refusal
        linked = entry.sha256 if entry.large else entry.git
        if cached:
            return Reply(content=entry.content, etag=f'"{linked}"', ranges=True, headers={"X-Repo-Commit": commit})
        kind = "datasets" if key.startswith("datasets/") else "models"
        here = f"/api/resolve-cache/{kind}/{key.removeprefix('datasets/')}/{commit}/{quote(request.name)}"
        headers = {
            "Location": self._signed(entry, request.name) if entry.large else here,
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{linked}"',
            "X-Linked-Size": str(entry.size),
        }
        return Reply(302 if entry.large else 307, headers=headers)

    def _signed(self, entry: _Entry, name: str) -> str:
        signature = secrets.token_hex(16)
        self._addresses[signature] = _Address(entry, self.address_bytes)
        return f"{self.storage_url}/{entry.sha256}/{quote(name)}?Signature={signature}&Key-Pair-Id=K1"

    def _storage_answer(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        request.on, request.name = "storage", unquote(parts.path.partition("/")[2].partition("/")[2])
        if "authorization" in request.headers:
            return _refusal(400, "Only one auth mechanism allowed")
        if request.method == "PUT":
            return _granted(hub_uploads.store(self, request))
        address = self._addresses.get(parse_qs(parts.query).get("Signature", [""])[0])
        if address is None or (address.bytes is not None and address.bytes <= 0):
            return _refusal(403, "Request has expired")
        entry = address.entry
        return Reply(content=entry.content, etag=f'"{entry.sha256}"', ranges=True, cut=address.bytes, address=address)


@contextmanager
def hub(repos: Mapping[str, Repo | Files] | None = None, large: int = 2**20) -> Iterator[Hub]:
    """Serve repositories while the block lasts; files of `large` bytes and more lie in the storage."""
    server = Hub(large)
    try:
        for key, repo in (repos or {}).items():
            server.add(key, repo)
        yield server
    finally:
        server.die()


def git_id(content: bytes) -> str:
    """The id that git gives a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class _Listener(Loopback):
    def __init__(self, owner: Hub, answer: Callable[[Request], Reply]) -> None:
        super().__init__(_Exchange)
        self.owner = owner
        self.answer = answer
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Exchange(Connection):
    server: _Listener

    def get(self) -> None:
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        if self.command in ("POST", "PUT"):
            request.body = self._sent()
        reply = self.server.answer(request)
        self.server.owner.arrived(request, reply)
        if reply.then and reply.code == 200 and not reply.silent:
            reply.then()
        if reply.silent:
            self.server.owner.stopping.wait()
            self.close_connection = True
            return
        start, stop = self._head(request, reply)
        if self.command != "HEAD":
            self._body(request, reply, start, stop)

    head = post = put = get

    def _sent(self) -> bytes:
        """The body of the request, also one in chunks."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _head(self, request: Request, reply: Reply) -> tuple[int, int]:
        """Send status and headers; returns the bytes of the content that follow."""
        size = _size(reply.content)
        start, stop, request.code = 0, size, reply.code
        headers: dict[str, str] = {}
        if reply.etag is not None:
            headers = {"ETag": reply.etag, "Accept-Ranges": "bytes" if reply.ranges else "none"}
        part = _range(request.headers.get("range", ""), size)
        if reply.code == 200 and reply.ranges and part and request.headers.get("if-range", reply.etag) == reply.etag:
            start, stop = part
            request.code = 206 if start < stop else 416
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}" if start < stop else f"bytes */{size}"
        stop = max(start, stop - reply.missing)
        headers["Content-Length"] = str(stop - start)
        self.send_response(request.code)
        for name, value in {**headers, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        return start, stop

    def _body(self, request: Request, reply: Reply, start: int, stop: int) -> None:
        end = stop if reply.cut is None else min(stop, start + reply.cut)
        step = _PIECE if reply.rate is None else max(1, reply.rate // 20)
        try:
            with _source(reply.content, self.connection) as send:
                for at in range(start, end, step):
                    count = min(step, end - at)
                    send(at, count)
                    self.server.owner.left(request, reply, count)
                    if reply.rate is not None and self.server.owner.stopping.wait(count / reply.rate):
                        break
        except OSError:  # the client hung up
            self.close_connection = True
        if end < stop:
            self._hang_up(reply.reset)

    def _hang_up(self, reset: bool) -> None:
        if not reset:
            self.hang_up()
            return
        self.close_connection = True  # closed with nothing to linger for, a socket is reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


@contextmanager
def _source(content: Content, to: socket.socket) -> Iterator[Callable[[int, int], object]]:
    """What sends a part of a content: from memory, or by the kernel from a file."""
    if isinstance(content, bytes):
        view = memoryview(content)
        yield lambda at, count: to.sendall(view[at : at + count])
    else:
        with content.open("rb") as file:
            yield lambda at, count: to.sendfile(file, at, count)


def _key(kind: str | None, name: str) -> str:
    return f"datasets/{unquote(name)}" if kind == "datasets" else unquote(name)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """The part that is asked for; an empty one where it lies outside."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", header)
    if match is None:
        return None
    start = int(match[1])
    return start, max(start, min(size, int(match[2]) + 1 if match[2] else size))


def _granted(answer: hub_uploads.Granted | hub_uploads.Refused) -> Reply:
    if isinstance(answer, hub_uploads.Refused):
        return _refusal(*answer)
    headers = {"Content-Type": "application/json"}
    return Reply(answer.code, json.dumps(answer.value).encode(), headers, then=answer.then)


def _refusal(code: int, message: str, error: str | None = None) -> Reply:
    headers = {"Content-Type": "application/json", "X-Error-Message": message}
    if error:
        headers["X-Error-Code"] = error
    return Reply(code, json.dumps({"error": message}).encode(), headers)


def _tree_entry(name: str, entry: _Entry) -> dict[str, object]:
    told: dict[str, object] = {"type": "file", "path": name, "oid": entry.git, "size": entry.size}
    if entry.large:
        told["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    return told


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _sha256(content: Content) -> str:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
