"""The published sample, its recorded replies served over HTTP and solved through Session."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.replay import Recorded, read_conversation
from support.servers import image_bytes, serve

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.interface import Sampling
from virc.reasoning.images import open_image
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Done, Session
from virc.tools.registry import known


def recorded_chat_protocol(messages: list[Recorded]) -> tuple[Protocol, str]:
    """The recording's turn sentences as templates, and its question; it holds no system message."""
    first, later = messages[0].content, messages[2].content
    found = re.search(r"Question: (.+)\n\n", first)
    size = r"\d+ x \d+"
    assert found
    head, question = first.partition("\n")[0], found[1]
    template = first.replace(head, "{images}").replace(question, "{question}")
    after = re.sub(r"Image \d+: " + size, "Image {index}: {width} x {height}", later)
    line = re.sub(r"Image \d+: " + size, "Image {index}: {width} x {height}", head)
    return Protocol("Tools: crop_image.", template, line, after, after), question


@pytest.fixture(scope="module")
def solved(sample: Path) -> tuple[Session, list[dict[str, Any]], list[Recorded]]:
    """The finished session, the requests the server got, and the recording."""
    recording = read_conversation(sample / "conversation.json")
    protocol, question = recorded_chat_protocol(recording)
    session = Session(protocol, question, [open_image(sample / "image.png", "image.png")], tools=known())
    with serve([m.content for m in recording if m.role == "assistant"]) as server:
        backend = OpenAIBackend(server.url)
        while not isinstance(step := session.next(), Done):
            session.feed(backend.reply(step, Sampling()))
        backend.close()
        return session, server.chats(), recording


def test_the_sample_is_answered_with_97(solved: Any) -> None:
    trace = solved[0].trace()
    assert trace.answer == "97"
    assert [unit.call.name if unit.call else None for unit in trace.units] == ["crop_image", "crop_image", None]
    assert [unit.deviations for unit in trace.units] == [(), (), ()]


def test_every_turn_says_what_the_recording_says_sizes_included(solved: Any) -> None:
    _, requests, recording = solved
    said = [
        m["content"] if isinstance(m["content"], str) else m["content"][-1]["text"]
        for m in requests[-1]["messages"][1:]
    ]
    assert said == [message.content for message in recording[:-1]]


def test_the_server_is_sent_every_image_at_the_recorded_size(solved: Any, sample: Path) -> None:
    session, requests, _ = solved
    users = [m["content"] for m in requests[-1]["messages"] if m["role"] == "user"]
    assert [image_bytes(content[0]) for content in users] == [shown.png for shown in session.images]
    sizes = [Image.open(sample / f"image-{index}.png").size for index in range(3)]
    assert [shown.size for shown in session.images] == sizes == [(336, 252), (336, 252), (168, 56)]
