"""Whether a model looks, and whether its crops matter: the same problems in several arms, and a verdict in words.

An answer that depends on a crop is lost when the crop shows another problem's picture: the crops matter if that
costs right answers. Blurred crops tell besides whether anything small in them is needed. A model is said not to look
only if a test says so, whose hypothesis is that of a model that looks, half of whose answers at least depend on it.
That it needs no crops is said if a test excludes that it needs few: a share of answers as large as the margin. One
that is right without a look, but not with a blank picture, reads the picture as a whole.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple, Protocol

import msgspec

from virc.evaluation.statistics import Interval, Z, at_least, mcnemar, paired, wilson
from virc.scoring.answers import same_answer
from virc.solving.ablation import CropAblation

LEVEL = 0.01
"""What p has to be below for a verdict."""
_TESTS = 3  # that can say that a model does not look: each p is multiplied by it (Bonferroni)
_LOST = 0.5  # share of its answers that an honest model would lose at least
_MARGIN = 0.05
"""Share of its answers that need their crops in a model whose crops matter, at least (a test of equivalence)."""
_DISTANCE = 3.417  # of a mean from 0, in standard errors, that a test at LEVEL finds with a power of 80 %
_LEANING = 0.2
"""Below this p, looks that cost most of their right answers are too few for a verdict, rather than none."""

ArmName = Literal["as it is", "no tools", "blank picture", "crops swapped", "crops blurred", "another seed"]
Decision = Literal[
    "its crops matter",
    "looks, but its crops do not matter",
    "looks, but most answers need no picture",
    "right without looking",
    "right from the whole picture",
    "not decided",
]


class Arm(NamedTuple):
    """One way in which the problems are asked: what is shown, what is added to the seed, and its folder."""

    ablation: CropAblation = "none"
    seed: int = 0
    folder: str = ""


FOLDER = "looks"  # of the arms, in that of the evaluation
AS_IT_IS: ArmName = "as it is"
ARMS: Mapping[ArmName, Arm] = {
    AS_IT_IS: Arm(),
    "no tools": Arm("no-tools", folder="no-tools"),
    "blank picture": Arm("no-picture", folder="blank-picture"),
    "crops swapped": Arm("swapped", folder="crops-swapped"),
    "crops blurred": Arm("blurred", folder="crops-blurred"),
    "another seed": Arm(seed=1, folder="another-seed"),
}
_MATTER: Decision = "its crops matter"
_UNUSED: Decision = "looks, but its crops do not matter"
_UNSEEN: Decision = "looks, but most answers need no picture"
_BLIND: Decision = "right without looking"
_WHOLE: Decision = "right from the whole picture"
_OPEN: Decision = "not decided"
_CROPS: tuple[ArmName, ...] = ("crops swapped", "crops blurred")
_WITHOUT: tuple[ArmName, ...] = ("crops swapped", "no tools")


class Given(Protocol):
    """An answer in an arm."""

    @property
    def answer(self) -> str | None:
        """As text."""

    @property
    def right(self) -> bool | None:
        """None if it is undecided."""

    @property
    def cropped(self) -> bool:
        """Whether a crop was made."""

    @property
    def looked(self) -> bool:
        """Whether the evidence was looked at, as far as that is known."""


class Guess(NamedTuple):
    """What one who sees nothing would have to say to be right: a letter of the `choices`, else the answer."""

    right: str
    choices: int = 0


Answers = Sequence[Mapping[ArmName, Given]]
"""Of each problem, the answers of one model by arm."""


class ArmResult(msgspec.Struct, frozen=True):
    """An arm compared with the problems as they are, on the `of` problems that were decided in both.

    Args:
        right: how many are right in the arm.
        gain: the share of right answers as it is, less that in the arm. Where crops are replaced, problems without a
            crop count as if nothing had changed.
        interval: of the gain, 95 % (Newcombe's for pairs).
        p: of McNemar's exact test.
    """

    right: int
    of: int
    gain: float
    interval: Interval
    p: float


class Looks(msgspec.Struct, frozen=True):
    """The verdict on one model: `decision`, the same in a sentence with its figures, and the test that it is by.

    Args:
        figure: what the test is of: points lost as a share, or a share of answers.
        interval: of that figure, 95 %.
        p: of the test; of a model that is not decided, the lowest of all tests.
        looked: share of the right answers that were looked for.
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


class _Found(NamedTuple):
    decision: Decision
    sentence: str
    test: str
    p: float
    figure: float
    interval: Interval


class _Kept(NamedTuple):
    """Answers that are the same in an arm, of how many, and the share of them that would be by chance."""

    same: int
    of: int
    chance: float


class _Share(NamedTuple):
    """A share that no model should have that looks, and how likely so much of it is in one that does."""

    decision: Decision
    what: str
    seen: int
    of: int
    p: float


def looks(model: str, answers: Answers, guesses: Sequence[Guess]) -> Looks:
    """The verdict on a model, of its answers to each problem in every arm, and what would be right of each."""
    arms = {name: _arm(name, answers) for name in ARMS if name != AS_IT_IS}
    right = [each[AS_IT_IS] for each in answers if AS_IT_IS in each and each[AS_IT_IS].right]
    looked = sum(each.looked for each in right)
    kept = {name: _kept(answers, name, _chances(guesses)) for name in ARMS}
    p = {name: _stays(each, kept["another seed"]) for name, each in kept.items()}
    swaps = arms["crops swapped"]
    if _cost(swaps) < LEVEL:
        found = _by_swaps(_MATTER, swaps)
        same, of, _ = kept["crops swapped"]
        if p["crops swapped"] < LEVEL:  # the crops of few problems matter
            more = f", though {100 * same / of:.1f} % of its answers stay with the crops of others"
        else:
            more = ", and blurred ones serve as well" if p["crops blurred"] < LEVEL else ""
        found = found._replace(sentence=found.sentence + more)
    else:
        lost = swaps.gain * swaps.of >= _LOST * sum(each.cropped for each in right)
        unsettled = lost and swaps.p < _LEANING
        blind = 0 if unsettled else len(right) - looked
        need = _needing(answers, _chances(guesses))
        found = _not_looking(kept, need, p, _cost(arms["blank picture"]), blind, len(right))
        if found.decision == _OPEN:
            found = _by_swaps(_OPEN, swaps) if _cost(swaps) < found.p else found
            found = found._replace(sentence=found.sentence + _wanted(swaps, need))
        elif found.decision == _UNSEEN:
            found = found._replace(sentence=f"{found.sentence}; its crops are worth {_points(swaps)}")
        elif found.decision == _WHOLE and _cost(arms["no tools"]) < LEVEL:  # its crops show all of the picture
            found = found._replace(sentence=f"{found.sentence}; without tools it loses {_points(arms['no tools'])}")
    return Looks(model, *found, looked / len(right) if right else None, arms)


def _cost(arm: ArmResult) -> float:
    return arm.p if arm.gain > 0 else 1.0


def _by_swaps(decision: Decision, swaps: ArmResult) -> _Found:
    worth = "" if decision == _MATTER else "its crops are worth "
    sentence = f"{decision}: {worth}{_points(swaps)}"
    return _Found(decision, sentence, "McNemar's exact test", swaps.p, swaps.gain, swaps.interval)


def _points(arm: ArmResult) -> str:
    low, high = (100 * end for end in arm.interval)
    return f"{100 * arm.gain:+.1f} points (95 %: {low:.1f} to {high:.1f})"


def _wanted(swaps: ArmResult, need: _Kept) -> str:
    """How many such problems one of the two tests of its crops would need, if all shares stay as they are."""
    low, high = swaps.interval
    error = (high - low) / (2 * Z)
    to_find_worth = (_DISTANCE * error / swaps.gain) ** 2 if swaps.gain > 0 else math.inf
    larger = (_Kept(times * need.same, times * need.of, need.chance) for times in range(2, 100))
    to_exclude_need = next((times for times, each in enumerate(larger, 2) if _TESTS * _few(each) < LEVEL), math.inf)
    factor = max(2.0, min(to_find_worth, to_exclude_need))
    if not need.of or math.isinf(factor):
        return ""
    return f"; about {math.ceil(swaps.of * factor):,} such problems would tell"


def _not_looking(
    kept: Mapping[ArmName, _Kept], need: _Kept, p: Mapping[ArmName, float], p_seeing: float, blind: int, right: int
) -> _Found:
    """The test that says that a model does not look, or does not need its crops, or that none does.

    Args:
        need: answers that need their crops.
        p: how likely so many answers stay, by arm.
        p_seeing: how likely a blank picture costs so many right answers by chance.
        blind: right answers without a look.
    """
    crops_of, (blank, blank_of, _) = kept["crops swapped"].of, kept["blank picture"]
    p_crops, p_blank = p["crops swapped"], p["blank picture"]
    p_blind, no_look = at_least(blind, right, 1 - _LOST), ("of its right answers had no look", blind, right)
    for_show = _UNSEEN if 2 * crops_of > blank_of else _BLIND  # whether most answers come with crops
    shares = [
        _Share(_BLIND, *no_look, max(p_blind, p_blank)),
        _Share(_WHOLE, *no_look, max(p_blind, p_seeing)),
        _Share(for_show, "of its answers stay with a blank picture", blank, blank_of, p_blank),
        _Share(_UNUSED, "of its answers need their crops", need.same, need.of, max(p_crops, _few(need))),
    ]
    first = next((each for each in shares if _TESTS * each.p < LEVEL), None)
    share = first or min(shares, key=lambda each: each.p)
    figure, interval = share.seen / share.of if share.of else 0.0, wilson(share.seen, share.of)
    decision = share.decision if first else _OPEN
    shown = f"{100 * figure:.1f} % {share.what} (95 %: {100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    corrected = min(1.0, _TESTS * share.p)
    return _Found(decision, f"{decision}: {shown}", "exact binomial test, Bonferroni", corrected, figure, interval)


def _chances(guesses: Sequence[Guess]) -> list[float]:
    """Of each problem, how likely the right answer is that of another one with as many choices."""
    alike, all_ = Counter(guesses), Counter(each.choices for each in guesses)
    return [alike[each] / all_[each.choices] for each in guesses]


def _stays(kept: _Kept, reseeded: _Kept) -> float:
    """The probability that as many answers stay if half of those that another seed leaves depend on what is shown.

    Some are the same by chance; of the share that another seed leaves, the upper end of the interval counts.
    """
    steady = (wilson(reseeded.same, reseeded.of)[1] - reseeded.chance) / (1 - reseeded.chance or 1)
    return at_least(kept.same, kept.of, kept.chance + (1 - kept.chance) * max(0.0, steady) * (1 - _LOST))


def _arm(name: ArmName, answers: Answers) -> ArmResult:
    pairs: Counter[tuple[bool, bool]] = Counter()
    for each in answers:
        before, after = each.get(AS_IT_IS), each.get(name)
        if before is None or after is None or before.right is None or after.right is None:
            continue
        changed = before.cropped or name not in _CROPS
        pairs[before.right, after.right if changed else before.right] += 1
    both, one, other, neither = (pairs[way] for way in ((True, True), (True, False), (False, True), (False, False)))
    of = both + one + other + neither
    gain = (one - other) / of if of else 0.0
    return ArmResult(both + other, of, gain, paired(both, one, other, neither), mcnemar(one, other))


def _kept(answers: Answers, arm: ArmName, chances: Sequence[float]) -> _Kept:
    """Of the answers in an arm; if crops are replaced, of those with a crop."""
    met = [
        (before.answer, after.answer, chance)
        for each, chance in zip(answers, chances, strict=True)
        if (before := each.get(AS_IT_IS)) and (after := each.get(arm))
        if before.answer is not None and (before.cropped or arm not in _CROPS)
    ]
    same = sum(_alike(before, after) for before, after, _ in met)
    return _Kept(same, len(met), fmean(chance for *_, chance in met) if met else 0.0)


def _alike(one: str, other: str | None) -> bool:
    return other is not None and (one == other or same_answer(one, other))


def _needing(answers: Answers, chances: Sequence[float]) -> _Kept:
    """Answers with a crop that come neither with the crops of others nor without tools: of those that are right, or
    come again with another seed. What is lost in one arm alone may be luck.
    """
    met: list[tuple[bool, float]] = []
    for each, chance in zip(answers, chances, strict=True):
        if not all(name in each for name in (AS_IT_IS, "another seed", *_WITHOUT)) or not each[AS_IT_IS].cropped:
            continue
        own, again = each[AS_IT_IS], each["another seed"]
        firm = own.answer is not None and _alike(own.answer, again.answer)
        said = [given.answer for given in (own, again) if given.answer is not None and (given.right or firm)]
        if said:
            met.append((not any(_alike(text, each[name].answer) for text in said for name in _WITHOUT), chance))
    missed = fmean((1 - chance) ** len(_WITHOUT) for _, chance in met) if met else 0.0
    return _Kept(sum(needs for needs, _ in met), len(met), 1 - missed)


def _few(need: _Kept) -> float:
    """How likely so few answers need their crops if a share of the margin does, and some come by chance without."""
    return at_least(need.of - need.same, need.of, 1 - _MARGIN * (1 - need.chance))
