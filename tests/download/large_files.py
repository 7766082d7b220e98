"""A large file on the hub of the tests, and what fetches it."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hub_server import Hub, hub

from virc.download.hub.file import fetch_file
from virc.download.hub.repository import File, Repo

REPO = Repo("some/model")
NAME = "model.safetensors"
CONTENT = random.Random(3).randbytes(2_000_000)
TOKEN = "hf_secret"


def listed(content: bytes) -> File:
    """The file as the hub lists it."""
    return File(NAME, len(content), hashlib.sha256(content).hexdigest())


@dataclass
class Place:
    """Where a file goes to, and what the caller was told on the way."""

    server: Hub
    folder: Path
    content: bytes = CONTENT
    told: list[int] = field(default_factory=list)

    @property
    def to(self) -> Path:
        return self.folder / "models" / NAME

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def fetch(self) -> None:
        commit = self.server.commit(REPO.id)
        fetch_file(REPO, commit, listed(self.content), self.to, self.work, self.told.append)

    def is_whole(self) -> bool:
        """Whether the file is there and right, and nothing is left beside it."""
        return self.to.read_bytes() == self.content and not list(self.work.iterdir())


def asked_for(server: Hub) -> list[range]:
    """The bytes that the storage was asked for, in the order of the requests."""
    spans = [r.headers["range"].removeprefix("bytes=").split("-") for r in server.asked("storage")]
    return [range(int(begins), int(last) + 1) for begins, last in spans]


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, home: Path, content: bytes = CONTENT) -> Iterator[Hub]:
    """A hub with the one file, whose address is in the environment, with a token; no try waits for long."""
    with hub({REPO.id: {NAME: content}}) as server:
        server.tokens.add(TOKEN)
        for name, value in server.env(home, TOKEN).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield server
