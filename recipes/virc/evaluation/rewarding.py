"""Scores the answers of an evaluation by a system's reward, from the replies that led to them.

A problem's replies are replayed as a rollout of RL, with the images that the model was shown. The values are kept in
`rewards/SYSTEM/MODEL.jsonl`: a rerun reads those of the same replies and the same reward, and asks the judge again if
it failed. Read `score` first, then `keep`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError, DataError, VircError
from virc.core.events import Reporter
from virc.core.files import contents, write_whole
from virc.core.result_log import Id
from virc.core.text import clause
from virc.core.timeouts import Deadline
from virc.data.formats import batch
from virc.data.rows.record import Picture, Record
from virc.evaluation.answers import AnswerLine, EvalFolder, hashed
from virc.evaluation.rewarded import TOTAL, Rewarded, RewardFacts
from virc.models.calibration import asks_for_box
from virc.models.load import Opened
from virc.reasoning.session import Reply, Session
from virc.rewards import rollouts
from virc.rewards.judging import WAITED, Waited, questions
from virc.rewards.means import JUDGE, NO_JUDGE, Means
from virc.rewards.needs import ANSWER, REPLIES, Scorable, without_judge
from virc.rewards.registry import Total
from virc.rewards.sample import Sample
from virc.rewards.trial import means_here, timed
from virc.solving.batch import BatchConfig, shown_images
from virc.solving.rows import Row
from virc.systems import texts
from virc.systems.registry import Reward
from virc.tools.registry import known

SCHEMA = "virc.rewarded/1"
_MAX_BYTES = 2**30  # of a file of values
_AT_ONCE = 16  # problems, whose images are in memory
_NO_REPLIES = "its replies were not kept: a former version of virc asked for it"
_NO_SCORE = "the judge gave no score"


class Rewarding(msgspec.Struct, frozen=True):
    system: str
    reward: Reward
    total: Total

    @property
    def facts(self) -> RewardFacts:
        terms = [term.name for term in self.total.terms]
        endpoint = self.reward.judge.endpoint
        return RewardFacts(self.system, self.total.name, terms, self.total.group is not None, endpoint)

    @property
    def digest(self) -> str:
        """Hash of its settings, files and judge's questions, which differs for another reward of that name."""
        files = sorted({self.total.file, *(term.file for term in self.total.terms)})
        asked = self.reward.judge.questions  # a path, whose texts may change
        parts = [msgspec.json.encode(self.reward, order="sorted"), *(file.read_bytes() for file in files)]
        parts += [msgspec.json.encode(questions(Path(asked)), order="sorted")] if asked else []
        parts += [texts.OWN_WORDS.encode()] if texts.own_words() else []
        return hashed(b"\n".join(parts))

    @property
    def judges(self) -> list[str]:
        every = {JUDGE: self.reward.judge, **self.reward.judges}
        return [name for name, judge in every.items() if judge.endpoint]


class RewardedLine(msgspec.Struct, frozen=True):
    """A line of `rewards/SYSTEM/MODEL.jsonl`; `replies` and `reward` are hashes."""

    schema: str
    id: Id
    row: str | None
    replies: str
    reward: str
    model: str
    rewarded: Rewarded | None = None

    def is_of(self, other: "RewardedLine") -> bool:
        same = (self.row, self.replies, self.reward) == (other.row, other.replies, other.reward)
        return same and self.rewarded is not None and not self.rewarded.judge_failed


