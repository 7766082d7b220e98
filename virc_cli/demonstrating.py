"""Runs the steps of a demo that are not done, each as a process of its own, and shows what came of it."""

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from virc.core import extras, plan, processes
from virc.core.errors import ConfigError, EngineError, SetupError, VircError
from virc.core.files import expanded, write_json, write_whole
from virc.core.locks import held
from virc.core.text import clause
from virc.demo import curve as demo_curve
from virc.demo import plan as demo
from virc.demo.curve import Curve, Gain, Scores, Stage
from virc.demo.plan import Demo, Step, Took
from virc.envs import environment as environments
from virc.envs import making
from virc.evaluation.figures import interval, percent
from virc.evaluation.summary import Score, Share
from virc_cli.console import output
from virc_cli.console.progress import duration
from virc_cli.console.run_lines import table

_MODULES = {"virc": "virc_cli", "torchrun": "torch.distributed.run"}
"""First word of a command line -> the module of this environment that it is."""
_SAVES_ON = {"virc": "SIGINT", "torchrun": ""}  # a phase of the course begins anew
_ENV = {"virc": {}, "torchrun": {"OMP_NUM_THREADS": "1"}}  # as torchrun sets it anyway, and says so at length
_GREEDY = ("stage", "greedy", "95 % interval", "easy", "hard", "counterfactual", "blank")
_SAMPLED = ("stage", "sampled", "95 % interval", "easy", "hard")
_MANNER = ("stage", "looks", "evidence seen", "format errors", "strange refused", "wrongly refused")
_GAINS = ("gain", "replies", "on", "points", "95 % interval", "p")


def show(begun: Demo, to: Path, as_json: bool) -> None:
    """Print every command, in order, as a script."""
    steps = demo.plan(begun)
    if as_json:
        commands = [{"name": step.name, "command": demo.typed(step.words)} for step in steps]
        output.emit({"schema": "virc.demo.plan/1", "folder": str(to), "steps": commands, "error": None})
        return
    folder = shlex.quote(str(expanded(to)))
    output.line(f"mkdir -p {folder} && cd {folder}")
    for step in steps:
        output.line(f"# {step.says}")
        output.line(demo.typed(step.words))


def run(begun: Demo, to: Path, as_json: bool) -> None:
    """Do what is not done yet, and print what came of it.

    Raises:
        SetupError: an environment or an extra is missing; nothing was begun.
        ConfigError: the folder holds something else, or another demo is at work there.
        VircError: a step failed; what was made is kept.
    """
    check()
    folder = expanded(to)
    output.know(folder=str(folder))
    demo.begin(folder, begun)
    with held(folder / "demo", ConfigError(f"another virc demo is at work in {folder}", "wait for it")):
        _do_all(begun, folder)
        curve = _published(begun, folder)
    if as_json:
        known = {"folder": str(folder), "plot": str(folder / "curve.png")}
        output.emit({**msgspec.to_builtins(curve), **known, "error": None})
        return
    for line in lines(curve):
        output.line(line)
    output.note(f"the curve: {folder / 'curve.png'}, {folder / 'curve.json'}")
    if curve.page:
        output.note(f"a problem that rl was asked: {folder / curve.page}")


def check() -> None:
    """Refuse before anything is begun what cannot come to its end.

    Raises:
        SetupError: an extra or an engine's environment is missing; the hint is what to type.
    """
    lacking = [each for each in extras.discover() if each.name in demo.EXTRAS and each.missing]
    needed = [making.find(engine, "cpu") for engine in demo.ENVIRONMENTS]
    unmade = [each for each in needed if environments.interpreter(each) is None]
    missing = [f"the extra {each.name}" for each in lacking] + [
        f"the environment {each.name}" for each in unmade
    ]
    if missing:
        types = [each.install for each in lacking]
        types += [f"virc env create {each.engine.name} --device {each.device}" for each in unmade]
        raise SetupError(f"a demo needs {' and '.join(missing)}", " && ".join(types))


