"""Small files: each is there whole and verified, or not at all."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Fault, Hub, Reply, Repo, drop, hub, short, slow, status, wrong

from virc.core.errors import NetworkError, VircError
from virc.download.hub import small
from virc.download.hub.listing import listing
from virc.download.hub.repository import File
from virc.download.hub.repository import Repo as Wanted
from virc.download.hub.small import fetch_small

MODEL, GATED = "LeonMiao/ViRC-3B", "some/gated"
CONFIG, TOKENIZER = b'{"model_type": "qwen2_5_vl"}' * 100, os.urandom(300_000)
FILES = {"config.json": CONFIG, "deep/tokenizer.bin": TOKENIZER, "empty": b""}
MEMBER, STRANGER = "hf_member", "hf_stranger"


class Place:
    """Where a file goes, and what came on the way there."""

    def __init__(self, folder: Path, server: Hub) -> None:
        self.to, self.work, self.server = folder / "to", folder / "work", server
        self.told: list[int] = []
        self.to.mkdir()
        self.work.mkdir()

    def fetch(self, name: str, repo: str = MODEL) -> Path:
        listed = listing(Wanted(repo))
        (file,) = (file for file in listed.files if file.name == name)
        to = self.to / "file"
        fetch_small(Wanted(repo), listed.commit, file, to, self.work, self.told.append)
        return to

    def refused(self, name: str, kind: type[VircError] = NetworkError, repo: str = MODEL) -> VircError:
        """The error of a fetch that leaves what was there before, and nothing else."""
        old = self.to / "file"
        old.write_bytes(b"old")
        with pytest.raises(kind) as failed:
            self.fetch(name, repo)
        assert old.read_bytes() == b"old"
        assert list(self.to.iterdir()) == [old]
        assert not list(self.work.iterdir())
        assert sum(self.told) == 0
        return failed.value


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    repos = {MODEL: Repo(FILES), GATED: Repo(FILES, gated=True, members=[MEMBER])}
    with hub(repos) as server:
        server.tokens.add(STRANGER)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield Place(tmp_path, server)


@pytest.mark.parametrize("fault", [wrong(7), short(5), status(500), drop(0, reset=True)])
def test_what_goes_wrong_once_is_fetched_again(place: Place, fault: Fault, capfd: pytest.CaptureFixture[str]) -> None:
    place.server.misbehave(fault, on="cache")
    assert place.fetch("config.json").read_bytes() == CONFIG
    assert sum(place.told) == len(CONFIG)
    assert len(place.server.asked("cache")) == 2
    assert capfd.readouterr() == ("", "")  # the library's warnings too


def test_another_content_than_was_listed(place: Place) -> None:
    place.server.misbehave(wrong(7), name="deep/*", times=None)
    error = place.refused("deep/tokenizer.bin")
    assert "deep/tokenizer.bin came with SHA-256 " in error.message
    assert len(place.server.asked("storage")) == 2


def test_a_file_without_end_is_left(place: Place, tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    with endless.open("wb") as file:
        os.truncate(file.fileno(), 2**40)

    def send(reply: Reply) -> None:
        reply.code, reply.content, reply.ranges = 200, endless, False
        reply.headers.pop("Location", None)

    place.server.misbehave(send, on="resolve", times=None)
    assert f"has {2**40} bytes on the server, not {len(CONFIG)}" in place.refused("config.json").message
    assert place.server.sent() < 64 << 20


def test_an_error_without_end_is_not_read(place: Place, tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    with endless.open("wb") as file:
        os.truncate(file.fileno(), 2**40)

    def send(reply: Reply) -> None:
        reply.code, reply.content, reply.ranges = 500, endless, False
        reply.headers = {}

    place.server.misbehave(send, on="resolve", times=None)
    assert "answers 500" in place.refused("config.json").message
    assert all(request.sent < 64 << 20 for request in place.server.requests)  # what sockets hold is sent too
    place.server.misbehave(send, on="api", times=None)
    assert "answers 500" in place.refused("config.json").message
    assert all(request.sent < 64 << 20 for request in place.server.requests)


def test_a_server_that_drips(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "SECONDS", 0.3)
    place.server.misbehave(slow(100), on="cache", times=None)
    assert "config.json did not come within" in place.refused("config.json").message


def test_a_file_without_a_hash_has_its_size_checked(place: Place) -> None:
    commit = place.server.commit(MODEL)
    fetch_small(Wanted(MODEL), commit, File("config.json", len(CONFIG)), place.to / "x", place.work)
    assert (place.to / "x").read_bytes() == CONFIG
    with pytest.raises(NetworkError, match="2800 bytes on the server, not 2801"):
        fetch_small(Wanted(MODEL), commit, File("config.json", len(CONFIG) + 1), place.to / "y", place.work)
    assert not (place.to / "y").exists()
