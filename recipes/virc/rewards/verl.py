"""What verl loads: `reward.custom_reward_function.path=pkg://virc.rewards.verl`, `name=compute_score`.

Written against verl 0.9.1: its reward loop calls the function by keywords, awaits it, and wants of all rows the same
keys in addition to `score`.
"""

import asyncio
import sys
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import msgspec

from virc.backends.checkpoint import folder_grid
from virc.core.errors import ConfigError, DataError, errors_as
from virc.core.text import plain
from virc.data.rows import verl as verl_rows
from virc.data.rows.record import Record
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import Coordinates, Protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.trace import Trace
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext, context_of
from virc.rewards.judging import JUDGE_USAGE, JudgeUsage
from virc.rewards.registry import Scored
from virc.rewards.sample import Sample, prompt_of, sample
from virc.systems.registry import Reward

LAST = "last"
"""What `compute_score` says for `compared`: the row's source, and what is known of the end of its rollout."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a run's reward for its workers; a JSON file that every node sees.

    Args:
        reward: as in the system's YAML, paths absolute.
        folder: of the rows' images; others are not opened.
        beside: folder where totals, terms and tools of the user's own lie.
        coordinates: what the rows' boxes mean.
        kept: folder for the judge's replies.
        rollout: what is scored: one unit, or a whole solution.
        protocol: file of the chat protocol that rollouts are held in.
        base: folder of the weights, whose image settings say how images are shown in a whole rollout.
        max_turns, max_pixels: of a whole rollout.
        sources: name of another system -> the file of its `Settings`, for rows with that name as `data_source`.
        said: texts of authors that questions to judges use: nodes of a cluster and a resumed run may not have them.
    """

    reward: Reward
    folder: str
    beside: str | None = None
    coordinates: Coordinates = "pixel"
    kept: str | None = None
    rollout: Literal["per_cru", "multi_turn"] = "per_cru"
    protocol: str | None = None
    base: str | None = None
    max_turns: int = 16
    max_pixels: int | None = None
    sources: dict[str, str] = {}
    said: dict[str, tuple[str, str]] = {}


class _Ready(msgspec.Struct, frozen=True):
    settings: Settings
    total: rewards.Total
    protocol: Protocol | None
    grid: Grid
    terms: tuple[str, ...]


_CONTEXTS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, RewardContext]] = weakref.WeakKeyDictionary()


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    settings: str,
    **_: Any,
) -> dict[str, float | str]:
    """The reward of one unit, or of one whole rollout.

    Args:
        data_source: column of the row, which may name one of the settings' `sources`.
        solution_str: the reply; of a whole rollout it is not read.
        ground_truth: the right answer.
        extra_info: as the formats `rl` and `prompts` write it, or the published files have it; of a whole rollout
            also `rollout`, its trace as JSON.
        settings: path of a `Settings`; `reward.custom_reward_function.reward_kwargs` hands it over.

    Returns:
        `score`, and every term by its name, those of all sources; one that does not apply is not a number, and of a
        rollout it is the mean over the units that it applies to. In addition, `judge_seconds`, `judge_asked`,
        `judge_failed` and `judge_score`: how long this reward waited for a judge, its questions, those that got no
        score, and the mean of the others; `units` taken, `tool_calls` among them, whether there is an answer
        (`answered`), and whether every reply was `taken`; `last` is what `compared` reads.

    Raises:
        ConfigError: the settings cannot be used; or the reward needs of this row what is not there.
        DataError: the row cannot be read, or an image of it.
        NetworkError: the judge stays away. It never scores 0 for that.
    """
    ready = _ready(file := settings_for(settings, data_source))
    given, info = ready.settings, extra_info or {}
    record = verl_rows.record_of(
        {"extra_info": info, "reward_model": {"ground_truth": ground_truth}}, Path(given.folder)
    )
    waited = JudgeUsage()
    JUDGE_USAGE.set(waited)
    context = _means(file, given)
    if given.rollout == "multi_turn":
        total, units, terms, last = await _of_rollout(ready, record, info, context)
    else:
        read = sample(solution_str, prompt_of(record, given.coordinates, given.reward.strict, ready.protocol))
        found = await rewards.score(read, ready.total, context)
        total, units, terms = found.total, [(read, found)], found.terms
        last = rollouts.last_of([read], found, rollouts.ends(read))
    if total is None:
        lacking = {f"{name} {why}": None for _, each in units for name, why in each.unscored.items()}
        sentence = f"row {plain(info.get('index'), 20)} cannot be scored: {'; '.join(lacking)}"
        raise ConfigError(sentence, "name a judge in the system's `reward`, or leave such rows out")
    kinds = [read.kind for read, _ in units]
    return (
        {"score": total}
        | dict.fromkeys(_ready(settings).terms, nan)
        | {name: each for name, each in terms.items() if each is not None}
        | {"judge_seconds": waited.seconds, "judge_asked": float(waited.asked), "judge_failed": float(waited.unread)}
        | {"judge_score": fmean(waited.scores) if waited.scores else nan}
        | {"units": float(len(kinds) - kinds.count(None)), "tool_calls": float(kinds.count("tool"))}
        | {"answered": float("answer" in kinds), "taken": float(None not in kinds)}
        | {LAST: msgspec.json.encode((str(data_source), last.known)).decode()}
    )


