"""`virc doctor`: what this machine has, and which stages and overlays run on it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from virc.core.errors import SetupError, UsageError, VircError
from virc_cli.console import completion, output
from virc_cli.console.options import Json, Quiet, Verbose, With, argument, names_of, option

if TYPE_CHECKING:
    from virc.core.events import OnEvent
    from virc.envs.hardware import Machine
    from virc.models.memory import Memory
    from virc.probing.result import Probed
    from virc.systems.registry import System
    from virc.training.estimate.fits import Verdict

FAILURE: dict[str, object] = dict.fromkeys(
    "versions extras cache machine environments servers sandbox limits telemetry system stages probe memory".split()
)
_FITS = {True: "fits", False: "no", None: "?"}
_PLAIN = "no overlay"
_UNITS = {
    "pixel": "pixels of the picture",
    "thousand": "thousandths of the picture's sides, 0 to 1000",
    "unit": "fractions of the picture's sides, 0 to 1",
}
_CALLS = {
    "text": "as text of the reply",
    "structured": "structured by the server, without the tools in the request",
    "native": "structured, with the tools in the request",
}
_THOUGHTS = {
    "apart": "apart from the content", "tags": "in <think> tags within the content", "none": "none were seen",
    "all": "the server returns the whole reply as a thought",
}  # fmt: skip
_ZOOMED = {True: "taken, and the crop seen", False: "refused, or the crop not seen", None: "no call in the reply"}


def command(
    system: Annotated[
        str, argument("[SYSTEM]", "System, by name or YAML file.", show_default=True, autocompletion=completion.systems)
    ] = "virc",
    stage: Annotated[str | None, option("NAME", "Check this stage only; exit 4 if it cannot run here.")] = None,
    overlays: With = None,
    endpoint: Annotated[str | None, option("URL", "Probe this server: boxes, pictures, tool calls, limits.")] = None,
    model: Annotated[str | None, option("NAME", "Model of the endpoint. Alone: print the memory it takes.")] = None,
    timeout: Annotated[float | None, option("SECONDS", "With --endpoint: time limit of a reply.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Print what this machine has, and which stages fit it.

    For each stage of a system: the overlays that fit, and why the others do not. Rows as long as the stage's cutoff are
    assumed; `virc train` counts your own.

    With --endpoint, find out by at most seven requests how a server and its model count boxes, call tools, show
    pictures and take the turn after a crop. solve, eval, sample and serve --agent use the result. With --model alone,
    print the memory that a long conversation with that model takes in this process.
    """
    if endpoint is not None or model is not None:
        from virc_cli.console import events

        with events.printed(quiet, verbose) as report:
            _probe(endpoint, model, timeout, as_json, report.send)
        return
    import msgspec

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
    combinations = {name: msgspec.to_builtins(verdicts) for name, verdicts in judged.items()}
    listed = [{"stage": name, "combinations": verdicts} for name, verdicts in combinations.items()]
    fields |= {"system": found.name, "stages": listed}
    output.know(**fields)
    if not as_json:
        output.lines((*_lines(fields), *_stage_lines(found.name, judged)))
    _refuse(found.name, stage, judged)
    if as_json:
        output.emit("virc.doctor/1", {**FAILURE, **fields})


def _judged(system: "System", stage: str, overlays: tuple[str, ...], machine: "Machine") -> "list[Verdict]":
    from functools import cache

    from virc.models import sizes
    from virc.training.estimate import fits

    @cache
    def shape_of(name: str) -> "sizes.Shape | None":
        return sizes.of_base(name, Path.cwd())

    if overlays:
        return [fits.verdict(system, stage, overlays, machine, shape_of)]
    return fits.judge(system, stage, machine, shape_of)


