"""Two optimizer steps on the longest rows of a stage, and what they took. No run is left."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from virc.core import processes
from virc.core.errors import EngineError
from virc.core.events import Reporter
from virc.core.plan import write_files
from virc.engines import registry as engines
from virc.envs import hardware
from virc.envs.hardware import Machine
from virc.rewards import user_code
from virc.runs.run import FOLDER, Run
from virc.stages.resolve import Resolved
from virc.training import inputs, prepare
from virc.training.estimate.needs import Estimate
from virc.training.prepare import PreparedRun
from virc.training.request import TrainRequest

_STEPS = 2
_POLL = 1.0  # seconds


class Probe(msgspec.Struct, frozen=True):
    """What was measured; `gib` of the fullest device, on a CPU of the largest process, for RL of all together."""

    resolved: Resolved
    here: Machine
    needed: Estimate
    longest: int
    rows_a_step: int
    seconds_a_step: float
    gib: float
    estimated_gib: float


def probe(request: TrainRequest, report: Reporter) -> Probe:
    resolved = request.resolve()
    config = resolved.config
    # As few rows as all devices take: the memory of a device does not depend on that number.
    rows = int(getattr(config, "at_a_time", config.devices * config.nodes))
    here = hardware.find(request.workspace)
    place = request.workspace / FOLDER / ".probe"  # on the disk of the runs: the engine saves at the end of a probe too
    with prepare.scratch(place, place) as folder:
        short = _shortened(resolved, rows)
        prepared = prepare.prepare(request, short, folder / "data", here, report, probe=_STEPS * rows)
        seconds, gib = _measured(prepared, folder, report)
    needed = prepare.estimated(msgspec.structs.replace(prepared, resolved=resolved), here)
    estimated = needed.host_gib if config.device == "cpu" else needed.device_gib
    return Probe(resolved, here, needed, prepared.result.longest, rows, seconds, gib, estimated)


def _shortened(resolved: Resolved, rows: int) -> Resolved:
    config = resolved.config
    changes: dict[str, Any] = {"steps": _STEPS, "train_batch_size": rows, "trackers": ()}
    if resolved.kind == "rl":
        engine = {**config.engine, "trainer.save_freq": -1}
        changes |= {"ppo_mini_batch_size": rows, "validation": None, "test_freq": None, "rollouts": None}
    else:
        engine = {**config.engine, "save_strategy": "no"}
        changes |= {"log_every": 1}
    return msgspec.structs.replace(resolved, config=msgspec.structs.replace(config, **changes, engine=engine))


def _measured(prepared: PreparedRun, folder: Path, report: Reporter) -> tuple[float, float]:
    import resource  # not on Windows, where `virc train --dry-run` imports this module all the same

    kind, run = prepared.resolved.kind, Run(folder)
    info = prepare.write(run, folder, prepared, "local", {})
    place = inputs.place_of(info, run, 1)
    engine, engine_log = engines.of_kind(kind).plan, engines.of_kind(kind).log
    plan = engine.plan(prepared.resolved.config, place, {}, {})
    write_files(plan)
    log, began, most = run.log(1), time.monotonic(), 0.0
    env = {**user_code.variables_in_code(folder, os.environ), **plan.step.env}
    with processes.started(msgspec.structs.replace(plan.step, env=env), log) as process:
        while (code := process.wait(_POLL)) is None:
            report.progress(f"{_STEPS} steps on the longest rows, {time.monotonic() - began:.0f} s")
            most = max(most, processes.memory_of_tree(process.pid) if kind == "rl" else 0.0)
    if code:
        message, hint = engine_log.cause(log, code)
        raise EngineError(f"the probe failed: {message}", hint)
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return engine_log.seconds_a_step(place.output), engine_log.device_gib(place.output) or most or largest
