"""How runs and their steps read in a terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import nan
from typing import TextIO

from virc.core.text import duration
from virc.runs.metrics import Metric, diverged
from virc.runs.run import Run, State
from virc_cli.console.progress import room


def step_line(metric: Metric, left: float | None) -> str:
    """One line of metrics.

    Args:
        left: seconds the attempt still takes.
    """
    parts = [f"step {steps(metric.step, metric.total)}"]
    main = "reward" if metric.response_length is not None else "loss"
    shown = (
        (main, nan if diverged(metric) and metric.main is None else metric.main),
        ("eval loss", metric.eval_loss),
        ("validation", metric.validation),
        ("length", metric.response_length),
        ("turns", metric.turns),
        ("entropy", metric.entropy),
        ("lr", metric.learning_rate if main == "loss" else None),
    )
    parts += [f"{name} {number(value)}" for name, value in shown if value is not None]
    if metric.tokens_per_second is not None and main == "loss":
        parts.append(f"{thousands(metric.tokens_per_second)} tok/s")
    if left:
        parts.append(f"{duration(left)} left")
    return "  ".join(parts)


def steps(step: int, total: int | None) -> str:
    """`120/2340`, or `120` where nobody knows of how many."""
    return f"{step}/{total}" if total else str(step)


def number(value: float) -> str:
    """A number with four digits that count."""
    return f"{value:.4g}".replace("e-0", "e-")


def thousands(value: float) -> str:
    """`4.1k` for 4,100."""
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def value_text(value: object) -> str:
    """The value of a setting as YAML has it, on one line; `-` where it has none."""
    import json

    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def age(created: str) -> str:
    """How long ago a time in ISO 8601 was, roughly; empty where it is none."""
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return ""
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    return f"{' '.join(duration(seconds).split()[:2])} ago"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with columns below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def folded(rows: Sequence[tuple[str, ...]], stream: TextIO) -> list[str]:
    """A table for a stream: where its lines are wider than the terminal, the last column goes below its row.

    Args:
        rows: the first is the head.
    """
    lines = table(rows)
    if not stream.isatty() or max(map(len, lines)) <= room(stream):
        return lines
    head, *shorter = table([row[:-1] for row in rows])
    lines = [head]
    for line, row in zip(shorter, rows[1:], strict=True):
        lines += [line, f"  {rows[0][-1]} {row[-1]}"] if row[-1] != "-" else [line]
    return lines


def ended(run: Run, state: State) -> str:
    """How a run that does not go on has ended; one sentence."""
    at = f"at step {steps(state.step, state.total)}"
    match state.progress:
        case "finished":
            return f"{run.name} finished {at}"
        case "stopped":
            return f"{run.name} was stopped {at}" + (f": {state.error}" if state.error else "")
        case "died":
            return f"{run.name} died {at}: its process is gone and said nothing"
        case "failed":
            return f"{run.name} ended {at}: {state.error or 'nobody said why'}"
    return f"{run.name} has not begun"


def next_step(run: Run, state: State) -> str:
    """What to type, or read, about a run that has not finished."""
    again = f"virc train --resume --name {run.name} goes on with it"
    return f"{again}; see {run.log(state.attempt)}" if state.progress in ("failed", "died") else again
