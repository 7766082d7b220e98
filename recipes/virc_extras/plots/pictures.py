"""Pictures of the metrics of runs; needs the extra `plot`."""

import fnmatch
import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from virc.core.errors import ConfigError
from virc.core.extras import require
from virc.core.files import write_whole, writing
from virc.runs.metrics import Metric, diverged, metrics
from virc.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAIN = ("loss", "reward")
"""The panels that show whether a run goes well."""

_AXES = ("step", "attempt", "total", "tokens", "seconds", "epoch")  # what metrics are drawn over, not drawn
_NOT_DRAWN = ("reward_min", "reward_max", "reward_std", "advantage", "advantage_min", "advantage_max", "prompt_length",
              "tool_failures", "judge_failures")  # fmt: skip
_TOGETHER: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "chosen_reward": ("rewards of both sides", ("chosen_reward", "rejected_reward")),
    "response_length": ("tokens of a reply", ("response_length", "response_length_max")),
    "cut": ("shares of replies and groups", ("cut", "malformed", "same")),
    "turns": ("units and tool calls of a reply", ("turns", "tool_calls")),
    "correlation": ("correlation of sampler and trainer", ("correlation",)),
    "parts": ("seconds of a step", ("parts.*",)),
    "reward": ("reward", ("reward", "terms.*")),
}
"""First field of a panel with several lines -> its title, and the fields in it; `.*` is every name of a mapping."""
_LARGEST = 1e30  # larger numbers count as infinite


class Course(msgspec.Struct, frozen=True):
    """One number of one run over its steps; `bad` are the steps at which it was not finite."""

    steps: list[int]
    values: list[float]
    bad: list[int]


class Drawn(msgspec.Struct, frozen=True):
    """What is drawn of a run.

    Args:
        courses: by field of `Metric`; of one that is a mapping, by `FIELD.NAME`.
        resumed: first step of each further attempt, and its number.
    """

    name: str
    courses: dict[str, Course]
    resumed: list[tuple[int, int]]


class Panel(msgspec.Struct, frozen=True):
    title: str
    names: Sequence[str]


def read_curves(run: Run) -> Drawn:
    courses: dict[str, Course] = {}
    resumed: list[tuple[int, int]] = []
    attempt = None
    for metric in metrics(run):
        if attempt is not None and metric.attempt != attempt:
            resumed.append((metric.step, metric.attempt))
        attempt = metric.attempt
        if abs(metric.step) < _LARGEST:
            for name, value in _numbers(metric).items():
                course = courses.setdefault(name, Course([], [], []))
                if abs(value) < _LARGEST:
                    course.steps.append(metric.step)
                    course.values.append(value)
                else:
                    course.bad.append(metric.step)
    if not courses:
        raise ConfigError(f"{run.name} has no metrics yet", f"virc runs tail {run.name}")
    return Drawn(run.name, courses, resumed)


def _numbers(metric: Metric) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for field in Metric.__struct_fields__:
        value = getattr(metric, field)
        if isinstance(value, dict):
            numbers |= {f"{field}.{name}": number for name, number in value.items()}
        elif value is not None and field not in _AXES:
            numbers[field] = value
    if diverged(metric) and metric.main is None:
        numbers["loss" if metric.response_length is None else "reward"] = math.nan
    return numbers


def panels(drawn: Sequence[Drawn]) -> list[Panel]:
    """The panels for runs, in the order of the fields of `Metric`; those that no run has values for are left out."""
    drawn_names = sorted({name for run in drawn for name in run.courses})
    grouped = {name for _, names in _TOGETHER.values() for name in names}
    chosen = []
    for field in Metric.__struct_fields__:
        if field in _TOGETHER:
            title, patterns = _TOGETHER[field]
        else:
            title, patterns = field, () if field in grouped or field in _NOT_DRAWN else (field,)
        names = [name for pattern in patterns for name in fnmatch.filter(drawn_names, pattern)]
        if names:
            chosen.append(Panel(title, names))
    return chosen


