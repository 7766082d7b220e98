"""Fields that users put into requests, and thinking that is switched on or off."""

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asks import ANSWER, ask
from PIL import Image
from support.called import virc
from support.faults import status
from support.loopback import free_port
from support.servers import MODEL, serve
from support.solving import ask_agent
from support.tables import each_case

import virc as package
from virc.backends.chat.backend import OpenAIBackend
from virc.backends.chat.request import check_thinking, fields_of, fields_to_think
from virc.backends.interface import Sampling
from virc.core.errors import ConfigError, UsageError
from virc.serving.start import Server

OFF = {"enable_thinking": False, "thinking": False}


@each_case(
    ("options", "sent"),
    [
        ({"extra_body": '{"chat_template_kwargs": {"a": 1}}'}, {"chat_template_kwargs": {"a": 1}}),
        ({"extra_body": '{"top_k": 7, "seed": null}'}, {"top_k": 7}),
        ({"thinking": "off"}, {"chat_template_kwargs": OFF}),
        (
            {"thinking": "off", "extra_body": '{"chat_template_kwargs": {"thinking": null, "a": 1}}'},
            {"chat_template_kwargs": {"enable_thinking": False, "a": 1}},
        ),
        ({}, {"top_k": -1}),
    ],
)
def test_fields_are_in_each_request(options: dict[str, Any], sent: dict[str, Any]) -> None:
    with serve([ANSWER]) as server:
        backend = OpenAIBackend(server.url, **options)
        backend.reply(ask(), Sampling(seed=5))
        (body,) = server.chats()
    assert {name: body.get(name) for name in sent} == sent
    assert ("seed" in body) == ("seed" not in str(options))


@each_case(
    ("endpoint", "kind", "fields"),
    [
        ("http://a:8000/v1", "vllm", {"chat_template_kwargs": OFF}),
        ("http://a:8000/v1", "llamacpp", {"chat_template_kwargs": OFF}),
        ("http://a:11434/v1", "library", {"think": False}),
        ("https://openrouter.ai/api/v1", "", {"reasoning": {"enabled": False}}),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "", {"enable_thinking": False}),
        ("https://api.z.ai/api/paas/v4", "", {"thinking": {"type": "disabled"}}),
        ("https://api.deepseek.com/v1", "", {"thinking": {"type": "disabled"}}),
        ("https://api.openai.com/v1", "openai", {"reasoning_effort": "none"}),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "", {"reasoning_effort": "none"}),
        ("https://z.ai/api/paas/v4", "", {"thinking": {"type": "disabled"}}),
        ("https://api.fireworks.ai/inference/v1", "", {"reasoning_effort": "none"}),
        ("http://a:1234/v1", "organization_owner", {"reasoning_effort": "none"}),
        ("https://api.viz.ai/v1", "", {}),
        ("https://z.ai.example/v1", "", {}),
        ("https://somewhere.example/v1", "", {}),
    ],
)
def test_each_server_is_told_in_its_way(endpoint: str, kind: str, fields: dict[str, Any]) -> None:
    assert fields_to_think("off", endpoint, kind) == fields
    assert fields_to_think(None, endpoint, kind) == {}


OPENAI = "https://api.openai.com/v1"


@each_case(
    ("switch", "fields", "endpoint", "named"),
    [
        (
            "on",
            {"chat_template_kwargs": {"enable_thinking": False}},
            "http://a/v1",
            "--thinking on contradicts chat_template_kwargs.enable_thinking=false in --extra-body",
        ),
        ("off", {"reasoning_effort": "high"}, OPENAI, '--thinking off contradicts reasoning_effort="high"'),
        ("on", {"reasoning_effort": "none"}, OPENAI, '--thinking on contradicts reasoning_effort="none"'),
        ("on", {"reasoning_effort": "high"}, OPENAI, None),
        ("off", {"chat_template_kwargs": {"enable_thinking": False}}, "http://a/v1", None),
        ("on", {"chat_template_kwargs": {"enable_thinking": None}}, "http://a/v1", None),
        (None, {"chat_template_kwargs": {"enable_thinking": False}}, "http://a/v1", None),
    ],
)
def test_fields_that_contradict_the_switch_are_refused(
    switch: str | None, fields: dict[str, Any], endpoint: str, named: str | None
) -> None:
    with pytest.raises(UsageError, match=re.escape(named)) if named else nullcontext():
        check_thinking(switch, fields, endpoint, "")


def test_a_contradiction_is_refused_before_a_reply(tmp_path: Path) -> None:
    Image.new("RGB", (224, 168)).save(tmp_path / "a.png")
    with serve([ANSWER]) as server:
        solve = ["solve", str(tmp_path / "a.png"), "q", "--endpoint", server.url, "--thinking", "on"]
        found = virc(*solve, "--extra-body", '{"chat_template_kwargs": {"enable_thinking": false}}')
        assert (found.code, server.chats()) == (2, []), found.err


FIELDS = {"extra_body": {"top_k": 7}, "thinking": "off"}
WORDS = ("--extra-body", json.dumps(FIELDS["extra_body"]), "--thinking", "off")


