"""Runs steps in order, each a command line in a process of its own. A step that is done is not run again."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from virc.core import processes
from virc.core.errors import EngineError
from virc.core.events import Reporter
from virc.core.locks import is_held
from virc.core.plan import Step as Process

CONTINUE = "the same command continues from there"
SOURCES = Path(__file__).resolve().parents[2]
"""The folder `recipes` of a source checkout."""

_POLL = 1.0  # seconds
_PATH = os.pathsep.join(filter(None, (str(SOURCES), os.environ.get("PYTHONPATH"))))
_MODULES = {"virc": "virc_cli", "torchrun": "torch.distributed.run"}
"""First word of a command line -> the module of this environment that it is."""
_SAVES_ON = {"virc": "SIGINT", "torchrun": ""}  # what torchrun began starts again
_ENV = {"virc": {}, "torchrun": {"OMP_NUM_THREADS": "1", "PYTHONPATH": _PATH}}
"""Variables of each program; torchrun sets the number of threads anyway, with a long warning."""


class TypedStep(msgspec.Struct, frozen=True):
    """One command.

    Args:
        words: the command line; the first is `virc` or `torchrun`.
        makes: the folder that it makes, in the folder that steps are run in.
    """

    name: str
    says: str
    words: tuple[str, ...]
    makes: str

    @property
    def place(self) -> str:
        return self.name

    @property
    def typed(self) -> str:
        return typed(self.words)


AnyStep = TypeVar("AnyStep", bound=TypedStep)
Words = tuple[str, ...]
Runner = Callable[[Words, Path], int]
"""Runs a command line in a folder; returns its exit code."""


class StepFailedError(EngineError):
    """A step failed, after it printed why."""

    def __init__(self, place: str, step: TypedStep, code: int) -> None:
        super().__init__(f"{place}, failed: exit code {code}", CONTINUE)
        self.step, self.code = step, code


def typed(words: Sequence[str]) -> str:
    source = f"PYTHONPATH={shlex.quote(str(SOURCES))} " if words[0] == "torchrun" else ""
    return source + shlex.join(words)


def in_process(words: Words, folder: Path) -> int:
    """Run a command line in a process of its own, which saves its work when this one is interrupted."""
    program, *arguments = words
    argv = (sys.executable, "-m", _MODULES[program], *arguments)
    return processes.attended(Process(argv, shlex.join(words[:3]), _ENV[program], _SAVES_ON[program]), folder)


def run(
    steps: Sequence[AnyStep], folder: Path, rest: Callable[[AnyStep], Words | None], report: Reporter, *,
    runner: Runner | None = None, options: Words = (), came_of: Callable[[AnyStep], str] = lambda _: "",
    tried: Callable[[AnyStep, float, int], None] = lambda *_: None,
) -> None:  # fmt: skip
    """Run every step that is not done.

    Args:
        rest: what is still to be typed of a step; None: it is done.
        options: of every command, behind its own.
        came_of: the figures of a step that has ended, as text.
        tried: gets each step that was run, its seconds and its exit code.

    Raises:
        StepFailedError: a step failed; what was made is kept.
        EngineError: a command ended well, and what it makes is not whole.
        KeyboardInterrupt: a step was stopped; calling it again continues.
    """
    began = time.monotonic()
    entered = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    for number, step in enumerate(steps, 1):
        place = f"step {number} of {len(steps)}, {step.place}"
        _await_former(step, folder, report)
        words = rest(step)
        if words is None:
            report.note(f"{place}: done before")
            continue
        report.note(f"{place}: {step.says}, after {(time.monotonic() - began) / 60:.0f} min")
        report.note(f"$ {entered}{typed(words)}")
        step_began, code = time.monotonic(), 130
        try:
            code = (runner or in_process)((*words, *options), folder)
        finally:
            tried(step, round(time.monotonic() - step_began, 1), code)
        if code:
            raise StepFailedError(place, step, code)
        if rest(step) is not None:
            raise EngineError(f"{place}: its command ended, and {step.makes} is not whole", f"look at {step.makes}")
        if figures := came_of(step):
            report.note(f"{place}: {figures}")


def _await_former(step: TypedStep, folder: Path, report: Reporter) -> None:
    """Wait for the command of a killed runner, which saves and ends by itself; another one is refused meanwhile."""
    made = folder / step.makes
    run_lock = made.with_name(f".{made.name}.lock")  # held while a run is prepared and a model is merged
    for place in filter(Path.exists, (run_lock, *made.glob(".*.lock"))):
        locked = place.with_name(place.name[1:].removesuffix(".lock"))
        if is_held(locked):
            report.note(f"waiting for the process that still works on {step.makes}")
        while is_held(locked):
            time.sleep(_POLL)
