"""Score replies in rows as RL would: single units, whole solutions, or the right answers of problems."""

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, cast

import msgspec

from virc.config import user as config
from virc.config.user import cache_folder
from virc.core.errors import ConfigError, DataError, UsageError
from virc.core.events import Reporter
from virc.core.module_files import warn_not_copied
from virc.core.text import clause, did_you_mean, plain
from virc.data.check.plain import other_than_system, rules_for
from virc.data.convert.change import PUBLISHED_SOURCE, SOURCE, Target, change_for, changed, question_with_choices
from virc.data.formats import rl
from virc.data.formats.registry import NumberedRow, RowsFile, get, left_out_note, only_source
from virc.data.rows.record import Message, Record, inputs_of
from virc.data.rows.results import split_results
from virc.models import chat_protocol
from virc.reasoning.messages import FormatError, Turn
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Session
from virc.reasoning.writing import written
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.judging import WAITED, Exchange, Waited
from virc.rewards.means import JUDGE, Means, key_of, means_of
from virc.rewards.registry import Scored, Total
from virc.rewards.sample import Prompt, Sample, SeenImage, prompt_of, sample
from virc.solving.reading import grid_of
from virc.systems import registry as systems
from virc.systems.registry import Reward, System
from virc.tools import registry as tools

_UNITS = "rl"
"""The format of single units; rows of others are scored as rollouts."""
_AT_ONCE = 64
_MAX_READ = 200  # rows whose columns are looked at
_GIVEN = frozenset({SOURCE, PUBLISHED_SOURCE, "turn", "tool_info_gt", "file_sizes"})
"""Columns that conversion and single units add."""


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
    tried: Sequence[Tried]

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
        return facts_of(self.system, self.reward, self.total) | {"rows": rows, "scored": len(totals), "mean": mean}


def facts_of(system: str, reward: Reward, total: Total) -> dict[str, Any]:
    return {"system": system, "total": total.name, "strict": reward.strict, "judge": reward.judge.endpoint}


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
    on_facts(facts_of(system, reward, total))
    if text := left_out_note(data):
        report.note(text)
    source = only_source(data, named)
    if warning := None if reply else other_than_system(source, named):
        report.warn(*warning)
    for lacks, hint in missing_columns(total, source):
        raise ConfigError(lacks, hint)
    means = means_here(reward, report)
    try:
        found = [*tried(replies(source, named, reward, rows, reply), total, means, source.format == _UNITS)]
    finally:
        means.close()
    warn_not_copied(report.warn)
    return Trial(system, reward, total, compared(found, total))


def judged_reward(
    system: str, judge_endpoint: str | None, judge_model: str | None, judge_endpoints: Mapping[str, str]
) -> tuple[System, Reward, Total]:
    names = {*rewards.total_names()} - systems.discover().keys()
    if system in names or system.endswith(".py"):
        raise UsageError(
            f"{system} is a reward, and what is tried is a system",
            f"virc systems new mine, in it reward: {{total: {system}}}, then virc rewards try mine.yaml",
        )
    named = systems.get(system)
    reward, total = reward_of(named)
    return named, _with_judges(reward, judge_endpoint, judge_model, judge_endpoints), total


def means_here(reward: Reward, report: Reporter, base: Path | None = None) -> Means:
    asks = reward.judge.endpoint or any(each.endpoint for each in reward.judges.values())
    cache = cache_folder(os.environ) / "judged" if asks else None
    return means_of(reward.judge, key_of(), cache, report.warn, base, reward.judges)


def _with_judges(reward: Reward, endpoint: str | None, model: str | None, others: Mapping[str, str]) -> Reward:
    judges = dict(reward.judges)
    for name, url in ((JUDGE, endpoint), *others.items()):
        if url is not None:
            config.check_setting("endpoint", url, "--judge-endpoint", UsageError)
        if name not in (JUDGE, *judges):
            raise UsageError(
                f"the reward has no judge {name!r}", did_you_mean(name, judges, "reward.judges names them")
            )
    for name, url in others.items():
        judges[name] = msgspec.structs.replace(judges[name], endpoint=url)
    own = reward.judge
    judge = msgspec.structs.replace(own, endpoint=endpoint or own.endpoint, model=model or own.model)
    return msgspec.structs.replace(reward, judge=judge, judges=judges)


def reward_of(system: System) -> tuple[Reward, Total]:
    if system.reward is None:
        raise ConfigError(f"the system {system.name} has no reward", "reward: {total: NAME}; virc rewards ls")
    return system.reward, rewards.of(system.reward, system.file.parent)


def missing_columns(total: Total, source: RowsFile) -> Iterator[tuple[str, str]]:
    """Columns that questions of terms name, and no row has: a sentence and a hint for each."""
    read = [(term, place) for term in total.terms if term.question for place in term.question.places]
    if not any(place.startswith("row.") for _, place in read):
        return
    records = (row.record for row in islice(source.rows(), _MAX_READ) if row.record)
    known: Collection[str] = {name for record in records for name in record.extra}
    for term, place in read:
        column = place.removeprefix("row.")
        if place != column and column not in known and column not in _GIVEN:
            lacks = f"{term.name} reads the column {plain(column, 60)!r} ({term.file}), and no row has it"
            listed = f"columns are {', '.join(sorted(known))}" if known else "rows have no further columns"
            yield lacks, did_you_mean(column, known, listed)


