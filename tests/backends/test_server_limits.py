"""Limits of tokens as the server counts them, the model that is meant, and another server at the same address."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asks import ANSWER, ask
from support.faults import body, status
from support.servers import CHAT, MODEL, Exchange, Fault, Server, error, serve

from virc.backends.interface import Sampling
from virc.backends.openai.backend import OpenAIBackend
from virc.core.errors import ConfigError, NetworkError


def counted(text: str, finish: str, prompt: int, completion: int) -> Fault:
    """A whole completion with these counts."""
    choice = {"index": 0, "message": {"content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return body(json.dumps({"choices": [choice], "usage": usage}).encode())


def draw(fault: Fault, max_tokens: int, **options: Any) -> Any:
    with serve(fault=fault, **options) as server:
        return OpenAIBackend(server.url).reply(ask(), Sampling(max_tokens=max_tokens))


@pytest.mark.parametrize(("prompt", "completion", "is_full"), [(900, 99, True), (900, 50, False), (700, 200, False)])
def test_a_reply_that_the_context_cut_says_so(prompt: int, completion: int, is_full: bool) -> None:
    fault, known = counted("half an", "length", prompt, completion), {"extra": {"max_model_len": 1000}}
    if is_full:
        with pytest.raises(ConfigError, match=r"the context of .*, 1000 tokens, is full"):
            draw(fault, 200, **known)
    else:
        assert draw(fault, 200, **known).finish == "length"


@pytest.mark.parametrize(
    ("text", "most", "completion", "finish"),
    [
        ("a long answer that goes", 200, 200, "length"),
        ("more than the limit counts", 200, 300, "stop"),
        ("yes", 1, 1, "stop"),
    ],
)
def test_a_reply_as_long_as_its_limit_was_cut_whatever_the_server_says(
    text: str, most: int, completion: int, finish: str
) -> None:
    assert draw(counted(text, "stop", 400, completion), most).finish == finish


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        (
            "it has a maxOutputTokens value of {n} but the supported range is from 1 (inclusive) to 1501 (exclusive)",
            [1500],
        ),
        ("max_tokens: {n} > 500, which is the maximum", [500]),
        ("Error code: 400 - the limit of output tokens is 1,200", [1200]),
        ("invalid params, tokens_to_generate too large", [1024, 512, 256]),
        (
            "`inputs` tokens + `max_new_tokens` must be <= 3000. Given: 1700 `inputs` tokens and {n} `max_new_tokens`",
            [1300],
        ),
        ("an image of {n} px is too large", []),
        ("This model's maximum context length is 100 tokens, and max_tokens is {n}", []),
    ],
)
def test_a_limit_of_output_is_lowered_whatever_the_words(said: str, limits: list[int]) -> None:
    """The first of them that the server takes stays; three are tried at most."""
    most, sent = (limits or [0])[-1], list[int]()

    def limited(exchange: Exchange) -> None:
        sent.append(asked := (exchange.body or {})["max_tokens"])
        if asked > most:
            exchange.send_json(error(said.format(n=asked)), 400)
        else:
            exchange.send_events(ANSWER, None)

    with serve(fault=limited) as server:
        backend = OpenAIBackend(server.url)
        if not limits:
            with pytest.raises(ConfigError):
                backend.reply(ask(), Sampling(max_tokens=2048))
        else:
            assert backend.reply(ask(), Sampling(max_tokens=2048)).text == ANSWER
            if len(limits) > 1:  # what was guessed is not guessed again
                assert backend.reply(ask(), Sampling(max_tokens=2048)).text == ANSWER
                assert sent.pop() == most
    assert sent == [2048, *limits]


@pytest.mark.parametrize(
    ("said", "limits"),
    [("max_tokens is too large", [1024, 512]), ("max_tokens: 2048 > 600, which is the maximum", [600])],
)
def test_requests_under_way_together_all_learn_the_limit_of_output(said: str, limits: list[int]) -> None:
    together = threading.Barrier(4)

    def limited(exchange: Exchange) -> None:
        together.wait(20)
        if (exchange.body or {})["max_tokens"] > 600:
            exchange.send_json(error(said), 400)
        else:
            exchange.send_events(ANSWER, None)

    with serve(fault=limited) as server, ThreadPoolExecutor(4) as pool:
        backend = OpenAIBackend(server.url)
        replies = pool.map(lambda _: backend.reply(ask(), Sampling(max_tokens=2048)), range(4))
        assert [reply.text for reply in replies] == [ANSWER] * 4
        sent = [chat["max_tokens"] for chat in server.chats()]
        assert sent == [each for each in (2048, *limits) for _ in range(4)]


def gone(exchange: Exchange) -> None:
    exchange.hang_up()


def at_the_same_port(before: Server, **options: Any) -> Any:
    before.die()
    return serve([ANSWER], port=before.server_address[1], **options)


def test_what_one_server_refused_is_sent_to_the_next() -> None:
    refusing = status(400, "Unsupported parameter: 'seed' is not supported with this model.")
    sampling = Sampling(seed=5)
    with serve([ANSWER], fault=refusing, times=1) as server:
        backend = OpenAIBackend(server.url, max_retries=0)
        for _ in range(2):
            backend.reply(ask(), sampling)
        assert ["seed" in chat for chat in server.chats()] == [True, False, False]
        server.script.fault, server.takes_fault = gone, lambda path: path == CHAT  # type: ignore[method-assign]
        with pytest.raises(NetworkError):
            backend.reply(ask(), sampling)
        with at_the_same_port(server) as other:
            backend.reply(ask(), sampling)
            assert "seed" in other.chats()[-1]


@pytest.mark.parametrize(
    ("lists", "answers", "looks"),
    [
        (["nginx"], ["uvicorn"], 1),
        (["cloudflare", ""], [""], 1),
        (["nginx"], ["uvicorn", "uvicorn", "llama.cpp"], 2),
        (["nginx", "llama.cpp"], ["nginx", "nginx", "llama.cpp"], 2),
    ],
)
def test_a_gateway_that_names_another_server_at_each_path_is_one(
    lists: list[str], answers: list[str], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = set[int]()

    def name(exchange: Exchange) -> str:
        ports.add(exchange.client_address[1])
        asked = sum(each.path == exchange.path for each in exchange.server.requests)
        names = answers if exchange.path == CHAT else lists
        return names[min(asked, len(names)) - 1]

    def refusing(exchange: Exchange) -> None:
        if "seed" in (body := exchange.body or {}):
            exchange.send_json(error("Unsupported parameter: 'seed' is not supported with this model."), 400)
        else:
            exchange.complete(body)

    monkeypatch.setattr(Exchange, "version_string", name)
    with serve([ANSWER], fault=refusing, usage=False) as server:
        backend = OpenAIBackend(server.url)
        for _ in range(4):
            backend.reply(ask(), Sampling(seed=5))
        looked = len(server.requests) - len(server.chats())
        # After five idle seconds the connection is another: it is looked at, and once more where the name is another.
        assert looks <= looked <= looks + 2 * (len(ports) - 1)
        assert 4 + looks <= len(server.chats()) <= 4 + looked


@pytest.mark.parametrize(
    ("before", "after", "needs_sizes", "is_refused"),
    [
        ("vllm", "openai", True, True),
        ("virc", "library", True, True),
        ("vllm", "sglang", True, False),
        ("vllm", "openai", False, False),
        ("openai", "vllm", True, False),
    ],
)
def test_boxes_in_pixels_are_not_trusted_to_a_server_that_may_scale(
    before: str, after: str, needs_sizes: bool, is_refused: bool
) -> None:
    with serve([ANSWER], owned_by=before, models=[MODEL]) as server:
        backend = OpenAIBackend(server.url, max_retries=0)
        backend.needs_sizes = needs_sizes
        server.script.fault = gone
        with pytest.raises(NetworkError):
            backend.reply(ask(), Sampling())
        with at_the_same_port(server, owned_by=after, usage=False) as other:
            if is_refused:
                with pytest.raises(ConfigError, match="another server answers"):
                    backend.reply(ask(), Sampling())
                assert not other.chats()
            else:
                assert backend.reply(ask(), Sampling()).text == ANSWER


@pytest.mark.parametrize(
    "published",
    [
        {"factor": 28, "min_pixels": 9000, "max_pixels": 8000},
        {"factor": 7}, {"factor": "x"},
    ],
)  # fmt: skip
def test_sizes_of_pictures_that_cannot_be_are_refused(published: object) -> None:
    with (
        serve([ANSWER], extra={"virc_grid": published}) as server,
        pytest.raises(ConfigError, match="publishes image sizes that make no sense"),
    ):
        OpenAIBackend(server.url)
