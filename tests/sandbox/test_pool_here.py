"""How the pool builds a state again, with a scripted process; how limits are told, and groups removed."""

import gc
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest

from virc.core.errors import ConfigError, SetupError
from virc.sandbox import cgroup, isolator, limits, watch
from virc.sandbox import child as children
from virc.sandbox import pool as pools
from virc.sandbox.calls import Answer, Around, Asked, Reply, Request
from virc.sandbox.child import Child
from virc.sandbox.pool import DiedError, Given, Image, Limits, Machine, Past, Pool, Problem

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

    def run(self, request: Request, files: Sequence[bytes], seconds: float, answer: Any) -> tuple[Reply, list[bytes]]:
        self.requests.append(request)
        self.files.append(files)
        self.ran.append(request.code)
        self.seconds.append(seconds)
        given = [
            answer(Asked(0, name, arguments), [b"same", pixels]).value for name, arguments, pixels in Scripted.script
        ]
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


def test_a_state_is_what_all_pieces_left_and_a_reply_that_is_drawn_again_leaves_none(pool: Pool) -> None:
    Scripted.script = ()
    past = kept(pool, Past(Problem()), "first", "second")
    kept(pool, past, "third")
    kept(pool, past, "drawn again")
    ran = [(each.ran, each.killed) for each in Scripted.made if each.ran]
    assert ran == [(["first", "second", "third"], True), (["first", "second", "drawn again"], False)]
    pool.close()
    assert all(each.killed for each in Scripted.made)  # the one that waits, too


def test_a_piece_of_code_that_keeps_nothing_ends_its_process(pool: Pool) -> None:
    Scripted.script = ()
    past = Past(Problem())
    assert pool.run(past, "only", [], MACHINE, LIMITS, False)[2] is past
    assert [each.killed for each in Scripted.made if each.ran] == [True]


def test_a_process_gets_the_pictures_that_are_new_to_it_and_what_goes_with_the_code(pool: Pool) -> None:
    Scripted.script = ()
    pictures = [Given(Image(f"{at}.png"), lambda at=at: bytes([at])) for at in range(3)]  # type: ignore[misc]
    past = kept(pool, Past(Problem()), "first", images=pictures[:1])
    around = Around({"name": "é"}, {"look": ("image",)}, 7)
    past = pool.run(past, "second", pictures, MACHINE, LIMITS, True, around)[2]
    pool._waiting.popitem()[1].child.kill()
    kept(pool, past, "third", images=pictures)
    first, again = (each for each in Scripted.made if each.ran)
    assert (first.files, again.files) == ([[b"\0"], [b"\1", b"\2"]], [[b"\0"], [b"\1", b"\2"], []])
    assert [image.file for image in first.requests[1].images] == ["1.png", "2.png"]
    for request in (first.requests[1], again.requests[1]):
        given = request.max_images, request.max_pixels, request.max_characters, request.files
        assert given == (3, 200, 100, "none")
        assert (request.variables, request.functions, request.max_calls) == (around.variables, around.functions, 7)


@pytest.mark.parametrize(("at_once", "started"), [(1, 1), (3, 3), (9, 4)])
def test_as_many_processes_are_started_ahead_as_may_run_and_not_over_four(
    pool: Pool, at_once: int, started: int
) -> None:
    Scripted.script = ()
    (other := Pool(at_once)).run(Past(Problem()), "first", [], MACHINE, LIMITS, False)
    assert len(other._warm[MACHINE]) == started
    other.close()
    assert sum(each.killed for each in Scripted.made) == len(Scripted.made) == 1 + started


