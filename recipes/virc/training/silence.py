"""Notices that an engine has fallen silent: for longer than its work explains, none of its files has changed.

Signs of life are a line of metrics, new text in the log, a checkpoint that is being written, and a new reply of a
judge; what verl logs every minute while it waits is none. How long an engine may be without any follows from what this
run has taken before: three times the longest time between two lines of metrics, which has the waiting for a judge,
validation and saving in it, and half an hour. What was not timed yet, such as the first step or the first validation,
gets three hours.
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
"""The variable with another limit, in minutes; 0: none."""

STARTING = 3_600.0
"""Seconds without a sign of life in a part of the start that ends with a line of the log."""
UNTIMED = 10_800.0
"""Seconds without a sign of life in what this run has not done before."""
FLOOR, FACTOR = 1_800.0, 3.0
"""Seconds, and how many times the longest time between two lines of metrics, once there was one."""

_IDLE = re.compile(r"\((?:\S+ )?TransferQueueController pid=")
"""Lines that verl's queue logs every five minutes, of how often it was asked."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d.\d\d:\d\d:\d\d(?:[.,]\d+)?")
_MAX_READ = 2**20  # bytes of the log in a poll; more is a sign of life whatever it says
_MAX_POLL = 30.0  # seconds counted between two polls: a machine that slept and a job that was suspended are not silent
_LOOK = 30.0  # seconds between two looks at folders, whose files may be many and far away


class Silence:
    """How long an attempt's engine has been silent.

    Attributes:
        reason: once it is too long, a clause about it that follows the engine's name.
        longest: seconds between two lines of metrics.
    """

    def __init__(self, run: Run, info: Info, log: Path, known: Sequence[Metric]) -> None:
        self._folders, self._log, self._settings = (run.checkpoints, run.folder / JUDGED), log, info.settings
        self._given = _given()
        self.longest = max(_gaps(None, known), default=0.0)
        self._validated = any(each.validation is not None for each in known)
        self._validates = info.validation is not None
        self._seen, self._read, self._said, self._unfinished = "", 0, "", b""
        self._polled, self._looked = time.monotonic(), 0.0
        self._quiet = self._since_line = self._since_asked = 0.0
        self._last: Metric | None = None
        self.reason: str | None = None

    def take(self, new: Sequence[Metric]) -> None:
        timed = self._since_line if self._last else 0.0  # the start is none of its steps
        self.longest = max(self.longest, timed, *_gaps(self._last, new))
        self._last, self._since_line, self._quiet = new[-1], 0.0, 0.0
        self._validated = self._validated or any(each.validation is not None for each in new)

    def look(self, starting: bool) -> None:
        """Look for signs of life; to be called about every second. `starting`: a line of the log ends this part."""
        now = time.monotonic()
        passed, self._polled = min(_MAX_POLL, now - self._polled), now
        self._quiet, self._since_line, self._since_asked = (
            each + passed for each in (self._quiet, self._since_line, self._since_asked)
        )
        if self._speaks():
            self._quiet = 0.0
        limit = self.limit(starting)
        if limit is None or self._quiet < min(_LOOK, limit) or now - self._looked < min(_LOOK, limit / 4):
            return
        self._looked, before = now, self._seen
        self._seen = written(self._folders)
        if self._seen != before:
            self._quiet = 0.0
        elif self._quiet > limit and self.reason is None:
            longest = f"; the longest step so far took {duration(self.longest)}" if self.longest else ""
            self.reason = f"has written no metrics, log line or checkpoint for {duration(self._quiet)}{longest}"

    def begin_end(self) -> None:
        self._since_asked, self._seen = 0.0, written(self._folders)

    def over(self, seconds: float, saves: bool = True) -> bool:
        """Whether an engine was asked to end `seconds` ago, and, if it saves, has given no sign of life since."""
        if not saves:
            return self._since_asked > seconds
        if min(self._quiet, self._since_asked) <= seconds:
            return False
        before, self._seen = self._seen, written(self._folders)
        self._quiet = self._quiet if self._seen == before else 0.0  # a checkpoint is being written
        return self._quiet > 0

    def limit(self, starting: bool) -> float | None:
        if self._given is not None:
            return self._given or None
        if starting:
            return STARTING
        known = max(FLOOR, 2 * self._patience()) + FACTOR * self.longest
        return known if self.longest and not self._untimed() else max(UNTIMED, known)

    def _speaks(self) -> bool:
        try:
            with self._log.open("rb") as file:
                file.seek(self._read)
                new = file.read(_MAX_READ)
        except OSError:
            return False
        *lines, unfinished = new.split(b"\n")
        speaks = len(new) == _MAX_READ or unfinished not in (b"", self._unfinished)  # a progress bar has no lines
        self._read, self._unfinished = self._read + len(new) - len(unfinished), unfinished
        for line in lines:
            said = _TIME.sub("", line.decode("utf-8", "replace"))
            if not _IDLE.search(said):
                speaks, self._said = speaks or said != self._said, said
        return speaks

    def _untimed(self) -> bool:
        if self._validated or not self._validates or self._last is None:
            return False
        following, every = self._last.step + 1, self._settings.get("test_freq")
        return bool(every) and (following % int(every or 1) == 0 or following == self._last.total)

    def _patience(self) -> float:
        """Seconds that a question waits for a judge that is away, before the engine itself gives up."""
        reward = self._settings.get("reward") or {}
        judges = [reward.get("judge"), *(reward.get("judges") or {}).values()]
        asked = [each for each in judges if each and each.get("endpoint")]
        return max((float(each.get("patience") or 0) for each in asked), default=0.0)


def _given() -> float | None:
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
    """Seconds between lines, by the engine's clock, which begins again in each attempt."""
    found = []
    for line in new:
        same = before is not None and before.attempt == line.attempt
        if line.seconds is not None:
            found.append(line.seconds - ((before.seconds or 0.0) if before is not None and same else 0.0))
        before = line
    return found