_EXACT = ("learning_rate",)  # values that are set, not measured, and so need no mean
_FEW = 30  # points that the eye tells apart; more get a running mean
_MEANS = 50  # how many windows of the running mean a line is as wide as
_ROBUST = 200  # points from which on outliers do not decide the axis
_MAX_NAME = 48  # characters of a name
_MANY = 1000  # points from which on a line is drawn thinly
_PALE = 0.35
_INCHES = (10.0, 7.5)
_ROW_INCHES = 1.25  # height of a row of panels, at least
_CROWD = 4  # lines whose names fit next to the title of half a row
_FLAT = 1e-5  # share of a value: differences below it are not shown
_DPI = 120


def write(runs: Sequence[Run], path: Path) -> Path:
    """Draw every metric of the runs, over each other, into a PNG file; returns the file. Needs matplotlib.

    Raises:
        ConfigError: a run has no metrics.
        SetupError: matplotlib is not installed.
        VircError: the file cannot be written.
    """
    drawn = [read_curves(run) for run in runs]
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    png = picture(lambda figure: _fill(figure, drawn, title))
    with writing(path):
        write_whole(path, png)
    return path


def picture(fill: Callable[["Figure"], None]) -> bytes:
    require("matplotlib", "drawing metrics", "plot")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks are drawn as boxes
        mpl.rcdefaults()
        figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        fill(figure)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png")
    return drawn.getvalue()


