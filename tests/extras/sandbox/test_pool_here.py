"""How the pool builds a state again, with a scripted process; how limits are told, and groups removed."""

import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from support.tables import each_case

from virc.core.errors import SetupError
from virc_extras.sandbox import child as children
from virc_extras.sandbox import isolator
from virc_extras.sandbox import pool as pools
from virc_extras.sandbox.calls import Answer, Around, Asked, CodeReply, Request
from virc_extras.sandbox.child import Child
from virc_extras.sandbox.pool import DiedError, Given, Limits, Machine, Past, Pool, SandboxProblem

MACHINE, LIMITS = Machine(64, 1, ()), Limits(5.0, "none", 3, 200, 100)
Calls = Sequence[tuple[str, dict[str, Any], bytes]]


class Scripted:
    """In place of a process: each piece of code makes the calls of `script`."""

    script: Calls = ()
    made: ClassVar[list["Scripted"]] = []

    def __init__(self, machine: Machine) -> None:
        self.watch: Any = None
        self.killed, self.ran, self.seconds = False, list[str](), list[float]()
        self.requests, self.files = list[Request](), list[Sequence[bytes]]()
        Scripted.made.append(self)

    def ready(self) -> None:
        """It is."""

    def kill(self) -> None:
        self.killed = True

    def run(
        self, request: Request, files: Sequence[bytes], seconds: float, answer: Any
    ) -> tuple[CodeReply, list[bytes]]:
        self.requests.append(request)
        self.files.append(files)
        self.ran.append(request.code)
        self.seconds.append(seconds)
        given = [
            answer(Asked(0, name, arguments), [b"same", pixels]).value for name, arguments, pixels in Scripted.script
        ]
        return CodeReply(0, ",".join(given), "", (), False, ()), []


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
        ([("look", {"image": 1}, b"abc")], False), ([("cut", {"image": 0}, b"abc")], False),
        ([*BEFORE, *BEFORE], False),
    ],
)  # fmt: skip
def test_a_state_is_built_again_by_the_same_calls_alone(pool: Pool, again: Calls, same: bool) -> None:
    asked: list[str] = []
    past = ran(pool, Past(SandboxProblem()), "first", BEFORE, asked)
    pool._waiting.popitem()[1].child.kill()  # as where others need its place
    if same:
        ran(pool, past, "second", again, asked)
        assert [each.ran for each in Scripted.made if each.ran] == [["first"], ["first", "second"]]
        assert len(asked) == 1 + len(again)  # what was answered before is not asked again
    else:
        with pytest.raises(DiedError, match="went another way when it ran again"):
            ran(pool, past, "second", again, asked)
        assert asked == ["look"]


def kept(pool: Pool, past: Past, *codes: str, images: Sequence[Given] = ()) -> Past:
    """What is left of pieces of code that are run one after the other."""
    for code in codes:
        past = pool.run(past, code, images, MACHINE, LIMITS, True)[2]
    return past


def test_the_oldest_states_make_room_and_those_of_forgotten_problems_end(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def living() -> list[str]:
        return [each.ran[0] for each in Scripted.made if each.ran and not each.killed]

    Scripted.script, pool._max_sessions = (), 2
    pasts = [kept(pool, Past(SandboxProblem()), name) for name in "abc"]
    assert living() == ["b", "c"]
    pasts = pasts[:2]
    gc.collect()
    assert (living(), len(pool._waiting)) == (["b"], 1)
    pool._max_sessions = 9
    monkeypatch.setattr(pools, "_memory", lambda: 100)
    monkeypatch.setattr(Scripted, "ready", lambda self: setattr(self, "watch", SimpleNamespace(held=lambda: 20)))
    pasts += [kept(pool, Past(SandboxProblem()), name) for name in "de"]
    assert living() == ["b", "d", "e"]  # 40 of 100 are held
    pasts.append(kept(pool, Past(SandboxProblem()), "f"))
    assert living() == ["e", "f"]
    monkeypatch.setattr(pools, "_memory", lambda: 10)
    pasts.append(kept(pool, Past(SandboxProblem()), "g"))
    assert living() == ["g"]  # the newest stays


@each_case(
    ("count", "name", "says"),
    [
        (2, "look", None), (2, "other", r"this code may not call other\(\)$"),
        (3, "look", "has called functions 2 times, and may not call one again"),
        (10, "look", "has called functions 2 times, and may not call one again"),
    ],
)  # fmt: skip
def test_calls_are_answered_as_often_as_is_allowed_and_then_end_the_code(
    count: int, name: str, says: str | None
) -> None:
    request = Request("", (), "none", 0, 0, 99, functions={"look": ()}, max_calls=2)
    given = children._answered(Asked(1, name, {}), [], request, count, lambda *_: Answer(7))
    assert (given.value, given.error is None) == ((7, True) if says is None else (None, False))
    assert says is None or re.search(says, str(given.error))
    with pytest.raises(DiedError, match="went on to call functions after its last call"):
        children._answered(Asked(1, name, {}), [], request, 11, None)


def test_a_process_that_cannot_be_watched_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = list[bool]()

    def refuse(info: int, _: object) -> None:
        os.close(info)
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: SimpleNamespace(kill=lambda: killed.append(True)))
    monkeypatch.setattr(children, "_watch", refuse)
    monkeypatch.setattr(children.seccomp, "program", bytes)
    monkeypatch.setattr(isolator, "command", lambda *_: ["bwrap"])
    with pytest.raises(SetupError, match="cannot be watched: function not implemented"):
        Child(Machine(256, 64, ()))
    assert killed == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")
def test_a_sandbox_that_does_not_start_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "no bwrap")

    monkeypatch.setattr(subprocess, "Popen", failing)
    monkeypatch.setattr(isolator, "unsafe", lambda: False)
    monkeypatch.setattr(isolator, "command", lambda *_: ["bwrap"])
    opened = {*Path("/proc/self/fd").iterdir()}
    for _ in range(2):
        with pytest.raises(SetupError, match="bubblewrap cannot be started"):
            Child(Machine(256, 64, ()))
    assert {*Path("/proc/self/fd").iterdir()} == opened
