"""The likeness of texts by a server of embeddings: what it is asked, what is kept, and how it fails."""

import asyncio
import io
import math
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image
from support.faults import body, status
from support.servers import EMBEDDINGS, Body, Fault, Server, image_bytes, serve

from virc.core.errors import NetworkError
from virc.reasoning.images import Shown
from virc.rewards.judging import Judge, Verdict

ANGLES = {"cat": 0, "kitten": 10, "dog": 90, "void": 180}


def embed(text: str) -> Sequence[float]:
    """A direction in the plane."""
    angle = math.radians(ANGLES[text])
    return (2 * math.cos(angle), 2 * math.sin(angle))


def alike(url: str, *pairs: tuple[str, str | Shown], **options: Any) -> list[Verdict]:
    async def all_of_them() -> list[Verdict]:
        judge = Judge(url, **options)
        try:
            return await asyncio.gather(*(judge.similarity("near", one, other) for one, other in pairs))
        finally:
            judge.close()

    return asyncio.run(all_of_them())


def asked(server: Server) -> list[Body]:
    return [request.body for request in server.requests if request.path == EMBEDDINGS and request.body]


@pytest.mark.integration
def test_a_server_is_asked_for_each_text_in_floats() -> None:
    with serve(embed=embed, models=["text-embedding-small"]) as server:
        (near,) = alike(server.url, (" kitten\n", "cat"), api_key="secret")
        assert near.value == pytest.approx(math.cos(math.radians(10)))
        assert near.why == "a cosine of 0.985"
        texts = [{"model": "text-embedding-small", "input": text, "encoding_format": "float"} for text in ANGLES]
        assert asked(server) == [{**texts[at], "truncate_prompt_tokens": -1} for at in (1, 0)]  # of vLLM
        keys = [request.headers["authorization"] for request in server.requests if request.path == EMBEDDINGS]
        assert keys == ["Bearer secret"] * 2


@pytest.mark.integration
def test_a_server_is_asked_for_an_image_as_vllm_takes_it() -> None:
    image = Shown(Image.new("RGB", (56, 28), "red"))
    with serve(embed=lambda content: (1, 1) if isinstance(content, list) else (1, 0)) as server:
        assert alike(server.url, ("cat", image))[0].value == pytest.approx(math.sqrt(0.5))
        (part,) = asked(server)[1]["messages"][0]["content"]
        assert Image.open(io.BytesIO(image_bytes(part))).getpixel((0, 0)) == (255, 0, 0)
        assert "truncate_prompt_tokens" not in asked(server)[1]


@pytest.mark.integration
@pytest.mark.parametrize(
    "fault",
    [
        status(503), body(b"{}"), body(b'{"data": []}'), body(b'{"data": [{"embedding": []}]}'),
        body(b'{"data": [{"embedding": "AACAPw=="}]}'),
    ],
)  # fmt: skip
def test_a_failure_is_no_likeness_and_is_tried_again(fault: Fault) -> None:
    with serve(embed=embed, fault=fault, fault_on=EMBEDDINGS, times=2) as server:
        assert alike(server.url, ("cat", "cat"))[0].value == pytest.approx(1)
        assert len(asked(server)) == 4
    with serve(embed=embed, fault=fault, fault_on=EMBEDDINGS) as server, pytest.raises(NetworkError, match="no answer"):
        alike(server.url, ("cat", "cat"), patience=1.0)
