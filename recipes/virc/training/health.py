"""Signs that a run of RL goes wrong, told from its metrics alone; `health.jsonl` says when each began and ended."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import fmean

import msgspec

from virc.core.files import write_whole
from virc.runs.metrics import LONGEST_LINE, Metric
from virc.runs.run import Run
from virc.stages.rl import Health

FILE = "health.jsonl"
_FIRST, _RECENT = 5, 3  # steps that later ones are held against, and steps whose mean that is
_RISE = 0.1


class Note(msgspec.Struct, frozen=True):
    """A sign that began at a step, and what it says; or that ended."""

    step: int
    sign: Health
    begins: bool
    says: str


def notes(run: Run) -> Iterator[Note]:
    """What was noted of a run; a line that a kill cut short is left out."""
    try:
        file = (run.folder / FILE).open("rb")
    except OSError:
        return
    with file:
        for line in iter(lambda: file.readline(LONGEST_LINE), b""):
            try:
                yield msgspec.json.decode(line, type=Note)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue


def amiss(run: Run) -> dict[Health, str]:
    """The signs that have begun and not ended."""
    found: dict[Health, str] = {}
    for note in notes(run):
        found.pop(note.sign, None)
        if note.begins:
            found[note.sign] = note.says
    return found


def write(run: Run, new: Iterable[Note]) -> None:
    """Note further signs."""
    _write(run, [*notes(run), *new])


def drop_after(run: Run, step: int) -> None:
    """Forget what was noted after a step: the attempt that goes on from there notes it anew."""
    if (run.folder / FILE).exists():
        _write(run, [note for note in notes(run) if note.step <= step])


def _write(run: Run, all_notes: Iterable[Note]) -> None:
    write_whole(run.folder / FILE, b"".join(msgspec.json.encode(note) + b"\n" for note in all_notes))


def signs(metrics: Sequence[Metric]) -> dict[Health, str]:
    """What is amiss after the last step, each with a sentence that says how much.

    Args:
        metrics: of a run, in the order of its steps.
    """
    steps = [metric for metric in metrics if metric.response_length is not None]
    found = {name: look(steps) for name, look in _LOOKS.items()} if steps else {}
    return {name: sentence for name, sentence in found.items() if sentence}


def _tools(steps: Sequence[Metric]) -> str | None:
    first, recent = _first(steps, "tool_calls"), _recent(steps, "tool_calls")
    if first is None or recent is None or not recent < first / 2:
        return None
    return f"tool calls a reply fell to {recent:.2g}, from {first:.2g} in the first {_FIRST} steps"


def _variance(steps: Sequence[Metric]) -> str | None:
    same = _recent(steps, "same")
    if same is None or same <= 0.8:
        return None
    return f"in {same:.0%} of groups all replies have the same reward, and nothing is learnt from those"


def _length(steps: Sequence[Metric]) -> str | None:
    cut = _recent(steps, "cut")
    if cut is None or cut <= 0.2:
        return None
    return f"{cut:.0%} of replies are cut at the length limit"


def _format(steps: Sequence[Metric]) -> str | None:
    first, recent = _first(steps, "malformed"), _recent(steps, "malformed")
    if first is None or recent is None or recent <= first + _RISE:
        return None
    return f"{recent:.0%} of replies are not in the format, from {first:.0%} in the first {_FIRST} steps"


def _judge(steps: Sequence[Metric]) -> str | None:
    failures = steps[-1].judge_failures
    return f"the judge gave no verdict on {failures:.0f} questions of a step" if failures else None


def _correlation(steps: Sequence[Metric]) -> str | None:
    now = steps[-1].correlation
    if now is None or now >= 0.99:
        return None
    return f"the sampler's probabilities correlate with the trainer's at {now:.4f}: it samples from other weights"


_LOOKS: dict[Health, Callable[[Sequence[Metric]], str | None]] = {
    "tools": _tools,
    "variance": _variance,
    "length": _length,
    "format": _format,
    "judge": _judge,
    "correlation": _correlation,
}


def _first(steps: Sequence[Metric], field: str) -> float | None:
    """The mean over the first steps; None as long as no later ones are held against it."""
    return _mean(steps[:_FIRST], field) if len(steps) > _FIRST else None


def _recent(steps: Sequence[Metric], field: str) -> float | None:
    """The mean over the last steps, of which none is one of the first where there are others."""
    later = steps[_FIRST:] or steps
    return _mean(later[-_RECENT:], field)


def _mean(steps: Sequence[Metric], field: str) -> float | None:
    values = [value for step in steps if (value := getattr(step, field)) is not None]
    return fmean(values) if values else None
