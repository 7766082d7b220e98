"""Which overlays of a stage fit a machine, and what the others lack.

`verdict` judges one combination of overlays, for `virc doctor`; `refuse_unfit` raises errors before a run.
Both compare what a stage needs with the machine by `lacking`.
"""

from collections.abc import Callable, Collection, Iterator
from itertools import product
from typing import Any

import msgspec

from virc.core.errors import ConfigError, SetupError
from virc.core.options import spelled_hint
from virc.envs.hardware import Machine
from virc.models.sizes import Shape
from virc.stages import resolve as stages
from virc.stages.resolve import Resolved
from virc.stages.sft import Lora
from virc.systems.registry import System
from virc.training.estimate.needs import Estimate, Term, estimate

ShapeOf = Callable[[str], Shape | None]
Config = Any
"""The settings of a stage of any kind."""


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
        helps: what to type, if a single option makes it less.
        terms: what takes it, the largest first.
    """

    clause: str
    helps: str | None = None
    terms: tuple[Term, ...] = ()


def verdict(resolved: Resolved, machine: Machine, shape_of: ShapeOf, free: bool = False) -> Verdict:
    """Judge one combination; rows as long as the stage's cutoff are assumed. `free`: as of `lacking`."""
    config, root, needs = resolved.config, stages.root_of(resolved), _devices(resolved.config)
    shape = shape_of(root)
    needed = estimate(config, shape, config.longest) if shape else None
    overlays = resolved.system.overlays
    lack = lacking(config, machine, needed, overlays, free)
    if lack is None and shape and needed:
        lack = over_target(config, shape, needed, overlays)
    why, helps = (lack.clause, spelled_hint(lack.helps)) if lack else (None, None)
    if needed is None:
        unknown = f"the base {root} is not on this machine, and its sizes are not known"
        return Verdict(resolved.overlays, False if lack else None, needs, why or unknown, helps)
    memory = f" with {size_text(needed.device_gib)} each" if config.device == "cuda" else ""
    needs += f"{memory}, {size_text(needed.host_gib)} of main memory"
    return Verdict(resolved.overlays, lack is None, needs, why, helps, needed.device_gib)


def combinations(system: System, stage: str) -> Iterator[Resolved]:
    """At most one overlay each for the hardware, for the base alone, and for an adapter; none repeats another."""
    in_stage = {name: {*each.settings, *each.stages.get(stage, {})} for name, each in system.overlays.items()}
    hardware = [name for name, keys in in_stage.items() if keys & {"device", "devices"}]
    adapters = [name for name, keys in in_stage.items() if "lora" in keys]
    seen = []
    for machine, base, adapter in product([*hardware, ""], [*base_overlays(system), ""], ["", *adapters]):
        try:
            resolved = stages.resolve(system, stage, [name for name in (base, adapter, machine) if name])
        except ConfigError:  # two of them exclude one another
            continue
        settings = stages.root_of(resolved), resolved.config
        if settings not in seen:
            seen.append(settings)
            yield resolved


def base_overlays(system: System) -> list[str]:
    """The overlays that choose the base alone."""
    anywhere = {name: {*each.settings}.union(*each.stages.values()) for name, each in system.overlays.items()}
    return [name for name, keys in anywhere.items() if keys == {"base"}]


def lacking(
    config: Config, machine: Machine, needed: Estimate | None, overlays: Collection[str] = (), free: bool = False
) -> Lack | None:
    """The first thing that a machine lacks for a stage.

    Args:
        needed: None: not known yet, so GPUs are counted only.
        overlays: of the system; hints name them.
        free: leave out memory that others use.
    """
    cuda, taken, here = config.device == "cuda", config.devices + _judge_gpus(config), len(machine.gpus)
    highest = max(config.gpus or (-1,))
    if cuda and here < max(taken, highest + 1):
        named = f", among them number {highest}" if highest >= taken else ""
        elsewhere = judges(overlays) if taken > config.devices and here >= config.devices else None
        return Lack(f"needs {gpus(config)}{named}, here {here or 'none'}", elsewhere)
    if needed is None:
        return None
    if cuda:
        sizes = [gpu.free_gib if free else gpu.gib for gpu in machine.gpus]
        # torch takes the first ones if none are named; the smallest must hold what one device needs.
        least = min(config.gpus or range(config.devices), key=sizes.__getitem__)
        if needed.device_gib > sizes[least]:
            has = f"GPU {least} has {size_text(sizes[least])}{' free' if free else ''}"
            clause = f"needs {size_text(needed.device_gib)} a device, {has}"
            return Lack(clause, _smaller(config, overlays)[0], needed.terms)
    memory, where = (machine.free_gib, "free") if free else (machine.memory_gib, "here")
    if needed.host_gib > memory:
        clause = f"needs {size_text(needed.host_gib)} of main memory, {where} {size_text(memory)}"
        return Lack(clause, None, needed.host) if cuda else Lack(clause, _smaller(config, overlays)[0], needed.terms)
    if needed.disk_gib is not None and needed.disk_gib > machine.disk_gib:
        clause = f"needs {size_text(needed.disk_gib)} of disk, free {size_text(machine.disk_gib)}"
        return Lack(clause, "«--set save_total_limit=1»" if config.save_total_limit != 1 else None, needed.disk or ())
    return None


