"""The rollouts of a step of RL: what is measured of them, and some of them as traces to look at.

The engine's process leaves a few in `rollouts/step_N.json`; the process that follows the run makes folders of them, as
`virc solve --trace` does: `rollouts/step_N/GROUP-REPLY/index.html`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean, pstdev

import msgspec

from virc_recipes import tools
from virc_recipes.clauses import clause
from virc_recipes.data import show
from virc_recipes.data.checks.verdict import Rules
from virc_recipes.data.record import MARK, Message, Picture, Record
from virc_recipes.errors import DataError
from virc_recipes.paths import contents, write_json
from virc_recipes.reasoning.images import Shown, open_image
from virc_recipes.reasoning.trace import Trace
from virc_recipes.tools import ToolError
from virc_recipes.trace_files import write_trace

FOLDER = "rollouts"
GROUPS, REPLIES = 2, 8
"""The most groups of a step that are left as traces, and the most replies of each."""
OUT_OF_TOKENS = "no answer within the tokens of a rollout"
"""What a trace says that ended where a rollout had no room for another unit."""

_BESIDE = ("score", "units", "tool_calls", "answered", "taken")  # what a reward says that is no term of it
_JUDGE = "judge_"
_MOST_BYTES = 64 * 2**20
_EQUAL = 1e-9


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """One reply to a prompt, of one unit or of several.

    Args:
        group: the prompt that it is to; replies to one prompt are compared.
        reward: its total.
        said: what the reward says beside: its terms by their names, None or NaN where one does not apply.
        tokens: of the reply, what tools showed in it included.
        trace: its conversation; with no units where the reply is one unit after a conversation that was there.
        images: files of the row's images.
    """

    group: str
    reward: float
    said: Mapping[str, float | None]
    tokens: int
    trace: Trace
    images: Sequence[str] = ()

    @property
    def terms(self) -> dict[str, float]:
        """The terms of the reward that apply."""
        named = {name: value for name, value in self.said.items() if _is_term(name)}
        return {name: value for name, value in named.items() if value is not None and math.isfinite(value)}


class Left(msgspec.Struct, frozen=True):
    """What the engine's process leaves of a step."""

    step: int
    rollouts: Sequence[Rollout]


def measures(rollouts: Sequence[Rollout], limit: int) -> dict[str, float]:
    """What verl does not measure of a step, by the names it is logged under.

    Args:
        rollouts: all of the step; replies to one prompt need not stand together.
        limit: the longest a reply may be, in tokens.
    """
    if not rollouts:
        return {}
    terms = [each.terms for each in rollouts]
    names = sorted({name for each in terms for name in each})
    rewards = _by_group(rollouts)
    waits = [each.said.get(f"{_JUDGE}seconds") for each in rollouts]
    judged = [wait for wait in waits if wait is not None]
    return {
        **{f"virc/terms/{name}": fmean(each[name] for each in terms if name in each) for name in names},
        "virc/reward_std": pstdev(each.reward for each in rollouts),
        "virc/same": fmean(max(group) - min(group) < _EQUAL for group in rewards.values()),
        "virc/cut": fmean(_is_cut(each, limit) for each in rollouts),
        "virc/malformed": fmean(_is_malformed(each) for each in rollouts),
        "virc/units": fmean(max(1, len(each.trace.units) + len(each.trace.pending)) for each in rollouts),
        "virc/tool_calls": fmean(_calls(each) for each in rollouts),
        **({"virc/judge_seconds": fmean(judged)} if judged else {}),
        "virc/judge_failures": sum(each.said.get(f"{_JUDGE}failed") or 0.0 for each in rollouts),
    }


def _is_term(name: str) -> bool:
    return name not in _BESIDE and not name.startswith(_JUDGE)


def _by_group(rollouts: Iterable[Rollout]) -> dict[str, list[float]]:
    ordered = sorted(rollouts, key=lambda each: each.group)
    return {
        group: [each.reward for each in replies]
        for group, replies in groupby(ordered, lambda each: each.group)
    }


