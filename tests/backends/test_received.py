"""What is made of the pieces of a reply, and of its counts, however a server cuts them."""

import json
from typing import Any

import pytest

from virc.backends.openai.body import WireError
from virc.backends.openai.received.reading import read_reply
from virc.backends.openai.received.texts import Text
from virc.backends.openai.received.usage import Usage, usage


def delta(finish: Any = None, index: Any = 0, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": finish}]}


def call(arguments: str, index: int | None = None, name: str | None = None, id: str | None = None) -> dict[str, Any]:
    known = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in known.items() if value is not None}


def events(*chunks: object, end: str = "\n\n") -> bytes:
    return "".join(f"data: {json.dumps(chunk)}{end}" for chunk in chunks).encode() + f"data: [DONE]{end}".encode()


TWO = [("crop_image", '{"a": 1}'), ("scale_image", '{"b": 2}')]


@pytest.mark.parametrize(
    "pieces",
    [
        [
            [call('{"a"', 0, "crop_image", "x")], [call('{"b"', 1, "scale_image", "y")],
            [call(": 1}", 0)], [call(": 2}", 1)],
        ],
        [
            [call('{"a"', id="x", name="crop_image")], [call(": 1}", id="x")],
            [call('{"b": 2}', id="y", name="scale_image")],
        ],
        [
            [call('{"a"', 0, "crop_image")], [call(": 1}", 0)],
            [call('{"b"', 0, "scale_image")], [call(": ", 0)], [call("2}", 0)],
        ],
    ],
    ids=["mixed", "by id", "pieces of index 0"],
)  # fmt: skip
def test_pieces_of_two_calls_are_put_together(pieces: list[Any]) -> None:
    reply = read_reply([events(*(delta(tool_calls=piece) for piece in pieces), delta("tool_calls"))], 1000)
    assert [(each.name, each.arguments) for each in reply.calls] == TWO
    assert reply.finish == "call"


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
    "word",
    [
        "network_error",
        "MALFORMED_FUNCTION_CALL",
        "terminé",
    ],
)  # fmt: skip
def test_an_end_that_nobody_knows_is_an_error_that_names_it(word: str) -> None:
    with pytest.raises(WireError) as raised:
        read_reply([events(delta(content="ha"), delta(word, content="lf"))], 1000)
    assert (raised.value.quoted, raised.value.broken) == (word, True)


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


@pytest.mark.parametrize(
    "chunk",
    [
        {"code": "200", "msg": "请求成功"},
        {"base_resp": {"status_code": 0, "status_msg": ""}, "usage": {}},
        {"status": "running"},
        {"code": 200, "message": "in progress"},
    ],
    ids=str,
)
def test_a_chunk_without_choices_may_say_nothing(chunk: dict[str, Any]) -> None:
    assert read_reply([events(delta(content="42"), chunk, delta("stop"), chunk)], 1000).text == "42"


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


OWN: dict[str, Any] = {
    "reasoning_details": [{"type": "reasoning.text", "text": each, "index": 0} for each in ("I ", "look.")],
    "x_vendor": {"a": 1},
    "channel": "c",
}


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("id", ["functions.crop_image:0", 17])
@pytest.mark.parametrize("field", ["reasoning_content"])
def test_a_message_with_calls_is_kept_as_the_server_has_it(streamed: bool, id: object, field: str) -> None:
    signed = {"id": id, "type": "function", "extra_content": {"google": {"thought_signature": "CiQB"}}}
    calls = [{**signed, "function": {"x": 7, "name": "crop_image", "arguments": '{"a": 1}'}}]
    whole = {"role": "assistant", "content": "Well.", field: "I look.", **OWN, "tool_calls": calls}
    message: Any = {"choices": [{"index": 0, "message": whole, "finish_reason": "tool_calls"}]}
    chunks = [delta(**OWN), message]  # all of it behind a piece
    if streamed:
        begun, further = call('{"a"', 0, "crop_image"), call(": 1}", 0)
        begun["function"]["x"] = 7
        first, second = OWN["reasoning_details"]
        chunks = [
            delta(role="assistant", content="", **{**OWN, "reasoning_details": [first]}), delta(**{field: "I "}),
            delta(**{field: "look.", "reasoning_details": [second]}),
            delta(content="We"), delta(content="ll."),
            delta(tool_calls=[{**begun, **signed}]), delta(tool_calls=[further]),
            delta("tool_calls", content=None),
        ]  # fmt: skip
    assert read_reply([events(*chunks)], 1000).message == whole


def test_thoughts_of_two_kinds_are_both_kept_and_a_reply_is_no_longer_than_allowed() -> None:
    said = "<|channel|>analysis<|message|>B.<|end|><|channel|>final<|message|>42"
    body = [events(delta(reasoning="A. "), delta("stop", content=said))]
    reply = read_reply(body, 3 + len(said))
    assert (reply.thought, reply.text) == ("A. B.", "42")
    with pytest.raises(WireError, match=f"sent over {2 + len(said)} characters"):
        read_reply(body, 2 + len(said))


SHORT, LONG = "012345678901234", "0123456789012345"  # 15 and 16 characters: too few, and enough, to be sure


@pytest.mark.parametrize(
    ("pieces", "said", "whole", "doubtful"),
    [
        (["4", "42"], ["4", "2"], "42", True),
        (["4", "42", "427"], ["4", "2", "7"], "427", False),
        (["4", "42", "7"], ["4", "2", "7"], "4427", False),
        (["4", "4"], ["4", "4"], "44", True),
        ([LONG, f"{LONG}g"], [LONG, "g"], f"{LONG}g", False),
        ([SHORT, f"{SHORT}g", "h"], [SHORT, "g", "h"], f"{SHORT}{SHORT}gh", False),
        (["ha", "ha", "haha"], ["ha", "ha", ""], "haha", True),
    ],
)
def test_a_piece_goes_on_or_says_all_again(pieces: list[str], said: list[str], whole: str, doubtful: bool) -> None:
    text, never = Text(), Text(may_repeat=False)
    assert [text.add(piece) for piece in pieces] == said
    assert (text.whole, text.is_doubtful) == (whole, doubtful)
    assert [never.add(piece) for piece in pieces] == pieces
    assert (never.whole, never.is_doubtful, never.size) == ("".join(pieces), False, sum(map(len, pieces)))


def test_what_came_from_a_cache_is_counted_once() -> None:
    kinds = {"cache_read_input_tokens": 80, "cached_tokens": 70, "cache_creation_input_tokens": 5}
    assert usage({"input_tokens": 9, **kinds}, Usage()) == Usage(9, None, 85)
    assert usage({"input_tokens": 9, "input_tokens_details": kinds}, Usage()) == Usage(9, None, 85)
    assert usage([9], Usage(3, 4, 5)) == Usage(3, 4, 5)
    counted = [(None, 0), (None, 80), (20, 80), (79, 80), (80, 80), (81, 80), (20, 0)]
    assert [Usage(read, None, cached).prompt for read, cached in counted] == [None, 80, 100, 159, 80, 81, 20]
