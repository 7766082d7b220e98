"""SIGKILL on a real `virc batch`: the next run asks for the rest, and each row has one line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batches import asked, echo, problems, read, write
from support.servers import Body, serve

pytestmark = [pytest.mark.integration, pytest.mark.smoke]

NAMES = [f"{number}" for number in range(12)]


def start(rows: Path, url: str) -> "subprocess.Popen[str]":
    words = ["batch", str(rows), "--to", "answers.jsonl", "--endpoint", url, "--concurrency", "2"]
    command = [sys.executable, "-m", "virc_cli", *words]
    return subprocess.Popen(command, cwd=rows.parent, env=os.environ, stderr=subprocess.PIPE, text=True)


def test_a_killed_batch_is_completed_by_the_next(image: Path, tmp_path: Path) -> None:
    rows, answers = write(tmp_path / "rows.jsonl", problems(image, *NAMES)), tmp_path / "answers.jsonl"
    with serve(echo) as server:

        def turns(body: Body) -> str:
            """The answers of five rows; the others wait until the process was killed."""
            if int(asked(body).removeprefix("q ")) >= 5:
                server.stopping.wait(60)
            return echo(body)

        server.script.turns = turns
        with start(rows, server.url) as process:
            while not answers.exists() or len(answers.read_bytes().splitlines()) < 5:
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            process.kill()
        done = {line["id"] for line in read(answers)}
        before = len(server.chats())
        server.script.turns = echo
        process = start(rows, server.url)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
        questions = [asked(body) for body in server.chats()[before:]]
    assert sorted(questions) == sorted(f"q {name}" for name in NAMES if name not in done)
    found = read(answers)
    assert {line["id"]: line["answer"] for line in found} == {name: f"q {name}" for name in NAMES}
    assert len(found) == len(NAMES)