def replies(
    source: RowsFile, system: System, reward: Reward, most: int, reply: str | None = None
) -> Iterator[tuple[int, Sequence[Sample]]]:
    """The replies of the first rows, each under its number; a row without one is passed over.

    Args:
        reply: takes the place of the rows' own; of problems it is the first reply.
    """
    protocol = chat_protocol.of_system(system).protocol
    worded = protocol if system.worded else None
    if source.format == _UNITS:
        for number, prompt in _prompts(source, reward, most, worded):
            text = prompt.reference if reply is None else reply
            if text is not None:
                yield number, [sample(text, prompt)]
    elif source.holds == "solutions" and reply is None:
        for number, prompts in _solutions(source, reward, most, worded):
            yield number, [sample(prompt.reference or "", prompt) for prompt in prompts]
    elif source.holds == "pairs":
        hint = "virc data convert FILE --to DIR --format sft"
        raise DataError(f"{source.file} is of the format {source.format}, which has no replies to score", hint)
    else:
        for number, record in problems(source, most):
            images = [SeenImage(each).pixels().pixels for each in record.images]
            text = _right_answer(record, protocol) if reply is None else reply
            session = Session(
                protocol, record.question or "", images, grid_of(system), tolerate=(), tools=tools.known()
            )
            yield number, rollouts.replayed(record, [text], session, [image.size for image in images])


def _right_answer(record: Record, protocol: Protocol) -> str:
    try:
        return written(Turn("I look.", answer=record.answer or ""), protocol.grammar)
    except FormatError as error:
        raise DataError(f"its right answer cannot be written as a reply: {clause(error)}", "--reply FILE") from None


def problems(source: RowsFile, most: int) -> Iterator[tuple[int, Record]]:
    """The numbers and problems of the first rows; the question has the choices, and no turn follows it."""
    format = get(source.format)
    records = (row.record for row in format.read(source) if row.record)
    change = change_for(source, records, (source.holds, "problems"), Target())
    for row in islice(format.read(source), most):
        found = changed(change, row)[0]
        if found.record is None:
            raise found.fault or DataError(f"row {row.number} cannot be read")
        record = found.record
        images = tuple(record.images[at] for at in inputs_of(record) if at < len(record.images))
        question = question_with_choices(record)
        yield row.number, msgspec.structs.replace(record, messages=(), images=images, question=question)


def _prompts(source: RowsFile, reward: Reward, most: int, protocol: Protocol | None) -> Iterator[tuple[int, Prompt]]:
    """The first rows as prompts, each with its number; the reference of a published row stands in the next row."""
    format = get(source.format)
    rules = rules_for(source, format.read(source), "auto", protocol)[0]
    rows = cast(Iterator[NumberedRow], format.read(source))
    for row, following in islice(pairwise(chain(rows, [None])), most):
        assert row
        if row.record is None:
            raise row.fault or DataError(f"row {row.number} cannot be read")
        record = _with_reference(row.record, following.record if following else None)
        yield row.number, prompt_of(record, rules.coordinates, reward.strict, rules.protocol)


def _with_reference(record: Record, following: Record | None) -> Record:
    """The record with its reply, taken from the next row if that goes on from the same messages."""
    known = len(record.messages)
    if record.messages[-1].role == "assistant" or following is None:
        return record
    reply: tuple[Message, ...] = following.messages[known : known + 1]
    if following.messages[:known] != record.messages or not reply or reply[0].role != "assistant":
        return record
    return msgspec.structs.replace(record, messages=record.messages + reply)


def _solutions(
    source: RowsFile, reward: Reward, most: int, protocol: Protocol | None
) -> Iterator[tuple[int, list[Prompt]]]:
    format = get(source.format)
    rules = rules_for(source, format.read(source), "auto", protocol)[0]
    records = (row.record for row in format.read(source) if row.record)
    change = change_for(source, records, ("solutions", "prompts"), Target())
    for row in islice(format.read(source), most):
        # a reply with tool results inside becomes several replies, which are scored one by one
        split_record = row.record and split_results(row.record, rules.protocol)
        whole = changed(change, msgspec.structs.replace(row, record=split_record))[0]
        if whole.record is None:
            raise whole.fault or DataError(f"row {row.number} cannot be read")
        units = rl.split(whole.record, rules.grammar)
        yield (row.number, [prompt_of(unit, rules.coordinates, reward.strict, rules.protocol) for unit in units])


def tried(
    rows: Iterable[tuple[int, Sequence[Sample]]], total: Total, means: Means, units: bool = False
) -> Iterator[Tried]:
    """Score replies; `units`: each is a unit of its own, and no rollout."""
    first_rows: dict[int, int] = {}  # hash of a prompt -> the first row that has it
    rows = iter(rows)

    async def one(number: int, samples: Sequence[Sample]) -> Tried:
        record = samples[0].prompt.record
        first = first_rows.setdefault(hash((record.messages, record.images)), number)
        exchanges = list[Exchange]()
        WAITED.set(Waited(exchanges))
        with _of_row(number):
            found = await rollouts.score(samples, rollouts.ends(samples[-1]), total, means)
        exchanges.sort(key=lambda each: each.name)  # judges answer in any order
        text = "\n".join(each.text for each in samples)
        if units:
            return Tried(number, text, samples[0].kind, found.units[0], first, found.last, asked=exchanges)
        unscored = {name: why for unit in found.units for name, why in unit.unscored.items()}
        values = ", ".join("?" if unit.total is None else f"{unit.total:.4g}" for unit in found.units)
        why = {"units": values} | (dict(found.units[-1].why) if found.ended == "format" else {})
        scored = Scored(found.total, found.terms, why, unscored)
        return Tried(number, text, found.ended, scored, first, found.last, asked=exchanges)

    with asyncio.Runner() as runner:  # one loop for all: the judge's connections belong to it

        async def next_batch() -> list[Tried]:
            return await asyncio.gather(*(one(*each) for each in islice(rows, _AT_ONCE)))

        while found := runner.run(next_batch()):
            yield from found


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


@contextmanager
def _of_row(number: int) -> Iterator[None]:
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(f"row {number}: {error.message}", error.hint) from error
