"""What is reported of a stage's rows once they were checked, and of the texts that it trains on."""

import shlex

from virc.backends import checkpoint
from virc.core.errors import ConfigError, DataError
from virc.core.events import Reporter
from virc.core.files import expanded
from virc.data.check.plain import other_than
from virc.models import chat_protocol
from virc.models.chat_protocol import read_protocol
from virc.models.registry import Weights
from virc.stages.resolve import Resolved
from virc.systems import texts
from virc.tools import registry as tools
from virc.training import rl_setup
from virc.training.preflight.types import Result
from virc.training.prepared import Prepared


def check_texts(resolved: Resolved, report: Reporter) -> None:
    """Raises ConfigError: a published text that the system refers to is not here, or is another one."""
    system = resolved.system
    texts.check_texts(system.file.parent)
    asking = rl_setup.asking_terms(resolved) if resolved.kind == "rl" and resolved.config.reward.total else ()
    questions = rl_setup.published_questions(asking)
    for question in questions:
        question.said()  # raises
    folders = [system.file.parent, *(question.file.parent for question in questions if question.file)]
    if reworded := next(filter(texts.is_own_wording, folders), None):
        hint = f"without «--own-words», after virc download texts --system {texts.system_of(reworded)}"
        report.warn(f"{system.name} is trained in our own words, not in those of the authors", hint)


def check_rows(prepared: Prepared, result: Result, report: Reporter) -> None:
    """Report what the check of the rows found.

    Raises:
        DataError: a reward cannot score rows, or images would be shown at another size than the rows' boxes are in.
    """
    config = prepared.resolved.config
    if prepared.resolved.kind == "rl":
        rl_setup.check_reward(result, prepared.resolved, report)
    if result.rewritten:
        kinds = ", ".join(f"{why} {count}" for why, count in sorted(result.rewritten.items()))
        pictures = f"{sum(result.rewritten.values())} of {result.images} images"
        report.note(f"{pictures} are written as solving shows them, and not as LLaMA-Factory would ({kinds})")
    _check_sizes(prepared, result, report)
    if result.images and config.engine.get("packing") and not config.engine.get("neat_packing"):
        wrong = "engine.packing shows each reply the pictures and texts of other rows"
        raise ConfigError(wrong, "«--set engine.neat_packing=true» packs rows, and keeps each apart")
    if prepared.request.ignore:
        report.note(f"columns left out: {', '.join(prepared.request.ignore)}")
    unit, mean = "rows", f"tokens a row: mean {result.mean:.0f},"
    if prepared.resolved.kind == "dpo" and config.sides == 2:
        unit, mean = "pairs", f"tokens of both sides: mean {result.mean:.0f}; of the longer side:"
    longest = f"99 % at most {result.percentiles[2]}, longest {result.longest}"
    report.note(f"{result.rows} {unit}, {result.images} images; {mean} {longest}")
    if config.order == "written":
        report.note("rows are taken in the order of the file")
    if result.dropped:
        report.warn(f"{result.dropped} rows longer than {config.longest} tokens are left out")
    checks = f"virc data check {_rows(prepared)}"
    for kind, count in result.faults.items():
        report.warn(f"{count} of {result.looked_at} rows checked closely have the fault {kind}", checks)
    if prepared.resolved.system.offered and not result.protocol.tools:
        report.note("the rows call none of its tools, and so will the model: they are learnt as conversations")
    elif warning := _other_protocol(prepared, result):
        report.warn(*warning)
    if result.otherwise:
        report.warn(f"{result.otherwise} rows have another system message than the chat protocol's")


def _check_sizes(prepared: Prepared, result: Result, report: Reporter) -> None:
    """Report images that are shown smaller. Raises DataError: boxes in pixels would not fit them any more."""
    config, base = prepared.resolved.config, prepared.base
    base_limit = checkpoint.folder_grid(base.folder).max_pixels
    at_limit = config.max_pixels >= base_limit
    limit = f"the {base_limit:,} pixels that {base.name} sees" if at_limit else f"max_pixels, {config.max_pixels:,}"
    no_use = f"«--set max_pixels» cannot raise the limit of {base.name}, {base_limit:,} pixels"
    if not result.shrunk:
        if config.max_pixels > base_limit and prepared.resolved.origins.get("max_pixels") == "--set":
            report.note(no_use)
        return
    shrunk = f"{result.shrunk} of {result.images} images have more than {limit}"
    rows = _rows(prepared)
    target = {"sft": "sft", "dpo": "pairs"}.get(prepared.resolved.kind)
    target = target or ("rl" if config.rollout == "per_cru" else "prompts")
    convert = f"virc data convert {rows} --to DIR --format {target} --max-pixels {min(base_limit, config.max_pixels)}"
    convert += " makes rows that fit, or names a text with boxes that it cannot scale"
    hint = f"{convert}; {no_use}" if at_limit else f"«--set max_pixels={base_limit}», or {convert}"
    if result.protocol.coordinates != "pixel":
        report.note(f"{shrunk}: they are shown smaller")
    elif result.protocol.tools and result.boxed:
        raise DataError(f"{shrunk}: they would be shown smaller, and boxes in pixels would not fit them", hint)
    else:
        report.warn(f"{shrunk}: they are shown smaller, and boxes in pixels, if replies have some, do not fit", hint)


def _rows(prepared: Prepared) -> str:
    """The rows as they are named on a command line."""
    data = prepared.resolved.config.data
    return shlex.quote(data if expanded(data).exists() else str((prepared.source.shards or (prepared.source.file,))[0]))


def _other_protocol(prepared: Prepared, result: Result) -> tuple[str, str] | None:
    """A warning and a hint if the rows teach another chat protocol than the system's, or than the base knows.

    Multi-turn RL prompts anew; and rows may have more tools than the base knows.
    """
    base, rows, resolved = prepared.base, result.protocol, prepared.resolved
    if resolved.kind != "rl" or resolved.config.rollout != "multi_turn":
        target = {"rl": "rl", "dpo": "pairs"}.get(resolved.kind, "sft")
        if warning := other_than(resolved.system, rows, _rows(prepared), target):
            return warning
    file = chat_protocol.trained_with(Weights(base.name, base.folder, adapter=base.adapter))
    if file is None:
        return None
    trained = read_protocol(file)
    if chat_protocol.speaks_as(rows, trained, prepared.resolved.system.file.parent):
        return None
    added = [name for name in rows.tools if name not in {*trained.tools, *tools.discover()}]
    options = "".join(f" --tools +{name}" for name in added)
    convert = f"virc data convert {_rows(prepared)} --to DIR --format batch"
    problems = f"DIR/{result.dataset}.jsonl"
    hint = f"{convert}, then virc data sample {problems} --to NEW --endpoint URL --protocol {file}{options}"
    return f"the rows are in another chat protocol than {base.name} was trained with, which it has to learn again", hint
