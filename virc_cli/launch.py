"""The one place that starts processes."""

import os
import signal
import subprocess
from collections import deque
from contextlib import suppress
from pathlib import Path

from virc_recipes.clauses import clause
from virc_recipes.errors import EngineError, SetupError
from virc_recipes.plan import Step

_GRACE = 10.0  # seconds between asking a process group to end and ending it
_LAST_LINES = 12


def run(step: Step, log: Path) -> None:
    """Run a step to its end; what it writes is added to `log`.

    Ctrl-C and SIGTERM end the whole process group.

    Raises:
        EngineError: it failed; the message has its exit code and last line, the hint the log.
        SetupError: the program is not there.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(f"$ {' '.join(step.argv)}\n".encode("utf-8", "replace"))
        file.flush()
        code = _wait(_start(step, stdout=file.fileno(), stderr=subprocess.STDOUT))
    if code:
        raise EngineError(f"could not {step.says}: {_said(log, code)}", f"see {log}")


def output(step: Step) -> str:
    """What a short step prints.

    Raises:
        EngineError: it failed.
        SetupError: the program is not there.
    """
    process = _start(step, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate()
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        last = err.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no word"]
        raise EngineError(f"could not {step.says}: exit code {process.returncode}, {last[0]}")
    return out.decode("utf-8", "replace")


def _start(step: Step, stdout: int, stderr: int) -> "subprocess.Popen[bytes]":
    env = {**os.environ, **step.env}
    env = {name: value for name, value in env.items() if value or name not in step.env}
    try:
        return subprocess.Popen(
            step.argv, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
        )
    except OSError as error:
        raise SetupError(f"{step.argv[0]} cannot be started: {clause(error)}") from error


def _wait(process: "subprocess.Popen[bytes]") -> int:
    try:
        return process.wait()
    except BaseException:
        _end(process)
        raise


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and all it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return


def _said(log: Path, code: int) -> str:
    with log.open("rb") as file:
        lines = deque((line.decode("utf-8", "replace").strip() for line in file), _LAST_LINES)
    last = next((line for line in reversed(lines) if line and not line.startswith("$ ")), "it said nothing")
    return f"exit code {code}, {last[:300]}"
