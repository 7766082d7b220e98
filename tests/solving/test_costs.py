"""What answers cost: by a file of prices, or as the server says; and the limit that ends a batch."""

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from batches import write
from support.called import Done, virc
from support.servers import MODEL, Body, Server, count_usage, serve
from support.solving import CROP, answer
from support.tables import each_case

from virc.core.errors import LimitError
from virc.core.result_log import Claims
from virc.core.work.threads import started
from virc.solving.batch import RowDone
from virc.solving.python import many
from virc.solving.python.many import batch as batch_of
from virc.solving.python.one import solve as one_solved
from virc.solving.rows import ProblemRow
from virc.solving.solution import Solution
from virc.solving.solver import Solver

PRICES = f"{MODEL}: {{input: 2, output: 10}}"


def rows(image: Path, count: int) -> Path:
    return write(image.parent / "rows.jsonl", [{"id": n, "image": str(image), "question": "q"} for n in range(count)])


def batch(server: Server, source: Path, *words: object, at_once: int = 1) -> Done:
    common = ("--to", "out.jsonl", "--endpoint", server.url, "--concurrency", at_once)
    return virc("batch", source, "--trust-rows", *common, *words)


def costs() -> list[float]:
    return [json.loads(line)["cost"] for line in Path("out.jsonl").read_text().splitlines()]


def test_prices_count_for_every_token_before_what_the_server_says(image: Path) -> None:
    Path("prices.yaml").write_text(PRICES)
    with serve([CROP, answer("97")], cost=0.25) as server:
        done = virc("solve", image, "q", "--endpoint", server.url, "--json", "--prices", "prices.yaml")
        counts = [count_usage(body, text) for body, text in zip(server.chats(), (CROP, answer("97")), strict=True)]
    tokens = [sum(each[name] for each in counts) for name in ("prompt_tokens", "completion_tokens")]
    assert done.json["cost"] == pytest.approx((2 * tokens[0] + 10 * tokens[1]) / 1e6)


def test_a_terminal_shows_the_cost_in_its_last_line(image: Path) -> None:
    with serve([CROP, answer("97")], cost=0.25) as server:
        assert virc("solve", image, "q", "--endpoint", server.url).err.splitlines()[-1] == "cost 0.5"
        assert "cost" not in virc("solve", image, "q", "--endpoint", server.url, "--quiet").err


def test_without_prices_nothing_is_said_of_cost(image: Path) -> None:
    with serve([answer("97")]) as server:
        done = virc("solve", image, "q", "--endpoint", server.url, "--json")
    assert ("cost" in done.json, "cost" in done.err) == (False, False)


def test_a_script_pays_by_the_same_file_and_stops_at_the_same_limit(image: Path) -> None:
    Path("prices.yaml").write_text(PRICES)
    asked = [(image, f"Say {number}") for number in range(5)]
    with serve([answer("97")]) as server:
        told: dict[str, Any] = {"endpoint": server.url, "prices": Path("prices.yaml")}
        one = one_solved(image, "q", **told).fields["cost"]
        assert one > 0
        solved = list[Solution]()
        with pytest.raises(LimitError, match=r"stopped at --max-cost .*; 2 rows done"):
            solved.extend(batch_of(asked, **told, concurrency=1, max_cost=1.5 * one, trust_rows=True))


def test_rows_that_were_taken_before_the_limit_hold_up_no_batch(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later row reaches the limit while an earlier one is taken, which then does not begin."""

    def solve(taken: Iterable[ProblemRow], claims: Claims, on_row: Callable[[RowDone], None], _stop: object) -> None:
        _, second = islice(taken, 2)
        on_row(RowDone(second, {"answer": "97", "replies": 1, "cost": 2.0}))
        assert next(iter(taken), None)
        assert not claims.may_begin()

    monkeypatch.setattr(many, "open_solver", lambda *_, **__: nullcontext(Solver(1, {}, solve)))
    solved = list[Solution]()
    asked = many.batch([(image, f"Say {number}") for number in range(5)], endpoint="http://127.0.0.1:9/v1", max_cost=1)
    ended = started(lambda: solved.extend(asked))
    with pytest.raises(LimitError, match="1 row done"):
        ended.result(30)
    assert [each.answer for each in solved] == ["97"]


@each_case(
    ("content", "sentence"),
    [
        ("other: {input: 2, output: 10}", f"has no price of {MODEL}"),
        (None, "there is no file prices.yaml"),
        (f"{MODEL}: {{input: 2}}", "has no prices of models"),
        (f"{MODEL}: {{input: -2, output: 1}}", "has no prices of models"),
        (f"{MODEL}: {{input: 2, output: 1, cached: 1}}", "has no prices of models"),
    ],
)
def test_a_file_without_the_price_is_refused(content: str | None, sentence: str, image: Path) -> None:
    Path("prices.yaml").unlink(missing_ok=True)
    if content is not None:
        Path("prices.yaml").write_text(content)
    with serve([answer("97")]) as server:
        done = virc("solve", image, "q", "--endpoint", server.url, "--prices", "prices.yaml")
        assert (done.code, sentence in done.err, "hint: " in done.err, server.chats()) == (3, True, True, [])


def test_a_batch_stops_at_its_limit_and_goes_on(image: Path) -> None:
    source = rows(image, 5)
    with serve([answer("97")], cost=0.4) as server:
        first = batch(server, source, "--max-cost", 1)
        assert (first.code, costs()) == (9, [0.4] * 3)
        assert "3 rows: 3 answered, 0 without an answer, 0 failed; cost 1.2, 0.4 an answer" in first.err
        assert "stopped at --max-cost 1: this call cost 1.2; 3 rows are done of 5" in first.err
        second = batch(server, source, "--max-cost", 1)
        assert (second.code, costs()) == (0, [0.4] * 5)
        assert batch(server, source, "--max-cost", 0).code == 0


def test_a_limit_of_nothing_asks_nothing(image: Path) -> None:
    with serve([answer("97")], cost=0.4) as server:
        for limit in (0, "nan"):
            done = batch(server, rows(image, 2), "--max-cost", limit)
            assert (done.code, server.chats()) == (9, [])
            assert "this call cost 0; 0 rows are done of 2" in done.err


def test_rows_in_work_at_the_limit_are_finished_and_counted(image: Path) -> None:
    together = threading.Barrier(3)

    def turns(body: Body) -> str:
        together.wait(60)
        return answer("97")

    with serve(turns, cost=0.4) as server:
        done = batch(server, rows(image, 9), "--max-cost", 0.1, at_once=3)
        assert (done.code, costs(), len(server.chats())) == (9, [0.4] * 3, 3)


def test_a_limit_needs_a_known_cost(image: Path) -> None:
    with serve([answer("97")]) as server:
        done = batch(server, rows(image, 3), "--max-cost", 1)
    assert (done.code, "--prices FILE" in done.err) == (3, True)
