"""Which overlays of a stage fit a machine, and for the others why not and what would help.

`judge` gives a `Verdict` on each combination of overlays, for `virc doctor`; the `refuse_...` functions raise errors
before a run. Both compare what a stage needs with the machine by `lacking`, and find remedies by `cure`.
"""

from collections.abc import Callable, Collection, Iterator
from itertools import product
from typing import Any

import msgspec

from virc.core.errors import ConfigError, SetupError
from virc.envs.hardware import Machine
from virc.models.sizes import Shape
from virc.stages import resolve as stages
from virc.stages import sft
from virc.systems.registry import System
from virc.training.estimate.needs import Estimate, Term, estimate

# Names of terms of an estimate, by what makes them smaller.
_STATE = {
    "trained weights", "gradients", "Adam moments", "float32 weights", "bf16 copies", "float32 gradients",
    "offloaded state",
}  # fmt: skip
_BY_ROWS = {"activations", "one layer recomputed", "attention mask", "logits", "logits, a chunk at a time"}
_WEIGHTS = {
    "frozen weights", "reference weights", "weights brought together", "weights while they are read",
    "actor", "sampler's weights", "sampler's weights asleep",
}  # fmt: skip

ShapeOf = Callable[[str], Shape | None]
Config = Any
"""The settings of a stage of any kind."""

USUAL_OVERLAYS = frozenset({"lora", "judge-split", "rules"})
"""Overlays that advice names if a system has them."""


def judges(overlays: Collection[str] = USUAL_OVERLAYS) -> str:
    """The hint for a stage without a judge: how to get one, or to do without."""
    ways = ["--judge-endpoint URL of one that is served elsewhere"]
    if "judge-split" in overlays:
        ways.append("--with judge-split for one on four of these GPUs (virc serve judge --gpus 4,5,6,7 --port 8005)")
    ways.append("a smaller one, such as virc serve judge-72b-awq --gpus N")
    ways.append(f"or {_without_judge(overlays)}, which needs none")
    return "; ".join(ways)


def _without_judge(overlays: Collection[str]) -> str:
    return "--with rules" if "rules" in overlays else "--set reward.total=outcome"


class Verdict(msgspec.Struct, frozen=True):
    """Whether a stage with some overlays runs on a machine; `device_gib` is the memory of a device, if it is known."""

    overlays: tuple[str, ...]
    fits: bool | None
    needs: str
    why: str | None = None
    helps: str | None = None
    device_gib: float | None = None


def judge(system: System, stage: str, machine: Machine, shape_of: ShapeOf) -> list[Verdict]:
    """Judge every sensible combination of a stage's overlays: one for the hardware, the base, an adapter or none.

    Rows as long as the stage's cutoff are assumed. `helps` of a combination that does not fit names the fewest further
    overlays with which it does, if there are any.
    """
    verdicts = [verdict(system, stage, names, machine, shape_of) for names in combinations(system, stage)]
    fitting = [set(each.overlays) for each in verdicts if each.fits]
    for index, each in enumerate(verdicts):
        ways: list[list[str]] = [sorted(names - {*each.overlays}) for names in fitting if {*each.overlays} < names]
        if each.fits is False and ways:
            fewest: list[str] = min(ways, key=len)
            verdicts[index] = msgspec.structs.replace(each, helps=f"add {','.join(fewest)}")
    return verdicts


def verdict(system: System, stage: str, overlays: tuple[str, ...], machine: Machine, shape_of: ShapeOf) -> Verdict:
    resolved = stages.resolve(system, stage, overlays)
    config = resolved.config
    root = stages.root_of(resolved)
    shape = shape_of(root)
    if shape is None:
        few = _few_gpus(config, machine)
        unknown = f"the base {root} is not on this machine, and its sizes are not known"
        return Verdict(overlays, False if few else None, _devices(config), few.clause if few else unknown)
    needed = estimate(config, shape, config.longest)
    lack = next(lacking(needed, config, machine), None)
    helps = None
    if lack and _hint_for_judge(config, machine, system.overlays):
        without_judge = msgspec.structs.replace(config, judge_gpus=0)
        helps = f"--judge-endpoint URL, or {_without_judge(system.overlays)}, leaves out the judge's"
        lack = next(lacking(needed, without_judge, machine), lack)
    if lack and lack.terms:
        less = next((f"less with {each}" for each in _cures(lack.terms, config, system.overlays)), None)
        helps = lack.other_gpus or less
    memory = f" with {size_text(needed.device_gib)} each" if config.device == "cuda" else ""
    needs = f"{_devices(config)}{memory}, {size_text(needed.host_gib)} of main memory"
    return Verdict(overlays, lack is None, needs, lack.clause if lack else None, helps, needed.device_gib)


