"""Bodies of answers, read without a server: lists of models, errors in their many shapes, and what they are told as."""

import json
from typing import Any

import pytest
from PIL import Image

from virc.backends.interface import Sampling
from virc.backends.openai import ollama
from virc.backends.openai.body import read_models
from virc.backends.openai.causes import AskedServer, StatusError, as_error
from virc.backends.openai.images import ByteLimits
from virc.backends.openai.refusals import RefusedError
from virc.backends.openai.request import RESULT
from virc.backends.prompt_count import PromptCounts
from virc.core.errors import ConfigError, NetworkError, NoAnswerError
from virc.reasoning.bodies import Called as Written
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Called, Message, Reply


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


SERVER = AskedServer("http://h:9/v1", str, True, "name one", None)


@pytest.mark.parametrize(
    ("code", "body", "kind", "said", "hint", "fails_all"),
    [
        (407, "", ConfigError, "the proxy on the way to http://h:9/v1 wants", "export no_proxy=h\n", True),
        (302, "", ConfigError, "http://h:9/v1 redirects to http://there", "the address it moved to", False),
        (403, {"code": "content_filter", "message": "no"}, NoAnswerError, "content filter refuses the", "", False),
        (
            400,
            "<html><title>400 The plain HTTP request was sent to HTTPS port</title>",
            ConfigError,
            "http://h:9/v1 is asked without TLS, and wants it",
            "--endpoint https://h:9/v1\n",
            False,
        ),
        (404, {"message": "model m not found"}, ConfigError, "does not serve the model", "name one", True),
        (400, {"message": "rate limit reached"}, NetworkError, "is too busy (400)", "", True),
        (429, {"message": "Request too large"}, ConfigError, "takes no request of this size", "--max-pixels", True),
        (503, {"message": "failed loading model"}, NetworkError, "http://h:9/v1 fails (503)", "", True),
        (413, {"message": "no"}, ConfigError, "takes no images of this size", "--max-pixels", False),
    ],
)
def test_each_status_is_one_sentence_with_what_to_do(
    code: int, body: Any, kind: type[Exception], said: str, hint: str, fails_all: bool
) -> None:
    error = as_error(StatusError(code, {"location": "http://there"}, body), SERVER)
    assert isinstance(error, kind)
    assert said in error.message
    assert hint in f"{error.hint or ''}\n"
    assert error.fails_all_requests is fails_all


def test_a_prompt_takes_half_a_token_a_word_and_each_image_its_own() -> None:
    images = [Shown(Image.new("RGB", size)) for size in ((320, 320), (64, 32))]
    user = Message("user", "one two three four five six seven", (0, 1))
    thought = Message("assistant", "a b c d e f g h</think>i j")
    ask = Ask((Message("system", "a b c d"), user), tuple(images))
    assert PromptCounts(images=False).least(ask) == 5
    assert PromptCounts(images=True).least(ask) == 5 + 100 + 2
    assert PromptCounts(images=True, most=64).least(ask) == 5 + 64 + 2
    longer = Ask((*ask.messages, thought, Message("user", "k l")), tuple(images))
    assert PromptCounts(images=False).least(longer) == 5 + 1 + 1
    counts = PromptCounts(images=False)
    counts.check(ask, Reply("i j", prompt_tokens=500), "server")
    assert counts.least(longer) == 500 + 1 + 1  # what was read before, and what is new
    others = Ask(longer.messages, tuple(Shown(Image.new("RGB", (64, 32))) for _ in images))
    assert counts.least(others) == 5 + 1 + 1  # of other pictures nothing was read


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


@pytest.mark.parametrize(("keeps", "most"), [(True, 100_000), (False, 20_000)])
def test_pictures_that_are_too_large_are_made_smaller_in_their_shape(keeps: bool, most: int) -> None:
    noise = Image.effect_noise((480, 240), 90).convert("RGB")
    images = (Shown(noise), Shown(Image.new("RGB", (60, 30))))
    asked, limits = Ask((Message("user", "q", (0, 1)),), images), ByteLimits()
    limits.keeps_sizes = keeps
    assert limits.fitted(asked) is asked
    said = RefusedError("refused", None, f"the image exceeds the maximum of {most} bytes", None)
    assert limits.learn(asked, said, asked) is True
    first, second = limits.fitted(asked).images
    assert (second, limits.scales) == (images[1], not keeps)
    assert first.width == 2 * first.height
    assert (first.size == (480, 240)) is keeps
    assert images[0].sent == first.size
    assert 0.4 * most < len(first.url) <= most
    assert limits.learn(asked, RefusedError("refused", None, "no", None), asked) is False
    assert all(each.width == 2 * each.height for each in limits._versions(images[0]))
