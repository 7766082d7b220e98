"""Replies that are no answer: nothing of them is printed as one, and the error says what helps."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import targets
import wires
from asked import Asked, ask
from server import Refusal, Scene, Unit
from speeches import LOOKING, Speech, apart, hermes, in_text, structured

QWEN = wires.Listed("qwen3-vl-8b")
QWEN25 = wires.Listed("Qwen/Qwen2.5-VL-7B-Instruct", pixels_of_token=28)
TEXT = in_text(hermes)
NO_ANSWER = 8


def says(
    said: wires.Said, wire: wires.Wire | None = None, model: wires.Listed = QWEN, *, streamed: bool = True
) -> Scene:
    """A model that says one thing only."""
    return Scene(wire or wires.Vllm(), model, TEXT, instead=lambda turn: said, streamed=streamed)


def has_no_answer(asked: Asked) -> None:
    assert asked.done.out == "", asked.done
    assert asked.done.code == NO_ANSWER, asked.done.err


CUT: Sequence[tuple[str, wires.Wire, wires.Said]] = (
    ("thought", wires.Vllm(), wires.Said("", LOOKING, finish="length")),
    ("thought-in-tags", wires.LlamaCpp(), wires.Said(f"<think>\n{LOOKING}", finish="length")),
    ("text", wires.LlamaCpp(), wires.Said("The number in the coloured place is", finish="length")),
    ("answer", wires.Vllm(), wires.Said("<answer>7", finish="length")),
    ("call", wires.Sglang(), wires.Said('<tool_call>\n{"name": "image_zoom_in_tool", "argum', finish="length")),
    ("ollama", wires.OllamaNative(), wires.Said("", LOOKING, finish="length")),
    ("ollama-v1", wires.OllamaV1(), wires.Said("The number", finish="length")),
    ("mlx", wires.MlxVlm(), wires.Said("The number", finish="length")),
)


@pytest.mark.parametrize(("wire", "said"), [row[1:] for row in CUT], ids=[row[0] for row in CUT])
def test_a_reply_cut_at_the_token_limit_names_the_limit(wire: wires.Wire, said: wires.Said, small: Path) -> None:
    asked = ask(says(said, wire), small)
    has_no_answer(asked)
    assert "--max-tokens" in asked.errors
    assert len(asked.chats) <= 2


def test_a_structured_call_that_is_cut_names_the_limit(small: Path) -> None:
    """Its arguments end in the middle, and the server says that the limit ended them."""
    function = {"name": "image_zoom_in_tool", "arguments": '{"bbox_2d": [620, 5'}
    begun = {"index": 0, "id": "call_1", "type": "function", "function": function}
    body = _delta({"role": "assistant", "tool_calls": [begun]}) + _delta({}, "length") + wires.DONE
    asked = ask(Scene(wires.LmStudio(), QWEN, TEXT, cut=lambda turn: body), small)
    has_no_answer(asked)
    assert "--max-tokens" in asked.errors
    assert len(asked.chats) <= 2


def test_the_token_limit_can_be_raised(small: Path) -> None:
    asked = ask(Scene(wires.Vllm(), QWEN, TEXT), small, "--max-tokens", "12345")
    assert asked.is_right, asked.done.err
    assert {body["max_tokens"] for body in asked.chats} == {12345}


UNFINISHED: Sequence[tuple[str, wires.Said]] = (
    ("no-call-after-tool-calls", wires.Said("Let me zoom.", finish="tool_calls")),
    ("a-number-after-tool-calls", wires.Said("7", finish="tool_calls")),
    ("nothing-after-tool-calls", wires.Said("", LOOKING, finish="tool_calls")),
    ("thought-alone", wires.Said("", LOOKING)),
    ("thought-in-tags-alone", wires.Said(f"<think>\n{LOOKING}\n</think>\n\n")),
    ("thought-never-closed", wires.Said(f"<think>\n{LOOKING}")),
    ("nothing", wires.Said("")),
    ("broken-json",
     wires.Said('<tool_call>\n{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [1, 2\n</tool_call>')),
    ("broken-fence", wires.Said('```json\n{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [1, 2,\n```')),
    ("call-of-nothing", wires.Said("<tool_call>\n</tool_call>")),
    ("react", wires.Said('Action: image_zoom_in_tool\nAction Input: {"bbox_2d": [1, 2, 300, 400], "img_idx": 9}')),
    ("gemma-without-marks", wires.Said("call:image_zoom_in_tool{bbox_2d:[1,2,300,400],img_idx:9}")),
    ("unknown-tool", wires.Said('<tool_call>\n{"name": "search", "arguments": {"query": "73"}}\n</tool_call>')),
    ("unknown-structured-tool", wires.Said("Let me search.", calls=(wires.Call("search", {"query": "73"}),))),
    ("no-box", wires.Said("Let me zoom.", calls=(wires.Call("image_zoom_in_tool", {"label": "place"}),))),
    ("no-such-image", wires.Said("", calls=(wires.Call("image_zoom_in_tool", {"bbox_2d": [1, 2, 30, 40],
        "img_idx": 7}),))),
)  # fmt: skip


@pytest.mark.parametrize(
    ("at", "said"), [(at, row[1]) for at, row in enumerate(UNFINISHED)], ids=[row[0] for row in UNFINISHED]
)
def test_a_reply_that_is_no_answer_is_not_printed_as_one(at: int, said: wires.Said, small: Path) -> None:
    asked = ask(says(said, streamed=at % 2 == 0), small)
    has_no_answer(asked)
    assert "could not be used" in asked.errors


def test_ollama_that_loses_a_call_is_no_answer(small: Path) -> None:
    """Not streamed, and without `tools` in the request, its parser cuts the call out and drops it."""
    asked = ask(says(wires.Said(""), wires.OllamaV1(), streamed=False), small)
    has_no_answer(asked)


@pytest.mark.parametrize(
    ("wire", "streamed"),
    [(wires.OpenAi(), True), (wires.OpenAi(), False), (wires.Groq(), True), (wires.Gemini(), False)],
    ids=["openai-streamed", "openai-whole", "groq-streamed", "gemini-whole"],
)
def test_a_filtered_reply_is_no_answer(wire: wires.Wire, streamed: bool, small: Path) -> None:
    asked = ask(says(wires.Said("I", finish="content_filter"), wire, streamed=streamed), small)
    assert asked.done.out == ""
    assert asked.done.code in (7, 8), asked.done.err  # the connection is well
    assert "content filter" in asked.errors.replace("_", " ")
    assert len(asked.chats) == 1


AZURE = {
    "message": "The response was filtered due to the prompt triggering the content management policy.", "type": None,
    "param": "prompt", "code": "content_filter", "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": True}}},
}  # fmt: skip
FILTERS: Mapping[str, tuple[int, wires.Json]] = {
    "azure": (400, {"error": AZURE}),
    "azure, inner code alone": (400, {"error": {**AZURE, "code": None}}),
    "openai": (400, {"error": {"message": "Your request was rejected.", "code": "content_policy_violation"}}),
    "dashscope": (400, {"error": {"message": "Input data may be inappropriate.", "code": "data_inspection_failed"}}),
    "zhipu": (400, {"error": {"code": "1301", "message": "unsafe"}, "contentFilter": [{"role": "user", "level": 1}]}),
    "openrouter": (403, {"error": {"code": 403, "message": "flagged", "metadata": {"flagged_input": "x"}}}),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_of_prompts_is_a_refusal_and_is_asked_once(name: str, small: Path) -> None:
    refusal = Refusal(*FILTERS[name])
    asked = ask(Scene(wires.OpenAi(), QWEN, TEXT, refuse=lambda body: refusal), small)
    has_no_answer(asked)
    assert "content filter" in asked.errors


def test_a_refusal_that_quotes_the_user_is_no_filter(small: Path) -> None:
    refusal = Refusal(400, {"error": {"message": "cannot parse: content_filter", "code": "invalid"}})
    assert ask(Scene(wires.OpenAi(), QWEN, TEXT, refuse=lambda body: refusal), small).done.code == 3


def test_a_refusal_is_no_answer(small: Path) -> None:
    refused = {"role": "assistant", "content": None, "refusal": "I'm sorry, I can't assist with that."}
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": refused}]}
    ended = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    asked = ask(
        Scene(wires.OpenAi(), QWEN, TEXT, cut=lambda turn: wires.event(chunk) + wires.event(ended) + wires.DONE), small
    )
    has_no_answer(asked)
    assert "I'm sorry" in asked.errors


def _delta(delta: wires.Json, finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return wires.event({"id": "1", "object": "chat.completion.chunk", "choices": [choice], **more})


def _chunk(content: str, finish: str | None = None, **more: object) -> bytes:
    return _delta({"role": "assistant", "content": content}, finish, **more)


def _line(content: str) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"model": "m", "message": message, "done": False}).encode() + b"\n"


SAID = "the runner stopped"
_ERROR = {"message": SAID, "type": "server_error", "param": None, "code": 500}
BROKEN: Mapping[str, tuple[wires.Wire, bytes, bool]] = {
    # An error in a stream of Ollama's /v1 is one empty delta; then the connection ends.
    "ollama-v1": (wires.OllamaV1(), _chunk(""), False),
    "ollama-v1-behind-text": (wires.OllamaV1(), _chunk("73") + _chunk(""), False),
    "ollama-v1-behind-an-answer": (wires.OllamaV1(), _chunk("<answer>7") + _chunk("3</answer>") + _chunk(""), False),
    "ollama": (wires.OllamaNative(), _line("73") + json.dumps({"error": SAID}).encode() + b"\n", True),
    "ollama-without-end": (wires.OllamaNative(), _line("73"), False),
    "llamacpp": (wires.LlamaCpp(), _chunk("73") + wires.event({"error": {"code": 500, "message": SAID}}), True),
    "llamacpp-older": (wires.LlamaCpp(),
        _chunk("73") + b'error: {"code":500,"message":"' + SAID.encode() + b'"}\n\n', False),
    "vllm": (wires.Vllm(), _chunk("73") + wires.event({"error": _ERROR}) + wires.DONE, True),
    "sglang": (wires.Sglang(), _chunk("73") + wires.event({"error": {"object": "error", **_ERROR}}) + wires.DONE, True),
    "lmstudio": (wires.LmStudio(), _chunk("73") + wires.event({"error": SAID}), True),
    "lmstudio-named-event": (wires.LmStudio(), _chunk("73") + b"event: error\n" + wires.event({"error": SAID}), True),
    "mlx": (wires.MlxVlm(), _chunk("73") + wires.event({"error": SAID}), True),
    "openrouter": (wires.OpenRouter(), _chunk("73") + _chunk("", "error", error={"code": 502, "message": SAID}), True),
    "openrouter-without-choices": (
        wires.OpenRouter(),
        _chunk("73") + wires.event({"id": "gen-1", "choices": [], "error": {"code": 502,
            "message": SAID}}) + wires.DONE,
        True,
    ),
    "venice": (wires.Vllm(), _chunk("73") + wires.event({"error_type": "upstream", "error_message": SAID}), False),
    "finish-error": (wires.LlamaCpp(), _chunk(f"Generation failed: {SAID}", "error") + wires.DONE, False),
    "finish-abort": (wires.Vllm(), _chunk("73", "abort") + wires.DONE, False),
    "mistral-finish-error": (wires.Mistral(), _chunk("73", "error") + wires.DONE, False),
    "a-page": (wires.OpenAi(), b"<html><body>502 Bad Gateway</body></html>", False),
}  # fmt: skip


@pytest.mark.parametrize(("wire", "body", "is_said"), BROKEN.values(), ids=BROKEN)
def test_a_stream_that_fails_is_never_an_answer(wire: wires.Wire, body: bytes, is_said: bool, small: Path) -> None:
    asked = ask(Scene(wire, QWEN, TEXT, cut=lambda turn: body), small)
    assert asked.done.out == "", asked.done
    assert asked.done.code in (6, 7), asked.done.err
    assert not is_said or SAID in asked.errors, asked.done.err


def test_an_error_begins_a_line_of_its_own(small: Path) -> None:
    """Scripts look for it there, behind whatever was streamed to stderr before."""
    wire, body, _ = BROKEN["vllm"]
    asked = ask(Scene(wire, QWEN, TEXT, cut=lambda turn: body), small)
    assert [line for line in asked.done.err.splitlines() if line.startswith("error: ")], asked.done.err


def test_no_deltas_at_all_are_no_answer(small: Path) -> None:
    asked = ask(Scene(wires.LmStudio(), QWEN, TEXT, cut=lambda turn: wires.DONE), small)
    assert asked.done.out == ""
    assert asked.done.code in (6, 7, 8), asked.done.err


def test_a_server_that_drops_old_turns_is_noticed(picture: Path) -> None:
    """Ollama's /v1 keeps the system message and the last one where the context is too short, in silence."""
    asked = ask(Scene(wires.OllamaV1(), QWEN, apart(structured()), keeps=1), picture)
    assert (asked.done.code, asked.done.out) == (7, "")
    assert "dropped" in asked.errors


