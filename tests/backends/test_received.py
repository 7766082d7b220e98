"""What is made of the pieces of a reply, however a server cuts and counts them."""

import json
from typing import Any

import pytest

from virc.backends.openai.body import WireError
from virc.backends.openai.received.reading import read_reply


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
        [[call('{"a": 1}', 0, "crop_image", "x"), call('{"b": 2}', 1, "scale_image", "y")]],
        [
            [call('{"a"', 0, "crop_image", "x")], [call(": 1}", 0)],
            [call('{"b"', 1, "scale_image", "y")], [call(": 2}", 1)],
        ],
        [
            [call('{"a"', 0, "crop_image", "x")], [call('{"b"', 1, "scale_image", "y")],
            [call(": 1}", 0)], [call(": 2}", 1)],
        ],
        [
            [call('{"a"', id="x", name="crop_image")], [call(": 1}", id="x")],
            [call('{"b": 2}', id="y", name="scale_image")],
        ],
        [[call('{"a": 1}', 0, "crop_image")], [call('{"b": 2}', 0, "scale_image")]],
        [[call('{"a"', name="crop_image")], [call(": 1}")], [call('{"b": 2}', name="scale_image")]],
        [
            [call('{"a"', 0, "crop_image")], [call(": 1}", 0)],
            [call('{"b"', 0, "scale_image")], [call(": ", 0)], [call("2}", 0)],
        ],
        [[call('{"a": 1}', 3, "crop_image", "x")], [call("", 3, "scale_image", "y")], [call('{"b": 2}', 3)]],
    ],
    ids=[
        "whole", "one after the other", "mixed", "by id", "all of index 0", "by name alone", "pieces of index 0",
        "pieces of one index",
    ],
)  # fmt: skip
def test_pieces_of_two_calls_are_put_together(pieces: list[Any]) -> None:
    reply = read_reply([events(*(delta(tool_calls=piece) for piece in pieces), delta("tool_calls"))], 1000)
    assert [(each.name, each.arguments) for each in reply.calls] == TWO
    assert reply.finish == "call"


@pytest.mark.parametrize(
    "chunks",
    [
        [delta(content="yes", index=0), delta("stop", 0), delta(content="no", index=1), delta("length", 1)],
        [delta(content="no", index=1), delta(content="yes", index=0), delta("stop", 0), delta("length", 1)],
        [delta(content="ye"), delta(content="n", index=1), delta("stop", content="s"), delta("length", 1, content="o")],
        [delta(content="ye", index=1), delta("stop", 1, content="s")],
    ],
    ids=["in order", "the second first", "mixed", "the second alone"],
)
def test_of_several_choices_the_first_is_the_reply(chunks: list[Any]) -> None:
    shown = list[str]()
    reply = read_reply([events(*chunks)], 1000, shown.append)
    assert (reply.text, reply.finish, "".join(shown)) == ("yes", "stop", "yes")


