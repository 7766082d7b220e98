"""The line of a run that is training: its newest step, and the course of its loss or reward as bars."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from virc_cli.console.events import room

if TYPE_CHECKING:
    from virc.training.follow import StepEvent

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40  # bars, if the terminal is wide enough


def with_history(event: "StepEvent") -> "StepEvent":
    """The event with bars after its text."""
    import msgspec

    bars = sparkline(event.history, min(_WIDTH, room() - len(event.text) - 2))
    return msgspec.structs.replace(event, text=f"{event.text}  {bars}")


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as a row of bars, the newest on the right."""
    if width < 1:
        return ""
    step = max(1, len(values) // width)
    shown = values[::-step][::-1][-width:]
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    if not high > low:
        return ""
    return "".join(_BARS[int((each - low) / (high - low) * (len(_BARS) - 1))] for each in shown)
