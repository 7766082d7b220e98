"""What is made of the pieces of a reply, however a server cuts and counts them."""

import json
from typing import Any

import pytest

from virc.backends.openai.received.reading import read_reply


def delta(finish: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
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
    ],
    ids=["whole", "one after the other", "mixed", "by id", "all of index 0", "by name alone"],
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
    ],
    ids=["in order", "the second first", "mixed"],
)
def test_of_several_choices_the_first_is_the_reply(chunks: list[Any]) -> None:
    reply = read_reply([events(*chunks)], 1000)
    assert (reply.text, reply.finish) == ("yes", "stop")


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
        *((word, "call") for word in ("tool_calls", "tool_use", "function_call")),
        *((word, "stop") for word in ("stop", "eos", "end_turn", "COMPLETE", "stop: </answer>")),
    ],
)
def test_the_end_of_a_reply_is_known_by_any_servers_word(word: str, finish: str) -> None:
    assert read_reply([events(delta(content="yes"), delta(word))], 1000).finish == finish


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


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_an_event_may_have_its_data_in_several_lines(end: str, size: int) -> None:
    lines = ["data: {", 'data: "choices": [{"index": 0,', 'data: "delta": {"content": "42"},']
    body = end.join([*lines, 'data: "finish_reason": "stop"}]}', "", "data: [DONE]", "", ""]).encode()
    assert read_reply([body[start : start + size] for start in range(0, len(body), size)], 1000).text == "42"


TOP = [{"token": "Yes", "logprob": -0.25, "bytes": [89]}, {"token": " No", "logprob": -1.5, "bytes": None}]
FIRST = (("Yes", -0.25), (" No", -1.5))


@pytest.mark.parametrize(
    ("logprobs", "first"),
    [
        ({"content": [{"token": "Yes", "logprob": -0.25, "top_logprobs": TOP}], "refusal": None}, FIRST),
        ({"tokens": ["Yes"], "token_logprobs": [-0.25], "top_logprobs": [{"Yes": -0.25, " No": -1.5}]}, FIRST),
        ({"content": [{"token": "Yes", "logprob": -0.25}]}, None),
        ({"content": [{"top_logprobs": [*TOP, {"token": 5, "logprob": -1}, {"token": "x"}, "y", None]}]}, FIRST),
        ({"content": [{"top_logprobs": [*TOP, {"token": "x", "logprob": float("nan")}]}]}, FIRST),
        ({"content": []}, None),
        ({"content": None}, None),
        (None, None),
        ([], None),
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
