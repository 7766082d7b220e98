"""What is wrong with a run, from its metrics, its notes and how it ended, and the settings that answer it."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import msgspec

from virc.runs import run as runs
from virc.runs.checkpoints import checkpoints
from virc.runs.metrics import Metric, diverged, metrics
from virc.runs.run import Info, Run, State
from virc.runs.status import ended, number
from virc.stages.sft import SIGNS
from virc.training.health import has_tools, known_by_heart, notes, signs, values_of

_MAX_CAUSES = 3
_HIGHEST_RATE = 1e-3  # no stage of a system in the package learns faster
_NO_MEASURES = ("step", "attempt", "total", "epoch", "tokens", "tokens_per_second", "seconds", "parts", "terms")


class Cause(msgspec.Struct, frozen=True):
    says: str
    seen: str
    answer: str


class Diagnosis(msgspec.Struct, frozen=True):
    """One verdict over a run.

    Args:
        signs: of ill health that it has now, with their numbers, the worst first.
        looked_at: metrics that it has, each with the mean of its first and of its newest three steps.
    """

    healthy: bool
    verdict: str
    signs: Mapping[str, str]
    causes: Sequence[Cause]
    looked_at: Mapping[str, tuple[float, float]]


_CAUSES: Sequence[tuple[str, str, str, str]] = (
    ("diverged", "learning_rate", "*0.1", "the steps are too large"),
    ("tools", "", "--set reward.total=..., with a term for calls", "nothing rewards a call"),
    ("tools", "", "a stage of sft on solutions with calls, and --from its run", "the base was not taught to call"),
    ("variance", "dynamic_sampling", "true", "the problems are too easy or too hard"),
    ("length", "response_length", "*2", "the limit is too low for the problems"),
    ("length", "max_turns", "*2", "the problems need more turns"),
    ("length", "loss_agg_mode", "seq-mean-token-sum-norm", "long replies lose less a token (Liu et al., 2025)"),
    ("entropy fell", "clip_high", "*1.2", "unlikely tokens cannot become likelier (Yu et al., 2025)"),
    ("entropy fell", "entropy", "0.001", "nothing rewards exploring"),
    ("entropy rose", "entropy", "0.0", "the entropy weighs too much in the loss"),
    ("kl", "kl_loss_coef", "*10", "the KL loss weighs too little"),
    ("pairs", "", "virc data show", "the sides differ in length or format, are the same, or are swapped"),
    ("pairs", "label_smoothing", "0.1", "some pairs are the wrong way round"),
    ("pairs", "beta", "*3", "the model is held too loosely to the base"),
    ("chosen", "ftx", "1.0", "nothing keeps the better reply likely (Pal et al., 2024)"),
    ("by heart", "epochs", "*0.5", "the rows are seen too often"),
    ("by heart", "lora.rank", "*0.5", "the adapter can hold all rows"),
    ("tool_failures", "", "virc tools check", "a tool has a fault"),
    ("judge", "", "virc rewards try SYSTEM --judge-endpoint URL", "its model or prompt is not fit for these replies"),
    ("judge", "reward.judge.patience", "*2", "it has too little time"),
    ("judge", "temperature", "1.0", "the replies are too much alike to be told apart"),
    ("correlation", "precision", "float32", "sampler and trainer round differently"),
    ("correlation", "rollout_engine", "transformers", "vLLM holds other weights, or computes otherwise"),
    ("correlation", "attention", "sdpa", "sampler and trainer have another attention"),
    ("correlation", "top_p", "1.0", "the sampler draws from a part of the vocabulary"),
    (
        "loss, gradient, reward, format, entropy fell, entropy rose, kl, chosen, by heart",
        "learning_rate",
        "*0.3",
        "the steps are too large",
    ),
    ("diverged, loss, gradient", "warmup_ratio", "0.05", "the first steps are as large as all others"),
    ("loss, gradient", "max_grad_norm", "*0.3", "long gradients are not shortened enough"),
    ("loss, gradient", "train_batch_size", "*2", "a step has too few rows"),
    ("reward, kl, format, entropy rose", "kl_loss_coef", "0.001", "nothing holds the policy to its base"),
    ("reward, entropy rose", "clip_high", "0.2", "likely tokens become likelier too fast"),
    ("chosen", "beta", "*3", "the model is held too loosely to the base"),
    ("tools, variance", "n", "*2", "too few replies to a problem"),
    ("variance, format, entropy fell", "temperature", "1.0", "the replies are drawn too coldly or too freely"),
    ("diverged", "precision", "float32", "numbers overflow in bfloat16"),
)
"""Signs, a setting, its value or a factor for it, and the cause; the
likeliest first. Without a setting, what to type."""


def diagnose(run: Run) -> Diagnosis:
    info, state, found = runs.info(run), runs.state(run), list(metrics(run))
    steps = [metric for metric in found if not metric.aside]
    current = dict[str, str](signs(found, info.settings, has_tools(run)).items())
    failed = state.progress in ("failed", "died")
    if failed and "training diverged" in (state.error or ""):
        current = {"diverged": str(state.error), **current}
    elif steps and diverged(steps[-1]):
        current = {"diverged": f"the loss, reward or gradient of step {steps[-1].step} is no number", **current}
    if state.progress == "finished" and (heart := known_by_heart(run, {each.step for each in checkpoints(run)})):
        current["by heart"] = heart[0]
    causes = list(_causes(info, current))
    if failed and "diverged" not in current:
        seen = f"it ended after step {state.step}"
        causes = [Cause(state.error or "its process is gone", seen, f"see {run.log(state.attempt)}"), *causes]
    verdict = _verdict(run, info, state, current, len(steps))
    if not failed and not current and (over := {note.sign for note in notes(run)}):
        verdict += f"; {', '.join(sorted(over))} began and ended"
    measures = {name: values_of(steps, name) for name in Metric.__struct_fields__ if name not in _NO_MEASURES}
    looked_at = {name: (fmean(each[:3]), fmean(each[-3:])) for name, each in measures.items() if each}
    return Diagnosis(not current and not failed, verdict, current, causes[:_MAX_CAUSES], looked_at)


def _verdict(run: Run, info: Info, state: State, current: Mapping[str, str], steps: int) -> str:
    if state.progress in ("failed", "died"):
        return ended(run, state)
    if current:
        sign, says = next(iter(current.items()))
        return f"{sign}: {says}" + f"; also {', '.join(list(current)[1:])}" * (len(current) > 1)
    said = f"nothing is wrong with {run.name} in {steps} logged steps" if steps else f"{run.name} has logged no step"
    return f"{said}; it was looked at for {', '.join(SIGNS[info.kind])}"


def _causes(info: Info, current: Mapping[str, str]) -> Iterator[Cause]:
    """Of each sign the likeliest first, then the others; of a sign first the settings that `--set` gave."""
    ranked = []
    for place, (sign, says) in enumerate(current.items()):
        name = f"entropy {says.split()[1]}" if sign == "entropy" else sign
        rows = [row for row in _CAUSES if name in row[0].split(", ")]
        rows.sort(key=lambda row: info.origins.get(row[1]) != "--set")
        ranked += [(at, place, sign, row) for at, row in enumerate(rows)]
    known = set()
    for _, _, sign, (_, setting, change, says) in sorted(ranked):
        value: object = info.settings
        for key in setting.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        answer = _answer(setting, value, change) if setting else change
        if answer and (setting or says) not in known:
            known.add(setting or says)
            yield Cause(says, current[sign] + (f"; {setting} is {value}" if setting else ""), answer)


def _answer(setting: str, value: object, change: str) -> str | None:
    """What to type; None if the stage has no such setting, or it is so already."""
    if change.startswith("*") and isinstance(value, int | float) and value:
        new = value * float(change[1:])
        if setting == "learning_rate":
            new = min(new, _HIGHEST_RATE)
        change = str(max(1, round(new))) if isinstance(value, int) else number(new)
    elif change.startswith("*") or value is None:
        return None
    return None if str(value).lower() == change else f"--set {setting}={change}"
