"""`virc doctor --endpoint` by its real entry point: what it prints and keeps, and that others go by it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rows import QWEN3
from support.called import virc
from support.servers import Body, dead_url
from support.tables import each_case
from vision_server import Eyes, Vision, VisionServer, pixels, see, sizes

from virc.probing import servers
from virc.probing.result import Probed, kept_probe
from virc.reasoning.protocol import own_protocol
from virc.tools import registry as tools

QWEN25 = Vision("qwen2.5-vl-7b-instruct", "organization_owner", eyes=Eyes(longest=1024))
ALIAS = Vision("model", "llamacpp", eyes=QWEN3, unit="thousand")
PUBLISHED = msgspec.to_builtins(own_protocol(tools.schemas(tools.DEFAULT)))
Photo = Callable[[int, int], Path]


def doctor(server: VisionServer, *words: object) -> dict[str, Any]:
    """What `virc doctor --endpoint URL --json` says that it found."""
    done = virc("doctor", "--endpoint", server.url, "--json", *words)
    assert done.code == 0, done.err
    found: dict[str, Any] = done.json["probe"]
    return found


def solved(server: VisionServer, photo: Path, *words: object) -> tuple[list[Body], str]:
    """The requests that a problem takes of a server, and what is said on stderr."""
    before = len(server.posts())
    done = virc("solve", photo, "What colour is it?", "--endpoint", server.url, *words)
    assert (done.code, done.out.strip()) == (0, "red"), done.err
    return server.posts()[before:], done.err


def is_red(body: Body) -> bool:
    """Whether the newest picture shows the red rectangle, and hardly anything else."""
    mean = pixels(body)[-1].resize((1, 1)).getpixel((0, 0))
    assert isinstance(mean, tuple)
    return mean[0] > 180 and mean[1] < 70


@pytest.mark.integration
def test_one_object_with_all_that_was_found() -> None:
    with see(QWEN25) as server:
        done = virc("doctor", "--endpoint", server.url, "--json")
    assert done.code == 0
    assert done.json["schema"] == "virc.doctor/1"
    assert done.json["error"] is None
    found = done.json["probe"]
    assert set(found) == {*msgspec.to_builtins(Probed(endpoint="", model="")), "file"}
    assert found["schema"] == "virc.probe/1"
    assert (found["coordinates"], found["longest"], found["images"]) == ("pixel", 1024, 17)
    stored = json.loads(Path(found["file"]).read_text())
    assert {**stored, "file": found["file"]} == found


def test_what_was_found_is_printed_in_words() -> None:
    with see(replace(QWEN25, order="reversed", pictures=6)) as server:
        done = virc("doctor", "--endpoint", server.url)
    assert done.code == 0
    rows = {line[:13].strip(): line[14:] for line in done.out.splitlines()}
    assert [rows[name] for name in ("boxes in", "scaling", "longest side", "order", "requests")] == [
        "pixel", "down", "1024 pixels; larger pictures are scaled down", "pictures in their order: no", "4 were sent",
    ]  # fmt: skip
    assert not {"kept", "weights", "schema", "boxes_alone"} & rows.keys()
    assert "the server mixes up the order of pictures" in done.err
    assert "6 pictures fit into a conversation: --max-turns 5" in done.err


@each_case(
    ("extra", "why"),
    [
        ({"virc_agent": True}, "the endpoint runs the tool loop itself: use any OpenAI client"),
        ({"virc_protocol": PUBLISHED}, "the endpoint publishes it"),
    ],
)
def test_a_model_with_a_chat_protocol_of_its_own_needs_no_probe_and_that_is_no_error(
    extra: dict[str, Any], why: str
) -> None:
    with see(replace(QWEN25, extra=extra)) as server:
        done = virc("doctor", "--endpoint", server.url)
        assert (done.code, done.err, server.posts()) == (0, "", [])
        said = f"{QWEN25.model} needs no probe, since it has a chat protocol of its own ({why})"
        assert done.out == f"{said}: virc solve --endpoint {server.url} IMAGE 'QUESTION'\n"
        assert virc("doctor", "--endpoint", server.url, "--json").json["probe"] is None


@pytest.mark.integration
@pytest.mark.parametrize("vision", [QWEN25, ALIAS, replace(ALIAS, unit="unit"), replace(ALIAS, yx=True)])
def test_a_problem_is_solved_by_what_was_found(vision: Vision, photo: Photo) -> None:
    """The crop shows what the model meant, whatever it counts in and however the server scales."""
    with see(vision) as server:
        found = doctor(server)
        asked, _ = solved(server, photo(3000, 1500))
        assert is_red(asked[1])
        if found["longest"]:
            assert max(max(size) for body in asked for size in sizes(body)) <= found["longest"]


def test_tools_are_sent_where_calls_are_made_only_then(photo: Photo) -> None:
    with see(replace(QWEN25, calls="native")) as server:
        assert doctor(server)["calls"] == "native"
        asked, _ = solved(server, photo(800, 400))
        assert all(body["tools"][0]["type"] == "function" for body in asked)
        assert [message["role"] for message in asked[1]["messages"]][-3:] == ["assistant", "tool", "user"]


def test_what_was_found_of_another_server_is_not_used(photo: Photo) -> None:
    with see(replace(ALIAS, unit="pixel")) as server:
        doctor(server)
        port = server.server_address[1]
    with see(replace(ALIAS, unit="pixel", owned_by="vllm"), port) as server:
        assert kept_probe(server.url, "model", "vllm") is None
        _, said = solved(server, photo(800, 400))
        assert "before its first crop it is asked how it counts boxes" in said
        doctor(server)
        _, said = solved(server, photo(800, 400))
        assert "boxes by the probe of the endpoint" in said


@pytest.mark.integration
def test_a_first_request_that_fails_is_an_error_with_its_code() -> None:
    for words in (["--endpoint", dead_url()], ["--endpoint", dead_url(), "--model", "m"]):
        done = virc("doctor", *words, "--json")
        assert done.code == 6
        assert done.json["schema"] == "virc.doctor/1"
        assert done.json["probe"] is None
        assert "cannot be reached" in done.json["error"]["message"]
    with see(replace(QWEN25, context=900, context_in="error")) as server:
        done = virc("doctor", "--endpoint", server.url, "--json")
    assert done.code == 3
    assert "maximum context length is 900 tokens" in done.json["error"]["message"]
    with see(replace(QWEN25, pictures=0)) as server:
        assert virc("doctor", "--endpoint", server.url).code == 3


@pytest.mark.integration
def test_servers_on_their_usual_ports_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    with see(QWEN25) as server, see(replace(ALIAS, owned_by="")) as other:
        ports = {
            server.server_address[1]: "LM Studio",
            other.server_address[1]: "llama.cpp, MLX-VLM",
            int(dead_url().rsplit(":")[-1].removesuffix("/v1")): "vLLM",
        }
        monkeypatch.setattr(servers, "PORTS", ports)
        found = virc("doctor", "--json").json["servers"]
        assert found == [
            {"endpoint": server.url, "server": "LM Studio", "models": [QWEN25.model]},
            {"endpoint": other.url, "server": "llama.cpp, MLX-VLM", "models": ["model"]},
        ]
        printed = virc("doctor").out
        assert ["servers", server.url, "LM", "Studio", QWEN25.model] in [line.split() for line in printed.splitlines()]
