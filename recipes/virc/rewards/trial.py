"""A system's reward on the rows of a file: what their own replies, or one reply, would be given.

`try_reward` begins here. It makes prompts of rows of single units (`prompts`) and scores a reply to each (`tried`). It
splits rows of whole solutions into such units (`solutions`) and scores them as rollouts (`tried_whole`).
"""

import asyncio
import inspect
import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, cast

import msgspec

from virc.config import user as config
from virc.config.user import cache_folder
from virc.core.errors import ConfigError, DataError, UsageError
from virc.core.events import Reporter
from virc.core.text import did_you_mean
from virc.data.check.plain import rules_for
from virc.data.convert.change import Target, change_for, changed
from virc.data.formats import rl
from virc.data.formats.registry import Row, Source, get, left_out_note, only_source
from virc.data.rows.record import Message, Record
from virc.data.rows.results import split_results
from virc.models import chat_protocol
from virc.reasoning.protocol import Protocol
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.judging import WAITED, Exchange, Waited
from virc.rewards.means import JUDGE, Means, key_of, means_of
from virc.rewards.registry import Scored, Term, Total
from virc.rewards.sample import Prompt, Sample, prompt_of, sample
from virc.systems import registry as systems
from virc.systems.registry import Reward, System

_FORMAT = "rl"
WHOLE = ("sft", "trajectories")
"""Formats of whole solutions, which are scored as rollouts."""
_AT_ONCE = 64


class Cost(msgspec.Struct):
    """What a term took: the replies that it scored, and the seconds of all; `waits`: it may wait for a judge."""

    term: str
    replies: int = 0
    seconds: float = 0.0
    waits: bool = False


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
    asked: tuple[Exchange, ...] = ()


class Trial(msgspec.Struct, frozen=True):
    system: str
    reward: Reward
    total: Total
    tried: Sequence[Tried]
    costs: Sequence[Cost] = ()

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
        found = {"rows": rows, "scored": len(totals), "mean": mean, "costs": msgspec.to_builtins(self.costs)}
        return facts_of(self.system, self.reward, self.total) | found


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
        data: rows of single units (`rl`), or whole solutions.
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
    protocol = chat_protocol.of_system(named).protocol if named.worded else None
    on_facts(facts_of(system, reward, total))
    if text := left_out_note(data):
        report.note(text)
    source = only_source(data)
    means = means_here(reward, report)
    counted, costs = timed(total)
    try:
        if source.format in WHOLE and reply is None:
            found = [*tried_whole(solutions(source, reward, rows, protocol), counted, means)]
        else:
            found = [*tried(prompts(source, reward, rows, protocol), reply, counted, means)]
    finally:
        means.close()
    return Trial(system, reward, total, compared(found, total), costs)


def judged_reward(
    system: str, judge_endpoint: str | None, judge_model: str | None, judge_endpoints: Mapping[str, str]
) -> tuple[System, Reward, Total]:
    names = {each.name for each in rewards.discover()[1]} - set(systems.discover())
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
            config.check("endpoint", url, "--judge-endpoint", UsageError)
        if name not in (JUDGE, *judges):
            raise UsageError(
                f"the reward has no judge {name!r}", did_you_mean(name, judges, "reward.judges names them")
            )
    for name, url in others.items():
        judges[name] = msgspec.structs.replace(judges[name], endpoint=url)
    own = reward.judge
    judge = msgspec.structs.replace(own, endpoint=endpoint or own.endpoint, model=model or own.model)
    return msgspec.structs.replace(reward, judge=judge, judges=judges)


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


def reward_of(system: System) -> tuple[Reward, Total]:
    if system.reward is None:
        raise ConfigError(f"the system {system.name} has no reward", "reward: {total: NAME}; virc rewards ls")
    return system.reward, rewards.of(system.reward, system.file.parent)


def prompts(
    source: Source, reward: Reward, most: int, protocol: Protocol | None = None
) -> Iterator[tuple[int, Prompt]]:
    """The first rows as prompts, each with its number; the reference of a published row stands in the next row."""
    if source.format != _FORMAT:
        hint = f"rows of the format {_FORMAT} have single units, those of {' and '.join(WHOLE)} whole solutions"
        if source.holds in ("pairs", "problems"):
            answers = " --answers" * (source.holds == "problems")
            hint = f"virc data convert {shlex.quote(str(source.file))} --to DIR --format sft{answers}"
        raise DataError(f"{source.file} is of the format {source.format}, which has no replies to score", hint)
    format = get(source.format)
    rules = rules_for(source, format.read(source), "auto", protocol)[0]
    rows = cast(Iterator[Row], format.read(source))
    for row, following in islice(pairwise(chain(rows, [None])), most):
        assert row
        if row.record is None:
            raise row.fault or DataError(f"row {row.number} cannot be read")
        record = _with_reference(row.record, following.record if following else None)
        yield row.number, prompt_of(record, rules.coordinates, reward.strict, rules.protocol)


