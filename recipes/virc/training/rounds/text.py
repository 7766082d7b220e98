"""The steps of rounds and their figures as text."""

from collections.abc import Iterator

from virc.core.text import counted
from virc.training.rounds.state import Figures, StepState


def figures_text(figures: Figures) -> str:
    """The figures of a step on one line; empty where none are known."""
    return ", ".join(_parts(figures))


def _parts(figures: Figures) -> Iterator[str]:
    kept, rate = figures.get("kept"), figures.get("pass_rate")
    if kept is not None:
        yield f"{counted(int(kept), 'row')} kept"
    if rate is not None:
        yield f"{figures['right']} of {counted(int(figures['rollouts'] or 0), 'rollout')} right ({rate:.1%})"
    step, total = figures.get("step"), figures.get("total")
    if step is not None and total is not None:
        yield f"step {step} of {total}"
    for name in ("loss", "reward"):
        value = figures.get(name)
        if value is not None:
            yield f"{name} {value:.3g}"


def progress_text(state: StepState, is_next: bool) -> str:
    """How far a step is, in a word; of those to do one is next."""
    return "next" if is_next and state.progress == "to do" else state.progress
