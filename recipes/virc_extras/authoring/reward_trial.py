"""Score replies in rows as RL would: single units, whole solutions, or the right answers of problems."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import ConfigError, DataError, at_place, errors_as
from virc.core.events import Reporter
from virc.core.module_files import warn_not_copied
from virc.core.text import counted
from virc.data.check.plain import other_than_system, rules_for
from virc.data.convert.change import problems_of, records_as
from virc.data.formats import rl
from virc.data.formats.registry import RowsFile, left_out_note, only_source
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Record
from virc.families import registry as families
from virc.models import chat_protocol
from virc.reasoning.messages import FormatError, Turn
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Session
from virc.reasoning.writing import written
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.judging import JUDGE_USAGE, Exchange, JudgeUsage
from virc.rewards.needs import columns_of, missing_columns
from virc.rewards.of_system import judged_reward, means_here
from virc.rewards.registry import Scored, Total
from virc.rewards.sample import Sample, StoredImage, prompt_of, sample
from virc.systems.registry import Reward, System
from virc.tools import registry as tools

_AT_ONCE = 64
_OF_REPLIES = frozenset(("reply", "response"))
"""Columns that look like replies."""


class Tried(msgspec.Struct, frozen=True):
    """A reply that was scored.

    Args:
        row: its number, from 1.
        turn: "answer" or "tool"; None if the reply is not well-formed. Of a whole solution, how it ends.
        scored: its reward; of a whole solution, terms are means over units.
        prompt: number of the first row with the same prompt.
        last: what the total's `group` reads of it.
        compared: its reward after `group`, in which replies to one prompt are compared; None where the total has none.
        asked: the questions to judges, with their replies.
    """

    row: int
    reply: str
    turn: str | None
    scored: Scored
    prompt: int
    last: rollouts.Last
    compared: float | None = None
    asked: Sequence[Exchange] = ()


class Trial(msgspec.Struct, frozen=True):
    system: str
    reward: Reward
    total: Total
    tried: Sequence[Tried] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """What is known before any row is scored."""
        reward = self.reward
        return {
            "system": self.system, "total": self.total.name, "strict": reward.strict, "judge": reward.judge.endpoint
        }  # fmt: skip

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of `virc.rewards.try/1`."""
        totals = [each.scored.total for each in self.tried if each.scored.total is not None]
        rows = [
            {"row": each.row, "turn": each.turn, **msgspec.to_builtins(each.scored)}
            | {"prompt": each.prompt, "compared": each.compared, "asked": msgspec.to_builtins(each.asked)}
            for each in self.tried
        ]
        mean = sum(totals) / len(totals) if totals else None
        return {**self.facts, "rows": rows, "scored": len(totals), "mean": mean}