Place = targets.Box
FAR, AT_THE_EDGE = Place(0.62, 0.55, 0.77, 0.70), Place(0.9, 0.88, 0.99, 0.97)

UNITS: Sequence[tuple[str, wires.Listed, Unit, targets.Size, Place]] = (
    ("thousandths-for-pixels", QWEN25, "thousand", (420, 308), FAR),
    ("thousandths-for-pixels-at-the-edge", QWEN25, "thousand", (420, 308), AT_THE_EDGE),
    # Of 0.95 megapixels, these boxes lie outside of the picture by a tenth at most.
    ("thousandths-just-outside", QWEN25, "thousand", (924, 896), Place(0.93, 0.91, 0.99, 0.98)),
    ("thousandths-partly-outside", QWEN25, "thousand", (924, 896), Place(0.85, 0.80, 0.99, 0.97)),
    ("fractions-for-pixels", QWEN25, "fraction", (420, 308), FAR),
    ("fractions-for-thousandths", QWEN, "fraction", (420, 308), FAR),
    ("pixels-for-thousandths", QWEN, "pixel", (1536, 1120), FAR),
    ("pixels-for-thousandths-at-the-edge", QWEN, "pixel", (1120, 1120), AT_THE_EDGE),
)


@pytest.mark.parametrize(
    ("speech", "model", "unit", "size", "place"),
    [((TEXT, structured())[at % 2], *row[1:]) for at, row in enumerate(UNITS)],
    ids=[row[0] for row in UNITS],
)
def test_a_box_in_another_unit_is_doubted_and_not_cut(
    speech: Speech, model: wires.Listed, unit: Unit, size: targets.Size, place: Place, tmp_path: Path
) -> None:
    picture = targets.write_picture(tmp_path / "picture.png", size, place)
    asked = ask(Scene(wires.Vllm(), model, speech, unit), picture)
    has_no_answer(asked)
    assert "bbox" in asked.errors
    assert any(word in asked.errors for word in ("outside", "fractions", "holds no pixel"))
    assert "virc doctor --endpoint" in asked.errors


SLIGHT: Sequence[tuple[str, wires.Listed, Unit, Callable[[list[float]], list[float]]]] = (
    ("a-few-pixels-over-the-edge", QWEN25, "pixel", lambda box: [box[0], box[1], 424, 312]),
    ("thousandths-just-over", QWEN, "thousand", lambda box: [box[0], box[1], 1004, 1003]),
)


@pytest.mark.parametrize(("model", "unit", "change"), [row[1:] for row in SLIGHT], ids=[row[0] for row in SLIGHT])
def test_a_box_that_leaves_the_picture_by_little_is_cut(
    model: wires.Listed, unit: Unit, change: Callable[[list[float]], list[float]], tmp_path: Path
) -> None:
    picture = targets.write_picture(tmp_path / "picture.png", (420, 308), Place(0.7, 0.7, 1, 1))

    def wider(call: wires.Call) -> wires.Said:
        arguments = {key: change(value) if isinstance(value, list) else value for key, value in call.arguments.items()}
        return TEXT.call(wires.Call(call.name, arguments))

    asked = ask(Scene(wires.Vllm(), model, Speech(wider, TEXT.answer, False), unit), picture)
    assert asked.is_right, asked.done.err
