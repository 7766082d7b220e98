"""`virc doctor`: what this machine has, and which stages and overlays run on it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virc_cli.console import completion, output
from virc_cli.console.options import Json, With, names_of

if TYPE_CHECKING:
    from virc.envs.hardware import Machine
    from virc.systems.registry import System
    from virc.training.estimate.fits import Verdict

FAILURE: dict[str, object] = {
    "versions": None, "extras": None, "cache": None, "machine": None, "environments": None, "servers": None,
    "telemetry": None, "system": None, "stages": None, "probe": None,
}  # fmt: skip
_SAID = {True: "fits", False: "no", None: "?"}
_PLAIN = "no overlay"


def command(
    system: Annotated[
        str,
        typer.Argument(metavar="[SYSTEM]", help="A system, or its YAML.", autocompletion=completion.systems),
    ] = "virc",
    stage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Judge this stage alone; exit 4 where it cannot run here."),
    ] = None,
    overlays: With = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Probe this server: boxes, pictures, tool calls, limits."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --endpoint: which of its models.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="With --endpoint: longest wait for a reply.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what this machine has, and which overlays of a system's stages fit it; for the others, why not.

    Rows as long as a stage's cutoff are assumed; `virc train` counts your own.

    With --endpoint it finds out, by at most four requests, how a server and its model speak; solve, eval, sample and
    serve --agent go by what was found.
    """
    if endpoint is not None or model is not None:
        from virc_cli import probing

        probed = probing.run(endpoint, model, timeout, not as_json)
        if as_json:
            output.emit({"schema": "virc.doctor/1", **FAILURE, "probe": probed, "error": None})
        return
    from virc.envs import hardware
    from virc.stages import resolve as stages
    from virc.systems import registry as systems

    found = systems.get(system)
    if stage:
        stages.stage(found, stage)
    names = [stage] if stage else list(found.stages)
    machine = hardware.find(Path.cwd())
    fields = _fields(machine)
    judged = {name: _judged(found, name, names_of(overlays), machine) for name in names}
    fields |= {"system": found.name, "stages": _stage_fields(judged)}
    output.know(**fields)
    if not as_json:
        for line in (*_lines(fields), *_stage_lines(found.name, judged)):
            output.line(line)
    _refuse(found.name, stage, judged)
    if as_json:
        output.emit({"schema": "virc.doctor/1", **FAILURE, **fields, "error": None})


def _judged(system: "System", stage: str, overlays: tuple[str, ...], machine: "Machine") -> "list[Verdict]":
    from functools import cache

    from virc.models import sizes as shape
    from virc.training.estimate import fits

    @cache
    def shape_of(name: str) -> "shape.Shape | None":
        return shape.of_base(name, Path.cwd())

    if overlays:
        return [fits.verdict(system, stage, overlays, machine, shape_of)]
    return fits.judge(system, stage, machine, shape_of)


def _refuse(system: str, stage: str | None, judged: "Mapping[str, Sequence[Verdict]]") -> None:
    from virc.core.errors import SetupError

    if stage is None or any(verdict.fits for verdict in judged[stage]):
        return
    verdicts = judged[stage]
    alone = verdicts[0] if len(verdicts) == 1 else None
    why = alone.why if alone else "no combination of its overlays fits this machine"
    helps = alone and alone.helps
    raise SetupError(
        f"{system} {stage} cannot run here: {why}", helps or "train on a cluster: --launcher slurm"
    )


def _fields(machine: "Machine") -> dict[str, Any]:
    import os
    import platform
    from importlib.metadata import version

    import msgspec

    from virc.core import extras
    from virc.engines.environment import SILENT
    from virc.envs import environment as environments
    from virc.envs import making
    from virc.probing.servers import local_servers

    return {
        "versions": {"virc": version("virc"), "python": platform.python_version()},
        "extras": msgspec.to_builtins(extras.discover()),
        "cache": str(environments.cache_folder(os.environ)),
        "machine": msgspec.to_builtins(machine),
        "environments": making.all_rows(),
        "servers": msgspec.to_builtins(local_servers()),
        "telemetry": {"off": True, "variables": dict(SILENT)},
    }


def _stage_fields(judged: "Mapping[str, Sequence[Verdict]]") -> list[dict[str, Any]]:
    import msgspec

    return [
        {"stage": name, "combinations": msgspec.to_builtins(verdicts)} for name, verdicts in judged.items()
    ]


def _lines(fields: Mapping[str, Any]) -> Iterator[str]:
    versions, machine = fields["versions"], fields["machine"]
    yield _row("virc", f"{versions['virc']}, Python {versions['python']}")
    installed = [extra["name"] for extra in fields["extras"] if not extra["missing"]]
    yield _row("extras", ", ".join(installed) or "none")
    for extra in fields["extras"]:
        if extra["missing"]:
            yield _row("", f"{extra['name']}: {extra['install']}")
    yield _row("cache", fields["cache"])
    yield _row(
        "machine",
        f"{machine['cores']} cores, {machine['memory_gib']:.1f} GiB of memory ({machine['free_gib']:.1f} free), "
        f"{machine['disk_gib']:.0f} GiB of disk free here",
    )
    yield from _gpu_lines(machine)
    for index, row in enumerate(fields["environments"]):
        state = f"{row['state']}, about {row['gib']} GiB" if row["state"] == "not made" else row["state"]
        yield _row(
            "" if index else "environments", f"{row['engine']}-{row['device']}".ljust(11) + f" {state}"
        )
    for index, server in enumerate(fields["servers"]):
        models = ", ".join(server["models"])
        listed = f": {models}" if models else ""
        yield _row("" if index else "servers", f"{server['endpoint']}  {server['server']}{listed}")
    if not fields["servers"]:
        yield _row("servers", "none answers on the usual ports of this machine")
    yield _row("telemetry", "off in every engine: " + ", ".join(fields["telemetry"]["variables"]))


def _gpu_lines(machine: Mapping[str, Any]) -> Iterator[str]:
    for index, gpu in enumerate(machine["gpus"]):
        about = f"{gpu['name']}, {gpu['gib']:.1f} GiB ({gpu['free_gib']:.1f} free), driver {gpu['driver']}"
        yield _row("" if index else "GPUs", about)
    if not machine["gpus"]:
        yield _row("GPUs", machine["trouble"] or "none")


def _stage_lines(system: str, judged: "Mapping[str, Sequence[Verdict]]") -> Iterator[str]:
    for stage, verdicts in judged.items():
        yield ""
        yield f"{system} {stage}"
        width = max((len(",".join(verdict.overlays) or _PLAIN) for verdict in verdicts), default=0)
        for verdict in sorted(verdicts, key=lambda verdict: verdict.fits is not True):
            chosen = (",".join(verdict.overlays) or _PLAIN).ljust(width)
            said = verdict.why or verdict.needs
            yield f"  {_SAID[verdict.fits]:<4} {chosen}  {said}{f'; {verdict.helps}' if verdict.helps else ''}"


def _row(name: str, content: str) -> str:
    return f"{name:<13} {content}"
