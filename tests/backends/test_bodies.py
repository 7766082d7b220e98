"""Bodies of answers, read without a server: lists of models, errors in their many shapes, and what they are told as."""

import json
from typing import Any

import pytest
from PIL import Image

from virc.backends.interface import Sampling
from virc.backends.openai import ollama
from virc.backends.openai.body import read_models
from virc.backends.openai.request import RESULT
from virc.reasoning.bodies import Called as Written
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Called, Message


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"models": [{"name": "a"}, {"name": "b", "id": "c"}]}, ["a", "c"]),
        ([{"id": "a"}], ["a"]),
        (
            {"data": [{"id": "a"}, {"id": 7}, {"id": "x" * 257}, {"id": "x" * 256}, {"id": "a\nb"}, {}]},
            ["a", "x" * 256],
        ),
    ],
)
def test_models_are_listed_in_many_ways(body: Any, names: list[str]) -> None:
    assert [each.id for each in read_models([json.dumps(body).encode()])] == names
    assert [each.id for each in read_models([b"\xef\xbb\xbf", json.dumps(body).encode()])] == names


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