def compared(file: str, scored: Sequence[Mapping[str, Any]]) -> list[float]:
    """The rewards of the rollouts of one group, if a reward compares them; `scored` are values of `compute_score`."""
    lasts = [msgspec.json.decode(each[LAST], type=tuple[str, rollouts.Known]) for each in scored]
    total = total_for(file, lasts[0][0])
    return rollouts.grouped(total, [each["score"] for each in scored], [rollouts.Last(each) for _, each in lasts])


async def _of_rollout(
    ready: _Ready, record: Record, info: Mapping[str, Any], context: RewardContext
) -> tuple[float | None, list[tuple[Sample, Scored]], Mapping[str, float | None], rollouts.Last]:
    assert ready.protocol
    with errors_as(
        DataError, f"row {plain(info.get('index'), 20)} has no rollout", caught=(KeyError, TypeError, ValueError)
    ):
        trace = msgspec.json.decode(info["rollout"], type=Trace)
    # Its calls are carried out again, which may take seconds where they run code.
    samples, ended = await asyncio.to_thread(
        rollouts.samples_of, record, trace, ready.protocol, ready.grid, ready.settings.max_turns, report
    )
    found = await rollouts.score(samples, ended, ready.total, context)
    return found.total, list(zip(samples, found.units, strict=True)), found.terms, found.last


def grid_of(settings: Settings) -> Grid:
    return folder_grid(Path(settings.base), settings.max_pixels) if settings.base else QWEN2


def settings_for(file: str, data_source: object) -> str:
    return _ready(file).settings.sources.get(str(data_source), file)


def total_for(file: str, data_source: object) -> rewards.Total:
    return _ready(settings_for(file, data_source)).total


def report(sentence: str) -> None:
    print(f"virc: {sentence}", file=sys.stderr, flush=True)


@cache
def read_settings(file: str) -> Settings:
    with errors_as(ConfigError, f"the reward's settings {file} cannot be read", caught=(OSError, ValueError)):
        return msgspec.json.decode(Path(file).read_bytes(), type=Settings)


@cache
def _ready(file: str) -> _Ready:
    settings = read_settings(file)
    beside = Path(settings.beside) if settings.beside else None
    protocol = read_protocol(Path(settings.protocol), beside) if settings.protocol else None
    grid = grid_of(settings)
    total = rewards.of(settings.reward, beside)
    own = [term.name for term in total.terms]
    others = [name for each in settings.sources.values() for name in _ready(each).terms]
    return _Ready(settings, total, protocol, grid, tuple(dict.fromkeys([*own, *others])))


def _means(file: str, settings: Settings) -> RewardContext:
    own = _CONTEXTS.setdefault(asyncio.get_running_loop(), {})
    if file not in own:
        kept = Path(settings.kept) if settings.kept else None
        base = Path(settings.base) if settings.base else None
        context = context_of(settings.reward, kept, report, base)
        own[file] = msgspec.structs.replace(context, said=settings.said)
    return own[file]
