"""What servers tell of themselves, without a picture: who they are, and which weights they have."""

import hashlib
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from support.loopback import Connection, Loopback

from virc.families import registry as families
from virc.probing import probe, result
from virc.probing.identity import identify
from virc.probing.result import Probed
from virc.probing.servers import local_servers
from virc.reasoning.session import Reply


def ollama(**shown: Any) -> Any:
    about = {"general.architecture": "qwen25vl", "general.parameter_count": 7, **shown.pop("about", {})}
    told = {"model_info": about, "modified_at": "2026-01-01", **shown}
    return SimpleNamespace(
        weights=(), root=None, kind="library", model="mine:latest", json_object=lambda path, body=None: told
    )


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"modified_at": "2026-02-01"}, False),  # pulled anew
        ({"about": {"general.parameter_count": 8}}, False),
        ({"about": {"general.basename": "other"}}, False),
        ({"license": "another text"}, True),
    ],
)
def test_weights_of_ollama_are_known_again(changed: dict[str, Any], same: bool) -> None:
    assert (identify(ollama(**changed)).digest == identify(ollama()).digest) is same
    assert identify(ollama()).names == ("qwen25vl",)


def test_the_order_in_which_a_server_tells_of_its_weights_does_not_matter() -> None:
    told = [f"sha256:{number}" for number in range(9)]
    found = {
        identify(SimpleNamespace(**vars(ollama()) | {"weights": way, "json_object": lambda *_: {}})).digest
        for way in (told, told[::-1])
    }
    assert found == {hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]}


def test_an_architecture_of_two_families_names_none() -> None:
    assert identify(ollama(about={"general.architecture": "qwen2vl"})).names == ()


def test_a_name_alone_does_not_tell_weights_apart() -> None:
    server = SimpleNamespace(**vars(ollama()) | {"weights": ("mine:latest",), "json_object": lambda *_: {}})
    assert identify(server).digest is None


class _Listing(Connection):
    server: "Listed"

    def get(self) -> None:
        self.send_body(self.server.body, self.server.status)


class Listed(Loopback):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(_Listing)
        self.status, self.body = status, body


@pytest.mark.parametrize(
    ("status", "body", "server", "models"),
    [
        (200, b'{"data": [{"id": "a", "owned_by": "sglang"}, {"id": "b"}]}', "SGLang", ("a", "b")),
        (200, b'{"data": [{"id": "a", "owned_by": "Library"}]}', "Ollama", ("a",)),
        (200, b'{"data": [{"id": "a", "owned_by": "somebody"}]}', "by port", ("a",)),
        (401, b"no", "by port, which wants a key", ()),
        (403, b"no", "by port, which wants a key", ()),
        (200, b'{"data": []}', None, ()),
        (200, b"no json", None, ()),
        (500, b"no", None, ()),
    ],
)
def test_a_server_of_this_machine_is_named(
    status: int, body: bytes, server: str | None, models: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (there := Listed(status, body)).running():
        port = int(there.address.rpartition(":")[2])
        monkeypatch.setattr("virc.probing.servers.PORTS", {port: "by port"})
        monkeypatch.setattr("virc.probing.servers._SECONDS", 60.0)  # on a machine that is busy
        found = [(each.server, each.models) for each in local_servers()]
    assert found == ([(server, models)] if server else [])


def test_a_server_that_trickles_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    left = threading.Event()

    def ask(url: str, **_: object) -> tuple[int, bytes]:
        if ":1/" in url:
            left.wait(2)
        return 200, b'{"data": [{"id": "a"}]}'

    monkeypatch.setattr("virc.probing.servers.client.ask", ask)
    monkeypatch.setattr("virc.probing.servers._SECONDS", 0.05)
    try:
        assert [each.endpoint for each in local_servers([3, 1, 2])] == [f"http://127.0.0.1:{at}/v1" for at in (3, 2)]
    finally:
        left.set()


@pytest.mark.parametrize(
    ("days", "weights", "known"),
    [(0, "w", True), (29, "w", True), (31, "w", False), (0.5, None, True), (2, None, False), (-31, "w", False)],
)
def test_how_boxes_are_counted_is_believed_for_its_days(
    days: float, weights: str | None, known: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result from the future, of a clock that was wrong, is no newer than one of as long ago."""
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path))
    now = 1_800_000_000.0
    monkeypatch.setattr(result.time, "time", lambda: now)
    found = Probed(
        endpoint="http://h/v1", model="m", server="s", weights=weights, coordinates="pixel", box="corners_yx",
        longest=9, kept=now - days * 86_400,
    )  # fmt: skip
    result.keep(found)
    kept = result.kept("http://h/v1", "m", "s", weights)
    assert kept
    assert (kept.coordinates, kept.box, kept.longest) == (("pixel", "corners_yx", 9) if known else (None, None, 9))


SWALLOWED = Reply("\n", thought="Red?\nThe answer is red.")
CUT, SILENT = Reply("", thought="Red? It is", finish="length"), Reply("", thought="Red? It is red, I think")
APART, TAGGED, PLAIN = Reply("It is red.", thought="Red?"), Reply("<think>Red?</think>It is red."), Reply("It is red.")


@pytest.mark.parametrize(
    ("replies", "thoughts"),
    [
        ([APART], "apart"),
        ([TAGGED], "tags"),
        ([PLAIN], "none"),
        ([APART, TAGGED], "apart"),
        ([TAGGED, PLAIN], "tags"),
        ([PLAIN, APART], "apart"),
        ([SWALLOWED], "all"),
        ([SWALLOWED, APART], "apart"),
        ([CUT], "apart"),
        ([SILENT], "apart"),
    ],
)
def test_a_probe_says_where_thoughts_come(replies: list[Reply], thoughts: str) -> None:
    seen = probe._Findings()
    for reply in replies:
        probe._take_box(reply, families.protocol(families.UNKNOWN), seen)
    assert seen.thoughts == thoughts


def test_a_parser_that_takes_answers_for_thoughts_is_a_shortcoming() -> None:
    (said,) = result.shortcomings(Probed(endpoint="", model="", thoughts="all"))
    assert "reasoning parser" in said