@each_case(
    "ask_by",
    [
        lambda url: virc("solve", "a.png", "q", "--endpoint", url, *WORDS),
        lambda url: virc("eval", "rows.jsonl", "--model", MODEL, "--endpoint", url, "--to", "by-command", *WORDS),
        lambda url: virc("serve", "--agent", "--endpoint", url, "--port", free_port(), *WORDS),
        lambda url: package.solve("a.png", "q", endpoint=url, **FIELDS),
        lambda url: package.solve("a.png", "q", endpoint=url, **FIELDS | {"extra_body": json.dumps({"top_k": 7})}),
        lambda url: [*package.batch([("a.png", "q")], endpoint=url, **FIELDS)],
        lambda url: package.solve("a.png", "q", package.load(endpoint=url, **FIELDS)),
        lambda url: package.evaluate("rows.jsonl", MODEL, endpoint=url, **FIELDS),
        lambda url: ask_agent(package.serve(agent=True, endpoint=url, port=free_port(), **FIELDS)),
    ],
)
def test_every_surface_sends_the_fields(
    ask_by: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Server, "wait", ask_agent)
    Image.new("RGB", (224, 168)).save("a.png")
    Path("rows.jsonl").write_text('{"image": "a.png", "question": "q", "answer": "97"}\n')
    with serve([ANSWER] * 9) as server:
        ask_by(server.url)
        assert server.chats()
        for body in server.chats():
            assert (body["top_k"], body["chat_template_kwargs"]) == (7, OFF)


@each_case(
    "ask_by",
    [
        lambda url: virc("solve", "a.png", "q", "--endpoint", url, "--temperature", "1", "--min-p", "0.2"),
        lambda url: [*package.batch([("a.png", "q")], endpoint=url, temperature=1, min_p=0.2)],
        lambda url: package.evaluate("rows.jsonl", MODEL, endpoint=url, temperature=1, min_p=0.2),
    ],
)
def test_min_p_is_sent(ask_by: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (224, 168)).save("a.png")
    Path("rows.jsonl").write_text('{"image": "a.png", "question": "q", "answer": "97"}\n')
    with serve([ANSWER] * 9) as server:
        ask_by(server.url)
        assert {body["min_p"] for body in server.chats()} == {0.2}


@each_case(
    ("given", "named"),
    [
        ({"extra_body": {"a": 1}}, "extra_body= is of requests to an endpoint"),
        ({"thinking": "on"}, "thinking= is of requests to an endpoint"),
        ({"thinking": True, "endpoint": "http://127.0.0.1:9/v1"}, "thinking must be on or off"),
    ],
)
def test_python_refuses_fields_without_an_endpoint(given: dict[str, Any], named: str) -> None:
    for call in (package.load, partial(package.serve, agent=True), partial(package.solve, "a.png", "q")):
        with pytest.raises(UsageError, match=named):
            call(**given)


@each_case("words", [("--extra-body", "{}"), ("--thinking", "on")])
def test_an_agent_without_an_endpoint_refuses_fields(words: tuple[str, ...]) -> None:
    found = virc("serve", "tiny", "--agent", "--dry-run", *words)
    assert (found.code, f"{words[0]} is of requests to an endpoint" in found.err) == (2, True), found.err
    assert "means nothing without --agent" in virc("serve", "tiny", "--dry-run", *words).err


@each_case(
    "said",
    [
        "unknown parameter chat_template_kwargs", "Unsupported value: 'reasoning_effort' does not support 'none'",
        '"qwen2.5vl:3b" does not support thinking',
    ],
)  # fmt: skip
def test_a_refused_switch_is_to_be_left_out(said: str) -> None:
    with serve([ANSWER], fault=status(400, said)) as server, pytest.raises(ConfigError) as raised:
        OpenAIBackend(server.url, thinking="on", max_retries=0).reply(ask(), Sampling())
    assert str(raised.value.hint).startswith("leave out --thinking")


@each_case(
    "said",
    [
        "Budget 0 is invalid. This model only works in thinking mode.", "invalid: only type=enabled is allowed",
        "Reasoning is mandatory for this endpoint and cannot be disabled.", "Reasoning effort doesn't support 'none'",
        "The model does not support setting thinking_budget to 0.", "thinking mode cannot be disabled",
        "The value of the enable_thinking parameter is restricted to True.",
    ],
)  # fmt: skip
def test_a_model_that_always_thinks_is_to_think_less(said: str) -> None:
    with serve([ANSWER], fault=status(400, said)) as server, pytest.raises(ConfigError) as raised:
        OpenAIBackend(server.url, thinking="off", max_retries=0).reply(ask(), Sampling())
    assert str(raised.value.hint).endswith("""--extra-body '{"reasoning_effort": "low"}'""")


@each_case("text", ["[1]", "{", "1", '{"messages": []}', '{"stream": false}', '{"model": "x"}'])
def test_what_is_no_object_or_ours_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--extra-body must"):
        fields_of(text)
