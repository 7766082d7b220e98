"""GitHub on the loopback: its API, raw files, Git LFS and releases, as docs.github.com describes their answers.

    with github(monkeypatch, {"o/n": Project({"data/rows.json": b"[]"}, releases={"v1": {"a.tar": b"."}})}) as server:
        server.misbehave(drop(1000), on="raw")

`on` is "api", "raw" (files at a commit), "media" (those of Git LFS) or "storage" (files of releases, on a second port
behind signed addresses). `name` is the path of a request without its first slash. Faults are those of `hub_server`.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from hub_server import Hub, Reply, Request, _pointer, git_id

from virc.download.hub import link, listing, origin

_REPO = r"([\w.-]+/[\w.-]+)"


@dataclass
class Project:
    """A repository: files of its one commit, those that Git LFS stores, its links, and releases by their tags."""

    files: Mapping[str, bytes]
    lfs: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    members: Collection[str] | None = None  # tokens that may read it, where it is private

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr((sorted(self.files), sorted(self.lfs))).encode(), usedforsecurity=False).hexdigest()

    def blobs(self) -> dict[str, tuple[str, bytes]]:
        """Mode and content of what git holds, by path."""
        pointers = {name: ("100644", _pointer(_sha256(content), len(content))) for name, content in self.lfs.items()}
        links = {name: ("120000", target.encode()) for name, target in self.links.items()}
        return {**{name: ("100644", content) for name, content in self.files.items()}, **pointers, **links}


class GitHub(Hub):
    """The running server; `most` is how many entries a recursive listing has before it is cut."""

    def __init__(self, projects: Mapping[str, Project]) -> None:
        super().__init__()
        self.projects, self.most = projects, 100_000
        self._signatures: dict[str, bytes] = {}
        self._trees: dict[str, tuple[Project, str]] = {}

    def _front_answer(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        on, _, path = parts.path.lstrip("/").partition("/")
        request.on, request.name = on, unquote(path)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            return _refusal(401, "Bad credentials")
        if on != "api":
            return self._content(on, unquote(path), token)
        match = re.fullmatch(rf"repos/{_REPO}/(.+)", path)
        project = self._project(match[1], token) if match else None
        if match is None or project is None:
            return _refusal(404, "Not Found")
        return self._api(match[1], project, match[2], parse_qs(parts.query), request)

    def _project(self, name: str, token: str) -> Project | None:
        found = self.projects.get(name)
        return found if found and (found.members is None or token in found.members) else None

    def _api(self, name: str, project: Project, what: str, query: Mapping[str, Any], request: Request) -> Reply:
        if match := re.fullmatch(r"commits/(.+)", what):
            if unquote(match[1]) not in ("HEAD", "main", "with/slash"):
                return _refusal(422, f"No commit found for SHA: {match[1]}")
            assert request.headers["accept"] == "application/vnd.github.sha"
            return Reply(content=project.commit.encode())
        if match := re.fullmatch(r"git/trees/([0-9a-f]{40})", what):
            return self._tree(project, match[1], bool(query.get("recursive")))
        if match := re.fullmatch(r"releases/tags/(.+)", what):
            return self._release(name, project, unquote(match[1]))
        if match := re.fullmatch(r"releases/assets/(\d+)", what):
            assert request.headers["accept"] == "application/octet-stream"
            content = [each for files in project.releases.values() for each in files.values()][int(match[1])]
            signature = secrets.token_hex(8)
            self._signatures[signature] = content
            return Reply(302, headers={"Location": f"{self.storage_url}/asset?sig={signature}"})
        return _refusal(404, "Not Found")

    def _tree(self, project: Project, sha: str, recursive: bool) -> Reply:
        folder = "" if sha == project.commit else self._trees.get(sha, (project, None))[1]
        if folder is None:
            return _refusal(404, "Not Found")
        told: dict[str, dict[str, object]] = {}
        for path, (mode, content) in sorted(project.blobs().items()):
            if not path.startswith(folder):
                continue
            rest = path.removeprefix(folder)
            for depth in range(1, rest.count("/") + 1):
                inner = "/".join(rest.split("/")[:depth])
                told.setdefault(inner, self._subtree(project, f"{folder}{inner}/", inner))
            told[rest] = {"path": rest, "mode": mode, "type": "blob", "sha": git_id(content), "size": len(content)}
        entries = [each for path, each in told.items() if recursive or "/" not in path]
        cut = recursive and len(entries) > self.most
        return _json({"sha": sha, "tree": entries[: self.most] if cut else entries, "truncated": cut})

    def _subtree(self, project: Project, folder: str, path: str) -> dict[str, object]:
        sha = hashlib.sha1(folder.encode(), usedforsecurity=False).hexdigest()
        self._trees[sha] = (project, folder)
        return {"path": path, "mode": "040000", "type": "tree", "sha": sha}

    def _release(self, name: str, project: Project, tag: str) -> Reply:
        if tag not in project.releases:
            return _refusal(404, "Not Found")
        numbered = [(of, file) for of, files in project.releases.items() for file in files]
        assets = []
        for file, content in project.releases[tag].items():
            number = numbered.index((tag, file))
            browser = f"https://github.com/{name}/releases/download/{tag}/{quote(file)}"
            told = {
                "id": number,
                "name": file,
                "size": len(content),
                "state": "uploaded",
                "digest": f"sha256:{_sha256(content)}",
            }
            assets.append({**told, "browser_download_url": browser, "content_type": "application/octet-stream"})
        return _json({"tag_name": tag, "assets": assets})

    def _content(self, on: str, path: str, token: str) -> Reply:
        match = re.fullmatch(rf"{_REPO}/([0-9a-f]{{40}})/(.+)", path)
        project = self._project(match[1], token) if match else None
        if match is None or project is None or match[2] != project.commit:
            return _refusal(404, "404: Not Found")
        content = project.lfs.get(match[3]) if on == "media" else project.blobs().get(match[3], ("", None))[1]
        if content is None:
            return _refusal(404, "404: Not Found")
        return Reply(content=content, etag=f'W/"{_sha256(content)}"', ranges=True)

    def _storage_answer(self, request: Request) -> Reply:
        request.on, request.name = "storage", "asset"
        assert "authorization" not in request.headers
        content = self._signatures.get(parse_qs(urlsplit(request.path).query).get("sig", [""])[0])
        return _refusal(403, "expired") if content is None else Reply(content=content, etag='"x"', ranges=True)


@contextmanager
def github(monkeypatch: pytest.MonkeyPatch, projects: Mapping[str, Project]) -> Iterator[GitHub]:
    """Serve these, in the place of GitHub, while the block lasts; no try waits for long."""
    server = GitHub(projects)
    server.tokens.update(token for project in projects.values() for token in project.members or ())
    for name in ("api", "raw", "media"):
        monkeypatch.setattr(origin, name.upper(), f"{server.url}/{name}")
    for module in (link, listing):
        monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    try:
        yield server
    finally:
        server.die()


def _refusal(code: int, message: str) -> Reply:
    return Reply(code, json.dumps({"message": message}).encode(), {"Content-Type": "application/json"})


def _json(told: object) -> Reply:
    return Reply(content=json.dumps(told).encode(), headers={"Content-Type": "application/json"})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
