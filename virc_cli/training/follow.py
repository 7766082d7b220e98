"""What is done while an engine trains: metrics, checkpoints, the line that shows how far it is."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from virc_cli import output
from virc_cli.progress import room
from virc_cli.run_lines import step_line
from virc_recipes import runs
from virc_recipes.checkpoints import Checkpoint, checkpoints, folders, resume_state, whole
from virc_recipes.clauses import clause
from virc_recipes.engines import keys
from virc_recipes.engines import llamafactory_log as engine_log
from virc_recipes.engines.llamafactory_resume import RESUME
from virc_recipes.errors import EngineError
from virc_recipes.metrics import Metric, metrics
from virc_recipes.paths import write_whole
from virc_recipes.reasoning.protocol import FILE_NAME
from virc_recipes.runs import Info, Run

_RESUMABLE = 2  # newest checkpoints whose resume state is kept
_BARS = "▁▂▃▄▅▆▇█"
_PROCESSOR = ("processor_config.json", "preprocessor_config.json")
_WIDTH = 40  # losses in the small picture, where the terminal is wide enough


class Follower:
    """Follows one attempt. `look` is called about every second and costs next to nothing when nothing is new.

    Args:
        show: prints the line that shows how far it is.

    Attributes:
        step, total: optimizer steps done, and those there are, as far as the engine has said.
    """

    def __init__(self, run: Run, info: Info, attempt: int, step: int, show: Callable[[str], None]) -> None:
        self.step, self.total = step, runs.state(run).total
        self._first = step
        self._run, self._info, self._attempt, self._show = run, info, attempt, show
        self._source = run.checkpoints / engine_log.METRICS
        self._offset = 0
        self._rest = b""
        known = list(metrics(run))
        self._losses: list[float] = [each.loss for each in known if each.loss is not None]
        self._tokens = _tokens_before(known, attempt)
        self._new: list[Metric] = []
        self._tended: set[Path] = set()
        self._began = self._alive = time.monotonic()
        self._before = runs.state(run).seconds
        self._checked = self._failing = False

    def look(self) -> None:
        """Take in what is new; what cannot be written down, on a full disk say, is tried again at the next look.

        Raises:
            EngineError: it trains on other rows than were checked.
        """
        try:
            self._look()
        except OSError as error:  # the engine goes on: hours of its work are worth more than a line of ours
            if not self._failing:
                output.warn(f"how far {self._run.name} is cannot be written down for now: {clause(error)}")
            self._failing = True
        else:
            self._failing = False

    def _look(self) -> None:
        self._new += self._new_metrics()
        now = time.monotonic()
        if self._new:
            self._take()
        elif now - self._alive < runs.SIGN_OF_LIFE:
            self._show_start(now)
            return
        loss = self._losses[-1] if self._losses else None
        runs.write_state(self._run, step=self.step, total=self.total, loss=loss, seconds=self.seconds)
        self._alive = now
        self.tend()

    def _show_start(self, now: float) -> None:
        if not self._losses:
            self._show(f"LLaMA-Factory reads the rows and loads the model, {now - self._began:.0f} s")

    def tend(self) -> None:
        """Put the wording beside new checkpoints; take the resume state of all but the newest ones away."""
        if self._tended.issuperset(folders(self._run).values()):  # whether one is whole costs reading it
            return
        found = checkpoints(self._run)
        for checkpoint in found:
            if checkpoint.folder not in self._tended:
                shutil.copyfile(self._run.folder / FILE_NAME, checkpoint.folder / FILE_NAME)
        for checkpoint in found[:-_RESUMABLE]:
            _forget_resume_state(checkpoint)
        self._tended.update(checkpoint.folder for checkpoint in found)

    @property
    def seconds(self) -> float:
        """Since the run's first attempt began, without the time between attempts."""
        return self._before + time.monotonic() - self._began

    def _new_metrics(self) -> list[Metric]:
        try:
            if self._source.stat().st_size <= self._offset:
                return []
            with self._source.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = (engine_log.metric(line, self._attempt, self._tokens) for line in lines)
        return [each for each in found if each is not None]

    def _take(self) -> None:
        self._check_start()
        new = self._new
        _append(self._run.metrics, _lines(new))
        self._new = []
        self.step, self.total = new[-1].step, new[-1].total
        self._losses += [each.loss for each in new if each.loss is not None]
        if any(each.loss is None and each.eval_loss is None for each in new):
            output.warn(f"the loss at step {self.step} is not a number", "lower learning_rate")
        self._show(self._line(new[-1]))

    def _check_start(self) -> None:
        """The engine drops rows that it cannot read, and goes on from base weights, with no more than a warning."""
        if self._checked:
            return
        log = self._run.log(self._attempt)
        if self._first and (missing := engine_log.not_loaded(log)):
            lost = f"{missing[0]} and {len(missing) - 1} more tensors" if missing[1:] else missing[0]
            raise EngineError(f"LLaMA-Factory did not load {lost} of step {self._first}", f"see {log}")
        taken = None if keys.OTHER_ROWS & self._info.settings["engine"].keys() else engine_log.rows(log)
        if taken is not None and taken != self._info.rows:
            raise EngineError(
                f"LLaMA-Factory trains on {taken} rows, and {self._info.rows} were checked",
                f"virc data check {self._info.data}",
            )
        self._checked = True

    def _line(self, metric: Metric) -> str:
        left = None
        if metric.total and metric.seconds and metric.step > self._first:
            left = metric.seconds / (metric.step - self._first) * (metric.total - metric.step)
        line = step_line(metric, left)
        return f"{line}  {_picture(self._losses, min(_WIDTH, room() - len(line) - 2))}"


