"""What servers refuse: each parameter is left out after one refusal, limits are obeyed, long contexts are explained."""

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import refusals
import wires
from asked import QUESTION, Asked, ask
from server import Player, Refusal, Refusing, Scene, asks, play
from speeches import apart, hermes, in_text, structured
from support.called import Done, virc

How = Callable[[Mapping[str, Any]], Refusal]

QWEN = wires.Listed("qwen3-vl-8b")
FAMILY = ("--family", "qwen3-vl")  # known, so that no request is about boxes
TEXT = in_text(hermes)

PARAMETERS: Sequence[tuple[str, wires.Wire, tuple[str, ...], How]] = (
    ("openai-max-tokens", wires.OpenAi(), ("max_tokens",), refusals.openai_unsupported),
    ("openai-temperature", wires.OpenAi(), ("temperature",), refusals.openai_value),
    ("openai-top-k", wires.Vllm(), ("top_k",), refusals.openai_unrecognized),
    ("openai-top-k-newer", wires.Vllm(), ("top_k",), refusals.openai_unknown),
    ("openai-seed", wires.OpenAi(), ("seed",), refusals.openai_unrecognized),
    ("openai-stream-options", wires.OpenAi(), ("stream_options",), refusals.openai_unknown),
    ("openai-stream", wires.OpenAi(), ("stream",), refusals.openai_verified),
    (
        "openai-one-after-the-other",
        wires.OpenAi(),
        ("max_tokens", "temperature", "seed", "stream_options"),
        refusals.openai_unsupported,
    ),
    ("mistral", wires.Mistral(), ("seed", "stream_options"), refusals.mistral),
    ("mistral-newer", wires.Mistral(), ("seed", "stream_options"), refusals.mistral_newer),
    ("mistral-text", wires.Mistral(), ("seed", "stream_options"), refusals.mistral_text),
    ("fastapi", wires.MlxVlm(), ("seed", "stream_options"), refusals.fastapi),
    ("groq", wires.Groq(), ("seed", "stream_options"), refusals.groq),
    ("groq-max-tokens", wires.Groq(), ("max_tokens",), refusals.groq),
    ("groq-alone", wires.Groq(), ("seed", "stream_options"), refusals.groq_alone),
    ("cerebras", wires.OpenAi(), ("seed", "stream_options"), refusals.cerebras),
    ("vllm-old", wires.Vllm(), ("top_k", "seed", "stream_options"), refusals.vllm_old),
    ("litellm", wires.LiteLlm(), ("seed", "temperature"), refusals.litellm),
    ("litellm-quoting", wires.LiteLlm(), ("max_tokens", "temperature"), refusals.litellm_quoting),
    ("openrouter", wires.OpenRouter(), ("max_tokens", "temperature"), refusals.openrouter),
)

TOGETHER: Sequence[tuple[str, wires.Wire, tuple[str, ...], How]] = (
    ("gemini", wires.Gemini(), ("seed", "stream_options"), refusals.gemini),
    ("mistral", wires.Mistral(), ("seed", "stream_options"), refusals.mistral),
    ("vllm-old", wires.Vllm(), ("top_k", "seed"), refusals.vllm_old),
    ("openai", wires.Vllm(), ("top_k", "seed"), refusals.openai_unrecognized),
    ("litellm", wires.LiteLlm(), ("seed", "temperature"), refusals.litellm),
)


def is_right_without(asked: Asked, refusing: Refusing) -> None:
    """The answer came, and each parameter was refused once and never sent again."""
    assert (asked.done.code, asked.done.out, asked.faults) == (0, "73\n", []), asked.done.err
    assert len(asked.answered) == 2
    assert not any(asks(body, name) for body in asked.answered for name in refusing.names)
    assert sorted(refusing.seen) == sorted(set(refusing.names)), refusing.seen


@pytest.mark.parametrize(("wire", "names", "how"), [row[1:] for row in PARAMETERS], ids=[row[0] for row in PARAMETERS])
def test_a_refused_parameter_is_left_out_once_and_for_all(
    wire: wires.Wire, names: tuple[str, ...], how: How, small: Path
) -> None:
    refusing = Refusing(names, how)
    asked = ask(Scene(wire, QWEN, TEXT, refuse=refusing), small, *FAMILY)
    is_right_without(asked, refusing)
    if "max_tokens" in names:
        sent = asked.refused[0]["max_tokens"]
        assert [body.get("max_completion_tokens") for body in asked.answered] == [sent, sent]


@pytest.mark.parametrize(("wire", "names", "how"), [row[1:] for row in TOGETHER], ids=[row[0] for row in TOGETHER])
def test_parameters_that_are_refused_together_cost_one_request(
    wire: wires.Wire, names: tuple[str, ...], how: How, small: Path
) -> None:
    refusing = Refusing(names, how, together=True)
    asked = ask(Scene(wire, QWEN, TEXT, refuse=refusing), small, *FAMILY)
    is_right_without(asked, refusing)
    assert len(asked.refused) == 1


def wire_of(row: wires.Json) -> wires.Wire:
    made: wires.Wire = getattr(wires, row["wire"])()
    return made


@pytest.mark.parametrize("row", refusals.RECORDED["limits"], ids=lambda row: row["name"])
def test_a_limit_of_tokens_that_the_server_names_is_obeyed(row: wires.Json, small: Path) -> None:
    room, prompt = 1500, 2596

    def refuse(body: wires.Json) -> Refusal | None:
        value = body.get("max_tokens") or body.get("max_completion_tokens") or 0
        return refusals.limited(row["body"], room, value, prompt) if value > room else None

    asked = ask(Scene(wire_of(row), QWEN, TEXT, refuse=refuse), small, *FAMILY)
    assert (asked.done.code, asked.done.out) == (0, "73\n"), asked.done.err
    assert len(asked.chats) <= 4


