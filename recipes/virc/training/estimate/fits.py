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
_SAVED = {"weights", "resume state"}

ShapeOf = Callable[[str], Shape | None]
Config = Any
"""The settings of a stage of any kind."""

USUAL_OVERLAYS = frozenset({"lora", "judge-split", "rules"})
"""Overlays that advice names if a system has them."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether a stage with some overlays runs on a machine; `device_gib` is the memory of a device, if it is known."""

    overlays: tuple[str, ...]
    fits: bool | None
    needs: str
    why: str | None = None
    helps: str | None = None
    device_gib: float | None = None


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


def judge(system: System, stage: str, machine: Machine, shape_of: ShapeOf) -> list[Verdict]:
    """Judge every sensible combination of a stage's overlays: one for the hardware, the base, an adapter or none.

    Rows as long as the stage's cutoff are assumed. `helps` of a combination that does not fit names the fewest further
    overlays with which it does, if there are any.
    """
    verdicts = [verdict(system, stage, names, machine, shape_of) for names in combinations(system, stage)]
    fitting = [{*each.overlays} for each in verdicts if each.fits]
    for index, each in enumerate(verdicts):
        further = [sorted(names - {*each.overlays}) for names in fitting if {*each.overlays} < names]
        if each.fits is False and further:
            fewest: list[str] = min(further, key=len)
            verdicts[index] = msgspec.structs.replace(each, helps=f"add {','.join(fewest)}")
    return verdicts


def verdict(system: System, stage: str, overlays: tuple[str, ...], machine: Machine, shape_of: ShapeOf) -> Verdict:
    resolved = stages.resolve(system, stage, overlays)
    config, root = resolved.config, stages.root_of(resolved)
    if (shape := shape_of(root)) is None:
        few = _few_gpus(config, machine)
        unknown = f"the base {root} is not on this machine, and its sizes are not known"
        return Verdict(overlays, False if few else None, _devices(config), few.clause if few else unknown)
    needed, helps = estimate(config, shape, config.longest), None
    lack = next(lacking(needed, config, machine), None)
    if lack and _judge_may_move(config, machine):
        without_judge = msgspec.structs.replace(config, judge_gpus=0)
        helps = f"--judge-endpoint URL, or {_without_judge(system.overlays)}, leaves out the judge's"
        lack = next(lacking(needed, without_judge, machine), lack)
    if lack and lack.terms:
        helps = lack.other_gpus or next(
            (f"less with {way}" for way in _cures(lack.terms, config, system.overlays)), None
        )
    memory = f" with {size_text(needed.device_gib)} each" if config.device == "cuda" else ""
    needs = f"{_devices(config)}{memory}, {size_text(needed.host_gib)} of main memory"
    return Verdict(overlays, lack is None, needs, lack.clause if lack else None, helps, needed.device_gib)


def combinations(system: System, stage: str) -> Iterator[tuple[str, ...]]:
    """Combinations of at most one overlay each for the hardware, for the base alone, and for an adapter."""
    of_all = {name: [each.settings, *each.stages.values()] for name, each in system.overlays.items()}
    bases = [name for name, parts in of_all.items() if {key for part in parts for key in part} == {"base"}]
    settings = {
        name: each.settings.keys() | each.stages.get(stage, {}).keys() for name, each in system.overlays.items()
    }
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


def lacking(needed: Estimate, config: Config, machine: Machine, free: bool = False) -> Iterator[Lack]:
    """What a machine lacks for a stage; with `free`, memory in use by others does not count as there."""
    if few := _few_gpus(config, machine):
        yield few
    elif config.device == "cuda":
        sizes = [gpu.free_gib if free else gpu.gib for gpu in machine.gpus]
        # torch takes the first ones if none are named; the smallest must hold what one device needs.
        least = min(config.gpus or range(config.devices), key=sizes.__getitem__)
        if needed.device_gib > sizes[least]:
            has = f"GPU {least} has {size_text(sizes[least])}{' free' if free else ''}"
            others = [index for index, size in enumerate(sizes) if size >= needed.device_gib][: config.devices]
            enough = len(others) == config.devices and not _of_judge(config)
            option = f"--set gpus=[{','.join(map(str, others))}]" if enough else None
            yield Lack(f"needs {size_text(needed.device_gib)} a device, {has}", needed.terms, option)
    memory = machine.free_gib if free else machine.memory_gib
    if needed.host_gib > memory:
        terms = needed.host if config.device == "cuda" else needed.terms
        clause = f"needs {size_text(needed.host_gib)} of main memory, {'free' if free else 'here'} {size_text(memory)}"
        yield Lack(clause, terms)
    if needed.disk_gib is not None and needed.disk_gib > machine.disk_gib:
        clause = f"needs {size_text(needed.disk_gib)} of disk, free {size_text(machine.disk_gib)}"
        yield Lack(clause, needed.disk or ())


def _few_gpus(config: Config, machine: Machine) -> Lack | None:
    """The lack of GPUs: fewer are here than the stage takes, or one of the numbers that it names does not exist."""
    taken, here = config.devices + _of_judge(config), len(machine.gpus)
    highest = max(config.gpus or (-1,))
    if config.device == "cpu" or here >= max(taken, highest + 1):
        return None
    named = f", among them number {highest}" if highest >= taken else ""
    return Lack(f"needs {gpus(config)}{named}, here {here or 'none'}")