@pytest.mark.parametrize(
    ("said", "prompt", "completion"),
    [
        ([{"prompt_tokens": 10, "completion_tokens": 3}], 10, 3),
        ([{"prompt_tokens": 10}, {"completion_tokens": 3}], 10, 3),
        ([{"prompt_tokens": 10, "completion_tokens": 1}, {"completion_tokens": 3}], 10, 3),
        ([{"input_tokens": 10, "output_tokens": 3}], 10, 3),
        ([{"prompt_tokens": 10, "completion_tokens": 3}, None], 10, 3),
        ([{"prompt_tokens": 100, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 80}}], 100, 3),
        ([{"prompt_tokens": 100, "completion_tokens": 3, "prompt_cache_hit_tokens": 100}], 100, 3),
        ([{"input_tokens": 20, "output_tokens": 3, "cache_read_input_tokens": 80}], 100, 3),
        ([{"input_tokens": 20, "output_tokens": 3, "cache_creation_input_tokens": 80}], 100, 3),
        ([{"prompt_tokens": "10", "completion_tokens": 3.0}], 10, 3),
        ([None], None, None),
    ],
)
def test_tokens_are_counted_once_each(said: list[Any], prompt: int | None, completion: int | None) -> None:
    chunks = [{"choices": [], "usage": usage} for usage in said]
    reply = read_reply([events(delta(content="yes"), delta("stop"), *chunks)], 1000)
    assert (reply.prompt_tokens, reply.completion_tokens) == (prompt, completion)


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        *((word, "length") for word in ("length", "max_tokens", "MAX_TOKENS", "max-tokens", "model_length")),
        ("max_output_tokens", "length"),
        *((word, "length") for word in ("FINISH_REASON_MAX_TOKENS", "FinishReason.LENGTH", "STOP_REASON_LIMIT", 2)),
        *((word, "call") for word in ("FINISH_REASON_TOOL_CALLS", "StopReason.TOOL_USE", "finishReason-tool_use")),
        *((word, "stop") for word in ("FINISH_REASON_STOP", "FinishReason.STOP: 1", "Reason.EOS", 1, "1")),
        *((word, "stop") for word in ("end_of_stream", "EndOfStream", "stop.", "CompletionStatus.COMPLETED")),
        *((word, "call") for word in ("tool_calls", "tool_use", "function_call")),
        *((word, "stop") for word in ("stop", "eos", "end_turn", "COMPLETE", "stop: </answer>")),
        *(({"type": "max_tokens", "x": 1}, "length"), ({"x": 1}, "stop")),
    ],
)
def test_the_end_of_a_reply_is_known_by_any_servers_word(word: object, finish: str) -> None:
    assert read_reply([events(delta(content="yes"), delta(word))], 1000).finish == finish


@pytest.mark.parametrize(
    "word", ["stop_sequence", "eos_token", "eosFound", "<|im_end|>", "EndOfText", "normal", "FINISH"]
)
def test_a_word_for_the_end_of_a_turn_is_whole(word: str) -> None:
    assert read_reply([events(delta(content="yes"), delta(word))], 1000).text == "yes"


@pytest.mark.parametrize(
    "word",
    [
        "network_error", "insufficient_system_resource", "model_context_window_exceeded", "abort", "error", "timeout",
        "pause_turn", "load", "MALFORMED_FUNCTION_CALL", "OTHER", "repetition", "user_cancelled", "50256", "unbekannt",
        "FINISH_REASON_OTHER", "FinishReason.MALFORMED_FUNCTION_CALL", "reason", "3",
        "terminé", "结束",
    ],
)  # fmt: skip
def test_an_end_that_nobody_knows_is_an_error_that_names_it(word: str) -> None:
    with pytest.raises(WireError) as raised:
        read_reply([events(delta(content="ha"), delta(word, content="lf"))], 1000)
    assert (raised.value.quoted, raised.value.broken) == (word, True)


@pytest.mark.parametrize("word", [None, "", "null", "NULL", "not_finished"])
def test_a_reply_that_goes_on_has_no_end(word: object) -> None:
    going = {"choices": [{"index": 0, "delta": {"content": "4"}, "finish_reason": word}]}
    assert read_reply([events(going, delta("stop", content="2"))], 1000).text == "42"