def check(rewarding: Rewarding, rows: Iterable[Row], base: Path, report: Reporter) -> None:
    """Refuse a reward that lacks something of a row, or that no answer can have, before a model is asked."""
    with_answer, with_any_reply = Scorable(), Scorable()
    for row in rows:
        record = batch.record_of(row, base)
        if any(map(_is_away, record.images)):
            continue  # the row itself will fail
        with_answer.add(_scorable(rewarding, row, record, (ANSWER,)))
        with_any_reply.add(_scorable(rewarding, row, record, REPLIES))
    if with_answer.rows and not with_answer.by_rules:
        sentence = f"no problem can be scored by the reward of {rewarding.system}: {_clauses(with_answer.why)}"
        raise ConfigError(sentence, _hint(with_answer.why))
    left_out = with_any_reply.rows - with_any_reply.by_rules
    if left_out > 0:
        counts = f"{left_out} of {with_any_reply.rows}, {_clauses(with_any_reply.why)}"
        sentence = f"problems that the reward of {rewarding.system} may have to leave out: {counts}"
        report.warn(sentence, _hint(with_any_reply.why))


def _scorable(rewarding: Rewarding, row: Row, record: Record, replies: Sequence[str]) -> Scorable:
    try:
        return without_judge([record], rewarding.total, "pixel", rewarding.reward.strict, rewarding.judges, replies)
    except DataError as error:
        sentence = f"line {row.line} cannot be scored by the reward of {rewarding.system}: {error.message}"
        raise DataError(sentence, error.hint or "leave --reward out, or name a system with such rows") from error


def _clauses(lacking: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in lacking.items())


def _is_away(picture: Picture) -> bool:
    try:
        if picture.data is None:
            picture.file()
    except OSError:
        return True
    return False


def _hint(lacking: Mapping[str, str]) -> str:
    judges = [why.removeprefix(NO_JUDGE).removeprefix(", ") for why in lacking.values() if why.startswith(NO_JUDGE)]
    if not judges:
        return f"terms: {', '.join(lacking)}; `virc rewards show SYSTEM` says what they are"
    return " ".join(f"--judge-endpoint {'' if name in ('', JUDGE) else f'{name}='}URL" for name in judges)


def score(
    rewarding: Rewarding,
    config: BatchConfig,
    opened: Opened,
    rows: Iterable[Row],
    lines: Mapping[str, AnswerLine],
    folder: EvalFolder,
    report: Reporter,
) -> None:
    """Score what a model answered, and keep the values; those of the same replies and reward are not made again."""
    counted, costs = timed(rewarding.total)
    means = means_here(rewarding.reward, report, Path(opened.loaded.folder) if opened.loaded else None)

    async def value(row: Row, line: AnswerLine) -> Rewarded:
        waited = Waited()
        WAITED.set(waited)
        values = await _rewarded(row, line, opened, config, counted, means)
        return _without_judged(values, {each.term for each in costs if each.waits}) if waited.unread else values

    with closing(means):
        keep(rewarding.system, rewarding.digest, opened.name, rows, lines, folder, report, value)


def keep(
    system: str,
    digest: str,
    model: str,
    rows: Iterable[Row],
    lines: Mapping[str, AnswerLine],
    folder: EvalFolder,
    report: Reporter,
    value: Callable[[Row, AnswerLine], Awaitable[Rewarded]],
) -> None:
    """Write the values of a model's answers; `value` makes those that are not in the file with the same digests."""
    file = folder.rewarded(system, model)
    before = {str(each.id): each for each in read(file)}
    found = list[RewardedLine]()

    async def one(row: Row, line: AnswerLine) -> RewardedLine:
        assert row.id is not None
        new = RewardedLine(SCHEMA, row.id, row.digest, line.replies_digest, digest, model)
        former = before.get(str(row.id))
        if former and former.is_of(new):
            return former
        return msgspec.structs.replace(new, rewarded=await value(row, line))

    async def some(work: Iterable[tuple[Row, AnswerLine]]) -> list[RewardedLine]:
        return await asyncio.gather(*(one(*each) for each in work))

    answered = ((row, lines[str(row.id)]) for row in rows if str(row.id) in lines)
    try:
        with asyncio.Runner() as runner:  # one event loop for all, to which the judge's connections belong
            while made := runner.run(some(islice(answered, _AT_ONCE))):
                found += made
    finally:
        _write(file, found)
    values = [each.rewarded for each in found if each.rewarded]
    causes = Counter(each.unscored[TOTAL] for each in values if each.total is None)
    scored = len(values) - causes.total()
    report.note(f"{model}: {scored} of {len(values)} answers have a reward of {system}")
    for why, count in causes.most_common(1):
        report.warn(f"{model}: answers without a reward: {causes.total()}; of {count} of them, {why}")


