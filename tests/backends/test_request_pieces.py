"""Requests are sent from pieces: each picture as it was encoded once; a server that keeps pictures gets their ids."""

import gc
import io
import threading
from weakref import WeakSet

import pytest
from asks import ANSWER, LOOK, ask, further
from PIL import Image
from support.faults import status
from support.servers import Body, Server, image_bytes, images_of, serve
from support.solving import answer, call

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.chat.images import Pieces
from virc.backends.chat.request import offered
from virc.backends.interface import Sampling
from virc.reasoning.images import Shown, open_file
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Ask, Message
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


@pytest.mark.parametrize("strict", [False, True])
def test_tools_are_offered_open_but_to_strict_hosts(strict: bool) -> None:
    (sent,) = offered([{"function": {"strict": strict, "parameters": {"additionalProperties": False}}}])
    assert ("additionalProperties" in sent["function"]["parameters"]) == strict


def test_an_answered_request_is_freed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    requests, before = WeakSet[Pieces](), {*threading.enumerate()}

    def noted(body: Body) -> Pieces:
        requests.add(made := Pieces(body))
        return made

    monkeypatch.setattr("virc.backends.chat.link.Pieces", noted)
    gc.disable()
    try:
        with serve([ANSWER]) as server:
            assert OpenAIBackend(server.url).reply(ask(), GREEDY).text == ANSWER
        for thread in {*threading.enumerate()} - before:
            if thread.name.endswith("(run)"):  # of `within`
                thread.join(60)
        assert not requests
    finally:
        gc.enable()


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


GREEDY = Sampling()


FIRST = ask()


SECOND = further(FIRST, LOOK)


def sent(server: Server) -> list[list[bool]]:
    """Of every request so far, whether each image came with its data."""
    return [[bool(image["image_url"]) for image in images_of(body)] for body in server.chats()]


def test_an_image_is_sent_once_and_named_by_its_id_from_then_on() -> None:
    with serve([LOOK, ANSWER], kept={}) as server:
        backend = OpenAIBackend(server.url)
        for _ in range(2):
            assert backend.reply(FIRST, GREEDY).text == LOOK
            assert backend.reply(SECOND, GREEDY).text == ANSWER
        assert sent(server) == [[True], [False, True], [False], [False, False]]
        ids = [[image["uuid"] for image in images_of(body)] for body in server.chats()]
    assert ids[1] == ids[3]
    assert len(set(ids[1])) == 2
    assert [shown.encodings for shown in SECOND.images] == [1, 1]


def test_two_clients_name_one_image_differently_so_that_none_can_guess_the_others_ids() -> None:
    with serve([ANSWER], kept={}) as server:
        for _ in range(2):
            OpenAIBackend(server.url).reply(FIRST, GREEDY)
        assert sent(server) == [[True], [True]]
        assert server.script.kept is not None
        assert len(server.script.kept) == 2
        assert not any(FIRST.images[0].digest.hex()[:16] in id for id in server.script.kept)


def test_what_the_server_has_lost_is_sent_again_at_once() -> None:
    with serve([LOOK, ANSWER], kept={}) as server:
        backend = OpenAIBackend(server.url)
        backend.reply(FIRST, GREEDY)
        assert server.script.kept is not None
        server.script.kept.clear()
        assert backend.reply(SECOND, GREEDY).text == ANSWER
        assert backend.reply(SECOND, GREEDY).text == ANSWER
        assert sent(server) == [[True], [False, True], [True, True], [False, False]]
