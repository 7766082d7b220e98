"""`virc doctor`: what this machine has, which stages and overlays run on it, and how a server and its model speak."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from virc.core.errors import SetupError, UsageError, VircError
from virc_cli.console import completion, output
from virc_cli.console.options import Json, Quiet, Verbose, With, argument, flag, names_of, option
from virc_cli.console.tables import named_values, words

if TYPE_CHECKING:
    from virc.training.estimate.fits import Verdict

FAILURE: dict[str, object] = dict.fromkeys(
    "versions extras cache machine environments servers sandbox limits telemetry system stages probe".split()
)
_MAX_LINES = 15  # of the summary
_FITS = {True: "fits", False: "no", None: "?"}


def command(
    system: Annotated[
        str, argument("[SYSTEM]", "System, by name or YAML file.", show_default=True, autocompletion=completion.systems)
    ] = "virc",
    stage: Annotated[str | None, option("NAME", "Check this stage only; exit 4 if it cannot run here.")] = None,
    overlays: With = None,
    endpoint: Annotated[str | None, option("URL", "Probe this server: boxes, pictures, tool calls, limits.")] = None,
    model: Annotated[str | None, option("NAME", "Model of the endpoint.")] = None,
    timeout: Annotated[float | None, option("SECONDS", "With --endpoint: time limit of a reply.")] = None,
    everything: Annotated[bool, flag("--all", "Print all that is known, and why overlays do not fit.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Print what works on this machine, and what to type next.

    For each stage of a system: the overlays that fit; with --all or --stage, also why the others do not. Rows as long
    as the stage's cutoff are assumed; `virc train` counts your own.

    With --endpoint, find out by at most seven requests how a server and its model count boxes, call tools, show
    pictures and take the turn after a crop. solve, eval, sample and serve --agent use the result.
    """
    if endpoint is not None or model is not None:
        from virc_cli.console import events

        with events.printed(quiet, verbose) as report:
            found = _probe(endpoint, model, timeout, report.send)
        if isinstance(found, str):
            output.result(as_json, "virc.doctor/1", FAILURE, [found])
        else:
            output.result(as_json, "virc.doctor/1", {**FAILURE, "probe": found}, named_values(_in_words(found)))
        return
    from functools import cache

    from virc.envs import hardware
    from virc.models import sizes
    from virc.stages import resolve as stages
    from virc.systems import registry as systems
    from virc.training.estimate import fits

    chosen, names, machine = systems.get(system), names_of(overlays), hardware.find(Path.cwd())
    if stage:
        stages.stage(chosen, stage)
    shape_of = cache(lambda name: sizes.of_base(name, Path.cwd()))
    judged = {
        each: [
            fits.verdict(resolved, machine, shape_of)
            for resolved in ([stages.resolve(chosen, each, names)] if names else fits.combinations(chosen, each))
        ]
        for each in ([stage] if stage else chosen.stages)
    }
    stages_found = [{"stage": name, "combinations": _plain(verdicts)} for name, verdicts in judged.items()]
    fields = {**_here(), "machine": _plain(machine), "system": chosen.name, "stages": stages_found}
    output.know(**fields)
    if not as_json and not (everything or stage):
        output.lines(_summary(fields, judged))
    elif not as_json:
        here = {name: value for name, value in fields.items() if name not in ("system", "stages")}
        broken = ", ".join(each["name"] for each in fields["limits"] if not each["holds"])
        here["sandbox"] = fields["sandbox"] or f"of the tool python; limits that DO NOT HOLD: {broken or 'none'}"
        output.lines((*named_values(here), *_stage_lines(chosen.name, judged)))
    if stage and not any(verdict.fits for verdict in judged[stage]):
        verdicts = judged[stage]
        why = verdicts[0].why if len(verdicts) == 1 else "no combination of its overlays fits this machine"
        helps = verdicts[0].helps if len(verdicts) == 1 else None
        raise SetupError(
            f"{chosen.name} {stage} cannot run here: {why}", helps or "train on a cluster: --launcher slurm"
        )
    if as_json:
        output.emit("virc.doctor/1", {**FAILURE, **fields})


def _summary(fields: Mapping[str, Any], judged: "Mapping[str, Sequence[Verdict]]") -> Iterator[str]:
    """At most 15 lines: what works here, and what to type next."""

    from virc.config import user
    from virc.models.registry import EMBEDDED

    chosen = user.values(user.chosen())
    machine, system, servers = fields["machine"], fields["system"], fields["servers"]
    gpus = ", ".join(f"{gpu['name']} ({gpu['gib']:.0f} GiB)" for gpu in machine["gpus"]) or "no GPU"
    ready = [f"{each['engine']}-{each['device']}" for each in fields["environments"] if each["state"] == "ready"]
    missing = [each["name"] for each in fields["extras"] if each["missing"]]
    broken = ", ".join(each["name"] for each in fields["limits"] if not each["holds"])
    at = f" at {chosen.endpoint}" if chosen.endpoint else ""
    head = [*named_values({
        "virc": f"{fields['versions']['virc']}, python {fields['versions']['python']}",
        "machine": f"{machine['cores']} cores, {machine['memory_gib']:.1f} GiB, {machine['disk_gib']:.0f} GiB of disk, "
        f"{gpus}",
        **({"trouble": machine["trouble"]} if machine.get("trouble") else {}),
        "model": f"{chosen.model or ('the served one' if at else f'{EMBEDDED}, in the package')}{at}",
        "servers": servers[:3] or "none on the usual ports of this machine",
        "engines": f"{', '.join(ready)}: ready" if ready else "none yet: virc train makes the one that it needs",
        "extras": f"not installed: {', '.join(missing)}" if missing else "all are installed",
        "sandbox": fields["sandbox"] or (f"limits that DO NOT HOLD: {broken}" if broken else "its limits hold"),
    })]  # fmt: skip
    yield from head
    for stage, verdicts in islice(judged.items(), _MAX_LINES - 2 - len(head)):
        fitting = [_overlays(verdict) for verdict in verdicts if verdict.fits]
        shown = f"fits with {'; '.join(fitting[:3])}" if fitting else f"fits in none of {len(verdicts)} ways"
        if not fitting and any(verdict.fits is None for verdict in verdicts):
            shown = "not known to fit"
        yield f"{stage:<13} {shown}; virc doctor {system} --stage {stage}"
    server = next((each for each in servers if each["models"]), None)
    if server and not at:
        yield f"next: virc solve figure.png 'QUESTION' --endpoint {server['endpoint']} --model {server['models'][0]}"
    else:
        yield "next: virc solve figure.png 'QUESTION'"
    yield "virc doctor --all prints the rest"


