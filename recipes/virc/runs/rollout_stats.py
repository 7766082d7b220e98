"""The rollouts of a step of RL: what is measured of them; a few are left for `rollout_pages`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import msgspec

from virc.core.files import write_json
from virc.reasoning.trace import Trace

GROUPS, REPLIES = 2, 8
"""The most groups of a step that are left as traces, of each chat protocol, and the most replies of each."""
OUT_OF_TOKENS = "no answer within the tokens of a rollout"
"""The failure of a trace that ended because a rollout had no tokens for another unit."""

_OTHERS = ("score", "units", "tool_calls", "answered", "taken")  # values of a reward that are not its terms
_JUDGE = "judge_"
_EQUAL = 1e-9
_JUDGED = 8  # replies with a score of which it says something that all are the same


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """One reply to a prompt, of one unit or of several.

    Args:
        group: the prompt that it is to; replies to one prompt are compared.
        values: further values of the reward: its terms by name, None or NaN where one does not apply.
        tokens: of the reply, what tools showed in it included.
        media: the clips and documents of its row, as the column `image_media` has them.
        trace: its conversation; with no units where the reply is one unit after a conversation that was there.
    """

    group: str
    reward: float
    values: Mapping[str, float | None]
    tokens: int
    trace: Trace
    images: Sequence[str] = ()
    media: Sequence[Any] | None = None

    @property
    def terms(self) -> dict[str, float]:
        """The terms of the reward that apply."""
        named = ((name, it) for name, it in self.values.items() if name not in _OTHERS and not name.startswith(_JUDGE))
        return {name: value for name, value in named if value is not None and math.isfinite(value)}


class Left(msgspec.Struct, frozen=True):
    """What the engine's process leaves of a step, `step_N.json`."""

    step: int
    rollouts: Sequence[Rollout]


def measures(rollouts: Sequence[Rollout], limit: int) -> dict[str, float]:
    """What verl does not measure of a step, by the names it is logged under; `limit`: the longest reply in tokens."""
    if not rollouts:
        return {}
    terms = [each.terms for each in rollouts]
    names = sorted({name for each in terms for name in each})
    groups: dict[str, list[float]] = {}
    for each in rollouts:
        groups.setdefault(each.group, []).append(each.reward)
    results = [result for each in rollouts for unit in each.trace.units for result in unit.results]
    failures = [result.failed for result in results if result.call or result.failed]
    waits = [each.values.get(f"{_JUDGE}seconds") for each in rollouts]
    judged = [wait for wait in waits if wait is not None]
    scores = [each.values.get(f"{_JUDGE}score") for each in rollouts]
    given = [score for score in scores if score is not None and math.isfinite(score)]
    return {
        **{f"virc/terms/{name}": fmean(each[name] for each in terms if name in each) for name in names},
        "virc/reward_std": pstdev(each.reward for each in rollouts),
        "virc/same": fmean(max(group) - min(group) < _EQUAL for group in groups.values()),
        "virc/cut": fmean(_is_cut(each, limit) for each in rollouts),
        "virc/malformed": fmean(_is_malformed(each) for each in rollouts),
        "virc/units": fmean(max(1, len(each.trace.units) + len(each.trace.pending)) for each in rollouts),
        "virc/tool_calls": fmean(
            sum(len(unit.calls) for unit in each.trace.units)
            if each.trace.units or each.trace.pending
            else each.values.get("tool_calls") or 0.0
            for each in rollouts
        ),
        **({"virc/judge_seconds": fmean(judged)} if judged else {}),
        **({"virc/tool_failures": fmean(failures)} if failures else {}),
        **({"virc/judge_same": float(max(given) - min(given) < _EQUAL)} if len(given) >= _JUDGED else {}),
        "virc/judge_failures": sum(each.values.get(f"{_JUDGE}failed") or 0.0 for each in rollouts),
    }


def _is_cut(rollout: Rollout, limit: int) -> bool:
    failure, refused = rollout.trace.failure, rollout.trace.pending
    full = rollout.tokens >= limit or bool(refused and refused[-1].kind == "length")
    return full or (failure is not None and failure.message == OUT_OF_TOKENS)


def _is_malformed(rollout: Rollout) -> bool:
    """Whether its last reply was not taken; for a single unit its reward may tell."""
    if rollout.trace.units or rollout.trace.pending:
        return bool(rollout.trace.pending)
    return rollout.values.get("taken", rollout.values.get("format")) == 0


def leave(folder: Path, step: int, rollouts: Sequence[Rollout]) -> None:
    """Leave the first groups of a step, of each chat protocol of the rows, for another process to make traces of."""
    of_chat_protocol: dict[str, dict[str, None]] = {}
    for each in rollouts:
        of_chat_protocol.setdefault(each.trace.protocol.first, {})[each.group] = None
    groups = [group for named in of_chat_protocol.values() for group in list(named)[:GROUPS]]
    chosen = [each for group in groups for each in [one for one in rollouts if one.group == group][:REPLIES]]
    folder.mkdir(exist_ok=True)
    write_json(folder / f"step_{step}.json", Left(step, chosen))
