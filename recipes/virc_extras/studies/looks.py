"""Whether a model looks, and whether its crops matter: the same problems in several arms, and a verdict in words.

The crops matter if right answers are lost when each crop shows another problem's picture. Blurred crops show whether
small things in the crops are needed. A model does not look if a test rejects that it does: of a model that looks, at
least half of the answers depend on what it sees. A model needs no crops if a test rejects that a share of `_MARGIN` of
its answers does. A model that is right without a look, but not with a blank picture, reads the picture as a whole.

Read `looks` first, then `_not_looking`, which chooses among the tests; the functions after them count answers.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple, get_args

import msgspec

from virc.evaluation.answered import Answered, Guess
from virc.evaluation.columns import Arm
from virc.evaluation.statistics import Interval, Z, mcnemar, paired, wilson
from virc.scoring.answers import same_answer

LEVEL = 0.01
"""A verdict needs a p below this."""
_TESTS = 3
"""Tests of `_not_looking`, by whose number each p is multiplied (Bonferroni): right answers without a look (a part of
two decisions), answers that stay with a blank picture, answers that need their crops.
"""
_LOST = 0.5  # the least share of its answers that a model that looks loses without what it sees
_MARGIN = 0.05
"""The least share of answers that need their crops in a model whose crops matter (a test of equivalence)."""
_DISTANCE = 3.417  # distance of a mean from 0, in standard errors, that a test at LEVEL finds with a power of 80 %
_LEANING = 0.2
"""If swapped crops cost most right answers that have crops, with a p below this, there are too few crops to say that
right answers came without a look.
"""

ArmName = Literal["as it is", "no tools", "blank picture", "crops swapped", "crops blurred", "another seed"]
Decision = Literal[
    "its crops matter",
    "looks, but its crops do not matter",
    "looks, but most answers need no picture",
    "right without looking",
    "right from the whole picture",
    "not decided",
]


AS_IT_IS: ArmName = "as it is"
FURTHER_ARMS = (
    Arm("no tools", "no-tools", folder="looks/no-tools"),
    Arm("blank picture", "no-picture", folder="looks/blank-picture"),
    Arm("crops swapped", "swapped", folder="looks/crops-swapped"),
    Arm("crops blurred", "blurred", folder="looks/crops-blurred"),
    Arm("another seed", seed=1, folder="looks/another-seed"),
)
ARMS: Sequence[ArmName] = get_args(ArmName)
_MATTER: Decision = "its crops matter"
_UNUSED: Decision = "looks, but its crops do not matter"
_UNSEEN: Decision = "looks, but most answers need no picture"
_BLIND: Decision = "right without looking"
_WHOLE: Decision = "right from the whole picture"
_OPEN: Decision = "not decided"
_CROPS: tuple[ArmName, ...] = ("crops swapped", "crops blurred")
_WITHOUT: tuple[ArmName, ...] = ("crops swapped", "no tools")


Answers = Sequence[Mapping[ArmName, Answered]]
"""For each problem the answers of one model in all arms."""


class ArmResult(msgspec.Struct, frozen=True):
    """An arm compared with the arm `AS_IT_IS`, on the `of` problems that were decided in both.

    Args:
        right: number of right answers in the arm, as its file has them.
        gain: the share of right answers in `AS_IT_IS` minus that in the arm. Where crops are replaced, the `uncropped`
            problems, of which no crop was looked at, count as if their answers had stayed.
        interval: 95 % interval of the gain (Newcombe's for pairs).
        p: p of McNemar's exact test.
    """

    right: int
    of: int
    gain: float
    interval: Interval
    p: float
    uncropped: int = 0


class Looks(msgspec.Struct, frozen=True):
    """The verdict on one model: `decision`, a `sentence` with its figures, and the `test` that decided.

    Args:
        figure: the figure that was tested: the share of right answers lost, or a share of answers.
        interval: 95 % interval of that figure.
        p: p of the test; without a decision the lowest p of all tests.
        looked: share of the right answers for which the model looked; None if there are none.
    """

    model: str
    decision: Decision
    sentence: str
    test: str
    p: float
    figure: float
    interval: Interval
    looked: float | None
    arms: Mapping[ArmName, ArmResult]


class _Tested(NamedTuple):
    """What a test decided; the fields are those of `Looks`."""

    decision: Decision
    sentence: str
    test: str
    p: float
    figure: float
    interval: Interval


class _Counted(NamedTuple):
    """How many `of` the answers stay the same in an arm, or need their crops; `chance`: the share that do by chance."""

    hits: int
    of: int
    chance: float


class _Share(NamedTuple):
    """A share of answers, and the decision if it is not that of a model that looks, or that needs its crops.

    `p` is the probability that such a model has a share as extreme: as large, or as small of answers that need crops.
    """

    decision: Decision
    what: str
    hits: int
    of: int
    p: float


def looks(model: str, answers: Answers, guesses: Sequence[Guess]) -> Looks:
    """The verdict on a model from its answers to each problem in every arm; `guesses`: the right guess of each."""
    arms = {name: _arm(name, answers) for name in ARMS if name != AS_IT_IS}
    right = [each[AS_IT_IS] for each in answers if each[AS_IT_IS].right]
    looked = sum(each.looked for each in right)
    swaps, chances = arms["crops swapped"], _chances(guesses)
    kept = {name: _kept(answers, name, chances) for name in ARMS}
    p_kept = {name: _p_kept(each, kept["another seed"]) for name, each in kept.items()}
    if _p_of_loss(swaps) < LEVEL:
        tested = _crops_matter(swaps, kept["crops swapped"], p_kept)
    else:
        loses_most = swaps.gain * swaps.of >= _LOST * sum(each.cropped for each in right)
        has_too_few_crops = loses_most and swaps.p < _LEANING
        unlooked = 0 if has_too_few_crops else len(right) - looked
        need = _needing(answers, chances)
        tested = _not_looking(kept, need, p_kept, _p_of_loss(arms["blank picture"]), unlooked, len(right))
        more = ""
        if tested.decision == _OPEN:
            tested = _by_swaps(_OPEN, swaps) if _p_of_loss(swaps) < tested.p else tested
            more = _problems_wanted(swaps, need)
        elif tested.decision == _UNSEEN:
            more = f"; its crops are worth {_points(swaps)}"
        elif tested.decision == _WHOLE and _p_of_loss(arms["no tools"]) < LEVEL:  # its crops show all of the picture
            more = f"; without tools it loses {_points(arms['no tools'])}"
        tested = tested._replace(sentence=tested.sentence + more)
    return Looks(model, *tested, looked / len(right) if right else None, arms)


def _crops_matter(swaps: ArmResult, kept: _Counted, p_kept: Mapping[ArmName, float]) -> _Tested:
    tested = _by_swaps(_MATTER, swaps)
    more = ""
    if p_kept["crops swapped"] < LEVEL:  # the crops of few problems matter
        more = f", though {100 * kept.hits / kept.of:.1f} % of its answers stay with the crops of others"
    elif p_kept["crops blurred"] < LEVEL:
        more = ", and blurred ones serve as well"
    return tested._replace(sentence=tested.sentence + more)


def _p_of_loss(arm: ArmResult) -> float:
    """p that the arm costs right answers; 1 if it costs none."""
    return arm.p if arm.gain > 0 else 1.0


def _by_swaps(decision: Decision, swaps: ArmResult) -> _Tested:
    worth = "" if decision == _MATTER else "its crops are worth "
    sentence = f"{decision}: {worth}{_points(swaps)}"
    return _Tested(decision, sentence, "McNemar's exact test", swaps.p, swaps.gain, swaps.interval)


def _points(arm: ArmResult) -> str:
    low, high = (100 * end for end in arm.interval)
    return f"{100 * arm.gain:+.1f} points (95 %: {low:.1f} to {high:.1f})"


def _problems_wanted(swaps: ArmResult, need: _Counted) -> str:
    """How many such problems would decide whether its crops matter, or that it needs none, if all shares stay."""
    low, high = swaps.interval
    error = (high - low) / (2 * Z)
    times_to_matter = (_DISTANCE * error / swaps.gain) ** 2 if swaps.gain > 0 else math.inf
    times_to_need_none = math.inf
    for times in range(2, 100):
        if _TESTS * _p_of_few(_Counted(times * need.hits, times * need.of, need.chance)) < LEVEL:
            times_to_need_none = times
            break
    factor = max(2.0, min(times_to_matter, times_to_need_none))
    if not need.of or math.isinf(factor):
        return ""
    return f"; about {math.ceil(swaps.of * factor):,} such problems would tell"


def _not_looking(
    kept: Mapping[ArmName, _Counted],
    need: _Counted,
    p_kept: Mapping[ArmName, float],
    p_blank_loses: float,
    unlooked: int,
    right: int,
) -> _Tested:
    """The first test that says that a model does not look, or needs no crops; without one, the decision is open.

    Args:
        need: answers that need their crops.
        p_kept: for each arm the p of `_p_kept`.
        p_blank_loses: p that a blank picture costs right answers.
        unlooked: right answers without a look.
    """
    cropped, blank = kept["crops swapped"].of, kept["blank picture"]
    p_blank, p_unlooked = p_kept["blank picture"], _at_least(unlooked, right, 1 - _LOST)
    without_look = ("of its right answers had no look", unlooked, right)
    with_blank = ("of its answers stay with a blank picture", blank.hits, blank.of)
    with_few_needs = ("of its answers need their crops", need.hits, need.of)
    are_most_cropped = 2 * cropped > blank.of
    shares = [
        _Share(_BLIND, *without_look, max(p_unlooked, p_blank)),
        _Share(_WHOLE, *without_look, max(p_unlooked, p_blank_loses)),
        _Share(_UNSEEN if are_most_cropped else _BLIND, *with_blank, p_blank),
        _Share(_UNUSED, *with_few_needs, max(p_kept["crops swapped"], _p_of_few(need))),
    ]
    deciding = next((each for each in shares if _TESTS * each.p < LEVEL), None)
    share = deciding or min(shares, key=lambda each: each.p)
    figure, interval = share.hits / share.of if share.of else 0.0, wilson(share.hits, share.of)
    decision = share.decision if deciding else _OPEN
    shown = f"{100 * figure:.1f} % {share.what} (95 %: {100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    corrected = min(1.0, _TESTS * share.p)
    return _Tested(decision, f"{decision}: {shown}", "exact binomial test, Bonferroni", corrected, figure, interval)


def _chances(guesses: Sequence[Guess]) -> list[float]:
    """For each problem the probability that its right answer is that of another problem with as many choices."""
    same_guess, same_choices = Counter(guesses), Counter(each.choices for each in guesses)
    return [same_guess[each] / same_choices[each.choices] for each in guesses]


def _p_kept(kept: _Counted, reseeded: _Counted) -> float:
    """The probability that at least so many answers stay in an arm, of a model that looks.

    With another seed a share of the answers is `steady`, in addition to those that stay by chance; its upper end is
    taken. Of a model that looks, a share of `_LOST` of the steady answers changes with what it is shown.
    """
    max_same = wilson(reseeded.hits, reseeded.of)[1]
    steady = max(0.0, (max_same - reseeded.chance) / (1 - reseeded.chance or 1))
    likely = kept.chance + (1 - kept.chance) * steady * (1 - _LOST)
    return _at_least(kept.hits, kept.of, likely)


def _arm(name: ArmName, answers: Answers) -> ArmResult:
    pairs: Counter[tuple[bool, bool]] = Counter()
    right = uncropped = 0
    for each in answers:
        before, after = each[AS_IT_IS], each[name]
        if before.right is None or after.right is None:
            continue
        changed = before.cropped or name not in _CROPS
        pairs[before.right, after.right if changed else before.right] += 1
        right, uncropped = right + after.right, uncropped + (not changed)
    both, lost, won, neither = (pairs[way] for way in ((True, True), (True, False), (False, True), (False, False)))
    of = both + lost + won + neither
    gain = (lost - won) / of if of else 0.0
    return ArmResult(right, of, gain, paired(both, lost, won, neither), mcnemar(lost, won), uncropped)


def _kept(answers: Answers, arm: ArmName, chances: Sequence[float]) -> _Counted:
    """How many answers stay in an arm; where crops are replaced, only answers with a crop count."""
    compared = [
        (before.answer, each[arm].answer, chance)
        for each, chance in zip(answers, chances, strict=True)
        if (before := each[AS_IT_IS]).answer is not None and (before.cropped or arm not in _CROPS)
    ]
    same = sum(_alike(before, after) for before, after, _ in compared)
    return _Counted(same, len(compared), fmean(chance for *_, chance in compared) if compared else 0.0)


def _alike(one: str, other: str | None) -> bool:
    return other is not None and (one == other or same_answer(one, other))


def _needing(answers: Answers, chances: Sequence[float]) -> _Counted:
    """How many answers with a crop need it: they come neither with the crops of others nor without tools.

    Only answers that are right, or that come again with another seed, count. Both arms are needed: what is lost in
    one of them alone may be luck.
    """
    needs: list[bool] = []
    misses: list[float] = []  # the probability that an answer comes in neither arm by chance
    for each, chance in zip(answers, chances, strict=True):
        first, reseeded = each[AS_IT_IS], each["another seed"]
        if not first.cropped:
            continue
        is_stable = first.answer is not None and _alike(first.answer, reseeded.answer)
        texts = [given.answer for given in (first, reseeded) if given.answer is not None and (given.right or is_stable)]
        if texts:
            needs.append(not any(_alike(text, each[name].answer) for text in texts for name in _WITHOUT))
            misses.append((1 - chance) ** len(_WITHOUT))
    return _Counted(sum(needs), len(needs), 1 - (fmean(misses) if misses else 0.0))


def _p_of_few(need: _Counted) -> float:
    """The probability that so few answers need their crops if a share of `_MARGIN` does.

    Some of those come without their crops by chance.
    """
    return _at_least(need.of - need.hits, need.of, 1 - _MARGIN * (1 - need.chance))


def _at_least(count: int, of: int, likely: float) -> float:
    """Probability of `count` or more of `of` independent events, each with probability `likely` (exact)."""
    if count <= 0 or likely >= 1:
        return 1.0
    if likely <= 0:
        return 0.0
    ways = (math.lgamma(of + 1) - math.lgamma(at + 1) - math.lgamma(of - at + 1) for at in range(count, of + 1))
    odds = (at * math.log(likely) + (of - at) * math.log1p(-likely) for at in range(count, of + 1))
    return min(1.0, math.fsum(math.exp(way + each) for way, each in zip(ways, odds, strict=True)))
