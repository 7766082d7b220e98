"""What users' code prints goes to stderr, so that stdout of each command holds its data alone."""

from pathlib import Path

import pytest
from PIL import Image
from support.called import virc
from support.loopback import free_port
from support.servers import MODEL, serve
from support.solving import answer, ask_agent, call
from support.tables import each_case

from virc.core import plugins
from virc.serving.start import Server
from virc.tools import registry as tools

TOOL = '''\
"""A tool that prints wherever its code runs."""

from virc.reasoning.calls import Call, Checked

print("noise at import")
NAME = "turn"
TEMPLATE = "after_image"
SCHEMA = {
    "type": "function",
    "function": {"name": NAME, "description": "Turn.", "parameters": {"type": "object", "properties": {}}},
}


def check(arguments, view):
    print("noise of check")
    return Checked(Call(NAME, 0))


def apply(call, source):
    print("noise of apply", flush=True)
    return source.rotate(90)
'''
ASKING = ("--system", "mine.yaml", "--endpoint", "URL")


@each_case(
    "words",
    [
        ("solve", "a.png", "q", *ASKING),
        ("solve", "a.png", "q", *ASKING, "--json"),
        ("batch", "rows.jsonl", *ASKING),
        ("batch", "rows.jsonl", "--to", "answers.jsonl", *ASKING),
        ("eval", "rows.jsonl", *ASKING, "--model", MODEL, "--to", "evals", "--json"),
        ("data", "sample", "rows.jsonl", "--to", "sampled", *ASKING, "--json"),
        ("serve", "--agent", *ASKING, "--port", free_port()),
        ("serve", "--agent", *ASKING, "--port", free_port(), "--json"),
    ],
)
def test_what_a_tool_prints_goes_to_stderr(
    words: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Server, "wait", ask_agent)
    monkeypatch.setattr(tools, "_CUSTOM", {})
    plugins.loaded.cache_clear()
    Path("turn.py").write_text(TOOL)
    Path("mine.yaml").write_text("name: mine\ntools: [./turn.py]\n")
    Path("rows.jsonl").write_text('{"image": "a.png", "question": "q", "answer": "97"}\n')
    Image.new("RGB", (224, 168)).save("a.png")
    with serve([call("turn"), answer("97")] * 4) as server:
        done = virc(*(server.url if word == "URL" else word for word in words))
    assert done.code == 0, done.err
    assert {"noise at import", "noise of check", "noise of apply"} <= {*done.err.splitlines()}, done.err
    assert "noise" not in done.out
    assert "--json" not in words or done.json["schema"]
