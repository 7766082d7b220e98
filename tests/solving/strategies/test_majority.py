"""`--strategy majority`: who wins, after how many calls, and what a sample that fails costs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import faults
from support.called import Done, virc
from support.servers import Body, Server, serve
from support.solving import answer


def in_order(*texts: str) -> Callable[[Body], str]:
    replies: Iterator[str] = iter(texts)
    return lambda _: answer(next(replies))


def solved(server: Server, image: Path, strategy: str, *words: object) -> Done:
    return virc("solve", image, "q", "--endpoint", server.url, "--strategy", strategy, "--json", *words)


@pytest.mark.parametrize(
    ("strategy", "texts", "given", "calls"),
    [
        ("majority:n=5", "777", "7", 3),
        ("majority:n=4", "77", "7", 2),
        ("majority:n=4", "1771", "1", 4),
        ("majority:n=5", "12345", "1", 5),
        ("majority", "122222", "2", 6),
    ],
)
def test_it_asks_until_the_vote_is_decided(image: Path, strategy: str, texts: str, given: str, calls: int) -> None:
    with serve(in_order(*texts)) as server:
        found = solved(server, image, strategy).json
        assert (found["answer"], len(server.chats())) == (given, calls)
        assert len({body["seed"] for body in server.chats()}) == calls  # or all would say the same
    assert found["strategy"]["samples"] == found["strategy"]["cost"]["replies"] == found["replies"] == calls
    assert found["strategy"]["cost"]["completion"] == found["tokens"]["completion"] > 0
    assert found["settings"]["strategy"].startswith("majority:n=")


def test_a_sample_that_fails_costs_itself(image: Path) -> None:
    with serve(in_order("7", "7"), fault=faults.status(422), times=1) as server:
        done = solved(server, image, "majority:n=3,early=no")
    assert (done.code, done.json["answer"]) == (0, "7")
    assert done.json["votes"] == [{"answer": "7", "count": 2}, {"answer": None, "count": 1}]


def test_refusals_win_no_vote_and_none_but_refusals_is_no_answer(image: Path) -> None:
    with serve(in_order("unreadable", "7", "unreadable", "unreadable")) as server:
        assert solved(server, image, "majority:n=4,early=no").json["answer"] == "7"
    with serve(in_order(*["unreadable"] * 3)) as server:
        done = virc("solve", image, "q", "--endpoint", server.url, "--strategy", "majority:n=3", "--quiet")
    assert (done.code, done.out) == (8, "")
    assert "none of 3 samples has an answer" in done.err


OWN = """
import msgspec

class Options(msgspec.Struct, frozen=True):
    n: int = 3

def samples(options):
    return options.n

def solve(asking, options):
    solved = asking.by_vote()
    answers = [each.trace.answer for each in solved.attempts]
    return msgspec.structs.replace(solved, answer=min(answers, key=len))
"""


def test_a_file_is_a_strategy(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shortest.py").write_text(OWN)
    (tmp_path / "empty.py").write_text("Options = 3\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    for name in (f"{tmp_path}/shortest.py:n=2", "shortest:n=2"):
        with serve(in_order("twelve", "12")) as server:
            found = solved(server, image, name).json
        assert (found["answer"], found["strategy"]["samples"], found["settings"]["strategy"]) == ("12", 2, name)
    done = virc("solve", image, "q", "--strategy", "empty")
    assert done.code == 3
    assert "is not a strategy: it has no Options, a msgspec.Struct; no samples(options)" in done.err
    gone = virc("solve", image, "q", "--strategy", f"{tmp_path}/gone.py")
    assert (gone.code, f"there is no file '{tmp_path}/gone.py'" in gone.err) == (2, True), gone.err
