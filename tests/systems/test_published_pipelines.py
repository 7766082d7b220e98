"""The pipelines of published systems, through `virc solve --pipeline` and a scripted server for each role: each role is
sent what the published functions make of the same question and replies. What was tried is recorded.
"""

import json
import os
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


def sent(body: Body) -> str:
    """The text that a role was sent."""
    (message,) = body["messages"]
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@pytest.mark.parametrize("name", NAMES)
def test_each_role_is_sent_what_the_published_functions_make(name: str, tmp_path: Path) -> None:
    Image.new("RGB", (280, 140), "white").save(image := tmp_path / "page.png")
    cases = json.loads((FOLDER / f"{name}.json").read_text())["cases"]
    for case in cases:
        with ExitStack() as stack:
            servers = {role: stack.enter_context(serve([reply])) for role, reply in case["replies"].items()}
            words = [word for role, server in servers.items() for word in ("--role", f"{role}={server.url}")]
            done = virc("solve", image, case["question"], "--pipeline", name, *words)
            chats = {role: server.chats() for role, server in servers.items()}
        assert (done.code, done.out) == (0, f"{case['answer']}\n"), done.err
        assert {role: sent(body) for role, (body,) in chats.items()} == case["sent"]
        assert {role: len(images_of(body)) for role, (body,) in chats.items()} == case["images"]
    if os.environ.get("VIRC_RECORD") == "1" or state.tested().get(name, state.Record()).solved:
        tested.solved(name, sum(len(case["replies"]) for case in cases), 0)


def test_every_system_with_a_pipeline_has_cases() -> None:
    assert set(NAMES) == {name for name, system in systems.discover().items() if system.pipeline}
