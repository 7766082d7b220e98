"""Conversations that a server takes no further: crops are left out, limits are halved, and the answer is asked for."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.called import Done, virc
from support.servers import Body, Exchange, Server, error, images_of, serve
from support.solving import answer, call

GONE = "[This image is no longer shown.]"

FULL: dict[str, Callable[[int], str]] = {
    "vLLM": lambda most: f"At most {most} image(s) may be provided in one prompt.",
    "others": lambda most: (
        f"This model supports only {'a single image' if most == 1 else f'{most} images'} per request"
    ),
    "OpenAI": lambda most: "This model's maximum context length is 8192 tokens. Please reduce the length.",
    "llama.cpp": lambda most: "request (9000 tokens) exceeds the available context size (8192 tokens)",
}


def turns(crops: int) -> Callable[[Body], str]:
    """Looks closer so often, or until it is asked for its answer."""

    def turn(body: Body) -> str:
        done = sum(message["role"] == "assistant" for message in body["messages"])
        if done >= crops or "final answer now" in str(body["messages"][-1]):
            return answer("97")
        return call("crop_image", bbox_2d=[0, 0, 56 + 2 * done, 56], image_index=0)

    return turn


def solve(server: Server, image: Path, *words: object) -> Done:
    return virc("solve", image, "Find x", "--endpoint", server.url, "--protocol", "default", "--json", *words)


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("server", FULL)
def test_of_a_full_conversation_the_oldest_crops_are_left_out_and_that_is_said(
    server: str, most: int, image: Path
) -> None:
    def full(exchange: Exchange) -> None:
        assert exchange.body is not None
        if len(images_of(exchange.body)) > most:
            exchange.send_json(error(FULL[server](most)), 400)
        else:
            exchange.complete(exchange.body)

    with serve(turns(4), fault=full) as running:
        done = solve(running, image)
    assert (done.code, done.json["answer"]) == (0, "97"), done.err
    assert done.json["warnings"]
    assert "no longer shown" in done.err
    last = running.chats()[-1]
    assert 1 <= len(images_of(last)) <= most
    assert "[This image is no longer shown.]" in json.dumps(last["messages"])
    assert ("final answer now" in json.dumps(last["messages"][-1])) == (most == 1)
    assert (", and the model is asked for its answer: " in done.err) == (most == 1)
    assert int(re.findall(r"the oldest (\d+) crop", done.err)[-1]) == json.dumps(last["messages"]).count(GONE)


@pytest.mark.parametrize("server", FULL)
def test_a_conversation_without_an_answer_names_the_limit_that_ended_it(server: str, image: Path) -> None:
    def full(exchange: Exchange) -> None:
        assert exchange.body is not None
        if len(images_of(exchange.body)) > 1:
            exchange.send_json(error(FULL[server](1)), 400)
        else:
            exchange.complete(exchange.body)

    with serve(lambda _: call("crop_image", bbox_2d=[0, 0, 56, 56], image_index=0), fault=full) as running:
        done = solve(running, image)
    assert done.code == 8
    assert FULL[server](1)[:40] in done.err[done.err.index("after its crops were left out") :]


@pytest.mark.parametrize("said", ["max_tokens: too high for this deployment", "num_predict out of range"])
def test_a_limit_of_tokens_that_is_refused_in_any_words_is_halved_once(said: str, image: Path) -> None:
    def short(exchange: Exchange) -> None:
        assert exchange.body is not None
        if (exchange.body.get("max_tokens") or 0) > 600:
            exchange.send_json(error(said), 400)
        else:
            exchange.complete(exchange.body)

    with serve(turns(2), fault=short) as running:
        done = solve(running, image, "--max-tokens", 1000)
        assert (done.code, done.json["answer"]) == (0, "97"), done.err
        assert [body["max_tokens"] for body in running.chats()] == [1000, 500, 500, 500]


@pytest.mark.parametrize(("most", "replies"), [(1, 1), (3, 3), (9, 5)])
def test_before_the_last_request_the_model_is_asked_to_answer(most: int, replies: int, image: Path) -> None:
    with serve(turns(4)) as running:
        done = solve(running, image, "--max-requests", most)
        assert len(running.chats()) == replies
    assert (done.code, done.json["answer"]) == (0, "97"), done.err
    asked = "final answer now" in str(running.chats()[-1]["messages"][-1])
    assert asked == (most < 5) == bool(done.json.get("warnings"))