def _overlays(verdict: "Verdict") -> str:
    return ",".join(verdict.overlays) or "no overlay"


def _plain(found: object) -> Any:
    import msgspec

    return msgspec.to_builtins(found)


def _here() -> dict[str, Any]:
    import os
    import platform
    from importlib.metadata import version

    from virc.config import user
    from virc.core import extras
    from virc.engines.environment import SILENT
    from virc.envs import making
    from virc.probing.servers import local_servers
    from virc.tools import registry as tools

    try:
        limits = getattr(tools.discover().get("python"), "limits", None)
        trouble, holding = (None, limits()) if limits else ("the tool python is not installed", ())
    except VircError as error:
        trouble, holding = error.message, ()
    return {
        "versions": {"virc": version("virc"), "python": platform.python_version()},
        "extras": _plain(extras.discover()),
        "cache": str(user.cache_folder(os.environ)),
        "environments": making.all_rows(),
        "servers": _plain(local_servers()),
        "sandbox": trouble,
        "limits": _plain(holding),
        "telemetry": {"off": True, "variables": dict(SILENT)},
    }


_PROBE_LINES = {
    "endpoint": ("endpoint", "{}"),
    "model": ("model", "{}"),
    "server": ("server", "{}"),
    "family": ("family", "{}"),
    "coordinates": ("boxes in", "{}"),
    "box": ("box order", "{}"),
    "scaling": ("scaling", "{}"),
    "longest": ("longest side", "{} pixels; larger pictures are scaled down"),
    "max_pixels": ("most pixels", "{}"),
    "min_pixels": ("least pixels", "{}; smaller pictures are enlarged"),
    "ordered": ("order", "pictures in their order: {}"),
    "images": ("pictures", "{} in a conversation were seen"),
    "calls": ("tool calls", "{}"),
    "zoomed": ("crops", "seen after a call: {}"),
    "zoom_refused": ("refused", "the turn after a call: {}"),
    "thoughts": ("thoughts", "{}"),
    "context": ("context", "{} tokens"),
    "left_out": ("not sent", "{}"),
    "requests": ("requests", "{} were sent"),
    "ended": ("ended early", "{}"),
    "file": ("file", "{}"),
}
"""Label and words of each field of a probe that a person reads; the others are for the next probe, and `--json`."""


def _in_words(probed: Mapping[str, Any]) -> dict[str, str]:
    """What was found, by label; a field without a value has no line."""
    found = {name: probed[name] for name in _PROBE_LINES if probed[name] not in (None, "", [])}
    plain = {
        name: {True: "yes", False: "no"}[value] if isinstance(value, bool) else words(value)
        for name, value in found.items()
    }
    return {_PROBE_LINES[name][0]: _PROBE_LINES[name][1].format(value) for name, value in plain.items()}


def _probe(endpoint: str | None, model: str | None, timeout: float | None, on_event: Any) -> dict[str, Any] | str:
    """What was found, or the sentence that there is nothing to find out."""

    from virc.config import user
    from virc.models.probe_endpoint import SECONDS, NoProbeNeededError, probe_endpoint

    flags = {"endpoint": endpoint, "model": model, "timeout": timeout}
    chosen = user.values(user.chosen(flags))
    if chosen.endpoint is None:
        raise UsageError("which endpoint?", "virc doctor --endpoint http://localhost:11434/v1")
    named = model or (chosen.model if endpoint is None else None)
    keys = {"api_key": chosen.api_key, "headers": chosen.headers}
    try:
        found, file = probe_endpoint(
            chosen.endpoint, named, **keys, timeout=chosen.timeout or SECONDS, on_event=on_event
        )
    except NoProbeNeededError as known:
        return f"{known.message}: {known.hint}"
    return {**_plain(found), "file": str(file) if file else None}


def _stage_lines(system: str, judged: "Mapping[str, Sequence[Verdict]]") -> Iterator[str]:
    for stage, verdicts in judged.items():
        yield f"\n{system} {stage}"
        width = max((len(_overlays(verdict)) for verdict in verdicts), default=0)
        for verdict in sorted(verdicts, key=lambda verdict: verdict.fits is not True):
            reason = f"{verdict.why or verdict.needs}{f'; {verdict.helps}' if verdict.helps else ''}"
            yield f"  {_FITS[verdict.fits]:<4} {_overlays(verdict):<{width}}  {reason}"
