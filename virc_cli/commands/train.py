"""`virc train`: one stage of a system, in its engine, as a run that can be stopped and resumed."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from virc_cli.console import completion
from virc_cli.console.options import Json, Set, With, names_of

FAILURE: dict[str, object] = {"run": None, "progress": None, "step": None}


def signs(incomplete: str) -> list[str]:
    """Signs of ill health that begin so, for the shell's completion."""
    from typing import get_args

    from virc.stages.rl import Health

    return [name for name in get_args(Health) if name.startswith(incomplete)]


class Launcher(StrEnum):
    """What starts the engine."""

    local = "local"
    slurm = "slurm"
    ray = "ray"


def command(
    system: Annotated[
        str,
        typer.Argument(metavar="[SYSTEM]", help="A system, or its YAML.", autocompletion=completion.systems),
    ] = "virc",
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Stage: instruct, practice or rl.", autocompletion=completion.stages
        ),
    ] = None,
    overlays: With = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Start from this model or run instead.",
            autocompletion=completion.models,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rows to learn from instead; the system's validation is left out."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML of settings, after overlays.")
    ] = None,
    assignments: Set = None,
    protocol: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Chat protocol of the rows; default: beside them, or found in them."
        ),
    ] = None,
    tools: Annotated[
        list[str] | None,
        typer.Option(
            metavar="+NAME", help="rl: a tool that the model is offered beside those of its chat protocol."
        ),
    ] = None,
    judge_endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="rl: the judge of the reward, such as http://judge:8000/v1."),
    ] = None,
    stop_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIGNS",
            help="rl: signs that end the run: tools, variance, length, format, judge, correlation.",
            autocompletion=signs,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="RUN", help="Name of the run.", autocompletion=completion.runs)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run from its newest checkpoint.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the exact command, environment and files; start nothing.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Two steps on the longest rows: memory and time. Leaves no run.")
    ] = False,
    launcher: Annotated[
        Launcher, typer.Option(help="Here, as a job of Slurm, or (rl) on a Ray cluster that runs.")
    ] = Launcher.local,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="RAY_API_SERVER_ADDRESS",
            show_envvar=True,
            help="ray: where the cluster takes jobs, such as http://head:8265.",
        ),
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What your cluster wants; default: slurm.yaml beside the config."),
    ] = None,
    no_submit: Annotated[
        bool, typer.Option("--no-submit", help="Write the job's script, submit nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train one stage. Ctrl-C saves a checkpoint (of rl: keeps the last) and stops; --resume goes on from it.

    Without --from a stage starts from the newest finished run of the stage before. The run's folder is printed.
    """
    from virc.core.errors import UsageError
    from virc.systems import registry as systems
    from virc_cli.training import train
    from virc_cli.training.begin import Wanted

    if not stage and not resume:
        names = ", then ".join(f"--stage {name}" for name in systems.get(system).stages)
        raise UsageError("no stage is named", names or None)
    if resume and any((overlays, base, data, config, assignments, protocol, tools, judge_endpoint, stop_on)):
        raise UsageError(
            "--resume goes on with a run as it was begun: it takes no settings",
            "virc runs show prints the run's",
        )
    wanted = stage and Wanted(
        system=system, stage=stage, overlays=names_of(overlays), base=base, data=data, config=config,
        assignments=tuple(assignments or ()), protocol=protocol, name=name, judge_endpoint=judge_endpoint,
        stop_on=names_of(stop_on), tools=names_of(tools),
    )  # fmt: skip
    options = train.Options(
        resume=resume, dry_run=dry_run, probe=probe, launcher=launcher.value, site=site, submit=not no_submit,
        ray_address=ray_address, as_json=as_json,
    )  # fmt: skip
    train.train(wanted or None, name, options)
