"""`virc train --probe`: two optimizer steps on the longest rows, and what they took. No run is left."""

import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import msgspec

from virc_cli import launch, output, plans, progress
from virc_cli.machines import find as this_machine
from virc_cli.training import begin
from virc_cli.training.begin import Found, Wanted
from virc_recipes import environments, stages
from virc_recipes.engines import llamafactory_log as engine_log
from virc_recipes.errors import EngineError
from virc_recipes.locks import held
from virc_recipes.place import Place
from virc_recipes.runs import FOLDER
from virc_recipes.stages import Resolved

SCHEMA = "virc.train.probe/1"
_STEPS = 2
_LOOK = 1.0  # seconds


def probe(wanted: Wanted, as_json: bool) -> None:
    """Train two steps on the longest rows and print memory and time beside the estimate.

    Raises:
        VircError: something is missing or wrong, or the engine failed; it does not fit, then.
    """
    resolved = begin.settings(wanted)
    config = resolved.config
    rows = _STEPS * config.at_a_time
    here = this_machine(Path.cwd())
    with _folder() as folder:
        found = begin.find(wanted, resolved, folder / "data", here, probe=rows)
        seconds, gib = _measured(_shortened(resolved), found, folder)
    needed = begin.estimated(found, here)
    estimated = needed.host_gib if config.device == "cpu" else needed.device_gib
    longest = found.result.longest
    if as_json:
        measured = {"longest": longest, "seconds_a_step": seconds, "gib": gib, "estimated_gib": estimated}
        output.emit({"schema": SCHEMA, **measured, "error": None})
        return
    output.line(f"longest row     {longest} tokens")
    output.line(f"a step          {seconds:.3g} s, of {rows // _STEPS} rows at a time")
    output.line(f"memory          {gib:.3g} GiB, estimated {estimated:.3g}")
    where = here.gpus[0].name if here.gpus and config.device == "cuda" else f"{here.cores} cores"
    measured_here = f"{where}, {date.today()}: {gib:.3g} GiB, {seconds:.3g} s/step"
    output.line(f"verified        {resolved.stage}: {measured_here}")
    for term in needed.terms:
        output.line(f"  {term.gib:8.3g} GiB  {term.name}: {term.formula}")


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder on the disk where a run would save: the engine saves at the end of a probe too.

    What a killed probe left is cleared first.

    Raises:
        ConfigError: another probe is at it.
    """
    folder = Path.cwd() / FOLDER / ".probe"
    folder.parent.mkdir(exist_ok=True)
    with held(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # runs are in it
        folder.parent.rmdir()


def _shortened(resolved: Resolved) -> Resolved:
    """The same stage for two steps, without accumulation: what a step holds in memory does not depend on that."""
    config = resolved.config
    engine = {**config.engine, "save_strategy": "no"}
    short = msgspec.structs.replace(
        config, steps=_STEPS, batch=config.at_a_time, log_every=1, trackers=(), engine=engine
    )
    return msgspec.structs.replace(resolved, config=short)


def _measured(resolved: Resolved, found: Found, folder: Path) -> tuple[float, float]:
    """Seconds a step, and GiB of the fullest device (on a CPU: of the largest process)."""
    place = _place(found, folder)
    engine = stages.engine(resolved.kind)
    plan = engine.plan(resolved.config, place, {}, {})
    plans.write(plan)
    log, began = folder / "engine.log", time.monotonic()
    with progress.shown() as show, launch.started(plan.step, log) as process:
        while (code := process.wait(_LOOK)) is None:
            show(f"{_STEPS} steps on the longest rows, {time.monotonic() - began:.0f} s")
    if code:
        message, hint = engine_log.cause(log, code)
        raise EngineError(f"the probe failed: {message}", hint)
    return engine_log.seconds_a_step(place.output), engine_log.device_gib(place.output) or _largest_child()


def _largest_child() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def _place(found: Found, folder: Path) -> Place:
    base, result = found.base, found.result
    return Place(
        base=base.folder, model_type=base.model_type, adapter=base.adapter, data=result.file, dataset=result.dataset,
        entry=result.entry, media=result.media, output=folder / "checkpoints", files=folder / "attempt",
        python=found.python, recipes=environments.recipes_in(found.environment),
    )  # fmt: skip