def solutions(
    source: Source, reward: Reward, most: int, protocol: Protocol | None = None
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


def tried_whole(rows: Iterable[tuple[int, Sequence[Prompt]]], total: Total, means: Means) -> Iterator[Tried]:
    first_rows: dict[int, int] = {}  # hash of a prompt -> the first row that has it
    with asyncio.Runner() as runner:
        for number, prompts in rows:
            samples = [sample(prompt.reference or "", prompt) for prompt in prompts]
            exchanges = list[Exchange]()
            with _of_row(number):
                found = runner.run(_whole(samples, total, means, exchanges))
            ended = found.ended
            unscored = {name: why for unit in found.units for name, why in unit.unscored.items()}
            units = ", ".join("?" if unit.total is None else f"{unit.total:.4g}" for unit in found.units)
            why = {"units": units} | (dict(found.units[-1].why) if ended == "format" else {})
            first_row = first_rows.setdefault(_hash_of(prompts[0]), number)
            replies = "\n".join(each.text for each in samples)
            scored = Scored(found.total, found.terms, why, unscored)
            yield Tried(number, replies, ended, scored, first_row, found.last, asked=_ordered(exchanges))


async def _whole(samples: Sequence[Sample], total: Total, means: Means, exchanges: list[Exchange]) -> rollouts.Rollout:
    WAITED.set(Waited(exchanges))
    return await rollouts.score(samples, rollouts.ends(samples[-1]), total, means)


def tried(rows: Iterable[tuple[int, Prompt]], reply: str | None, total: Total, means: Means) -> Iterator[Tried]:
    """The rewards of the rows' references, or of one reply to each row; rows without a reference are passed over."""
    texts = ((number, prompt, prompt.reference if reply is None else reply) for number, prompt in rows)
    replies = ((number, prompt, text) for number, prompt, text in texts if text is not None)
    first_rows: dict[int, int] = {}  # hash of a prompt -> the first row that has it

    async def one(number: int, prompt: Prompt, text: str) -> Tried:
        exchanges = list[Exchange]()
        WAITED.set(Waited(exchanges))
        first_row = first_rows.setdefault(_hash_of(prompt), number)  # before a judge may answer in another order
        with _of_row(number):
            read = sample(text, prompt)
            scored = await rewards.score(read, total, means)
            last = rollouts.last_of([read], scored, rollouts.ends(read))
            return Tried(number, text, read.kind, scored, first_row, last, asked=_ordered(exchanges))

    with asyncio.Runner() as runner:  # one loop for all: the judge's connections belong to it

        async def next_batch() -> list[Tried]:
            return await asyncio.gather(*(one(*each) for each in islice(replies, _AT_ONCE)))

        while found := runner.run(next_batch()):
            yield from found


def _ordered(exchanges: Iterable[Exchange]) -> tuple[Exchange, ...]:
    """The exchanges in the order of their terms' names; judges answer in any order."""
    return tuple(sorted(exchanges, key=lambda each: each.name))


@contextmanager
def _of_row(number: int) -> Iterator[None]:
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(f"row {number}: {error.message}", error.hint) from error


def _hash_of(prompt: Prompt) -> int:
    return hash((prompt.record.messages, prompt.record.images))


def _with_reference(record: Record, following: Record | None) -> Record:
    """The record with its reply, taken from the next row if that goes on from the same messages."""
    known = len(record.messages)
    if record.messages[-1].role == "assistant" or following is None:
        return record
    reply: tuple[Message, ...] = following.messages[known : known + 1]
    if following.messages[:known] != record.messages or not reply or reply[0].role != "assistant":
        return record
    return msgspec.structs.replace(record, messages=record.messages + reply)


def timed(total: Total) -> tuple[Total, list[Cost]]:
    costs = [Cost(term.name) for term in total.terms]
    terms = [
        msgspec.structs.replace(term, score=_timed(term, cost)) for term, cost in zip(total.terms, costs, strict=True)
    ]
    return msgspec.structs.replace(total, terms=terms), costs


def _timed(term: Term, cost: Cost) -> Callable[[Sample, Means], Any]:
    def score(sample: Sample, means: Means) -> Any:
        began = time.perf_counter()
        try:
            found = term.score(sample, means)
        finally:
            cost.replies += 1
            cost.seconds += time.perf_counter() - began
        if not inspect.isawaitable(found):
            return found
        cost.waits = bool(means.judge or means.judges)
        return _awaited(found, cost)

    return score


async def _awaited(found: Any, cost: Cost) -> Any:
    began = time.perf_counter()
    try:
        return await found
    finally:
        cost.seconds += time.perf_counter() - began
