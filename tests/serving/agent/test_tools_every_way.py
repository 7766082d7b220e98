"""Tools that return a text or an image, code in the sandbox, and a server: the same conversation in every command."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from agent_process import serving
from PIL import Image
from support.called import virc
from support.loopback import Connection, Loopback
from support.servers import Server, serve
from support.solving import answer, call, picture

pytestmark = pytest.mark.integration

READ = '''"""`read_text`: what is written in a box."""

NAME = "read_text"
TEMPLATE = "after_image"
KEYS = {"bbox_2d": {"type": "array", "items": {"type": "integer"}}, "image_index": {"type": "integer"}}
SCHEMA = {"type": "function", "function": {"name": NAME, "parameters": {"type": "object", "properties": KEYS}}}


def apply(call, source):
    return f"The box has {source.crop(call.box).width} columns."
'''
FIND = """
description: Find objects by words.
parameters: {{type: object, properties: {{words: {{type: string}}, image_index: {{type: integer}}}}, required: [words]}}
http: {{url: "{address}/find", result: {{text: "{{found.0.label}} at {{found.0.box}}", images: drawn}}}}
"""
QUESTION = "What is it?"
TURNS = (
    call("read_text", bbox_2d=[0, 0, 84, 56], image_index=0),
    call("find", words="a ring", image_index=0),
    call("python", code="print(image_0.size)\nimage_1.rotate(90, expand=True).show()"),
    answer("7"),
)


class Detector(Connection):
    """Finds half of each picture, and shows it."""

    def post(self) -> None:
        sent = json.loads(self.sent())
        with Image.open(io.BytesIO(base64.b64decode(sent["image"]))) as image:
            box = (0, 0, image.width // 2, image.height)
            made = io.BytesIO()
            image.crop(box).save(made, "PNG")
        found = [{"label": sent["words"], "box": box}]
        self.send_json({"found": found, "drawn": base64.b64encode(made.getvalue()).decode()})


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "read_text.py").write_text(READ)
    (tmp_path / "mine.yaml").write_text("name: mine\ntools: [crop_image, python, ./find.yaml, ./read_text.py]\n")
    picture(tmp_path / "a.png", 224, 112)
    row = {"id": "1", "image": "a.png", "question": QUESTION, "answer": "7"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    server = Loopback(Detector)
    with server.running():
        (tmp_path / "find.yaml").write_text(FIND.format(address=server.address))
        yield tmp_path


def asked(server: Server) -> list[Any]:
    """The messages of the last request: what the model saw before it answered."""
    messages: list[Any] = server.chats()[-1]["messages"]
    return messages


def by_command(folder: Path, *words: object) -> list[Any]:
    with serve(TURNS) as server:
        done = virc(*words, "--endpoint", server.url, "--system", folder / "mine.yaml")
        assert done.code == 0, done.err
        return asked(server)


def by_client(folder: Path) -> list[Any]:
    url = f"data:image/png;base64,{base64.b64encode((folder / 'a.png').read_bytes()).decode()}"
    parts: Any = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]
    with serve(TURNS) as server, serving("--endpoint", server.url, "--system", str(folder / "mine.yaml")) as agent:
        client = openai.OpenAI(base_url=agent.url, api_key="none", max_retries=0)
        model = client.models.list().data[0].id
        said = client.chat.completions.create(model=model, messages=[{"role": "user", "content": parts}])
        assert said.choices[0].message.content == "7"
        return asked(server)


def test_each_way_sends_the_same_conversation(folder: Path) -> None:
    solved = by_command(folder, "solve", folder / "a.png", QUESTION)
    ways = {
        "batch": by_command(folder, "batch", folder / "rows.jsonl", "--to", folder / "out.jsonl"),
        "sample": by_command(
            folder, "data", "sample", folder / "rows.jsonl", "--to", folder / "made", "--samples", 1, "--temperature", 1
        ),
        "eval": by_command(folder, "eval", folder / "rows.jsonl", "--to", folder / "eval"),
        "agent": by_client(folder),
    }
    assert "The box has 84 columns." in str(solved)
    assert "a ring at [0,0,112,112]" in str(solved)
    assert "(224, 112)" in str(solved)
    assert str(solved).count("'type': 'image_url'") == 3
    assert [name for name, messages in ways.items() if messages != solved] == []
