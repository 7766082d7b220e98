"""`virc train --dry-run`: all that the engine would get."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from virc.cluster import submitting
from virc.cluster.site import Site, judge_of, read_site
from virc.core.errors import fields_of
from virc.stages.resolve import Resolved
from virc.training.estimate import fits
from virc.training.prepare import prepare
from virc.training.prepared import Prepared
from virc.training.request import TrainRequest
from virc_cli.console import events, output, plans


def run(request: TrainRequest, quiet: bool, as_json: bool) -> None:
    with events.printed(quiet, verbose=False) as report:
        found = prepare(request, report, dry_run=True)
    if not as_json:
        _print(found)
    elif found.over:
        output.know(**_fields(found))
    else:
        output.emit("virc.train.plan/1", _fields(found))
    if found.over:
        raise found.over


def _print(found: Prepared) -> None:
    assert found.plan
    _print_needs(found)
    output.line("")
    plans.show(found.plan)
    output.lines(["\n# what is trained", *_trained(found)])
    if notes := found.resolved.notes:
        output.lines(["\n# notes", *notes])
    for error in found.missing or ():
        output.warn(error.message, error.hint)
    if found.checked is None:
        output.warn("the rows were not checked", "a run checks them before it begins")


def run_site(file: Path, quiet: bool) -> None:
    with events.printed(quiet, verbose=False) as report:
        submitting.check_site(read_site(file, os.environ), str(file), report)
    output.line(f"{file} can be used; with --stage NAME the job is checked, too")


def _trained(found: Prepared) -> Iterator[str]:
    if found.shape is None:
        yield "not known: the sizes of the base are not here"
        return
    lora, trained = found.resolved.config.lora, found.trained
    for part, count in found.shape.parameters().items():
        if not trained[part]:
            yield f"{part:12}frozen, {count:,} parameters"
        elif lora:
            layers = "all linear layers" if lora.targets == ("all",) else ", ".join(lora.targets)
            adapter = f"adapter of rank {lora.rank}, alpha {lora.alpha:g}, on {layers}"
            yield f"{part:12}{adapter}: {trained[part]:,} parameters"
        else:
            yield f"{part:12}trained, {count:,} parameters"


def _print_needs(found: Prepared) -> None:
    resolved, needed = found.resolved, found.needed
    output.line(f"# estimate for rows of {resolved.config.longest} tokens")
    if resolved.config.device == "cuda":
        taken, here = fits.gpus(resolved.config, resolved.config.nodes, _judge_gpus(found)), _gpus_here(found)
        output.line(taken if here is None else f"{taken}; here {here}")
    if needed is None:
        output.line("not known: the sizes of the base are not here" + _instead(resolved))
        return
    host = needed.host if resolved.kind == "rl" else ()
    sections = (("a device", needed.device_gib, needed.terms), ("main memory of a machine", needed.host_gib, host))
    for title, gib, terms in sections:
        output.line(f"{gib:8.3g} GiB  {title}")
        for term in terms:
            output.line(f"{term.gib:8.3g} GiB    {term.name}: {term.formula}")
    for term in needed.disk or ():
        output.line(f"{term.gib:8.3g} GiB  disk, {term.name}: {term.formula}")
    if needed.judge_calls:
        fewest, most = needed.judge_calls
        output.line(f"{fewest:,} to {most:,} questions to the judge a step")


def _gpus_here(found: Prepared) -> int | None:
    """The GPUs of this machine; None: a cluster runs the stage."""
    return len(found.machine.gpus) if found.machine and not found.target else None


def _judge_gpus(found: Prepared) -> int:
    """The GPUs of the judge that the job serves."""
    config, target = found.resolved.config, found.target
    judge = judge_of(msgspec.to_builtins(config), target) if isinstance(target, Site) else None
    return judge.gpus or int(config.devices) if judge else 0


def _instead(resolved: Resolved) -> str:
    """What estimates a stage whose base `--from` names and is not here yet: a base of the system's overlays."""
    bases = fits.base_overlays(resolved.system) if resolved.origins.get("base") == "option" else ()
    ways = " | ".join(",".join((base, *(name for name in resolved.overlays if name not in bases))) for base in bases)
    return f"; for a base of the same size: --with {ways}, without --from" if ways else ""


def _fields(found: Prepared) -> dict[str, Any]:
    assert found.plan
    config = found.resolved.config
    return {
        **plans.fields(found.plan),
        "notes": list(found.resolved.notes),
        "changes": [msgspec.to_builtins(change) for change in found.plan.changes],
        "trained": found.trained or None,
        "estimate": None if found.needed is None else msgspec.to_builtins(found.needed),
        "gpus": {
            "policy": config.devices if config.device == "cuda" else 0,
            "judge": getattr(config, "judge_gpus", 0),
            "here": _gpus_here(found),
        },
        "rows": None if found.checked is None else found.checked.rows,
        "longest": None if found.checked is None else found.checked.longest,
        "missing": [fields_of(error) for error in found.missing or ()],
    }
