"""What a request says, what a server's refusal of it is taken to say, at the bounds, and what is left out then."""

from typing import Any

import msgspec
import pytest
from asks import ask
from openai.types.chat import completion_create_params

from virc.backends.interface import Sampling
from virc.backends.openai import refusals
from virc.backends.openai.refusals import AFTER_TOOL, EMPTY, OPTIONAL, OWN, SYSTEM, RefusedError
from virc.backends.openai.request import Habits, completion
from virc.reasoning.session import Message


def refused(said: str, parameter: str | None = None) -> RefusedError:
    return RefusedError("refused", None, said, parameter)


@pytest.mark.parametrize(
    ("most", "said", "shortened", "lowered"),
    [
        (1000, "max_tokens must be at most 500", 500, 500),
        (1000, "max_tokens must be at most 128", 128, 128),
        (1000, "max_tokens must be at most 127", None, 500),  # hardly any room
        (1000, "max_tokens must be at most 1000", None, 500),
        (1000, "max_tokens must be at most 999", 999, 999),
        (1000, "max_tokens has to be less than 500", None, 499),
        (256, "max_tokens is too large", None, 128),
        (255, "max_tokens is too large", None, None),
        (1000, "max_tokens: of 300 and 1,200 and 700 none", None, 700),
        (1000, "error 400: max_tokens is too large", None, 500),  # the number is its status
        (1000, "maximum context length is 2000 tokens, and 1500 in the messages", 500, None),
        (1000, "maximum context length is 2000 tokens, and 1872 in the messages", 128, None),
        (1000, "maximum context length is 2000 tokens, and 1873 in the messages", None, None),
        (1000, "maximum context length is 2000 tokens", None, None),
        (1000, "there are 1500 in the messages", None, None),
        (1000, "the picture of 500 px is too large", None, None),
    ],
)
def test_how_many_tokens_a_refusal_leaves(most: int, said: str, shortened: int | None, lowered: int | None) -> None:
    assert refusals.shortened(most, refused(said)) == shortened
    assert refusals.lowered(most, refused(said)) == lowered


@pytest.mark.parametrize(
    ("said", "is_full"),
    [
        ("too many images", True),
        ("at most 4 pictures", True),
        ("this is no image", False),  # pictures, and not how many
        ("at most 4 tools", False),  # how many, and not pictures
        ("the prompt is too long", True),
        ("context deadline exceeded", False),
    ],
)
def test_a_refusal_of_too_much_is_known(said: str, is_full: bool) -> None:
    assert refused(said).is_full is is_full


def test_what_is_left_out_is_added_up() -> None:
    habits = Habits()
    for names in (["top_k"], ["seed", f"{OWN}extra", "messages"]):
        habits.leave_out(names)
    assert habits.left_out == {"top_k", "seed", f"{OWN}extra"}
    habits.learn({"stop": 1, "top_p": 1}, refused("no", "stop"))
    assert habits.left_out == {"top_k", "seed", f"{OWN}extra", "stop"}


@pytest.mark.parametrize(
    ("said", "parameter", "found"),
    [
        ("no", "top_k", ["top_k"]),
        ("no", "tools", []),
        ("seed is not supported", None, []),  # a usual word is a name only where it is marked as one
        ("`seed` is not supported", None, ["seed"]),
        ("Unsupported parameter: seed", None, ["seed"]),
        ("this seed of doubt is not supported", None, []),
        ("top_k and top_p are unknown", None, ["top_k", "top_p"]),
        ("top_k is too small", None, []),
        ("'max_tokens' is not supported: use 'max_completion_tokens' instead", None, ["max_tokens"]),
        ("not supported: try max_completion_tokens", None, ["max_completion_tokens"]),
        ("`temperature` and `top_p` cannot both be specified", None, ["top_p"]),
        ("Streaming is not supported", None, ["stream"]),
        ("upstream is not supported", None, []),
        ("System role not supported", None, [SYSTEM]),
        ("the context length is not supported with top_k", None, []),
    ],
)
def test_which_parameters_a_refusal_names(said: str, parameter: str | None, found: list[str]) -> None:
    assert list(refusals.parameters(refused(said, parameter))) == found


@pytest.mark.parametrize(
    ("said", "count", "allowed", "tried"),
    [
        ("at most 4 images are allowed", 9, 4, 2),
        ("at most 4 images are allowed", 4, None, 1),
        ("at most two images", 3, 2, 1),
        ("at most 0 images", 8, None, 2),
        ("too many images", 8, None, 2),
        ("an image is broken", 8, None, None),
        ("at most 4 tools", 8, None, None),
        ("the prompt is too long", 8, None, 2),
    ],
)
def test_how_many_pictures_a_refusal_allows(said: str, count: int, allowed: int | None, tried: int | None) -> None:
    assert refusals.pictures_allowed(said, count) == allowed
    assert refusals.fewer(said, count) == tried


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("request body too large: limit is 2 MB", (2_000_000, True)),
        ("image too large: 7.5 MB exceeds 5 MB", (5_000_000, False)),
        ("payload too large, over 2000 bytes", (2000, True)),
        ("payload too large, over 1999 bytes", None),
        ("images are 5 MB", None),
        ("too large: 5 MB of tokens", None),
        ("too large", None),
    ],
)
def test_how_many_bytes_a_refusal_allows(said: str, found: tuple[int, bool] | None) -> None:
    assert refusals.bytes_allowed(said) == found


