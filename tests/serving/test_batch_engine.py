"""Batches on the real vLLM: images by their ids change no answer, and killing it loses and doubles nothing."""

import subprocess
import threading
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.real_server import VIRC, Real, real_server

from virc.backends.chat.backend import OpenAIBackend
from virc.reasoning.images import open_file
from virc.reasoning.session import Message
from virc.solving.image_source import source_of
from virc.solving.one import SolveConfig, solve
from virc.solving.rows import as_row

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

COUNT = 80


def answers(file: Path) -> dict[str, tuple[object, ...]]:
    """id -> what was answered; every id once."""
    lines = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    found = {line["id"]: (line["answer"], line["turns"], line["tokens"]["completion"]) for line in lines}
    assert len(found) == len(lines)
    return found


def batch(folder: Path, server: Real, out: str) -> "subprocess.Popen[str]":
    words = ("batch", "held/problems.jsonl", "--to", out, "--endpoint", server.url, "--temperature", "0")
    return subprocess.Popen([*VIRC, *words], cwd=folder, stderr=subprocess.PIPE, text=True)


def said(server: Real, folder: Path, by_id: bool) -> list[Sequence[Message]]:
    """What is said in the first conversations, images by their ids or with all their data each time."""
    backend = OpenAIBackend(server.url)
    sent = backend._images
    assert backend.server.virc_image_ids is True
    backend.server = msgspec.structs.replace(backend.server, virc_image_ids=by_id)
    protocol = backend.published_protocol()
    assert protocol is not None
    said = []
    with (folder / "held" / "problems.jsonl").open("rb") as file:
        for row in (as_row(at, msgspec.json.decode(line)) for at, line in enumerate(islice(file, 16))):
            image = open_file(*source_of(row.images[0], folder / "held"))
            (attempt,) = solve(SolveConfig(), backend, protocol, [image], row.question).attempts
            said.append(attempt.trace.messages)
    assert bool(sent._sent_ids) == by_id
    return said


def restarted_in_its_midst(running: "subprocess.Popen[str]", server: Real, out: Path) -> str:
    """Kill the server when a third is answered, start another on its port, and await the batch: its stderr."""
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.append(running.communicate(timeout=600)[1]))
    reader.start()
    while running.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < COUNT // 3):
        time.sleep(0.05)
    assert running.poll() is None
    server.kill()
    with real_server(server.port):
        reader.join()
    return errors[0]


def test_a_batch_outlives_vllm_and_images_by_id_change_nothing(tmp_path: Path) -> None:
    synth: Any = ("data", "synth", "--to", "held", "--count", str(COUNT), "--seed", "20000", "--split", "heldout")
    subprocess.run([*VIRC, *synth, "--formats", "batch"], cwd=tmp_path, check=True, capture_output=True)
    with real_server() as server:
        assert said(server, tmp_path, by_id=True) == said(server, tmp_path, by_id=False)
        undisturbed = batch(tmp_path, server, "undisturbed.jsonl")
        assert undisturbed.wait(600) == 0
        disturbed = batch(tmp_path, server, "disturbed.jsonl")
        errors = restarted_in_its_midst(disturbed, server, tmp_path / "disturbed.jsonl")
    assert disturbed.returncode == 0, errors
    assert errors.count("rows in work wait until the endpoint answers") == 1
    assert "0 failed" in errors.splitlines()[-1]
    expected = answers(tmp_path / "undisturbed.jsonl")
    assert len(expected) == COUNT
    assert answers(tmp_path / "disturbed.jsonl") == expected
