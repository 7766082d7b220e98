"""Ctrl-C, SIGTERM, kill -9 and a closed stdout, on a process of its own: what was done is kept."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from batches import asked, problems, read, write
from support.servers import Body, Server, serve
from support.solving import CROP, answer, ended, start

pytestmark = pytest.mark.integration

Env = dict[str, str]


def waiting_server(body: Body, server: Server) -> str:
    """Answers the first turn at once, the second never."""
    return CROP if len(body["messages"]) < 4 else str(server.stopping.wait(60))


@pytest.mark.parametrize(
    ("number", "code", "kind"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_midway_keeps_the_trace(
    number: int, code: int, kind: str, image: Path, tmp_path: Path, environment: Env
) -> None:
    with serve([]) as server:
        server.script.turns = lambda body: waiting_server(body, server)
        words = ("--endpoint", server.url, "--json", "--trace", tmp_path / "t")
        process = start("solve", image, "q", *words, env=environment)
        assert server.wait_for(2)
        process.send_signal(number)
        done = ended(process)
    assert done.code == code == done.json["error"]["code"]
    assert (done.json["error"]["kind"], done.json["turns"], done.json["answer"]) == (kind, 1, None)
    assert "Traceback" not in done.err
    record = json.loads((tmp_path / "t" / "trace.json").read_text())
    assert (len(record["units"]), record["failure"]["kind"]) == (1, "interrupted")
    assert done.json["trace"] == str(tmp_path / "t")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_batch_and_the_next_run_does_the_rest(
    number: int, code: int, image: Path, tmp_path: Path, environment: Env
) -> None:
    source = write(tmp_path / "in.jsonl", problems(image, *range(6)))
    with serve([]) as server:
        server.script.turns = lambda body: (
            answer("1") if asked(body) in ("q 0", "q 1") else str(server.stopping.wait(60))
        )
        words = ("batch", source, "--to", tmp_path / "out", "--endpoint", server.url)
        process = start(*words, "--concurrency", 2, "--trace", tmp_path / "t", env=environment)
        assert server.wait_for(4)
        process.send_signal(number)
        done = ended(process)
        assert (done.code, "Traceback" in done.err) == (code, False)
        assert "interrupted: rows in work have no line and no trace" in done.err
        assert "; the same command continues with them\n2 rows: 2 answered" in done.err
        assert {path.name for path in (tmp_path / "t").iterdir()} == {"0", "1"}
        assert {line["id"] for line in read(tmp_path / "out")} == {0, 1}
        server.script.turns = lambda body: answer("2")
        assert ended(start(*words, env=environment)).code == 0
    assert {line["id"]: line["answer"] for line in read(tmp_path / "out")} == dict(
        enumerate(["1", "1", "2", "2", "2", "2"])
    )


def test_a_closed_stdout_keeps_the_trace(image: Path, tmp_path: Path, environment: Env) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with serve([CROP, answer("1")]) as server:
        words = ("--endpoint", server.url, "--trace", tmp_path / "t")
        process = start("solve", image, "q", *words, env=environment, stdout=writing)
        os.close(writing)
        assert ended(process).code == 141
    assert json.loads((tmp_path / "t" / "trace.json").read_text())["answer"] == "1"


def kill_after(process: subprocess.Popen[bytes], server: Server, requests: int, seconds: float) -> None:
    """Kill -9 a moment after that many further requests have come; a process that has nothing left ends before."""
    wanted = len(server.requests) + requests
    while process.poll() is None and len(server.requests) < wanted:
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    process.communicate()


def read_bytes(file: Path) -> bytes:
    """What a file holds; nothing where it is not there yet."""
    return file.read_bytes() if file.exists() else b""


def killed_and_resumed(kills: int, seed: int, image: Path, tmp_path: Path, env: Env) -> None:
    """Kill a batch again and again, then let it finish; look at every line it has written on the way."""
    chance = random.Random(seed)
    ids = list(range(kills * 10))
    source, out = write(tmp_path / "in.jsonl", problems(image, *ids)), tmp_path / "out"
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def count(body: Body) -> str:
        with lock:
            counts[asked(body)] += 1
        return answer(asked(body))

    with serve(count) as server:
        words = ("batch", source, "--to", out, "--endpoint", server.url, "--concurrency", 3)
        safe: dict[int, int] = {}
        for last in range(1 - kills, 1):
            process = start(*words, env=env)
            while last == 0 and not safe and process.poll() is None and b"\n" not in read_bytes(out):
                time.sleep(0.002)  # on a busy machine all kills before may have come before the first line
            kill_after(process, server, chance.randint(1, 5), chance.random() * 0.03)
            while server.connections:  # it may still have to count what the killed process asked
                time.sleep(0.002)
            whole = read_bytes(out).rpartition(b"\n")[0]
            done = [json.loads(line)["id"] for line in whole.splitlines()]
            assert len(set(done)) == len(done)
            assert set(safe) <= set(done), "a row that was done is lost"
            safe |= {id: counts[f"q {id}"] for id in done if id not in safe}
        assert ended(start(*words, env=env)).code == 0
    assert sorted(line["id"] for line in read(out)) == ids
    assert all(line["answer"] == f"q {line['id']}" for line in read(out))
    assert {id: counts[f"q {id}"] for id in safe} == safe, "a row that was done is done again"
    assert safe, "the kills came before anything was done"


def test_a_batch_killed_anywhere_loses_nothing_and_does_nothing_twice(
    image: Path, tmp_path: Path, environment: Env
) -> None:
    killed_and_resumed(5, 1, image, tmp_path, environment)


@pytest.mark.slow
def test_a_batch_killed_fifty_times_loses_nothing_and_does_nothing_twice(
    image: Path, tmp_path: Path, environment: Env
) -> None:
    killed_and_resumed(50, 2, image, tmp_path, environment)
