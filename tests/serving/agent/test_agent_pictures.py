"""What pictures cost an agent endpoint: refused, waited for, given up with their client, and measured."""

import base64
from typing import Any

import pytest
from agent_server import scripted
from support.costly_pictures import COSTLY, held_now

from benchmarks import pixels
from virc.core.limits.image_memory import IMAGE_MEMORY, SETTING
from virc.reasoning.opening.decoder import DECODER


def part(data: bytes) -> dict[str, Any]:
    """A picture in a message."""
    return {"type": "image_url", "image_url": {"url": f"data:image/any;base64,{base64.b64encode(data).decode()}"}}


@pytest.fixture(autouse=True)
def one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 1 MiB, which a picture of 250 x 250 px takes half of."""
    monkeypatch.setenv(SETTING, "1")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that were held whenever a picture was decoded."""
    found: list[int] = []
    decoded = DECODER.decoded

    def watched(*words: Any) -> Any:
        found.append(IMAGE_MEMORY.held)
        return decoded(*words)

    held_now()  # forgets what other tests left
    monkeypatch.setattr(DECODER, "decoded", watched)
    return found


@pytest.mark.parametrize("name", ["webp that fits", "png of two headers"])
def test_a_picture_that_never_fits_gets_413_with_the_numbers(name: str) -> None:
    with scripted() as running:
        status, answer = running.ask("?", part(COSTLY[name]()))
        assert running.behind.chats() == []
    assert status == 413
    assert answer["error"]["message"].startswith("image 0 has 9,900 x 9,900 px, which take ")
    assert answer["error"]["message"].endswith(" MiB of memory to decode; at most 1 MiB are used")


@pytest.mark.integration
@pytest.mark.parametrize("leaving", [False, True])
@pytest.mark.parametrize("size", [pixels.HUGE, pixels.FITTING])
def test_twelve_requests_take_no_more_memory_than_is_promised(
    size: tuple[int, int], leaving: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SETTING)
    idle, most, statuses = pixels.peak("llamacpp", 12, pixels.body(size), leaving)
    assert most - idle < pixels.PROMISE
    assert leaving or statuses == ({413: 12} if size == pixels.HUGE else {200: 12})
