"""Rows are kept by how often a model solves them."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from asking_rows import made, rows_at, rules
from extras.make.made import read_rows
from support.servers import Body, Exchange, Server, serve
from support.solving import answer, start
from support.tables import each_case

RIGHT, WRONG = answer("97"), answer("98")


def number_of(body: Body) -> int:
    """The number in the question of a request."""
    text: str = body["messages"][1]["content"][-1]["text"]
    return int(text.partition("q ")[2].split()[0])


class Scripted:
    """The k-th reply to the question `q N` is right where the N-th script has a 1 at k."""

    def __init__(self, *scripts: str) -> None:
        self._scripts, self.asked = scripts, Counter[int]()

    def __call__(self, body: Body) -> str:
        number = number_of(body)
        self.asked[number] += 1
        return RIGHT if self._scripts[number - 1][self.asked[number] - 1] == "1" else WRONG


CASES: list[tuple[str, dict[str, Any], str | None, int]] = [
    ("1111", {}, None, 4), ("1010", {"min": 0.5, "max": 0.5}, None, 4),
    ("1111", {"max": 0.75}, "too easy", 4),  # only the last one shows it
    ("1111", {"max": 0.5}, "too easy", 3), ("0000", {"min": 0.5}, "too hard", 3),
    ("1110", {"min_variance": 0.2}, "alike", 3),  # 3/16 at most
    ("1110", {"min_variance": 0.1875}, None, 4), ("1111", {"min_variance": 0.25}, "alike", 3),
]  # fmt: skip
"""Script, bounds, rule by which the row is left out, and how many replies show that."""


@each_case(("script", "bounds", "rule", "replies"), CASES)
def test_replies_end_where_a_bound_is_out_of_reach(
    script: str, bounds: dict[str, Any], rule: str | None, replies: int, tmp_path: Path
) -> None:
    rows, scripted = rows_at(tmp_path), Scripted(script)
    with serve(scripted) as server:
        found = made("pass_rate", rows, server.url, {"n": 4, "temperature": 0.6, "max_tokens": 77, **bounds})
        assert len({body["seed"] for body in server.chats()}) == replies
        asked = {
            (body["temperature"], body.get("max_tokens", body.get("max_completion_tokens"))) for body in server.chats()
        }
        assert asked == {(0.6, 77)}
    assert scripted.asked[1] == replies
    assert rules(rows) == ({1: rule} if rule else {})
    right = script.count("1")
    counts = {"pass_rate": right / 4, "replies": 4, "right": right}
    assert [{key: each[key] for key in counts} for each in found] == ([] if rule else [counts])


def test_a_request_that_is_refused_is_no_wrong_reply(tmp_path: Path) -> None:
    rows = rows_at(tmp_path, 3)

    def refuse(exchange: Exchange) -> None:
        exchange.send_json({"error": {"message": "bad frog"}}, 400)

    with serve(Scripted("1", "11", "11"), fault=refuse, times=1) as server:
        kept = made("pass_rate", rows, server.url, {"n": 2}, at_once=1)
    assert [(row["id"], row["pass_rate"]) for row in kept] == [(2, 1), (3, 1)]
    (out,) = read_rows(tmp_path / "new.jsonl.left_out")
    assert out["rule"] == "failed"
    assert "bad frog" in out["why"]


def asked_again(server: Server) -> list[tuple[int, int]]:
    """The requests (question, seed) that came twice."""
    counts = Counter((number_of(body), body["seed"]) for body in server.chats())
    return [each for each, count in counts.items() if count > 1]


@pytest.mark.integration
def test_a_killed_run_asks_no_reply_twice(tmp_path: Path) -> None:
    rows, environment = rows_at(tmp_path, 6), {**os.environ, "HOME": str(tmp_path)}

    def turn(body: Body) -> str:
        return RIGHT if body["seed"] % 2 else WRONG

    def held(body: Body) -> str:
        """Nine replies; the others come when the run was killed."""
        if len(server.chats()) > 9:
            assert killed.wait(60)
        return turn(body)

    def run(server: Server, to: str) -> Any:
        words = ("data", "make", "pass_rate", rows, "--to", tmp_path / to, "--endpoint", server.url)
        return start(*words, "--protocol", "default", "--set", "n=4", "--concurrency", "2", env=environment)

    killed = threading.Event()
    with serve(turn) as whole:
        assert run(whole, "whole.jsonl").wait(60) == 0
    with serve(held) as server:
        process = run(server, "new.jsonl")
        assert server.wait_for(10)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        killed.set()
        assert run(server, "new.jsonl").wait(60) == 0
        twice = asked_again(server)
        assert len(server.chats()) == 24 + len(twice)
    assert len(twice) <= 2  # those under way when it was killed, whose replies nobody got
    assert read_rows(tmp_path / "new.jsonl") == read_rows(tmp_path / "whole.jsonl")
