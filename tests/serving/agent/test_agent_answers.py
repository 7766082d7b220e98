"""What a client gets from an agent endpoint: thoughts, looks, answers and counts, whole and streamed."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from agent_server import ANSWER, LOOK, MODEL, Running, chat, data_url, scripted
from PIL import Image
from support.called import virc
from support.servers import Body, images_of, turn_of

from virc.core.seeds import derived

REFUSED = "<think>Too small.</think><answer>unreadable</answer>"
SCALING = '{"name": "scale_image", "arguments": {"image_index": 1, "scale_factor": 2}}'
SCALE = f"<think>Larger.</think><tool_call>{SCALING}</tool_call>"
SCRIPTS = {"two looks": [LOOK, SCALE, ANSWER], "refuse": [REFUSED], "look on": [LOOK] * 3, "chatter": ["I cannot say."]}

TEXTS = {"plain": "A triangle", "tagged": "<think>Short.</think>\n<answer>A triangle</answer>", "cut": "<think>Short"}


def turns(body: Body) -> str:
    """The script that the question names; a look and an answer where it names none."""
    if isinstance(body["messages"][-1]["content"], str) and len(body["messages"]) == 1:
        return TEXTS[body["messages"][0]["content"]]
    question = body["messages"][1]["content"][-1]["text"]
    if "by seed" in question and turn_of(body):
        return f"<think>s</think><answer>{body['seed']}</answer>"
    if "at first wrong" in question:
        return ANSWER if body["temperature"] else "<think>rejected"
    script = next((script for name, script in SCRIPTS.items() if name in question), [LOOK, ANSWER])
    return script[turn_of(body)]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with scripted(turns, config={"max_turns": 3}, served={"context": 8192}) as found:
        yield found


@pytest.fixture(scope="module")
def client(endpoint: Running) -> Any:
    return openai.OpenAI(base_url=endpoint.url, api_key="none", max_retries=0).chat.completions


def test_the_official_client_gets_answer_thoughts_looks_and_the_sum_of_all_tokens(
    running: Running, client: Any
) -> None:
    said = client.create(**chat("two looks"))
    message = said.choices[0].message
    assert (message.content, message.refusal, said.choices[0].finish_reason) == ("97", None, "stop")
    assert message.reasoning_content == "I look.\n\nLarger.\n\nIt reads 97."
    first, second = message.virc_tool_calls
    assert {**first, "url": ""} == {
        "index": 0, "unit": 0, "tool": "crop_image", "source": 0, "source_size": [280, 140], "box": [0, 0, 100, 60],
        "image": 1, "size": [112, 56], "url": "", "text": None, "error": None,
    }  # fmt: skip
    assert (second["unit"], second["tool"], second["source"], second["box"]) == (1, "scale_image", 1, None)
    assert (second["source_size"], second["size"]) == ([112, 56], [224, 112])
    kind, _, content = second["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (224, 112)
    assert [turn_of(body) for body in running.behind.chats()] == [0, 1, 2]
    usage = said.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens > 3 * 5
    assert usage.prompt_tokens > 3 * 280 * 140 // 28**2  # the picture is read in every turn


@pytest.mark.parametrize("stream", [False, True])
def test_samples_are_choices_each_with_its_own_seed_and_looks(running: Running, client: Any, stream: bool) -> None:
    said = client.create(**chat("by seed", n=3, seed=5, extra_body={"virc_max_turn_tokens": 77}, stream=stream))
    answers, looks = [""] * 3, [0] * 3
    for choice in [each for piece in said for each in piece.choices] if stream else said.choices:
        part = choice.delta if stream else choice.message
        answers[choice.index] += part.content or ""
        looks[choice.index] += len(getattr(part, "virc_tool_calls", None) or [])
    assert (answers, looks) == ([str(derived(5, sample, 1)) for sample in range(3)], [1, 1, 1])
    bodies = running.behind.chats()
    assert {body["temperature"] for body in bodies} == {1}  # several samples, as virc solve draws them
    assert {body["max_tokens"] for body in bodies} == {77}


@pytest.mark.parametrize("stream", [False, True])
def test_a_strategy_gives_one_answer_and_counts_all_samples(running: Running, client: Any, stream: bool) -> None:
    one = client.create(**chat("always", temperature=1))
    asked = len(running.behind.chats())
    words = {"stream_options": {"include_usage": True}} if stream else {}
    said = client.create(**chat("always", extra_body={"virc_strategy": "majority:n=5"}, stream=stream, **words))
    pieces = list(said) if stream else [said]
    choices = [choice for piece in pieces for choice in piece.choices]
    text = "".join((each.delta if stream else each.message).content or "" for each in choices)
    assert ({each.index for each in choices}, text) == ({0}, "97")
    bodies = running.behind.chats()[asked:]
    assert len(bodies) == 3 * 2  # three samples that agree of five; each looks, and answers
    assert {body["temperature"] for body in bodies} == {1}
    assert pieces[-1].usage.completion_tokens == 3 * one.usage.completion_tokens


def test_without_a_temperature_it_asks_as_virc_solve_does(running: Running, tmp_path: Path) -> None:
    assert running.ask("What does it read?")[0] == 200
    asked = running.behind.chats()
    picture = tmp_path / "white.png"
    Image.new("RGB", (280, 140), "white").save(picture)
    done = virc("solve", picture, "What does it read?", "--endpoint", running.behind.url, "--protocol", "default")
    assert done.out == "97\n", done.err
    solved = running.behind.chats()[len(asked) :]
    assert [body["temperature"] for body in asked] == [0, 0]
    assert asked == solved


def test_pictures_of_a_chat_stay_in_their_order_and_no_client_names_one_for_others(running: Running) -> None:
    red, blue = ({"type": "image_url", "image_url": {"url": data_url((56, 56), each)}} for each in ("red", "blue"))
    messages = [
        {"role": "user", "content": [red, {"type": "text", "text": "What colour?"}]},
        {"role": "assistant", "content": "red"},
        {"role": "user", "content": [{"type": "text", "text": "And here?"}, {**blue, "uuid": "poison"}]},
    ]
    body = json.dumps({"model": MODEL, "messages": messages}).encode()
    assert running.send("POST", "/v1/chat/completions", body)[0] == 200
    asked = running.behind.chats()[0]
    assert "poison" not in json.dumps(asked)  # by which a server would take it for a picture of somebody else
    files = [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in images_of(asked)]
    colours = [Image.open(io.BytesIO(each)).convert("RGB").getpixel((0, 0)) for each in files]
    assert colours[:2] == [(255, 0, 0), (0, 0, 255)]


@pytest.mark.parametrize(
    ("script", "content", "why"),
    [("refuse", "unreadable", "the model answered 'unreadable'"), ("look on", "", "no answer after 3 turns")],
)
def test_without_an_answer_there_is_a_refusal_that_says_why(
    running: Running, client: Any, script: str, content: str, why: str
) -> None:
    status, said = running.ask(script)
    choice = said["choices"][0]
    assert (status, choice["finish_reason"], choice["message"]["content"]) == (200, "stop", content)
    assert choice["message"]["refusal"].startswith(why)
    streamed = [piece.choices[0].delta for piece in client.create(**chat(script, stream=True))]
    assert "".join(delta.refusal or "" for delta in streamed) == choice["message"]["refusal"]
    assert "".join(delta.content or "" for delta in streamed) == content


@pytest.mark.parametrize(
    ("text", "content", "thought"),
    [("plain", "A triangle", ""), ("tagged", "A triangle", "Short."), ("cut", "", "Short")],
)
def test_a_chat_of_text_alone_is_one_turn(running: Running, client: Any, text: str, content: str, thought: str) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 9, "seed": 3, "n": 2}
    said = client.create(**body)
    first, second = said.choices
    assert (first.message.content, first.message.reasoning_content) == (content, thought)
    assert (first.message.refusal, second.index) == (None if content else "the model wrote no answer", 1)
    asked = running.behind.chats()
    assert [each["messages"] for each in asked] == [body["messages"]] * 2
    assert [each["seed"] for each in asked] == [derived(3, sample, 0) for sample in range(2)]
    assert {each["max_tokens"] for each in asked} == {9}
    deltas = [piece.choices[0].delta for piece in client.create(**body, stream=True)]
    assert "".join(delta.content or "" for delta in deltas) == content * 2
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == thought * 2
    alone = client.create(**{**body, "n": 1}).usage
    assert said.usage.completion_tokens == 2 * alone.completion_tokens
    assert said.usage.prompt_tokens == 2 * alone.prompt_tokens


def test_it_is_listed_as_what_runs_the_loop_and_solve_says_so(running: Running, tmp_path: Path) -> None:
    status, said = running.send("GET", "/v1/models")
    (model,) = said["data"]
    assert (status, model["id"], model["virc_agent"], model["max_model_len"]) == (200, MODEL, True, 8192)
    assert "virc_protocol" not in model
    picture = tmp_path / "white.png"
    Image.new("RGB", (280, 140), "white").save(picture)
    done = virc("solve", picture, "?", "--endpoint", running.url)
    assert done.code == 3
    assert "runs the loop itself (virc serve --agent)" in done.err