def read(file: Path) -> Iterator[RewardedLine]:
    if not file.is_file():
        return
    for number, text in enumerate(contents(file, _MAX_BYTES).splitlines(), 1):
        try:
            yield msgspec.json.decode(text, type=RewardedLine)
        except (ValueError, RecursionError) as error:
            sentence = f"{file} holds something else than rewards: line {number}: {clause(error)}"
            raise DataError(sentence, "delete it: it is made again from the answers") from error


def rewards_of(
    system: str, digest: str, folder: EvalFolder, answers: Mapping[str, Mapping[str, AnswerLine]]
) -> dict[tuple[str, str], Rewarded]:
    return {
        (model, str(each.id)): each.rewarded
        for model, lines in answers.items()
        for each in read(folder.rewarded(system, model))
        if (line := lines.get(str(each.id)))
        and each.rewarded
        and (each.row, each.replies, each.reward) == (line.row, line.replies_digest, digest)
    }


async def _rewarded(
    row: Row, line: AnswerLine, opened: Opened, config: BatchConfig, total: Total, means: Means
) -> Rewarded:
    names = [term.name for term in total.terms]
    if line.rollout is None:
        return _unscored(names, _NO_REPLIES)
    try:
        samples = _samples(row, line.rollout.texts, opened, config)
        found = await rollouts.score(samples, line.rollout.ended, total, means)
    except ConfigError as error:
        raise ConfigError(f"problem {row.id}: {error.message}", error.hint) from error
    except DataError as error:
        return _unscored(names, error.message)
    except VircError as error:  # the judge stays away, or its server fails
        return msgspec.structs.replace(_unscored(names, error.message), judge_failed=True)
    unscored = {name: why for unit in found.units for name, why in unit.unscored.items()}
    if found.total is None:
        unscored[TOTAL] = _clauses(unscored)
    terms = {name: None if name in unscored else value for name, value in found.terms.items()}
    return Rewarded(found.total, terms, unscored, found.units[-1].why)


def _samples(row: Row, replies: Sequence[str], opened: Opened, config: BatchConfig) -> list[Sample]:
    solving, protocol = config.solving, opened.chat_protocol.protocol
    if opened.calibration and any(asks_for_box(protocol, Reply(each)) for each in replies):
        protocol = opened.reading()
    images = shown_images(config, opened, row, Deadline(solving.timeout))
    session = Session(
        protocol,
        row.question,
        images,
        opened.backend.grid,
        tolerate=solving.tolerate,
        max_turns=solving.max_turns,
        tools=known(),
    )
    record = msgspec.structs.replace(batch.record_of(row, config.base), images=())
    return rollouts.replayed(record, replies, session, [image.original or image.size for image in images])


def _unscored(names: Iterable[str], why: str) -> Rewarded:
    return Rewarded(None, dict.fromkeys(names), dict.fromkeys([TOTAL, *names], why))


def _without_judged(found: Rewarded, judged: Collection[str]) -> Rewarded:
    """The values without those of the `judged` terms, whose judge gave no score (training counts them as 0).

    `judge_failed` stays false: the judge's replies are kept, and asking again would give the same.
    """
    lacking = [name for name, value in found.terms.items() if name in judged and value is not None]
    terms = {name: None if name in lacking else value for name, value in found.terms.items()}
    unscored = {**found.unscored, **dict.fromkeys([TOTAL, *lacking], _NO_SCORE)}
    return Rewarded(None, terms, unscored, found.why)


def _write(file: Path, found: Sequence[RewardedLine]) -> None:
    text = b"".join(msgspec.json.encode(each) + b"\n" for each in found)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    except OSError as error:
        raise VircError(f"cannot write {file}: {clause(error)}") from error
