"""Servers that take no more than so many bytes: pictures are sent in fewer, as large as they must be shown."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from asks import ANSWER
from PIL import Image
from support.servers import Body, Exchange, Server, error, image_bytes, images_of, serve

from virc.backends.interface import Sampling
from virc.backends.openai.backend import OpenAIBackend
from virc.backends.openai.refusals import bytes_allowed
from virc.core.errors import ConfigError
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Message

SIZE = (560, 420)


def noisy(count: int = 1, size: tuple[int, int] = SIZE) -> Ask:
    """Pictures that compress badly: some 300 KB each as base64 of a PNG."""
    images = tuple(Shown(Image.effect_noise(size, 40 + at).convert("RGB")) for at in range(count))
    return Ask((Message("user", "What is this?", tuple(range(count))),), images)


def urls(body: Body) -> list[int]:
    return [len(image["image_url"]["url"]) for image in images_of(body)]


def limited(most: int, said: str, total: bool = False, status: int = 400) -> Callable[[Exchange], None]:
    """A server that refuses pictures, or all of them together, over `most` bytes."""

    def answer(exchange: Exchange) -> None:
        assert exchange.body is not None
        sizes = urls(exchange.body)
        if (sum(sizes) if total else max(sizes)) > most:
            exchange.send_json(error(said), status)
        else:
            exchange.send_events(ANSWER, None)

    return answer


def shown(server: Server) -> list[tuple[int, int]]:
    """The sizes in pixels of the pictures of the last request."""
    return [Image.open(io.BytesIO(image_bytes(image))).size for image in images_of(server.chats()[-1])]


@pytest.mark.parametrize(
    ("most", "said", "status"),
    [
        (200_000, "image exceeds 0.2 MB maximum: 640000 bytes > 200000 bytes", 400),
        (153_600, "Image too large: maximum is 150 KiB", 413),
    ],
)
def test_a_picture_over_the_limit_is_sent_in_fewer_bytes(most: int, said: str, status: int) -> None:
    with serve(fault=limited(most, said, status=status)) as server:
        backend = OpenAIBackend(server.url)
        assert backend.reply(noisy(), Sampling()).text == ANSWER
        assert len(server.chats()) == 2
        assert shown(server) == [SIZE]
        assert backend.reply(noisy(), Sampling()).text == ANSWER
        assert len(server.chats()) == 3  # the limit is known from then on


def test_a_limit_of_a_request_is_shared_by_its_pictures() -> None:
    said = "Request payload size exceeds the limit: 400000 bytes."
    with serve(fault=limited(400_000, said, total=True)) as server:
        assert OpenAIBackend(server.url).reply(noisy(3), Sampling()).text == ANSWER
        assert shown(server) == [SIZE] * 3


def test_a_picture_is_scaled_down_where_its_size_may_change() -> None:
    fault = limited(12_000, "image exceeds 12 KB")
    with serve(fault=fault) as server:
        assert OpenAIBackend(server.url).reply(noisy(), Sampling()).text == ANSWER
        assert shown(server)[0] < SIZE
    with serve(fault=fault) as server:
        backend = OpenAIBackend(server.url)
        backend.needs_sizes = True
        with pytest.raises(ConfigError, match="takes no images of this size") as raised:
            backend.reply(noisy(), Sampling())
        assert raised.value.hint == f"send smaller images: --max-pixels {SIZE[0] * SIZE[1] // 2}"


def test_a_server_that_refuses_whatever_is_sent_is_not_asked_for_ever() -> None:
    with serve(fault=lambda exchange: exchange.send_json(error("image exceeds 200000 bytes"), 413)) as server:
        with pytest.raises(ConfigError, match="takes no images of this size"):
            OpenAIBackend(server.url).reply(noisy(), Sampling())
        assert len(server.chats()) <= 3


@pytest.mark.parametrize(
    ("said", "status", "side", "rounds"), [("image exceeds the maximum of 30000 bytes", 413, 168, 2), ("", 413, 224, 3)]
)
def test_what_requests_under_way_together_are_refused_is_learnt_once(
    said: str, status: int, side: int, rounds: int
) -> None:
    together, at_once = threading.Barrier(4), limited(30_000, said, status=status)

    def answer(exchange: Exchange) -> None:
        together.wait(20)
        at_once(exchange)

    with serve(fault=answer) as server, ThreadPoolExecutor(4) as pool:
        backend = OpenAIBackend(server.url)
        asked = [noisy(size=(side, side)) for _ in range(4)]
        assert [reply.text for reply in pool.map(lambda each: backend.reply(each, Sampling()), asked)] == [ANSWER] * 4
        assert len(server.chats()) == 4 * rounds
        assert min(map(max, map(urls, server.chats()))) > 8000


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ("image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes", (5_000_000, False)),
        ("Request payload size exceeds the limit: 20971520 bytes.", (20_971_520, True)),
        ("request entity too large, limit: 102400", (102_400, True)),
        ("image dimensions exceed max allowed size: 8000 pixels", None),
        ("Rate limit 30000 tokens per min, Limit: 30000 tokens", None),
        ("it read 5242880 bytes", None),
    ],
)
def test_limits_of_bytes_are_read(said: str, allowed: tuple[int, bool] | None) -> None:
    assert bytes_allowed(said) == allowed
