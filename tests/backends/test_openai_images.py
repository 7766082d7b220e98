"""Images that a server keeps by id: sent once, and again where it has lost them."""

import pytest
from asks import ANSWER, LOOK, ask, further
from support.faults import status
from support.servers import Body, Exchange, Server, error, images_of, serve

from virc.backends.interface import Sampling
from virc.backends.openai import images as openai_images
from virc.backends.openai.backend import OpenAIBackend
from virc.core.errors import ConfigError, NetworkError
from virc.core.timeouts import Deadline
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Message

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


def test_the_same_pixels_are_one_image_however_often_they_are_shown() -> None:
    twins = (FIRST.images[0], FIRST.images[0].repeated(0), Shown(FIRST.images[0].pixels.copy()))
    with serve([ANSWER], kept={}) as server:
        backend = OpenAIBackend(server.url)
        backend.reply(FIRST, GREEDY)
        backend.reply(Ask((Message("user", "q", (0, 1, 2)),), twins), GREEDY)
        assert sent(server) == [[True], [False, False, False]]


def test_two_clients_name_one_image_differently_so_that_none_can_guess_the_others_ids() -> None:
    with serve([ANSWER], kept={}) as server:
        for _ in range(2):
            OpenAIBackend(server.url).reply(FIRST, GREEDY)
        assert sent(server) == [[True], [True]]
        assert server.script.kept is not None
        assert len(server.script.kept) == 2
        assert not any(FIRST.images[0].digest.hex()[:16] in id for id in server.script.kept)


@pytest.mark.parametrize("extra", [{}, {"virc_image_ids": "yes"}])
def test_other_servers_get_no_ids(extra: dict[str, object]) -> None:
    with serve([LOOK, ANSWER], extra=extra) as server:
        backend = OpenAIBackend(server.url)
        backend.reply(FIRST, GREEDY)
        backend.reply(SECOND, GREEDY)
        assert sent(server) == [[True], [True, True]]
        assert not any("uuid" in image for body in server.chats() for image in images_of(body))


def test_what_the_server_has_lost_is_sent_again_at_once() -> None:
    with serve([LOOK, ANSWER], kept={}) as server:
        backend = OpenAIBackend(server.url)
        backend.reply(FIRST, GREEDY)
        assert server.script.kept is not None
        server.script.kept.clear()
        assert backend.reply(SECOND, GREEDY).text == ANSWER
        assert backend.reply(SECOND, GREEDY).text == ANSWER
        assert sent(server) == [[True], [False, True], [True, True], [False, False]]


class Forgetful(dict[str, Body]):
    """Keeps nothing."""

    def __setitem__(self, id: str, image: Body) -> None:
        pass


def test_a_server_that_keeps_nothing_is_sent_everything_at_once_after_some_misses() -> None:
    most = openai_images.MAX_MISSES
    with serve([ANSWER], kept=Forgetful()) as server:
        backend = OpenAIBackend(server.url)
        for _ in range(most + 3):
            assert backend.reply(FIRST, GREEDY).text == ANSWER
        assert sent(server) == [[True], *([[False], [True]] * most), [True], [True]]
        assert not any("uuid" in image for body in server.chats()[-2:] for image in images_of(body))


def test_a_miss_of_what_was_sent_is_the_refusal_that_it_is() -> None:
    fault = status(400, "Cache miss for image at index 0 but data is not provided.")
    with serve([ANSWER], kept={}, fault=fault) as server:
        backend = OpenAIBackend(server.url)
        with pytest.raises(ConfigError, match="refuses the request"):
            backend.reply(FIRST, GREEDY)
        assert sent(server) == [[True]]
        server.script.fault = None
        backend.reply(FIRST, GREEDY)
        server.script.fault = fault
        with pytest.raises(ConfigError, match="refuses the request"):
            backend.reply(FIRST, GREEDY)
        assert sent(server) == [[True], [True], [False], [True]]


def test_the_time_of_a_reply_holds_for_both_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost_and_slow(exchange: Exchange) -> None:
        if len(exchange.server.chats()) > 2:
            exchange.server.stopping.wait(60)
            return
        monkeypatch.setattr(Deadline, "left", lambda _: 0.3)  # of the 60 s
        exchange.send_json(error("Cache miss for image at index 0 but data is not provided."), 400)

    with serve([ANSWER], kept={}) as server:
        backend = OpenAIBackend(server.url)
        backend.reply(FIRST, GREEDY)
        server.script.fault = lost_and_slow
        with pytest.raises(NetworkError, match="no whole answer in 60 s"):
            backend.reply(FIRST, GREEDY, seconds=60)
        assert sent(server)[:2] == [[True], [False]]
