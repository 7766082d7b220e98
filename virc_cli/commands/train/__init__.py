"""`virc train`: one stage of a system, in its engine, as a run that can be stopped and resumed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from virc.core.errors import EngineError, UsageError
from virc_cli.console import completion, events, options, output
from virc_cli.console.options import argument, choice, flag, option

if TYPE_CHECKING:
    from virc.runs.run import Run

FAILURE: dict[str, object] = {"run": None, "progress": None, "step": None, "job": None}
_SCHEMA = "virc.train/1"


def signs(incomplete: str) -> list[str]:
    from typing import get_args

    from virc.stages.sft import Health

    return [name for name in get_args(Health) if name.startswith(incomplete)]


def command(
    system: Annotated[
        str, argument("[SYSTEM]", "A system, or its YAML.", show_default=True, autocompletion=completion.systems)
    ] = "virc",
    stage: Annotated[
        str | None, option("NAME", "Stage, such as instruct, practice or rl.", autocompletion=completion.stages)
    ] = None,
    overlays: options.With = None,
    base: Annotated[
        str | None, option("MODEL", "Model or run to start from.", "--from", autocompletion=completion.models)
    ] = None,
    data: Annotated[Path | None, option("FILE", "Rows to train on, without the system's validation.")] = None,
    ignore: options.Ignored = None,
    trust_rows: options.TrustRows = False,
    config: Annotated[Path | None, option("FILE", "YAML of settings, after overlays.")] = None,
    assignments: options.Set = None,
    protocol: Annotated[Path | None, option("FILE", "Chat protocol of the rows. Default: found with them.")] = None,
    tools: Annotated[list[str] | None, option("+NAME", "rl: tool to add to the chat protocol's.")] = None,
    judge_endpoint: Annotated[
        list[str] | None, option("[NAME=]URL", "rl: server of a judge; NAME is of reward.judges.")
    ] = None,
    fit: Annotated[bool, flag("--fit", "All weights, LoRA or QLoRA: the first that fits.")] = False,
    stop_on: Annotated[
        list[str] | None, option("SIGNS", "Signs that end the run, such as loss or length,judge.", autocompletion=signs)
    ] = None,
    name: Annotated[str | None, option("RUN", "Name of the run.", autocompletion=completion.runs)] = None,
    rounds: Annotated[int | None, option("N", "Run N rounds of the system, or continue.", min=1, max=99)] = None,
    resume: Annotated[bool, flag("--resume", "Resume a run from its newest checkpoint.")] = False,
    rows_changed: Annotated[bool, flag("--rows-changed", "Resume with rows that were changed, checked again.")] = False,
    dry_run: Annotated[bool, flag("--dry-run", "Print command and files; start nothing.")] = False,
    launcher: Annotated[
        Literal["local", "slurm", "ray"], choice("Here, as a Slurm job, or (rl) on a Ray cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None,
        option("URL", "ray: dashboard, such as http://head:8265.", envvar="RAY_API_SERVER_ADDRESS", show_envvar=True),
    ] = None,
    site: Annotated[Path | None, option("FILE", "Site file of Slurm. Default: your slurm.yaml.")] = None,
    no_submit: Annotated[bool, flag("--no-submit", "slurm: write the job's script only.")] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Train one stage, resume a run, or train in rounds.

    Without --from, a stage starts from the newest finished run of the stage before it. Ctrl-C saves a checkpoint (rl:
    keeps the last one) and stops. The run's folder is printed. With --resume, --set changes epochs, steps, devices or
    gpus of the run; steps and epochs count from its first step.

    --rounds runs the steps that `rounds` of the system's YAML lists, each a command that --dry-run prints: the model
    makes rows of the problems in --data, and stages learn from them. The same command continues after a stop.
    """
    from virc.systems import registry as systems

    judge, judges = options.named_endpoints(judge_endpoint or ())
    chosen: dict[str, Any] = {
        "system": system, "overlays": options.names_of(overlays), "base": base, "data": data, "name": name,
        "assignments": tuple(assignments or ()), "judge_endpoint": judge, "judge_endpoints": judges,
        "stop_on": options.names_of(stop_on),
    }  # fmt: skip
    if rounds is not None:
        from virc.core import entry_points

        in_rounds = entry_points.of_option("train", "rounds")
        unused = {
            "--stage": stage, "--resume": resume, "--rows-changed": rows_changed,
            "--config": config, "--protocol": protocol, "--tools": tools, "--ignore": ignore,
            "--trust-rows": trust_rows, "--fit": fit, "--launcher": launcher != "local", "--site": site,
            "--no-submit": no_submit,
        }  # fmt: skip
        hint = "leave it out; --dry-run prints the command of each step, which takes it"
        options.refuse(unused, "{} is of one stage, and --rounds trains several", hint)
        in_rounds.run(in_rounds.RoundsRequest(**chosen, rounds=rounds), dry_run, quiet, verbose, as_json)
        return
    if resume and dry_run:
        raise UsageError("--resume takes the run as it was begun", "virc runs show prints its settings")
    if resume and any(
        (overlays, base, data, ignore, trust_rows, config, protocol, tools, fit, judge_endpoint, stop_on)
    ):
        alone = f"virc train --resume --name {name} resumes it; " if name else ""
        raise UsageError(
            "--resume takes --set alone: a run keeps what it was begun with",
            f"{alone}virc runs show prints its settings",
        )
    if dry_run and site and not stage and not as_json:
        from virc_cli.commands.train import print_plan

        print_plan.run_site(site, quiet)
        return
    if not stage and not resume:
        names = ", then ".join(f"--stage {name}" for name in systems.get(system).stages)
        raise UsageError("no stage is named", names or None)
    request = chosen | {
        "stage": stage, "config": config, "protocol": protocol, "ignore": tuple(ignore or ()),
        "trust_rows": trust_rows, "tools": options.names_of(tools), "fit": fit,
        "launcher": launcher, "site": site, "ray_address": ray_address,
    }  # fmt: skip
    if dry_run:
        from virc.training.request import TrainRequest
        from virc_cli.commands.train import print_plan

        print_plan.run(TrainRequest(**request), quiet, as_json)
        return
    asked = {**request, "resume": resume, "rows_changed": rows_changed, "submit": not no_submit}
    run = _train(asked, quiet, verbose)
    _print(run, no_submit, as_json)


