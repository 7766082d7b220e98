"""Kill -9, Ctrl-C and SIGTERM on a process that fetches a large file: nothing is lost but the parts under way."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Fault, hang, slow
from large_files import NAME, REPO, Place, asked_for, listed, serving

from virc.download.hub import ranged

pytestmark = pytest.mark.integration

PART = 1 << 14
REQUEST = ranged.ASKED * PART
UNDER_WAY = ranged.CONNECTIONS * REQUEST
CONTENT = random.Random(5).randbytes(24 << 20)
CHILD = Path(__file__).with_name("fetch_child.py")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    with serving(monkeypatch, tmp_path / "home", CONTENT) as server:
        yield Place(server, tmp_path, CONTENT)


def start(place: Place, kill_at: int | str = "never") -> subprocess.Popen[str]:
    file = listed(place.content)
    what = [kill_at, REPO.id, place.server.commit(REPO.id), NAME, file.size, file.sha256]
    words = [sys.executable, CHILD, *what, place.to, place.work, PART]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True, env=env)


def kept(place: Place) -> int:
    return ranged.kept(place.work, listed(place.content), PART)


def killed(place: Place, turn: float, chance: random.Random) -> int:
    """The exit code of a run killed on the way: by the clock when about `turn` bytes came, or at a moment of the disk.

    Three such moments belong to a request, and some six come before.
    """
    if chance.random() < 0.5:
        return start(place, chance.randint(4, 8 + int(turn / REQUEST * 3))).wait()
    child, before = start(place), place.server.sent(NAME)
    place.server.until(lambda: place.server.sent(NAME) >= before + turn)
    time.sleep(chance.uniform(0, 0.01))
    child.kill()
    return child.wait()


def check_kills(place: Place, kills: int, seed: int) -> None:
    """Every run keeps what those before it kept; all together cost the file, and what was under way at the kills."""
    chance = random.Random(seed)
    size, there = len(place.content), 0
    place.server.misbehave(slow(3_000_000), times=None)  # each connection: so that there is a middle
    for kill in range(kills):
        turn = (size - there) / (kills - kill + 1) * chance.uniform(0.3, 1)
        assert killed(place, turn, chance) == -signal.SIGKILL
        assert kept(place) >= there
        there = kept(place)
        assert not place.to.exists()
    assert 0 < there < size
    assert start(place).wait() == 0
    assert place.is_whole()
    assert place.server.sent(NAME) <= size + kills * UNDER_WAY


def test_killed_five_times_nothing_is_lost(place: Place) -> None:
    check_kills(place, 5, seed=1)


@pytest.mark.slow
def test_killed_fifty_times_nothing_is_lost(place: Place) -> None:
    place.content = random.Random(6).randbytes(96 << 20)
    place.server.put(REPO.id, {NAME: place.content})
    check_kills(place, 50, seed=2)


def test_killed_before_it_gets_its_name_nothing_comes_again(place: Place) -> None:
    assert start(place, "os.rename").wait() == -signal.SIGKILL
    assert not place.to.exists()
    assert kept(place) == len(place.content)
    before = len(place.server.requests)
    assert start(place).wait() == 0
    assert place.is_whole()
    assert len(place.server.requests) == before


def test_killed_when_it_has_its_name_it_is_whole(place: Place) -> None:
    assert start(place, "os.remove").wait() == -signal.SIGKILL
    assert place.to.read_bytes() == place.content
    assert kept(place) == 0
    place.fetch()
    assert place.is_whole()


@pytest.mark.parametrize(("number", "fault"), [(signal.SIGINT, slow(1_000_000)), (signal.SIGTERM, hang)])
def test_interrupted_all_threads_end_at_once_and_what_came_stays(
    place: Place, number: signal.Signals, fault: Fault
) -> None:
    server = place.server
    server.misbehave(fault, times=None, skip=12)
    child = start(place)
    assert server.until(lambda: len(server.asked("storage")) >= 16)
    child.send_signal(number)
    threads, _ = child.communicate(timeout=60)  # of the hours that a hub may be silent
    assert (child.returncode, threads) == (130, "1\n")
    there = kept(place)
    assert there >= 12 * PART
    server.behave()
    before = len(server.asked("storage"))
    assert start(place).wait() == 0
    assert place.is_whole()
    assert sum(map(len, asked_for(server)[before:])) == len(place.content) - there