def plain(axes: "Axes", title: str) -> None:
    """The look of every panel: a title on the left, a pale grid, no frame above and on the right."""
    axes.set_title(title, loc="left", fontsize="medium")
    axes.tick_params(labelsize="small")
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _fill(figure: "Figure", drawn: Sequence[Drawn], title: str) -> None:
    """Lay out the panels from top to bottom: the main ones, then two in a row, then those with many lines."""
    shown = panels(drawn)
    main = [panel for panel in shown if panel.title in MAIN]
    crowded = [panel for panel in shown if len(panel.names) > _CROWD and panel not in main and len(drawn) == 1]
    halves = [panel for panel in shown if panel not in main and panel not in crowded]
    rows_of_halves = math.ceil(len(halves) / 2)
    heights = [2.0] * len(main) + [1.0] * (rows_of_halves + len(crowded))
    figure.set_figheight(max(_INCHES[1], _ROW_INCHES * sum(heights)))
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    places: list[tuple[Panel, Any]] = [(panel, grid[row, :]) for row, panel in enumerate(main)]
    for index, panel in enumerate(halves):
        alone = index == len(halves) - 1 and index % 2 == 0  # the last one has its row for itself
        row = len(main) + index // 2
        places.append((panel, grid[row, :] if alone else grid[row, index % 2]))
    places += [(panel, grid[row, :]) for row, panel in enumerate(crowded, len(main) + rows_of_halves)]
    first: Axes | None = None
    for panel, place in places:
        axes = figure.add_subplot(place, sharex=first)
        first = first or axes
        _panel(axes, panel, drawn)
    figure.suptitle(_plain(title), fontsize="large", fontweight="bold")
    if len(drawn) > 1:
        names = [_plain(run.name) for run in drawn]
        columns = max(1, min(len(drawn), 150 // (8 + max(map(len, names)))))
        handles = _handles(_colours(len(drawn)), 2.5, list(map(_style, range(len(drawn)))))
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def _panel(axes: "Axes", panel: Panel, drawn: Sequence[Drawn]) -> None:
    """Draw a panel: all its lines for one run, in different colours; only the first line for several, a colour each."""
    several = len(drawn) > 1
    names = panel.names[:1] if several else panel.names
    colours = _colours(len(drawn) if several else len(names))
    plain(axes, panel.title.replace("_", " ").replace(" per ", " / "))
    axes.set_xlabel("step", fontsize="small")
    axes.margins(x=0.01)
    drawn_here = [run.courses[name] for run in drawn for name in names if name in run.courses]
    ends = limits(sorted(value for course in drawn_here for value in course.values))
    _ticks(axes, ends)
    marked = False
    for index, run in enumerate(drawn):
        for step, _ in run.resumed:
            axes.axvline(step, color=colours[index] if several else "0.4", linestyle=":", linewidth=1)
        for number, name in reversed(list(enumerate(names))):  # so that the first is on top
            if name in run.courses:
                colour = colours[index if several else number]
                marked |= draw_course(axes, run.courses[name], colour, ends, name not in _EXACT, _style(index))
    if marked:
        place: Any = "right" if len(names) == 1 else "center"
        axes.set_title("▲ beyond the axis, or not a number", loc=place, fontsize="small", color="0.4")
    if len(names) > 1:
        words = [_plain(name.rpartition(".")[2].replace("_", " ")) for name in names]
        axes.legend(
            _handles(colours, 2), words, loc="lower right", bbox_to_anchor=(1, 0.98), ncols=len(words), frameon=False,
            fontsize="x-small", handlelength=1, columnspacing=1,
        )  # fmt: skip
    if panel.title in MAIN and not several:
        _label_attempts(axes, drawn[0].resumed)


def limits(values: Sequence[float]) -> tuple[float, float] | None:
    """The ends of the axis for sorted values; of many values, the uppermost hundredth does not decide them."""
    if not values:
        return None
    low, high = values[0], values[-1]
    if len(values) >= _ROBUST:
        usual = values[int(0.99 * len(values))]
        high = min(high, usual + (usual - low) / 2)
    if high - low <= _FLAT * abs(high):
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


def draw_course(
    axes: "Axes", course: Course, colour: Any, ends: tuple[float, float] | None = None, smooth: bool = True,
    style: Any = "-",
) -> bool:  # fmt: skip
    """Draw a line, and the running mean of many points. Returns whether points had to be marked at the upper edge."""
    count = len(course.values)
    smooth = smooth and count > _FEW
    under_mean = 1.0 if count < _MANY else 0.5
    axes.plot(
        course.steps, course.values, color=colour, marker="o" if count <= _FEW else None, markersize=4,
        linewidth=under_mean if smooth else 1.4, alpha=_PALE if smooth else 1.0, linestyle=style,
    )  # fmt: skip
    high = ends[1] if ends else math.inf
    within = [(step, value) for step, value in zip(course.steps, course.values, strict=True) if value <= high]
    if smooth and within:
        axes.plot(
            [step for step, _ in within], running_mean([value for _, value in within]), color=colour, linewidth=1.8,
            linestyle=style,
        )  # fmt: skip
    beyond = course.bad + [step for step, value in zip(course.steps, course.values, strict=True) if value > high]
    if beyond:
        marks = axes.plot(
            beyond, [1.0] * len(beyond), "^", color=colour, markersize=5, clip_on=False, zorder=5,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
        marks[0].set_in_layout(False)
    return bool(beyond)


def running_mean(values: Sequence[float]) -> list[float]:
    """The mean of the values around each; of fewer at both ends.

    At the beginning, where losses fall, as few values are taken after a value as there are before it.
    """
    half = max(2, len(values) // _MEANS // 2)
    sums = [0.0]  # of the values before each index
    for value in values:
        sums.append(sums[-1] + value)
    means = []
    for index in range(len(values)):
        reach = min(half, index)
        end = min(len(values), index + reach + 1)
        means.append((sums[end] - sums[index - reach]) / (end - index + reach))
    return means


def _label_attempts(axes: "Axes", resumed: Sequence[tuple[int, int]]) -> None:
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


def _style(number: int) -> Any:
    """The line style of a run: solid for the first, dashed for those drawn over it, so that equal curves all show."""
    return (0, (4, 3 + number)) if number else "-"


def _handles(colours: Sequence[Any], width: float, styles: Sequence[Any] | None = None) -> list[Any]:
    from matplotlib.lines import Line2D

    drawn = zip(colours, styles or ["-"] * len(colours), strict=True)
    return [Line2D([], [], color=colour, linewidth=width, linestyle=style) for colour, style in drawn]


def _plain(text: str) -> str:
    if len(text) > _MAX_NAME:
        text = f"{text[: _MAX_NAME // 2]}…{text[-_MAX_NAME // 2 + 1 :]}"
    return text.replace("$", r"\$")
