"""SIGKILL, Ctrl-C and SIGTERM on a real `virc download`, at any moment: nothing is lost, and little comes twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]
import pytest
from downloads import MODEL, ROOT, held, model, packed, serving, start, weights
from hub_server import Fault, Hub, hang, slow

from virc.core.files import HIDDEN
from virc.download.hub import record
from virc.download.hub.fetching import LAST

pytestmark = pytest.mark.integration

DATA, ARCHIVE = "datasets/someone/pictures", "images.tar.lz4"
IN_SOCKETS = 5 << 20  # bytes that were sent and not yet read
IMAGES = {f"images-{number % 2}/{number % 20}/{number}.png": weights(8_000, number) for number in range(1000)}
ROWS = {"rows.jsonl": b"{}\n", "dataset_info.json": b"{}"}
PACKED: bytes = lz4.frame.compress(packed(IMAGES))
FILES = {DATA: ROWS | {ARCHIVE: PACKED}, MODEL: model(8 << 20)}
FOLDERS = {DATA: Path("data/pictures"), MODEL: Path("models/ViRC-7B")}
WHOLE = {DATA: ROWS | IMAGES, MODEL: FILES[MODEL]}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(monkeypatch, tmp_path, dict(FILES)) as made:
        yield made


def sound(name: str) -> dict[str, bytes]:
    """What is there under final names: whole files alone, and nothing that calls itself whole too early."""
    there = held(FOLDERS[name]) if FOLDERS[name].exists() else {}
    found = {each: data for each, data in there.items() if "virc-unpack.partial" not in each}
    assert found.items() <= (WHOLE[name] | FILES[name]).items(), "a half-written file has a final name"
    if found.keys() & set(LAST):
        assert not WHOLE[name].keys() - found.keys() - set(LAST), "it calls itself whole and is not"
    return found


def completed(name: str) -> None:
    """Run it to its end; all is there, and nothing is left over."""
    out, err = (process := start(name)).communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    assert out.decode() == f"{FOLDERS[name]}\n"
    assert held(FOLDERS[name]) == WHOLE[name]
    recorded = record.read_record(FOLDERS[name])
    assert recorded is not None
    assert recorded.lacking == ()
    assert [path.name for path in (FOLDERS[name] / HIDDEN).iterdir()] == ["record.json"]


def killed_and_completed(kills: int, seed: int, name: str, server: Hub) -> None:
    server.misbehave(slow(5_000_000), name="*", times=None)
    chance = random.Random(seed)
    kept: set[str] = set()
    for _ in range(kills):
        before = len(server.requests)
        process = start(name)
        assert server.until(lambda before=before: len(server.requests) > before)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.8))
        process.kill()
        process.communicate()
        found = sound(name).keys() - {ARCHIVE}
        assert found >= kept, "a whole file is lost"
        kept = set(found)
    server.behave()
    completed(name)
    for file, data in FILES[name].items():
        assert len(data) <= server.sent(file) <= len(data) + kills * IN_SOCKETS, f"{file} came again"


@pytest.mark.smoke
@pytest.mark.parametrize("name", [DATA, pytest.param(MODEL, marks=pytest.mark.slow)])
def test_a_download_killed_at_any_moment_is_completed_by_the_next(name: str, server: Hub) -> None:
    killed_and_completed(5, 1, name, server)


@pytest.mark.slow
@pytest.mark.parametrize("name", [DATA, MODEL])
def test_a_download_killed_fifty_times_is_completed_by_the_next(name: str, server: Hub) -> None:
    killed_and_completed(50, 2, name, server)


HUB, UNPACKING = "virc.download.hub", "virc.unpack.archive.folder"
Moment = tuple[str, str, int, str]
# Each run is killed one step further: rows come first, then the archive, last dataset_info.json.
STEPS: list[Moment] = [
    (f"{HUB}.folder", "Folder.came", 2, "before"),  # the archive is there, and nobody knows
    (UNPACKING, "Folder.put", 600, "before"),
    (f"{HUB}.fetching", "pour", 1, "after"),  # all is unpacked, and nobody knows
    (f"{HUB}.folder", "Folder.came", 1, "before"),
    (f"{HUB}.record", "sync", 2, "before"),
    (f"{HUB}.folder", "Folder.clear_spent", 1, "before"),  # the archive is of no use any more
    (f"{HUB}.folder", "Folder.clear_spent", 1, "after"),
]


def dies(moment: Moment, *words: str) -> None:
    paths = os.pathsep.join((str(ROOT), str(ROOT / "recipes")))
    child = Path(__file__).with_name("killed_child.py")
    done = subprocess.run(
        [sys.executable, child, *map(str, moment), "download", *words],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, (moment, done.stderr.decode())


def test_killed_between_any_two_steps_nothing_comes_twice(server: Hub) -> None:
    for moment in STEPS:
        dies(moment, DATA)
        sound(DATA)
    assert not (FOLDERS[DATA] / ARCHIVE).exists()
    completed(DATA)
    for file, data in FILES[DATA].items():
        assert server.sent(file) == len(data), f"{file} came again"


WHOLE_FILE: list[Moment] = [
    (f"{HUB}.file", "sync", 1, "before"),  # it has its name, and nobody knows
    (f"{HUB}.file", "sync", 1, "after"),
]


def test_a_file_killed_around_its_name_does_not_come_again(server: Hub) -> None:
    for moment in WHOLE_FILE:
        dies(moment, MODEL)
        sound(MODEL)
    completed(MODEL)
    for file, data in FILES[MODEL].items():
        assert server.sent(file) <= len(data) + 2 * IN_SOCKETS, f"{file} came again"


@pytest.mark.parametrize(
    ("number", "code", "words", "fault"),
    [
        (signal.SIGINT, 130, [DATA], slow(1_200_000)),
        (signal.SIGTERM, 143, [MODEL], slow(1_200_000)),
        (signal.SIGTERM, 143, [MODEL], hang),
        pytest.param(signal.SIGINT, 130, [MODEL], slow(1_200_000), marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_it_soon_and_says_what_goes_on(
    number: int, code: int, words: list[str], fault: Fault, server: Hub
) -> None:
    server.misbehave(fault, name="*", times=None, skip=2 if fault is hang else 0)
    process = start(*words)
    assert server.until(lambda: server.sent() > 1_000_000)
    process.send_signal(number)
    out, err = process.communicate(timeout=240)  # the rest would take minutes
    assert (process.returncode, out) == (code, b"")
    assert b"the same command resumes" in err
    assert b"Traceback" not in err
    sound(words[0])
    server.behave()
    completed(words[0])
