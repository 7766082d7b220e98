"""What a request says, what a server's refusal of it is taken to say, at the bounds, and what is left out then."""

from typing import Any

import msgspec
import pytest
from asks import ask
from openai.types.chat import completion_create_params

from virc.backends.interface import Sampling
from virc.backends.openai import refusals
from virc.backends.openai.refusals import RefusedError
from virc.backends.openai.request import completion
from virc.reasoning.session import Message


def refused(said: str, parameter: str | None = None) -> RefusedError:
    return RefusedError("refused", None, said, parameter)


@pytest.mark.parametrize(
    ("most", "said", "shortened", "lowered"),
    [
        (1000, "max_tokens must be at most 128", 128, 128),
        (1000, "max_tokens must be at most 127", None, 500),  # hardly any room
        (1000, "max_tokens has to be less than 500", None, 499),
        (256, "max_tokens is too large", None, 128),
        (1000, "max_tokens: of 300 and 1,200 and 700 none", None, 700),
        (1000, "maximum context length is 2000 tokens, and 1872 in the messages", 128, None),
        (1000, "maximum context length is 2000 tokens, and 1873 in the messages", None, None),
    ],
)
def test_how_many_tokens_a_refusal_leaves(most: int, said: str, shortened: int | None, lowered: int | None) -> None:
    assert refusals.shortened(most, refused(said)) == shortened
    assert refusals.lowered(most, refused(said)) == lowered


@pytest.mark.parametrize(
    ("said", "parameter", "found"),
    [
        ("no", "top_k", ["top_k"]),
        ("seed is not supported", None, []),  # a usual word is a name only where it is marked as one
        ("`seed` is not supported", None, ["seed"]),
        ("Unsupported parameter: seed", None, ["seed"]),
        ("'max_tokens' is not supported: use 'max_completion_tokens' instead", None, ["max_tokens"]),
        ("upstream is not supported", None, []),
    ],
)
def test_which_parameters_a_refusal_names(said: str, parameter: str | None, found: list[str]) -> None:
    assert list(refusals.parameters(refused(said, parameter))) == found


USUAL = {"model", "messages", "stream", "stream_options", "temperature", "max_tokens"}


@pytest.mark.parametrize(
    ("sampling", "more"),
    [
        (Sampling(temperature=0.5, top_p=0.9), {"top_p": 0.9}),
        (Sampling(temperature=0.5, top_p=0.9, is_usual=True), {}),  # nobody chose it
        (Sampling(seed=0), {"seed": 0}),
    ],
)
def test_a_request_says_what_was_chosen_and_no_more(sampling: Sampling, more: dict[str, Any]) -> None:
    made = completion(ask(), sampling, "m", lambda shown: shown)
    assert {name: made[name] for name in made if name not in USUAL} == more
    assert (made["model"], made["temperature"], made["max_tokens"]) == ("m", sampling.temperature, sampling.max_tokens)
    assert (made["stream"], made["stream_options"]) == (True, {"include_usage": True})
    assert made.keys() <= completion_create_params.CompletionCreateParamsStreaming.__annotations__.keys() | (
        completion_create_params.CompletionCreateParamsBase.__annotations__.keys()
    )


def test_a_request_says_what_the_reply_is_to_be() -> None:
    schema, tool = {"type": "object"}, {"type": "function", "function": {"name": "look"}}
    first = ask()
    begun = (*first.messages, Message("assistant", "I see:", inserted="inline"))
    for asked, more in (
        (msgspec.structs.replace(first, schemas=(tool,)), {"tools": [tool]}),
        (
            msgspec.structs.replace(first, json_schema=schema),
            {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}},
        ),
        (
            msgspec.structs.replace(first, messages=begun),
            {"continue_final_message": True, "add_generation_prompt": False},
        ),
    ):
        made = completion(asked, Sampling(), "m", lambda shown: shown)
        assert {name: made[name] for name in made if name not in USUAL} == more