def _lines(found: Iterable[Metric]) -> bytes:
    return b"".join(msgspec.json.encode(each) + b"\n" for each in found)


def _tokens_before(known: Iterable[Metric], attempt: int) -> int:
    return max((each.tokens or 0 for each in known if each.attempt < attempt), default=0)


def _append(path: Path, data: bytes) -> None:
    """Add to a file all or nothing."""
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        if file.write(data) < len(data):
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def drop_after(run: Run, step: int) -> None:
    """Take the metrics after a step out: the attempt that goes on from there writes them anew."""
    write_whole(run.metrics, _lines(each for each in metrics(run) if each.step <= step))


def complete(run: Run) -> None:
    """Put beside weights, once the engine has ended, what it may lack: the wording, and the processor after a kill."""
    base = Path(runs.info(run).base)
    for checkpoint in checkpoints(run):
        shutil.copyfile(run.folder / FILE_NAME, checkpoint.folder / FILE_NAME)
        if not any((checkpoint.folder / name).is_file() for name in _PROCESSOR):
            for name in _PROCESSOR:
                if (base / name).is_file():
                    shutil.copyfile(base / name, checkpoint.folder / name)


def take_over(run: Run) -> None:
    """Clear up after an attempt that was killed: metrics that nobody took in, what there is of a checkpoint."""
    source = run.checkpoints / engine_log.METRICS
    if source.is_file():
        known = list(metrics(run))
        last = max((each.step for each in known), default=0)
        attempt = runs.state(run).attempt
        tokens = _tokens_before(known, attempt)
        found = (engine_log.metric(line, attempt, tokens) for line in source.read_bytes().splitlines())
        known += [each for each in found if each is not None and each.step > last]
        write_whole(run.metrics, _lines(known))  # not added: the last line may be cut short
        source.unlink()
    for folder in folders(run).values():
        if not whole(folder):
            shutil.rmtree(folder)
    forget_copies(run)
    complete(run)


def forget_copies(run: Run) -> None:
    """Remove the second copies of weights that attempts were resumed from."""
    for copy in (run.folder / "logs").glob(f"attempt_*/{RESUME}"):
        shutil.rmtree(copy, ignore_errors=True)


def clear_copy(run: Run, last: Checkpoint) -> None:
    """Remove the second copy of the last checkpoint that the engine leaves in the folder of checkpoints itself."""
    state = run.checkpoints / "trainer_state.json"
    with suppress(OSError, ValueError, KeyError):
        if json.loads(state.read_bytes())["global_step"] == last.step:
            for path in run.checkpoints.iterdir():
                if path.is_file():
                    path.unlink()


def _forget_resume_state(checkpoint: Checkpoint) -> None:
    for path in resume_state(checkpoint):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _picture(losses: list[float], width: int) -> str:
    """The course of the loss as a row of bars, the newest on the right."""
    if width < 1:
        return ""
    step = max(1, len(losses) // width)
    shown = losses[::-step][::-1][-width:]
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    if not high > low:
        return ""
    return "".join(_BARS[int((each - low) / (high - low) * (len(_BARS) - 1))] for each in shown)
