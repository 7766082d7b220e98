"""A file takes no more than its share of the processes that read: costly ones are refused, others come by turns."""

import base64
import contextvars
import io
import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from extras.mcp.test_mcp_many_clients import Place, at, kept
from extras.video.drawn_clips import KINDS, written
from extras.video.test_agent_media import PAGES
from serving.agent.agent_server import chat, scripted
from support.called import virc
from support.servers import CHAT
from support.tables import each_case

from virc.core.errors import ConfigError, DataError
from virc.core.limits.bounded import CLIENT, BoundedProcess, TooSlowError
from virc.reasoning.media import USUAL_MEDIA, MediaChoice
from virc_extras.video import limits, worker
from virc_extras.video.parts import MediaParts
from virc_extras.video.reader import medium_of
from virc_extras.video.turns import Turns

CLIP = KINDS["constant rate"]().data


def parts(data: bytes, choice: MediaChoice = USUAL_MEDIA) -> MediaParts:
    medium = medium_of(data[:1024])
    assert medium
    return medium.parts(data, "it", choice, lambda: None)


def blank(*sides: int) -> bytes:
    """A PDF of white squares; one of 3,000 points takes a second as a PNG and a JPEG."""
    file, document = io.BytesIO(), pypdfium2.PdfDocument.new()
    for side in sides:
        document.new_page(side, side)
    document.save(file)
    return file.getvalue()


@pytest.mark.integration
@each_case(
    ("seconds", "times", "data", "sentence"),
    [
        ("0.1", 5, blank(30, 3000), r"^page 2 of it takes over 0\.1 s of CPU time"),
        ("0.2", 0, blank(30, 3000), r"^it up to page 2 takes over 0 s of CPU time"),
        ("0.001", 5, written("mp4", size=(1280, 720)).data, r"^(the frame at \S+ of )?it takes over 0\.001 s of CPU"),
    ],
)
def test_what_takes_long_is_named(
    seconds: str, times: int, data: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limits.SETTING, seconds)
    monkeypatch.setattr(limits, "ALL_PICTURES", times)
    with pytest.raises(TooSlowError, match=sentence) as raised:
        parts(data)
    assert raised.value.hint == f"leave it out, or export VIRC_READING_SECONDS={2 * float(seconds):g}"
    monkeypatch.undo()
    assert len(parts(CLIP).parts) == 4


def test_each_part_is_named_before_it_is_read() -> None:
    wish = worker.Wish(at=(0.0, 1.5))
    slow = [answer.slow for answer, _ in worker._answers(worker._Task("clip", "it", wish), CLIP) if answer.slow]
    assert slow == ["the frame at 0:00 of it takes over 60 s", "the frame at 0:01.5 of it takes over 60 s"]


@pytest.mark.integration
def test_costly_pages_are_the_fault_of_who_sends_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(limits.SETTING, "0.001")
    with scripted() as running:
        status, answer = running.ask("?", {"type": "file", "file": {"file_data": PAGES}})
    assert (status, "0.001 s of CPU time" in answer["error"]["message"]) == (422, True)
    Path(tmp_path, "scan.pdf").write_bytes(base64.b64decode(PAGES.partition(",")[2]))
    done = virc("solve", tmp_path / "scan.pdf", "?", "--endpoint", "http://127.0.0.1:9/v1")
    assert (done.code, "scan.pdf takes over 0.001 s of CPU time to read\nhint: leave it out" in done.err) == (5, True)


@pytest.mark.integration
def test_a_worker_that_ends_costs_one_sentence() -> None:
    assert len(parts(CLIP).parts) == 4
    (process,) = worker.READER.turns.idle
    assert process.process
    os.kill(process.process.pid, signal.SIGSTOP)  # it answers nothing before it is ended
    medium = medium_of(CLIP)
    assert medium
    with pytest.raises(DataError, match="it ends the decoder"):
        medium.parts(CLIP, "it", MediaChoice(frames=60), lambda: process.process and process.process.kill())


@each_case("text", ["", "x", "0", "-1", "1e3", "43201"])
def test_the_setting_is_a_number_of_seconds(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.SETTING, text)
    if not text:
        assert limits.cpu_seconds() == limits.CPU_SECONDS
        return
    with pytest.raises(ConfigError, match="not seconds from"):
        limits.cpu_seconds()


def test_a_client_is_a_key_or_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients, read = list[str](), worker.Reader.pictures
    monkeypatch.setattr(worker.Reader, "pictures", lambda *words: clients.append(CLIENT.get()) or read(*words))
    body = json.dumps(chat("?", {"type": "file", "file": {"file_data": PAGES}})).encode()
    for keys in (None, "b", ("a", "b")):
        with scripted(served={"api_key": keys}) as running:
            assert running.send("POST", CHAT, body, Authorization="Bearer b")[0] == 200

    async def work(place: Place) -> None:
        Path(tmp_path, "a.png").write_bytes(blank(30))
        for mode in ("legacy", "auto"):
            await kept(await place.client("10.0.0.9", mode))

    at(tmp_path, work)
    assert clients == ["127.0.0.1", "127.0.0.1", "1", "10.0.0.9", "10.0.0.9"]


@pytest.mark.integration
def test_a_document_that_waits_for_a_reader_keeps_no_other_client_from_an_answer() -> None:
    def ask(key: str, *pictures: Any) -> int:
        return int(
            running.send("POST", CHAT, json.dumps(chat("?", *pictures)).encode(), Authorization=f"Bearer {key}")[0]
        )

    readers, document = worker.READER.turns, {"type": "file", "file": {"file_data": PAGES}}
    with scripted(served={"api_key": ("a", "b")}) as running, ThreadPoolExecutor() as pool:  # one problem at a time
        with ExitStack() as busy:
            while not readers.is_full():
                busy.enter_context(readers.turn(lambda: None))
            waiting = pool.submit(ask, "a", document)
            while not readers.waiting:
                time.sleep(0.001)
            assert ask("b") == 200
            assert not waiting.done()
        assert waiting.result() == 200


def test_turns_go_round_by_client() -> None:
    turns, order = Turns(lambda: BoundedProcess([sys.executable]), 2), list[str]()

    def take(client: str) -> None:
        CLIENT.set(client)
        with turns.turn(lambda: None):
            order.append(client)

    def run(client: str) -> threading.Thread:
        thread = threading.Thread(target=contextvars.Context().run, args=(take, client))
        thread.start()
        return thread

    with turns.turn(lambda: None):
        run("other").join()  # one process is for who has none
        assert order.pop() == "other"
        CLIENT.set("another")
        with turns.turn(lambda: None):
            threads = []
            for number, client in enumerate("aaabac", 1):
                threads.append(run(client))
                while sum(map(len, turns.waiting.values())) < number:
                    time.sleep(0.001)
        for thread in threads:  # one at a time, as this one still has a process
            thread.join()
    CLIENT.set("")
    assert "".join(order) == "abcaaa"
    assert (turns.waiting, len(turns.idle)) == ({}, 1)