def over_target(config: Config, shape: Shape, needed: Estimate, overlays: Collection[str] = ()) -> Lack | None:
    """What the GPUs of `device_gib` lack for a stage; the help names all settings that together make it fit."""
    target = config.device_gib if config.device == "cuda" else None
    if target is None or needed.device_gib <= target:
        return None
    clause = f"needs {size_text(needed.device_gib)} a device, and is for GPUs with {size_text(target)} (device_gib)"
    options, smaller, gib = list[str](), config, needed.device_gib
    while gib > target and smaller.longest > _SHORTEST:
        option, changes = _smaller(smaller, overlays)
        options = [each for each in options if each.partition("=")[0] != option.partition("=")[0]] + [option]
        smaller = msgspec.structs.replace(smaller, **changes)
        gib = estimate(smaller, shape, smaller.longest).device_gib
    fitting = " ".join(options) if gib <= target else "a larger GPU"
    return Lack(clause, f"{fitting}; or «--set device_gib=null», which starts it as it is", needed.terms)


_SHORTEST = 1024
"""Tokens; no shorter prompts or rows are proposed."""


def _smaller(config: Config, overlays: Collection[str]) -> tuple[str, dict[str, Any]]:
    """What saves most of a device's memory: an adapter; if there is one, fewer rows at a time; then shorter ones."""
    if config.lora is None:
        return "«--with lora»" if "lora" in overlays else "«--set lora={}»", {"lora": Lora()}
    lengths = [name for name in ("response_length", "cutoff_len", "prompt_length") if hasattr(config, name)]
    name = max(lengths, key=lambda each: int(getattr(config, each)))
    if config.micro_batch_size_per_device > 1:
        name = "micro_batch_size_per_device"
    value = getattr(config, name) // 2
    return f"«--set {name}={value}»", {name: value}


def refuse_unfit(
    config: Config, machine: Machine, needed: Estimate | None = None, overlays: Collection[str] = ()
) -> None:
    """Raises SetupError: GPUs, memory or disk do not suffice; names the two largest parts, and what would cut them.

    Without `needed`, GPUs alone are counted: that is known before anything is read or installed.
    """
    if lack := lacking(config, machine, needed, overlays, free=True):
        raise refusal(lack, machine.trouble or "virc doctor says what fits here")


def refusal(lack: Lack, hint: str | None = None) -> SetupError:
    """The error of a stage that does not fit; `hint` is used if `lack` names no help."""
    parts = " and ".join(f"{term.name} {size_text(term.gib)}" for term in lack.terms[:2])
    return SetupError(f"this stage {lack.clause}{f'; most of it: {parts}' if parts else ''}", lack.helps or hint)


def judges(overlays: Collection[str]) -> str:
    """The hint for a stage without a judge: how to get one, or to do without."""
    split = (
        "«--with judge-split» and virc serve judge --gpus 4,5,6,7 --port 8005; " if "judge-split" in overlays else ""
    )
    rules = "«--with rules»" if "rules" in overlays else "«--set reward.total=outcome»"
    served = "«--judge-endpoint URL» of one that is served (virc serve judge-72b-awq --gpus N)"
    return f"{served}; {split}or {rules}, which needs none"


def _judge_gpus(config: Config) -> int:
    return int(getattr(config, "judge_gpus", 0))


def gpus(config: Config, nodes: int = 1, judge: int = 0) -> str:
    """The GPUs of a stage on its nodes: `8 GPUs`, `policy 8 + judge 4 GPUs`; `judge`: of one that its job serves."""
    policy, judge = config.devices * nodes, judge or _judge_gpus(config)
    if judge:
        return f"policy {policy} + judge {judge} GPUs"
    return f"{policy} GPU{'s' if policy > 1 else ''}"


def _devices(config: Config) -> str:
    processes = f"{config.devices} process{'es' if config.devices > 1 else ''}"
    nodes = f" on each of {config.nodes} nodes" if config.nodes > 1 else ""
    return (gpus(config) if config.device == "cuda" else processes) + nodes


def size_text(gib: float) -> str:
    """A size for people: MB below 1 GiB, so that no two sizes that are compared read `0.0`."""
    if gib < 1:
        return f"{gib * 1024:.3g} MiB"
    return f"{gib:.0f} GiB" if gib >= 100 else f"{gib:.1f} GiB"
