"""The check that a server read the whole conversation."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from asks import ANSWER, LOOK, ask, further
from PIL import Image
from support.faults import body
from support.servers import Fault, serve

from virc.backends.interface import Sampling
from virc.backends.openai.backend import OpenAIBackend
from virc.backends.prompt_count import PromptCounts
from virc.core.errors import EngineError
from virc.families import registry as families
from virc.reasoning.session import Ask, Reply, Session
from virc.tools.registry import known

GREEDY = Sampling()
Count = Callable[[Ask], int]
LONG_LOOK = LOOK.replace("I look closer", "I look closer because " + "the label is small and blurred, " * 60)


def words(text: str) -> int:
    return len(re.findall(r" ?\w{1,5}|[^\w\s]|\s+", text))


def honest(side: int, thoughts: bool = True) -> Count:
    """A server that counts all, one token per `side` x `side` px; some templates drop earlier `thoughts`."""

    def count(step: Ask) -> int:
        texts = [m.text if thoughts or m.role == "user" else m.text.rpartition("</think>")[2] for m in step.messages]
        images = [step.images[index] for message in step.messages for index in message.images]
        return sum(map(words, texts)) + sum(image.width * image.height // side**2 for image in images)

    return count


def converse(counts: PromptCounts, count: Count, first: Ask, turns: int = 6) -> None:
    step = first
    for _ in range(turns):
        counts.check(step, Reply(LONG_LOOK, prompt_tokens=count(step), completion_tokens=words(LONG_LOOK)), "it")
        step = further(step, LONG_LOOK, "Go on; look again wherever that helps.", (448, 336))


@pytest.mark.parametrize("count", [honest(28), honest(32, thoughts=False)])
@pytest.mark.parametrize("size", [(28, 28), (2800, 1400)])
def test_a_server_that_reads_all_is_never_accused(count: Count, size: tuple[int, int]) -> None:
    converse(PromptCounts(images=True), count, ask("What is it? " + "- " * 50, size))


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("told", [1, 60])
def test_a_count_that_no_prompt_can_have_is_of_something_else(told: int, native: bool) -> None:
    protocol = families.protocol(families.get("qwen3-vl"), native=native)
    session = Session(protocol, "What does it say?", [Image.new("RGB", (640, 480))], tools=known())
    with serve([ANSWER], owned_by="", fault=counted(told)) as server:
        first = session.next()
        assert isinstance(first, Ask)
        assert OpenAIBackend(server.url).reply(first, GREEDY).text == ANSWER


def counted(told: int) -> Fault:
    """A whole completion with this count of its prompt."""
    choice = {"index": 0, "message": {"content": ANSWER}, "finish_reason": "stop"}
    return body(json.dumps({"choices": [choice], "usage": {"prompt_tokens": told}}).encode())


def test_a_first_prompt_whose_image_was_dropped_is_an_engine_error() -> None:
    first = ask(size=(560, 560))
    read = honest(28)(first)
    with pytest.raises(EngineError, match="the server dropped part of the conversation"):
        PromptCounts(images=True).check(first, Reply(ANSWER, prompt_tokens=read - 400), "it")
    PromptCounts(images=False).check(first, Reply(ANSWER, prompt_tokens=read - 400), "it")


def test_a_prompt_that_grew_and_is_counted_shorter_is_an_engine_error_for_any_model() -> None:
    counts = PromptCounts(images=False)
    first = ask()
    counts.check(first, Reply(LOOK, prompt_tokens=1000), "it")
    with pytest.raises(EngineError):
        counts.check(further(first, LOOK), Reply(ANSWER, prompt_tokens=700), "it")


def test_a_context_that_is_full_and_slides_is_found_within_a_few_turns() -> None:
    with pytest.raises(EngineError):
        converse(PromptCounts(images=True), lambda step: min(honest(28)(step), 1000), ask(size=(448, 336)))


def test_conversations_do_not_mix_though_they_run_at_once() -> None:
    counts = PromptCounts(images=True)

    def run(number: int) -> None:
        size = (28 * (1 + number % 40), 280)
        converse(counts, honest(28), ask(f"question {number} " * (number % 7 + 1), size))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(100)))


def test_a_truncating_server_is_found_out_with_a_hint_for_ollama_and_vllm() -> None:
    with serve([LOOK, ANSWER], keep=1, owned_by="organization_owner") as server:
        backend = OpenAIBackend(server.url)
        first = ask(size=(560, 560))
        said = backend.reply(first, GREEDY).text
        with pytest.raises(EngineError, match="dropped part") as raised:
            backend.reply(further(first, said), GREEDY)
    assert "num_ctx" in str(raised.value.hint)
    assert "--max-model-len" in str(raised.value.hint)


def test_a_model_that_has_phrases_as_tokens_is_not_accused() -> None:
    """As `tiny`, behind a real MLX-VLM: 111 tokens for a picture of 252 x 252 px and 122 words."""
    counts, first = PromptCounts(images=True), ask("one two " * 58, (252, 252))
    counts.check(first, Reply(LOOK, prompt_tokens=111), "it")
    with pytest.raises(EngineError):
        counts.check(further(first, LOOK), Reply(ANSWER, prompt_tokens=60), "it")


@pytest.mark.parametrize(("owner", "counted"), [("vllm", False), ("", True)])
def test_servers_that_refuse_what_is_too_long_are_not_counted(owner: str, counted: bool) -> None:
    """All four give the same counts, of the last message alone."""
    with serve([LOOK, ANSWER], keep=1, owned_by=owner) as server:
        backend, first = OpenAIBackend(server.url), ask(size=(560, 560))
        replies = [backend.reply(first, GREEDY)]
        second = further(first, replies[0].text)
        if counted:
            with pytest.raises(EngineError, match="dropped part"):
                backend.reply(second, GREEDY)
        else:
            replies.append(backend.reply(second, GREEDY))
            first_tokens, second_tokens = (reply.prompt_tokens or 0 for reply in replies)
            assert replies[1].text == ANSWER
            assert 0 < second_tokens < first_tokens  # which it would be accused of
        assert len(server.chats()) == 2
