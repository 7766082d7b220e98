"""GitHub on the loopback: its API, raw files and Git LFS, as docs.github.com describes their answers.

    with github(monkeypatch, {"o/n": Project({"data/rows.json": b"[]"})}) as server:
        server.misbehave(drop(1000), on="raw")

`on` is "api", "raw" (files at a commit) or "media" (those of Git LFS). `name` is the path of a request without its
first slash. Faults are those of `hub_server`.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hub_server import Hub, Reply, Request, _pointer, git_id

from virc.download.hub import content as content_of_files
from virc.download.hub import listing, origin

_REPO = r"([\w.-]+/[\w.-]+)"


@dataclass
class Project:
    """A repository: files of its one commit, those that Git LFS stores, and its links."""

    files: Mapping[str, bytes]
    lfs: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
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
        return self._api(project, match[2], parse_qs(parts.query), request)

    def _project(self, name: str, token: str) -> Project | None:
        found = self.projects.get(name)
        return found if found and (found.members is None or token in found.members) else None

    def _api(self, project: Project, what: str, query: Mapping[str, Any], request: Request) -> Reply:
        if match := re.fullmatch(r"commits/(.+)", what):
            if unquote(match[1]) not in ("HEAD", "main", "with/slash"):
                return _refusal(422, f"No commit found for SHA: {match[1]}")
            assert request.headers["accept"] == "application/vnd.github.sha"
            return Reply(content=project.commit.encode())
        if match := re.fullmatch(r"git/trees/([0-9a-f]{40})", what):
            return self._tree(project, match[1]) if query.get("recursive") else _refusal(404, "Not Found")
        return _refusal(404, "Not Found")

    def _tree(self, project: Project, sha: str) -> Reply:
        if sha != project.commit:
            return _refusal(404, "Not Found")
        told: dict[str, dict[str, object]] = {}
        for path, (mode, content) in sorted(project.blobs().items()):
            for folder in [path[: slash.start()] for slash in re.finditer("/", path)]:
                told.setdefault(folder, {"path": folder, "mode": "040000", "type": "tree", "sha": git_id(b"")})
            told[path] = {"path": path, "mode": mode, "type": "blob", "sha": git_id(content), "size": len(content)}
        entries = [*told.values()]
        return _json({"sha": sha, "tree": entries[: self.most], "truncated": len(entries) > self.most})

    def _content(self, on: str, path: str, token: str) -> Reply:
        match = re.fullmatch(rf"{_REPO}/([0-9a-f]{{40}})/(.+)", path)
        project = self._project(match[1], token) if match else None
        if match is None or project is None or match[2] != project.commit:
            return _refusal(404, "404: Not Found")
        content = project.lfs.get(match[3]) if on == "media" else project.blobs().get(match[3], ("", None))[1]
        if content is None:
            return _refusal(404, "404: Not Found")
        return Reply(content=content, etag=f'W/"{_sha256(content)}"', ranges=True)


@contextmanager
def github(monkeypatch: pytest.MonkeyPatch, projects: Mapping[str, Project]) -> Iterator[GitHub]:
    """Serve these, in the place of GitHub, while the block lasts; no try waits for long."""
    server = GitHub(projects)
    server.tokens.update(token for project in projects.values() for token in project.members or ())
    for name in ("api", "raw", "media"):
        monkeypatch.setattr(origin, name.upper(), f"{server.url}/{name}")
    for module in (content_of_files, listing):
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
