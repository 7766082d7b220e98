"""Runs the steps of a demo that are not done, each in a process of its own, and writes the learning curve."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from virc.core import extras, processes
from virc.core.errors import ConfigError, EngineError, SetupError, VircError
from virc.core.events import OnEvent, Reporter
from virc.core.files import expanded, write_json, write_whole
from virc.core.locks import held
from virc.core.plan import Step as Process
from virc.core.text import clause
from virc.demo import curve as demo_curve
from virc.demo import plan as demo
from virc.demo.curve import Curve
from virc.demo.plan import Demo, Step, Took
from virc.envs import environment as environments
from virc.envs import making

_CONTINUE = "the same virc demo continues from there"
_MODULES = {"virc": "virc_cli", "torchrun": "torch.distributed.run"}
"""First word of a command line -> the module of this environment that it is."""
_SAVES_ON = {"virc": "SIGINT", "torchrun": ""}  # a phase of the course starts again
_PATH = os.pathsep.join(filter(None, (str(demo.SOURCES), os.environ.get("PYTHONPATH"))))
_ENV = {"virc": {}, "torchrun": {"OMP_NUM_THREADS": "1", "PYTHONPATH": _PATH}}
"""Variables of each program; torchrun sets the number of threads anyway, with a long warning."""


class StepFailedError(EngineError):
    """A step failed, after it printed why.

    Args:
        code: its exit code.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, _CONTINUE)
        self.code = code


class StepInterrupt(KeyboardInterrupt):
    """Ctrl-C during a step that has printed how it ended."""


def run(begun: Demo, to: Path, on_event: OnEvent | None = None) -> Curve:
    """Run the steps that are not done, and write curve.json and curve.png into the folder.

    Args:
        to: folder of the demo.

    Raises:
        SetupError: an environment or an extra is missing; nothing was started.
        ConfigError: the folder holds something else, or another demo runs there.
        StepFailedError: a step failed; what was made is kept.
        VircError: the curve cannot be written.
    """
    check()
    demo.plan(begun)  # refuses a full demo without its sources before anything is written
    folder, report = expanded(to), Reporter(on_event)
    demo.begin(folder, begun)
    with held(folder / "demo", ConfigError(f"another virc demo runs in {folder}", "wait for it")):
        _run_steps(begun, folder, report)
        curve = demo_curve.read(folder, begun)
        picture = demo_curve.draw(curve, folder)
        try:
            write_json(folder / "curve.json", curve)
            write_whole(folder / "curve.png", picture)
        except OSError as error:
            raise VircError(f"cannot write the curve into {folder}: {clause(error)}") from error
        return curve


def check() -> None:
    """Check that everything the steps need is installed.

    Raises:
        SetupError: an extra or an engine's environment is missing.
    """
    lacking = [each for each in extras.discover() if each.name in demo.EXTRAS and each.missing]
    needed = [making.find(engine, "cpu") for engine in demo.ENVIRONMENTS]
    unmade = [each for each in needed if environments.interpreter(each) is None]
    missing = [f"the extra {each.name}" for each in lacking]
    missing += [f"the environment {each.name}" for each in unmade]
    if missing:
        hints = [each.install for each in lacking]
        hints += [f"virc env create {each.engine.name} --device {each.device}" for each in unmade]
        raise SetupError(f"a demo needs {' and '.join(missing)}", " && ".join(hints))


def _run_steps(begun: Demo, folder: Path, report: Reporter) -> None:
    steps, began = demo.plan(begun), time.monotonic()
    ended = demo.took(folder)
    for number, step in enumerate(steps, 1):
        place = f"step {number} of {len(steps)}, {step.name}"
        words = demo.rest(step, folder, ended)
        if words is None:
            report.note(f"{place}: done before")
            continue
        report.note(f"{place}: {step.says}, after {(time.monotonic() - began) / 60:.0f} min")
        report.note(f"$ {demo.typed(words)}")
        _run_step(step, words, folder, place, report)


def _run_step(step: Step, words: Sequence[str], folder: Path, place: str, report: Reporter) -> None:
    program, *arguments = words
    argv = (sys.executable, "-m", _MODULES[program], *arguments)
    began, code = time.monotonic(), 130
    try:
        code = processes.attended(Process(argv, step.says, _ENV[program], _SAVES_ON[program]), folder)
    except KeyboardInterrupt:
        report.note(f"{place}, is not done: {_CONTINUE}")
        if program == "virc":
            raise StepInterrupt from None
        raise
    finally:
        demo.note(folder, Took(step.name, round(time.monotonic() - began, 1), code))
    if code:
        raise StepFailedError(f"{place}, failed: exit code {code}", code)
