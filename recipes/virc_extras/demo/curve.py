"""Result of a demo: `virc.demo/1`, the gain of each stage, and a picture of it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from virc.core.errors import ConfigError, DataError, errors_as
from virc.core.result_log import Id
from virc.evaluation.statistics import Interval, mcnemar, paired
from virc.evaluation.summary import ModelSummary, Pair, Score, Share, Summary, score, share
from virc.runs.run import FOLDER, Run
from virc_extras.demo import plan as demo
from virc_extras.demo.plan import CONTROL, STAGES, Demo
from virc_extras.plots import pictures as plots
from virc_extras.plots.pictures import Course

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCHEMA = "virc.demo/1"
PARTS = ("easy", "hard")
"""Difficulties of problems."""
REPLIES = ("greedy", "sampled")
"""How answers are drawn, which is also the name of the evaluation: greedily, or at temperature 1 as `virc solve` does.
RL rewards sampled replies. In both, a reply that is rejected is drawn again at a temperature."""

_DIVISION = "difficulty"
_COLOURS = {"easy": ("tab:blue", -0.03), "hard": ("tab:orange", 0.03)}  # colour, and how far aside: bars stay apart


class Scores(msgspec.Struct, frozen=True):
    all: Score
    easy: Score
    hard: Score


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """How one stage's model does on the problems held out; all but `sampled` is of greedy answers.

    Args:
        name: `base`, the stage, or `direct`, which learnt to answer without tools.
        greedy: right answers.
        sampled: the same, drawn at temperature 1.
        counterfactual: answers that are the counterfactual's, from which crops were cut; None: not evaluated.
        blank: right answers although every crop is white; None: not evaluated.
        calls: tool calls an answer.
        looked: problems of which its crops showed all that is to be seen.
        format_errors: replies that were not accepted, a turn.
        strange: pictures and questions of other kinds that it refuses.
        refused: problems that it refuses although they can be solved.
    """

    name: str
    greedy: Scores
    sampled: Scores
    counterfactual: Score | None
    blank: Score | None
    calls: float | None
    looked: Share
    format_errors: float | None
    strange: Score
    refused: Share


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage adds to the one before, on the same problems.

    Args:
        replies: `greedy` or `sampled`.
        part: `all`, `easy` or `hard`.
        of: problems.
        difference: of the shares of right answers, with its paired 95 % `interval`.
        p: of McNemar's exact test.
    """

    stage: str
    before: str
    replies: str
    part: str
    of: int
    difference: float
    interval: Interval
    p: float


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    command: str
    seconds: float | None


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a demo.

    Args:
        commonest: problems with the most common answer: the score of a model that sees nothing.
        page: of one problem, which the last stage solved if it solved any, relative to the demo's folder.
    """

    schema: str = SCHEMA
    base: str
    full: bool
    seed: int
    problems: int
    commonest: Share
    stages: Sequence[Stage]
    gains: Sequence[Gain]
    steps: Sequence[Spent]
    page: str | None


class CurveProblem(msgspec.Struct, frozen=True):
    id: Id
    answer: str
    category: dict[str, str]


class _Answer(msgspec.Struct, frozen=True):
    id: Id
    answer: str | None
    trace: str | None = None


ByStage = Mapping[str, ModelSummary]
"""What an evaluation says of each stage."""
Runs = Mapping[str, Mapping[str, Course]]
"""Metrics of each run, by field."""
Row = TypeVar("Row")


def read_curve(folder: Path, begun: Demo) -> Curve:
    """The curve of a demo whose steps are all done. Raises ConfigError, DataError: a file cannot be read."""
    heldout = folder / "data" / "heldout"
    problems = _rows(heldout / "problems.jsonl", CurveProblem, heldout)
    found = {name: demo.summary(folder / "evals" / name) for name in (*REPLIES, "counterfactual", "blank", "strange")}
    summaries = {name: _by_stage(summary, begun, folder / "evals" / name) for name, summary in found.items()}
    return Curve(
        base=begun.base,
        full=begun.full,
        seed=begun.seed,
        problems=len(problems),
        commonest=found["greedy"].commonest,
        stages=[_stage(name, summaries) for name in begun.compared],
        gains=[
            gain for replies in REPLIES for gain in _gains(replies, summaries[replies], found[replies].pairs, problems)
        ],
        steps=_spent(folder, begun),
        page=_page(folder, problems),
    )


def _rows(file: Path, kind: type[Row], made: Path) -> list[Row]:
    with errors_as(DataError, f"{file} cannot be read", f"remove {made}", caught=(OSError, msgspec.MsgspecError)):
        return [msgspec.json.decode(line, type=kind) for line in file.read_bytes().splitlines()]


def _by_stage(summary: Summary, begun: Demo, place: Path) -> ByStage:
    """Raises ConfigError where a stage was evaluated at two of its checkpoints."""
    found: dict[str, ModelSummary] = {}
    for each in summary.models:
        name = demo.called(each.name)
        stage = STAGES[0] if name == begun.base else name
        if stage in found:
            raise ConfigError(f"{place} holds {found[stage].name} and {each.name}", f"remove {place}")
        found[stage] = each
    return found


def _stage(name: str, summaries: Mapping[str, ByStage]) -> Stage:
    greedy = summaries["greedy"][name]
    counterfactual, blank = (summaries[each].get(name) for each in ("counterfactual", "blank"))
    return Stage(
        name=name,
        greedy=_scores(greedy),
        sampled=_scores(summaries["sampled"][name]),
        counterfactual=counterfactual.score if counterfactual else None,
        blank=blank.score if blank else None,
        calls=greedy.means.calls,
        looked=greedy.evidence.seen if greedy.evidence else share([]),
        format_errors=greedy.format_errors,
        strange=summaries["strange"][name].score,
        refused=greedy.false_refusals,
    )


def _scores(summaries: ModelSummary) -> Scores:
    parts = summaries.categories.get(_DIVISION, {})
    return Scores(summaries.score, *(parts.get(part, score([])) for part in PARTS))


def _gains(replies: str, summaries: ByStage, pairs: Sequence[Pair], problems: Sequence[CurveProblem]) -> Iterator[Gain]:
    only_solved_by = {(pair.one, pair.other): (pair.only_one, pair.only_other) for pair in pairs}
    only_solved_by |= {(pair.other, pair.one): (pair.only_other, pair.only_one) for pair in pairs}  # in either order
    for before, stage in pairwise(STAGES):
        only = only_solved_by[summaries[before].name, summaries[stage].name]
        scores = _scores(summaries[before])
        for part in ("all", *PARTS):
            ids = {each.id for each in problems if part in ("all", each.category.get(_DIVISION))}
            lost, won = (
                len(ids.intersection(side)) for side in only
            )  # solved by the stage before alone, by this alone
            scored: Score = getattr(scores, part)
            both = scored.right - lost
            if scored.of:
                yield Gain(
                    stage=stage, before=before, replies=replies, part=part, of=scored.of,
                    difference=(won - lost) / scored.of,
                    interval=paired(both, won, lost, scored.of - both - won - lost), p=mcnemar(won, lost),
                )  # fmt: skip


def _spent(folder: Path, begun: Demo) -> list[Spent]:
    seconds: dict[str, float] = {}
    for each in demo.took(folder):
        seconds[each.name] = round(seconds.get(each.name, 0.0) + each.seconds, 1)
    return [Spent(name=step.name, command=step.typed, seconds=seconds.get(step.name)) for step in demo.plan(begun)]


def _page(folder: Path, problems: Sequence[CurveProblem]) -> str | None:
    known = {problem.id: problem for problem in problems}
    place = folder / "evals" / "pages"
    answers = sorted((place / "answers").glob("*.jsonl"))
    traced = [each for file in answers for each in _rows(file, _Answer, place) if each.trace]

    def rank(each: _Answer) -> tuple[bool, bool]:
        problem = known[each.id]
        return each.answer == problem.answer, problem.category.get(_DIVISION) == "hard"

    best = max(traced, key=rank, default=None)
    return f"{best.trace}/index.html" if best else None


def draw(curve: Curve, folder: Path) -> bytes:
    """A PNG: right answers by stage, and the metrics of each stage's training, of the runs in the demo's folder.

    Raises:
        ConfigError: a run has no metrics.
        SetupError: matplotlib is not installed.
    """
    runs = {name: plots.read_curves(Run(folder / FOLDER / name)).courses for name in STAGES[1:]}
    return plots.picture(lambda figure: _fill(figure, curve, runs))


def _fill(figure: "Figure", curve: Curve, runs: Runs) -> None:
    figure.set_size_inches(14, 5.5)
    grid = figure.add_gridspec(2, 3, width_ratios=(1.4, 1.4, 1))
    greedy, sampled = (figure.add_subplot(grid[:, column]) for column in range(2))
    _accuracy(greedy, curve, "greedy", "greedy answers that are right, with 95 % intervals")
    _other_crops(greedy, curve)
    _accuracy(sampled, curve, "sampled", "the same, drawn at temperature 1")
    for axes in (greedy, sampled):
        axes.legend(loc="upper left", frameon=False, fontsize="small")
    supervised = [(name, runs[name]["loss"]) for name in STAGES[1:3]]
    _training(figure.add_subplot(grid[0, 2]), "loss", supervised, ("tab:green", "tab:purple"))
    _training(figure.add_subplot(grid[1, 2]), "reward", [("rl", runs["rl"]["reward"])], ("tab:red",))
    title = f"tiny, stage by stage, on {curve.problems:,} problems held out (seed {curve.seed})"
    figure.suptitle(title, fontsize="large", fontweight="bold")


def _accuracy(axes: "Axes", curve: Curve, replies: str, title: str) -> None:
    plots.plain(axes, title)
    stages = [each for each in curve.stages if each.name != CONTROL]
    controls = [each for each in curve.stages if each.name == CONTROL]
    for part, (colour, aside) in _COLOURS.items():
        scores = [getattr(getattr(stage, replies), part) for stage in stages]
        _points(axes, [at + aside for at in range(len(stages))], scores, label=part, color=colour, marker="o")
        for control in controls:
            alone = [getattr(getattr(control, replies), part)]
            _points(axes, [len(stages) + aside], alone, color=colour, marker="D", markerfacecolor="white")
    if controls:
        axes.axvline(len(stages) - 0.5, color="0.8", linewidth=1)
    names = [*(stage.name for stage in stages), *("without\ntools" for _ in controls)]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def _other_crops(axes: "Axes", curve: Curve) -> None:
    lines = (("counterfactual", "crops of a counterfactual: its answer", "--"), ("blank", "crops blank", ":"))
    for name, label, line in lines:
        shares = {at: getattr(stage, name).share for at, stage in enumerate(curve.stages) if getattr(stage, name)}
        axes.plot(list(shares), list(shares.values()), color="0.4", linestyle=line, linewidth=1.4, label=label)


def _points(axes: "Axes", at: Sequence[float], scores: Sequence[Score], **look: Any) -> None:
    shares = [each.share for each in scores]
    below = [each.share - each.interval[0] for each in scores]
    above = [each.interval[1] - each.share for each in scores]
    axes.errorbar(at, shares, yerr=(below, above), capsize=3, linewidth=1.6, elinewidth=1, **look)


def _training(axes: "Axes", name: str, drawn: Sequence[tuple[str, Course]], colours: Sequence[str]) -> None:
    plots.plain(axes, name)
    axes.set_xlabel("step", fontsize="small")
    for (run, course), colour in zip(drawn, colours, strict=True):
        plots.draw_course(axes, course, colour)
        axes.plot([], [], color=colour, label=run)
    axes.legend(loc="best", frameon=False, fontsize="small")
