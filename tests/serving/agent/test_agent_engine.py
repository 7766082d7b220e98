"""The real vLLM behind `virc serve tiny --agent` on the CPU."""

import base64
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from agent_process import Process, serving
from agent_server import chat
from support.called import virc

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

PROBLEMS = 6


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    words = ("tiny", "--device", "cpu", "--dtype", "float32", "--max-model-len", "8192", "--api-key", "sesame")
    with serving(*words) as found:
        yield found


def engine(process: Process) -> tuple[int, list[str]]:
    """The process of vLLM that `virc serve` started, and its command."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = (stat.parent / "cmdline").read_bytes().decode().split("\0")
            if "virc.core.orphans" in words and (
                stat.read_text().rsplit(")", 1)[1].split()[1] == str(process.popen.pid)
            ):
                return int(stat.parent.name), words
    raise AssertionError("there is no vLLM")


def test_many_at_once_get_what_virc_solve_gets_in_its_own_process(process: Process, tmp_path: Path) -> None:
    words = ("--count", PROBLEMS, "--seed", 30_000, "--split", "heldout", "--formats", "batch")
    assert virc("data", "synth", "--to", tmp_path / "held", *words).code == 0
    rows = [json.loads(line) for line in (tmp_path / "held" / "problems.jsonl").read_text().splitlines()]
    client = openai.OpenAI(base_url=process.url, api_key="sesame", max_retries=0)

    def asked(row: dict[str, Any]) -> Any:
        content = base64.b64encode((tmp_path / "held" / row["image"]).read_bytes()).decode()
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{content}"}}
        request: Any = {**chat(row["question"], picture), "model": "tiny"}
        return client.chat.completions.create(**request).choices[0].message

    with ThreadPoolExecutor(PROBLEMS) as pool:
        messages = list(pool.map(asked, rows))
    out = tmp_path / "here.jsonl"
    source = tmp_path / "held" / "problems.jsonl"
    done = virc("batch", source, "--to", out, "--model", "tiny", "--device", "cpu")
    assert done.code in (0, 1), done.err
    solved = {row["id"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert len(solved) == PROBLEMS
    for row, message in zip(rows, messages, strict=True):
        here = solved[row["id"]]
        assert (message.refusal is None) == (here["answer"] is not None)
        assert here["answer"] in (None, message.content)
        assert len(message.virc_tool_calls) == sum(here["calls"].values())
    assert sum(message.content == row["answer"] for row, message in zip(rows, messages, strict=True)) >= 1
    assert any(message.virc_tool_calls for message in messages)


def test_the_engine_is_reached_with_a_key_that_nobody_is_told(process: Process) -> None:
    _, words = engine(process)
    assert words[words.index("--host") + 1] == "127.0.0.1"
    address = f"http://127.0.0.1:{words[words.index('--port') + 1]}/v1/models"
    assert address != f"{process.url}/models"
    for key in ("sesame", "none"):
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {key}"})
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=60)
    listed = openai.OpenAI(base_url=process.url, api_key="sesame").models.list().data
    assert [(model.id, getattr(model, "max_model_len", None)) for model in listed] == [("tiny", 8192)]


def test_it_ends_with_exit_code_7_when_its_engine_is_killed(process: Process) -> None:
    pid, _ = engine(process)
    os.killpg(pid, signal.SIGKILL)
    assert process.popen.wait(120) == 7
    assert process.popen.stderr is not None
    err = process.popen.stderr.read()
    assert "vLLM ended: exit code -9" in err
    assert "Traceback" not in err
