"""`virc doctor`: what this machine has, which stages and overlays run on it, and how a server and its model speak."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from virc.core.errors import SetupError, UsageError, VircError
from virc_cli.console import completion, output
from virc_cli.console.options import Json, Quiet, Verbose, With, argument, names_of, option

if TYPE_CHECKING:
    from virc.probing.result import Probed
    from virc.training.estimate.fits import Verdict

FAILURE: dict[str, object] = dict.fromkeys(
    "versions extras cache machine environments servers sandbox limits telemetry system stages probe".split()
)
_FITS = {True: "fits", False: "no", None: "?"}
_CALLS = {"text": "text of the reply", "structured": "structured", "native": "structured, if the request lists tools"}
_YES = {True: "yes", False: "no", None: "unknown"}


def command(
    system: Annotated[
        str, argument("[SYSTEM]", "System, by name or YAML file.", show_default=True, autocompletion=completion.systems)
    ] = "virc",
    stage: Annotated[str | None, option("NAME", "Check this stage only; exit 4 if it cannot run here.")] = None,
    overlays: With = None,
    endpoint: Annotated[str | None, option("URL", "Probe this server: boxes, pictures, tool calls, limits.")] = None,
    model: Annotated[str | None, option("NAME", "Model of the endpoint.")] = None,
    timeout: Annotated[float | None, option("SECONDS", "With --endpoint: time limit of a reply.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Print what this machine has, and which stages fit it.

    For each stage of a system: the overlays that fit, and why the others do not. Rows as long as the stage's cutoff are
    assumed; `virc train` counts your own.

    With --endpoint, find out by at most seven requests how a server and its model count boxes, call tools, show
    pictures and take the turn after a crop. solve, eval, sample and serve --agent use the result.
    """
    if endpoint is not None or model is not None:
        from virc_cli.console import events

        with events.printed(quiet, verbose) as report:
            found, file = _probe(endpoint, model, timeout, report.send)
        output.result(as_json, "virc.doctor/1", {**FAILURE, "probe": {**_plain(found), "file": file}}, _probed(found))
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
        each: [fits.verdict(chosen, each, names, machine, shape_of)] if names
        else fits.judge(chosen, each, machine, shape_of)
        for each in ([stage] if stage else chosen.stages)
    }  # fmt: skip
    stages_found = [{"stage": name, "combinations": _plain(verdicts)} for name, verdicts in judged.items()]
    fields = {**_here(), "machine": _plain(machine), "system": chosen.name, "stages": stages_found}
    output.know(**fields)
    if not as_json:
        output.lines((*_lines(fields), *_stage_lines(chosen.name, judged)))
    if stage and not any(verdict.fits for verdict in judged[stage]):
        verdicts = judged[stage]
        why = verdicts[0].why if len(verdicts) == 1 else "no combination of its overlays fits this machine"
        helps = verdicts[0].helps if len(verdicts) == 1 else None
        raise SetupError(
            f"{chosen.name} {stage} cannot run here: {why}", helps or "train on a cluster: --launcher slurm"
        )
    if as_json:
        output.emit("virc.doctor/1", {**FAILURE, **fields})


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


def _probe(
    endpoint: str | None, model: str | None, timeout: float | None, on_event: Any
) -> "tuple[Probed, str | None]":
    import os

    from virc.config import user
    from virc.models.probe_endpoint import SECONDS, probe_endpoint

    flags = {"endpoint": endpoint, "model": model, "timeout": timeout}
    chosen = user.values(user.resolve(flags, os.environ, user.read_settings(user.config_path(os.environ))))
    if chosen.endpoint is None:
        raise UsageError("which endpoint?", "virc doctor --endpoint http://localhost:11434/v1")
    named = model or (chosen.model if endpoint is None else None)
    keys = {"api_key": chosen.api_key, "headers": chosen.headers}
    found, file = probe_endpoint(chosen.endpoint, named, **keys, timeout=chosen.timeout or SECONDS, on_event=on_event)
    return found, str(file) if file else None


