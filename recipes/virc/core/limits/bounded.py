"""Questions about what others wrote, answered in processes that are ended after their share of time or memory.

To validate a value by a schema of 1 KB can take years, and so can a pattern of ten characters. No check of their text
finds all of those; a limit of CPU time does.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

import msgspec

from virc.core.errors import ConfigError, DataError, SetupError
from virc.core.timeouts import check_stop
from virc.core.work import forks, threads

SECONDS = 1.0
"""CPU time of one question; a schema of 32 KB needs a tenth of it."""
OUT_OF_CPU_TIME = -getattr(signal, "SIGPROF", 0)
"""Exit code of a process after its CPU time."""
_WALL_SECONDS = 120.0  # for what waits instead of computing, and for systems without limits of CPU time
_PIPE = 2**20  # bytes, Linux's largest for all users: pictures go through
CHECK = 0.1
"""Seconds between two looks at whether anybody still waits."""
CLIENT: ContextVar[str] = ContextVar("client", default="")
"""Whose work this is, of the clients of a server."""
_LOOP = Path(__file__).with_name("bounded_worker.py")


class CostlyError(ConfigError):
    """A schema, a pattern or another question takes more than its share of CPU time or memory."""


class TooSlowError(DataError):
    """To read a file takes more than its share of CPU time."""


class EndedError(Exception):
    """A process has ended instead of answering: its exit code, and whether its time was over."""

    def __init__(self, code: int, late: bool) -> None:
        super().__init__(code, late)
        self.code, self.late = code, late


class BoundedProcess:
    """A process that answers one question at a time; threads may share it.

    It is started by the first question, and again where it has ended; it ends with this process at the latest.

    Args:
        command, env: of the process, which ends itself by SIGPROF after its CPU time.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._command, self._env, self._turn = command, env, threading.Lock()
        forks.renew_in_child(self._forget)

    @contextmanager
    def turn(self, seconds: float, check: Callable[[], None]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """The pipes to and from the process, for one question and its answer.

        Args:
            seconds: longest wait for the answer.
            check: called meanwhile; raises where nobody waits for the answer any more.

        Raises:
            EndedError: the process ends instead of answering.
        """
        while not self._turn.acquire(timeout=CHECK):
            check()
        until = time.monotonic() + seconds
        try:
            if self.process and self.process.poll() is not None:  # somebody else has ended it
                self.close()
            process = self.process = self.process or self._started()
            assert process.stdin
            assert process.stdout
            with _watched(process, until, check):
                yield process.stdin, process.stdout
        except (OSError, EOFError, msgspec.DecodeError):
            code = self.close()
            check()
            raise EndedError(code, time.monotonic() >= until) from None
        except BaseException:  # an interruption: its answer must not be taken for that to the next question
            self.close()
            raise
        finally:
            self._turn.release()

    def _started(self) -> "subprocess.Popen[bytes]":
        options: dict[str, Any] = {"pipesize": _PIPE} if sys.platform == "linux" else {}
        return subprocess.Popen(
            self._command,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent
            **options,
        )

    def close(self) -> int:
        """End the process, and return its exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):  # what is left in it
                assert stream
                stream.close()
        return process.returncode

    def _forget(self) -> None:
        """Leave the process to the one that this one was forked from."""
        self.process, self._turn = None, threading.Lock()


@contextmanager
def _watched(process: "subprocess.Popen[bytes]", until: float, check: Callable[[], None]) -> Iterator[None]:
    """Kill a process inside the block when it is late or nobody waits for its answer any more."""
    answered = threading.Event()

    def watch() -> None:
        try:
            while not answered.wait(CHECK):
                check()
                if time.monotonic() >= until:
                    process.kill()
        except BaseException:  # raised once more by whoever waits
            process.kill()

    watching = threads.started(watch)
    try:
        yield
    finally:
        answered.set()
        watching.result()


class Bounded(BoundedProcess):
    """A process that answers questions by the functions of a Python file, whose `MAX_BYTES` is its address space."""

    def __init__(self, file: Path) -> None:
        # -P: the modules next to the program are not to be found under their bare names
        super().__init__([sys.executable, "-P", str(_LOOP), str(file)])
        self._file = file

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
        for _ in range(2):  # a process that others have ended is replaced once
            try:
                with self.turn(_WALL_SECONDS, check_stop) as (questions, answers):
                    questions.write(line)
                    questions.flush()
                    if not (answer := answers.readline()).endswith(b"\n"):
                        raise EOFError
                return json.loads(answer)
            except EndedError as ended:
                if ended.late or ended.code == OUT_OF_CPU_TIME:
                    break
                if ended.code > 0:
                    hint = f"{sys.executable} {self._file}"
                    raise SetupError(f"{self._file} ends with exit code {ended.code}", hint) from None
        raise CostlyError(f"it is too costly: one value takes over {seconds:g} s of CPU time, or too much memory")


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
