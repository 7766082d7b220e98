"""Fields that users put into requests, and thinking that is switched on or off."""

from typing import Any

import pytest
from asks import ANSWER, ask
from support.servers import serve
from support.tables import each_case

from virc.backends.interface import Sampling
from virc.backends.openai.backend import OpenAIBackend
from virc.backends.openai.extra import fields_of, merged, thinking
from virc.core.errors import ConfigError

OFF = {"enable_thinking": False, "thinking": False}


@each_case(
    ("options", "sent"),
    [
        ({"extra_body": '{"chat_template_kwargs": {"a": 1}}'}, {"chat_template_kwargs": {"a": 1}}),
        ({"extra_body": '{"top_k": 7, "seed": null}'}, {"top_k": 7}),
        ({"thinking": "off"}, {"chat_template_kwargs": OFF}),
        (
            {"thinking": "off", "extra_body": '{"chat_template_kwargs": {"thinking": true, "a": 1}}'},
            {"chat_template_kwargs": {"enable_thinking": False, "thinking": True, "a": 1}},
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
    ("endpoint", "kind", "is_ollama", "fields"),
    [
        ("http://a:8000/v1", "vllm", False, {"chat_template_kwargs": OFF}),
        ("http://a:8000/v1", "llamacpp", False, {"chat_template_kwargs": OFF}),
        ("http://a:11434/v1", "library", True, {"think": False}),
        ("https://openrouter.ai/api/v1", "", False, {"reasoning": {"enabled": False}}),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "", False, {"enable_thinking": False}),
        ("https://api.z.ai/api/paas/v4", "", False, {"thinking": {"type": "disabled"}}),
        ("https://api.deepseek.com/v1", "", False, {"thinking": {"type": "disabled"}}),
        ("https://api.openai.com/v1", "openai", False, {"reasoning_effort": "none"}),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "", False, {"reasoning_effort": "none"}),
        ("https://somewhere.example/v1", "", False, {"chat_template_kwargs": OFF}),
    ],
)
def test_each_server_is_told_in_its_way(endpoint: str, kind: str, is_ollama: bool, fields: dict[str, Any]) -> None:
    assert thinking("off", endpoint, kind, is_ollama) == fields
    assert thinking(None, endpoint, kind, is_ollama) == {}


@each_case("text", ["[1]", "{", "1", '{"messages": []}', '{"stream": false}', '{"model": "x"}'])
def test_what_is_no_object_or_ours_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--extra-body must"):
        fields_of(text)


def test_objects_are_merged_and_null_takes_out() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None, "e": 4}, "d": [1]}) == {
        "a": {"c": 2, "e": 4},
        "d": [1],
    }
