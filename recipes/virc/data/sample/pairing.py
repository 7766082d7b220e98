"""Pairs of a better and a worse reply from the rollouts of one problem, by a rule.

right     a right rollout and one that is not
reward    rollouts with a higher and a lower reward
grade     the same with the grades of a critic
shorter   two right rollouts, of which one wrote less
image     a right rollout, and one that was shown noisy pictures and is not right
step      a right rollout, and one of its replies with its box moved or its answer changed
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, Literal, get_args

import msgspec

from virc.core.seeds import derived
from virc.data.formats import pairs
from virc.data.rows.record import Message, Record
from virc.data.sample.corrupt import moved_box, other_number
from virc.data.sample.dataset import Location, store
from virc.data.sample.parting import Parted, between, images_of, parted
from virc.data.sample.rollouts import Problem, Rollout, fields_of, messages_of, question_of
from virc.reasoning.coordinates import sides_of
from virc.reasoning.trace import Unit
from virc.scoring.judge import Judge
from virc.solving.one import Attempt

Rule = Literal["right", "reward", "grade", "shorter", "image", "step"]
RULES: tuple[Rule, ...] = get_args(Rule)
COMPARING: tuple[Rule, ...] = ("right", "reward", "grade", "shorter")
"""Rules that compare several rollouts of a problem."""
CUT = ("length", "repetition", "failed", "marks")
"""Ends of rollouts that no pair holds: their last reply is not one that the model ended, or cannot be in a row."""
Grade = Callable[[Problem, Rollout], float | None]
"""How good a rollout is; None where that cannot be said."""
Found = Iterator[tuple[Parted, Rollout, float]]
"""Pairs with the better rollout and the margin."""


class Pairing(msgspec.Struct, frozen=True):
    """How pairs are found.

    Args:
        margin: pairs whose better side is better by less are left out.
        judge: is asked about answers that no rule finds right.
        grade: of `reward` and `grade`.
    """

    rule: Rule
    margin: float = 0.0
    judge: Judge | None = None
    grade: Grade | None = None


class Pairs(msgspec.Struct):
    """The rows of the pairs of a problem, and how many were left out for which reason."""

    rows: list[dict[str, Any]]
    left_out: Counter[str]


def judged(pairing: Pairing, problem: Problem, rollouts: Iterable[Rollout]) -> list[Rollout]:
    """The rollouts, those right whose answer the judge finds to say what the row's answer says."""
    return [_judged(pairing.judge, problem, each) for each in rollouts]


def _judged(judge: Judge | None, problem: Problem, rollout: Rollout) -> Rollout:
    answer = rollout.attempt.trace.answer
    if judge is None or rollout.end != "wrong" or answer is None:
        return rollout
    right = judge.same(problem.row.question, problem.key.reference, answer)
    return msgspec.structs.replace(rollout, end="right") if right else rollout


def paired(
    pairing: Pairing, keep: int, problem: Problem, rollouts: Sequence[Rollout], noisy: Sequence[Rollout], to: Location,
    seed: int,
) -> Pairs:  # fmt: skip
    """At most `keep` pairs of a problem.

    Args:
        noisy: rollouts that were shown noisy pictures.
        seed: of what is drawn at random.
    """
    left_out: Counter[str] = Counter(each.end for each in (*rollouts, *noisy) if each.end in CUT)
    whole = [each for each in rollouts if each.end not in CUT]
    found = _steps(problem, whole, seed, left_out) if pairing.rule == "step" else _compared(
        _ranked(pairing, problem, whole, [each for each in noisy if each.end not in CUT], left_out),
        pairing.rule != "image", left_out,
    )  # fmt: skip
    kept: dict[tuple[object, ...], dict[str, Any]] = {}
    for pair, better, margin in found:
        key = (tuple(pair.shared), pair.better, pair.worse)
        if margin < pairing.margin:
            left_out["margin"] += 1
        elif key in kept:
            left_out["repeated"] += 1
        elif (key[0], pair.worse, pair.better) in kept:
            left_out["reverse"] += 1
        elif len(kept) == keep:
            left_out["more"] += 1
        else:
            kept[key] = _row(to, problem, pair, better.attempt, margin, len(kept) + 1)
    if not kept and not (+left_out).keys() - {*CUT}:
        left_out["alike"] += 1
    return Pairs(list(kept.values()), left_out)


