"""What a server counts, leaves out or does otherwise than asked is in `left` of a reply."""

from typing import Any

import pytest
from asks import ask
from support import servers

from virc.backends.chat import ollama
from virc.backends.chat.backend import OpenAIBackend
from virc.backends.chat.usage import fields_of_usage
from virc.backends.interface import Sampling

COUNTS = {"prompt_tokens": 100, "completion_tokens": 10}
USUAL = Sampling(temperature=1.0, max_tokens=64, seed=3, is_usual=True)


@pytest.mark.parametrize(
    ("further", "drawn", "left"),
    [
        ({"total_tokens": 110}, 10, []),
        ({"total_tokens": 111}, 10, []),
        ({"total_tokens": 410, "completion_tokens_details": {"reasoning_tokens": 300}}, 310, []),  # xAI
        ({"total_tokens": 170, "cached_tokens": 60}, 10, []),  # Anthropic, of a gateway
        ({"total_tokens": 410}, 310, ["total_tokens"]),  # Google
        ({"total_tokens": 60}, 10, ["total_tokens"]),
        ({"completion_tokens_details": {"reasoning_tokens": 300}}, 300, ["reasoning_tokens"]),
        ({"total_tokens": 470, "cached_tokens": 60, "reasoning_tokens": 300}, 310, []),  # both of them apart
        ({"completion_tokens": 0, "reasoning_tokens": 60, "total_tokens": 160}, 60, []),
    ],
)
def test_of_counts_that_do_not_add_up_the_larger_is_taken(further: dict[str, Any], drawn: int, left: list[str]) -> None:
    fields = fields_of_usage(COUNTS | further)
    assert (fields["completion_tokens"], fields["left"]) == (drawn, tuple(("sums", name) for name in left))


@pytest.mark.parametrize(
    ("counts", "prompt", "left"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 60, "total_tokens": 170}, 160, ()),
        ({"completion_tokens": 10, "total_tokens": 110}, 100, ()),
        ({"total_tokens": 110}, None, (("usage", "total_tokens"),)),  # MiniMax's streams
    ],
)
def test_tokens_of_the_prompt_are_those_that_the_total_leaves(counts: Any, prompt: int | None, left: Any) -> None:
    fields = fields_of_usage(counts)
    assert (fields["prompt_tokens"], fields["left"]) == (prompt, left)


@pytest.mark.parametrize(
    ("bill", "cost"),
    [
        ({"cost": 0}, 0),
        ({"cost": {"total_cost": 0.5}}, 0.5),
        ({"estimated_cost": 0.5}, 0.5),
        ({"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}, 0.6),
        ({"cost": 0.1, "cost_details": {"upstream_inference_cost": 0.5}}, 0.5),
        ({"cost": 0, "is_byok": True, "upstream_inference_cost": 0.5}, 0.5),
        ({"cost": "0.5"}, 0.5),
        ({"cost_in_usd_ticks": 5_000_000_000}, 0.5),
    ],
)
def test_the_cost_has_all_that_is_paid(bill: dict[str, Any], cost: float) -> None:
    assert fields_of_usage(bill)["cost"] == pytest.approx(cost)


@pytest.mark.parametrize(
    ("name", "is_other"),
    [
        ("virc-scripted", False),
        ("acme/virc-scripted:free", False),
        ("virc-scripted-2026-05-01", False),
        ("virc-scripted:Q4_K_M", False),
        ("virc-scripted-GGUF:novita", False),
        ("virc-scripted-mini", True),
        ("virc", True),
    ],
)
def test_another_model_than_the_one_asked_is_named(name: str, is_other: bool) -> None:
    def answer(exchange: servers.Exchange) -> None:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "12"}}
        exchange.send_json({"model": name, "choices": [choice]})

    assert _left(answer) == ((("model", name),) if is_other else ())


@pytest.mark.parametrize("refused", ["seed", "temperature", "stream_options"])
def test_a_parameter_left_out_is_named_where_it_matters(refused: str) -> None:
    def answer(exchange: servers.Exchange) -> None:
        if exchange.body and refused in exchange.body:
            exchange.send_json(servers.error(f"Unsupported parameter: '{refused}'"), 400)
        else:
            exchange.send_events("12", None)

    assert _left(answer) == ((("unsent", refused),) if refused != "stream_options" else ())


