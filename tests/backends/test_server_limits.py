"""Limits of tokens and bytes that servers name, and what is not trusted to another server at the same address."""

import io
import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from asks import ANSWER, ask
from PIL import Image
from support.called import virc
from support.faults import body, status
from support.servers import CHAT, MODEL, MODELS, Body, Exchange, Fault, Server, error, image_bytes, images_of, serve
from support.solving import CROP
from support.tables import each_case

from virc.backends.chat import ollama
from virc.backends.chat.backend import OpenAIBackend
from virc.backends.chat.causes import RefusedError, named_limit, shortened
from virc.backends.chat.providers import LimitKind
from virc.backends.interface import Sampling
from virc.core.errors import ConfigError, NetworkError
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Message


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


def test_an_empty_reply_that_a_full_context_cut_says_so() -> None:
    """As Ollama does, which cuts the prompt to its context less one token, behind a gateway."""
    fault = counted("", "length", 32767, 1)
    with pytest.raises(ConfigError, match=r"the context of .*, 32767 tokens, is full"):
        draw(fault, 200)
    assert draw(fault, 1).finish == "length"


def gone(exchange: Exchange) -> None:
    exchange.hang_up()


def at_the_same_port(before: Server, **options: Any) -> Any:
    before.die()
    return serve([ANSWER], port=before.server_address[1], **options)


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


def test_a_server_that_refuses_all_is_identified_once() -> None:
    refuses = status(400, "the prompt cannot be processed")
    with serve([ANSWER], fault=refuses, fault_on=CHAT, models=[MODEL]) as server:
        backend = OpenAIBackend(server.url)

        def listed_after(is_answered: bool) -> int:
            server.script.fault = None if is_answered else refuses
            for _ in range(3):
                with nullcontext() if is_answered else pytest.raises(ConfigError):
                    backend.reply(ask(), Sampling())
            return sum(request.path == MODELS for request in server.requests)

        assert [listed_after(is_answered) for is_answered in (False, True, False)] == [2, 2, 3]


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


def described(context: object) -> dict[str, Any]:
    return {"general.architecture": "qwen3vl", "qwen3vl.context_length": context, "llama.context_length": 99}


@pytest.mark.parametrize(
    ("shown", "running", "context"),
    [
        ({}, {}, 32_768),
        ({"model_info": described(8192)}, {}, 8192),
        ({"parameters": "num_ctx 65536", "model_info": described(40_960)}, {}, 40_960),
        ({}, {"models": [{"model": "m:latest", "context_length": 100_000}]}, 100_000),
        ({"model_info": described("many")}, {"models": "none"}, 32_768),
    ],
)
def test_the_context_asked_of_ollama_is_no_more_than_the_model_has(
    shown: dict[str, Any], running: dict[str, Any], context: int
) -> None:
    assert ollama.context_of(shown, running, "m") == context
    assert ollama.context_of(shown, running, "m", 4096) == 4096


def _with_side_limit(sentence: str, limit: int) -> Callable[[Exchange], None]:
    def refuse(exchange: Exchange) -> None:
        pictures = [Image.open(io.BytesIO(image_bytes(each))) for each in images_of(exchange.body or {})]
        if any(max(each.size) > limit for each in pictures):
            exchange.send_json(error(sentence), 400)
        else:
            exchange.complete(exchange.body or {})

    return refuse


SIDES = [
    ("image dimensions exceed max allowed size for many-image requests: 2000 pixels", 2000),
    ("Image dimensions 2400x1200 exceed the maximum of 2048x2048.", 2048),
    ("The image width must be less than or equal to 1024 px", 1024),
    ("image resolution 2400 x 1200 is too large, at most 1,568 pixels per side", 1568),
    ("invalid image: the longest side must be between 28 and 768 pixels, maximum 768", 768),
    ("Height or width of 2400 exceeds 896", 896),
    ("images must be at most 2000 pixels with several pictures", 2000),
    ("input size exceed limit 2048x2048,current input:(1080,2400)", 2048),  # ModelScope: zai-org/Open-AutoGLM#381
    ("图片尺寸超过限制 2048x2048，当前 2400x1200", 2048),
]