def _train(given: dict[str, Any], quiet: bool, verbose: bool) -> "Run":
    """Train, and show how far it is; what is known of the run is in the `--json` object also if it fails."""
    from virc.core.events import Event
    from virc.runs import run as runs
    from virc.training.api import RunEvent, train

    found: list[Run] = []
    with events.printed(quiet, verbose) as report:

        def on_progress(event: Event) -> None:
            if isinstance(event, RunEvent):
                found.append(event.run)
                output.know(run=str(event.run.folder))
            report.send(event)

        try:
            return train(**given, on_progress=on_progress)
        finally:
            if found and runs.state(found[-1]).progress != "new":
                state = runs.state(found[-1])
                output.know(progress=state.progress, step=state.step, job=state.job)


def _print(run: "Run", no_submit: bool, as_json: bool) -> None:
    from virc.cluster import slurm
    from virc.runs import run as runs
    from virc.training.api import next_commands

    state, info = runs.state(run), runs.info(run)
    if state.progress == "stopped" and state.job:  # its job is back in the queue
        return
    if state.progress == "finished":
        _plot(run)
    fields = {"run": str(run.folder), "progress": state.progress, "step": state.step, "job": state.job}
    place = run.folder / slurm.SCRIPT if info.launcher == "slurm" and no_submit else run.folder
    output.result(as_json, _SCHEMA, fields, [str(place)])
    if state.progress == "finished":
        output.note("next: " + ", or ".join(next_commands(run)))


def _plot(run: "Run") -> None:
    """Draw the metrics in a process of its own: matplotlib takes seconds to import."""
    import sys
    from importlib.util import find_spec

    from virc.core import entry_points, processes
    from virc.core.plan import Step

    if find_spec("matplotlib") and "runs.plot" in entry_points.modules("virc.commands"):
        try:
            processes.output(Step((sys.executable, "-m", "virc_cli", "runs", "plot", run.name), "draw the metrics"))
        except EngineError as error:  # a picture is no reason to fail a run that has finished
            output.warn(error.message, error.hint)