def _refuse(system: str, stage: str | None, judged: "Mapping[str, Sequence[Verdict]]") -> None:
    if stage is None or any(verdict.fits for verdict in judged[stage]):
        return
    verdicts = judged[stage]
    alone = verdicts[0] if len(verdicts) == 1 else None
    why = alone.why if alone else "no combination of its overlays fits this machine"
    helps = alone and alone.helps
    raise SetupError(f"{system} {stage} cannot run here: {why}", helps or "train on a cluster: --launcher slurm")


def _fields(machine: "Machine") -> dict[str, Any]:
    import os
    import platform
    from importlib.metadata import version

    import msgspec

    from virc.config import user
    from virc.core import extras
    from virc.engines.environment import SILENT
    from virc.envs import making
    from virc.probing.servers import local_servers

    trouble, limits = _sandbox()
    return {
        "versions": {"virc": version("virc"), "python": platform.python_version()},
        "extras": msgspec.to_builtins(extras.discover()),
        "cache": str(user.cache_folder(os.environ)),
        "machine": msgspec.to_builtins(machine),
        "environments": making.all_rows(),
        "servers": msgspec.to_builtins(local_servers()),
        "sandbox": trouble,
        "limits": limits,
        "telemetry": {"off": True, "variables": dict(SILENT)},
    }


def _sandbox() -> tuple[str | None, list[dict[str, Any]]]:
    import msgspec

    from virc.sandbox.limits import limits

    try:
        return None, msgspec.to_builtins(limits())
    except VircError as error:
        return error.message, []


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
    for index, gpu in enumerate(machine["gpus"]):
        about = f"{gpu['name']}, {gpu['gib']:.1f} GiB ({gpu['free_gib']:.1f} free), driver {gpu['driver']}"
        yield _row("" if index else "GPUs", about)
    if not machine["gpus"]:
        yield _row("GPUs", machine["trouble"] or "none")
    for index, row in enumerate(fields["environments"]):
        state = f"{row['state']}, about {row['gib']} GiB" if row["state"] == "not made" else row["state"]
        yield _row("" if index else "environments", f"{row['engine']}-{row['device']}".ljust(11) + f" {state}")
    for index, server in enumerate(fields["servers"]):
        models = ", ".join(server["models"])
        listed = f": {models}" if models else ""
        yield _row("" if index else "servers", f"{server['endpoint']}  {server['server']}{listed}")
    if not fields["servers"]:
        yield _row("servers", "none answers on the usual ports of this machine")
    trouble = fields["sandbox"]
    yield _row(
        "sandbox", f"none for the tool python: {trouble}" if trouble else "for the tool python: bubblewrap, libseccomp"
    )
    for limit in fields["limits"]:
        yield _row("", f"{limit['name']:<21} {'holds' if limit['holds'] else 'DOES NOT HOLD'}: {limit['how']}")
    yield _row("telemetry", "off in every engine: " + ", ".join(fields["telemetry"]["variables"]))


def _stage_lines(system: str, judged: "Mapping[str, Sequence[Verdict]]") -> Iterator[str]:
    for stage, verdicts in judged.items():
        yield ""
        yield f"{system} {stage}"
        width = max((len(",".join(verdict.overlays) or _PLAIN) for verdict in verdicts), default=0)
        for verdict in sorted(verdicts, key=lambda verdict: verdict.fits is not True):
            chosen = (",".join(verdict.overlays) or _PLAIN).ljust(width)
            reason = verdict.why or verdict.needs
            yield f"  {_FITS[verdict.fits]:<4} {chosen}  {reason}{f'; {verdict.helps}' if verdict.helps else ''}"


def _probe(endpoint: str | None, model: str | None, timeout: float | None, as_json: bool, on_event: "OnEvent") -> None:
    import os

    import msgspec

    from virc.config import user
    from virc.models.probe_endpoint import SECONDS, probe_endpoint

    flags = {"endpoint": endpoint, "model": model, "timeout": timeout}
    chosen = user.values(user.resolve(flags, os.environ, user.read(user.config_path(os.environ))))
    if chosen.endpoint is None:
        _memory(model, as_json)
        return
    named = model or (chosen.model if endpoint is None else None)
    seconds = chosen.timeout or SECONDS
    keys = {"api_key": chosen.api_key, "headers": chosen.headers}
    found, file = probe_endpoint(chosen.endpoint, named, **keys, timeout=seconds, on_event=on_event)
    fields = {**msgspec.to_builtins(found), "file": str(file) if file else None}
    output.result(as_json, "virc.doctor/1", {**FAILURE, "probe": fields}, _probe_lines(found))


