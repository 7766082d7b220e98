"""Programs that ask models: code of a step calls roles and tools, over drawn polygons whose shapes a detector knows."""

import base64
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from batches import read, write
from PIL import Image
from remote.remote_server import Reply, Sent, in_json, serving
from support.called import Done, virc
from support.servers import Body, Server, image_bytes, images_of, serve

from virc.solving import batch as retry
from virc.tools import registry as tools

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="code is isolated on Linux alone"),
]

PIPELINE = """
from virc.solving.pipelines import Interpreter, Problem, Role, Roles

ROLES = {"mind": Role(), "eyes": Role()}
TOOLS = {"find": "detect.yaml"}


def solve(problem: Problem, roles: Roles) -> str:
    functions = {
        "look": lambda picture, question: roles.eyes.ask(picture, question, step="look"),
        "find": lambda image, words, least=None: problem.tools.find(image, words=words, least=least).json,
    }
    result = ""
    for _ in range(3):
        program = roles.mind.ask(f"{problem.question} {result}", step="program")
        result = Interpreter().run(program, problem.images, functions=functions, calls=9, step="result").strip()
        if result.isdigit():
            break
    return result
"""
DETECT = """
description: Find objects by their names.
parameters:
  type: object
  properties:
    words: {type: array, items: {type: string}}
    image_index: {type: integer}
    least: {type: number}
  required: [words, image_index]
http: {url: URL/detect}
cache: false
"""
PROGRAM = """```python
corners = {each["label"]: each["box"] for each in find(image_0, ["number"])}
read = {letter: look(image_0.crop(box), "Which number?") for letter, box in corners.items()}
known = [int(text) for letter, text in read.items() if text != "?" and letter != "LETTER"]
print(read["LETTER"] if read["LETTER"] != "?" else 180 * (len(corners) - 2) - sum(known))
```"""


class Drawn:
    """Drawn problems in a folder, a detector that knows their boxes, and eyes that know their numbers."""

    def __init__(self, folder: Path, count: int) -> None:
        words = ["--to", folder / "p", "--count", count, "--seed", 5]
        assert virc("data", "synth", *words).code == 0
        self.folder, self.rows = folder, read(folder / "p" / "problems.jsonl")
        self.corners: dict[str, Any] = {}
        self.numbers: list[tuple[Any, str]] = []
        for row in self.rows:
            picture = Image.open(folder / "p" / row["image"]).convert("RGB")
            self.corners[digest(picture)] = row["corners"]
            for corner in row["corners"]:
                self.numbers.append((small(picture.crop(corner["value_box"])), corner["printed"]))
            row["image"] = str(folder / "p" / row["image"])
            row["question"] = row["question"].replace("∠", "angle ").replace("?", "")

    def detect(self, sent: Sent) -> Reply:
        """The exact box of each number."""
        picture = Image.open(io.BytesIO(base64.b64decode(sent.json["image"]))).convert("RGB")
        assert sent.json["words"] == ["number"]
        assert "least" not in sent.json
        corners = self.corners[digest(picture)]
        return in_json([{"label": each["letter"], "box": each["value_box"]} for each in corners])

    def see(self, body: Body) -> str:
        """The number in the crop, whichever size it was brought to."""
        (part,) = images_of(body)
        crop = small(Image.open(io.BytesIO(image_bytes(part))).convert("RGB"))
        return min(self.numbers, key=lambda each: float(np.abs(each[0] - crop).sum()))[1]

    @contextmanager
    def detector(self, text: str = PIPELINE) -> Iterator[Path]:
        """The file of the pipeline, with its detector behind it."""
        with serving(self.detect) as server:
            (self.folder / "detect.yaml").write_text(DETECT.replace("URL", server.address))
            (self.folder / "p.py").write_text(text)
            yield self.folder / "p.py"


def digest(picture: Image.Image) -> str:
    return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()


def small(picture: Image.Image) -> Any:
    return np.asarray(picture.convert("L").resize((24, 12)), dtype=float)


def text_of(body: Body) -> str:
    content: Any = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def plan(body: Body) -> str:
    """A program with a mistake, and the right one where its error came back."""
    text = text_of(body)
    if "NameError" not in text:
        return "print(corner)"
    return PROGRAM.replace("LETTER", re.findall(r"angle ([A-Z])\b", text)[0])


def roles(**servers: Server) -> list[object]:
    return [word for name, server in servers.items() for word in ("--role", f"{name}={server.url}")]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_CUSTOM", {})