def _is_cut(rollout: Rollout, limit: int) -> bool:
    failure, refused = rollout.trace.failure, rollout.trace.pending
    full = rollout.tokens >= limit or bool(refused and refused[-1].kind == "length")
    return full or (failure is not None and failure.message == OUT_OF_TOKENS)


def _is_malformed(rollout: Rollout) -> bool:
    """Whether its last reply was not taken; of a single unit its reward says so, where it says so at all."""
    if rollout.trace.units or rollout.trace.pending:
        return bool(rollout.trace.pending)
    return rollout.said.get("taken", rollout.said.get("format")) == 0


def _calls(rollout: Rollout) -> float:
    if rollout.trace.units or rollout.trace.pending:
        return sum(unit.call is not None for unit in rollout.trace.units)
    return rollout.said.get("tool_calls") or 0.0


def leave(folder: Path, step: int, rollouts: Sequence[Rollout]) -> None:
    """Leave the first groups of a step, for another process to make traces of.

    Args:
        folder: `rollouts/` of the run.
    """
    groups = list(dict.fromkeys(each.group for each in rollouts))[:GROUPS]
    chosen = [each for group in groups for each in [one for one in rollouts if one.group == group][:REPLIES]]
    folder.mkdir(exist_ok=True)
    write_json(folder / f"step_{step}.json", Left(step, chosen))


def render(folder: Path, model: str) -> list[str]:
    """Make traces of what an engine's process has left, and take that away.

    Args:
        folder: `rollouts/` of the run.
        model: as the page is to name it.

    Returns:
        Why some could not be made, one clause each.
    """
    faults = []
    for file in sorted(folder.glob("step_*.json")):
        try:
            left = msgspec.json.decode(contents(file, _MOST_BYTES), type=Left)
            _write(folder / file.stem, left, model)
        except (OSError, ValueError, LookupError, ToolError, DataError) as error:
            faults.append(f"{file.name}: {clause(error)}")
        file.unlink()
    return faults


def _write(folder: Path, left: Left, model: str) -> None:
    groups = list(dict.fromkeys(each.group for each in left.rollouts))
    for number, group in enumerate(groups, 1):
        for reply, each in enumerate((one for one in left.rollouts if one.group == group), 1):
            trace, images = shown(each)
            meta = {"model": f"{model}, step {left.step}", "reward": each.reward, "terms": each.terms}
            write_trace(folder / f"{number}-{reply}", trace, images, meta)


def shown(rollout: Rollout) -> tuple[Trace, list[Shown]]:
    """A rollout's trace with its images; those that tools made are made again.

    Raises:
        DataError: an image cannot be read.
        OSError: it is not there.
        ToolError: a tool is not known here.
    """
    if not rollout.trace.units and not rollout.trace.pending:
        return _one_unit(rollout)
    calls = {unit.shown: unit.call for unit in rollout.trace.units}
    images: list[Shown] = []
    for record in rollout.trace.images:
        if call := calls.get(record.index):
            pixels = tools.get(call.name).apply(call, images[call.index].pixels)
        else:
            pixels = open_image(_picture(rollout.images[record.index]).read(), rollout.images[record.index])
        images.append(Shown(pixels.resize((record.width, record.height)), record.parent, record.box))
    return rollout.trace, images


def _one_unit(rollout: Rollout) -> tuple[Trace, list[Shown]]:
    """A conversation of a row and the one unit after it; its replies are read as those of a row that is looked at."""
    trace = rollout.trace
    messages = tuple(
        Message(each.role, MARK * len(each.images) + each.text.replace(MARK, "")) for each in trace.messages
    )
    record = Record(messages, tuple(map(_picture, rollout.images)), question=trace.question)
    rules = Rules("prompts", trace.protocol.coordinates, protocol=trace.protocol)
    seen = show.seen(record, rules)
    return show.trace_of(record, seen, rules), [each.shown for each in seen]


def _picture(name: str) -> Picture:
    return Picture(name, confined=False)
