"""What LLaMA-Factory says while it runs: its metrics, how many rows it took, and why it ended."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import EngineError
from virc.core.files import part
from virc.core.text import plain
from virc.engines.environment import last_line
from virc.engines.llamafactory.plan import OTHER_ROWS
from virc.runs.metrics import Metric, Phase
from virc.runs.run import Info

METRICS = "checkpoints/trainer_log.jsonl"
"""The file in the run's folder that it adds a line to at each logged step."""
STARTUP: Sequence[Phase] = (Phase("reading the rows and loading the model", r"(?!)", "1 to 5 min"),)

_END = 2**16  # bytes of a log's end with the reason of a failure
_START = 2**22  # bytes of a log's beginning with all lines before the first step

_MEET = "look at the nodes, and at the network between them"
_CAUSES: tuple[tuple[str, str, str | None], ...] = (
    (r"OutOfMemoryError|out of memory", "the device ran out of memory",
     "lower cutoff and max_pixels, or train an adapter: «--with lora»; virc doctor says what fits"),
    (r"No space left on device", "the disk is full",
     "make room, or keep fewer checkpoints: «--set save_total_limit=1»"),
    (r"Image features and image tokens do not match", "a row longer than the cutoff lost image tokens",
     "raise cutoff, or lower max_pixels"),
    (r"Some (?:specified arguments|keys) are not used[^\n]*: (\[[^\n]*\])", "it has no key {1}",
     "leave it out, or name it as LLaMA-Factory does"),
    (r"TimeoutError: (waited [^\n]+)", "its processes did not meet: it {1}", _MEET),
    (r"timed out after (\d+)000ms while trying to connect to ([^\n]+)",
     "its processes did not meet: it waited {1} s for {2}", _MEET),
    (r"DistNetworkError|EADDRINUSE", "the port for the processes to meet is taken", "start it again"),
    (r"NCCL error[^\n]*|NCCL Error[^\n]*", "the GPUs could not speak to each other: {0}", "NCCL_DEBUG=INFO says more"),
    (r"FloatingPointError: (the [^\n]+)", "training diverged: {1}", "lower learning_rate"),
    (r"SignalException: .*got signal: (\d+)", "it was stopped by signal {1}", None),
    (r"torch\.distributed\.elastic\.multiprocessing\.errors\.ChildFailedError", "one of its processes ended", None),
)  # fmt: skip
_ERROR = re.compile(r"^(?:\[rank\d+\]: ?)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)): (.+)$", re.MULTILINE)


_NO_NUMBER = re.compile(rb"\bNaN\b|-?\bInfinity\b")  # what Python writes for them is no JSON


_FIELDS: Mapping[str, str] = {
    "step": "current_steps", "total": "total_steps", "epoch": "epoch", "loss": "loss", "eval_loss": "eval_loss",
    "learning_rate": "lr", "tokens": "total_tokens", "tokens_per_second": "throughput", "grad_norm": "grad_norm",
    "margin": "margin", "accuracy": "accuracy", "chosen_reward": "chosen", "rejected_reward": "rejected",
}  # fmt: skip
"""Field of `Metric` -> its name in a line; the last five are what `start` adds."""


def reader(info: Info, attempt: int, known: Iterable[Metric]) -> Callable[[bytes], Metric | None]:
    """What reads the lines of an attempt, in their order, as `metric` does; `known` are the run's metrics so far."""
    before = max((each.tokens or 0 for each in known if each.attempt < attempt), default=0)
    start: tuple[int, float] | None = None  # tokens and seconds of the first line; until then the engine warms up

    def read(line: bytes) -> Metric | None:
        nonlocal start
        found = metric(line, attempt, before)
        if found is None or not found.tokens or not found.tokens_per_second:
            return found
        seconds = (found.tokens - before) / found.tokens_per_second
        start = start or (found.tokens, seconds)
        if found.tokens <= start[0] or seconds <= start[1]:
            return found
        return msgspec.structs.replace(found, tokens_per_second=(found.tokens - start[0]) / (seconds - start[1]))

    return read


def metric(line: bytes, attempt: int, before: int = 0) -> Metric | None:
    """A line of `METRICS` as the metric of all engines; None for one that is cut short or says nothing of a step.

    `before` are the tokens of earlier attempts, which it counts into the throughput of this one.
    """
    try:
        row = msgspec.json.decode(_NO_NUMBER.sub(b"null", line), type=dict[str, Any])
        found = msgspec.convert({field: row.get(name) for field, name in _FIELDS.items()}, Metric, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if found.learning_rate is None and found.eval_loss is None:  # the last line, which sums up
        return None
    throughput = found.tokens_per_second
    if throughput is not None and found.tokens:
        throughput *= max(0.0, 1 - before / found.tokens)
    seconds = _seconds(row.get("elapsed_time"))
    return msgspec.structs.replace(found, attempt=attempt, tokens_per_second=throughput, seconds=seconds)


def started(log: Path, info: Info, step: int) -> None:
    """Check, at its first line of metrics, that it trains on what it was given: it warns, and goes on without.

    Raises:
        EngineError: it dropped rows that it could not read, or goes on from other weights than the checkpoint's.
    """
    if step and (missing := not_loaded(log)):
        lost = f"{missing[0]} and {len(missing) - 1} more tensors" if missing[1:] else missing[0]
        raise EngineError(f"LLaMA-Factory did not load {lost} of step {step}", f"see {log}")
    taken = None if OTHER_ROWS & info.settings["engine"].keys() else rows(log)
    if taken is not None and taken != info.rows:
        raise EngineError(
            f"LLaMA-Factory trains on {taken} rows, and {info.rows} were checked",
            f"virc data check {shlex.quote(str(info.data))}",
        )


def rows(log: Path) -> int | None:
    return _number(log, r"Num examples = ([\d,]+)")


def trained(log: Path) -> int | None:
    return _number(log, r"trainable params: ([\d,]+)")


def _number(log: Path, pattern: str) -> int | None:
    found = re.search(pattern, part(log, 0, _START))
    return int(found[1].replace(",", "")) if found else None


def not_loaded(log: Path) -> list[str]:
    """Tensors that a resumed attempt did not find in its checkpoint; a tied output layer is saved with the input's."""
    found = re.search(r"missing keys in the checkpoint model loaded: \[([^\]]*)\]", part(log, 0, _START))
    names = re.findall(r"'([^']+)'", found[1]) if found else []
    return [name for name in names if name != "lm_head.weight"]


def cause(log: Path, code: int | None) -> tuple[str, str | None]:
    """Why an attempt failed, as a clause, and what to do about it; a negative code is the signal that ended it."""
    text = part(log, -_END, _END)
    errors = _ERROR.findall(text)
    for pattern, clause, hint in _CAUSES:
        if found := re.search(pattern, text):
            parts = [plain(found[0], 200), *(plain(group, 200) for group in found.groups())]
            if clause == "one of its processes ended" and errors:
                return f"{errors[0][0].rsplit('.', 1)[-1]}: {plain(errors[0][1])}", None
            return clause.format(*parts), hint
    if errors:
        return f"{errors[-1][0].rsplit('.', 1)[-1]}: {plain(errors[-1][1])}", None
    if code == -9:
        return (
            "it was killed, perhaps for want of memory",
            "free memory, or lower micro_batch_size_per_device and cutoff_len",
        )
    return f"exit code {code}: {last_line(text)}", None


def _seconds(text: Any) -> float | None:
    found = re.fullmatch(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d)", text or "")
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
