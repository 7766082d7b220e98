"""`virc demo`: the reproduction in small."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from virc.core.errors import UsageError
from virc_cli.console import events, output
from virc_cli.console.options import Json, Quiet, Seed, Verbose, flag, option
from virc_cli.console.tables import table

if TYPE_CHECKING:
    from virc.evaluation.summary import Score, Share
    from virc_extras.demo.curve import Curve, Gain, Scores, Stage

FAILURE: dict[str, object] = dict.fromkeys(
    "folder plot base full seed problems commonest stages gains steps page".split()
)
_GREEDY = ("stage", "greedy", "95 % interval", "easy", "hard", "counterfactual", "blank")
_SAMPLED = ("stage", "sampled", "95 % interval", "easy", "hard")
_BEHAVIOUR = ("stage", "tool calls", "evidence", "format errors", "strange refused", "wrongly refused")
_QUICK = (
    "--quick shows that every step runs. Its figures say nothing of the training:",
    "it starts from a trained model, tiny, which a few steps make worse.",
)
_GAINS = ("gain", "replies", "on", "points", "95 % interval", "p")


def command(
    to: Annotated[Path, option("DIR", "Folder of the demo; finished steps are kept.")] = Path("demo"),
    quick: Annotated[bool, flag("--quick", "Every step, small, from tiny: 10 to 20 minutes.")] = False,
    large: Annotated[bool, flag("--large", "48,000 problems and a control without tools: hours.")] = False,
    full: Annotated[bool, flag("--full", "Train the base from scratch first: hours more.")] = False,
    problems: Annotated[int | None, option("N", "Held-out problems for each stage.", min=1)] = None,
    seed: Seed = 0,
    dry_run: Annotated[bool, flag("--dry-run", "Print every command as a script; run nothing.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Train the small model by SFT and RL on this machine.

    The stages are instruct, practice and rl: half an hour on two cores. Every step is a command of its own; after an
    interruption the same command continues. Figures are printed and written to curve.json and curve.png.
    """
    import shlex

    import msgspec

    from virc.core.files import expanded
    from virc_extras.demo import plan as demo
    from virc_extras.demo import run as running
    from virc_extras.rounds.steps import CONTINUE, StepFailedError

    if quick and large:
        raise UsageError("--quick and --large are two sizes", "leave one of them out")
    size = demo.QUICK if quick else demo.LARGE if large else demo.USUAL
    if problems is not None:
        size = msgspec.structs.replace(size, problems=problems)
    begun = demo.Demo(full=full, seed=seed, size=size)
    folder = expanded(to)
    if dry_run:
        steps = demo.plan(begun)
        commands = [{"name": step.name, "command": step.typed} for step in steps]
        script = [line for step in steps for line in (f"# {step.says}", step.typed)]
        script.insert(0, f"mkdir -p {shlex.quote(str(folder))} && cd {shlex.quote(str(folder))}")
        output.result(as_json, "virc.demo.plan/1", {"folder": str(to), "steps": commands}, script)
        return
    output.know(folder=str(folder))
    output.ends_when_stopped(f"stopped; {CONTINUE}")
    try:
        with events.printed(quiet, verbose) as report:
            curve = running.run(begun, to, report.send)
    except StepFailedError as error:
        raise output.error_class(error.code)(error.message, error.hint) from error
    known = {"folder": str(folder), "plot": str(folder / "curve.png")}
    shown = [*(_QUICK[: 1 if full else 2] if quick else ()), *lines(curve)]
    output.result(as_json, curve.schema, {**msgspec.to_builtins(curve), **known}, shown)
    if not (quiet or as_json):
        output.note(f"the curve: {folder / 'curve.png'}, {folder / 'curve.json'}")
        output.note(f"answers of the rl evaluation: {folder / 'evals' / 'pages' / 'report.html'}")
        if curve.page:
            output.note(f"a problem of the rl evaluation: {folder / curve.page}")


def lines(curve: "Curve") -> Iterator[str]:
    share = _share(curve.commonest)
    yield f"{curve.problems} held-out problems; always the most common answer: {share}"
    stages = curve.stages
    greedy = [(each.name, *_scores(each.greedy), _share(each.counterfactual), _share(each.blank)) for each in stages]
    for head, rows in (
        (_GREEDY, greedy),
        (_SAMPLED, [(each.name, *_scores(each.sampled)) for each in stages]),
        (_BEHAVIOUR, [_behaviour(each) for each in stages]),
        (_GAINS, [_gain(gain) for gain in curve.gains]),
    ):
        yield ""
        yield from table([head, *rows])


def _scores(scores: "Scores") -> tuple[str, ...]:
    from virc.evaluation.pages.figures import interval

    return _share(scores.all), interval(scores.all), _share(scores.easy), _share(scores.hard)


def _behaviour(stage: "Stage") -> tuple[str, ...]:
    calls, errors = ("-" if mean is None else f"{mean:.2f}" for mean in (stage.calls, stage.format_errors))
    return stage.name, calls, _share(stage.looked), errors, _share(stage.strange), _share(stage.refused)


def _gain(gain: "Gain") -> tuple[str, ...]:
    from virc.evaluation.pages.figures import chance

    low, high = gain.interval
    around = f"{100 * low:+.1f} to {100 * high:+.1f}"
    name = f"{gain.stage} minus {gain.before}"
    return name, gain.replies, gain.part, f"{100 * gain.difference:+.1f}", around, chance(gain.p)


def _share(score: "Score | Share | None") -> str:
    from virc.evaluation.pages.figures import percent

    return percent(score.share) if score and score.of else "-"
