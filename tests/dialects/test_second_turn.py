"""Conversations as servers hold them: their own message comes back as they sent it, or as they then ask for.

Rules of Mistral's, Kimi's, Gemini's and Claude's addresses by their documentation and by errors that their users quote;
of others, that a field which came from the server itself is refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from asked import Asked, told
from server import Player, Refusal, Scene, play
from speeches import apart, several, structured
from support.called import virc
from wires import Gemini, Groq, Json, Listed, LlamaCpp, Mistral, OllamaNative, OpenAi, OpenRouter, Said, Vllm, Wire

from virc.probing.result import Probed, keep

Rule = Callable[[Json], Refusal | None]


def bad(message: str, **more: Any) -> Refusal:
    return Refusal(400, {"error": {"message": message, "type": "invalid_request_error", **more}})


def calling(body: Json) -> list[tuple[int, Json]]:
    """The assistant's messages with calls, and where they stand."""
    return [(at, each) for at, each in enumerate(body["messages"]) if each.get("tool_calls")]


def mistral(body: Json) -> Refusal | None:
    """Ids of nine letters and digits, no field that is not known, and no user behind a tool."""
    for _, message in calling(body):
        for call in message["tool_calls"]:
            if not re.fullmatch("[a-zA-Z0-9]{9}", call["id"]):
                said = f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9."
                return Refusal(
                    400, {"object": "error", "message": said, "type": "invalid_function_call", "code": "3280"}
                )
        more = message.keys() - {"role", "content", "tool_calls", "prefix"}
        if more:
            detail = [{"type": "extra_forbidden", "loc": ["body", "messages", 2, "assistant", name],
                       "msg": "Extra inputs are not permitted", "input": "x"} for name in more]  # fmt: skip
            return Refusal(422, {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error"})
    roles = [each["role"] for each in body["messages"]]
    if ("tool", "user") in pairwise(roles):
        said = "Unexpected role 'user' after role 'tool'"
        return Refusal(
            400, {"object": "error", "message": said, "type": "invalid_request_message_order", "code": "3230"}
        )
    return None


def kimi(body: Json) -> Refusal | None:
    """Its thought before a call comes back, and only one temperature is taken."""
    if body.get("temperature", 1) != 1:
        return bad("invalid temperature: only 1 is allowed for this model")
    for at, message in calling(body):
        if not message.get("reasoning_content"):
            return bad(
                f"thinking is enabled but reasoning_content is missing in assistant tool call message at index {at}"
            )
    return None


def gemini(body: Json) -> Refusal | None:
    """The signature of the thought before a call comes back with it."""
    for at, message in calling(body):
        google = message["tool_calls"][0].get("extra_content", {}).get("google", {})
        if google.get("thought_signature") != "CiQB":
            said = (
                f"Function call is missing a thought_signature in functionCall parts. Additional data, position {at}."
            )
            return Refusal(400, [{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}])
    return None


def claude(body: Json) -> Refusal | None:
    """One of temperature and top_p, ids of letters, digits, _ and -, and a result behind each call."""
    if "temperature" in body and "top_p" in body:
        return bad("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    for at, message in calling(body):
        ids = [call["id"] for call in message["tool_calls"]]
        results = [each.get("tool_call_id") for each in body["messages"][at + 1 : at + 1 + len(ids)]]
        if ids != results or not all(re.fullmatch("[a-zA-Z0-9_-]+", id) for id in ids):
            return bad(
                f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}"
            )
    return None


def refusing(*names: str, how: str) -> Rule:
    """Refuse fields of the assistant's message or of its calls."""

    def rule(body: Json) -> Refusal | None:
        for at, message in calling(body):
            found = [name for name in names for each in (message, *message["tool_calls"]) if name in each]
            if found:
                return bad(how.format(at=at, name=found[0]))
        return None

    return rule


def empty(how: str) -> Rule:
    """Refuse a message without a text whose content is not null."""

    def rule(body: Json) -> Refusal | None:
        found = [at for at, message in calling(body) if message.get("content") in ("", [])]
        return bad(how.format(at=found[0])) if found else None

    return rule


@dataclass(frozen=True)
class Kimi(LlamaCpp):
    """Moonshot's API: as llama.cpp streams it, ids by the name of the tool."""

    def listing(self, model: Listed) -> Json:
        return {"object": "list", "data": [{"id": model.id, "object": "model", "owned_by": "moonshot"}]}


GROQ = (
    "'messages.{at}' : for 'role:assistant' the following must be satisfied[('messages.{at}' : property '{name}' is "
    "unsupported)]"
)
PYDANTIC = "messages.{at}.assistant.{name}: Extra inputs are not permitted"
CASES: dict[str, tuple[Wire, str, Rule, int]] = {
    "mistral": (Mistral(), "mistralai", mistral, 1),
    "kimi": (Kimi(), "moonshot", kimi, 1),
    "gemini": (Gemini(), "google", gemini, 0),
    "gemini without ids": (Gemini(named=False), "google", gemini, 0),
    "claude": (OpenAi(owner="anthropic"), "anthropic", claude, 0),
    "groq": (Groq(), "alibaba cloud", refusing("reasoning", "channel", how=GROQ), 2),
    "openai": (OpenAi(), "system", refusing("refusal", how="Unknown parameter: 'messages[{at}].{name}'."), 1),
    "pydantic": (
        Vllm(), "vllm",
        refusing("reasoning", "reasoning_content", how=PYDANTIC), 2,
    ),
    "nothing named": (Kimi(), "moonshot", refusing("reasoning_content", how="messages: unknown field"), 1),
    "bedrock": (
        Vllm(), "vllm",
        empty("messages.{at}: The text field in the ContentBlock object is blank"), 1,
    ),
    "litellm": (Vllm(), "vllm", empty("messages: text content blocks must be non-empty"), 1),
    "empty content": (Kimi(), "moonshot", empty("the message at position {at} must not be empty"), 1),
    "openrouter": (OpenRouter(), "", lambda body: None, 0),
    "ollama": (OllamaNative(), "library", lambda body: None, 0),
}  # fmt: skip


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_zoom_of_two_turns_is_taken(name: str, streamed: bool, small: Path) -> None:
    wire, owner, rule, refusals = CASES[name]
    asked = _asked(
        Scene(wire, Listed("qwen3-vl-8b"), apart(structured()), streamed=streamed, refuse=rule), owner, small
    )
    assert asked.is_right, (asked.faults, asked.done.err)
    assert len(asked.refused) <= refusals
    assert len(asked.answered) == 2


@pytest.mark.parametrize("name", CASES)
def test_a_question_after_the_answer_brings_back_what_the_server_sent(name: str, small: Path) -> None:
    wire, owner, rule, _ = CASES[name]
    with play(Scene(wire, Listed("qwen3-vl-8b"), apart(structured()), refuse=rule)) as server:
        _keep(server.url, owner)
        assert told(server, small).is_right
        first, refusals = server.answered[-1]["messages"], len(server.refused)
        done = virc("solve", "--continue", "And now?", "--endpoint", server.url)
        assert (done.code, done.out) == (0, "73\n"), done.err
        assert server.answered[-1]["messages"][: len(first)] == first
        assert len(server.refused) - refusals <= refusals


@pytest.mark.parametrize("name", CASES)
def test_of_several_calls_those_that_were_made_come_back(name: str, small: Path) -> None:
    wire, owner, rule, _ = CASES[name]
    asked = _asked(Scene(wire, Listed("qwen3-vl-8b"), several(apart(structured())), refuse=rule), owner, small)
    assert asked.is_right, (asked.faults, asked.done.err)
    (_, message), *_ = calling(asked.answered[-1])
    results = [each for each in asked.answered[-1]["messages"] if each["role"] == "tool"]
    assert len(message["tool_calls"]) == len(results)


@pytest.mark.parametrize("name", ["mistral", "kimi", "groq", "nothing named", "litellm"])
def test_what_a_server_asked_for_is_said_by_doctor_and_remembered(name: str, small: Path) -> None:
    wire, owner, rule, _ = CASES[name]
    told_alone = Scene(wire, Listed("qwen3-vl-8b"), apart(structured()), refuse=rule)
    untold = replace(told_alone, instead=lambda turn: Said("I see a red rectangle."))

    def listen(server: Player) -> None:
        server.scene = told_alone if server.chats[-1].get("tools") else untold

    with play(untold) as server:
        server.before = listen
        done = virc("doctor", "--endpoint", server.url, "--json")
        assert done.code == 0, done.err
        found = done.json["probe"]
        assert (found["calls"], bool(found["left_out"]), found["zoom_refused"]) == ("native", True, None)
        _keep(server.url, owner, left_out=tuple(found["left_out"]))
        before = len(server.refused)
        asked = told(server, small)
        assert asked.is_right, asked.done.err
        assert len(server.refused) == before


def _asked(scene: Scene, owner: str, small: Path) -> Asked:
    with play(scene) as server:
        _keep(server.url, owner)
        return told(server, small)


def _keep(url: str, owner: str, **more: Any) -> None:
    """What a probe finds of a model that calls told tools alone."""
    known: dict[str, Any] = {
        "family": "qwen3-vl",
        "coordinates": "thousand",
        "box": "corners",
        "scaling": "none",
        "ordered": True,
    }
    keep(Probed(endpoint=url, model="qwen3-vl-8b", server=owner, calls="native", **known, **more))
