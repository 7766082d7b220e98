"""JSON schemas and regular expressions of others, in a process that is ended after its share of CPU time.

To validate a value by a schema of 1 KB can take years, and so can a pattern of ten characters. No check of their text
finds all of those; a limit of CPU time does.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from virc.core.errors import ConfigError, SetupError
from virc.core.timeouts import LateError, within
from virc.core.work import forks

SECONDS = 1.0
"""CPU time of one question; a schema of 32 KB needs a tenth of it."""
_WALL_SECONDS = 120.0  # for what waits instead of computing, and for systems without limits of CPU time
_LOOP = Path(__file__).with_name("bounded_worker.py")


class CostlyError(ConfigError):
    """A schema, a pattern or another question takes more than its share of CPU time or memory."""


class Bounded:
    """A process that answers questions by the functions of a file, one at a time; threads may share it.

    It is started by the first question, and again where it has ended; it ends with this process at the latest.

    Args:
        file: of Python, whose `MAX_BYTES` is the address space of the process.
    """

    def __init__(self, file: Path) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._file, self._turn = file, forks.Lock()
        forks.renew_in_child(self._forget)

    def ask(self, function: str, seconds: float, *arguments: object) -> Any:
        """Return what a function of the file answers, in `seconds` of CPU time.

        Raises:
            CostlyError: it takes longer or too much memory, or the arguments are too deep.
            SetupError: the process does not start.
        """
        try:
            line = json.dumps((function, seconds, *arguments)).encode() + b"\n"
        except RecursionError:
            raise CostlyError("it is too deep") from None
        with self._turn:
            for _ in range(2):  # a process that others have ended is replaced once
                answer, code = self._exchange(line)
                if answer:
                    return json.loads(answer)
                if code > 0:
                    raise SetupError(f"{self._file} ends with exit code {code}", f"{sys.executable} {self._file}")
                if sys.platform != "win32" and code == -signal.SIGPROF:
                    break
        raise CostlyError(f"it is too costly: one value takes over {seconds:g} s of CPU time, or too much memory")

    def close(self) -> None:
        with self._turn:
            self._end()

    def _forget(self) -> None:
        self.process = None

    def _exchange(self, line: bytes) -> tuple[bytes, int]:
        """The answer to a question; where the process ends instead, nothing and its exit code."""
        if self.process is None:
            # -P: the modules next to the program are not to be found under their bare names
            command, pipe = [sys.executable, "-P", str(_LOOP), str(self._file)], subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        pipes = self.process.stdin, self.process.stdout
        answer = b""
        try:
            with suppress(LateError):
                answer = within(time.monotonic() + _WALL_SECONDS, lambda _: _answer(*pipes, line))
        except BaseException:  # an interruption: its answer must not be taken for that to the next question
            self._end()
            raise
        return (answer, 0) if answer.endswith(b"\n") else (b"", self._end())

    def _end(self) -> int:
        process, self.process = self.process, None
        if process:
            end(process)
        return process.returncode if process else 0


def _answer(questions: IO[bytes] | None, answers: IO[bytes] | None, line: bytes) -> bytes:
    assert questions
    assert answers
    with suppress(OSError, ValueError):  # it has ended
        questions.write(line)
        questions.flush()
        return answers.readline()
    return b""


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):  # what is left in it
            assert stream
            stream.close()


SCHEMAS = Bounded(Path(__file__).with_name("schemas.py"))
"""That of this process."""


def schema_fault(schema: object) -> str | None:
    """Return what is wrong with a JSON schema (draft 2020-12); None: values can be validated by it.

    A fault is a schema that takes too long, or has no end, for a small value, too.
    """
    try:
        fault: str | None = SCHEMAS.ask("fault", SECONDS, schema)
    except CostlyError as error:
        return error.message
    return fault


def misfit(schema: Mapping[str, Any], value: object) -> str | None:
    """Return why a value does not fit a schema without faults, and where; None: it fits. Raises CostlyError."""
    found: str | None = SCHEMAS.ask("misfit", SECONDS, schema, value)
    return found
