"""Requests and answers of Ollama's own API, and the context that it is asked for."""

import json
from typing import Any

import msgspec
import pytest
from asks import LOOK, ask, further
from PIL import Image

from virc.backends.interface import Sampling
from virc.backends.openai import ollama
from virc.backends.openai.images import Pieces
from virc.backends.openai.request import RESULT
from virc.reasoning.bodies import Called as Written
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Called, Message

GREEDY = Sampling()


def sent(sampling: Sampling = GREEDY, **fields: Any) -> dict[str, Any]:
    """A request as it stands on the wire."""
    asked = msgspec.structs.replace(further(ask("What is this?"), LOOK), **fields)
    body: dict[str, Any] = json.loads(b"".join(Pieces(ollama.request(asked, sampling, "m", 8192))))
    return body


@pytest.mark.parametrize("seed", [0, None])
def test_the_sampling_is_sent_by_ollamas_names(seed: int | None) -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=20, max_tokens=77, seed=seed, repetition_penalty=1.05)
    wanted = {
        "num_ctx": 8192, "num_predict": 77, "temperature": 0.7, "top_p": 0.9, "top_k": 20, "repeat_penalty": 1.05,
        **({} if seed is None else {"seed": seed}),
    }  # fmt: skip
    assert sent(sampling)["options"] == wanted
    assert sent(Sampling(top_k=None))["options"]["top_k"] == 0  # all tokens


def described(context: object) -> dict[str, Any]:
    return {"general.architecture": "qwen3vl", "qwen3vl.context_length": context, "llama.context_length": 99}


@pytest.mark.parametrize(
    ("shown", "running", "context"),
    [
        ({}, {}, 32_768),
        ({"model_info": described(8192)}, {}, 8192),
        ({"parameters": "num_ctx 65536", "model_info": described(40_960)}, {}, 40_960),
        ({}, {"models": [{"model": "m:latest", "context_length": 100_000}]}, 100_000),
        ({"model_info": described("many")}, {"models": "none"}, 32_768),
    ],
)
def test_the_context_is_no_more_than_the_model_has(
    shown: dict[str, Any], running: dict[str, Any], context: int
) -> None:
    assert ollama.context_of(shown, running, "m") == context
    assert ollama.context_of(shown, running, "m", 4096) == 4096


def test_results_of_tools_have_their_names_with_ollama() -> None:
    calls = (Written("one", {"a": 1}), Written("two", {}))
    messages = (Message("user", "q"), Message("assistant", "x"), Message("user", "r", (0,)))
    asked = Ask(messages, (Shown(Image.new("RGB", (2, 2))),), called={1: Called("say", calls, ("", "No."), {"t": 1})})
    body = ollama.request(asked, Sampling(top_k=5, max_tokens=9, seed=3, likeliest=2), "m", 77)
    user, said, first, second, last = body["messages"]
    assert (said["content"], said["t"], [each["function"]["name"] for each in said["tool_calls"]]) == (
        "say", 1, ["one", "two"],
    )  # fmt: skip
    assert [(each["tool_name"], each["content"]) for each in (first, second)] == [("one", RESULT), ("two", "No.")]
    assert ([each["role"] for each in (user, last)], len(last["images"])) == (["user", "user"], 1)
    assert (body["options"]["num_ctx"], body["options"]["num_predict"], body["options"]["top_k"]) == (77, 9, 5)
    assert (body["options"]["seed"], body["top_logprobs"], "tools" in body) == (3, 2, False)