def _memory(model: str | None, as_json: bool) -> None:
    import msgspec

    from virc.envs import hardware
    from virc.models import memory

    if model is None:
        raise UsageError("which endpoint?", "virc doctor --endpoint http://localhost:11434/v1")
    machine = hardware.find(Path.cwd())
    found = memory.of_model(model, "cuda" if machine.gpus else "cpu", Path.cwd())
    fields = {**FAILURE, "memory": msgspec.to_builtins(found)}
    output.result(as_json, "virc.doctor/1", fields, _memory_lines(found, machine))


def _memory_lines(found: "Memory", machine: "Machine") -> Iterator[str]:
    free, where = machine.free_gib, "main memory"
    if machine.gpus:
        free, where = max((gpu.free_gib, gpu.name) for gpu in machine.gpus)
    yield _row("model", f"{found.model}, {'float32' if found.width == 4 else 'bfloat16'}")
    talk = f"one of {found.tokens:,} tokens, of which an image takes {found.image_tokens:,}"
    yield _row("conversation", talk)
    yield _row("memory", f"about {found.gib:.1f} GiB, and {free:.1f} GiB are free ({where})")
    for part in found.parts:
        yield _row("", f"{part.size / 2**30:7.2f} GiB  {part.name}: {part.formula}")


def _probe_lines(found: "Probed") -> Iterator[str]:
    from virc.families import registry as families
    from virc.probing.probe import MAX_REQUESTS, MAX_ZOOMS
    from virc.probing.servers import server_name

    named = families.get(found.family) if found.family else families.UNKNOWN
    yield _row("endpoint", found.endpoint)
    yield _row("model", found.model + (f" on {server_name(found.server)}" if found.server else ""))
    yield _row("family", f"{named.name}: {named.about}")
    yield _row("boxes", _boxes(found))
    yield _row("pictures", _pictures(found))
    yield _row("order", {True: "as sent", False: "mixed up", None: "unknown"}[found.ordered])
    yield _row("images", _images(found))
    yield _row("tool calls", _CALLS[found.calls] if found.calls else "none in the reply")
    yield _row("second turn", _ZOOMED[found.zoomed])
    yield _row("thoughts", _THOUGHTS[found.thoughts] if found.thoughts else "unknown")
    yield _row("context", f"{found.context:,} tokens" if found.context else "the server does not say")
    yield _row("refused", ", ".join(found.left_out) or "no parameter")
    yield _row("requests", f"{found.requests} of at most {MAX_REQUESTS + MAX_ZOOMS}")


def _boxes(found: "Probed") -> str:
    if found.coordinates is None:
        return "none in the reply"
    turned = ", top before left" if found.box == "corners_yx" else ""
    return f"{_UNITS.get(found.coordinates, found.coordinates)}{turned}"


def _pictures(found: "Probed") -> str:
    shown = {
        "none": "shown as large as they are sent",
        "down": f"scaled down to {found.longest} px a side",
        "fixed": "all shown at one size",
        None: "unknown whether they are scaled down",
    }[found.scaling]
    enlarged = f"; small ones are enlarged to {found.min_pixels / 1e6:.2f} million px" if found.min_pixels else ""
    return shown + enlarged


def _images(found: "Probed") -> str:
    if found.images is None:
        return "unknown how many fit"
    more = found.images == found.asked_images
    return f"{found.images} in a conversation were taken{', more were not tried' if more else ''}"


def _row(name: str, content: str) -> str:
    return f"{name:<13} {content}"
