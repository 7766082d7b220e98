"""Shares, differences and names as the report shows them: in words, and drawn."""

from collections.abc import Iterable, Sequence
from math import ceil

from virc.core.web.html import safe
from virc.evaluation.rewarded import Gap, Mean, Rewarded, RewardFacts
from virc.evaluation.statistics import Interval
from virc.evaluation.summary import Pair, Score, Share

_STEP = 0.05  # the axis of differences is rounded to multiples of it


def cut(text: str, most: int) -> str:
    """Escaped text of at most so many characters; where it is longer, how long it is."""
    if len(text) <= most:
        return safe(text)
    return f"{safe(text[:most])}… <small>cut: {len(text):,} characters</small>"


def isolated(text: str, most: int) -> str:
    """The same as a part of a line, whose direction it leaves alone; of ten thousand rows few need the element."""
    return cut(text, most) if text.isascii() else f"<bdi>{cut(text, most)}</bdi>"


def short(name: str) -> str:
    """A model's name where there is little room: the end of a long one, which tells more than a path's beginning."""
    return safe(name if len(name) <= 48 else "…" + name[-47:])


def percent(share: float) -> str:
    """A share from 0 to 1, such as `48.2%`."""
    return f"{100 * share:.1f}%"


def shares(score: Score | Share) -> str:
    """A share, such as `48.2%`; where answers are undecided, its bounds: `48.2% to 52.0%`."""
    low, high = score.bounds if isinstance(score, Score) else (score.share, score.share)
    return percent(low) if low == high else between((low, high))


def undecided(score: Score | Share) -> str:
    """How many answers are undecided, such as `, 3 undecided`; empty where none is."""
    return f", {score.undecided:,} undecided" if isinstance(score, Score) and score.undecided else ""


def interval(score: Score) -> str:
    """The 95 % interval of a share in percent, such as `43.9 to 52.6`."""
    low, high = score.interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def between(interval: Interval) -> str:
    """An interval of shares, such as `43.9% to 52.6%`."""
    return f"{percent(interval[0])} to {percent(interval[1])}"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, with its sign."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def points_between(interval: Interval) -> str:
    """An interval of differences, such as `−1.2 to +4.0`."""
    return f"{points(interval[0])} to {points(interval[1])}"


def gained(pair: Pair) -> str:
    """The difference of a pair, such as `+4.0`; where answers are undecided, its bounds: `−1.2 to +4.0`."""
    low, high = pair.bounds
    return points(low) if low == high else points_between(pair.bounds)


def value(number: float | None) -> str:
    """A mean of a reward, such as `0.482`; `-` where there is none."""
    return "-" if number is None else f"{number:.3f}"


def values(interval: Interval | None) -> str:
    """The interval of a mean, such as `0.439 to 0.526`; `-` where it is not known."""
    return "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def signed(gap: Gap) -> str:
    """A difference of two means with its interval, such as `+0.120 (-0.013 to +0.253)`."""
    if gap.difference is None:
        return "-"
    interval = "" if gap.interval is None else f" ({gap.interval[0]:+.3f} to {gap.interval[1]:+.3f})"
    return f"{gap.difference:+.3f}{interval}"


def in_words(rewarded: Rewarded) -> str:
    """The total of one answer and its terms, such as `1.400 (right 1.000, near -, box ?)`; ? could not be had."""
    terms = (f"{name} {'?' if name in rewarded.unscored else value(each)}" for name, each in rewarded.terms.items())
    return f"{'?' if rewarded.total is None else value(rewarded.total)} ({', '.join(terms)})"


def reward_title(reward: RewardFacts) -> str:
    """Whose reward it is; where its total compares the replies to a prompt, that this is before."""
    before = ", before it compares the replies to a prompt" if reward.group else ""
    return f"Reward of {reward.system}, total {reward.total}{before}: means over problems"


def axis_of(means: Iterable[Mean]) -> Interval:
    """The ends of an axis that all means and their intervals are on, and 0 and 1."""
    ends = [end for each in means if each.mean is not None for end in (each.mean, *(each.interval or ()))]
    return min(0.0, 1.0, *ends), max(0.0, 1.0, *ends)


def mean_bar(mean: Mean, axis: Interval) -> str:
    """A mean as a bar from 0, its interval as a line over the bar's end."""
    if mean.mean is None:
        return ""
    first, last = axis
    nothing, end, *ends = (100 * (each - first) / (last - first) for each in (0, mean.mean, *(mean.interval or ())))
    drawn = "".join(_span(css, *ends) for css in ("halo", "span")) if ends else ""
    label = f"{value(mean.mean)}, 95 % interval {values(mean.interval)}" if ends else value(mean.mean)
    return (
        f'<svg class="bar" role="img" aria-label="{label}" viewBox="0 0 100 8" preserveAspectRatio="none">'
        '<rect class="whole" width="100" height="8"/>'
        f'<rect class="share" x="{min(nothing, end):.2f}" width="{abs(end - nothing):.2f}" height="8"/>'
        f'<path class="zero" d="M{nothing:.2f} 0V8"/>{drawn}</svg>'
    )


def chance(p: float) -> str:
    """A p-value; one too small to tell is given by its bound."""
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def bar(score: Score, theirs: float | None = None) -> str:
    """A share as a bar from 0 to 100%, its interval as a line over the bar's end; `theirs` is marked beside it.

    A pale bar after it is what the undecided answers may add.
    """
    if not score.of:
        return ""
    low, high = (100 * end for end in score.interval)
    least, most = (100 * end for end in score.bounds)
    maybe = f'<rect class="maybe" x="{least:.2f}" width="{most - least:.2f}" height="8"/>' if score.undecided else ""
    other = "" if theirs is None else f'<path class="theirs" d="M{100 * theirs:.2f} 0V8"/>'
    label = f"{shares(score)}, 95 % interval {between(score.interval)}"
    return (
        f'<svg class="bar" role="img" aria-label="{label}" viewBox="0 0 100 8" preserveAspectRatio="none">'
        '<rect class="whole" width="100" height="8"/>'
        f'<rect class="share" width="{least:.2f}" height="8"/>{maybe}{other}'
        f"{_span('halo', low, high)}{_span('span', low, high)}</svg>"
    )


def reach(pairs: Sequence[Pair]) -> float:
    """How far to both sides of 0 the axis of differences goes, so that all intervals lie on it."""
    furthest = max((abs(end) for pair in pairs for end in pair.interval), default=0.0)
    return min(1.0, max(1, ceil(round(furthest / _STEP, 9))) * _STEP)


def gap(pair: Pair, end: float) -> str:
    """A difference as a point with its interval on an axis from `-end` to `end`, 0 in the middle.

    Where answers are undecided, the point is a line.
    """
    low, first, last, high = (50 + 50 * value / end for value in (pair.interval[0], *pair.bounds, pair.interval[1]))
    crosses = pair.interval[0] <= 0 <= pair.interval[1]
    label = f"{gained(pair)} points, 95 % interval {points_between(pair.interval)}"
    return (
        f'<svg class="gap{" open" * crosses}" role="img" viewBox="0 0 100 8" preserveAspectRatio="none" '
        f'aria-label="{label}: 0 is {"inside" if crosses else "outside"}">'
        f'<path class="axis" d="M0 4H100"/><path class="zero" d="M50 0V8"/>'
        f'{_span("span", low, high)}<path class="point" d="M{first:.2f} 4H{last:.2f}"/></svg>'
    )


def _span(css: str, low: float, high: float) -> str:
    return f'<path class="{css}" d="M{low:.2f} 4H{high:.2f}M{low:.2f} 2V6M{high:.2f} 2V6"/>'