@pytest.mark.parametrize(
    ("owner", "penalty"),
    [("openai", "repetition_penalty"), ("vllm", "repetition_penalty"), ("llamacpp", "repeat_penalty")],
)
def test_what_somebody_chose_is_sent_and_named_where_it_is_refused(owner: str, penalty: str) -> None:
    chosen = Sampling(temperature=1.0, top_k=20, repetition_penalty=1.1, max_tokens=64, min_p=0.1)
    names = ("top_k", penalty, "min_p")
    seen: list[dict[str, Any]] = []

    def picky(exchange: servers.Exchange) -> None:
        if name := next((name for name in names if name in (exchange.body or {})), None):
            exchange.send_json(servers.error(f"Unrecognized request argument supplied: {name}"), 400)
        else:
            exchange.send_events("12", None)

    def easy(exchange: servers.Exchange) -> None:
        seen.append(dict(exchange.body or {}))
        exchange.send_events("12", None)

    assert _left(easy, chosen, owner) == ()
    assert {name: seen[-1][name] for name in names} == {"top_k": 20, penalty: 1.1, "min_p": 0.1}
    assert {*_left(picky, chosen, owner)} == {("unsent", name) for name in names}
    assert ollama.request(ask("?"), chosen, "m", 4096)["options"]["min_p"] == 0.1


def _left(
    fault: servers.Fault | None, sampling: Sampling = USUAL, owner: str = "openai"
) -> tuple[tuple[str, str], ...]:
    with servers.serve(["12"], fault=fault, owned_by=owner) as server:
        backend = OpenAIBackend(server.url, max_retries=0)
        reply = backend.reply(ask("What is it?"), sampling)
        backend.close()
    assert hasattr(reply, "left")
    return tuple(reply.left)


@pytest.mark.parametrize(
    ("owner", "reply", "left"),
    [
        ("organization_owner", "<think>Well.</think>12", (("ignored", "reasoning_effort"),)),
        ("organization_owner", "<think>\n\n</think>\n\n12", ()),
        ("somebody", "12", (("switch", "--thinking off"),)),
    ],
)
def test_a_switch_without_effect_or_way_is_named(owner: str, reply: str, left: Any) -> None:
    with servers.serve([reply], owned_by=owner) as server:
        backend = OpenAIBackend(server.url, thinking="off")
        assert backend.reply(ask(), Sampling()).left == left  # type: ignore[attr-defined]
        assert "chat_template_kwargs" not in server.chats()[0]


@pytest.mark.parametrize(
    "body",
    [
        '{"max_tokens": "100"}', '{"options": "x"}', '{"options": [1]}', '{"stop": [1]}',
        '{"options": {"num_predict": -1}}', '{"chat_template_kwargs": {"preserve_thinking": false}}',
        '{"reasoning": {"exclude": false}}',
    ],
)  # fmt: skip
def test_fields_of_a_user_that_say_nothing_of_a_reply_are_passed_on(body: str) -> None:
    with servers.serve(["<think>Well.</think>12"]) as server:
        backend = OpenAIBackend(server.url, None, None, 60.0, extra_body=body)
        assert backend.reply(ask(), USUAL).left == ()


@pytest.mark.parametrize(
    ("said", "is_blind"),
    [
        ("I don't see any image attached to your message. Could you upload it?", True),
        ("As a text model I cannot view pictures.", True),
        ("It seems that the image wasn’t attached.", True),
        ("没有看到图片", True),
        ("I can't see the image clearly, so I zoom in.", False),
        ("I don't see any picture of a cat in it.", False),
    ],
)
def test_a_model_that_says_it_got_no_picture_is_named(said: str, is_blind: bool) -> None:
    with servers.serve([said]) as server:
        assert OpenAIBackend(server.url).reply(ask(), USUAL).left == ((("unseen", "content"),) if is_blind else ())


def test_parts_that_a_gateway_does_not_count_are_no_sign_of_blindness() -> None:
    parts = dict.fromkeys(("text_tokens", "image_tokens", "audio_tokens"), 0)
    assert fields_of_usage(COUNTS | {"prompt_tokens_details": parts})["picture_tokens"] is None
    assert fields_of_usage(COUNTS | {"prompt_tokens_details": parts | {"text_tokens": 9}})["picture_tokens"] == 0
