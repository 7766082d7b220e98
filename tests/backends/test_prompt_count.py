"""The check that a server read the whole conversation."""

import re
from collections.abc import Callable

import pytest
from asks import ANSWER, LOOK, ask, further
from support.servers import serve

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.interface import Sampling
from virc.backends.prompt_count import PromptCounts
from virc.core.errors import EngineError
from virc.reasoning.session import Ask, Reply

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


def test_a_server_that_drops_the_picture_or_the_beginning_is_found_out() -> None:
    first = ask(size=(560, 560))
    with pytest.raises(EngineError, match="the server dropped part of the conversation"):
        PromptCounts(images=True).check(first, Reply(ANSWER, prompt_tokens=honest(28)(first) - 400), "it")
    with pytest.raises(EngineError, match="the server dropped part of the conversation"):
        converse(PromptCounts(images=True), lambda step: min(honest(28)(step), 1000), ask(size=(448, 336)))


def test_a_truncating_server_is_found_out_with_a_hint_for_ollama_and_vllm() -> None:
    with serve([LOOK, ANSWER], keep=1, owned_by="organization_owner") as server:
        backend = OpenAIBackend(server.url)
        first = ask(size=(560, 560))
        said = backend.reply(first, GREEDY).text
        with pytest.raises(EngineError, match="dropped part") as raised:
            backend.reply(further(first, said), GREEDY)
    assert "num_ctx" in str(raised.value.hint)
    assert "--max-model-len" in str(raised.value.hint)