def test_the_oldest_states_make_room_and_those_of_forgotten_problems_end(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def living() -> list[str]:
        return [each.ran[0] for each in Scripted.made if each.ran and not each.killed]

    Scripted.script, pool._max_sessions = (), 2
    pasts = [kept(pool, Past(Problem()), name) for name in "abc"]
    assert living() == ["b", "c"]
    pasts = pasts[:2]
    gc.collect()
    assert (living(), len(pool._waiting)) == (["b"], 1)
    pool._max_sessions = 9
    monkeypatch.setattr(pools, "_memory", lambda: 100)
    monkeypatch.setattr(Scripted, "ready", lambda self: setattr(self, "watch", SimpleNamespace(held=lambda: 20)))
    pasts += [kept(pool, Past(Problem()), name) for name in "de"]
    assert living() == ["b", "d", "e"]  # 40 of 100 are held
    pasts.append(kept(pool, Past(Problem()), "f"))
    assert living() == ["e", "f"]
    monkeypatch.setattr(pools, "_memory", lambda: 10)
    pasts.append(kept(pool, Past(Problem()), "g"))
    assert living() == ["g"]  # the newest stays


def test_one_program_at_a_time_runs_but_where_a_call_is_answered(pool: Pool) -> None:
    free, now = list[bool](), list[bool]()

    def is_free() -> bool:
        return pool._room.acquire(blocking=False) and not pool._room.release()

    def answer(call: Asked, pixels: Sequence[bytes]) -> Answer:
        free.append(is_free())
        return Answer("1")

    class Looks(list[Any]):
        def append(self, item: Any) -> None:
            now.append(is_free())

    Scripted.script = BEFORE
    kept_run = Scripted.run

    def run(self: Scripted, *given: Any) -> Any:
        self.seconds = Looks()
        return kept_run(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scripted, "run", run)
        pool.run(Past(Problem()), "a", [], MACHINE, LIMITS, False, Around({}, {"look": ("image",)}, 5, answer))
    assert (now, free, is_free()) == ([False], [True], True)


def test_how_many_run_at_once_is_said_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    at_end = list[tuple[Any, ...]]()
    monkeypatch.setattr(pools.atexit, "register", lambda *words: at_end.append(words))
    for text in ("0", "1025", "many", "-1"):
        monkeypatch.setenv(pools.AT_ONCE, text)
        with pytest.raises(ConfigError, match=f"VIRC_PYTHON_AT_ONCE is '{text}', not a number from 1 to 1024"):
            pools._of_process.__wrapped__(1)
    monkeypatch.setenv(pools.AT_ONCE, "3")
    made = pools._of_process.__wrapped__(1)
    assert (made._room._value, at_end) == (3, [(pools._close, made, 1)])


def test_where_one_process_does_not_start_none_is_left(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Scripted) -> None:
        raise SetupError("no sandbox")

    monkeypatch.setattr(Scripted, "ready", refuse)
    with pytest.raises(SetupError, match="no sandbox"):
        kept(pool, Past(Problem()), "first")
    assert [each.killed for each in Scripted.made] == [False, True]  # the first ended itself
    assert pool._room.acquire(blocking=False)
    pool._room.release()


def test_a_fork_ends_no_process_of_its_parent(pool: Pool) -> None:
    pool.warm(MACHINE)
    pools._close(pool, os.getpid() + 1)
    assert len(pool._warm[MACHINE]) == 1
    pools._close(pool, os.getpid())
    assert (pool._warm, [each.killed for each in Scripted.made]) == ({}, [True])


def test_code_that_runs_again_has_the_time_that_it_had(pool: Pool) -> None:
    Scripted.script = ()
    long = msgspec.structs.replace(LIMITS, seconds=60.0)
    past = pool.run(Past(Problem()), "first", [], MACHINE, long, True)[2]
    pool._waiting.popitem()[1].child.kill()
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
    delegated: list[Path] = []
    monkeypatch.setattr(cgroup, "_delegate", delegated.append)
    assert cgroup._parent.__wrapped__(os.getpid()) == tmp_path
    assert (dead.exists(), alive.exists(), delegated) == (False, True, [tmp_path])
    monkeypatch.setattr(cgroup, "_GRACE", 0)
    (alive / "busy").touch()
    cgroup.remove(alive)  # which the kernel never gives up
    assert alive.exists()


def group_of(folder: Path, monkeypatch: pytest.MonkeyPatch, files: Sequence[str], refuses: str = "") -> Path | None:
    """The group that is made for process 5 where the kernel has these files in it."""

    class Kernel(type(Path())):  # type: ignore[misc]
        def mkdir(self, *_: Any, **__: Any) -> None:
            super().mkdir()
            for name in files:
                (self / name).touch()

        def write_text(self, text: str, *_: Any, **__: Any) -> int:
            if self.name == refuses:
                raise OSError
            return int(super().write_text(text))

        def rmdir(self) -> None:  # files of a group go with it
            for each in self.iterdir():
                each.unlink()
            super().rmdir()

    monkeypatch.setattr(cgroup, "_parent", lambda _: Kernel(folder))
    return cgroup.make(5, {"pids.max": "9", "memory.max": "7"})


def test_a_process_is_moved_into_a_group_with_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = group_of(tmp_path, monkeypatch, ["cgroup.freeze", "cgroup.procs", "pids.max"])
    assert group == tmp_path / f"virc-{os.getpid()}-5"
    written = {name: (group / name).read_text() for name in ("cgroup.procs", "pids.max")}
    assert written == {"cgroup.procs": "5", "pids.max": "9"}
    assert not (group / "memory.max").exists()  # which this kernel does not offer
    cgroup.remove(group)
    assert not group.exists()


@pytest.mark.parametrize(
    ("files", "refuses"),
    [(["cgroup.procs", "pids.max"], ""), (["cgroup.freeze", "cgroup.procs", "pids.max"], "pids.max"),
     (["cgroup.freeze", "cgroup.procs"], "cgroup.procs")],
)  # fmt: skip
def test_a_group_that_cannot_hold_a_process_is_none(
    files: list[str], refuses: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert group_of(tmp_path, monkeypatch, files, refuses) is None
    assert not list(tmp_path.iterdir())


V2 = "30 23 0:26 {root} {place} rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("groups", "mounts", "own"),
    [
        ("0::/user/a", V2.format(root="/", place="/sys/fs/cgroup"), "/sys/fs/cgroup/user/a"),
        ("4:pids:/x\n0::/user/virc", V2.format(root="/", place="/cg"), "/cg/user"),  # it was moved there
        ("0::/docker/7/b", V2.format(root="/docker/7", place="/cg"), "/cg/b"),
        ("0::/other", V2.format(root="/docker/7", place="/cg"), None),
        ("4:pids:/x", V2.format(root="/", place="/cg"), None),
        ("0::/a", "30 23 0:26 / /cg rw - tmpfs tmpfs rw\n", None),
    ],
)
def test_the_own_group_is_found_where_it_is_mounted(
    groups: str, mounts: str, own: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup").write_text(groups + "\n")
    (tmp_path / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda rw\n" + mounts)
    monkeypatch.setattr(cgroup, "Path", lambda name: Path(str(name).replace("/proc/self", str(tmp_path))))
    assert cgroup._own() == (Path(own) if own else None)


@pytest.mark.parametrize(
    ("beside", "offered", "given", "moved", "written"),
    [
        ([], "cpu memory pids io", "", True, {"+cpu", "+memory", "+pids"}),
        ([], "memory", "memory", False, set()),  # nothing is wanting
        ([1], "memory", "", False, set()),  # others are in the group
        (None, "memory", "", False, {"+memory"}),  # the root group
    ],
)
def test_groups_below_get_their_controllers_where_nobody_else_is(
    beside: list[int] | None, offered: str, given: str, moved: bool, written: set[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pids = [os.getpid(), *(beside or [])]
    files = {"cgroup.controllers": offered, "cgroup.subtree_control": given, "cgroup.procs": "\n".join(map(str, pids))}
    for name, text in (files if beside is None else files | {"cgroup.type": "domain"}).items():
        (tmp_path / name).write_text(text)
    wrote: list[tuple[Path, str]] = []
    monkeypatch.setattr(Path, "write_text", lambda self, text: wrote.append((self, text)))
    cgroup._delegate(tmp_path)
    own = [(tmp_path / "virc" / "cgroup.procs", str(os.getpid()))]
    assert wrote[: len(own) * moved] == own * moved  # before controllers are asked for
    assert {text for file, text in wrote[len(own) * moved :]} == written


def test_a_process_is_followed_to_those_that_started_it() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        try:
            found = [*islice(cgroup._ancestors(process.pid), 3)]
        finally:
            process.kill()
    assert found == [each for each in (process.pid, os.getpid(), os.getppid()) if each]
    assert [*cgroup._ancestors(process.pid)] == [process.pid]  # it is gone


def test_a_limit_that_stops_nothing_between_calls_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_STOPS", 0.01)
    for stops in (False, True):
        child: Any = SimpleNamespace(watch=SimpleNamespace(is_stopped=lambda stops=stops: stops))
        assert limits._stops(child) is stops


@pytest.mark.parametrize(
    ("count", "name", "says"),
    [
        (2, "look", None),
        (2, "other", r"this code may not call other\(\)$"),
        (3, "look", "has called functions 2 times, and may not call one again"),
        (10, "look", "has called functions 2 times, and may not call one again"),
    ],
)
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


def test_a_group_is_removed_once_the_kernel_gives_it_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "group").mkdir()
    refusals, rmdir = [OSError(), OSError()], Path.rmdir

    def busy(self: Path) -> None:
        if refusals:
            raise refusals.pop()
        rmdir(self)

    monkeypatch.setattr(Path, "rmdir", busy)
    cgroup.remove(tmp_path / "group")
    assert not (tmp_path / "group").exists()


@pytest.mark.parametrize(
    ("files", "how"),
    [
        (
            ("memory.max", "pids.max", "cpu.max", "cgroup.freeze"),
            ("RLIMIT_AS, memory.max", "64; pids.max", "; cpu.max", "cgroup.freeze and SIGSTOP"),
        ),
        (("cgroup.freeze",), ("RLIMIT_AS", "64; RLIMIT_NPROC", " while code runs", "cgroup.freeze and SIGSTOP")),
        (("memory.max",), ("RLIMIT_AS, memory.max", "64; RLIMIT_NPROC", " while code runs", "SIGSTOP")),
    ],
)
def test_a_process_is_held_by_what_its_group_offers(
    files: Sequence[str], how: tuple[str, str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, removed = list[dict[str, str]](), list[Path]()
    for name in files:
        (tmp_path / name).touch()
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    monkeypatch.setattr(cgroup, "make", lambda _, limits: made.append(dict(limits)) or tmp_path)
    monkeypatch.setattr(cgroup, "remove", removed.append)
    monkeypatch.setattr(watch, "threads_by_kernel", lambda: True)
    with subprocess.Popen(["sleep", "600"]) as process:
        watched = watch.Watch(process.pid, Machine(512, 4, ()))
        try:
            assert made == [
                {"memory.max": str(580 * 2**20), "memory.swap.max": "0", "pids.max": "64", "cpu.max": "100000 100000"}
            ]
            said = tuple(watched.how[name] for name in ("memory", "threads", "time", "between calls"))
            assert (said[0], said[1], said[3]) == (how[0], how[1], how[3])
            assert said[2].endswith(how[2])
            assert not watched.is_stopped()
            watched.stop()
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            assert watched.is_stopped()
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            assert abs(watched.held() - pages * os.sysconf("SC_PAGE_SIZE")) < 2**20
            assert watched._used()[1] == 1
            assert "cgroup.freeze" not in files or (tmp_path / "cgroup.freeze").read_text() == "1"
            watched.resume()
            os.waitid(os.P_PID, process.pid, os.WCONTINUED)
            assert not watched.is_stopped()
            assert "cgroup.freeze" not in files or (tmp_path / "cgroup.freeze").read_text() == "0"
            (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 1\n")
            assert watched.is_stopped()
            watched._group = tmp_path / "gone"  # somebody has removed it
            watched.stop()
            watched._group = tmp_path
        finally:
            watched.kill()
        assert process.wait() == -signal.SIGKILL
        watched.kill()  # which nobody gets any more
        assert (watched.held(), watched._used()) == (0, (0.0, 0))
        watched.close()
        watched.kill()  # nothing is open, and nobody else gets the signal
    assert removed == [tmp_path]


def test_what_is_written_and_read_never_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [os.pipe(), os.pipe()]
    files = [os.fdopen(read, "rb") for read, _ in ends] + [os.fdopen(written, "wb") for _, written in ends]
    popen = SimpleNamespace(pid=1, stdin=files[2], stdout=files[1])
    monkeypatch.setattr(Child, "_started", lambda *_: popen)
    child = Child(Machine(256, 64, ()))
    assert [os.get_blocking(each) for each in (child._in, child._out)] == [False, False]
    for file in files:
        file.close()


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
