"""Listings: of good hubs, of hubs that fail, and of hubs that would do harm."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, Repo, body, hub, status
from hypothesis import given, settings
from hypothesis import strategies as st
from support.servers import dead_url

from virc.core import retry
from virc.core.errors import DataError, NetworkError, VircError
from virc.download.hub import listing as listing_module
from virc.download.hub.listing import listing
from virc.download.hub.repository import Repo as Wanted

MODEL = "LeonMiao/ViRC-3B"
CONFIG, WEIGHTS = b'{"model_type": "qwen2_5_vl"}', b"weights" * 1000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    repos = {MODEL: Repo({"config.json": CONFIG, "a/b.safetensors": WEIGHTS})}
    with hub(repos) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url + "/")
        yield running


def test_nobody_waits_for_hours(server: Hub) -> None:
    server.misbehave(status(429, retry_after="86400"), on="api", times=None)
    with pytest.raises(NetworkError, match="429: too many requests") as failed:
        listing(Wanted(MODEL))
    assert "1440 minutes" in str(failed.value.hint)
    assert len(server.asked("api")) == 1


def test_a_hub_that_hangs_is_left(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "ALL_SECONDS", 0.3)
    server.misbehave(lambda reply: setattr(reply, "rate", 100), on="api")
    with pytest.raises(NetworkError, match=r"did not list LeonMiao/ViRC-3B within 0\.3 s"):
        listing(Wanted(MODEL))


def test_a_hub_that_no_connection_reaches_is_left_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", pauses.append)
    monkeypatch.setattr(listing_module, "FIRST_WAIT", 0.5)
    monkeypatch.setenv("HF_ENDPOINT", dead_url().removesuffix("/v1"))
    with pytest.raises(NetworkError, match="connection refused"):
        listing(Wanted(MODEL))
    assert (len(pauses), sum(pauses) < 2) == (2, True)


@pytest.mark.parametrize(
    ("token", "hint"), [("hf_sec\x01ret", None), ("“hf_secret”", "mend HF_TOKEN, or `hf auth login`")]
)
def test_a_token_that_no_header_can_hold_is_not_shown(
    token: str, hint: str | None, server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(VircError) as refused:
        listing(Wanted(MODEL))
    assert "hf_sec" not in f"{refused.value.message} {refused.value.hint}"
    assert hint in (None, refused.value.hint)


# What a hostile hub lists.

COMMIT = "0123456789" * 4


def told(*entries: dict[str, Any]) -> bytes:
    return json.dumps(entries).encode()


def entry(name: Any, size: Any = 1, **more: Any) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": size, "oid": COMMIT, **more}


def refused(server: Hub, listed: bytes, kind: type[VircError] = DataError, on: str = "tree") -> VircError:
    server.misbehave(body(listed), on=on, times=None)
    with pytest.raises(kind) as failed:
        listing(Wanted(MODEL))
    assert len(failed.value.message) < 500
    return failed.value


HARMFUL = [
    *("", ".", "..", "../x", "a/../b", "a/..", "/etc/passwd", "//x", "./a", "a//b", "a/", "a/./b"),
    *("a\\b", "C:/x", "c:x", "a\0b", "a\nb", "a\x1b[2Jb", "\u202egpj.exe", "a" * 5000, "a/" * 200 + "b"),
    *(".virc-download/record.json", ".VIRC-Download/x", ".git/config", "sub/.Git/hooks/post-checkout"),
]


def test_a_name_that_does_harm_refuses_only_itself(server: Hub) -> None:
    for name in HARMFUL:
        server.behave()
        server.misbehave(body(told(entry("config.json"), entry(name))), on="tree")
        found = listing(Wanted(MODEL))
        assert [file.name for file in found.files] == ["config.json"]
        (sentence,) = found.refused
        assert sentence.startswith("refused ")
        refused(server, told(entry(name)))


WRONG: list[dict[str, Any]] = [
    *(entry("a", size) for size in (-1, 2**60, 10**400, 1.5, "1", None, True)),
    *(entry(name) for name in (None, 1, ["a"])),
    {"path": "a", "oid": COMMIT},
    *(entry("a", oid=value) for value in ("zz", COMMIT + "\n", COMMIT.upper().replace("0", "A"), 1)),
    *(entry("a", lfs={"oid": sha, "size": 1}) for sha in ("", "f" * 63, "g" * 64, "f" * 64 + "\n", None)),
    entry("a", lfs={"oid": "f" * 64, "size": 2}),
    entry("a", lfs={"oid": "f" * 64}),
    entry("a", lfs=[]),
]


def test_sizes_and_hashes_that_are_none_are_refused(server: Hub) -> None:
    for wrong in WRONG:
        server.behave()
        refused(server, told(wrong))


def test_a_commit_that_is_none_is_refused(server: Hub) -> None:
    for sha in (None, "", "main", "../../x", COMMIT + "0", 1):
        server.behave()
        refused(server, json.dumps({"sha": sha, "siblings": []}).encode(), on="api")


@pytest.mark.parametrize("names", [("a", "a"), ("é", "é"), ("a", "a/b"), ("a/b/c", "a")])
def test_two_files_cannot_have_one_place(server: Hub, names: tuple[str, ...]) -> None:
    refused(server, told(*(entry(name) for name in names)))


PAGES = {f"{number:02d}.txt": b"%d" % number for number in range(7)}


@pytest.mark.parametrize(
    ("link", "pages"),
    [
        ("", 1),
        ('<https://h/x?cursor=0>; rel="prev", <https://h/x?cursor=5>; rel="next"', 2),
        ('<http://169.254.169.254/x?cursor=5>; title="a"; rel="next"', 2),
        ('</x?cursor=5>; REL="next"', 2),
    ],
)
def test_the_next_page_is_asked_of_the_same_host(server: Hub, link: str, pages: int) -> None:
    server.add("some/many", PAGES)
    server.misbehave(lambda reply: reply.headers.update(Link=link), on="tree")
    server.misbehave(body(told(entry("new"))), on="tree", skip=1)
    assert len(listing(Wanted("some/many")).files) == len(PAGES) + pages - 1
    assert len(server.asked("tree")) == pages


def test_pages_in_a_circle_are_left(server: Hub) -> None:
    server.misbehave(lambda reply: reply.headers.update(Link='<x?cursor=9>; rel="next"'), on="tree", times=None)
    with pytest.raises(NetworkError, match=r"lists LeonMiao/ViRC-3B in a circle"):
        listing(Wanted(MODEL))


@pytest.mark.parametrize(
    "content", [b"", b"<html>log in</html>", b"\x1f\x8b", b'[{"path": "\xff"}]', told(entry("\ud800"))]
)
def test_what_is_no_listing(server: Hub, content: bytes) -> None:
    assert "not a listing of LeonMiao/ViRC-3B" in refused(server, content, NetworkError).message


def test_too_many_files_on_several_pages(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "_MAX_FILES", len(PAGES) - 1)
    server.add("some/many", PAGES)
    server.page = 3
    with pytest.raises(DataError, match="some/many lists over 6 files"):
        listing(Wanted("some/many"))


def test_whatever_is_taken_lies_in_the_folder(server: Hub, tmp_path: Path) -> None:
    @settings(max_examples=20, database=None)
    @given(names=st.lists(st.text("./\\aA:~ \0\né", max_size=6), max_size=3))
    def check(names: list[str]) -> None:
        server.behave()
        server.misbehave(body(told(*(entry(name) for name in names))), on="tree")
        try:
            files = listing(Wanted(MODEL)).files
        except DataError:
            return
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            for path in (Path(folder, file.name) for file in files):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(exist_ok=False)
                assert path.resolve().is_relative_to(folder)

    check()