def _ranked(
    pairing: Pairing, problem: Problem, rollouts: Sequence[Rollout], noisy: Sequence[Rollout], left_out: Counter[str]
) -> list[tuple[Rollout, Rollout, float]]:
    """Every better and worse rollout with the margin."""
    right = [each for each in rollouts if each.end == "right"]
    match pairing.rule:
        case "right":
            return [(one, other, 1.0) for one in right for other in rollouts if other.end != "right"]
        case "image":
            return [(one, other, 1.0) for one in right for other in noisy if other.end != "right"]
        case "shorter":
            long = {each.number: _length(each) for each in right}
            return [
                (one, other, 1 - long[one.number] / long[other.number])
                for one in right
                for other in right
                if long[one.number] < long[other.number]
            ]
        case _:
            return _graded(pairing, problem, rollouts, left_out)


def _graded(
    pairing: Pairing, problem: Problem, rollouts: Sequence[Rollout], left_out: Counter[str]
) -> list[tuple[Rollout, Rollout, float]]:
    assert pairing.grade is not None
    values = [(each, pairing.grade(problem, each)) for each in rollouts]
    known = [(each, value) for each, value in values if value is not None]
    left_out["ungraded"] += len(values) - len(known)
    return [
        (one, other, value - less) for one, value in known for other, less in known if value > less
    ]  # fmt: skip


def _length(rollout: Rollout) -> int:
    """How much a rollout wrote, in characters."""
    return sum(len(unit.text) for unit in rollout.attempt.trace.units)


def _compared(sides: Iterable[tuple[Rollout, Rollout, float]], alike: bool, left_out: Counter[str]) -> Found:
    """The pairs of these rollouts: the largest margin first, of equal ones that which parts the latest: the more turns
    two rollouts share, the surer is it that the reply in which they part made the difference.
    """
    found: list[tuple[Parted, Rollout, float]] = []
    for better, worse, margin in sides:
        pair = parted(better.attempt, worse.attempt, alike)
        if isinstance(pair, str):
            left_out[pair] += 1
        else:
            found.append((pair, better, margin))
    yield from sorted(found, key=lambda each: (-each[2], -len(each[0].shared)))


def _steps(problem: Problem, rollouts: Sequence[Rollout], seed: int, left_out: Counter[str]) -> Found:
    """One reply of each right rollout made wrong, in an order drawn at random; then the others."""
    random = Random(derived(seed, "step"))
    right = [each for each in rollouts if each.end == "right"]
    steps = [(each, at) for each in right for at in range(len(each.attempt.trace.units))]
    random.shuffle(steps)
    for rollout, at in steps:
        trace = rollout.attempt.trace
        unit = trace.units[at]
        wrong = _wrong(problem, rollout, unit, random)
        replies = [n for n, each in enumerate(trace.messages) if each.role == "assistant" and not each.inserted]
        if wrong is None:
            left_out["nothing"] += 1
            continue
        pair = between(trace.messages[: replies[at]], trace.messages[replies[at]].text, wrong[0])
        if isinstance(pair, str):
            left_out[pair] += 1
        else:
            yield pair, rollout, wrong[1]


def _wrong(problem: Problem, rollout: Rollout, unit: Unit, random: Random) -> tuple[str, float] | None:
    """A reply made wrong, and by how much: its box is elsewhere, or its answer another; None where it has neither."""
    if unit.answer is not None:
        changed = other_number(unit.text, unit.answer, random)
        wrong = changed is not None and not problem.accepts(changed[1])
        return (changed[0], 1.0) if changed is not None and wrong else None
    call = unit.call
    if call is None or call.index is None or call.box is None:
        return None
    shown = rollout.attempt.images[call.index]
    return moved_box(
        unit.text, sides_of(shown.size, rollout.attempt.trace.protocol.coordinates, shown.original), random
    )


def _row(to: Location, problem: Problem, pair: Parted, attempt: Attempt, margin: float, number: int) -> dict[str, Any]:
    """The row of the `number`th pair of a problem, whose images, of the better side, are in its folder."""
    images = images_of(pair.shared, attempt.images)
    messages = (*messages_of(pair.shared, attempt.trace.protocol), Message("assistant", pair.better))
    record = Record(
        messages,
        id=f"{problem.row.id}-{number}",
        question=question_of(problem),
        answer=problem.key.answer,
        extra={**fields_of(problem, attempt), "margin": round(margin, 6)},
        rejected=pair.worse,
    )
    return pairs.row_of(record, [store(to, shown) for shown in images])
