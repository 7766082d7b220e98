"""JSON schemas and regular expressions of others, in processes that are ended after their share of CPU time.

To validate a value by a schema of 1 KB can take years, and so can a pattern of ten characters. No check of their text
finds all of those; a limit of CPU time does.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from virc.core.errors import ConfigError, SetupError

SECONDS = 1.0
"""CPU time of one question; a schema of 32 KB needs a tenth of it."""
_WALL_SECONDS = 60.0  # for what waits instead of computing, and for systems without limits of CPU time
_PROCESSES = 4  # more questions wait
_PROGRAM = Path(__file__).with_name("bounded_worker.py")
_TOO_DEEP = "it is too deep"
_slots = threading.BoundedSemaphore(_PROCESSES)
_idle: list["subprocess.Popen[bytes]"] = []


class CostlyError(ConfigError):
    """A schema or a pattern takes more than its share of CPU time or memory."""


class Share:
    """CPU time that several questions take together, such as those of one request: many cheap ones are one dear one."""

    def __init__(self, seconds: float) -> None:
        self.seconds = self.left = seconds


def schema_fault(schema: object, share: Share | None = None) -> str | None:
    """Return what is wrong with a JSON schema (draft 2020-12); None: values can be validated by it.

    Faults are references to other documents, too, and a schema that takes too long, or has no end, for a small value.
    """
    try:
        fault: str | None = _ask(share, "fault", json.dumps(schema))
    except CostlyError as error:
        return error.message
    except RecursionError:
        return _TOO_DEEP
    return fault


def misfit(schema: Mapping[str, Any], value: object, share: Share | None = None) -> str | None:
    """Return why a value does not fit a schema without faults, and where; None: it fits. Raises CostlyError."""
    try:
        found: str | None = _ask(share, "misfit", json.dumps(schema), value)
    except RecursionError:
        return _TOO_DEEP
    return found


def find(pattern: str, text: str) -> list[str | None] | None:
    """Return the first match of a pattern: its text and that of its groups. Raises CostlyError."""
    try:
        found: list[str | None] | None = _ask(None, "find", pattern, text)
    except CostlyError as error:
        raise CostlyError(f"the pattern {pattern!r}: {error.message}") from None
    return found


def _ask(share: Share | None, name: str, *question: object) -> Any:
    seconds = min(SECONDS, share.left) if share else SECONDS
    line = json.dumps((name, seconds, *question)).encode() + b"\n"
    with _slots:
        for _ in range(2 if seconds > 0 else 0):  # a process that others have ended is replaced once
            process = _idle_or_new()
            answer = _exchange(process, line)
            if answer.endswith(b"\n"):
                _idle.append(process)
                found, used = json.loads(answer)
                if share:
                    share.left -= used
                return found
            if process.returncode > 0:
                raise SetupError(f"{_PROGRAM} ended with exit code {process.returncode}")
            if sys.platform != "win32" and process.returncode == -signal.SIGPROF:
                break
    what = f"one value takes over {SECONDS:g} s"
    if share:
        what = what if seconds == SECONDS else f"all of the request takes over {share.seconds:g} s"
        share.left -= seconds
    raise CostlyError(f"it is too costly: {what} of CPU time, or too much memory")


def _idle_or_new() -> "subprocess.Popen[bytes]":
    with suppress(IndexError):  # another thread may take the last one
        return _idle.pop()
    # -P: the modules next to the program are not to be found under their bare names
    command = [sys.executable, "-P", str(_PROGRAM)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


def _exchange(process: "subprocess.Popen[bytes]", line: bytes) -> bytes:
    """The answer to a question; empty where the process has ended instead."""
    assert process.stdin
    assert process.stdout
    answer = b""
    timer = threading.Timer(_WALL_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    try:
        with suppress(OSError):
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
    finally:  # also after an interruption: its answer must not be taken for that to the next question
        timer.cancel()
        if not answer.endswith(b"\n"):
            end(process)
    return answer


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):  # what is left in it
            assert stream
            stream.close()


@atexit.register
def _end_all() -> None:
    while _idle:
        end(_idle.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # an answer is for the process that asked