@each_case(("sentence", "limit"), SIDES)
def test_a_limit_of_pixels_a_side_is_obeyed(sentence: str, limit: int) -> None:
    large = Ask((Message("user", "What?", (0,)),), (Shown(Image.new("RGB", (2400, 1200))),))
    with serve([ANSWER], fault=_with_side_limit(sentence, limit), usage=False) as server:
        backend = OpenAIBackend(server.url)
        for _ in range(2):
            assert backend.reply(large, Sampling(max_tokens=4096)).text == ANSWER
        sizes = [Image.open(io.BytesIO(image_bytes(images_of(each)[0]))).size for each in server.chats()]
        tokens = {each["max_tokens"] for each in server.chats()}
    assert sizes == [(2400, 1200), (limit, limit // 2), (limit, limit // 2)]
    assert tokens == {4096}


def test_boxes_in_pixels_are_not_scaled_and_the_limit_is_named() -> None:
    large = Ask((Message("user", "What?", (0,)),), (Shown(Image.new("RGB", (2400, 1200))),))
    with serve([ANSWER], fault=_with_side_limit(*SIDES[0]), usage=False) as server:
        backend = OpenAIBackend(server.url)
        backend.needs_sizes = True
        with pytest.raises(ConfigError, match="takes no images of this size") as refused:
            backend.reply(large, Sampling())
    assert refused.value.hint == "the side is limited to 2000 pixels: --max-pixels 2000000"


LIMITS = yaml.safe_load(Path(__file__).with_name("limits.yaml").read_text("utf-8"))


@each_case("row", LIMITS)
def test_limits_are_read_in_the_words_of_servers(row: dict[str, Any]) -> None:
    """Each is one of its kind, and of no other that would make a request smaller."""
    kinds: tuple[LimitKind, ...] = ("context", "pictures", "side", "area", "bytes")
    found = {each: named_limit(each, row["said"], row.get("sent", math.inf)) for each in kinds}
    wanted = {row["kind"]: row["limit"]} if "kind" in row else {}
    assert {each: value for each, value in found.items() if value is not None} == wanted


@each_case(
    ("said", "room"),
    [
        (
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 138956 tokens (7884 "
            "of text input, 131072 in the output).",
            123_188,
        ),  # OpenRouter
        (
            "This model's maximum context length is 8192 tokens, however you requested 8977 tokens (977 in your "
            "prompt; 8000 for the completion).",
            7215,
        ),  # OpenAI
        ("#/maxTokens: 200000 is not less or equal to 4096, please reformat", 4096),  # Bedrock
        ("max_tokens: 200000 > 8192, which is the maximum allowed number of output tokens", 8192),  # Anthropic
        ("the supported range is from 1 (inclusive) to 65537 (exclusive)", 65_536),  # Vertex AI
    ],
)
def test_a_reply_gets_as_many_tokens_as_a_refusal_names(said: str, room: int) -> None:
    assert shortened(200_000, RefusedError("", None, said)) == room


@each_case(
    "said",
    [
        "Image exceeds the maximum allowed total pixels. Maximum allowed: 180000 pixels.",
        "Image too large. Please limit to 0.18 megapixels.",
        "image dimensions exceed max allowed size: 600 pixels",
    ],
)
def test_a_limit_of_pixels_is_obeyed_and_named_at_the_end(said: str, tmp_path: Path) -> None:
    Image.new("RGB", (1200, 600)).save(tmp_path / "a.png")

    def refuse(exchange: Exchange) -> None:
        pictures = [Image.open(io.BytesIO(image_bytes(each))) for each in images_of(exchange.body or {})]
        if any(math.prod(each.size) > 180_000 for each in pictures):
            exchange.send_json(error(said), 400)
        else:
            exchange.complete(exchange.body or {})

    words = ("--endpoint", "URL", "--protocol", "default", "--max-pixels", 1200 * 600, "--max-turns", 2)
    with serve(lambda _: CROP, fault=refuse, usage=False) as server:
        done = virc("solve", tmp_path / "a.png", "q", *(server.url if each == "URL" else each for each in words))
        (picture,) = images_of(server.chats()[1])
        assert 170_000 < math.prod(Image.open(io.BytesIO(image_bytes(picture))).size) <= 180_000
    assert done.code == 8
    assert said[:30] in done.err[done.err.index("error: ") :], done.err