@pytest.mark.parametrize(
    "chunk",
    [
        {"object": "error"},
        {"object": "error", "message": "CUDA out of memory", "type": "BadRequestError", "code": 400},
        {"detail": "Internal Server Error"},
        {"detail": [{"msg": "field required"}]},
        {"message": "Model is overloaded"},
        {"code": 500, "msg": "system error"},
        {"choices": [], "object": "error", "message": "lost"},
        {"choices": [], "error": "lost"},
        {"type": "error"},
        {"error": {"code": 1234, "message": "lost"}},
        {"base_resp": {"status_code": 1013, "status_msg": "unknown error"}},
        {"base_resp": {"status_code": 1013}},
        {"status": 500},
        {"status": "failed"},
        {"statusCode": "503", "headers": {}},
        {"code": 1302},
        {"code": "Arrearage"},
        {"code": -1, "data": None},
        {"error_code": 110},
        {"errcode": 40001, "request_id": "7"},
        {"success": False},
        {"data": None, "status": "ERROR"},
    ],
    ids=str,
)
@pytest.mark.parametrize("done", [True, False])
def test_a_chunk_that_reports_an_error_is_no_end(chunk: dict[str, Any], done: bool) -> None:
    body = events(delta(content="half"), chunk)
    with pytest.raises(WireError, match="failed"):
        read_reply([body if done else body.removesuffix(b"data: [DONE]\n\n")], 1000)


@pytest.mark.parametrize(
    "event",
    [
        b"event: error\ndata: lost\n\n", b"event: error\ndata: {}\n\n", b"event: error\n\n",
        b'error: {"code": 500, "message": "lost"}\n\n',  # llama.cpp's, older
    ],
)  # fmt: skip
def test_an_event_named_error_is_one(event: bytes) -> None:
    with pytest.raises(WireError, match="failed"):
        read_reply([events(delta(content="half")).replace(b"data: [DONE]", event + b"data: [DONE]")], 1000)


def test_an_error_event_after_a_finished_answer_counts_even_without_a_line_end() -> None:
    body = events(delta("stop", content="all")).replace(b"data: [DONE]\n\n", b"event: error\ndata: lost")
    with pytest.raises(WireError, match="failed"):
        read_reply([body], 1000)


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [], "usage": {"prompt_tokens": 1}},
        {"code": 0, "message": "success"},
        {"code": "200", "msg": "请求成功"},
        {"message": "", "choices": []},
        {"base_resp": {"status_code": 0, "status_msg": ""}, "usage": {}},
        {"type": "ping"},
        {"error": None, "detail": None},
        {"status": "running"},
        {"status": 0, "code": "ok"},
        {"status": 200},
        {"status": 1, "progress": 0.5},
        {"error_code": 0, "success": True},
        {"code": 200, "message": "in progress"},
    ],
    ids=str,
)
def test_a_chunk_without_choices_may_say_nothing(chunk: dict[str, Any]) -> None:
    assert read_reply([events(delta(content="42"), chunk, delta("stop"), chunk)], 1000).text == "42"


ODD = [
    {"id": 7, "created": "today", "model": None, "choices": [{"index": "0", "delta": {"content": "42"}}]},
    {"choices": [{"index": 0, "delta": {"content": "42", "refusal": False, "function_call": "", "tool_calls": ""}}]},
    {"choices": [{"index": 0, "delta": {"content": "42", "tool_calls": {}}}]},
    {"choices": [{"index": 0, "delta": {"content": "42"}, "text": "42"}]},
    {"choices": [{"index": 0, "delta": {"content": "42"}}], "error": {"code": None, "message": ""}},
    {"choices": [{"index": 0, "delta": {"content": "42", "tool_calls": [None]}}]},
    {"choices": [{"index": 0, "delta": {"content": [{"type": 1, "text": "42", "id": {}}]}}]},
    {"choices": [{"index": 0, "delta": {"content": "42"}, "logprobs": "none", "text": None}], "usage": [1]},
    {"choices": [{"index": 0, "delta": {"content": "42"}}], "usage": {"prompt_tokens": -1, "completion_tokens": 0.5}},
    {"choices": [{"index": 0, "delta": {"content": "42"}}], "usage": {"prompt_tokens": "many"}},
    {"choices": [{"index": 0, "delta": {"content": "42", "role": 5, "audio": [], "annotations": {"a": 1}}}]},
]


@pytest.mark.parametrize("chunk", ODD, ids=str)
def test_fields_that_nobody_needs_never_fail(chunk: dict[str, Any]) -> None:
    assert read_reply([events(delta(), chunk, delta("stop"))], 1000).text == "42"


