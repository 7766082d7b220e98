"""Requests are sent from pieces: each picture as it was encoded once, in its own format."""

import io
from typing import Any

import pytest
from asks import ANSWER
from PIL import Image
from support.faults import status
from support.servers import Body, image_bytes, images_of, serve
from support.solving import answer, call

from virc.backends.interface import Sampling
from virc.backends.openai import request
from virc.backends.openai.backend import OpenAIBackend
from virc.reasoning.bodies import Called as Written
from virc.reasoning.images import Shown, open_file
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Ask, Called, Message
from virc.solving.one import SolveConfig, solve

GREEDY = Sampling()
TEXT = 'Is "1 < 2"\n and \\ or \u2028 ∠ 文 in it?'


def noise(side: int) -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((side, side), 90)] * 3)


def file(image: Image.Image, kind: str) -> bytes:
    to = io.BytesIO()
    image.save(to, kind)
    return to.getvalue()


@pytest.mark.parametrize("kept", [None, {}], ids=["all data each turn", "images by their ids"])
def test_a_request_that_is_sent_again_is_the_same_and_says_its_length(kept: dict[str, Body] | None) -> None:
    shown = Shown(noise(560))
    ask = Ask((Message("system", TEXT), Message("user", TEXT, (0, 0))), (shown,))
    assert len(shown.png) > 2**18
    with serve([ANSWER], fault=status(503), times=1, kept=kept) as server:
        assert OpenAIBackend(server.url).reply(ask, GREEDY).text == ANSWER
        first, second = server.chats()
        heads = [request.headers for request in server.requests if request.body]
    assert first == second
    assert [image_bytes(part) for part in images_of(first)] == [shown.png] * 2
    assert first["messages"][0]["content"] == TEXT
    assert first["messages"][1]["content"][2] == {"type": "text", "text": TEXT}
    assert not any("transfer-encoding" in head for head in heads)
    assert shown.encodings == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_that_is_shown_as_it_is_is_sent_as_its_own_file(kind: str, own: Protocol) -> None:
    data = file(noise(112), kind)
    crop = call("crop_image", bbox_2d=[0, 0, 84, 84], image_index=0)
    again = call("crop_image", bbox_2d=[0, 0, 56, 56], image_index=1)
    with serve([crop, again, answer("1")], usage=False) as server:
        backend = OpenAIBackend(server.url)
        (attempt,) = solve(SolveConfig(), backend, own, [open_file(data, "it")], "How many?").attempts
        sent = [image_bytes(part) for part in images_of(server.chats()[-1])]
    assert sent[0] == data  # Pillow writes no metadata
    assert [Image.open(io.BytesIO(each)).format for each in sent] == [kind] * 3
    assert [Image.open(io.BytesIO(each)).tobytes() for each in sent] == [
        shown.pixels.tobytes() for shown in attempt.images
    ]
    assert [shown.encodings for shown in attempt.images] == [0, 1, 1]


CALL = Written("crop_image", {"a": 1})
OWN_CALL = {"id": "own-1", "type": "function", "function": {"name": "crop", "arguments": '{"a":1}'}, "x": {"signed": 1}}


def called(*results: str, calls: tuple[Written, ...] = (CALL,), message: dict[str, Any] | None = None) -> list[Any]:
    """What a server is sent of a turn of its model that called tools."""
    turn = Called("Well.", calls, results, message)
    return list(request._calling(3, turn))


def test_a_call_that_a_server_made_goes_back_as_it_was() -> None:
    message = {"role": "assistant", "content": None, "reasoning": "I look.", "tool_calls": [OWN_CALL]}
    turn, result = called("Image 1.", message=message)
    assert turn == message
    assert result == {"role": "tool", "tool_call_id": "own-1", "content": "Image 1."}


@pytest.mark.parametrize(
    ("arguments", "sent"), [('{"a":1}', '{"a":1}'), ('{"a":1', '{"a": 1}'), ("[1]", '{"a": 1}'), ("", '{"a": 1}')]
)
def test_arguments_that_were_mended_go_back_mended(arguments: str, sent: str) -> None:
    own = {**OWN_CALL, "function": {"name": "crop", "arguments": arguments}}
    turn, _ = called("Image 1.", message={"content": "", "tool_calls": [own]})
    assert turn["tool_calls"] == [{**own, "function": {"name": "crop", "arguments": sent}}]


def test_calls_without_ids_get_some_of_nine_letters_and_digits() -> None:
    """As Mistral's API wants them; each result names its own."""
    turn, first, second = called("", "No.", calls=(CALL, CALL))
    ids = [each["id"] for each in turn["tool_calls"]]
    assert [each["tool_call_id"] for each in (first, second)] == ids
    later = [each["id"] for each in next(request._calling(4, Called("", (CALL, CALL), ("", ""))))["tool_calls"]]
    assert len({*ids, *later}) == 4
    assert all(len(each) == 9 and each.isalnum() for each in ids)
    assert [first["content"], second["content"]] == [request.RESULT, "No."]  # servers refuse an empty one
    assert turn["content"] == "Well."


def test_calls_that_were_not_carried_out_do_not_go_back() -> None:
    message = {"content": "", "tool_calls": [OWN_CALL, {**OWN_CALL, "id": "own-2"}]}
    turn, result = called("Image 1.", message=message)
    assert [each["id"] for each in turn["tool_calls"]] == [result["tool_call_id"]] == ["own-1"]
