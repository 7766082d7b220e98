"""`virc runs extend`: train a run further than it was begun, or go on with another number of devices."""

from pathlib import Path
from typing import Annotated

from virc_cli.console import output
from virc_cli.console.options import Json, Quiet, RunName, Verbose, flag, option


def command(
    name: RunName,
    epochs: Annotated[float | None, option("N", "New end: N passes over the rows.", min=0)] = None,
    steps: Annotated[int | None, option("N", "New end: N optimizer steps.", min=1)] = None,
    devices: Annotated[int | None, option("N", "Devices of each node from here on.", min=1)] = None,
    dry_run: Annotated[bool, flag("--dry-run", "Print how it would go on; change nothing.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Continue a run to a later end or on other devices.

    The end is counted from the run's first step. The optimizer's state, the kind of schedule and its warm-up are kept;
    a learning rate that falls, falls to the new end.
    """
    from virc.runs import run as runs
    from virc.training.extend import extend
    from virc_cli.commands import train

    run = runs.find(Path.cwd(), name)
    found = extend(run, epochs=epochs, steps=steps, devices=devices, trial=dry_run)
    lines = [f"{name} continues from step {found.step} to step {found.total}, in place of {found.before}"]
    lines += [f"{key}: {value}" for key, value in found.changed.items()]
    if found.rates:
        last, first, end = (f"{rate:.3g}" for rate in found.rates)
        lines.append(f"learning rate: {last} at the old end, {first} at step {found.step + 2}, {end} at the new end")
    if dry_run:
        output.lines(lines)
        return
    for line in lines:
        output.note(line)
    train.resume(name, quiet, verbose, as_json)
