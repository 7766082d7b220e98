"""What servers tell of themselves, without a picture: who they are, and which weights they have."""

import hashlib
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from support.loopback import Connection, Loopback

from virc.core.errors import ConfigError
from virc.families import registry as families
from virc.models.probe_endpoint import _warnings
from virc.probing import pictures, probe, result
from virc.probing.identity import identify
from virc.probing.result import Probed
from virc.probing.servers import local_servers, server_name
from virc.reasoning import lenient
from virc.reasoning.images import Shown
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


@pytest.mark.parametrize(
    ("kind", "weights", "root", "told", "names", "known"),
    [
        ("vllm", ("org/x",), "org/x", {}, ("org/x",), True),
        ("vllm", ("m",), None, {}, ("m",), False),
        ("other", ("1",), "m2", {}, ("m2",), True),
        ("other", ("1",), None, {}, (), True),
        ("llamacpp", (), None, {"/props": {"model_path": "/a/b.gguf"}}, ("/a/b.gguf",), True),
        ("sglang", (), None, {"/get_model_info": {"model_path": "/a/b"}}, ("/a/b",), True),
        ("organization_owner", (), None, {"/api/v0/models": {"data": [
            7, {"id": "other", "arch": "no"}, {"id": "m", "arch": "gemma3"}]}}, ("gemma3",), True),
        ("organization_owner", (), None, {"/api/v0/models": {"data": None}}, (), False),
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


def test_all_names_of_ollama_count() -> None:
    about = {"general.basename": "Base", "general.name": "=Name", "general.parameter_count": 7}
    assert identify(ollama(about=about)).names == ("qwen25vl", "Base", "Name")


@pytest.mark.parametrize(
    ("box", "counted"),
    [
        ([1400, 210, 1960, 490], ("pixel", "corners", 1)),
        ([210, 1400, 490, 1960], ("pixel", "corners_yx", 1)),
        ([700, 105, 980, 245], ("pixel", "corners", 0.5)),
        ([625, 187.5, 875, 437.5], ("thousand", "corners", 1)),
        ([187.5, 625, 437.5, 875], ("thousand", "corners_yx", 1)),
        ([0.625, 0.1875, 0.875, 0.4375], ("unit", "corners", 1)),
        ([0.1875, 0.625, 0.4375, 0.875], ("unit", "corners_yx", 1)),
        ([1400, 210, 1960], None),
        ([0, 0, 2240, 1120], None),
        ([1400, 210, 1960, True], None),
        ([1400, 210, 1960, 1e300], None),
        ("[1400, 210, 1960, 490]", None),
    ],
)
def test_how_a_box_is_counted(box: Any, counted: tuple[str, str, float] | None) -> None:
    found = pictures.counted(box)
    assert (found and (found.coordinates, found.box, found.scale)) == counted


def test_pictures_are_shown_one_a_message_with_words_between() -> None:
    ask = probe._order_ask(5)
    assert [message.role for message in ask.messages] == ["user", "assistant"] * 4 + ["user"]
    assert [message.images for message in ask.messages[::2]] == [(number,) for number in range(5)]
    colours = [pictures.PALETTE[name] for name in ("red", "blue", "grey", "grey", "green")]
    assert [shown.pixels.getpixel((0, 0)) for shown in ask.images] == colours
    assert "Which colours have images 0, 1, 4? Answer with 3 words" in ask.messages[-1].text


@pytest.mark.parametrize(
    ("said", "count", "shown", "images"),
    [
        ("at most 5 images", 17, 5, 5),
        ("at most 1 image", 17, None, 1),
        ("too many images", 17, 4, None),
        ("too many images", 4, None, 1),  # a guess of one needs no try
        ("the context length is 4096 tokens", 17, 4, None),
    ],
)
def test_how_many_pictures_are_tried_after_a_refusal(said: str, count: int, shown: int | None, images: Any) -> None:
    seen = probe._Findings()
    assert probe._refused(ConfigError(said), count, seen) == shown
    assert (seen.images, seen.context) == (images, 4096 if "4096" in said else None)


@pytest.mark.parametrize(
    ("text", "count", "found"),
    [
        ("red, blue, green", 17, (17, True, None)),
        ("grey? No: red, blue, green", 17, (17, True, None)),  # the last words count
        ("green, blue, red", 17, (17, False, None)),
        ("grey, grey, grey", 17, (None, None, 4)),
        ("grey, grey, grey", 3, (None, None, 1)),
        ("red", 1, (1, None, None)),
        ("I see nothing", 1, (None, None, None)),
    ],
)
def test_which_pictures_were_seen(text: str, count: int, found: tuple[int | None, bool | None, int | None]) -> None:
    seen = probe._Findings()
    fewer = probe._take_order(Reply(text, prompt_tokens=999), probe._order_ask(count), seen)
    assert (seen.images, seen.ordered, fewer) == found
    assert seen.counts.pictures == count
    assert probe._take_order(Reply("", finish="length"), probe._order_ask(count), seen) is None


@pytest.mark.parametrize(
    ("reply", "zoomed", "refused"),
    [
        (Reply("It is red."), True, None),
        (Reply("<think>red?</think>It is blue."), False, None),
        (ConfigError("no\x1b images"), False, "no images"),
    ],
)
def test_whether_a_conversation_goes_on_after_a_crop(reply: Any, zoomed: bool, refused: str | None) -> None:
    def answer(*_: object, **__: object) -> Reply:
        if isinstance(reply, Exception):
            raise reply
        return reply  # type: ignore[no-any-return]

    server: Any = SimpleNamespace(requests=4, max_requests=4, reply=answer)
    said, seen = list[str](), probe._Findings()
    probe._ask_zoom(server, seen, said.append)
    assert (seen.zoomed, said, server.max_requests) == (None, [], 4)
    seen.zoom = probe._order_ask(1)
    probe._ask_zoom(server, seen, said.append)
    assert (seen.zoomed, len(said), server.max_requests) == (zoomed, 1, 7)
    assert (seen.zoom_refused is None) is (refused is None)


def test_another_refusal_ends_the_probe() -> None:
    with pytest.raises(ConfigError, match="no such model"):
        probe._refused(ConfigError("no such model"), 17, probe._Findings())


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


def test_no_port_is_asked_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = list[dict[str, Any]]()
    answer = (200, b'{"data": [{"id": "a"}]}')
    monkeypatch.setattr("virc.probing.servers.client.ask", lambda _, **how: bounds.append(how) or answer)
    assert local_servers([]) == []
    assert len(local_servers()) == 7
    assert bounds == [{"seconds": 1.0, "max_bytes": 2**20, "redirects": False}] * 7
    assert [server_name(owner) for owner in ("SGLang", "somebody")] == ["SGLang", "somebody"]
    assert server_name("Library") == "Ollama"


@pytest.mark.parametrize(
    ("unit", "scale", "scaling", "longest", "most"),
    [
        ("pixel", 1, "none", None, 2240 * 1120),
        ("pixel", 0.5, "down", 1120, 1120 * 560),
        ("thousand", 1, None, None, None),
    ],
)
def test_what_a_box_tells_of_the_size_of_pictures(
    unit: Any, scale: float, scaling: str | None, longest: int | None, most: int | None
) -> None:
    seen = probe._Findings(counted=pictures.Counted(unit, "corners_yx", scale, 0.9), calls="text", images=3)
    found = probe._result("m", "http://a/v1", None, seen)
    assert (found.scaling, found.longest, found.max_pixels, found.min_pixels) == (scaling, longest, most, None)
    assert (found.coordinates, found.box, found.calls, found.images) == (unit, "corners_yx", "text", 3)


def test_a_box_stays_known_where_the_next_reply_has_none() -> None:
    seen, protocol = probe._Findings(), families.protocol(families.UNKNOWN)
    assert probe._take_box(Reply("It is at [625, 187.5, 875, 437.5]."), protocol, seen)
    assert not probe._take_box(Reply("I see nothing."), protocol, seen)
    assert seen.counted
    assert (seen.counted.coordinates, seen.calls) == ("thousand", None)


@pytest.mark.parametrize(
    ("props", "listed", "context"),
    [
        ({"default_generation_settings": {"n_ctx": 4096}}, None, 4096),
        ({"default_generation_settings": 7}, {"data": [{"id": "m", "max_context_length": 9}]}, 9),
        (None, {"data": [{"id": "x", "max_context_length": 5}, 7, {"id": "m", "max_context_length": 9}]}, 9),
        (None, {"data": [{"id": "m", "max_context_length": 9, "loaded_context_length": 8}]}, 8),
        (None, {"data": [{"id": "m", "max_context_length": 0}]}, None),
        (None, {"data": "m"}, None),
        (None, None, None),
    ],
)
def test_how_long_a_conversation_may_be_is_told_in_other_places(props: Any, listed: Any, context: int | None) -> None:
    def json_object(path: str) -> Any:
        told = {"/props": props, "/api/v0/models": listed}[path]
        if told is None:
            raise ConfigError("there is no such path")
        return told

    assert probe._context(SimpleNamespace(model="m", json_object=json_object)) == context  # type: ignore[arg-type]


BOXED, NOTHING = Reply("It is at [625, 187.5, 875, 437.5]."), Reply("I see nothing.")


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("replies", "unit"),
    [
        ([BOXED], "thousand"),
        ([NOTHING, BOXED], "thousand"),
        ([NOTHING, NOTHING], None),
        ([NOTHING, ConfigError("no tools")], None),
        ([ConfigError("no tools")], "raised"),
    ],
)
def test_the_unit_is_asked_for_with_the_tools_in_both_places(native: bool, replies: list[Any], unit: Any) -> None:
    asked: list[tuple[bool, Any]] = []

    def reply(ask: Any, sampling: Any, seconds: float) -> Reply:
        asked.append((bool(ask.schemas), seconds))
        answer = replies[len(asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    backend: Any = SimpleNamespace(model="m", reply=reply)
    with pytest.raises(ConfigError) if unit == "raised" else nullcontext():
        found = probe.unit(backend, "http://a/v1", None, native, 7.0)
        assert (found and found.coordinates) == unit
    assert asked == [(native, 7.0), (not native, 7.0)][: len(replies)]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"coordinates": "pixel", "calls": "text"}, []),
        ({"coordinates": "pixel"}, ["the model called no tool"]),
        ({}, ["the model gave no box around a red rectangle"]),
        (
            {"ended": "no room", "coordinates": "pixel", "calls": "text"},
            ["ended early, and keeps what it found: no room"],
        ),
        (
            {"coordinates": "unit", "calls": "text", "images": 1, "asked_images": 17},
            ["1 pictures fit", "--max-turns 1 "],
        ),
        (
            {"coordinates": "unit", "calls": "text", "images": 4, "asked_images": 17},
            ["4 pictures fit", "--max-turns 3 "],
        ),
        ({"coordinates": "unit", "calls": "text", "images": 17, "asked_images": 17}, []),
        ({"coordinates": "unit", "calls": "text", "zoomed": False}, ["does not see the crop"]),
        ({"coordinates": "unit", "calls": "text", "zoomed": True}, []),
        ({"coordinates": "unit", "calls": "text", "zoomed": False, "zoom_refused": "no"}, ["after a tool call: no"]),
        ({"coordinates": "unit", "calls": "text", "ordered": False}, ["mixes up the order"]),
    ],
)
def test_what_will_go_wrong_is_warned_of(found: dict[str, Any], said: list[str]) -> None:
    warned = [*_warnings(Probed(endpoint="", model="", **found))]
    assert len(warned) == bool(said)
    assert all(words in warned[0] for words in said)


def test_the_turn_after_a_call_shows_the_crop() -> None:
    ask = probe._order_ask(1)
    later = probe._zoom_ask(ask, Reply("look"), lenient.Sent("look"))
    assert [each.images for each in later.messages[-2:]] == [(), (1,)]
    assert [each.size for each in later.images[1:]] == [Shown(pictures.large().crop(pictures.TARGET)).size]
