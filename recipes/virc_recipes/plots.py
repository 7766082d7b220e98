"""Pictures of the metrics of runs; needs the extra `plot`."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from virc_recipes.errors import ConfigError, SetupError
from virc_recipes.metrics import Metric, diverged, metrics
from virc_recipes.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AXES = (
    "step",
    "attempt",
    "total",
    "tokens",
    "seconds",
    "epoch",
    "terms",
    "parts",
)  # not drawn by themselves
_MAIN = "loss"
_EXACT = ("learning_rate",)  # what is set, not measured, and so needs no mean
_FEW = 30  # points that are told apart
_MEAN = 50  # running means that stand side by side in a picture
_ROBUST = 200  # points from which on outliers do not decide the axis
_NAME = 48  # characters of a name
_LARGEST = 1e30  # numbers beyond are as good as infinite
_MANY = 1000  # points that are drawn thinly
_PALE = 0.35
_INCHES = (10.0, 7.5)
_DPI = 120


class Course(msgspec.Struct, frozen=True):
    """One number of one run over its steps.

    Args:
        steps, values: as logged.
        bad: steps at which it was not a number, or no finite one.
    """

    steps: list[int]
    values: list[float]
    bad: list[int]


class Drawn(msgspec.Struct, frozen=True):
    """What is drawn of a run.

    Args:
        name: in the legend.
        courses: by field of `Metric`.
        resumed: first step of each further attempt, and its number.
    """

    name: str
    courses: dict[str, Course]
    resumed: list[tuple[int, int]]


def draw(runs: Sequence[Run], title: str) -> bytes:
    """A PNG of every metric of the runs, over each other.

    Raises:
        ConfigError: a run has no metrics.
        SetupError: matplotlib is not installed.
    """
    drawn = [read(run) for run in runs]
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise SetupError("pictures of metrics need the extra plot", "pip install 'virc[plot]'") from None
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks are drawn as boxes
        mpl.rcdefaults()
        figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        _fill(figure, drawn, title)
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
    return picture.getvalue()


def read(run: Run) -> Drawn:
    """What is drawn of a run.

    Raises:
        ConfigError: it has no metrics.
    """
    names = [name for name in Metric.__struct_fields__ if name not in _AXES]
    courses = {name: Course([], [], []) for name in names}
    resumed: list[tuple[int, int]] = []
    attempt = None
    for metric in metrics(run):
        if attempt is not None and metric.attempt != attempt:
            resumed.append((metric.step, metric.attempt))
        attempt = metric.attempt
        for name, course in courses.items():
            value = math.nan if name == _MAIN and diverged(metric) else getattr(metric, name)
            if value is not None and abs(metric.step) < _LARGEST:
                _add(course, metric.step, value)
    courses = {name: course for name, course in courses.items() if course.steps or course.bad}
    if not courses:
        raise ConfigError(f"{run.name} has no metrics yet", f"virc runs tail {run.name}")
    return Drawn(run.name, courses, resumed)


def _add(course: Course, step: int, value: float) -> None:
    if abs(value) < _LARGEST:
        course.steps.append(step)
        course.values.append(value)
    else:
        course.bad.append(step)


def _fill(figure: "Figure", drawn: Sequence[Drawn], title: str) -> None:
    """Draw the panels: the loss across the picture, the others in pairs below."""
    names = [name for name in Metric.__struct_fields__ if any(name in run.courses for run in drawn)]
    lower = [name for name in names if name != _MAIN]
    rows = -(-len(lower) // 2)
    heights = [2.0] * (_MAIN in names) + [1.0] * rows
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    places: list[tuple[str, Any]] = [(_MAIN, grid[0, :])] if _MAIN in names else []
    for index, name in enumerate(lower):
        alone = index == len(lower) - 1 and index % 2 == 0
        row = index // 2 + (_MAIN in names)
        places.append((name, grid[row, :] if alone else grid[row, index % 2]))
    colours = _colours(len(drawn))
    first: Axes | None = None
    for name, place in places:
        axes = figure.add_subplot(place, sharex=first)
        first = first or axes
        _panel(axes, name, drawn, colours)
    figure.suptitle(_plain(title), fontsize="large", fontweight="bold")
    if len(drawn) > 1:
        _legend(figure, drawn, colours)


def _panel(axes: "Axes", name: str, drawn: Sequence[Drawn], colours: Sequence[Any]) -> None:
    axes.set_title(name.replace("_", " ").replace(" per ", " / "), loc="left", fontsize="medium")
    axes.set_xlabel("step", fontsize="small")
    axes.tick_params(labelsize="small")
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)
    ends = limits(sorted(value for run in drawn for value in _values(run, name)))
    _ticks(axes, ends)
    marked = False
    for run, colour in zip(drawn, colours, strict=True):
        for step, _ in run.resumed:
            axes.axvline(step, color=colour if len(drawn) > 1 else "0.4", linestyle=":", linewidth=1)
        if name in run.courses:
            marked |= _course(axes, run.courses[name], colour, ends, smooth=name not in _EXACT)
    if marked:
        axes.set_title("▲ beyond the axis, or not a number", loc="right", fontsize="small", color="0.4")
    if name == _MAIN and len(drawn) == 1:
        _label_attempts(axes, drawn[0].resumed)


def _values(run: Drawn, name: str) -> list[float]:
    return run.courses[name].values if name in run.courses else []


def limits(values: Sequence[float]) -> tuple[float, float] | None:
    """The ends of the axis for sorted values; of many, the uppermost hundredth does not decide it."""
    if not values:
        return None
    low, high = values[0], values[-1]
    if len(values) >= _ROBUST:
        usual = values[int(0.99 * len(values))]
        high = min(high, usual + (usual - low) / 2)
    if low == high:
        return low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    return low - (high - low) * 0.05, high + (high - low) * 0.05


def _ticks(axes: "Axes", ends: tuple[float, float] | None) -> None:
    from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if ends is None:
        axes.set_yticks([])
        return
    axes.set_ylim(*ends)
    large = max(map(abs, ends)) >= 10_000
    axes.yaxis.set_major_formatter(EngFormatter(sep="") if large else FuncFormatter(_number))


def _course(
    axes: "Axes", course: Course, colour: Any, ends: tuple[float, float] | None, smooth: bool
) -> bool:
    """Draw a line; returns whether points had to be marked at the upper edge, since the axis has no place for them."""
    count = len(course.values)
    smooth = smooth and count > _FEW
    axes.plot(
        course.steps, course.values, color=colour, marker="o" if count <= _FEW else None, markersize=4,
        linewidth=1.4 if not smooth else 1.0 if count < _MANY else 0.5, alpha=_PALE if smooth else 1.0,
    )  # fmt: skip
    high = ends[1] if ends else math.inf
    within = [(step, value) for step, value in zip(course.steps, course.values, strict=True) if value <= high]
    if smooth and within:
        axes.plot(
            [step for step, _ in within],
            running_mean([value for _, value in within]),
            color=colour,
            linewidth=1.8,
        )
    beyond = course.bad + [
        step for step, value in zip(course.steps, course.values, strict=True) if value > high
    ]
    if beyond:
        marks = axes.plot(
            beyond, [1.0] * len(beyond), "^", color=colour, markersize=5, clip_on=False, zorder=5,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
        marks[0].set_in_layout(False)
    return bool(beyond)


def running_mean(values: Sequence[float]) -> list[float]:
    """The mean of the values around each; of fewer at both ends, and at the beginning, where losses fall, evenly."""
    half = max(2, len(values) // _MEAN // 2)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    means = []
    for index in range(len(values)):
        reach = min(half, index)
        end = min(len(values), index + reach + 1)
        means.append((sums[end] - sums[index - reach]) / (end - index + reach))
    return means


def _label_attempts(axes: "Axes", resumed: Sequence[tuple[int, int]]) -> None:
    """Number the attempts beside the lines at which they begin, but for those too near to the one before."""
    left, right = axes.get_xlim()
    last = left
    for step, number in resumed:
        if step - last > (right - left) * 0.02:
            label = axes.annotate(
                f"attempt {number}", (step, 0.98), xycoords=axes.get_xaxis_transform(), xytext=(2, 0),
                textcoords="offset points", rotation=90, va="top", fontsize="x-small", color="0.4",
            )  # fmt: skip
            label.set_in_layout(False)
            last = step


def _number(value: float, _position: float) -> str:
    if not 0 < abs(value) < 1e-3:
        return f"{value:.6g}"
    digits, exponent = f"{value:.3e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def _colours(count: int) -> list[Any]:
    import matplotlib as mpl

    if count <= 10:
        return list(mpl.colormaps["tab10"].colors[:count])  # type: ignore[attr-defined]
    return [mpl.colormaps["turbo"](0.05 + 0.9 * index / (count - 1)) for index in range(count)]


def _legend(figure: "Figure", drawn: Sequence[Drawn], colours: Sequence[Any]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linewidth=2.5) for colour in colours]
    columns = max(1, min(len(drawn), 150 // (8 + max(len(_plain(run.name)) for run in drawn))))
    names = [_plain(run.name) for run in drawn]
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def _plain(text: str) -> str:
    """A name as matplotlib draws it: no formulas, its middle left out where it is long."""
    if len(text) > _NAME:
        text = f"{text[: _NAME // 2]}…{text[-_NAME // 2 + 1 :]}"
    return text.replace("$", r"\$")
