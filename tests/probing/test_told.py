"""What servers tell of themselves, without a picture: who they are, and which weights they have."""

from types import SimpleNamespace
from typing import Any

import pytest
from support.loopback import Connection, Loopback

from virc.families import registry as families
from virc.models.probe_endpoint import _warnings
from virc.probing import pictures, probe
from virc.probing.identity import identify
from virc.probing.result import Probed
from virc.probing.servers import local_servers
from virc.reasoning.session import Reply


@pytest.mark.parametrize(
    ("kind", "weights", "root", "told", "names", "known"),
    [
        ("vllm", ("org/x",), "org/x", {}, ("org/x",), True),
        ("vllm", ("m",), None, {}, ("m",), False),
        ("llamacpp", (), None, {"/props": {"model_path": "/a/b.gguf"}}, ("/a/b.gguf",), True),
        ("organization_owner", (), None, {"/api/v0/models": {"data": [
            7, {"id": "other", "arch": "no"}, {"id": "m", "arch": "gemma3"}]}}, ("gemma3",), True),
        ("llamacpp", (), None, {"/props": {"model_path": 7}}, (), False),
    ],
)  # fmt: skip
def test_what_each_server_says_of_its_weights(
    kind: str, weights: tuple[str, ...], root: str | None, told: Any, names: tuple[str, ...], known: bool
) -> None:
    server: Any = SimpleNamespace(
        kind=kind, model="m", weights=weights, root=root, json_object=lambda path, body=None: told[path]
    )
    found = identify(server)
    assert (found.names, found.digest is not None) == (names, known)


@pytest.mark.parametrize(
    ("box", "counted"),
    [
        ([210, 1400, 490, 1960], ("pixel", "corners_yx", 1)),
        ([700, 105, 980, 245], ("pixel", "corners", 0.5)),
        ([625, 187.5, 875, 437.5], ("thousand", "corners", 1)),
        ([0.1875, 0.625, 0.4375, 0.875], ("unit", "corners_yx", 1)),
        ([0, 0, 2240, 1120], None),
        ([1400, 210, 1960, 1e300], None),
    ],
)
def test_how_a_box_is_counted(box: Any, counted: tuple[str, str, float] | None) -> None:
    found = pictures.counted(box)
    assert (found and (found.coordinates, found.box, found.scale)) == counted


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
        (401, b"no", "by port, which wants a key", ()),
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


SWALLOWED = Reply("\n", thought="Red?\nThe answer is red.")
CUT, SILENT = Reply("", thought="Red? It is", finish="length"), Reply("", thought="Red? It is red, I think")
APART, TAGGED, PLAIN = Reply("It is red.", thought="Red?"), Reply("<think>Red?</think>It is red."), Reply("It is red.")


@pytest.mark.parametrize(
    ("replies", "thoughts"),
    [([APART, TAGGED], "apart"), ([TAGGED, PLAIN], "tags"), ([SWALLOWED], "all"), ([CUT], "apart")],
)
def test_a_probe_says_where_thoughts_come(replies: list[Reply], thoughts: str) -> None:
    seen = probe._Findings()
    for reply in replies:
        probe._take_box(reply, families.protocol(families.UNKNOWN), seen)
    assert seen.thoughts == thoughts


BOXED, NOTHING = Reply("It is at [625, 187.5, 875, 437.5]."), Reply("I see nothing.")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"coordinates": "pixel"}, ["the model called no tool"]),
        ({}, ["the model gave no box around a red rectangle"]),
        (
            {"ended": "no room", "coordinates": "pixel", "calls": "text"},
            ["ended early, and keeps what it found: no room"],
        ),
        (
            {"coordinates": "unit", "calls": "text", "images": 4, "asked_images": 17},
            ["4 pictures fit", "--max-turns 3 "],
        ),
        ({"coordinates": "unit", "calls": "text", "zoomed": False}, ["does not see the crop"]),
        ({"coordinates": "unit", "calls": "text", "zoomed": False, "zoom_refused": "no"}, ["after a tool call: no"]),
        ({"coordinates": "unit", "calls": "text", "ordered": False}, ["mixes up the order"]),
    ],
)
def test_what_will_go_wrong_is_warned_of(found: dict[str, Any], said: list[str]) -> None:
    warned = [*_warnings(Probed(endpoint="", model="", **found))]
    assert len(warned) == bool(said)
    assert all(words in warned[0] for words in said)