@pytest.mark.parametrize("row", refusals.RECORDED["contexts"], ids=lambda row: row["name"])
def test_a_prompt_that_is_too_long_is_explained(row: wires.Json, small: Path) -> None:
    refusal = Refusal(400, row["body"])
    asked = ask(Scene(wire_of(row), QWEN, TEXT, refuse=lambda body: refusal), small, *FAMILY)
    assert (asked.done.code, asked.done.out) == (3, ""), asked.done.err
    assert re.search(r"tokens|input length", asked.errors)
    assert "--max-pixels" in asked.errors
    assert len(asked.chats) == 1


def test_a_refusal_of_something_else_is_no_parameter(small: Path) -> None:
    message = "Image count 3 exceeds limit 1 per request; see the unsupported seed list"
    body = {"error": {"message": message, "type": "invalid_request_error"}}
    asked = ask(Scene(wires.OpenAi(), QWEN, TEXT, refuse=lambda _: Refusal(400, body)), small, *FAMILY)
    assert (asked.done.code, asked.done.out) == (3, "")
    assert len(asked.chats) <= 4


def batch(server: Player, picture: Path, tmp_path: Path, rows: int) -> tuple[Done, list[wires.Json]]:
    """Ask as many questions about the picture, one at a time; the lines that were written."""
    source, out = tmp_path / "rows.jsonl", tmp_path / "answers.jsonl"
    lines = [{"id": row, "image": str(picture), "question": QUESTION} for row in range(rows)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = virc(
        *("batch", source, "--to", out, "--endpoint", server.url, "--concurrency", 1),
        *("--model", QWEN.id, "--trust-rows"),
    )
    return done, [json.loads(line) for line in out.read_text().splitlines()]


def all_right(done: Done, lines: Sequence[wires.Json]) -> None:
    assert done.code == 0, done.err
    assert [line["answer"] for line in lines] == ["73"] * len(lines), lines
    refused = done.err.replace("Connection refused", "")  # for a moment nothing listens between two servers
    assert "refuse" not in refused, done.err


SWAPS: Sequence[tuple[str, Scene, Scene]] = (
    (
        "vllm-to-mistral",
        Scene(wires.Vllm(), QWEN, TEXT),
        Scene(wires.Mistral(), QWEN, structured(), refuse=Refusing(("seed", "stream_options"), refusals.mistral)),
    ),
    (
        "openai-to-vllm",  # the one takes max_completion_tokens alone, the other forbids what it does not know
        Scene(wires.OpenAi(), QWEN, structured(),
              refuse=Refusing(("max_tokens", "temperature"), refusals.openai_unsupported)),
        Scene(wires.Vllm(), QWEN, TEXT, refuse=Refusing(("max_completion_tokens", "top_k"), refusals.vllm_old)),
    ),
    (
        "ollama-to-llamacpp",
        Scene(wires.OllamaNative(), QWEN, apart(structured())),
        Scene(wires.LlamaCpp(), QWEN, apart(structured())),
    ),
    (
        "llamacpp-to-ollama",
        Scene(wires.LlamaCpp(), QWEN, apart(structured())),
        Scene(wires.OllamaNative(), QWEN, apart(structured())),
    ),
    (
        "groq-to-gemini",
        Scene(wires.Groq(), QWEN, apart(structured()), refuse=Refusing(("seed",), refusals.groq)),
        Scene(wires.Gemini(), QWEN, structured(), refuse=Refusing(("seed", "stream_options"), refusals.gemini, True)),
    ),
)  # fmt: skip


@pytest.mark.parametrize(("first", "second"), [row[1:] for row in SWAPS], ids=[row[0] for row in SWAPS])
def test_another_engine_behind_the_address_in_mid_batch(
    first: Scene, second: Scene, small: Path, tmp_path: Path
) -> None:
    first, second = _fresh(first), _fresh(second)

    def swap(server: Player) -> None:
        if len(server.answered) == 4:
            server.scene = second

    with play(first) as server:
        server.before = swap
        done, lines = batch(server, small, tmp_path, 4)
        faults = server.faults
    assert not faults
    assert len(lines) == 4
    all_right(done, lines)


def test_another_server_at_the_same_port_in_mid_batch(small: Path, tmp_path: Path) -> None:
    second = Scene(
        wires.OpenAi(),
        QWEN,
        structured(),
        refuse=Refusing(("max_tokens", "seed", "temperature"), refusals.openai_unsupported),
    )
    with play(Scene(wires.Vllm(), QWEN, TEXT)) as server:
        port, over = server.port, threading.Event()

        def swap() -> None:
            assert server.wait_for(5)
            server.die()
            with play(second, port):
                over.wait(240)

        def hang(server: Player) -> None:
            """What is asked when the server dies is not answered."""
            if len(server.chats) >= 5:
                over.wait(0.3)

        server.before = hang
        swapping = threading.Thread(target=swap)
        swapping.start()
        try:
            done, lines = batch(server, small, tmp_path, 4)
        finally:
            over.set()
            swapping.join()
    assert len(lines) == 4
    all_right(done, lines)


def _fresh(scene: Scene) -> Scene:
    """A scene whose refusals have seen nothing yet."""
    refuse = scene.refuse
    return replace(scene, refuse=replace(refuse, seen=[])) if isinstance(refuse, Refusing) else scene
