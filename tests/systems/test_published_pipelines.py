"""The pipelines of published systems, through `virc solve --pipeline` and a scripted server for each role: each role is
sent what the published functions make of the same question and replies. What was tried is recorded.

A file has the replies of each role in their order, and of each request the digests of its messages and its images.
Where code of a pipeline calls tools, it has what the detector finds by name, and the sizes of the pictures that roles
were shown by code.
"""

import base64
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from remote.remote_server import Reply, Sent, in_json, serving
from support import tested
from support.called import virc
from support.servers import Body, images_of, serve

from virc.systems import registry as systems
from virc.systems.catalog import support as state
from virc.tools import registry as tools

FOLDER = Path(__file__).parent / "pipelines"
NAMES = sorted(file.stem for file in FOLDER.glob("*.json"))
BY_CODE = {"hydra"}
TOOL = """
description: See.
parameters:
  type: object
  properties: {words: {type: array, items: {type: string}}, image_index: {type: integer}}
  required: [image_index]
http: {url: URL, result: RESULT}
"""


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


def see(case: Mapping[str, Any]) -> Callable[[Sent], Reply]:
    """A server with a detector that finds the boxes of a case, and with depths that grow from left to right."""
    columns = Image.frombytes("L", (280, 1), bytes(1 + x % 255 for x in range(280)))
    columns.resize((280, 140)).save(file := io.BytesIO(), "PNG")

    def answer(sent: Sent) -> Reply:
        if sent.path == "/depth":
            return in_json({"image": base64.b64encode(file.getvalue()).decode()})
        (word,) = sent.json["words"]
        return in_json([{"label": word, "box": box, "score": score} for *box, score in case["boxes"].get(word, ())])

    return answer


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.integration if each in BY_CODE else ()) for each in NAMES]
)
def test_each_role_is_sent_what_the_published_functions_make(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in BY_CODE and sys.platform != "linux":
        pytest.skip("code is isolated on Linux alone")
    monkeypatch.setattr(tools, "_CUSTOM", {})
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    Image.new("RGB", (280, 140), "white").save(image := tmp_path / "page.png")
    cases = json.loads((FOLDER / f"{name}.json").read_text())["cases"]
    for case in cases:
        with ExitStack() as stack:
            roles = {
                role: stack.enter_context(serve(script(case["sent"][role], each)))
                for role, each in case["replies"].items()
            }
            if name in BY_CODE:
                url = stack.enter_context(serving(see(case))).address
                for tool, result in (("detect", "{}"), ("depth", "{images: image}")):
                    described = TOOL.replace("URL", f'"{url}/{tool}"').replace("RESULT", result)
                    (tmp_path / f"{tool}.yaml").write_text(described)
                monkeypatch.setattr(tools, "_CUSTOM", {})
            words = [word for role, server in roles.items() for word in ("--role", f"{role}={server.url}")]
            done = virc("solve", image, case["question"], "--pipeline", name, *words, "--json")
            chats = {role: server.chats() for role, server in roles.items()}
        texts = {role: [sent(body) for body in bodies] for role, bodies in chats.items()}
        if case["answer"] is None:
            assert done.code == 8, done.err
        else:
            assert (done.code, done.json["answer"].split()) == (0, case["answer"].split()), done.err
        calls = [call for step in done.json["steps"] for call in step["calls"] if call["pictures"] and call["replies"]]
        assert [size for call in calls for size in call["pictures"]] == case.get("crops", [])
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