SYSTEM_FIRST = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
CALLS = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "x": {"y": 1}, "function": {"name": "a"}}]}
TOLD = [CALLS, {"role": "tool", "content": "T"}, {"role": "user", "content": "U"}]


def request(messages: list[Any] = SYSTEM_FIRST, **fields: Any) -> dict[str, Any]:
    return {"messages": messages, "stream": True, "stream_options": {}, "max_tokens": 9, "seed": 1, **fields}


@pytest.mark.parametrize(
    ("left_out", "sent", "fitted"),
    [
        ([], request(), request()),
        (["seed", "tools"], request(tools=[]), {k: v for k, v in request(tools=[]).items() if k != "seed"}),
        (["stream"], request(), {k: v for k, v in request().items() if not k.startswith("stream")}),
        (["max_tokens"], {"max_tokens": 9, "messages": []}, {"max_completion_tokens": 9, "messages": []}),
        (["max_tokens"], {"messages": []}, {"messages": []}),
        (["max_tokens", "max_completion_tokens"], {"max_tokens": 9, "messages": []}, {"messages": []}),
        (
            [SYSTEM],
            {"messages": SYSTEM_FIRST},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "S"}, {"type": "text", "text": "U"}]}]},
        ),
        (
            [SYSTEM],
            {"messages": [SYSTEM_FIRST[0], {"role": "user", "content": [{"x": 1}]}, CALLS]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "S"}, {"x": 1}]}, CALLS]},
        ),
        ([SYSTEM], {"messages": SYSTEM_FIRST[1:]}, {"messages": SYSTEM_FIRST[1:]}),
        ([SYSTEM], {"messages": [SYSTEM_FIRST[0], CALLS]}, {"messages": [SYSTEM_FIRST[0], CALLS]}),
        ([EMPTY], {"messages": TOLD}, {"messages": [{**CALLS, "content": None}, *TOLD[1:]]}),
        (
            [AFTER_TOOL],
            {"messages": TOLD},
            {"messages": [*TOLD[:2], {"role": "assistant", "content": "I look at the image."}, TOLD[2]]},
        ),
        (
            [f"{OWN}y"],
            {"messages": [{"role": "user", "y": 1}, CALLS]},
            {
                "messages": [
                    {"role": "user", "y": 1},
                    {**CALLS, "tool_calls": [{"id": "1", "x": {}, "function": {"name": "a"}}]},
                ]
            },
        ),
    ],
)
def test_what_a_server_refuses_is_left_out(left_out: list[str], sent: dict[str, Any], fitted: dict[str, Any]) -> None:
    habits, before = Habits(), repr(sent)
    habits.leave_out(left_out)
    assert habits.left_out == {name for name in left_out if name in OPTIONAL or name.startswith(OWN)}
    assert habits.fitted(sent) == fitted
    assert repr(sent) == before
    habits.forget()
    assert habits.fitted(sent) == sent


@pytest.mark.parametrize(
    ("said", "sent", "learnt"),
    [
        ("`seed` is not supported", request(), {"seed"}),
        ("`seed` is not supported", {"messages": []}, None),
        ("System role not supported", request(), {SYSTEM}),
        ("System role not supported", request(SYSTEM_FIRST[1:]), None),
        ("Unexpected role 'user' after role 'tool'", request(TOLD), {AFTER_TOOL}),
        ("Unexpected role 'user' after role 'tool'", request(TOLD[:2]), None),
        ("no", request(TOLD), None),
        ("text content must be non-empty", request(TOLD), {EMPTY}),
        ("text content must be non-empty", request([{**CALLS, "content": []}]), {EMPTY}),
        ("text content must be non-empty", request(), None),
        ("messages.0.y: Extra inputs are not permitted", request(TOLD), {f"{OWN}y"}),
        ("messages: Extra inputs are not permitted", request(TOLD), {f"{OWN}x", f"{OWN}y"}),
        ("messages.0.y is required", request(TOLD), None),
    ],
)
def test_what_is_learnt_from_a_refusal(said: str, sent: dict[str, Any], learnt: set[str] | None) -> None:
    habits = Habits()
    assert habits.learn(sent, refused(said)) is (learnt is not None)
    assert habits.left_out == (learnt or set())


def test_the_old_name_of_the_limit_of_tokens_is_tried_again_where_the_new_one_is_refused() -> None:
    habits = Habits()
    assert habits.learn({"max_tokens": 9}, refused("max_tokens is not supported"))
    assert habits.learn({"max_completion_tokens": 9}, refused("max_completion_tokens is not supported"))
    assert habits.left_out == {"max_completion_tokens"}
    assert habits.fitted({"max_tokens": 9, "messages": []}) == {"max_tokens": 9, "messages": []}


USUAL = {"model", "messages", "stream", "stream_options", "temperature", "max_tokens"}


@pytest.mark.parametrize(
    ("sampling", "more"),
    [
        (Sampling(), {}),
        (Sampling(temperature=0.5, top_p=0.9), {"top_p": 0.9}),
        (Sampling(temperature=0.5, top_p=0.9, is_usual=True), {}),  # nobody chose it
        (Sampling(temperature=0.5, top_p=1.0), {}),
        (Sampling(temperature=0.0, top_p=0.9), {}),
        (Sampling(seed=0), {"seed": 0}),
        (Sampling(likeliest=3), {"logprobs": True, "top_logprobs": 3}),
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
