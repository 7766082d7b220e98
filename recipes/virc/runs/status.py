"""Runs and their steps as text: one line of metrics, how a run ended, what to type next."""

from datetime import UTC, datetime
from math import nan

from virc.core.text import duration
from virc.runs.metrics import Metric, diverged
from virc.runs.run import Run, State


def step_line(metric: Metric, left: float | None) -> str:
    main = "reward" if metric.response_length is not None else "loss"
    values = (
        (main, nan if diverged(metric) and metric.main is None else metric.main),
        ("eval loss", metric.eval_loss),
        ("margin", metric.margin),
        ("accuracy", metric.accuracy),
        ("validation", metric.validation),
        ("length", metric.response_length),
        ("turns", metric.turns),
        ("entropy", metric.entropy),
        ("lr", metric.learning_rate if main == "loss" else None),
    )
    parts = [f"step {steps(metric.step, metric.total)}"]
    parts += [f"{name} {number(value)}" for name, value in values if value is not None]
    speed = metric.tokens_per_second
    if speed is not None and main == "loss":
        parts.append(f"{speed / 1000:.1f}k tok/s" if speed >= 1000 else f"{speed:.0f} tok/s")
    if left:
        parts.append(f"{duration(left)} left")
    return "  ".join(parts)


def steps(step: int, total: int | None) -> str:
    """`120/2340`, or `120` where the total is not known."""
    return f"{step}/{total}" if total else str(step)


def number(value: float) -> str:
    return f"{value:.4g}".replace("e-0", "e-")


def age(created: str) -> str:
    """How long ago an ISO 8601 time was, roughly; empty if it is none."""
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return ""
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    return f"{' '.join(duration(seconds).split()[:2])} ago"


def ended(run: Run, state: State) -> str:
    at = f"at step {steps(state.step, state.total)}"
    match state.progress:
        case "finished":
            return f"{run.name} finished {at}"
        case "stopped":
            return f"{run.name} was stopped {at}" + (f": {state.error}" if state.error else "")
        case "died":
            return f"{run.name} died {at}: its process is gone and left no error"
        case "failed":
            return f"{run.name} failed {at}: {state.error or 'no error was recorded'}"
    return f"{run.name} has not started"


def next_step(run: Run, state: State) -> str:
    resume = f"virc train --resume --name {run.name} resumes it"
    return f"{resume}; see {run.log(state.attempt)}" if state.progress in ("failed", "died") else resume
