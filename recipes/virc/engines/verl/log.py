"""What verl 0.9.1 says while it runs: its metrics, how many rows it took, and why it ended."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import EngineError
from virc.core.files import part
from virc.core.text import plain
from virc.engines.environment import last_line
from virc.runs.metrics import Metric, Phase
from virc.runs.run import Info

METRICS = "logs/verl.jsonl"
"""The file in the run's folder that verl's `file` logger writes a line to after each step."""
STARTUP: Sequence[Phase] = (
    Phase("starting Ray and reading the rows", r"dataset len: \d", "20 s to 1 min"),
    Phase("loading the model", r"\((?:vLLMHttpServer|Server)\b[^)\n]* pid=|LLMServerManager: ", "1 to 5 min"),
    Phase("starting the rollout server", r"LLMServerManager: ", "1 to 4 min"),
    Phase("first batch: rollouts, rewards, update", r"(?!)", "as long as a step"),
)

_START, _END = (2**24, 2**18)  # bytes of a log: all before the first step, and its end
_FIELDS: Mapping[str, str] = {
    "learning_rate": "actor/lr",
    "reward": "critic/score/mean",
    "reward_min": "critic/score/min",
    "reward_max": "critic/score/max",
    "reward_std": "virc/reward_std",
    "advantage": "critic/advantages/mean",
    "advantage_min": "critic/advantages/min",
    "advantage_max": "critic/advantages/max",
    "response_length": "response_length/mean",
    "response_length_max": "response_length/max",
    "prompt_length": "prompt_length/mean",
    "cut": "virc/cut",
    "turns": "virc/units",
    "tool_calls": "virc/tool_calls",
    "malformed": "virc/malformed",
    "same": "virc/same",
    "entropy": "actor/entropy",
    "kl": "actor/kl_loss",
    "clip_fraction": "actor/pg_clipfrac",
    "grad_norm": "actor/grad_norm",
    "correlation": "training/rollout_actor_probs_pearson_corr",
    "tool_failures": "virc/tool_failures",
    "judge_failures": "virc/judge_failures",
    "judge_same": "virc/judge_same",
}
"""Field of `Metric` -> verl's name; those of `virc/` it has from `verl.trainer`. What verl calls `clip_ratio`
is the share of responses as long as the longest of the batch, which is never 0; `virc/cut` is compared with the limit.
"""
_PARTS: Mapping[str, tuple[str, ...]] = {
    "rollout": ("gen", "reward"),
    "probabilities": ("old_log_prob", "ref"),
    "update": ("update_actor", "adv"),
    "weights": ("update_weights",),
    "save": ("save_checkpoint",),
    "validation": ("testing",),
}
"""What a step is spent on -> verl's timers. Rewards are had while other replies are still written."""
_TERMS = "virc/terms/"
_VALIDATION = re.compile(r"val-core/.*/reward/mean@\d+")


class _Line(msgspec.Struct):
    step: int
    data: dict[str, Any]