def _do_all(begun: Demo, folder: Path) -> None:
    steps, began = demo.plan(begun), time.monotonic()
    ended = demo.took(folder)
    for number, step in enumerate(steps, 1):
        place = f"step {number} of {len(steps)}, {step.name}"
        words = demo.rest(step, folder, ended)
        if words is None:
            output.note(f"{place}: done before", dim=True)
            continue
        output.note(f"{place}: {step.says}, after {duration(time.monotonic() - began)}")
        output.note(f"$ {demo.typed(words)}", dim=True)
        _do(step, words, folder, place)


def _do(step: Step, words: Sequence[str], folder: Path, place: str) -> None:
    program, *arguments = words
    argv = (sys.executable, "-m", _MODULES[program], *arguments)
    started = plan.Step(argv, step.says, _ENV[program], _SAVES_ON[program])
    began = time.monotonic()
    code = 130
    try:
        code = processes.attended(started, folder)
    except KeyboardInterrupt:
        output.note(f"{place}, is not done: the same virc demo goes on with it")
        if program == "virc":
            output.silence(sys.stderr)  # the step has told how it ended
        raise
    finally:
        demo.note(folder, Took(step.name, round(time.monotonic() - began, 1), code))
    if code:
        sentence = f"{place}, failed: exit code {code}"
        raise _kind(code)(sentence, "the same virc demo goes on with it")


def _kind(code: int) -> type[VircError]:
    """The class of errors that ends with an exit code; of one that was killed, EngineError."""
    kinds = {number: kind for kind, (number, _) in output.EXIT_CODES.items() if issubclass(kind, VircError)}
    return kinds.get(code, EngineError)


def _published(begun: Demo, folder: Path) -> Curve:
    """What came of it, written beside it as figures and as a picture."""
    curve = demo_curve.read(folder, begun)
    picture = demo_curve.draw(curve, folder)
    try:
        write_json(folder / "curve.json", curve)
        write_whole(folder / "curve.png", picture)
    except OSError as error:
        raise VircError(f"cannot write the curve into {folder}: {clause(error)}") from error
    return curve


def lines(curve: Curve) -> Iterator[str]:
    """The figures as a terminal of 80 columns shows them."""
    yield f"{curve.problems} problems held out; the commonest answer alone: {percent(curve.commonest.share)}"
    yield ""
    yield from table([_GREEDY, *map(_greedy, curve.stages)])
    yield ""
    yield from table([_SAMPLED, *((stage.name, *_scores(stage.sampled)) for stage in curve.stages)])
    yield ""
    yield from table([_MANNER, *map(_manner, curve.stages)])
    yield ""
    yield from table([_GAINS, *map(_gain, curve.gains)])


def _greedy(stage: Stage) -> tuple[str, ...]:
    return stage.name, *_scores(stage.greedy), _share(stage.counterfactual), _share(stage.blank)


def _scores(scores: Scores) -> tuple[str, ...]:
    return percent(scores.all.share), interval(scores.all), _share(scores.easy), _share(scores.hard)


def _manner(stage: Stage) -> tuple[str, ...]:
    calls, errors = ("-" if mean is None else f"{mean:.2f}" for mean in (stage.calls, stage.format_errors))
    return stage.name, calls, _share(stage.looked), errors, _share(stage.strange), _share(stage.refused)


def _gain(gain: Gain) -> tuple[str, ...]:
    low, high = gain.interval
    around = f"{100 * low:+.1f} to {100 * high:+.1f}"
    p = "< 0.001" if gain.p < 0.001 else f"{gain.p:.3f}"
    name = f"{gain.stage} less {gain.before}"
    return name, gain.replies, gain.part, f"{100 * gain.difference:+.1f}", around, p


def _share(score: Score | Share | None) -> str:
    return percent(score.share) if score and score.of else "-"
