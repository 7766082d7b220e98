"""What sampling says of its rows: how many there are, and why others were not kept."""

from collections.abc import Iterator, Mapping

from virc.core.text import counted
from virc.data.rows.record import MARK
from virc.data.sample.dataset import Totals

DROPPED: Mapping[str, str] = {
    "wrong": "with another answer than the row's",
    "no_answer": "without an answer",
    "turns": "without an answer after --max-turns",
    "repetition": "that repeat themselves",
    "length": "longer than --max-tokens",
    "tags": "without the tags of the chat protocol",
    "json": "with a call that is no JSON",
    "tool": "with a call that cannot be carried out",
    "deviation": "with a call that is not exact",
    "refusal": "that refuse to answer",
    "marks": f"with {MARK} in their text",
    "failed": "that the model failed on",
    "repeated": "the same as one that was kept",
    "more": "right, and more than --keep",
}
"""Why a rollout was not kept, in words."""
LEFT_OUT: Mapping[str, str] = {
    "alike": "problems with no rollout better than another",
    "same": "pairs of the same replies",
    "shown": "pairs that were shown different images or results before they part",
    "inside": "pairs that part inside a turn of the assistant",
    "refused": "pairs whose better reply was not taken",
    "marks": f"rollouts or pairs with {MARK} in their text",
    "length": "rollouts longer than --max-tokens",
    "repetition": "rollouts that repeat themselves",
    "failed": "rollouts that the model failed on",
    "ungraded": "rollouts that have no grade",
    "margin": "pairs below --margin",
    "repeated": "pairs that are the same as one that was kept",
    "reverse": "pairs with the sides of one that was kept the other way round",
    "more": "pairs beyond --keep",
}
"""Why there is no pair, in words."""


def summary(totals: Totals, resumed: int, pairs: bool = False) -> str:
    """What all runs at a place made."""
    rate = "" if totals.pass_rate is None else f" ({totals.pass_rate:.1%})"
    before = f"; {counted(resumed, 'problem')} done before" if resumed else ""
    failed = f"; {counted(totals.failed, 'row')} failed" if totals.failed else ""
    kept = "1 trajectory" if totals.kept == 1 else f"{totals.kept} trajectories"
    ending = f"{kept} kept, {counted(totals.without, 'problem')} without one"
    if pairs:
        ending = f"{counted(totals.kept, 'pair')}, {counted(totals.unpaired, 'problem')} without one"
    return (
        f"{counted(totals.problems, 'problem')}: {totals.right} of {counted(totals.rollouts, 'rollout')} right{rate}, "
        f"{ending}{failed}{before}"
    )


def why(totals: Totals, keep: int) -> str:
    """Why the others were not kept."""
    fewer = f"; {counted(totals.fewer, 'problem')} with fewer than --keep {keep}" if totals.fewer else ""
    return f"{'left out' if totals.left_out else 'dropped'}: {', '.join(reasons(totals))}{fewer}"


def reasons(totals: Totals) -> Iterator[str]:
    """Each reason in words, with how often it was one."""
    yield from (f"{count} {DROPPED.get(kind, kind)}" for kind, count in totals.dropped.items())
    yield from (f"{count} {LEFT_OUT.get(kind, kind)}" for kind, count in totals.left_out.items())