def reader(info: Info, attempt: int, known: Iterable[Metric]) -> Callable[[bytes], Metric | None]:
    """A function that reads the lines of an attempt one by one, in order; it returns None for a line that is cut short.

    NaN and infinite numbers are null in the lines, and left out. `known` are the run's metrics so far.
    """
    before = max((each.tokens or 0 for each in known if each.attempt < attempt), default=0)
    total, tokens, seconds = steps(info), before, 0.0

    def read(line: bytes) -> Metric | None:
        nonlocal tokens, seconds
        try:
            logged = msgspec.json.decode(line, type=_Line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        numbers = {name: float(value) for name, value in logged.data.items() if isinstance(value, int | float)}
        spent = numbers.get("timing_s/step", 0.0)
        tokens += int(numbers.get("perf/total_num_tokens", 0))
        seconds += spent + numbers.get("timing_s/testing", 0.0)
        tried = [value for name, value in numbers.items() if _VALIDATION.fullmatch(name)]
        wait = numbers.get("virc/judge_seconds")
        return Metric(
            step=logged.step,
            attempt=attempt,
            total=total,
            epoch=numbers.get("training/epoch"),
            terms={name.removeprefix(_TERMS): value for name, value in numbers.items() if name.startswith(_TERMS)},
            validation=sum(tried) / len(tried) if tried else None,
            judge_wait=wait / spent if wait is not None and spent else None,
            parts=_parts(numbers),
            tokens=tokens,
            tokens_per_second=(tokens - before) / seconds if spent else None,
            seconds=seconds,
            **{field: numbers.get(name) for field, name in _FIELDS.items()},
        )

    return read


def steps(info: Info) -> int:
    """Optimizer steps of a run: as many as the settings say, else those of its epochs; verl leaves a last part out."""
    settings = info.settings
    return int(settings["steps"] or info.rows // settings["train_batch_size"] * settings["epochs"])


def _parts(numbers: Mapping[str, float]) -> dict[str, float]:
    """Part of a step -> its seconds; `other` is the rest of the step, which validation is no part of."""
    spent = {part: sum(numbers.get(f"timing_s/{timer}", 0.0) for timer in timers) for part, timers in _PARTS.items()}
    other = numbers.get("timing_s/step", 0.0) - sum(spent.values()) + spent["validation"]
    return {part: seconds for part, seconds in {**spent, "other": other}.items() if seconds > 0}


def started(log: Path, info: Info, step: int) -> None:
    """Check, at its first line of metrics, that verl trains on all rows: it leaves rows out without saying so."""
    found = re.findall(r"(filter )?dataset len: (\d+)", _part(log, 0, _START))
    # First come the rows to train on, then, if verl filters them, what is left; then the rows to validate with.
    is_filtered = len(found) > 1 and found[1][0] != ""
    lengths = [int(count) for _, count in found[: 2 if is_filtered else 1]]
    if lengths and lengths[-1] != info.rows:
        sentence = f"verl trains on {lengths[-1]} rows, and {info.rows} were checked"
        raise EngineError(sentence, f"virc data check {shlex.quote(str(info.data))}")


def trained(log: Path) -> int | None:
    found = re.search(r"virc: ([\d,]+) parameters are trained", _part(log, 0, _START))
    return int(found[1].replace(",", "")) if found else None


_SMALLER = "smaller batches and fewer devices need less"
_CAUSES: tuple[tuple[str, str, str | None], ...] = (
    (r"ray\.exceptions\.OutOfMemoryError|killed due to the node running low on memory",
     "Ray ended a process since the main memory was full", _SMALLER),
    (r"OutOfMemoryError|CUDA out of memory", "a GPU ran out of memory",
     "lower micro_batch_size_per_device, sampler_memory or response_length, or train an adapter: «--with lora»"),
    (r"No available memory for the cache blocks|KV cache is needed, which is larger than the available",
     "vLLM has no memory left for its cache", "raise sampler_memory, or lower prompt_length and response_length"),
    (r"[Tt]rain dataloader is empty|num_samples should be a positive integer value, but got num_samples=0",
     "not enough rows are left for one batch", "lower train_batch_size, raise prompt_length, or give more rows"),
    (r"No space left on device", "the disk is full",
     "make room, or keep fewer checkpoints: «--set save_total_limit=1»"),
    (r"Total available GPUs [\d.]+ is less than total desired GPUs [\d.]+",
     "Ray sees too few GPUs", "lower devices, or free the GPUs that others use"),
    (r"EADDRINUSE|[Aa]ddress already in use", "a port that it needs is taken", "start it again"),
    (r"NCCL error[^\n]*|NCCL Error[^\n]*", "the GPUs could not speak to each other: {0}", "NCCL_DEBUG=INFO says more"),
    (r"(?<=FloatingPointError: )the weight [^\n]+", "training diverged: {0}", "lower learning_rate"),
    (r"timed out during startup|[Ff]ailed to connect to GCS", "Ray could not be started",
     "a machine that is less busy, or more room in /tmp"),
    (r"Engine core initialization failed|EngineDeadError|EngineCore encountered", "vLLM failed: {first}", None),
)  # fmt: skip
"""Text of an error, what it means, and what to do."""
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_PREFIX = r"^(?:\([^)\n]*pid=[^)\n]*\) )*(?:ERROR [^\]\n]*\] )?"  # Ray's and vLLM's
_ERROR = re.compile(_PREFIX + r"((?:\w+\.)*\w*(?:Error|Exception|Interrupt)): (\S.*)$", re.MULTILINE)
_LAST = re.compile(r"^virc: (\w+): (\S.*)$", re.MULTILINE)  # what `verl.start` writes at its end
_ROLLOUT = re.compile(r"a rollout or its reward failed: (\w+): (.+)")
_CARRIES = re.compile(
    r"RayTaskError|ActorDiedError|RayActorError|ActorUnavailableError|see its log above$|root cause above"
)
_OURS = ("ConfigError", "DataError", "NetworkError", "SetupError", "EngineError")
_KILLED = (
    "one of its processes was killed, perhaps for want of memory",
    "free memory, or lower train_batch_size and micro_batch_size_per_device",
)


def cause(log: Path, code: int | None) -> tuple[str, str | None]:
    """Why an attempt failed, as a clause, and what to do.

    Ray repeats a worker's error in each process that waits for it; those that only carry another one are left out.
    """
    text = _part(log, -_END, _END)
    printed = [*_LAST.findall(text)[-1:], *_ERROR.findall(text)]  # kind and message; first what `verl.start` printed
    causes = [match.groups() if (match := _ROLLOUT.match(message)) else (kind, message) for kind, message in printed]
    errors = [(kind, message) for kind, message in causes if not _CARRIES.search(f"{kind}: {message}")]
    first = next(iter(errors), None)
    for kind, message in errors:
        if kind.rpartition(".")[2] in _OURS:
            return plain(message), _hint(kind, message)
    error_text = "\n".join(f"{kind}: {message}" for kind, message in _ERROR.findall(text))
    for pattern, clause, hint in _CAUSES:
        if found := re.search(pattern, error_text):
            return clause.format(plain(found[0], 200), first=_named(first) if first else "its log says why"), hint
    if first:
        return _named(first), None
    if code == -9 or _CARRIES.search(text):
        return _KILLED
    return f"exit code {code}: {last_line(text)}", None


def _named(error: tuple[str, str]) -> str:
    return f"{error[0].rpartition('.')[2]}: {plain(error[1])}"


def _hint(kind: str, sentence: str) -> str | None:
    if sentence.startswith("dynamic_sampling"):
        return "«--set dynamic_sampling=false», or more samples, a higher temperature or harder rows"
    if " died (process " in sentence:
        return _KILLED[1]
    if sentence.endswith("since the main memory was full"):
        return _SMALLER
    if "judge" not in sentence:
        return None
    if kind.endswith("NetworkError"):
        return "see that the judge answers, then «--resume»; virc rewards try asks it about one reply"
    return "«--judge-endpoint URL» names a judge, «--set reward.total=rules» does without"


def _part(log: Path, start: int, most: int) -> str:
    return _COLOURS.sub("", part(log, start, most))
