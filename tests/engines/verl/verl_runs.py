"""Processes and folders of a run of verl, as tests find them."""

import hashlib
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

EQUAL = 2e-5
"""How far probabilities of sampled ids differ at most between rollout and trainer, computed from the same weights."""


def kill_worker(mark: str, name: str) -> int:
    """Kill one of Ray's processes of a run by the name of its class; returns its id."""
    titles = {pid: command for pid, command in processes() if mark.encode() in environ(pid)}
    found = [pid for pid, title in titles.items() if re.match(rf"ray::{name}\b", title)]
    assert len(found) == 1, titles
    os.kill(found[0], signal.SIGKILL)
    return found[0]


def ray_folders(mark: str) -> list[Path]:
    """Folders of Ray of a run whose VIRC_RUN says so."""
    number = hashlib.blake2s(mark.encode()).hexdigest()[:8]
    return list(Path("/tmp").glob(f"virc-ray-{number}-*"))


def processes() -> Iterator[tuple[int, str]]:
    """The id and the command of every process that is no zombie."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if command:
                yield int(place.name), command


def environ(pid: int) -> bytes:
    """The environment that a process began with; empty where it is over, or another's."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""
