"""`virc train --probe`: memory and time of two steps, beside the estimate."""

from datetime import date

from virc.core.events import Reporter
from virc.training.probe import probe
from virc.training.request import TrainRequest
from virc_cli.console import events, output


def run(request: TrainRequest, quiet: bool, as_json: bool) -> None:
    """Measure, and print what was measured."""
    with events.printed(quiet) as show:
        found = probe(request, Reporter(show))
    config, rows, seconds, gib = found.resolved.config, found.rows_a_step, found.seconds_a_step, found.gib
    if as_json:
        fields = {
            "rows_a_step": rows, "longest": found.longest, "seconds_a_step": seconds, "gib": gib,
            "estimated_gib": found.estimated_gib,
        }  # fmt: skip
        output.emit("virc.train.probe/1", fields)
        return
    is_rl = found.resolved.kind == "rl"
    what = f"{rows} prompts, {config.n} replies each" if is_rl else f"{rows} rows"
    on_gpu = found.here.gpus and config.device == "cuda"
    where = found.here.gpus[0].name if on_gpu else f"{found.here.cores} cores"
    output.line(f"longest row     {found.longest} tokens")
    output.line(f"a step          {seconds:.3g} s, of {what} at a time")
    output.line(f"memory          {gib:.3g} GiB, estimated {found.estimated_gib:.3g}")
    measured = f"{where}, {date.today()}: {gib:.3g} GiB, {seconds:.3g} s/step"
    output.line(f"verified        {found.resolved.stage}: {measured}")
    for term in found.needed.terms:
        output.line(f"  {term.gib:8.3g} GiB  {term.name}: {term.formula}")
