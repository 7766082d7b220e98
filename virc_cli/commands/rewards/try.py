"""`virc rewards try`: what replies would be rewarded with, term by term, and why."""  # noqa: N999 (the command's name)

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virc_cli.console import output
from virc_cli.console.options import Json, SystemArgument

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.trial import Tried
    from virc.systems.registry import Reward

FAILURE: dict[str, object] = {
    "system": None, "total": None, "strict": None, "judge": None, "rows": None, "scored": None, "mean": None,
}  # fmt: skip
_MOST_REPLY = 2**20


def command(
    system: SystemArgument,
    data: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="Rows of single units (rl), or whole solutions.", show_default=False
        ),
    ],
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="The first N rows.")] = 20,
    reply: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Score this reply to every row instead of the rows' own replies."),
    ] = None,
    judge_endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Server with a judge, over the system's; its key: VIRC_JUDGE_KEY."),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which model there; default: the only one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score replies as RL would: a line for each row with its terms, its total, and the reasons.

    Whole solutions are scored as the rollouts of multi-turn RL: terms are means over units, units have their totals.

    A total that rewrites the rewards of all replies to a prompt does so here with rows that have the same prompt.

    Without a judge, terms that need one say so, and the last line tells how many rows rules alone can score.
    """
    from virc.data.formats.registry import only_source
    from virc.models import chat_protocol
    from virc.rewards import trial as reward_trial
    from virc.systems import registry as systems
    from virc_cli.console import left_out

    _check_named(system)
    named = systems.get(system)
    reward, total = reward_trial.reward_of(named)
    spoken = chat_protocol.of_system(named).protocol if named.worded else None
    reward = _with_judge(reward, judge_endpoint, judge_model)
    output.know(system=system, total=total.name, strict=reward.strict, judge=reward.judge.endpoint)
    said = _reply(reply) if reply else None
    left_out.note([data])
    source = only_source(data)
    whole = source.format in reward_trial.WHOLE and said is None
    means = _means(reward)
    try:
        if whole:
            found = list(
                reward_trial.tried_whole(reward_trial.solutions(source, reward, rows, spoken), total, means)
            )
        else:
            found = list(
                reward_trial.tried(reward_trial.prompts(source, reward, rows, spoken), said, total, means)
            )
    finally:
        means.close()
    found = reward_trial.compared(found, total)
    fields = _fields(found)
    output.know(**fields)
    if as_json:
        known = {
            "system": system,
            "total": total.name,
            "strict": reward.strict,
            "judge": reward.judge.endpoint,
        }
        output.emit({"schema": "virc.rewards.try/1", **known, **fields, "error": None})
        return
    for line in _lines(found, [term.name for term in total.terms], fields, total.group is not None):
        output.line(line)


def _check_named(system: str) -> None:
    """Tell a reward from a system: a reward is tried as a system's, since that says the rest of it."""
    from virc.core.errors import UsageError
    from virc.rewards import registry as rewards
    from virc.systems import registry as systems

    names = {each.name for each in rewards.discover()[1]} - set(systems.discover())
    if system in names or system.endswith(".py"):
        raise UsageError(
            f"{system} is a reward, and what is tried is a system",
            f"virc systems cp tiny mine.yaml, in it reward: {{total: {system}}}, then virc rewards try mine.yaml",
        )


def _with_judge(reward: "Reward", endpoint: str | None, model: str | None) -> "Reward":
    import msgspec

    from virc.config import user as config
    from virc.core.errors import UsageError

    if endpoint is None and model is None:
        return reward
    if endpoint is not None:
        config.check("endpoint", endpoint, "--judge-endpoint", UsageError)
    judge = msgspec.structs.replace(
        reward.judge, endpoint=endpoint or reward.judge.endpoint, model=model or reward.judge.model
    )
    return msgspec.structs.replace(reward, judge=judge)


def _means(reward: "Reward") -> "Means":
    import os

    from virc.envs.environment import cache_folder
    from virc.rewards.means import JUDGE_KEY, means_of

    kept = cache_folder(os.environ) / "judged" if reward.judge.endpoint else None
    return means_of(reward.judge, os.environ.get(JUDGE_KEY), kept, output.warn)


def _reply(file: Path) -> str:
    from virc.core.errors import DataError
    from virc.core.files import contents, expanded
    from virc.core.text import clause

    try:
        return contents(expanded(file), _MOST_REPLY).decode()
    except (OSError, ValueError) as error:
        raise DataError(f"the reply {file} cannot be read: {clause(error)}") from error


def _fields(found: Sequence["Tried"]) -> dict[str, Any]:
    import msgspec

    totals = [each.scored.total for each in found if each.scored.total is not None]
    rows = [
        {"row": each.row, "turn": each.turn, **msgspec.to_builtins(each.scored), "prompt": each.prompt}
        | {"compared": each.compared}
        for each in found
    ]
    return {"rows": rows, "scored": len(totals), "mean": sum(totals) / len(totals) if totals else None}


def _lines(
    found: Sequence["Tried"], terms: Sequence[str], fields: dict[str, Any], groups: bool
) -> Iterator[str]:
    from virc_cli.console.run_lines import number, table

    def value(each: float | None) -> str:
        return "-" if each is None else number(each)

    cells = [
        (
            str(each.row),
            each.turn or "not taken",
            *("?" if name in each.scored.unscored else value(each.scored.terms[name]) for name in terms),
            value(each.scored.total),
            *([value(each.compared)] if groups else []),
            "; ".join(f"{name}: {why}" for name, why in {**each.scored.why, **each.scored.unscored}.items()),
        )
        for each in found
    ]
    yield from table([("row", "turn", *terms, "total", *(["compared"] if groups else []), "why"), *cells])
    if not found:
        yield "none of these rows has a reply of its own: give one with --reply FILE"
    else:
        share = f"{fields['scored']} of {len(found)} rows are scored ({fields['scored'] / len(found):.0%})"
        yield share + (f", {number(fields['mean'])} on average" if fields["scored"] else "")
