"""Programs that ask models: code of a step calls roles and tools, over drawn polygons whose shapes a detector knows."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.called import Done, virc
from support.servers import Body, Server, serve

from virc.tools import registry as tools

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="code is isolated on Linux alone"),
]


def text_of(body: Body) -> str:
    content: Any = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def roles(**servers: Server) -> list[object]:
    return [word for name, server in servers.items() for word in ("--role", f"{name}={server.url}")]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_CUSTOM", {})


def solved(image: Path, file: Path, code: str, see: Callable[[Body], str], *words: object) -> tuple[Done, int]:
    """What became of code, and how often the eyes were asked."""
    with serve([code]) as mind, serve(see) as eyes:
        done = virc("solve", image, "How many?", "--pipeline", file, *roles(mind=mind, eyes=eyes), *words)
        return done, len(eyes.chats())


ONCE = """
import json

from virc_extras.pipelines import Interpreter, Role

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

from virc_extras.pipelines import Interpreter, Role

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
