"""`virc rewards try`: what replies would be rewarded with, term by term, and why."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from virc_cli.console import events, options, output
from virc_cli.console.options import Json, JudgeModel, JudgeOfReward, Quiet, SystemArgument, flag, option
from virc_cli.console.tables import table
from virc_extras.authoring.commands.sample_replies import reply_in

if TYPE_CHECKING:
    from virc_extras.authoring.reward_trial import Trial

FAILURE: dict[str, object] = dict.fromkeys("system total strict judge rows scored mean".split())


def command(
    system: SystemArgument,
    data: Annotated[Path, option("PATH", "Rows with replies, or problems with answers.", show_default=False)],
    rows: Annotated[int, option("N", "Score the first N rows.", min=1)] = 20,
    reply: Annotated[Path | None, option("FILE", "Score this reply instead of the rows' own.")] = None,
    judge_endpoint: JudgeOfReward = None,
    judge_model: JudgeModel = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Annotated[bool, flag("--verbose", "Print replies and questions to judges.", "-v")] = False,
) -> None:
    """Score replies as RL would, term by term.

    Whole solutions are scored as the rollouts of multi-turn RL: terms are means over units, units have their totals.
    Of problems, the right answer is scored as if it were replied. A column that a question names, and no row has, is an
    error.

    A total that rewrites the rewards of all replies to a prompt does so with rows that have the same prompt.

    Without a judge, terms that need one say so, and the last line counts the rows that rules alone can score. The key
    of a judge is VIRC_JUDGE_KEY; of one called NAME, VIRC_JUDGE_KEY_NAME.
    """
    from virc_extras.authoring.reward_trial import try_reward

    text = reply_in(reply) if reply else None
    endpoint, others = options.named_endpoints(judge_endpoint or ())
    with events.printed(quiet, verbose) as report:
        trial = try_reward(
            system, data, rows, text, endpoint, judge_model, others, report, lambda known: output.know(**known)
        )
        for each in trial.tried if verbose else ():
            output.note(f"row {each.row}: {each.reply}", dim=True)
            for asked in each.asked:
                output.note(f"row {each.row}, {asked.name} asks: {asked.question}", dim=True)
                for said in asked.replies:
                    output.note(f"row {each.row}, {asked.name} is told: {said}", dim=True)
    fields = trial.fields
    if as_json:
        output.emit("virc.rewards.try/1", fields)
        return
    output.lines(_lines(trial, fields))


def _lines(trial: "Trial", fields: dict[str, Any]) -> Iterator[str]:
    from virc.runs.status import number

    def value(each: float | None) -> str:
        return "-" if each is None else number(each)

    terms, groups = [term.name for term in trial.total.terms], trial.total.group is not None
    cells = [
        (
            str(each.row),
            each.turn or "not taken",
            *("?" if name in each.scored.unscored else value(each.scored.terms[name]) for name in terms),
            value(each.scored.total),
            *([value(each.compared)] if groups else []),
            "; ".join(f"{name}: {why}" for name, why in {**each.scored.why, **each.scored.unscored}.items()),
        )
        for each in trial.tried
    ]
    yield from table([("row", "turn", *terms, "total", *(["compared"] if groups else []), "why"), *cells])
    if not cells:
        yield "none of these rows has a reply of its own: give one with --reply FILE"
    else:
        share = f"{fields['scored']} of {len(cells)} rows are scored ({fields['scored'] / len(cells):.0%})"
        yield share + (f", {number(fields['mean'])} on average" if fields["scored"] else "")
