"""Texts that come in pieces, keys in texts, and tokens as servers count them."""

import pytest
from support.servers import Exchange, piece, serve

from virc.backends.interface import Sampling
from virc.backends.openai.backend import OpenAIBackend
from virc.backends.openai.client import hidden

from asks import ask  # isort: skip


@pytest.mark.parametrize(("pieces", "whole"), [(("1", "10"), "110"), (("4", "42"), "42")])
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


SECRET = "sk-proj-a/B+c=4f1d9c0e77"


@pytest.mark.parametrize(
    ("key", "text", "masked"),
    [
        ("sk", "the task asks sk-12 and sk_1, not sk.", "the task asks sk-12 and sk_1, not ***."),
        ("token-abc123", "Bearer token-abc123\nx", "Bearer ***\nx"),
        (SECRET, "key=sk-proj-a%2FB%2Bc%3D4f1d9c0e77&x sk-proj-a%2fB%2bc%3d4f1d9c0e77", "key=***&x ***"),
        (SECRET, f"xx{SECRET}yy", "xx***yy"),
        ('q"1&', 'k q\\"1& q&quot;1&amp; q"1&', "k *** *** ***"),
    ],
)
def test_a_key_is_hidden_as_a_whole_word(key: str, text: str, masked: str) -> None:
    assert hidden(text, key) == masked
