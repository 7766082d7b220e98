"""What is made of the pieces of a reply, and of its counts, however a server cuts them."""

import json
from typing import Any

import pytest

from virc.backends.chat.errors import WireError
from virc.backends.chat.reply import read_reply


def delta(finish: Any = None, index: Any = 0, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": finish}]}


def events(*chunks: object, end: str = "\n\n") -> bytes:
    return "".join(f"data: {json.dumps(chunk)}{end}" for chunk in chunks).encode() + f"data: [DONE]{end}".encode()


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        *((word, "length") for word in ("max-tokens", "MAX_TOKENS", "model_length", "max_output_tokens", 2)),
        *((word, "call") for word in ("tool_calls", "StopReason.TOOL_USE", "function_call")),
        *((word, "stop") for word in ("FinishReason.STOP: 1", "EndOfStream", "<|im_end|>", "stop: </answer>", "1")),
        *(({"type": "max_tokens", "x": 1}, "length"), ({"x": 1}, "stop")),
    ],
)
def test_the_end_of_a_reply_is_known_by_any_servers_word(word: object, finish: str) -> None:
    assert read_reply([events(delta(content="yes"), delta(word))], 1000).finish == finish


@pytest.mark.parametrize(
    "chunk",
    [
        {"object": "error", "message": "CUDA out of memory", "type": "BadRequestError", "code": 400},
        {"detail": [{"msg": "field required"}]},
        {"code": 500, "msg": "system error"},
        {"base_resp": {"status_code": 1013, "status_msg": "unknown error"}},
        {"status": 500},
        {"code": -1, "data": None},
        {"success": False},
        {"data": None, "status": "ERROR"},
    ],
    ids=str,
)
def test_a_chunk_that_reports_an_error_is_no_end(chunk: dict[str, Any]) -> None:
    body = events(delta(content="half"), chunk)
    for each in (body, body.removesuffix(b"data: [DONE]\n\n")):
        with pytest.raises(WireError, match="failed"):
            read_reply([each], 1000)


WORDS = "A long answer of many words."
PARTS = [delta(content="A long "), delta(content="answer of "), delta(content="many words.")]


@pytest.mark.parametrize(
    "chunks",
    [
        [*PARTS, delta("stop")],
        [delta(content=WORDS[:7]), delta(content=WORDS[:17]), delta("stop", content=WORDS)],
        [*PARTS, {"choices": [{"index": 0, "message": {"content": WORDS}, "finish_reason": "stop"}]}],
    ],
    ids=["parts", "all so far", "all once more"],
)
def test_what_is_shown_is_the_text_once(chunks: list[Any]) -> None:
    shown: list[str] = []
    assert read_reply([events(*chunks)], 1000, shown.append).text == "".join(shown) == WORDS


TOP = [{"token": "Yes", "logprob": -0.25, "bytes": [89]}, {"token": " No", "logprob": -1.5, "bytes": None}]
FIRST = (("Yes", -0.25), (" No", -1.5))


@pytest.mark.parametrize(
    ("logprobs", "first"),
    [
        ({"content": [{"token": "Yes", "logprob": -0.25, "top_logprobs": TOP}], "refusal": None}, FIRST),
        ({"tokens": ["Yes"], "token_logprobs": [-0.25], "top_logprobs": [{"Yes": -0.25, " No": -1.5}]}, FIRST),
        (
            {"content": [{"top_logprobs": [*TOP, {"token": "x", "logprob": 0.5}, {"token": "y", "logprob": "0"}]}]},
            FIRST,
        ),
        ([{"top_logprobs": TOP}, {"top_logprobs": []}], FIRST),  # Ollama's
        ({"content": [{"top_logprobs": [*TOP, {"token": "x", "logprob": float("nan")}]}]}, FIRST),
        ({"content": None}, None),
    ],
)
def test_the_likeliest_first_tokens_are_read(logprobs: object, first: object) -> None:
    """In the forms of OpenAI's two APIs (vLLM, SGLang, llama.cpp), and with nothing believed."""
    later = {"content": [{"token": "!", "logprob": -0.1, "top_logprobs": [{"token": "!", "logprob": -0.1}]}]}
    chunks = [delta(role="assistant", content=""), delta(content="Yes"), delta("stop", content="!")]
    chunks[1]["choices"][0]["logprobs"] = logprobs
    if first:
        chunks[2]["choices"][0]["logprobs"] = later
    assert read_reply([events(*chunks)], 1000).likeliest == first