def test_programs_over_drawn_problems_are_mended_and_right(tmp_path: Path) -> None:
    drawn = Drawn(tmp_path, 20)
    source, out = write(tmp_path / "in.jsonl", drawn.rows), tmp_path / "out.jsonl"
    with drawn.detector() as file, serve(plan) as mind, serve(drawn.see) as eyes:
        words = [source, "--to", out, "--pipeline", file, *roles(mind=mind, eyes=eyes), "--concurrency", 4]
        done = virc("batch", *words)
        assert done.code == 0, done.err
        asked, seen = len(mind.chats()), len(eyes.chats())
    schema = json.loads(files("virc").joinpath("core", "schemas", "solve.json").read_text(encoding="utf-8"))
    lines = {line["id"]: line for line in read(out)}
    for line in lines.values():
        jsonschema.validate(line, schema)
    assert {name: line["answer"] for name, line in lines.items()} == {row["id"]: row["answer"] for row in drawn.rows}
    assert asked == 40
    assert seen == sum(len(row["corners"]) for row in drawn.rows) == sum(line["turns"] for line in lines.values()) - 40
    first = lines[drawn.rows[0]["id"]]
    kinds = [step["kind"] for step in first["steps"]]
    corners = len(drawn.rows[0]["corners"])
    assert kinds == ["ask", "code", "ask", "code", "tool", *["ask"] * corners]
    calls = first["steps"][3]["calls"]
    assert [call["function"] for call in calls] == ["find", *["look"] * corners]
    assert first["tokens"]["prompt"] == sum(step["prompt_tokens"] for step in first["steps"] if step["role"]) > 0


def test_a_role_of_code_that_is_killed_in_a_batch_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "MAX_SECONDS", 0.2)
    monkeypatch.setattr(retry, "LOOK_SECONDS", 0.1)
    drawn = Drawn(tmp_path, 6)
    source, out = write(tmp_path / "in.jsonl", drawn.rows), tmp_path / "out.jsonl"

    def dies(body: Body) -> str:
        if len(eyes.chats()) == 11:
            eyes.die()
        return drawn.see(body)

    with drawn.detector() as file, serve(plan) as mind:
        words = [source, "--to", out, "--pipeline", file, "--concurrency", 1]
        with serve(dies) as eyes:
            done = virc("batch", *words, *roles(mind=mind, eyes=eyes))
        assert done.code == 6
        assert "role 'eyes', step 'look'" in done.err
        before = read(out)
        assert 1 <= len(before) < 6
        with serve(drawn.see) as again:
            assert virc("batch", *words, *roles(mind=mind, eyes=again)).code == 0
    assert {line["id"]: line["answer"] for line in read(out)} == {row["id"]: row["answer"] for row in drawn.rows}


def solved(image: Path, file: Path, code: str, see: Callable[[Body], str], *words: object) -> tuple[Done, int]:
    """What became of code, and how often the eyes were asked."""
    with serve([code]) as mind, serve(see) as eyes:
        done = virc("solve", image, "How many?", "--pipeline", file, *roles(mind=mind, eyes=eyes), *words)
        return done, len(eyes.chats())


ONCE = """
import json

from virc.solving.pipelines import Interpreter, Role

ROLES = {"mind": Role(), "eyes": Role()}
TOOLS = {"zoom": "crop_image", "far": "depth?"}


def solve(problem, roles):
    def look(picture, question):
        return roles.eyes.ask("Look: ", picture, f" {question}", step="look")

    functions = {
        "look": look,
        "point": lambda picture: json.loads(roles.eyes.ask(picture, step="point").strip("`json\\n")),
        "zoom": lambda image, bbox_2d: problem.tools.zoom(image, bbox_2d=bbox_2d).images,
        "far": lambda image: problem.tools.far(image).text,
    }
    program = roles.mind.ask(problem.question, step="program")
    return Interpreter().run(program, problem.images, functions=functions, calls=5, step="result")
"""


@pytest.fixture
def once(tmp_path: Path) -> Path:
    file = tmp_path / "once.py"
    file.write_text(ONCE)
    return file


HOSTILE = """
count = 0
while True:
    try:
        look(image_0, "again")
        count += 1
    except BaseException as error:
        last = str(error)
"""


def test_code_that_calls_for_ever_is_ended_at_its_bound(image: Path, once: Path) -> None:
    done, asked = solved(image, once, HOSTILE, lambda _: "yes")
    assert (done.code, asked) == (0, 5)
    assert done.out == "Error: the code went on to call functions after its last call and was ended.\n"


SESSION = """
import json

from virc.solving.pipelines import Interpreter, Role

ROLES = {"mind": Role()}


def solve(problem, roles):
    lab, so_far = Interpreter(), ""
    begin = "import json\\ntotal = 0\\nnoted = [question]"
    lab.run(begin, problem.images, {"question": problem.question}, exact=True)
    while not so_far.startswith("[3,"):
        program = roles.mind.ask(so_far)
        lab.run(program, functions={"think": lambda text: roles.mind.ask(text)}, seconds=1)
        so_far = lab.run("print(json.dumps([total, noted]), end='')", exact=True)
    return so_far
"""


def test_steps_of_a_session_share_an_interpreter_that_code_cannot_lose(image: Path, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(SESSION)
    programs = ["total += 1", "import os; os._exit(1)", "while True: pass", "total += 1; noted.append(think('a'))"]
    left = [*programs, "total += 1; noted.append(image_0.width)"]
    with serve(lambda body: "A" if text_of(body) == "a" else left.pop(0)) as mind:
        done = virc("solve", image, "Q", "--pipeline", tmp_path / "s.py", "--endpoint", mind.url)
    assert (done.code, done.out) == (0, '[3, ["Q", "A", 112]]\n'), done.err
