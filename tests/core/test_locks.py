"""One writer at a time."""

import errno
import fcntl
import os
import platform
import shlex
import threading
from pathlib import Path

import pytest

from virc.core import locks
from virc.core.errors import ConfigError


def test_a_lock_is_never_held_by_two(tmp_path: Path) -> None:
    path, inside, most, taken = tmp_path / "rows.csv", [0], [0], [0]

    def work() -> None:
        while taken[0] < 200:
            try:
                with locks.held(path):
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    taken[0] += 1
                    inside[0] -= 1
            except ConfigError:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


NO_LOCKS = [errno.ENOSYS, errno.EINVAL]


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    number = getattr(request, "param", errno.ENOLCK)

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    locks._say_once.cache_clear()


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("no_locks", NO_LOCKS, indirect=True)
def test_a_mount_without_locks_has_files_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(locks._LOG, "warning", lambda text, *values: said.append(text % values))
    for _ in range(2):
        with locks.held(tmp_path / "rows.csv"):
            assert locks.is_held(tmp_path / "rows.csv")
            written = (tmp_path / ".rows.csv.lock.pid").read_text()  # at once: a run that is killed leaves it
            assert written == f"{os.getpid()} {platform.node()}"
            with pytest.raises(ConfigError, match="said better") as busy:
                locks.lock(tmp_path / "rows.csv", ConfigError("said better", "wait for it"))
            made = shlex.quote(str(tmp_path / ".rows.csv.lock.pid"))
            assert busy.value.hint == f"wait for it; if none runs any more: rm {made}"
            with locks.held(tmp_path / "other.csv"):
                pass
        assert not locks.is_held(tmp_path / "rows.csv")
    assert said == [f"{tmp_path} has no file locks: files that only one run can make stand for them"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    ("left", "held"),
    [
        ("999999999 {here}", False),
        ("{own} {here}", True),
        ("1 another-machine", True),
        ("999999999 {here}x", True),
        ("", True),  # it is being written
        ("no number", True),
    ],
)
def test_what_a_killed_process_left_is_no_lock(left: str, held: bool, tmp_path: Path) -> None:
    (tmp_path / ".rows.csv.lock.pid").write_text(left.format(own=os.getpid(), here=platform.node()))
    assert locks.is_held(tmp_path / "rows.csv") is held
