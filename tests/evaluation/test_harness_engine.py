"""The real lmms-eval, as a user has it: it asks the agent endpoint what `virc eval` asks the model itself."""

import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import faults
from support.called import virc
from support.engine_python import interpreter
from support.loopback import free_port
from support.real_server import VIRC
from support.servers import Body, image_bytes, images_of, serve

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200), pytest.mark.usefixtures("here", "lmms_eval")]
COUNT = 8


@pytest.fixture
def lmms_eval() -> Path:
    """Its interpreter; without one the test is skipped."""
    return interpreter("eval")


@pytest.fixture
def problems(here: Path) -> Path:
    """Held-out diagrams, of which tiny solves some and not all."""
    words = ("--split", "heldout", "--count", COUNT, "--seed", 5, "--drawing", 1, "--formats", "batch", "--to", "held")
    assert virc("data", "synth", *words).code == 0
    return here / "held" / "problems.jsonl"


@contextmanager
def agent() -> Iterator[str]:
    """The endpoint that runs the loop, in a process of its own; gives its address."""
    words = ("serve", "tiny", "--engine", "transformers", "--device", "cpu", "--agent", "--port", str(free_port()))
    process = subprocess.Popen([*VIRC, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=240)


def lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_harness_gets_the_answers_and_the_score_that_virc_eval_gets(problems: Path) -> None:
    mine = virc("eval", problems, "--model", "tiny", "--device", "cpu", "--concurrency", COUNT, "--json")
    assert mine.code == 0, mine.err
    score = mine.json["models"][0]["score"]
    assert 0 < score["right"] < COUNT
    with agent() as url:
        done = virc("eval", problems, "--endpoint", url, "--harness", "--json")
    assert done.code == 0, done.err
    assert "lmms-eval asks tiny" in done.err  # how far it is depends on when one looks
    assert "warning" not in done.err
    found = done.json
    (model,), (part,) = found["models"], found["harness"]
    assert model == {"name": "tiny", "score": score}
    (figure,) = part["figures"]
    assert (figure["metric"], figure["value"], figure["of"]) == ("exact_match", score["right"] / COUNT, COUNT)
    assert (part["answered"], part["failed"]) == (COUNT, 0)
    results = Path(part["results"])
    assert json.loads(results.read_text())["n-samples"] == {"virc_problems": {"original": COUNT, "effective": COUNT}}
    samples = lines(results.with_name(results.name.replace("results.json", "samples_virc_problems.jsonl")))
    answers = {line["id"]: line["answer"] for line in lines(Path("evals/problems/answers/tiny.jsonl"))}
    rows = lines(Path("evals/problems/harness/task/problems.jsonl"))
    said = {rows[sample["doc_id"]]["id"]: sample["filtered_resps"] for sample in samples}
    assert said == {id: answer or "unreadable" for id, answer in answers.items()}


def test_every_problem_is_asked_with_its_whole_picture_and_the_key(
    problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_API_KEY", "sk-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Theirs: secret")
    rows = lines(problems)
    pictures = [Image.open(problems.parent / row["image"]).convert("RGB").tobytes() for row in rows]
    answers = dict(zip(pictures, (str(row["answer"]) for row in rows), strict=True))

    def turns(body: Body) -> str:
        return answers[pixels(body)]

    with serve(turns, models=("plain",)) as server:
        done = virc("eval", problems, "--endpoint", server.url, "--harness", "--seed", 3, "--to", "a b")
        asked = [(request.headers, request.body) for request in server.requests if request.body]
    assert done.code == 0, done.err
    assert "right, as virc eval counts" in done.out
    assert "100.0%" in done.out
    assert len(asked) == COUNT
    assert {pixels(body) for _, body in asked} == set(pictures)
    for headers, body in asked:
        assert headers["authorization"] == "Bearer sk-mine"
        assert "x-theirs" not in headers
        sent = {key: value for key, value in body.items() if key != "messages"}
        assert sent == {"model": "plain", "max_tokens": 1024, "temperature": 0.0, "seed": 3}
    written = b"".join(file.read_bytes() for file in Path("a b").rglob("*") if file.is_file())
    assert b"sk-mine" not in written


def pixels(body: Body) -> bytes:
    """Of the one picture that a request brings."""
    (part,) = images_of(body)
    picture = Image.open(io.BytesIO(image_bytes(part)))
    assert picture.format == "PNG"
    return picture.tobytes()


def test_requests_that_fail_are_no_wrong_answers_and_a_task_that_is_not_there_is_told(problems: Path) -> None:
    with serve(models=("plain",), fault=faults.status(500)) as server:
        done = virc("eval", problems, "--limit", 2, "--endpoint", server.url, "--harness", "--json")
        assert done.code == 6
        assert "2 of 2 requests to plain failed, which lmms-eval counts as wrong answers" in done.err
        assert (done.json["models"][0]["score"], done.json["harness"][0]["failed"]) == (None, 2)
        assert Path(done.json["harness"][0]["results"]).is_file()
        done = virc("eval", "no_such_task", "--endpoint", server.url, "--harness", "--offline")
    assert done.code == 3
    assert "error: lmms-eval has no task no_such_task" in done.err
