"""Runs the steps of a demo that are not done, and writes the learning curve."""

from pathlib import Path

from virc.core import extras
from virc.core.errors import ConfigError, SetupError, VircError, errors_as
from virc.core.events import OnEvent, Reporter
from virc.core.files import expanded, write_json, write_whole
from virc.core.locks import held
from virc.core.text import duration
from virc.envs import environment as environments
from virc.envs import making
from virc_extras.demo import curve as demo_curve
from virc_extras.demo import plan as demo
from virc_extras.demo.curve import Curve
from virc_extras.demo.plan import Demo, Took
from virc_extras.rounds import steps


def run(begun: Demo, to: Path, on_event: OnEvent | None = None) -> Curve:
    """Run the steps that are not done, and write curve.json and curve.png into the folder.

    Args:
        to: folder of the demo.

    Raises:
        SetupError: an environment or an extra is missing; nothing was started.
        ConfigError: the folder holds something else, or another demo runs there.
        StepFailedError, EngineError, KeyboardInterrupt: as `steps.run` does.
        VircError: the curve cannot be written.
    """
    check_ready()
    demo.plan(begun)  # refuses a full demo without its sources before anything is written
    folder, report = expanded(to), Reporter(on_event)
    demo.begin(folder, begun)
    parts = demo.parts(begun)
    whole = f"about {duration(60 * sum(minutes for minutes, _ in parts))} on two cores, into {to}"
    report.note(f"{whole}; Ctrl-C keeps what was drawn and learnt, and {steps.CONTINUE}")
    for minutes, says in parts:
        report.note(f"  {duration(60 * minutes):>7}  {says}")
    with held(folder / "demo", ConfigError(f"another virc demo runs in {folder}", "wait for it")):
        steps.run(
            demo.plan(begun), folder, lambda step: demo.rest(step, folder, demo.took(folder)), report,
            tried=lambda step, seconds, code: demo.note(folder, Took(step.name, seconds, code)),
        )  # fmt: skip
        curve = demo_curve.read_curve(folder, begun)
        picture = demo_curve.draw(curve, folder)
        with errors_as(VircError, f"cannot write the curve into {folder}"):
            write_json(folder / "curve.json", curve)
            write_whole(folder / "curve.png", picture)
        return curve


def check_ready() -> None:
    """Raises SetupError: an extra or an engine's environment is missing."""
    lacking = [each for each in extras.discover() if each.name in demo.EXTRAS and each.missing]
    needed = [making.find(engine, "cpu") for engine in demo.ENVIRONMENTS]
    unmade = [each for each in needed if environments.interpreter(each) is None]
    missing = [f"the extra {each.name}" for each in lacking]
    missing += [f"the environment {each.name}" for each in unmade]
    if missing:
        hints = [each.install for each in lacking]
        hints += [f"virc env create {each.engine.name} --device {each.device}" for each in unmade]
        raise SetupError(f"a demo needs {' and '.join(missing)}", " && ".join(hints))
