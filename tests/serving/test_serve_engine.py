"""The real vLLM behind `virc serve`, with the model in the package."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.loopback import free_port
from support.real_server import VIRC, pids, serving

from virc.config.user import cache_folder
from virc.models.registry import EMBEDDED_FOLDER

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

TAKEN = 100


def virc(folder: Path, *words: str) -> str:
    done = subprocess.run([*VIRC, *words], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def processes_on(port: int) -> list[str]:
    """Command lines of vLLM's processes that were told this port."""
    return [command_line(pid) for pid in pids(port)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def here(workspace: Path) -> Iterator["subprocess.Popen[str]"]:
    """The same evaluation in a process without vLLM, in work while vLLM starts."""
    words = ("eval", "diagrams", "--limit", str(TAKEN), "--json", "--to", "here", "--model", "tiny", "--device", "cpu")
    with subprocess.Popen(
        [*VIRC, *words], cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    words = ("tiny", "--device", "cpu", "--dtype", "float32", "--api-key", "sesame", "--max-model-len", "8192")
    with serving(*words) as found:
        yield found.process, found.url


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_an_evaluation_has_the_answers_of_the_model_in_this_process(
    here: "subprocess.Popen[str]", server: tuple[object, str], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 held-out diagrams at temperature 0 in float32: the same answers, turns and calls, one by one."""
    monkeypatch.setenv("VIRC_API_KEY", "sesame")
    words = ("eval", "diagrams", "--limit", str(TAKEN), "--json", "--to")
    served = json.loads(virc(workspace, *words, "served", "--endpoint", server[1]))
    out, errors = here.communicate(timeout=1100)
    assert here.returncode == 0, errors
    answers = {name: evaluated(workspace / name) for name in ("served", "here")}
    differing = [id for id, said in answers["here"].items() if answers["served"][id] != said]
    assert differing == [], f"{len(differing)} of {TAKEN} differ"
    (model,), (local,) = served["models"], json.loads(out)["models"]
    assert model["protocol"] == "trained"
    assert model["score"] == local["score"]
    assert model["score"]["of"] == TAKEN
    card = json.loads((EMBEDDED_FOLDER / "measured.json").read_text())
    assert model["score"]["right"] / TAKEN == pytest.approx(card["tools"]["share"], abs=0.14)
    assert model["means"]["calls"] > 2
    pages = [path.parent.name for path in workspace.glob("served/traces/tiny/*/index.html")]
    assert len(pages) == TAKEN - model["score"]["right"]
    report = (workspace / "served" / "report.html").read_text()
    assert all(f"traces/tiny/{name}/index.html" in report for name in pages)


def evaluated(folder: Path) -> dict[str, tuple[object, ...]]:
    lines = [json.loads(line) for line in (folder / "answers" / "tiny.jsonl").read_text().splitlines()]
    assert len(lines) == TAKEN
    return {line["id"]: (line["answer"], line["turns"], line["calls"]) for line in lines}


def asked(url: str, content: object, key: str = "sesame", **fields: object) -> tuple[int, dict[str, Any]]:
    body = {"model": "tiny", "max_tokens": 1, "messages": [{"role": "user", "content": content}], **fields}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_client_gets_an_answer_with_the_key_only(here: object, server: tuple[object, str]) -> None:
    assert [asked(server[1], "?", key)[0] for key in ("sesame", "wrong", "")] == [200, 401, 401]


def test_it_fetches_nothing_and_reads_no_file_for_a_client(server: tuple[object, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
        for url in (address, address.replace("http", "HTTP"), "file:///etc/hostname", "FILE:///etc/hostname"):
            status, said = asked(server[1], [{"type": "image_url", "image_url": {"url": url}}])
            assert status == 400
            assert "an image must be a data URL" in said["error"]["message"]
        for kind in ("video_url", "audio_url"):
            assert asked(server[1], [{"type": kind, kind: {"url": address}}])[0] == 400
        listener.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_it_ends_with_all_it_started(server: tuple["subprocess.Popen[str]", str]) -> None:
    process, url = server
    port = int(url.split(":")[2].split("/")[0])
    assert processes_on(port)
    assert "sesame" not in "".join(processes_on(port))
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(240) == 143
    assert processes_on(port) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_when_it_ends_while_the_engine_starts(number: signal.Signals) -> None:
    port = free_port()
    log = cache_folder(os.environ) / "serve" / f"tiny-{port}" / "server.log"
    log.unlink(missing_ok=True)  # an earlier server may have had this port
    words = ("serve", "tiny", "--device", "cpu", "--port", str(port))
    process = subprocess.Popen([*VIRC, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until(lambda: log.exists() and b"Initializing a V1" in log.read_bytes(), 300)
        assert processes_on(port), log.read_text()[-3000:]
    except BaseException:
        process.kill()
        raise
    process.send_signal(number)
    process.communicate(timeout=240)
    assert process.returncode == (143 if number == signal.SIGTERM else -9)
    until(lambda: not processes_on(port), 240)


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
