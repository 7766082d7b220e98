"""The pipelines of published systems, through `virc solve --pipeline` and a scripted server for each role: each role is
sent what the published functions make of the same question and replies.

A file has the replies of each role in their order, and of each request its images and the digests of its messages:
`sent` as the authors' program makes them, `parts` with the name and the slots of each of their texts in its place.
Where code of a pipeline calls tools, it has what the detector finds by name, and the sizes of the pictures that roles
were shown by code.
"""

import base64
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from remote.remote_server import Reply, Sent, in_json, serving
from support import zoo
from support.called import virc
from support.servers import Body, images_of, serve

from virc.core.errors import DataError
from virc.systems import registry as systems
from virc.systems import texts
from virc.tools import registry as tools
from virc_zoo.insight_o3.pipeline import enlarged
from virc_zoo.rsvp import pipeline as rsvp

FILES = zoo.recorded("pipeline-cases.json")
BY_CODE = {"hydra"}
TOOLS: Mapping[str, Mapping[str, str]] = {
    "hydra": {"detect": "{}", "depth": "{images: image}"},
    "rsvp": {"segment": "{images: image}"},
}
"""Tools that pipelines call, and what of the reply of their server is their result."""
TOOL = """
description: See.
parameters:
  type: object
  properties:
    words: {type: array, items: {type: string}}
    box: {type: array, items: {type: integer}}
    text: {type: string}
    image_index: {type: integer}
  required: [image_index]
http: {url: URL, result: RESULT}
"""


def sent(body: Body) -> list[str]:
    """The texts of the messages that a role was sent."""
    contents = [message["content"] for message in body["messages"]]
    return [each if isinstance(each, str) else "".join(part.get("text", "") for part in each) for each in contents]


def digests(body: Body) -> list[str]:
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in sent(body)]


def stand_in(folder: Path, name: str, own: bool = False) -> str:
    """What stands for a text in `parts`: its name and its slots."""
    found = texts.of(folder)
    assert found
    reference = found.texts[name]
    pieces = reference.own.split(reference.join) if reference.join else [reference.own]
    slots = (" ".join(sorted(set(re.findall(r"\{\w+\}", each)))) for each in pieces)
    return reference.join.join(f"<{name} {number} {each}>" for number, each in enumerate(slots))


def script(sent: Sequence[Sequence[str]], replies: Sequence[str]) -> Callable[[Body], str]:
    """The reply to each request, by the digests of its messages: steps that run at the same time come in any order."""
    left: dict[tuple[str, ...], list[str]] = {}
    for request, reply in zip(sent, replies, strict=True):
        left.setdefault(tuple(request), []).append(reply)
    return lambda body: (left.get(tuple(digests(body))) or ["not as published"]).pop(0)


def see(case: Mapping[str, Any]) -> Callable[[Sent], Reply]:
    """A server with a detector that finds the boxes of a case, with depths that grow from left to right, and with grey
    masks, twice as large as the picture, that leave out two of its pixels at each edge of a box."""

    def png(image: Image.Image) -> Reply:
        image.save(file := io.BytesIO(), "PNG")
        return in_json({"image": base64.b64encode(file.getvalue()).decode()})

    def answer(sent: Sent) -> Reply:
        if sent.path == "/depth":
            return png(Image.frombytes("L", (280, 1), bytes(1 + x % 255 for x in range(280))).resize((280, 140)))
        if sent.path == "/segment":
            mask = Image.new("L", (560, 280), 90)
            if sent.json["text"] in case["masks"]:
                left, top, right, bottom = (2 * edge for edge in sent.json["box"])
                mask.paste(255, (left + 4, top + 4, right - 4, bottom - 4))
            return png(mask)
        (word,) = sent.json["words"]
        return in_json([{"label": word, "box": box, "score": score} for *box, score in case["boxes"].get(word, ())])

    return answer


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.integration if each in BY_CODE else ()) for each in FILES]
)
def test_each_role_is_sent_what_the_published_functions_make(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in BY_CODE and sys.platform != "linux":
        pytest.skip("code is isolated on Linux alone")
    monkeypatch.setattr(tools, "_CUSTOM", {})
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    Image.new("RGB", (280, 140), "white").save(image := tmp_path / "page.png")
    cases = json.loads(FILES[name].read_text())["cases"]
    if named := texts.is_own_wording(systems.get(name).file.parent):
        monkeypatch.setattr(texts, "text", stand_in)
    for case in cases:
        requests = case["parts" if named else "sent"]
        with ExitStack() as stack:
            roles = {
                role: stack.enter_context(serve(script(requests[role], each))) for role, each in case["replies"].items()
            }
            if name in TOOLS:
                url = stack.enter_context(serving(see(case))).address
                for tool, result in TOOLS[name].items():
                    described = TOOL.replace("URL", f'"{url}/{tool}"').replace("RESULT", result)
                    (tmp_path / f"{tool}.yaml").write_text(described)
                monkeypatch.setattr(tools, "_CUSTOM", {})
            words = [word for role, server in roles.items() for word in ("--role", f"{role}={server.url}")]
            done = virc("solve", image, case["question"], "--pipeline", name, *words, "--json")
            chats = {role: server.chats() for role, server in roles.items()}
        if case["answer"] is None:
            assert done.code == 8, done.err
        else:
            assert done.code == 0, done.err
            assert done.json["answer"].split() == case["answer"].split()
        if name in BY_CODE:
            assert [size for step in done.json["steps"] if step["role"] for size in step["shown"]] == case.get(
                "crops", []
            )
        for role, bodies in chats.items():
            asked = zip(requests[role], case["images"][role], strict=True)
            seen = [(digests(body), len(images_of(body))) for body in bodies]
            assert sorted(seen) == sorted(asked), [sent(body) for body in bodies]


@pytest.mark.parametrize(
    ("size", "shown"), [((84, 70), (122, 102)), ((20, 400), (56, 1120)), ((4000, 3000), (1478, 1108))]
)
def test_a_region_has_the_published_size(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert enlarged(Image.new("RGB", size)).size == shown


def test_rsvp_takes_one_picture() -> None:
    two: Any = SimpleNamespace(images=(None, None))
    with pytest.raises(DataError, match="one picture, not 2"):
        rsvp.solve(two, two)


def test_numbers_of_rows_are_legible_in_scans() -> None:
    shown = rsvp.banded(Image.new("RGB", (4000, 3000), "white"), is_column=False).resize((1000, 750))
    one = shown.getchannel("G").crop((0, 2, 30, 60)).point(lambda value: 255 * (value < 128)).getbbox()
    assert one
    assert one[3] - one[1] >= 12


def test_every_system_with_a_pipeline_has_cases() -> None:
    assert FILES.keys() == {name for name, system in systems.discover().items() if system.pipeline}
