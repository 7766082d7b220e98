"""The attempts at a run: when each began, when it ended and how; `logs/attempt_N/attempt.json`."""

from contextlib import AbstractContextManager

import msgspec

from virc.core.errors import ConfigError
from virc.core.files import write_json
from virc.core.locks import held
from virc.runs.run import Run, read_json


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt.

    Args:
        began, ended: UTC, ISO 8601; None: not known, or not ended.
        exit: the engine's exit code; negative: the signal that ended it.
        error: the sentence it failed with.
        saved: step of the newest whole checkpoint when it ended; None where it failed.
    """

    schema: str = "virc.run.attempt/1"
    number: int
    began: str | None = None
    ended: str | None = None
    exit: int | None = None
    error: str | None = None
    saved: int | None = None


def attempts(run: Run) -> list[Attempt]:
    """Every attempt, the newest last; of one without a record only the number is known."""
    names = [folder.name.removeprefix("attempt_") for folder in (run.folder / "logs").glob("attempt_*")]
    numbers = sorted(int(name) for name in names if name.isdecimal())
    found = ((number, run.attempt(number) / "attempt.json") for number in numbers)
    return [read_json(path, Attempt) if path.exists() else Attempt(number=number) for number, path in found]


def alone(run: Run) -> AbstractContextManager[None]:
    """Hold a run, for an attempt at it or to remove it. Raises ConfigError if another process holds it."""
    busy = ConfigError(f"another process trains or removes {run.name}", f"virc runs tail {run.name}")
    return held(run.folder / "attempt", busy)


def write(run: Run, attempt: Attempt) -> None:
    write_json(run.attempt(attempt.number) / "attempt.json", attempt)
