"""Trajectories by rejection sampling: problems are rolled out several times, and right solutions are kept.

A rollout is drawn as in RL: one try per turn, no deviation forgiven. So a reward or a check accepts all that is kept,
and the share of right rollouts is the pass rate of the model.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from virc.core.errors import DataError, NetworkError, NoAnswerError, UsageError, VircError
from virc.core.events import Reporter
from virc.core.files import MODELS, expanded
from virc.core.result_log import Claims
from virc.core.seeds import derived
from virc.core.text import counted
from virc.core.timeouts import Deadline
from virc.data.formats.sft import row_of
from virc.data.rows import file_sizes
from virc.data.rows.record import MARK, Message, Record
from virc.data.rows.results import TURN, joined
from virc.data.sample.dataset import SCHEMA, Location, Totals, begun, location_of, publish, put_protocol, store
from virc.families.registry import taught
from virc.models.load import Opened
from virc.models.registry import REAL_MODELS
from virc.reasoning.history import as_shown_on
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.trace import Trace
from virc.scoring.rules import same
from virc.solving.answer_file import open_rows
from virc.solving.batch import BatchConfig, RowDone, as_line, made_with, outage_of, shown_images, through, workers_for
from virc.solving.one import Attempt, OnEvent, attempts
from virc.solving.outcome import Fields
from virc.solving.progress import Progress
from virc.solving.rows import Row, read_rows
from virc.solving.setup import OnFacts, Setup, open_setup

_DROPPED = {
    "wrong": "with another answer than the row's",
    "no_answer": "without an answer",
    "turns": "without an answer after --max-turns",
    "repetition": "that repeat themselves",
    "length": "longer than --max-tokens",
    "tags": "without the tags of the chat protocol",
    "json": "with a call that is no JSON",
    "tool": "with a call that cannot be carried out",
    "deviation": "with a call that is not exact",
    "refusal": "that refuse to answer",
    "marks": f"with {MARK} in their text",
    "failed": "that the model failed on",
    "repeated": "the same as one that was kept",
    "more": "right, and more than --keep",
}
"""Why a rollout was not kept, in words."""


class _Rollouts(Progress):
    """How many problems were rolled out in this run."""

    def __init__(self, resumed: int, report: Reporter) -> None:
        super().__init__(resumed, report)
        self.problems, self.rollouts, self.right, self.kept = 0, 0, 0, 0

    def add(self, done: RowDone) -> None:
        if not done.error:
            self.problems += 1
            self.rollouts += done.fields["rollouts"]
            self.right += done.fields["right"]
            self.kept += len(done.fields["kept"])
        super().add(done)

    def __str__(self) -> str:
        before = f"; {self.resumed} were done before" if self.resumed else ""
        counts = f"{self.right} of {counted(self.rollouts, 'rollout')} right, {self.kept} kept"
        return f"{counted(self.problems, 'problem')}: {counts}, {counted(self.failed, 'row')} failed{before}"


def sample_file(
    setup: Setup,
    source: str,
    to: str,
    keep: int,
    at_once: int | None,
    report: Reporter,
    on_facts: OnFacts = lambda _: None,
) -> Fields:
    """Sample every row of a file.

    Args:
        source: JSONL file, or `-` for standard input.
        to: `NAME.jsonl` or a folder.
        keep: most trajectories of one problem.
        at_once: rows in work at a time; None: as many as suit the model.

    Returns:
        The fields of `virc.data.sample/1`.

    Raises:
        VircError: a row failed, no rollout was right, or all of it cannot be done.
    """
    if setup.config.first_temperature() == 0 and setup.config.samples > 1:
        raise UsageError("at temperature 0 all rollouts of a problem are the same", "--temperature 1, or --samples 1")
    location = location_of(expanded(to))
    file, base = open_rows(source)
    config = SampleConfig(BatchConfig(setup.config, base, None, setup.offline, at_once), keep, location)
    with file as rows:
        opened, facts = open_setup(setup, report, on_facts)
        if opened.family and not setup.choice.protocol:
            _warn_of_stock(report)
        known = sampling_facts(facts, keep)
        on_facts({**known, "to": str(location.file)})
        protocol = as_shown_on(taught(opened.chat_protocol.protocol), opened.backend.grid)
        with begun(location, protocol, made_with(known)) as ledger:
            progress = _Rollouts(ledger.resumed, report)

            def on_row(done: RowDone) -> None:
                if done.fields.get("kept"):
                    put_protocol(location, protocol)
                ledger.append(as_line(done, known, SCHEMA))
                progress.add(done)

            finished = False
            try:
                sample(config, opened, read_rows(rows), ledger, on_row, report.note)
                finished = True
            finally:
                totals = publish(location, finished, keep)
                fields = {**msgspec.structs.asdict(totals), "pass_rate": totals.pass_rate}
                on_facts(fields)
                report.note(_summary(totals, ledger.resumed))
                if totals.dropped:
                    report.note(_why(totals, keep))
        opened.backend.close()
    progress.check()
    if not totals.problems:
        raise DataError(f"{source} has no rows")
    if not totals.kept:
        hint = REAL_MODELS if opened.embedded else "a stronger model, or a larger --samples"
        reasons = ", ".join(_reasons(totals))
        raise NoAnswerError(
            f"none of {counted(totals.rollouts, 'rollout')} was kept, and no file is left: {reasons}", hint
        )
    return {**known, **fields, "to": str(location.file)}


def _warn_of_stock(report: Reporter) -> None:
    """Say that rows of a stock model suit no model of this workspace that was trained with a chat protocol."""
    if file := next(iter(sorted(Path(MODELS).glob(f"[!.]*/{FILE_NAME}"))), None):
        sentence = f"the rows are in the chat protocol of stock models, and {file.parent} was trained with another"
        report.warn(sentence, f"for rows that train it: --protocol {file}")


def _summary(totals: Totals, resumed: int) -> str:
    rate = "" if totals.pass_rate is None else f" ({totals.pass_rate:.1%})"
    before = f"; {counted(resumed, 'problem')} done before" if resumed else ""
    failed = f"; {counted(totals.failed, 'row')} failed" if totals.failed else ""
    kept = "1 trajectory" if totals.kept == 1 else f"{totals.kept} trajectories"
    return (
        f"{counted(totals.problems, 'problem')}: {totals.right} of {counted(totals.rollouts, 'rollout')} right{rate}, "
        f"{kept} kept, {counted(totals.without, 'problem')} without one{failed}{before}"
    )


def _why(totals: Totals, keep: int) -> str:
    fewer = f"; {counted(totals.fewer, 'problem')} with fewer than --keep {keep}" if totals.fewer else ""
    return f"dropped: {', '.join(_reasons(totals))}{fewer}"


def _reasons(totals: Totals) -> Iterator[str]:
    return (f"{count} {_DROPPED.get(kind, kind)}" for kind, count in totals.dropped.items())


class SampleConfig(msgspec.Struct, frozen=True):
    """How rows are sampled.

    Args:
        batch: how they are solved. Of its `solving`, `samples` are the rollouts of a problem; every problem
            has its own seeds, derived from `seed` and its id.
        keep: most trajectories of one problem.
    """

    batch: BatchConfig
    keep: int
    location: Location


def sample(
    config: SampleConfig,
    opened: Opened,
    rows: Iterable[Row],
    claims: Claims,
    on_row: Callable[[RowDone], None],
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """Roll out every problem that is still to be done.

    Args:
        claims: which problems are done.
        on_row: called with every problem when it is done, one at a time: its fields are `line`, `rollouts`, `right`,
            `pass_rate`, `ended` (how many rollouts ended in which way), `answers` and `kept` (rows of the
            trajectories format, whose images are in location).
        note: gets a sentence when the endpoint is unreachable and is waited for, or rows are done one at a time.

    Raises:
        NetworkError: the endpoint became unreachable and stayed so.
        VircError: the endpoint failed row after row for a reason of its own.
    """

    def work(row: Row, on_event: OnEvent) -> RowDone:
        return RowDone(row, _sampled(config, opened, row, on_event))

    workers = workers_for(config.batch.at_once, opened, note)
    through(rows, claims, work, on_row, workers, outage_of(opened, note))


def sampling_facts(known: Fields, keep: int) -> Fields:
    """The `facts` of a model with the settings as sampling has them."""
    settings = dict(known["settings"])
    return known | {"settings": {"n": settings.pop("samples"), "keep": keep, **settings}}


def _sampled(config: SampleConfig, opened: Opened, row: Row, on_event: OnEvent) -> Fields:
    answer, choices = row.passed.get("answer"), [str(choice) for choice in row.passed.get("choices") or ()]
    reference = str(answer)
    if type(answer) not in (str, int, float) or not reference.strip():
        raise DataError(f"line {row.line}: it has no answer to compare the rollouts with")
    if MARK in row.question:
        raise DataError(f"line {row.line}: the question holds {MARK}, which stands for an image in training data")
    seed = derived(config.batch.solving.seed, row.id)
    solving = msgspec.structs.replace(config.batch.solving, seed=seed, tries=1, tolerate=frozenset(), keep_images=True)
    deadline = Deadline(solving.timeout)
    images = shown_images(config.batch, opened, row, deadline)
    arguments = (solving, opened.backend, opened.chat_protocol.protocol, images, row.question)
    ended: Counter[str] = Counter()
    answers: list[str | None] = []
    kept: dict[tuple[str, ...], Fields] = {}  # by the replies: a repeated solution teaches nothing
    repeated = 0
    for number, attempt in enumerate(attempts(*arguments, on_event=on_event, deadline=deadline), 1):
        broken, last = attempt.broken, number == solving.samples and not ended.keys() - {"failed"}
        common = not isinstance(broken, VircError) or isinstance(broken, NetworkError) or broken.everywhere
        if broken is not None and (last or common):  # the others would fail with it, too, or all have
            raise broken
        end = _end(attempt.trace, reference, choices)
        ended[end] += 1
        answers.append(attempt.trace.answer)
        replies = tuple(unit.text for unit in attempt.trace.units)
        repeated += end == "right" and replies in kept
        if end == "right" and len(kept) < config.keep and replies not in kept:
            kept[replies] = _trajectory(config.location, row, reference, number, attempt)
    return {
        "line": row.line,
        "rollouts": solving.samples,
        "right": ended["right"],
        "pass_rate": ended["right"] / solving.samples,
        "ended": dict(ended),
        "answers": answers,
        "repeated": repeated,
        "kept": list(kept.values()),
    }


def _end(trace: Trace, reference: str, choices: list[str]) -> str:
    """How a rollout ended: `right`, `wrong`, `failed` where the model did, else what was wrong in it."""
    if trace.answer is None:
        assert trace.failure
        kind = trace.failure.kind
        return "failed" if kind == "engine" else trace.pending[-1].kind if kind == "tries" else kind
    if any(mark in message.text for message in trace.messages for mark in (MARK, TURN)):
        return "marks"
    return "right" if same(trace.answer, reference, choices) else "wrong"


def _trajectory(location: Location, row: Row, reference: str, number: int, attempt: Attempt) -> Fields:
    """The row of a rollout in the dataset, its images in location."""
    extra = dict(row.passed)
    question = extra.pop("question")
    extra.pop("answer")
    extra |= file_sizes.fields(attempt.images, attempt.trace.protocol)
    system = taught(attempt.trace.protocol).system
    said = [each for each in joined(attempt.trace.messages) if each.role != "system"]
    messages = [Message("system", system), *said] if system else said
    record = Record(tuple(messages), id=f"{row.id}-{number}", question=question, answer=reference, extra=extra)
    return row_of(record, [store(location, shown) for shown in attempt.images])
