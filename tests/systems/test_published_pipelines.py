"""The pipelines of published systems, through `virc solve --pipeline` and a scripted server for each role: each role is
sent what the published functions make of the same question and replies. What was tried is recorded.

A file has the replies of each role in their order, and of each request the digests of its messages and its images.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image
from support import tested
from support.called import virc
from support.servers import Body, images_of, serve

from virc.systems import registry as systems
from virc.systems.catalog import support as state

FOLDER = Path(__file__).parent / "pipelines"
NAMES = sorted(file.stem for file in FOLDER.glob("*.json"))


def sent(body: Body) -> list[str]:
    """The texts of the messages that a role was sent."""
    contents = [message["content"] for message in body["messages"]]
    return [each if isinstance(each, str) else "".join(part.get("text", "") for part in each) for each in contents]


def digests(body: Body) -> list[str]:
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in sent(body)]


def script(sent: Sequence[Sequence[str]], replies: Sequence[str]) -> Callable[[Body], str]:
    """The reply to each request, by the digests of its messages: steps that run at the same time come in any order."""
    left: dict[tuple[str, ...], list[str]] = {}
    for request, reply in zip(sent, replies, strict=True):
        left.setdefault(tuple(request), []).append(reply)
    return lambda body: (left.get(tuple(digests(body))) or ["not as published"]).pop(0)


@pytest.mark.parametrize("name", NAMES)
def test_each_role_is_sent_what_the_published_functions_make(name: str, tmp_path: Path) -> None:
    Image.new("RGB", (280, 140), "white").save(image := tmp_path / "page.png")
    cases = json.loads((FOLDER / f"{name}.json").read_text())["cases"]
    for case in cases:
        with ExitStack() as stack:
            roles = {
                role: stack.enter_context(serve(script(case["sent"][role], each)))
                for role, each in case["replies"].items()
            }
            words = [word for role, server in roles.items() for word in ("--role", f"{role}={server.url}")]
            done = virc("solve", image, case["question"], "--pipeline", name, *words)
            chats = {role: server.chats() for role, server in roles.items()}
        texts = {role: [sent(body) for body in bodies] for role, bodies in chats.items()}
        assert (done.code, done.out.split()) == (0, case["answer"].split()), done.err
        for role, bodies in chats.items():
            asked = zip(case["sent"][role], case["images"][role], strict=True)
            seen = [(digests(body), len(images_of(body))) for body in bodies]
            assert sorted(seen) == sorted(asked), texts[role]
    if systems.get(name).stages:  # its conversation is recorded by test_conversations
        return
    if os.environ.get("VIRC_RECORD") == "1" or state.tested().get(name, state.Record()).solved:
        tested.solved(name, sum(len(each) for case in cases for each in case["replies"].values()), 0)


def test_every_system_with_a_pipeline_has_cases() -> None:
    assert set(NAMES) == {name for name, system in systems.discover().items() if system.pipeline}
