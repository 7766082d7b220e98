"""Texts that come in pieces, keys in texts, and tokens as servers count them."""

import pytest
from support.servers import Exchange, piece, serve

from virc.backends.interface import Sampling
from virc.backends.openai.backend import OpenAIBackend
from virc.backends.openai.client import hidden
from virc.backends.openai.received.texts import Text, harmony
from virc.backends.prompt_count import PromptCounts
from virc.core.errors import EngineError
from virc.reasoning.session import Reply

from asks import ask  # isort: skip


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("The", " number", " is 42"), "The number is 42"),
        (("The", "The number", "The number is 42"), "The number is 42"),
        (("4", "42", "42"), "42"),
        (("The number ", "is 42, ", "The number is 42, "), "The number is 42, "),
        (("1", "1", "1"), "111"),
        (("1", "10", "0 cats"), "1100 cats"),
        (("\n", "\nThe", " end"), "\n\nThe end"),
        (("no, ", "no, ", "no, ", "no, "), "no, no, no, no, "),
        (("I see a black cat. ",) * 3, "I see a black cat. " * 3),
    ],
)
def test_pieces_are_parts_or_whole_texts(pieces: tuple[str, ...], text: str) -> None:
    gathered = Text()
    for each in pieces:
        gathered.add(each)
    assert gathered.whole == text
    assert gathered.size == sum(map(len, [text]))


@pytest.mark.parametrize(("pieces", "whole"), [(("1", "10"), "110"), (("4", "42"), "42"), (("4", "4"), "44")])
def test_pieces_that_can_be_read_in_two_ways_are_asked_for_as_a_whole(pieces: tuple[str, str], whole: str) -> None:
    def answer(exchange: Exchange) -> None:
        assert exchange.body is not None
        if not exchange.body.get("stream"):
            message = {"role": "assistant", "content": whole}
            exchange.send_json({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
            return
        exchange.start_events()
        for each in pieces:
            exchange.send_event(piece(each))
        exchange.send_event(piece("", "stop"))
        exchange.send_chunk(b"")

    with serve(fault=answer) as server:
        assert OpenAIBackend(server.url).reply(ask(), Sampling()).text == whole
        assert len(server.chats()) == 2


def test_channels_are_told_apart() -> None:
    said = harmony(
        "<|channel|>analysis<|message|>I look.<|end|>"
        "<|start|>assistant to=functions.crop_image<|channel|>commentary json"
        '<|message|>{"image_index": 0}<|call|><|start|>assistant<|channel|>final<|message|>42<|return|>'
    )
    assert said is not None
    assert (said.thought, said.text) == ("I look.", "42")
    assert [(call.name, call.arguments) for call in said.calls] == [("crop_image", '{"image_index": 0}')]
    assert harmony("the final channel") is None
    assert harmony("analysis of the assistant's final answer") is None


SECRET = "sk-proj-a/B+c=4f1d9c0e77"


@pytest.mark.parametrize(
    ("key", "text", "masked"),
    [
        ("a", "a task at last: 'a'", "*** task at last: '***'"),
        ("sk", "the task asks sk-12 and sk_1, not sk.", "the task asks sk-12 and sk_1, not ***."),
        ("openai", "see platform.openai.com, key openai", "see platform.openai.com, key ***"),
        ("token-abc123", "wrong key 'token-abc123', \"token-abc123\"!", "wrong key '***', \"***\"!"),
        ("token-abc123", "密钥token-abc123无效", "密钥***无效"),
        ("token-abc123", "Bearer token-abc123\nx", "Bearer ***\nx"),
        (SECRET, f"key={SECRET}&x", "key=***&x"),
        (SECRET, "key=sk-proj-a%2FB%2Bc%3D4f1d9c0e77&x sk-proj-a%2fB%2bc%3d4f1d9c0e77", "key=***&x ***"),
        (SECRET, '"sk-proj-a\\/B+c=4f1d9c0e77"', '"***"'),
        (SECRET, f"xx{SECRET}yy", "xx***yy"),
        ('q"1&', 'k q\\"1& q&quot;1&amp; q"1&', "k *** *** ***"),
        ("", "nothing", "nothing"),
    ],
)
def test_a_key_is_hidden_as_a_whole_word(key: str, text: str, masked: str) -> None:
    assert hidden(text, key) == masked


def test_cached_tokens_count_as_read() -> None:
    step = ask("What is it? " + "word " * 2000)
    with pytest.raises(EngineError, match="dropped part of the conversation"):
        PromptCounts(images=False).check(step, Reply("42", prompt_tokens=400), "it")
    PromptCounts(images=False).check(step, Reply("42", prompt_tokens=400), "it", cached=2000)
