"""Notices that an engine has fallen silent: none of its files has changed for longer than its work explains.

Signs of life are a line of metrics, new text in the log, a checkpoint that is being written, and a new reply of a
judge. What verl logs every minute while it waits is no sign of life. The limit of an engine's silence follows from the
times of this run: three times the longest time between two lines of metrics, plus half an hour. That longest time
includes the waiting for a judge, validation and saving. What was not timed yet, such as the first step or the first
validation, gets three hours.

`training.follow` calls `Silence.take` with new metrics and `look` about every second; `limit` is what is too long.
"""

import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from virc.core.errors import ConfigError
from virc.core.text import duration
from virc.rewards.user_code import JUDGED
from virc.runs.checkpoints import written
from virc.runs.metrics import Metric
from virc.runs.run import Info, Run

LIMIT = "VIRC_SILENT_MINUTES"
"""The environment variable that sets another limit, in minutes; 0: no limit."""

STARTING = 3_600.0
"""Seconds without a sign of life in a part of the start that ends with a line of the log."""
UNTIMED = 10_800.0
"""Seconds without a sign of life in what this run has not done before."""
FLOOR, FACTOR = 1_800.0, 3.0
"""The limit once a step was timed: `FLOOR` seconds plus `FACTOR` times the longest time between lines of metrics."""

_IDLE = re.compile(r"\((?:\S+ )?TransferQueueController pid=")
"""Lines in which verl's queue counts its requests every five minutes, also while nothing happens."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d.\d\d:\d\d:\d\d(?:[.,]\d+)?")
_MAX_READ = 2**20  # bytes of the log in a poll; more is a sign of life whatever it says
_MAX_POLL = 30.0  # seconds counted between two polls: a machine that slept and a job that was suspended are not silent
_SCAN_EVERY = 30.0  # seconds between two scans of folders, whose files may be many and far away


class Silence:
    """How long an attempt's engine has been silent.

    Attributes:
        reason: once it is too long, a clause about it that follows the engine's name.
        longest: seconds between two lines of metrics.
    """

    def __init__(self, run: Run, info: Info, log: Path, known: Sequence[Metric]) -> None:
        self._folders, self._log, self._settings = (run.checkpoints, run.folder / JUDGED), log, info.settings
        self._users_limit = _users_limit()
        self.longest = max(_gaps(None, known), default=0.0)
        self._validated = any(each.validation is not None for each in known)
        self._validates = info.validation is not None
        self._last: Metric | None = None  # of this attempt
        self.reason: str | None = None
        # Seconds since the last sign of life, the last line of metrics, and the request to end; `look` counts them.
        self._quiet = self._since_line = self._since_asked = 0.0
        self._polled, self._scanned = time.monotonic(), 0.0  # times of the last poll, and of the last scan of folders
        self._folder_state = ""  # what `written` said in the last scan
        self._log_offset, self._log_line, self._unfinished = 0, "", b""  # how far the log was read, and its last lines

    def take(self, new: Sequence[Metric]) -> None:
        timed = self._since_line if self._last else 0.0  # the time of the start is no time of a step
        self.longest = max(self.longest, timed, *_gaps(self._last, new))
        self._last, self._since_line, self._quiet = new[-1], 0.0, 0.0
        self._validated = self._validated or any(each.validation is not None for each in new)

    def look(self, starting: bool) -> None:
        """Look for signs of life; to be called about every second. `starting`: a line of the log ends this part."""
        now = time.monotonic()
        passed, self._polled = min(_MAX_POLL, now - self._polled), now
        self._quiet += passed
        self._since_line += passed
        self._since_asked += passed
        if self._log_grew():
            self._quiet = 0.0
        limit = self.limit(starting)
        if limit is None:
            return
        if self._quiet < min(_SCAN_EVERY, limit) or now - self._scanned < min(_SCAN_EVERY, limit / 4):
            return
        self._scanned = now
        if self._folders_changed():
            self._quiet = 0.0
        elif self._quiet > limit and self.reason is None:
            longest = f"; the longest step so far took {duration(self.longest)}" if self.longest else ""
            self.reason = f"has written no metrics, log line or checkpoint for {duration(self._quiet)}{longest}"

    def begin_end(self) -> None:
        """Count the time from here on that `over` is about: the engine was asked to end."""
        self._since_asked, self._folder_state = 0.0, written(self._folders)

    def over(self, seconds: float, saves: bool = True) -> bool:
        """Whether an engine was asked to end `seconds` ago, and, if it saves, has given no sign of life since."""
        if not saves:
            return self._since_asked > seconds
        if min(self._quiet, self._since_asked) <= seconds:
            return False
        if self._folders_changed():  # a checkpoint is being written
            self._quiet = 0.0
        return self._quiet > 0

    def limit(self, starting: bool) -> float | None:
        """Seconds after which silence is too long; None: it never is."""
        if self._users_limit is not None:
            return self._users_limit or None
        if starting:
            return STARTING
        from_times = max(FLOOR, 2 * self._patience()) + FACTOR * self.longest
        return from_times if self.longest and not self._untimed() else max(UNTIMED, from_times)

    def _folders_changed(self) -> bool:
        before, self._folder_state = self._folder_state, written(self._folders)
        return self._folder_state != before

    def _log_grew(self) -> bool:
        """Whether the log has new text that says more than that the engine waits."""
        try:
            with self._log.open("rb") as file:
                file.seek(self._log_offset)
                new = file.read(_MAX_READ)
        except OSError:
            return False
        *lines, unfinished = new.split(b"\n")
        # A progress bar writes no lines: the text after the last line end counts if it has changed.
        grew = len(new) == _MAX_READ or unfinished not in (b"", self._unfinished)
        self._log_offset, self._unfinished = self._log_offset + len(new) - len(unfinished), unfinished
        for line in lines:
            text = _TIME.sub("", line.decode("utf-8", "replace"))
            if not _IDLE.search(text):
                grew = grew or text != self._log_line  # the same line again, but for its time, is no news
                self._log_line = text
        return grew

    def _untimed(self) -> bool:
        """Whether the next step is followed by the first validation, whose time is unknown."""
        if self._validated or not self._validates or self._last is None:
            return False
        following, every = self._last.step + 1, self._settings.get("test_freq")
        return bool(every) and (following % int(every or 1) == 0 or following == self._last.total)

    def _patience(self) -> float:
        """Seconds that a question waits for a judge that is away, before the engine itself gives up."""
        reward = self._settings.get("reward") or {}
        judges = [reward.get("judge"), *(reward.get("judges") or {}).values()]
        served = [judge for judge in judges if judge and judge.get("endpoint")]
        return max((float(judge.get("patience") or 0) for judge in served), default=0.0)


def _users_limit() -> float | None:
    text = os.environ.get(LIMIT)
    if not text:
        return None
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < float("inf"):
        raise ConfigError(f"{LIMIT} is {text[:40]!r}, and must be a number of minutes", "0 never ends an engine")
    return minutes * 60


def _gaps(before: Metric | None, new: Iterable[Metric]) -> list[float]:
    """Seconds between lines of metrics, by the engine's clock, which begins at 0 in each attempt."""
    gaps = []
    for line in new:
        if line.seconds is not None:
            follows = before is not None and before.attempt == line.attempt
            gaps.append(line.seconds - ((before.seconds or 0.0) if before is not None and follows else 0.0))
        before = line
    return gaps