def _lines(fields: Mapping[str, Any]) -> Iterator[str]:
    versions, machine, extras, trouble = (fields[name] for name in ("versions", "machine", "extras", "sandbox"))
    yield from _rows("virc", f"{versions['virc']}, Python {versions['python']}")
    installed = ", ".join(each["name"] for each in extras if not each["missing"])
    yield from _rows("extras", installed or "none", *(f"{e['name']}: {e['install']}" for e in extras if e["missing"]))
    yield from _rows("cache", fields["cache"])
    memory = f"{machine['memory_gib']:.1f} GiB of memory ({machine['free_gib']:.1f} free)"
    yield from _rows("machine", f"{machine['cores']} cores, {memory}, {machine['disk_gib']:.0f} GiB of disk free here")
    gpus = [
        f"{g['name']}, {g['gib']:.1f} GiB ({g['free_gib']:.1f} free), driver {g['driver']}" for g in machine["gpus"]
    ]
    yield from _rows("GPUs", *(gpus or [machine["trouble"] or "none"]))
    for index, env in enumerate(fields["environments"]):
        size = f", about {env['gib']} GiB" if env["state"] == "not made" else ""
        name = f"{env['engine']}-{env['device']}"
        yield from _rows("" if index else "environments", f"{name:<11} {env['state']}{size}")
    servers = [f"{s['endpoint']}  {', '.join([s['server'], *s['models']])}" for s in fields["servers"]]
    yield from _rows("servers", *(servers or ["none answers on the usual ports of this machine"]))
    code = f"none for the tool python: {trouble}" if trouble else "for the tool python: bubblewrap, libseccomp"
    holding = {True: "holds", False: "DOES NOT HOLD"}
    yield from _rows("sandbox", code, *(f"{e['name']:<21} {holding[e['holds']]}: {e['how']}" for e in fields["limits"]))
    yield from _rows("telemetry", "off in every engine: " + ", ".join(fields["telemetry"]["variables"]))


def _stage_lines(system: str, judged: "Mapping[str, Sequence[Verdict]]") -> Iterator[str]:
    for stage, verdicts in judged.items():
        yield f"\n{system} {stage}"
        names = {id(verdict): ",".join(verdict.overlays) or "no overlay" for verdict in verdicts}
        width = max(map(len, names.values()), default=0)
        for verdict in sorted(verdicts, key=lambda verdict: verdict.fits is not True):
            reason = f"{verdict.why or verdict.needs}{f'; {verdict.helps}' if verdict.helps else ''}"
            yield f"  {_FITS[verdict.fits]:<4} {names[id(verdict)]:<{width}}  {reason}"


def _probed(found: "Probed") -> Iterator[str]:
    from virc.probing.probe import MAX_REQUESTS, MAX_ZOOMS
    from virc.probing.servers import server_name
    from virc.reasoning.protocol import UNITS

    longest = f", with {found.longest} px a side at most" if found.longest else ""
    for name, content in (
        ("endpoint", found.endpoint),
        ("model", found.model + (f" on {server_name(found.server)}" if found.server else "")),
        ("family", found.family or "unknown"),
        ("boxes", f"{UNITS[found.coordinates]}, {found.box}" if found.coordinates else "none in the reply"),
        ("scaling", f"{found.scaling or 'unknown'}{longest}"),
        ("order kept", _YES[found.ordered]),
        ("pictures", f"{found.images or 'unknown how many'} of {found.asked_images or 0} fit into a conversation"),
        ("tool calls", _CALLS[found.calls] if found.calls else "none in the reply"),
        ("crop seen", _YES[found.zoomed]),
        ("thoughts", found.thoughts or "unknown"),
        ("context", f"{found.context:,} tokens" if found.context else "unknown"),
        ("refused", ", ".join(found.left_out) or "no parameter"),
        ("requests", f"{found.requests} of at most {MAX_REQUESTS + MAX_ZOOMS}"),
    ):
        yield from _rows(name, content)


def _rows(name: str, *contents: str) -> Iterator[str]:
    for index, content in enumerate(contents):
        yield f"{'' if index else name:<13} {content}"