def combinations(system: System, stage: str) -> Iterator[tuple[str, ...]]:
    """Combinations of at most one overlay each for the hardware, for the base alone, and for an adapter."""
    settings = {name: _settings(system, name, stage) for name in system.overlays}
    bases = [name for name in system.overlays if _settings(system, name) == {"base"}]
    hardware = [name for name, keys in settings.items() if keys & {"device", "devices"}]
    adapters = [name for name, keys in settings.items() if "lora" in keys]
    plain = stages.resolve(system, stage).config
    if all(stages.resolve(system, stage, [name]).config != plain for name in hardware):  # none is the stage itself
        hardware.insert(0, "")
    for machine, base, adapter in product(hardware or [""], bases or [""], ["", *adapters]):
        chosen = tuple(name for name in (base, adapter, machine) if name)
        try:
            stages.resolve(system, stage, chosen)
        except ConfigError:  # two of them exclude one another
            continue
        yield chosen


def _settings(system: System, overlay: str, stage: str | None = None) -> set[str]:
    """Names of the settings of an overlay: those for all stages, and for one stage, or for any."""
    content = system.overlays[overlay]
    chosen = content.stages.values() if stage is None else [content.stages.get(stage, {})]
    return {key for part in (content.settings, *chosen) for key in part}


class Lack(msgspec.Struct, frozen=True):
    """What a machine has too little of.

    Args:
        clause: continues a sentence about the stage.
        terms: what takes it, the largest first.
        other_gpus: the option for GPUs of this machine that have enough.
    """

    clause: str
    terms: tuple[Term, ...] = ()
    other_gpus: str | None = None


def lacking(needed: Estimate, config: Config, machine: Machine, free: bool = False) -> Iterator[Lack]:
    """What a machine lacks for a stage; with `free`, memory in use by others does not count as there."""
    too_few = _few_gpus(config, machine)
    if too_few:
        yield too_few
    elif config.device == "cuda":
        sizes = [gpu.free_gib if free else gpu.gib for gpu in machine.gpus]
        # torch takes the first ones if none are named; the smallest must hold what one device needs.
        taken = list(config.gpus or range(config.devices))
        if needed.device_gib > (least := min(sizes[number] for number in taken)):
            number = min(taken, key=sizes.__getitem__)
            has = f"GPU {number} has {size_text(least)}{' free' if free else ''}"
            others = [index for index, size in enumerate(sizes) if size >= needed.device_gib][: config.devices]
            option = None
            if len(others) == config.devices and not _of_judge(config):
                option = f"--set gpus=[{','.join(map(str, others))}]"
            yield Lack(f"needs {size_text(needed.device_gib)} a device, {has}", needed.terms, option)
    memory = machine.free_gib if free else machine.memory_gib
    if needed.host_gib > memory:
        terms = needed.host if config.device == "cuda" else needed.terms
        clause = f"needs {size_text(needed.host_gib)} of main memory, {'free' if free else 'here'} {size_text(memory)}"
        yield Lack(clause, terms)
    if needed.disk_gib is not None and needed.disk_gib > machine.disk_gib:
        clause = f"needs {size_text(needed.disk_gib)} of disk, free {size_text(machine.disk_gib)}"
        yield Lack(clause, needed.disk or ())


def gpus(config: Config) -> str:
    """The GPUs of a stage on one node, the judge's counted: `8 GPUs`, `policy 8 + judge 4 GPUs`."""
    judge = _of_judge(config)
    policy = f"{config.devices} GPU{'s' if config.devices > 1 else ''}"
    return f"policy {config.devices} + judge {judge} GPUs" if judge else policy


def _of_judge(config: Config) -> int:
    return int(getattr(config, "judge_gpus", 0))


def _few_gpus(config: Config, machine: Machine) -> Lack | None:
    """The lack of GPUs: fewer are here than the stage takes, or one of the numbers that it names does not exist."""
    chosen = config.gpus or ()
    enough = max(config.devices + _of_judge(config), *(number + 1 for number in chosen), 0)
    if config.device == "cpu" or len(machine.gpus) >= enough:
        return None
    here = len(machine.gpus) or "none"
    named = f", among them number {max(chosen)}" if enough > config.devices + _of_judge(config) else ""
    return Lack(f"needs {gpus(config)}{named}, here {here}")


def _hint_for_judge(config: Config, machine: Machine, overlays: Collection[str]) -> str | None:
    return judges(overlays) if _of_judge(config) and len(machine.gpus) >= config.devices else None


