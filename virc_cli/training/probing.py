"""`virc train --probe`: two optimizer steps on the longest rows, and what they took. No run is left."""

import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from virc.core import processes
from virc.core.errors import EngineError
from virc.core.locks import held
from virc.engines import registry as engines
from virc.envs.hardware import find as this_machine
from virc.runs.run import FOLDER, Run
from virc.stages.resolve import Resolved
from virc.training import inputs as training
from virc_cli.console import output, plans, progress
from virc_cli.training import begin
from virc_cli.training.begin import Found, Wanted

SCHEMA = "virc.train.probe/1"
_STEPS = 2
_LOOK = 1.0  # seconds


def probe(wanted: Wanted, as_json: bool) -> None:
    """Train two steps on the longest rows and print memory and time beside the estimate.

    Raises:
        VircError: something is missing or wrong, or the engine failed; it does not fit, then.
    """
    resolved = begin.settings(wanted)
    config, a_step = resolved.config, _rows(resolved.config)
    here = this_machine(Path.cwd())
    with _folder() as folder:
        short = _shortened(resolved, a_step)
        found = begin.find(wanted, short, folder / "data", here, probe=_STEPS * a_step)
        seconds, gib = _measured(found, folder)
    needed = begin.estimated(msgspec.structs.replace(found, resolved=resolved), here)
    estimated = needed.host_gib if config.device == "cpu" else needed.device_gib
    longest = found.result.longest
    if as_json:
        measured = {"longest": longest, "seconds_a_step": seconds, "gib": gib, "estimated_gib": estimated}
        output.emit({"schema": SCHEMA, "rows_a_step": a_step, **measured, "error": None})
        return
    what = f"{a_step} prompts, {config.n} replies each" if resolved.kind == "rl" else f"{a_step} rows"
    output.line(f"longest row     {longest} tokens")
    output.line(f"a step          {seconds:.3g} s, of {what} at a time")
    output.line(f"memory          {gib:.3g} GiB, estimated {estimated:.3g}")
    where = here.gpus[0].name if here.gpus and config.device == "cuda" else f"{here.cores} cores"
    measured_here = f"{where}, {date.today()}: {gib:.3g} GiB, {seconds:.3g} s/step"
    output.line(f"verified        {resolved.stage}: {measured_here}")
    for term in needed.terms:
        output.line(f"  {term.gib:8.3g} GiB  {term.name}: {term.formula}")


def _rows(config: Any) -> int:
    """Rows of a step: as few as all devices take, for what a device holds does not depend on that."""
    return int(getattr(config, "at_a_time", config.devices * config.nodes))


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


def _shortened(resolved: Resolved, rows: int) -> Resolved:
    """The same stage for two steps of few rows, with nothing saved or tried beside them."""
    config = resolved.config
    changes: dict[str, Any] = {"steps": _STEPS, "train_batch_size": rows, "trackers": ()}
    if resolved.kind == "rl":
        engine = {**config.engine, "trainer.save_freq": -1}
        changes |= {"ppo_mini_batch_size": rows, "validation": None, "test_freq": None, "rollouts": None}
    else:
        engine = {**config.engine, "save_strategy": "no"}
        changes |= {"log_every": 1}
    short = msgspec.structs.replace(config, **changes, engine=engine)
    return msgspec.structs.replace(resolved, config=short)


def _measured(found: Found, folder: Path) -> tuple[float, float]:
    """Seconds a step, and GiB of the fullest device; on a CPU of the largest process, of RL of all together."""
    resolved, run = found.resolved, Run(folder)
    info = begin.write(run, folder, found, "local", {})
    place = training.place_of(info, run, 1)
    plan = engines.of_kind(resolved.kind).plan.plan(resolved.config, place, {}, {})
    plans.write(plan)
    engine_log = engines.of_kind(resolved.kind).log
    log, began, most = run.log(1), time.monotonic(), 0.0
    with progress.shown() as show, processes.started(plan.step, log) as process:
        while (code := process.wait(_LOOK)) is None:
            show(f"{_STEPS} steps on the longest rows, {time.monotonic() - began:.0f} s")
            most = max(most, processes.memory_of_tree(process.pid) if resolved.kind == "rl" else 0.0)
    if code:
        message, hint = engine_log.cause(log, code)
        raise EngineError(f"the probe failed: {message}", hint)
    on_cpu = most or _largest_child()
    return engine_log.seconds_a_step(place.output), engine_log.device_gib(place.output) or on_cpu


def _largest_child() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
