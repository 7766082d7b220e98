"""Rows that fail, are slow or large, endpoints that fail, and traces that cannot be kept: what each costs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batches import asked, echo, problems, read
from PIL import Image
from support import faults
from support.servers import Body, Exchange, dead_url, serve
from support.solving import CROP, answer

from virc.core.timeouts import Deadline
from virc.solving import batch as solve_batch


def give_times(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> list[float | None]:
    """Give so many seconds to the rows, in their order; returns those that were asked for."""
    asked, times = list[float | None](), iter(seconds)

    def deadline(wanted: float | None) -> Deadline:
        asked.append(wanted)
        return Deadline(next(times))

    monkeypatch.setattr(solve_batch, "Deadline", deadline)
    return asked


def test_every_row_has_its_own_time(
    batch: Callable[..., Any], image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = give_times(monkeypatch, 0.1, 60)
    with serve(echo) as server:
        server.script.turns = lambda body: str(server.stopping.wait(30)) if asked(body) == "q slow" else answer("1")
        done = batch(problems(image, "slow", "fast"), server, "--timeout", 7, "--concurrency", 1)
    assert (done.code, times) == (1, [7, 7])
    codes = {line["id"]: line["error"] and line["error"]["code"] for line in read(tmp_path / "out")}
    assert codes == {"slow": 6, "fast": None}


def test_row_after_row_failing_alike_ends_the_batch(batch: Callable[..., Any], image: Path, tmp_path: Path) -> None:
    with serve(echo, fault=faults.status(401)) as server:
        done = batch(problems(image, *range(500)), server, "--concurrency", 2)
        assert len(server.chats()) < 50
    assert done.code == 3
    assert "20 rows in a row failed" in done.err


@pytest.mark.parametrize("reason", ["refused", "offline"])
def test_rows_that_fail_for_a_reason_of_their_own_never_end_the_batch(
    reason: str, batch: Callable[..., Any], image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solve_batch, "HOPELESS_IN_A_ROW", 2)
    offline = ["--offline"] if reason == "offline" else []
    bad, refuse = problems(image, 0, 1, 2), faults.status(400, "maximum context length")
    if offline:
        bad = [{**row, "image": dead_url() + "/a.png"} for row in bad]

    def of_bad_rows(exchange: Exchange) -> None:
        assert exchange.body
        exchange.complete(exchange.body) if asked(exchange.body) == "q good" else refuse(exchange)

    with serve(echo, fault=of_bad_rows) as server:
        done = batch([*bad, *problems(image, "good")], server, "--concurrency", 1, *offline)
    assert done.code == 1
    codes = {line["id"]: line["error"] and line["error"]["code"] for line in read(tmp_path / "out")}
    assert "warning: row 0: " in done.err
    code = 5 if offline else 3
    assert codes == {0: code, 1: code, 2: code, "good": None}
    hint = (
        "leave --offline out; the same command then does only them" if offline else "the same command does them again"
    )
    assert f"\nhint: {hint}" in done.err


@pytest.mark.integration
def test_a_row_in_work_when_the_batch_ends_is_not_written(
    batch: Callable[..., Any], image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solve_batch, "HOPELESS_IN_A_ROW", 1)
    out = tmp_path / "out"

    def fault(exchange: Exchange) -> None:
        assert exchange.body
        if asked(exchange.body) == "q bad":
            exchange.hang_up()
        else:
            exchange.connection.recv(1)  # until the batch leaves it
            exchange.complete(exchange.body)

    with serve([answer("1")], fault=fault) as server:
        assert batch(problems(image, "bad", "slow"), server).code == 6
    assert [line["id"] for line in read(out)] == ["bad"]


def test_traces_lie_in_a_folder_a_row(batch: Callable[..., Any], image: Path, tmp_path: Path) -> None:
    with serve([CROP, answer("1")]) as server:
        batch(problems(image, "a", "../b"), server, "--trace", tmp_path / "traces")
    lines = {line["id"]: line["trace"] for line in read(tmp_path / "out")}
    assert lines["a"] == str(tmp_path / "traces" / "a")
    for folder in lines.values():
        assert Path(folder).parent == tmp_path / "traces"
        assert (Path(folder) / "index.html").is_file()


def test_an_answer_whose_trace_cannot_be_kept_is_an_answer(
    batch: Callable[..., Any], image: Path, tmp_path: Path
) -> None:
    traces = tmp_path / "traces"

    def spoil(body: Body) -> str:
        traces.write_text("")
        return answer("1")

    with serve(spoil) as server:
        done = batch(problems(image, "a"), server, "--trace", traces)
        assert (done.code, "row 'a': cannot write the trace" in done.err) == (0, True)
        assert batch(problems(image, "a"), server).code == 0
        assert len(server.chats()) == 1
    (line,) = read(tmp_path / "out")
    assert (line["answer"], line["error"], line["trace"]) == ("1", None, None)


@pytest.mark.integration
def test_a_picture_that_kills_a_decoder_costs_its_row_alone(
    batch: Callable[..., Any], image: Path, tmp_path: Path
) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    rows = [{"id": "bomb", "image": "bomb.png", "question": "q"}, *problems(image, "a")]
    with serve(echo) as server:
        batch(rows, server)
    codes = {line["id"]: line["error"] and line["error"]["code"] for line in read(tmp_path / "out")}
    assert codes == {"bomb": 5, "a": None}
