"""Asks models the problems of a benchmark, has their answers scored, and shows the figures."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from virc.core.errors import DataError, NetworkError, NoAnswerError, UsageError
from virc.core.files import expanded
from virc.core.result_log import Ledger
from virc.evaluation import evaluate
from virc.evaluation.against import beside, published_for
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.benchmarks.registry import Found
from virc.evaluation.evaluate import JUDGED, Judgement, Place, Problem, Traces
from virc.evaluation.summary import SCHEMA, ModelSummary, Pair, Reported, Score, Share, Summary
from virc.scoring.judge import Judge
from virc.scoring.score import Verdict
from virc.solving.ablation import CropAblation
from virc.solving.batch import BatchConfig, RowDone, as_line, made_with, solve_batch
from virc.solving.one import SCHEMA as SOLVE
from virc.solving.outcome import Fields
from virc_cli.console import output
from virc_cli.console.progress import duration
from virc_cli.console.run_lines import table
from virc_cli.solving.many import Progress, failure
from virc_cli.solving.setup import Setup, open_one

JUDGE_KEY = "VIRC_JUDGE_KEY"
"""The variable with the judge's key; that of the models' endpoint is sent to nobody else."""

_MANY = 24  # parts of a division that are still listed on a terminal
_HEAD = (
    "model",
    "right",
    "95 % interval",
    "of",
    "no answer",
    "missing",
    "turns",
    "looks",
    "tokens",
    "seconds",
)
_BOXES = ("model", "mean IoU", "mean generalized IoU", "AP50", "mean AP", "rows with boxes")
_LOOKS = ("model", "looked at the evidence", "right where it did", "right elsewhere")
_REFUSALS = ("model", "refused", "of those with an answer", "no usable reply", "rejected a turn")


class Asked(msgspec.Struct, frozen=True):
    """What is to be evaluated.

    Args:
        setups: one for each model.
        to: folder of the evaluation; None: that of the benchmark.
        at_once: rows in work at a time; None: as many as suit the model.
        crop_ablation: what crops are cut from.
    """

    benchmark: str
    setups: Sequence[Setup]
    to: str | None
    take: int | None
    split: str | None
    judge_endpoint: str | None
    judge_model: str | None
    traces: Traces
    against: bool
    at_once: int | None
    crop_ablation: CropAblation


class Tally(Progress):
    """How far one model is, and how it does by the rules that take no time."""

    def __init__(self, model: str, problems: Mapping[str, Problem], resumed: int) -> None:
        super().__init__(resumed)
        self.done, self.right, self.unanswered = 0, 0, 0
        self.model, self._problems, self._began = model, problems, time.monotonic()

    def add(self, done: RowDone) -> None:
        """Count one row."""
        self.done += 1
        self.unanswered += isinstance(done.error, NoAnswerError)
        self.right += evaluate.is_right(done, self._problems[str(done.row.id)])
        super().add(done)

    def __str__(self) -> str:
        counts = f"{self.right} right, {self.unanswered} without an answer, {self.failed} failed"
        before = f"; {self.resumed} were done before" if self.resumed else ""
        left = len(self._problems) - self.done - self.resumed
        rate = (time.monotonic() - self._began) / self.done if self.done else 0
        ahead = f"; about {duration(left * rate)} left" if left > 0 and rate else ""
        return f"{self.model}: {self.done} of {len(self._problems)} problems: {counts}{before}{ahead}"


def run(asked: Asked, as_json: bool) -> None:
    """Evaluate, and print the figures.

    Raises:
        VircError: a row failed, or all of it cannot be done; answers so far are kept.
    """
    if asked.judge_model and not asked.judge_endpoint:
        raise UsageError("--judge-model names a model of a judge's endpoint", "--judge-endpoint URL")
    found = benchmarks.find(asked.benchmark, Path.cwd(), asked.split)
    place = Place(expanded(asked.to) if asked.to else evaluate.folder_of(found.name, asked.crop_ablation))
    output.know(folder=str(place.folder), benchmark=found.name)
    faults: list[DataError] = []
    evaluate.check_crop_ablation(place, asked.crop_ablation)
    problems = evaluate.problems_of(found, asked.take, faults.append, asked.crop_ablation)
    if faults:
        output.warn(f"rows of {found.name} left out: {len(faults)}; the first: {faults[0].message}")
    if asked.judge_endpoint:
        _judge(asked).close()  # one that cannot be asked is told before the models are
    tallies = [_answer(setup, asked, found, place, problems) for setup in asked.setups]
    answered = [tally.model for tally in tallies]
    summary, undecided = _score(asked, found, place, problems, answered)
    fields = {**msgspec.to_builtins(summary), "folder": str(place.folder), "harness": None}
    output.know(**fields)
    if not as_json:
        for line in lines(summary):
            output.line(line)
        output.note(f"each problem and answer: {place.report}")
    failed = sum(tally.failed for tally in tallies)
    if failed:
        raise failure(failed)
    if undecided:
        raise NetworkError(f"the judge failed on {undecided} answers", "the same command asks it again")
    if as_json:
        output.emit({"schema": SCHEMA, **fields, "error": None})


def _answer(setup: Setup, asked: Asked, found: Found, place: Place, problems: Mapping[str, Problem]) -> Tally:
    """Let one model answer what it has not answered yet."""
    opened, known = open_one(setup)
    if asked.against:  # what would be refused at the end is refused before anything is asked
        published_for(opened.name, Path.cwd(), setup.choice.system)
    folder = None if asked.traces == "none" else place.traces(opened.name)
    solving = msgspec.structs.replace(setup.config, keep_images=folder is not None)
    config = BatchConfig(solving, found.base, folder, setup.offline, asked.at_once)
    kept = {output.exit_code(NoAnswerError(""))}
    with Ledger(place.answers(opened.name), SOLVE, made_with(known), kept, "--to") as ledger:
        tally = Tally(opened.name, problems, evaluate.done_before(opened.name, problems, ledger))

        def on_row(done: RowDone) -> None:
            error = output.error_fields(done.error) if done.error else None
            blank = {"answer": None, "turns": None, "calls": None, "tokens": None, "trace": None}
            done = evaluate.tidied(place, opened.name, done, problems[str(done.row.id)], asked.traces)
            ledger.append(as_line(done, {**blank, **known}, error))
            tally.add(done)

        try:
            solve_batch(
                config, opened, evaluate.to_ask(found, problems, asked.take), ledger, on_row, output.note
            )
        finally:
            output.note(str(tally))
    opened.backend.close()
    return tally


def _score(
    asked: Asked, found: Found, place: Place, problems: Mapping[str, Problem], answered: Sequence[str]
) -> tuple[Summary, int]:
    """The figures, and how many answers the judge failed on."""
    models = evaluate.models_in(place, answered)
    by_rule = evaluate.verdicts_by_rule(problems, models)
    doubtful = evaluate.doubtful(problems, models, by_rule)
    verdicts: Mapping[tuple[str, str], Verdict | None] = by_rule
    if asked.judge_endpoint and doubtful:
        verdicts = evaluate.with_judge(by_rule, doubtful, _judged(asked, place, doubtful))
    elif doubtful and not evaluate.can_do_algebra():
        output.warn("answers that are equal by algebra only count as wrong", "pip install 'virc[eval]'")
    results = evaluate.results(place, problems, models, verdicts)
    summary = evaluate.counted(found.name, models, results, asked.crop_ablation)
    if asked.against:
        summary = msgspec.structs.replace(summary, against=_against(asked, summary, answered))
    evaluate.publish(place, summary, results)
    return summary, sum(verdict is None for verdict in verdicts.values())


def _against(asked: Asked, summary: Summary, answered: Sequence[str]) -> list[Reported]:
    """The models that were asked now beside their published figures; of others in the folder nothing was wanted."""
    systems = dict(zip(answered, (setup.choice.system for setup in asked.setups), strict=True))
    return [
        each
        for model in summary.models
        if model.name in systems
        for each in beside(
            model, summary.benchmark, published_for(model.name, Path.cwd(), systems[model.name])
        )
    ]


def _judge(asked: Asked) -> Judge:
    return Judge(str(asked.judge_endpoint), asked.judge_model, os.environ.get(JUDGE_KEY))


def _judged(asked: Asked, place: Place, doubtful: Sequence[Judgement]) -> dict[str, bool]:
    """What the judge says of the answers; those it has judged before it is not asked again."""
    with _judge(asked) as judge:
        known: Fields = {"model": judge.model, "protocol": None, "settings": {}}
        with Ledger(place.judged(judge.model), JUDGED, {"model": judge.model}, (), "--to") as ledger:
            progress = Judged(judge.model, len(doubtful), ledger.resumed)

            def on_row(done: RowDone) -> None:
                error = output.error_fields(done.error) if done.error else None
                ledger.append(as_line(done, known, error, JUDGED))
                progress.add(done)

            try:
                evaluate.ask_judge(judge, doubtful, ledger, on_row, output.note)
            finally:
                output.note(str(progress))
        return evaluate.said(place, judge.model)


class Judged(Progress):
    """How many answers the judge has judged."""

    def __init__(self, judge: str, of: int, resumed: int) -> None:
        super().__init__(resumed)
        self.done, self.right = 0, 0
        self._judge, self._of = judge, of

    def add(self, done: RowDone) -> None:
        """Count one answer."""
        self.done += 1
        self.right += bool(done.fields.get("same"))
        super().add(done)

    def __str__(self) -> str:
        before = f"; {self.resumed} were judged before" if self.resumed else ""
        counts = f"{self.right} right, {self.failed} failed"
        return f"{self._judge} has judged {self.done} of {self._of} answers: {counts}{before}"


def lines(summary: Summary) -> Iterator[str]:
    """The figures as a terminal shows them."""
    ablation = summary.crop_ablation
    swapped = "" if ablation == "none" else f", crop ablation: {ablation}"
    yield f"{summary.benchmark}: {summary.problems} problems{swapped}"
    yield ""
    yield from table([_HEAD, *(_model(model) for model in summary.models)])
    yield f"the commonest answer alone: {percent(summary.commonest.share)}"
    yield ""
    yield from table([_REFUSALS, *(_refusals(model) for model in summary.models)])
    boxes = [row for model in summary.models for row in _boxes(model)]
    if boxes:
        yield ""
        yield from table([_BOXES, *boxes])
    looks = [(model.name, *map(_counted, model.looks.figures)) for model in summary.models if model.looks]
    if looks:
        yield ""
        yield from table([_LOOKS, *looks])
    for pair in summary.pairs:
        yield ""
        yield from _pair(pair)
    for division in dict.fromkeys(name for model in summary.models for name in model.categories):
        yield ""
        yield from _division(division, summary.models)
    for each in summary.against:
        yield ""
        yield from _reported(each)


def _model(model: ModelSummary) -> tuple[str, ...]:
    means = model.means
    return (
        *(model.name, percent(model.score.share) if model.score.of else "-", interval(model.score)),
        *(str(count) for count in (model.score.of, model.unanswered, model.missing)),
        *(_mean(means.turns, 1), _mean(means.calls, 1), _mean(means.tokens, 0), _mean(means.seconds, 2)),
    )


def _refusals(model: ModelSummary) -> tuple[str, ...]:
    shares = (_counted(model.refusals), _counted(model.false_refusals))
    return (model.name, *shares, str(model.unusable), _mean(model.format_errors, 3))


def _boxes(model: ModelSummary) -> Iterator[tuple[str, ...]]:
    if model.boxes:
        precisions = (model.boxes.ap50, model.boxes.mean_ap)
        means = (_mean(model.boxes.mean_iou, 3), _mean(model.boxes.mean_giou, 3))
        shown = ("-" if each is None else percent(each) for each in precisions)
        yield model.name, *means, *shown, str(model.boxes.of)


def _pair(pair: Pair) -> Iterator[str]:
    low, high = pair.interval
    chance = "p < 0.001" if pair.p < 0.001 else f"p = {pair.p:.3f}"
    points = f"{100 * pair.difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}), {chance}"
    yield f"{pair.one} less {pair.other}: {points}, on {pair.of} problems"
    for name, ids in ((pair.one, pair.only_one), (pair.other, pair.only_other)):
        more = f" … ({len(ids)} in all)" if len(ids) > 8 else ""
        yield f"  only {name} solves {', '.join(map(str, ids[:8])) or 'none'}{more}"


def _division(division: str, models: Sequence[ModelSummary]) -> Iterator[str]:
    parts = sorted({part for model in models for part in model.categories.get(division, {})})
    if len(parts) > _MANY:
        yield f"{division}: {len(parts)} parts, in the report"
        return
    rows = [(division, *(model.name for model in models))]
    for part in parts:
        scores = [model.categories.get(division, {}).get(part) for model in models]
        rows.append((part, *(_counted(score) for score in scores)))
    yield from table(rows)


def _reported(each: Reported) -> Iterator[str]:
    theirs = "no figure" if each.theirs is None else percent(each.theirs)
    ours = f"{each.model}: {percent(each.ours.share)} ({interval(each.ours)})"
    yield f"{ours}; {each.published}: {theirs}, {each.source}"
    for name, (their, our) in each.differs.items():
        yield f"  {name}: {their} there, {our} here"


def percent(share: float) -> str:
    """`48.2%`."""
    return f"{100 * share:.1f}%"


def interval(score: Score) -> str:
    """`43.9 to 52.6`, in percent."""
    low, high = score.interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _counted(score: Score | Share | None) -> str:
    return f"{percent(score.share)} of {score.of}" if score and score.of else "-"


def _mean(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