def try_reward(
    system: str,
    data: Path,
    rows: int = 20,
    reply: str | None = None,
    judge_endpoint: str | None = None,
    judge_model: str | None = None,
    judge_endpoints: Mapping[str, str] = {},
    report: Reporter | None = None,
    on_facts: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Trial:
    """Score replies as RL would.

    Args:
        system: its name, or the path of its YAML.
        data: rows of single units (`rl`), whole solutions, or problems, whose right answers are scored.
        rows: how many, from the first.
        reply: score this reply to every row instead of the rows' own.
        judge_endpoint, judge_model: a judge in place of the system's; its key is `VIRC_JUDGE_KEY`.
        judge_endpoints: of further judges, by the names that the reward has for them.

    Raises:
        UsageError: a reward was named, not a system.
        ConfigError, DataError, NetworkError: the system, the rows or the judge cannot be used.
    """
    report = report or Reporter()
    named, reward, total = judged_reward(system, judge_endpoint, judge_model, judge_endpoints)
    trial = Trial(system, reward, total)
    on_facts(trial.facts)
    if text := left_out_note(data):
        report.note(text)
    source = only_source(data, named)
    if warning := None if reply else other_than_system(source, named):
        report.warn(*warning)
    for lacks, hint in missing_columns(total, source):
        raise ConfigError(lacks, hint)
    context = means_here(reward, report)
    try:
        found = [*tried(replies(source, named, reward, rows, reply), total, context, source.format == rl.NAME)]
    finally:
        context.close()
    warn_not_copied(report.warn)
    if reply is None and _scores_answers(source) and found and all(each.scored.total == 0 for each in found):
        sentence = r"each right answer is worth 0 as it is written here: without \boxed{}, and without calls"
        report.warn(sentence, "-v shows it, «--reply FILE» scores one reply for all")
    if reply is None and _scores_answers(source) and (unread := columns_of(source) & _OF_REPLIES):
        sentence = f"the right answers of {counted(len(found), 'problem')} are scored, not the column {min(unread)!r}"
        layout = f"`reply: {min(unread)}` in a layout of `rows` in {system} reads it"
        report.warn(sentence, f"{layout}, «--reply FILE» scores one reply for all")
    return msgspec.structs.replace(trial, tried=compared(found, total))


def _scores_answers(source: RowsFile) -> bool:
    """Whether rows are problems, whose right answers are scored where no reply is given."""
    return source.format != rl.NAME and source.holds != "solutions"


def replies(
    source: RowsFile, system: System, reward: Reward, most: int, reply: str | None = None
) -> Iterator[tuple[int, Sequence[Sample]]]:
    """The replies of the first rows, each under its number; a row without one is passed over.

    Args:
        reply: takes the place of the rows' own; of problems it is the first reply.
    """
    protocol = chat_protocol.of_system(system)
    if source.holds == "pairs":
        hint = "virc data convert FILE --to DIR --format sft"
        raise DataError(f"{source.file} is of the format {source.format}, which has no replies to score", hint)
    is_split = source.format == rl.NAME
    if not is_split and (_scores_answers(source) or reply is not None):
        for number, record in islice(problems_of(source), most):
            images = [StoredImage(each).pixels().pixels for each in record.images]
            text = _right_answer(record, protocol) if reply is None else reply
            with errors_as(DataError, f"row {number}", "virc data check FILE", caught=ValueError):  # without an image
                grid = families.of_system(system).grid
                session = Session(protocol, record.question or "", images, grid, tolerate=(), tools=tools.known())
            yield number, rollouts.samples_from_replies(record, [text], session)
        return
    rules = rules_for(source, source.rows(), "auto", protocol if system.worded else None)[0]
    records = _with_references(source.rows()) if is_split else records_as(source, rl.HOLDS, rules.protocol)
    for number, record in islice(records, most):
        units = [record] if is_split else rl.split(record, rules.grammar)
        prompts = [prompt_of(each, rules.coordinates, reward.strict, rules.protocol) for each in units]
        texts = [each.reference if reply is None else reply for each in prompts]
        samples = [sample(text, each) for text, each in zip(texts, prompts, strict=True) if text is not None]
        if samples:
            yield number, samples


def _with_references(rows: Iterable[ParsedRow]) -> Iterator[tuple[int, Record]]:
    """Rows of single units, each with its number and its reply; that of a published row stands in the next row."""
    following: ParsedRow | None
    for row, following in pairwise(chain(rows, [None])):
        assert row
        record, before = row.known(), row.known().messages
        after = following.record.messages if following and following.record else ()
        if before[-1].role == "user" and after[: len(before)] == before:
            record = msgspec.structs.replace(record, messages=after[: len(before) + 1])
        yield row.number, record


def _right_answer(record: Record, protocol: Protocol) -> str:
    with errors_as(DataError, "its right answer cannot be written as a reply", "«--reply FILE»", caught=FormatError):
        return written(Turn("I look.", answer=record.answer or ""), protocol.grammar)


def tried(
    rows: Iterable[tuple[int, Sequence[Sample]]], total: Total, context: RewardContext, units: bool = False
) -> Iterator[Tried]:
    """Score replies; `units`: each is a unit of its own, and no rollout."""
    first_rows: dict[int, int] = {}  # hash of a prompt -> the first row that has it
    rows = iter(rows)

    async def one(number: int, samples: Sequence[Sample]) -> Tried:
        record = samples[0].prompt.record
        first = first_rows.setdefault(hash((record.messages, record.images)), number)
        exchanges = list[Exchange]()
        JUDGE_USAGE.set(JudgeUsage(exchanges))
        with at_place(f"row {number}", (ConfigError, DataError)):
            found = await rollouts.score(samples, rollouts.ends(samples[-1]), total, context)
        exchanges.sort(key=lambda each: each.name)  # judges answer in any order
        text = "\n".join(each.text for each in samples)
        turn, scored = (samples[0].kind, found.units[0]) if units else (found.ended, _of_rollout(found))
        return Tried(number, text, turn, scored, first, found.last, asked=exchanges)

    async def next_batch() -> list[Tried]:
        return await asyncio.gather(*(one(*each) for each in [*islice(rows, _AT_ONCE)]))

    with asyncio.Runner() as runner:  # one loop for all: the judge's connections belong to it
        while found := runner.run(next_batch()):
            yield from found


def _of_rollout(found: rollouts.Rollout) -> Scored:
    values = ", ".join("?" if unit.total is None else f"{unit.total:.4g}" for unit in found.units)
    why = {"units": values} | (dict(found.units[-1].why) if found.ended == "format" else {})
    return Scored(found.total, found.terms, why, found.unscored)


def compared(found: Sequence[Tried], total: Total) -> list[Tried]:
    """Set what rewards are compared by: those of rows with the same prompt, where all of them have one."""
    values: dict[int, float] = {}
    for prompt in {each.prompt for each in found} if total.group else ():
        group = [each for each in found if each.prompt == prompt]
        rewarded = [each.scored.total for each in group if each.scored.total is not None]
        if len(rewarded) == len(group):
            after = rollouts.grouped(total, rewarded, [each.last for each in group])
            values.update(zip((each.row for each in group), after, strict=True))
    return [msgspec.structs.replace(each, compared=values.get(each.row)) for each in found]