def refuse_no_judge(config: Config, overlays: Collection[str] = USUAL_OVERLAYS) -> None:
    """Refuse a stage whose reward asks a judge that nobody has named, before anything is read or installed."""
    if _of_judge(config) and config.reward.judge.endpoint is None:
        raise ConfigError(f"the reward asks a judge, and none is named (this stage: {gpus(config)})", judges(overlays))


def refuse_few_gpus(config: Config, machine: Machine, overlays: Collection[str] = USUAL_OVERLAYS) -> None:
    """Raises SetupError: the stage needs more GPUs; that is known before anything is read or installed."""
    lack = _few_gpus(config, machine)
    if lack:
        hint = _hint_for_judge(config, machine, overlays) or machine.trouble or "virc doctor says what fits here"
        raise SetupError(f"this stage {lack.clause}", hint)


def refuse_unfit(
    needed: Estimate, config: Config, machine: Machine, overlays: Collection[str] = USUAL_OVERLAYS
) -> None:
    """Raises SetupError: GPUs, memory or disk do not suffice; names the two largest parts, and what would cut them."""
    lack = next(lacking(needed, config, machine, free=True), None)
    if lack is None:
        return
    cures = _cures(lack.terms[:2], config, overlays) or _cures(lack.terms, config, overlays)[:1]
    hint = lack.other_gpus or " or ".join(cures) or machine.trouble or "virc doctor says what fits here"
    parts = " and ".join(f"{term.name} {size_text(term.gib)}" for term in lack.terms[:2])
    raise SetupError(f"this stage {lack.clause}{f'; most of it: {parts}' if parts else ''}", hint)


def _cures(terms: tuple[Term, ...], config: Config, overlays: Collection[str] = USUAL_OVERLAYS) -> list[str]:
    return list(dict.fromkeys(way for term in terms if (way := cure(term.name, config, overlays))))


def cure(term: str, config: Config, overlays: Collection[str] = USUAL_OVERLAYS) -> str | None:
    """What makes a part of an estimate smaller; None if nothing simple does."""
    ways: dict[str, bool] = {}  # option -> whether it would help; the first that does is returned
    adapter = "--with lora" if "lora" in overlays else "--set lora={}"
    batch, micro = config.train_batch_size, config.micro_batch_size_per_device
    note = ", with which short rows weigh more," if type(config) is sft.Config else ""  # see the notes of a dry run
    if term in _STATE:
        ways = {adapter: config.lora is None}
        if hasattr(config, "zero"):  # DeepSpeed can have less of it on one device; FSDP has spread it already
            offload = config.zero > 0 and not config.offload and config.device == "cuda"
            ways["--set zero=3"] = config.devices * config.nodes > 1 and config.zero < 3
            ways["--set offload=true"] = offload
    elif term in _BY_ROWS:
        ways = {
            "--set gradient_checkpointing=true": not config.gradient_checkpointing,
            "--set use_liger=true": not config.use_liger and config.device == "cuda" and hasattr(config, "zero"),
            f"--set micro_batch_size_per_device={micro // 2}{note}": micro > 1,
            _shorter(config): True,
        }
    elif term == "vision tower":
        ways = {f"--set max_pixels={config.max_pixels // 2}": hasattr(config, "cutoff_len"), _shorter(config): True}
    elif term == "image readers":
        ways = {f"--set loaders={config.loaders // 2}": True}
    elif term == "images of a step":
        ways = {f"--set train_batch_size={batch // 2} --set ppo_mini_batch_size={batch // 2}": batch > 1}
    elif term == "left unused":
        ways = {"--set sampler_memory=0.8": config.sampler_memory < 0.8}
    elif term == "reference model":
        ways = {"--set kl_loss_coef=0": True}
    elif term in _WEIGHTS:
        ways = {"a smaller base": True}
    elif term in {"weights", "resume state"}:
        ways = {"--set save_total_limit=1": config.save_total_limit != 1, adapter: config.lora is None}
    return next((way for way, helps in ways.items() if helps), None)


def _shorter(config: Config) -> str:
    length = "cutoff_len" if hasattr(config, "cutoff_len") else "prompt_length"
    return f"--set {length}={getattr(config, length) // 2} --set max_pixels={config.max_pixels // 2}"


def _devices(config: Config) -> str:
    nodes = f" on each of {config.nodes} nodes" if config.nodes > 1 else ""
    if config.device == "cuda":
        return f"{gpus(config)}{nodes}"
    return f"{config.devices} process{'es' if config.devices > 1 else ''}{nodes}"


def size_text(gib: float) -> str:
    """A size for people: MB below 1 GiB, so that no two sizes that are compared read `0.0`."""
    if gib < 1:
        return f"{gib * 1024:.3g} MiB"
    return f"{gib:.0f} GiB" if gib >= 100 else f"{gib:.1f} GiB"
