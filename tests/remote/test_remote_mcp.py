"""A tool behind MCP, over stdio and streamable HTTP, with a server of the official SDK that may misbehave."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from remote_server import DETECT, failure, tool_of
from support.loopback import free_port

from virc.core.errors import SetupError
from virc.reasoning.calls import Call
from virc.remote.tool import RemoteTool

SERVER = Path(__file__).with_name("mcp_tools.py")
PICTURE = Image.linear_gradient("L").convert("RGB").resize((60, 40))
HEAD = DETECT.partition("http:")[0]


def over_stdio(folder: Path, *words: str, more: str = "", tool: str = "detect") -> RemoteTool:
    command = json.dumps([sys.executable, str(SERVER), *words])
    end = f"mcp:\n  tool: {tool}\n  command: {command}\n{more}"
    return tool_of(folder, "", end, HEAD)


def asked(tool: RemoteTool, words: str) -> tuple[str, list[tuple[int, int]]]:
    made = tool.apply(Call("detect", 0, arguments={"words": words}), PICTURE)
    return made.text, [image.size for image in made.images]


@pytest.mark.integration
def test_text_and_image_come_back_from_one_session(tmp_path: Path) -> None:
    tool = over_stdio(tmp_path)
    tool.ready()
    (first, sizes), (second, _) = asked(tool, "cat"), asked(tool, "dog")
    assert first.startswith("cat in (60, 40), process ")
    assert sizes == [(60, 20)]
    assert first.split()[-1] == second.split()[-1]


@pytest.mark.integration
def test_a_server_that_dies_or_bombs_is_started_again(tmp_path: Path) -> None:
    tool = over_stdio(tmp_path)
    process = asked(tool, "cat")[0].split()[-1]
    for word in ("die", "bomb"):
        assert failure(tool, word, PICTURE)
        text, _ = asked(tool, f"after {word}")
        assert text.split()[-1] != process
        process = text.split()[-1]


@pytest.mark.integration
def test_what_fails_and_lies_costs_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECT_KEY", "s3cret")
    tool = over_stdio(tmp_path, more='  env: {DETECT_KEY: "${DETECT_KEY}"}\n')
    monkeypatch.setenv("VIRC_ALLOWED_TOOLS", f"0000,{tool.permission.digest}")
    monkeypatch.setenv("HF_TOKEN", "of-nobody-here")
    assert re.match(r".*no \*\*\*, None$", failure(tool, "fail", PICTURE))
    assert re.match(r"an image of its reply", failure(tool, "lie", PICTURE))
    assert asked(tool, "cat")[1] == [(60, 20)]


@pytest.mark.integration
def test_a_server_that_hangs_costs_its_seconds(tmp_path: Path) -> None:
    tool = over_stdio(tmp_path, more="seconds: 5\n")
    tool.ready()
    assert failure(tool, "hang", PICTURE)  # it sleeps for a minute
    assert asked(tool, "cat")[1] == [(60, 20)]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("words", "more", "tool", "sentence"),
    [
        (["never"], "seconds: 1\n", "detect", "did not start within 1 seconds"),
        (["refuse"], "", "detect", "no weights found"),
        ([], "", "segment", "it has no tool 'segment'; it has: detect"),
        ([], "  arguments: {picture: '{image}', words: '{words}'}\n", "detect", "its tool detect needs image"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_used_is_found_at_the_start(
    tmp_path: Path, words: list[str], more: str, tool: str, sentence: str
) -> None:
    with pytest.raises(SetupError) as raised:
        over_stdio(tmp_path, *words, more=more, tool=tool).ready()
    assert sentence in str(raised.value)


def test_a_missing_program_is_found_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be used"):
        tool_of(tmp_path, "", "mcp: {tool: detect, command: [virc-has-no-such-program]}\n", HEAD).ready()


@pytest.mark.integration
def test_the_server_ends_with_its_parent(tmp_path: Path) -> None:
    over_stdio(tmp_path, more="seconds: 200\n")
    program = (
        "import sys; from pathlib import Path; from PIL import Image; from virc.remote.tool import read_tool;"
        "from virc.reasoning.calls import Call;"
        "tool = read_tool(Path(sys.argv[1]));"
        "print(tool.apply(Call('detect', 0, arguments={'words': 'cat'}), Image.new('RGB', (60, 40))).text, flush=True);"
        "import os; os.kill(os.getpid(), 9)"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path / "detect.yaml")], capture_output=True, text=True)
    process = Path("/proc") / run.stdout.split()[-1]
    until = time.monotonic() + 200
    while process.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not process.exists()


@contextmanager
def http_server() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, str(SERVER), "http", str(port)], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


@pytest.mark.integration
def test_streamable_http_serves_and_its_end_costs_a_sentence(tmp_path: Path) -> None:
    with http_server() as url:
        tool = tool_of(tmp_path, url, "", HEAD + "mcp:\n  tool: detect\n  url: {url}\nseconds: 60\n")
        until = time.monotonic() + 200
        while True:
            try:
                tool.ready()
                break
            except SetupError:
                assert time.monotonic() < until
                time.sleep(0.2)
        assert asked(tool, "cat")[1] == [(60, 20)]
        assert re.match(r"an image of its reply", failure(tool, "lie", PICTURE))
    assert failure(tool, "dog", PICTURE)
    with pytest.raises(SetupError, match="cannot be used"):
        tool.ready()
