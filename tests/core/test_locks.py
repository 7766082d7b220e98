"""One writer at a time."""

import fcntl
import threading
from pathlib import Path
from typing import IO

import pytest

from virc.core import locks
from virc.core.errors import ConfigError


def test_a_second_writer_is_refused_at_once_and_the_third_comes_in(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with locks.held(path):
        with pytest.raises(ConfigError, match=r"another run is writing .*rows\.csv"):
            locks.lock(path)
        with pytest.raises(ConfigError, match="said better"), locks.held(path, ConfigError("said better")):
            pass
    with locks.held(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_on_a_file_that_was_taken_away_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, the holder before has removed the file, and a third has made and locked another."""
    path = tmp_path / "rows.csv"
    flock, others = fcntl.flock, list[IO[bytes]]()

    def late(file: object, how: int) -> None:
        flock(file, how)  # type: ignore[arg-type]
        if not others:
            monkeypatch.setattr(fcntl, "flock", flock)
            Path(file.name).unlink()  # type: ignore[attr-defined]
            others.append(locks.lock(path))

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ConfigError):
        locks.lock(path)
    locks.unlock(others[0])
    locks.unlock(locks.lock(path))


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


def test_the_file_goes_before_the_lock_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = list[bool]()
    file = locks.lock(tmp_path / "rows.csv")
    unlink = Path.unlink

    def noted(self: Path) -> None:
        steps.append(file.closed)
        unlink(self)

    monkeypatch.setattr(Path, "unlink", noted)
    locks.unlock(file)
    assert (steps, file.closed) == ([False], True)
