"""Signs that a run of RL goes wrong, found in its metrics; `health.jsonl` records when each began and ended."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from statistics import fmean

import msgspec

from virc.core.events import Reporter
from virc.core.files import write_whole
from virc.runs.metrics import Metric, diverged, lines_of, metrics
from virc.runs.run import Info, Run
from virc.stages.rl import Health

FILE = "health.jsonl"
_FIRST, _RECENT = 5, 3  # steps that later ones are compared with, and the newest steps whose mean is compared
_RISE = 0.1
_RECENT_LOSSES = 20  # logged steps whose mean is the loss at the end of a run
_GAP = 0.1  # nats a token; below that held-out rows are known as well


class Note(msgspec.Struct, frozen=True):
    """A sign that began at a step, and a sentence about it; or that ended."""

    step: int
    sign: Health
    begins: bool
    says: str


def notes(run: Run) -> Iterator[Note]:
    """The notes of a run; a line that a kill cut short is skipped."""
    for line in lines_of(run.folder / FILE):
        try:
            yield msgspec.json.decode(line, type=Note)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


def active(run: Run) -> dict[Health, str]:
    """The signs that have begun and not ended."""
    found: dict[Health, str] = {}
    for note in notes(run):
        found.pop(note.sign, None)
        if note.begins:
            found[note.sign] = note.says
    return found


def drop_after(run: Run, step: int) -> None:
    """Drop the notes after a step: the attempt that resumes there writes them again."""
    if (run.folder / FILE).exists():
        _write(run, [note for note in notes(run) if note.step <= step])


def write(run: Run, new: Iterable[Note]) -> None:
    """Note further signs."""
    _write(run, [*notes(run), *new])


def _write(run: Run, all_notes: Iterable[Note]) -> None:
    write_whole(run.folder / FILE, b"".join(msgspec.json.encode(note) + b"\n" for note in all_notes))


def signs(metrics: Sequence[Metric]) -> dict[Health, str]:
    """The signs after the last step of a run's metrics, each with a sentence that gives numbers."""
    steps = [metric for metric in metrics if metric.response_length is not None]
    return dict(_found(steps)) if steps else {}


def _found(steps: Sequence[Metric]) -> Iterator[tuple[Health, str]]:
    first, recent = _first(steps, "tool_calls"), _recent(steps, "tool_calls")
    if first is not None and recent is not None and recent < first / 2:
        yield "tools", f"tool calls a reply fell to {recent:.2g}, from {first:.2g} in the first {_FIRST} steps"
    same, cut = _recent(steps, "same"), _recent(steps, "cut")
    if same is not None and same > 0.8:
        yield "variance", f"in {same:.0%} of groups all replies have the same reward, so nothing is learned from them"
    if cut is not None and cut > 0.2:
        yield "length", f"{cut:.0%} of replies are cut at the length limit"
    first, recent = _first(steps, "malformed"), _recent(steps, "malformed")
    if first is not None and recent is not None and recent > first + _RISE:
        yield "format", f"{recent:.0%} of replies are not in the format, from {first:.0%} in the first {_FIRST} steps"
    if failed := steps[-1].tool_failures:
        yield "tool_failures", f"the tool failed in {failed:.0%} of a step's calls"
    failures, now = steps[-1].judge_failures, steps[-1].correlation
    if failures:
        yield "judge", f"the judge gave no verdict on {failures:.0f} questions of a step"
    if now is not None and now < 0.99:
        other = f"the rollout engine's probabilities correlate with the trainer's at {now:.4f}: it uses other weights"
        yield "correlation", other


def _first(steps: Sequence[Metric], field: str) -> float | None:
    """The mean over the first steps; None as long as there are no later ones."""
    return _mean(steps[:_FIRST], field) if len(steps) > _FIRST else None


def _recent(steps: Sequence[Metric], field: str) -> float | None:
    """The mean over the last steps, of which none is one of the first where there are others."""
    later = steps[_FIRST:] or steps
    return _mean(later[-_RECENT:], field)


def _mean(steps: Sequence[Metric], field: str) -> float | None:
    values = [value for step in steps if (value := getattr(step, field)) is not None]
    return fmean(values) if values else None


def known_by_heart(run: Run, saved: Collection[int]) -> tuple[str, str] | None:
    """A sentence with both losses and a hint, where rows that were learnt from are known and held-out ones are not.

    Args:
        run: that has finished.
        saved: steps that have a checkpoint.
    """
    found = list(metrics(run))
    held_out = {each.step: each.eval_loss for each in found if each.eval_loss is not None and each.step}
    learnt = [each.loss for each in found if each.loss is not None and not each.aside][-_RECENT_LOSSES:]
    if not held_out or not learnt:
        return None
    last, loss = held_out[max(held_out)], fmean(learnt)
    if last < 2 * loss or last < loss + _GAP:
        return None
    lowest = min(held_out, key=held_out.__getitem__)
    text = f"rows that were learnt from have a loss of {loss:.2g} at the end, held-out ones {last:.2g}"
    if held_out[lowest] == last:
        return f"{text}: it knows the rows by heart", "more rows, or the same pictures in other sizes and places"
    text += f", and {held_out[lowest]:.2g} at step {lowest}: it knows the rows by heart"
    return text, f"--model {run.name}@{lowest}" if lowest in saved else f"--set steps={lowest}"


class Watch:
    """Watches the metrics of an attempt: each sign is reported once when it begins and once when it ends.

    Args:
        known: the run's metrics so far.

    Attributes:
        reason: why the run must end, once a sign began that its setting `stop_on` names, tools failed in more calls
            than `max_tool_failures`, or rewards or gradients were no numbers in the newest three steps.
    """

    def __init__(self, run: Run, info: Info, known: Sequence[Metric], report: Reporter) -> None:
        self._run, self._stop_on, self._report = run, info.settings.get("stop_on") or (), report
        self._max_tool_failures = info.settings.get("max_tool_failures", 1.0)
        self._metrics = list(known)
        self._active = active(run)
        self.reason: str | None = None

    def take(self, new: Iterable[Metric]) -> None:
        """Take in further steps."""
        for metric in new:
            self._metrics.append(metric)
            if metric.response_length is not None:
                self._check(metric.step)

    def _check(self, step: int) -> None:
        found = signs(self._metrics)
        begun = {sign: says for sign, says in found.items() if sign not in self._active}
        over = [sign for sign in self._active if sign not in found]
        new = [Note(step, sign, True, says) for sign, says in begun.items()]
        new += [Note(step, sign, False, "") for sign in over]
        if new:
            write(self._run, new)
        stopping = {sign for sign in begun if sign in self._stop_on}
        if (self._metrics[-1].tool_failures or 0.0) > self._max_tool_failures:
            stopping.add("tool_failures")
        for sign, says in begun.items():
            self._report.warn(f"{sign}: {says}", None if sign in stopping else f"--stop-on {sign} ends such a run")
        steps = [metric for metric in self._metrics if metric.response_length is not None][-_RECENT:]
        if len(steps) == _RECENT and all(map(diverged, steps)):
            self.reason = self.reason or f"training diverged: no finite reward and gradient since step {steps[0].step}"
        self.reason = self.reason or next((says for sign, says in found.items() if sign in stopping), None)
        for sign in over:
            self._report.note(f"{sign}: normal again at step {step}")
        self._active = found