def refuse_no_judge(config: Config, overlays: Collection[str] = USUAL_OVERLAYS) -> None:
    """Refuse a stage whose reward asks a judge that nobody has named, before anything is read or installed."""
    if _of_judge(config) and config.reward.judge.endpoint is None:
        raise ConfigError(f"the reward asks a judge, and none is named (this stage: {gpus(config)})", judges(overlays))


def refuse_few_gpus(config: Config, machine: Machine, overlays: Collection[str] = USUAL_OVERLAYS) -> None:
    """Raises SetupError: the stage needs more GPUs; that is known before anything is read or installed."""
    if lack := _few_gpus(config, machine):
        elsewhere = judges(overlays) if _judge_may_move(config, machine) else None
        raise SetupError(f"this stage {lack.clause}", elsewhere or machine.trouble or "virc doctor says what fits here")


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


def _cures(terms: tuple[Term, ...], config: Config, overlays: Collection[str]) -> list[str]:
    return list(dict.fromkeys(way for term in terms if (way := cure(term.name, config, overlays))))


def cure(term: str, config: Config, overlays: Collection[str] = USUAL_OVERLAYS) -> str | None:
    """What makes a part of an estimate smaller; None if nothing simple does."""
    adapter = "--with lora" if "lora" in overlays else "--set lora={}"
    of_deepspeed = hasattr(config, "zero")  # it can have less on one device; FSDP has spread it already
    zero, cuda = config.zero if of_deepspeed else 3, config.device == "cuda"
    batch, micro = config.train_batch_size, config.micro_batch_size_per_device
    note = ", with which short rows weigh more," if type(config) is sft.Config else ""  # see the notes of a dry run
    length = "cutoff_len" if hasattr(config, "cutoff_len") else "prompt_length"
    pixels = f"--set max_pixels={config.max_pixels // 2}"
    ways = (  # terms, what makes them smaller, and whether it would; the first that does is returned
        (_SAVED, "--set save_total_limit=1", config.save_total_limit != 1),
        (_STATE | _SAVED, adapter, config.lora is None),
        (_STATE, "--set zero=3", zero < 3 and config.devices * config.nodes > 1),
        (_STATE, "--set offload=true", of_deepspeed and zero > 0 and not config.offload and cuda),
        (_BY_ROWS, "--set gradient_checkpointing=true", not config.gradient_checkpointing),
        (_BY_ROWS, "--set use_liger=true", of_deepspeed and not config.use_liger and cuda),
        (_BY_ROWS, f"--set micro_batch_size_per_device={micro // 2}{note}", micro > 1),
        ({"vision tower"}, pixels, length == "cutoff_len"),
        (_BY_ROWS | {"vision tower"}, f"--set {length}={getattr(config, length) // 2} {pixels}", True),
        (_WEIGHTS, "a smaller base", True),
        ({"image readers"}, f"--set loaders={getattr(config, 'loaders', 0) // 2}", True),
        (
            {"images of a step"},
            f"--set train_batch_size={batch // 2} --set ppo_mini_batch_size={batch // 2}",
            batch > 1,
        ),
        ({"left unused"}, "--set sampler_memory=0.8", getattr(config, "sampler_memory", 1) < 0.8),
        ({"reference model"}, "--set kl_loss_coef=0", True),
    )
    return next((way for terms, way, helps in ways if term in terms and helps), None)


def judges(overlays: Collection[str] = USUAL_OVERLAYS) -> str:
    """The hint for a stage without a judge: how to get one, or to do without."""
    ways = ["--judge-endpoint URL of one that is served elsewhere"]
    if "judge-split" in overlays:
        ways.append("--with judge-split for one on four of these GPUs (virc serve judge --gpus 4,5,6,7 --port 8005)")
    ways.append("a smaller one, such as virc serve judge-72b-awq --gpus N")
    return "; ".join((*ways, f"or {_without_judge(overlays)}, which needs none"))


def _without_judge(overlays: Collection[str]) -> str:
    return "--with rules" if "rules" in overlays else "--set reward.total=outcome"


def _judge_may_move(config: Config, machine: Machine) -> bool:
    return bool(_of_judge(config)) and len(machine.gpus) >= config.devices


def _of_judge(config: Config) -> int:
    return int(getattr(config, "judge_gpus", 0))


def gpus(config: Config) -> str:
    """The GPUs of a stage on one node, the judge's counted: `8 GPUs`, `policy 8 + judge 4 GPUs`."""
    if judge := _of_judge(config):
        return f"policy {config.devices} + judge {judge} GPUs"
    return f"{config.devices} GPU{'s' if config.devices > 1 else ''}"


def _devices(config: Config) -> str:
    processes = f"{config.devices} process{'es' if config.devices > 1 else ''}"
    nodes = f" on each of {config.nodes} nodes" if config.nodes > 1 else ""
    return (gpus(config) if config.device == "cuda" else processes) + nodes


def size_text(gib: float) -> str:
    """A size for people: MB below 1 GiB, so that no two sizes that are compared read `0.0`."""
    if gib < 1:
        return f"{gib * 1024:.3g} MiB"
    return f"{gib:.0f} GiB" if gib >= 100 else f"{gib:.1f} GiB"
