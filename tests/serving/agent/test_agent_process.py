"""`virc serve --agent` as a process of its own: real clients, two hundred bad ones, and how it ends."""

import base64
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from agent_process import Process, serving
from agent_server import ANSWER, chat, received
from support import faults, servers
from support.called import virc
from support.loopback import until

pytestmark = pytest.mark.integration

TINY = ("tiny", "--engine", "transformers", "--device", "cpu", "--concurrency", "2", "--timeout", "60")
QUESTION = "How large is angle G?"


@pytest.fixture(scope="module")
def tiny() -> Iterator[Process]:
    with serving(*TINY, "--api-key", "sesame") as found:
        yield found


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("held")
    words = ("--count", 1, "--seed", 30_000, "--split", "heldout", "--formats", "batch")
    assert virc("data", "synth", "--drawing", "1", "--to", folder, *words).code == 0
    row = json.loads((folder / "problems.jsonl").read_text())
    assert row["question"] == QUESTION
    return folder / str(row["image"])


def asked(tiny: Process, picture: Path) -> Any:
    """What the official client gets."""
    url = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
    client = openai.OpenAI(base_url=tiny.url, api_key="sesame", max_retries=0)
    request: Any = {**chat(QUESTION, {"type": "image_url", "image_url": {"url": url}}), "model": "tiny"}
    return client.chat.completions.create(**request)


@pytest.mark.slow
@pytest.mark.smoke
def test_the_official_client_gets_what_virc_solve_gets(tiny: Process, picture: Path) -> None:
    message = asked(tiny, picture).choices[0].message
    done = virc("solve", picture, QUESTION, "--model", "tiny", "--device", "cpu", "--json")
    assert message.content == done.json["answer"]
    assert len(message.virc_tool_calls) == sum(done.json["calls"].values())
    for thought in message.reasoning_content.split("\n\n"):
        assert thought in done.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_lets_what_runs_end_and_turns_the_new_away(number: signal.Signals, code: int) -> None:
    go = threading.Event()
    with servers.serve(lambda _: ANSWER if go.wait(60) else "") as behind, serving("--endpoint", behind.url) as process:
        running = process.connected(chat())
        assert behind.wait_for(1)
        process.popen.send_signal(number)
        until(lambda: received(process.connected(chat()), b"}}").startswith(b"HTTP/1.1 503"))
        go.set()
        assert b'"content":"97"' in received(running, b"}}")
        assert process.popen.wait(240) == code
        assert process.popen.stderr is not None
        err = process.popen.stderr.read()
    assert "ending: 1 answer is still waited for" in err
    assert "Traceback" not in err


def test_a_second_signal_ends_it_at_once() -> None:
    with (
        servers.serve(fault=faults.hang) as behind,
        serving("--endpoint", behind.url) as process,
        process.connected(chat(stream=True)),
    ):
        assert behind.wait_for(1)
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.stderr is not None
        while "ending" not in process.popen.stderr.readline():
            pass
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.wait(240) == 130
        assert "Traceback" not in process.popen.stderr.read()
