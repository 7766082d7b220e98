"""How the pool builds a state again, with a scripted process; how limits are told, and groups removed."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from virc.sandbox import cgroup, limits
from virc.sandbox import pool as pools
from virc.sandbox.calls import Answer, Around, Asked, Reply, Request
from virc.sandbox.pool import DiedError, Limits, Machine, Past, Pool, Problem

MACHINE, LIMITS = Machine(64, 1, ()), Limits(5.0, "none", 1, 100, 100)
Calls = Sequence[tuple[str, dict[str, Any], bytes]]


class Scripted:
    """In place of a process: each piece of code makes the calls of `script`."""

    script: Calls = ()
    made: ClassVar[list["Scripted"]] = []

    def __init__(self, machine: Machine) -> None:
        self.watch, self.killed, self.ran, self.seconds = None, False, list[str](), list[float]()
        Scripted.made.append(self)

    def ready(self) -> None:
        """It is."""

    def kill(self) -> None:
        self.killed = True

    def run(self, request: Request, files: object, seconds: float, answer: Any) -> tuple[Reply, list[bytes]]:
        self.ran.append(request.code)
        self.seconds.append(seconds)
        given = [answer(Asked(0, name, arguments), [pixels]).value for name, arguments, pixels in Scripted.script]
        return Reply(0, ",".join(given), "", (), False, ()), []


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setattr(pools, "Child", Scripted)
    monkeypatch.setattr(Scripted, "made", [])
    found = Pool(1)
    yield found
    found.close()


def ran(pool: Pool, past: Past, code: str, calls: Calls, asked: list[str]) -> Past:
    Scripted.script = calls

    def answer(call: Asked, pixels: Sequence[bytes]) -> Answer:
        asked.append(call.name)
        return Answer(f"{call.name} {len(asked)}")

    around = Around({}, {"look": ("image",)}, 5, answer)
    return pool.run(past, code, [], MACHINE, LIMITS, True, around)[2]


BEFORE: Calls = [("look", {"image": 0}, b"abc")]


@pytest.mark.parametrize(
    ("again", "same"),
    [
        (BEFORE, True),
        ([], True),  # it asked for less
        ([("look", {"image": 0}, b"abd")], False),  # another picture
        ([("look", {"image": 1}, b"abc")], False),
        ([("cut", {"image": 0}, b"abc")], False),
        ([*BEFORE, *BEFORE], False),
    ],
)
def test_a_state_is_built_again_by_the_same_calls_alone(pool: Pool, again: Calls, same: bool) -> None:
    asked: list[str] = []
    past = ran(pool, Past(Problem()), "first", BEFORE, asked)
    pool._kept.popitem()[1].child.kill()  # as where others need its place
    if same:
        ran(pool, past, "second", again, asked)
        assert [each.ran for each in Scripted.made if each.ran] == [["first"], ["first", "second"]]
        assert len(asked) == 1 + len(again)  # what was answered before is not asked again
    else:
        with pytest.raises(DiedError, match="went another way when it ran again"):
            ran(pool, past, "second", again, asked)
        assert asked == ["look"]


def test_code_that_runs_again_has_the_time_that_it_had(pool: Pool) -> None:
    Scripted.script = ()
    long = msgspec.structs.replace(LIMITS, seconds=60.0)
    past = pool.run(Past(Problem()), "first", [], MACHINE, long, True)[2]
    pool._kept.popitem()[1].child.kill()
    pool.run(past, "second", [], MACHINE, LIMITS, True)
    assert [each.seconds for each in Scripted.made if each.seconds] == [[60.0], [60.0, 5.0]]


@pytest.mark.parametrize(
    ("holds", "how"), [(True, "by a wall"), (False, "a program inside broke it; meant to hold it: by a wall")]
)
def test_a_limit_says_what_holds_it_or_should(holds: bool, how: str) -> None:
    assert limits._limit("network", holds, "by a wall").how == how


def test_groups_of_dead_processes_alone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cgroup.procs", "cgroup.controllers", "cgroup.subtree_control"):
        (tmp_path / name).write_text("")
    dead, alive = tmp_path / "virc-4194305-1", tmp_path / f"virc-{os.getpid()}-2"  # beyond the largest id of Linux
    dead.mkdir()
    alive.mkdir()
    monkeypatch.setattr(cgroup, "_own", lambda: tmp_path)
    assert cgroup._parent.__wrapped__(os.getpid()) == tmp_path
    assert (dead.exists(), alive.exists()) == (False, True)
