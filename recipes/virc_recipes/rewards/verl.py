"""What verl loads: `reward.custom_reward_function.path=pkg://virc_recipes.rewards.verl`, `name=compute_score`.

Written against verl 0.9.1: its reward loop calls the function by keywords, awaits it, and wants of all rows the same
keys beside `score`.
"""

import asyncio
import os
import sys
import weakref
from collections.abc import Mapping
from functools import cache
from math import nan
from pathlib import Path
from typing import Any

import msgspec

from virc_recipes import rewards
from virc_recipes.clauses import clause, plain
from virc_recipes.data import verl_rows
from virc_recipes.errors import ConfigError
from virc_recipes.reasoning.protocol import Coordinates
from virc_recipes.rewards.means import JUDGE_KEY, Means, means_of
from virc_recipes.rewards.sample import prompt_of, sample
from virc_recipes.systems import Reward


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run's workers are told of its reward; a JSON file that every node sees.

    Args:
        reward: as in the system's YAML, paths absolute.
        folder: of the rows' images; others are not opened.
        beside: folder of the system's YAML, where totals and terms may lie.
        coordinates: what the rows' boxes mean.
        kept: folder for the judge's replies.
    """

    reward: Reward
    folder: str
    beside: str | None = None
    coordinates: Coordinates = "pixel"
    kept: str | None = None


class _Ready(msgspec.Struct, frozen=True):
    settings: Settings
    total: rewards.Total


_MEANS: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Means]]" = weakref.WeakKeyDictionary()


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    settings: str,
    **_: Any,
) -> dict[str, float]:
    """The reward of one unit.

    Args:
        data_source: column of the row; not needed.
        solution_str: the reply.
        ground_truth: the right answer.
        extra_info: as the layout `rl` writes it, or the published files have it.
        settings: path of a `Settings`; `reward.custom_reward_function.reward_kwargs` hands it over.

    Returns:
        `score`, and every term by its name; one that does not apply is not a number.

    Raises:
        ConfigError: the settings cannot be used; or the reward needs of this row what is not there.
        DataError: the row cannot be read, or an image of it.
        NetworkError: the judge stays away. It never scores 0 for that.
    """
    ready = _ready(settings)
    given, info = ready.settings, extra_info or {}
    record = verl_rows.record_of(
        {"extra_info": info, "reward_model": {"ground_truth": ground_truth}}, Path(given.folder)
    )
    prompt = prompt_of(record, given.coordinates, given.reward.strict)
    found = await rewards.score(sample(solution_str, prompt), ready.total, _means(settings, given))
    if found.total is None:
        lacking = "; ".join(f"{name} {why}" for name, why in found.unscored.items())
        sentence = f"row {plain(info.get('index'), 20)} cannot be scored: {lacking}"
        raise ConfigError(sentence, "name a judge in the system's `reward`, or leave such rows out")
    return {"score": found.total} | {
        name: nan if each is None else each for name, each in found.terms.items()
    }


@cache
def _ready(file: str) -> _Ready:
    try:
        settings = msgspec.json.decode(Path(file).read_bytes(), type=Settings)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the reward's settings {file} cannot be read: {clause(error)}") from error
    beside = Path(settings.beside) if settings.beside else None
    return _Ready(settings, rewards.find(settings.reward.total, beside))


def _means(file: str, settings: Settings) -> Means:
    """The judge and the algebra of this event loop."""
    own = _MEANS.setdefault(asyncio.get_running_loop(), {})
    if file not in own:
        kept = Path(settings.kept) if settings.kept else None
        own[file] = means_of(settings.reward.judge, os.environ.get(JUDGE_KEY), kept, _say)
    return own[file]


def _say(sentence: str) -> None:
    print(f"virc: {sentence}", file=sys.stderr, flush=True)
