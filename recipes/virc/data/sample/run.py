"""Trajectories by rejection sampling: problems are rolled out several times, and right solutions are kept.

A rollout is drawn as in RL: one try per turn, no deviation forgiven. So a reward or a check accepts all that is kept,
and the share of right rollouts is the pass rate of the model.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import msgspec

from virc.core.errors import DataError, NoAnswerError, UsageError
from virc.core.events import Reporter
from virc.core.files import MODELS, expanded
from virc.core.result_log import Claims
from virc.core.seeds import derived
from virc.core.text import counted
from virc.core.timeouts import Deadline
from virc.data.formats.sft import row_of
from virc.data.rows.record import MARK
from virc.data.sample.dataset import SCHEMA, Location, Totals, begun, location_of, publish, put_protocol, store
from virc.data.sample.pairing import Pairing, PairsAsked, checked, judged, paired, pairing_of
from virc.data.sample.rollouts import Rollout, SampledProblem, drawn, problem_of, record_of
from virc.families.registry import taught
from virc.models.load import Opened
from virc.models.registry import REAL_MODELS
from virc.reasoning.history import as_shown_on
from virc.reasoning.protocol import FILE_NAME
from virc.solving.batch import (
    BatchConfig,
    RowDone,
    as_line,
    outage_of,
    shared_settings,
    shown_images,
    through,
    workers_for,
)
from virc.solving.one import SolveConfig
from virc.solving.outcome import Fields
from virc.solving.progress import Progress
from virc.solving.rows import ProblemRow
from virc.solving.setup import OnFacts, Setup, open_setup
from virc.solving.sources.row_files import open_rows

_FIRST = 50
"""Problems after which sampling stops where they all failed alike."""
_ALIKE = "virc data show FILE, or virc solve with one of them, shows why; a stronger model, or another chat protocol"

DROPPED: Mapping[str, str] = {
    "wrong": "with another answer than the row's",
    "no_answer": "without an answer",
    "turns": "without an answer after «--max-turns»",
    "repetition": "that repeat themselves",
    "length": "longer than «--max-tokens»",
    "tags": "without the tags of the chat protocol",
    "json": "with a call that is no JSON",
    "tool": "with a call that cannot be carried out",
    "deviation": "with a call that is not exact",
    "refusal": "that refuse to answer",
    "marks": f"with {MARK} in their text",
    "failed": "that the model failed on",
    "repeated": "the same as one that was kept",
    "more": "right, and more than «--keep»",
}
"""Why a rollout was not kept, in words."""
LEFT_OUT: Mapping[str, str] = {
    "alike": "problems with no rollout better than another",
    "same": "pairs of the same replies",
    "shown": "pairs that were shown different images or results before they part",
    "inside": "pairs that part inside a turn of the assistant",
    "refused": "pairs whose better reply was not taken",
    "marks": f"rollouts or pairs with {MARK} in their text",
    "length": "rollouts longer than «--max-tokens»",
    "repetition": "rollouts that repeat themselves",
    "failed": "rollouts that the model failed on",
    "ungraded": "rollouts that have no grade",
    "margin": "pairs below «--margin»",
    "repeated": "pairs that are the same as one that was kept",
    "reverse": "pairs with the sides of one that was kept the other way round",
    "more": "pairs beyond «--keep»",
}
"""Why there is no pair, in words."""


class _Rollouts(Progress):
    def __init__(self, resumed: int, report: Reporter, total: int | None = None) -> None:
        super().__init__(resumed, report, total)
        self.problems, self.rollouts, self.right, self.kept = 0, 0, 0, 0
        self._ends = set[str]()

    def add(self, done: RowDone) -> None:
        """Count one problem. Raises NoAnswerError: it is the last of the first 50, and all of them failed alike."""
        if not done.error:
            self.problems += 1
            self.rollouts += done.fields["rollouts"]
            self.right += done.fields["right"]
            self.kept += len(done.fields["kept"])
        super().add(done)
        if self.problems == 1 and not done.error:
            costs = {"requests": done.fields["replies"], "pictures": done.fields["pictures"]}
            self.estimate("problem", costs | {f"{name} tokens": each for name, each in done.fields["tokens"].items()})
        self._ends |= {type(done.error).__name__} if done.error else set(done.fields["ended"])
        if self.done == _FIRST and not self.kept and len(self._ends) == 1:
            (end,) = self._ends
            because = "they cannot be solved" if done.error else f"rollouts {DROPPED.get(end, end)}"
            raise NoAnswerError(f"the first {_FIRST} problems failed alike: {because}", _ALIKE)

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
    asked: PairsAsked | None = None,
    trust_rows: bool = False,
) -> Fields:
    """Sample every row of a file.

    Args:
        source: a file of rows, or `-` for standard input.
        to: `NAME.jsonl` or a folder.
        keep: most trajectories, or pairs, of one problem.
        at_once: rows in work at a time; None: as many as suit the model.
        asked: the pairs to keep; None: trajectories.
        trust_rows: whether rows may name files outside of their folder, and addresses that are not public.

    Returns:
        The fields of `virc.data.sample/1`.

    Raises:
        VircError: a row failed, no rollout was right, or all of it cannot be done.
    """
    if setup.config.first_temperature() == 0 and setup.config.samples > 1:
        hint = "«--temperature 1»" if asked else "«--temperature 1», or «--samples 1»"
        raise UsageError("at temperature 0 all rollouts of a problem are the same", hint)
    if asked:
        checked(asked, setup.config.samples)
    location = location_of(expanded(to), paired=asked is not None)
    with open_rows(source, report=report, trusted=trust_rows) as rows:
        opened, facts = open_setup(setup.with_exact_words(), report, on_facts, resolved=True)
        if opened.family and not setup.choice.protocol:
            _warn_of_stock(report)
        settings = dict(facts["settings"])
        settings = {"n": settings.pop("samples"), "keep": keep, **settings, **(asked.facts if asked else {})}
        known = facts | {"settings": settings}
        on_facts({**known, "to": str(location.file)})
        protocol = as_shown_on(taught(opened.chat_protocol), opened.backend.grid)
        pairing_made = pairing_of(asked, opened, report) if asked else nullcontext()
        with pairing_made as pairing, begun(location, protocol, shared_settings(known)) as ledger:
            config = SampleConfig(
                BatchConfig(setup.config, rows.base, None, setup.offline, at_once), keep, location, pairing
            )  # fmt: skip
            total = rows.count()
            progress = _Rollouts(ledger.resumed, report, total)
            if total is None or total > ledger.resumed:
                report.note(bound(setup.config, settings["max_tokens"], total and total - ledger.resumed, asked))

            def on_row(done: RowDone) -> None:
                if done.fields.get("kept"):
                    put_protocol(location, protocol)
                ledger.append(as_line(done, known, SCHEMA))
                progress.add(done)

            finished = False
            try:
                sample(config, opened, rows.rows, ledger, on_row, report.note)
                finished = True
            finally:
                totals = publish(location, finished, keep)
                fields = {**msgspec.structs.asdict(totals), "pass_rate": totals.pass_rate}
                on_facts(fields)
                report.note(summary(totals, ledger.resumed, asked is not None))
                if totals.dropped or totals.left_out:
                    report.note(why(totals, keep))
        opened.backend.close()
    progress.check()
    if not totals.problems:
        raise DataError(f"{source} has no rows")
    if not totals.kept:
        hint = REAL_MODELS if opened.embedded and not asked else _hint(totals)
        rollouts, because = counted(totals.rollouts, "rollout"), ", ".join(reasons(totals))
        nothing = f"no pair is in {rollouts}" if asked else f"none of {rollouts} was kept"
        raise NoAnswerError(f"{nothing}, and no file is left: {because}", hint)
    return {**known, **fields, "to": str(location.file)}


def bound(config: SolveConfig, max_tokens: int, problems: int | None, asked: PairsAsked | None) -> str:
    samples, turns = config.samples, config.max_turns
    many = "each problem" if problems is None else counted(problems, "problem")
    judge_requests = 1 if asked and asked.judge else 0
    judged = " and one of the judge" if judge_requests else ""
    each = f"{counted(samples, 'rollout')} of at most {counted(turns, 'request')}{judged}"
    rollouts = (problems or 1) * samples
    requests, tokens = rollouts * (turns + judge_requests), rollouts * turns * max_tokens
    return f"{many}: {each} each, at most {requests:,} requests and {tokens:,} tokens of replies"


def _warn_of_stock(report: Reporter) -> None:
    """Say that rows of a stock model suit no model of this workspace that was trained with a chat protocol."""
    if file := next(iter(sorted(Path(MODELS).glob(f"[!.]*/{FILE_NAME}"))), None):
        sentence = f"the rows are in the chat protocol of stock models, and {file.parent} was trained with another"
        report.warn(sentence, f"for rows that train it: «--protocol {file}»")


def _hint(totals: Totals) -> str:
    if totals.left_out.get("ungraded", 0) == totals.rollouts:
        return "rows with what the reward needs, or another «--reward»"
    if totals.left_out.get("margin"):
        return "a smaller «--margin», or a larger «--samples»"
    return "a stronger model, or a larger «--samples»"


class SampleConfig(msgspec.Struct, frozen=True):
    """How rows are sampled: of `batch.solving`, `samples` are the rollouts of a problem, of which `keep` are kept."""

    batch: BatchConfig
    keep: int
    location: Location
    pairing: Pairing | None = None


def sample(
    config: SampleConfig,
    opened: Opened,
    rows: Iterable[ProblemRow],
    claims: Claims,
    on_row: Callable[[RowDone], None],
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """Roll out every problem that is still to be done; `on_row` gets each when it is done, one at a time."""

    def work(row: ProblemRow) -> RowDone:
        return RowDone(row, _sampled(config, opened, row))

    workers = workers_for(config.batch.at_once, opened, note)
    through(rows, claims, work, on_row, workers, outage_of(opened, note))


def _sampled(config: SampleConfig, opened: Opened, row: ProblemRow) -> Fields:
    problem = problem_of(row)
    seed = derived(config.batch.solving.seed, row.id)
    solving = msgspec.structs.replace(config.batch.solving, seed=seed, tries=1, tolerate=frozenset(), keep_images=True)
    deadline = Deadline(solving.timeout)
    images = shown_images(config.batch, opened, row, deadline)
    found = drawn(solving, opened, problem, images, deadline)
    if config.pairing is None:
        return _trajectories(config, problem, found)
    rollouts = judged(config.pairing, problem, found)
    pairs = paired(config.pairing, config.keep, problem, rollouts, config.location)
    return {
        **_counts(problem, solving.samples, rollouts),
        "kept": pairs.rows,
        "left_out": {kind: count for kind, count in pairs.left_out.items() if count},
    }


def _trajectories(config: SampleConfig, problem: SampledProblem, found: Iterable[Rollout]) -> Fields:
    """The fields of a problem whose right rollouts are kept; a repeated solution teaches nothing."""
    done: list[Rollout] = []
    kept: dict[tuple[str, ...], Fields] = {}
    repeated = 0
    for rollout in found:
        replies = tuple(unit.text for unit in rollout.attempt.trace.units)
        right = rollout.end == "right"
        repeated += right and replies in kept
        if right and len(kept) < config.keep and replies not in kept:
            kept[replies] = _trajectory(config.location, problem, rollout)
        without_images = msgspec.structs.replace(rollout.attempt, images=())
        done.append(msgspec.structs.replace(rollout, attempt=without_images))
    samples = config.batch.solving.samples
    return {**_counts(problem, samples, done), "repeated": repeated, "kept": list(kept.values())}


def _counts(problem: SampledProblem, samples: int, rollouts: Iterable[Rollout]) -> Fields:
    found = list(rollouts)
    ended = Counter(each.end for each in found)
    return {
        "line": problem.row.line,
        "rollouts": samples,
        "right": ended["right"],
        "pass_rate": ended["right"] / samples,
        "ended": dict(ended),
        "replies": sum(each.attempt.replies for each in found),
        "pictures": sum(len(each.attempt.trace.images) for each in found),
        "tokens": {
            "prompt": sum(each.attempt.prompt_tokens or 0 for each in found),
            "completion": sum(each.attempt.completion_tokens or 0 for each in found),
        },
        "answers": [each.attempt.trace.answer for each in found],
    }


def _trajectory(location: Location, problem: SampledProblem, rollout: Rollout) -> Fields:
    record = record_of(problem, rollout.attempt, rollout.attempt.trace.messages, rollout.number)
    return row_of(record, [store(location, shown) for shown in rollout.attempt.images])


def summary(totals: Totals, resumed: int, pairs: bool = False) -> str:
    rate = "" if totals.pass_rate is None else f" ({totals.pass_rate:.1%})"
    before = f"; {counted(resumed, 'problem')} done before" if resumed else ""
    failed = f"; {counted(totals.failed, 'row')} failed" if totals.failed else ""
    kept = "1 trajectory" if totals.kept == 1 else f"{totals.kept} trajectories"
    ending = f"{kept} kept, {counted(totals.without, 'problem')} without one"
    if pairs:
        ending = f"{counted(totals.kept, 'pair')}, {counted(totals.unpaired, 'problem')} without one"
    return (
        f"{counted(totals.problems, 'problem')}: {totals.right} of {counted(totals.rollouts, 'rollout')} right{rate}, "
        f"{ending}{failed}{before}"
    )


def why(totals: Totals, keep: int) -> str:
    fewer = f"; {counted(totals.fewer, 'problem')} with fewer than «--keep {keep}»" if totals.fewer else ""
    return f"{'left out' if totals.left_out else 'dropped'}: {', '.join(reasons(totals))}{fewer}"


def reasons(totals: Totals) -> Iterator[str]:
    yield from (f"{count} {DROPPED.get(kind, kind)}" for kind, count in totals.dropped.items())
    yield from (f"{count} {LEFT_OUT.get(kind, kind)}" for kind, count in totals.left_out.items())