@pytest.mark.parametrize("data", [b"", b"null", b'""', b"[]", b"{}"])
def test_an_event_without_data_keeps_a_connection_alive(data: bytes) -> None:
    body = events(delta(content="42"), delta("stop"))
    assert (
        read_reply([b"data: " + data + b"\n\n" + body.replace(b"\n\n", b"\n\ndata:" + data + b"\n\n", 1)], 1000).text
        == "42"
    )


@pytest.mark.parametrize("id", [17, 0, 1.5, None, "", ["x"]])
@pytest.mark.parametrize("index", [0, "0", 0.0, None])
def test_a_call_is_read_with_an_id_and_index_of_any_type(id: object, index: object) -> None:
    call = {"id": id, "index": index, "function": {"name": "crop_image", "arguments": '{"a": 1}'}}
    reply = read_reply([events(delta(tool_calls=[call]), delta("tool_calls"))], 1000)
    assert [(each.name, each.arguments) for each in reply.calls] == TWO[:1]


@pytest.mark.parametrize("field", ["content", "reasoning_content"])
@pytest.mark.parametrize("text", ["😀", "ü", "本"])
@pytest.mark.parametrize("cut", [1, -1])
def test_a_character_may_be_cut_between_two_chunks(field: str, text: str, cut: int) -> None:
    parts = text.encode()[:cut], text.encode()[cut:]
    pieces = [b'data: {"choices": [{"delta": {"%s": "%s"}}]}\n\n' % (field.encode(), part) for part in parts]
    reply = read_reply([*pieces, events(delta("stop", content="!"))], 1000)
    assert f"{reply.thought or ''}{reply.text}" == f"{text}!"


@pytest.mark.parametrize("word", ["content_filter", "SAFETY", "recitation", "refusal"])
def test_what_a_filter_ended_is_a_refusal(word: str) -> None:
    assert read_reply([events(delta(content="ye"), delta(word))], 1000).refusal


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_a_thought_beside_the_content_is_no_part_of_it(field: str) -> None:
    shown: list[str] = []
    chunks = [delta(**{field: "I "}), delta(**{field: "look."}), delta(content="4"), delta(content="2"), delta("stop")]
    reply = read_reply([events(*chunks)], 1000, shown.append)
    assert (reply.thought, reply.text) == ("I look.", "42")
    assert "".join(shown) == "<think>I look.</think>\n42"


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


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r", "\n"])
@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_lines_end_in_any_way_wherever_they_are_cut(end: str, size: int) -> None:
    body = events(delta(content="4"), delta(content="2"), delta("stop"), end=end)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert read_reply(pieces, 1000).text == "42"


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_a_json_text_sequence_is_read_wherever_it_is_cut(size: int) -> None:
    """Each text stands behind a record separator (RFC 7464)."""
    chunks = (delta(content="4"), delta("stop", content="2"))
    body = b"".join(b"\x1e" + json.dumps(each).encode() + b"\n" for each in chunks)
    assert read_reply([body[start : start + size] for start in range(0, len(body), size)], 1000).text == "42"


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_an_event_may_have_its_data_in_several_lines(end: str, size: int) -> None:
    lines = ["data: {", 'data: "choices": [{"index": 0,', 'data: "delta": {"content": "42"},']
    body = end.join([*lines, 'data: "finish_reason": "stop"}]}', "", "data: [DONE]", "", ""]).encode()
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert read_reply([each for piece in pieces for each in (piece, b"")], 1000).text == "42"
    assert read_reply([body.replace(b"[DONE]", b'"[done]"')], 1000).text == "42"
    without_line_end = body[: body.index(b"[DONE]") - len(f"{end}{end}data: ")]
    assert read_reply([without_line_end], 1000).text == "42"


TOP = [{"token": "Yes", "logprob": -0.25, "bytes": [89]}, {"token": " No", "logprob": -1.5, "bytes": None}]
FIRST = (("Yes", -0.25), (" No", -1.5))


@pytest.mark.parametrize(
    ("logprobs", "first"),
    [
        ({"content": [{"token": "Yes", "logprob": -0.25, "top_logprobs": TOP}], "refusal": None}, FIRST),
        ({"tokens": ["Yes"], "token_logprobs": [-0.25], "top_logprobs": [{"Yes": -0.25, " No": -1.5}]}, FIRST),
        ({"content": [{"token": "Yes", "logprob": -0.25}]}, None),
        ({"content": [{"top_logprobs": [{"token": "Yes", "logprob": 0}]}]}, (("Yes", 0.0),)),  # it is certain
        (
            {"content": [{"top_logprobs": [*TOP, {"token": "x", "logprob": 0.5}, {"token": "y", "logprob": "0"}]}]},
            FIRST,
        ),
        ([{"top_logprobs": TOP}, {"top_logprobs": []}], FIRST),  # Ollama's
        ({"content": [{"top_logprobs": [*TOP, {"token": 5, "logprob": -1}, {"token": "x"}, "y", None]}]}, FIRST),
        ({"content": [{"top_logprobs": [*TOP, {"token": "x", "logprob": float("nan")}]}]}, FIRST),
        ({"content": []}, None),
        ({"content": None}, None),
        (None, None),
        ([], None),
        (["Yes"], None),
        ({"content": [None]}, None),
        ("none", None),
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
@pytest.mark.parametrize("id", ["D681PevKs", "functions.crop_image:0", 17, ""])
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
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


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""}, {"id": None}, {"type": ""}, {"id": "", "type": None, "extra_content": {}}, {"extra_content": None},
        {"extra_content": {"google": {}}}, {"extra_content": {"google": {"thought_signature": ""}}},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_call_began_with_stays_when_later_pieces_leave_it_empty(fields: dict[str, Any]) -> None:
    signed = {"type": "function", "extra_content": {"google": {"thought_signature": "CiQB"}}}
    pieces = [{**call('{"a"', 0, "crop_image", "c1"), **signed}, {**call(": 1}", 0), **fields}]
    message = read_reply([events(*(delta(tool_calls=[each]) for each in pieces), delta("tool_calls"))], 1000).message
    assert message
    assert message["tool_calls"] == [{"id": "c1", **signed, "function": {"name": TWO[0][0], "arguments": TWO[0][1]}}]


def test_a_call_that_came_as_content_goes_back_in_our_form() -> None:
    used = {"type": "tool_use", "name": "crop_image", "input": {"a": 1}}
    reply = read_reply([events(delta(content=[{"type": "text", "text": "Well."}, used]), delta("tool_use"))], 1000)
    assert [(each.name, each.arguments) for each in reply.calls] == [("crop_image", {"a": 1})]
    assert (reply.text, reply.finish, reply.message) == ("Well.", "call", None)


def test_a_content_in_parts_goes_back_in_parts() -> None:
    parts, made = [{"type": "text", "text": "Well."}], call('{"a": 1}', 0, "crop_image", "x")
    message = read_reply([events(delta(content=parts), delta("tool_calls", tool_calls=[made]))], 1000).message
    assert message
    assert message["content"] == parts


def test_thoughts_of_two_kinds_are_both_kept_and_a_reply_is_no_longer_than_allowed() -> None:
    said = "<|channel|>analysis<|message|>B.<|end|><|channel|>final<|message|>42"
    body = [events(delta(reasoning="A. "), delta("stop", content=said))]
    reply = read_reply(body, 3 + len(said))
    assert (reply.thought, reply.text) == ("A. B.", "42")
    with pytest.raises(WireError, match=f"sent over {2 + len(said)} characters"):
        read_reply(body, 2 + len(said))


def test_a_reply_without_calls_has_no_message_of_its_own() -> None:
    assert read_reply([events(delta(content="42", reasoning="I look."), delta("stop"))], 1000).message is None


@pytest.mark.parametrize("is_event", [True, False])
@pytest.mark.parametrize(
    "wrong",
    [
        {"output": 5}, {"output": "text"}, {"output": {"type": "message"}},
        {"output": [{"type": "message", "content": 5}]}, {"output": [{"type": "message", "content": {"text": "a"}}]},
        {"output": [{"type": "reasoning", "summary": True}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_response_that_is_no_list_cannot_be_read(wrong: dict[str, Any], is_event: bool) -> None:
    response = {"object": "response", "status": "completed", **wrong}
    with pytest.raises(WireError):
        read_reply([events({"type": "response.completed", "response": response} if is_event else response)], 1000)


@pytest.mark.parametrize("content", ["42", [{"type": "output_text", "text": "42"}], [None, {"text": "42"}, 5]])
def test_the_content_of_a_response_is_a_text_or_a_list(content: object) -> None:
    response = {"status": "completed", "output": [None, {"type": "message", "content": content}, "odd"]}
    assert read_reply([events({"type": "response.completed", "response": response})], 1000).text == "42"


COUNTED = {"input_tokens": 7, "output_tokens": 2}


@pytest.mark.parametrize(
    ("lines", "text", "finish"),
    [
        ([{"message": {"content": "42"}, "finish_reason": "COMPLETE", "usage": COUNTED}], "42", "stop"),
        (
            [
                {
                    "message": {"content": [{"type": "text", "text": "42"}]},
                    "finish_reason": "MAX_TOKENS",
                    "usage": {"billed_units": {"input_tokens": 5, "output_tokens": 1}, "tokens": COUNTED},
                }
            ],
            "42",
            "length",
        ),
        (
            [
                {"message": {"content": "4"}, "done": False},
                {"message": {"content": "4"}, "done": False},
                {
                    "message": {"content": "2"},
                    "done": True,
                    "done_reason": "length",
                    "prompt_eval_count": 7,
                    "eval_count": 2,
                },
            ],
            "442",
            "length",
        ),
        (
            [
                {
                    "type": "response.completed",
                    "response": {"status": "completed", "output": [{"content": "42"}], "usage": COUNTED},
                }
            ],
            "42",
            "stop",
        ),
    ],
    ids=["a message without choices", "Cohere's own API", "lines until one is done", "a response"],
)
def test_replies_of_other_shapes_come_with_their_counts(lines: list[Any], text: str, finish: str) -> None:
    reply = read_reply(["\n".join(map(json.dumps, lines)).encode()], 1000)
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.completion_tokens) == (text, finish, 7, 2)


def test_a_call_of_a_message_without_choices_comes_with_its_plan() -> None:
    call = {"id": "crop_1", "type": "function", "function": {"name": "crop_image", "arguments": '{"index": 1}'}}
    message = {"role": "assistant", "tool_plan": "Look closer.", "tool_calls": [call]}
    sent = {"finish_reason": "TOOL_CALL", "message": message, "usage": {"tokens": COUNTED, "cached_tokens": 3}}
    reply = read_reply([json.dumps(sent).encode()], 1000)
    assert [(each.name, each.arguments) for each in reply.calls] == [("crop_image", '{"index": 1}')]
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.cached_tokens) == ("Look closer.", "call", 7, 3)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([delta(content="4"), {"choices": [{"message": {"content": "42"}}]}], "before its answer was whole"),
        ([{"object": "response", "status": "failed", "output": []}], "failed"),
        ([{"message": {"content": "4"}, "done": False}], "before its answer was whole"),
    ],
)
def test_what_has_no_end_or_failed_is_no_reply(lines: list[Any], said: str) -> None:
    with pytest.raises(WireError, match=said):
        read_reply(["\n".join(map(json.dumps, lines)).encode()], 1000)
