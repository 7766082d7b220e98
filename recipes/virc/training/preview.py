"""What a stage's first attempt would be: its plan and what it needs; nothing is started, made or written.

`preview` goes the way of a run in `prepare`. Errors about what is missing (environment, weights, rows) are collected in
`missing`, and the plan names the places where these things would be.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from virc.cluster import jobs, submitting
from virc.cluster.site import Site, judge_of
from virc.core import processes
from virc.core.errors import SetupError, VircError
from virc.core.events import Reporter
from virc.core.files import DATA, is_file
from virc.core.module_files import warn_not_copied
from virc.core.plan import Plan
from virc.core.text import sized
from virc.engines import registry as engines
from virc.envs import hardware
from virc.envs.hardware import Machine
from virc.envs.pins import pinned
from virc.models import sizes
from virc.models.sizes import Shape
from virc.rewards import user_code
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.stages.resolve import Resolved
from virc.stages.sft import Part
from virc.training import inputs, prepare
from virc.training.estimate import fits
from virc.training.estimate.needs import Estimate, estimate
from virc.training.preflight.types import Result
from virc.training.prepare import noted
from virc.training.request import TrainRequest

_MAX_SHOWN = 2**20  # bytes of a file; a reward may come with large ones


class Preview(msgspec.Struct, frozen=True):
    """A stage's first attempt.

    Args:
        needed: estimated for rows as long as the stage allows; a run estimates from its rows when it begins.
        result: of the check of the rows; None: the rows or the base are not here.
        over: the error if the stage needs more than `device_gib`, by the longest checked row if rows were checked.
        here: this machine; None: a cluster runs the stage.
        judge_gpus: of the judge that the job serves.
    """

    resolved: Resolved
    plan: Plan
    shape: Shape | None
    needed: Estimate | None
    here: Machine | None
    missing: list[VircError]
    result: Result | None = None
    over: SetupError | None = None
    judge_gpus: int = 0

    @property
    def trained(self) -> dict[Part, int]:
        config = self.resolved.config
        return self.shape.trained(config.lora, config.frozen, config.never_adapted) if self.shape else {}


def preview(request: TrainRequest, report: Reporter) -> Preview:
    """Plan a stage's first attempt.

    Raises:
        UsageError, ConfigError: a tool is not given as +NAME or missing, the settings are wrong, or Slurm refuses.
        DataError: the rows are here, and cannot be trained on.
    """
    request, resolved, target = prepare.requested(request)
    run, missing = Run(prepare.future_run(request, resolved).folder.absolute()), list[VircError]()
    with TemporaryDirectory(prefix="virc-") as scratch:
        folder = Path(scratch)
        prepared = prepare.prepare(request, resolved, run, folder, report, target=target, missing=missing)
        resolved, base = prepared.resolved, prepared.base
        info = prepare.info_of(prepared, prepare.write_code(prepared))
        warn_not_copied(report.warn)
        written = (each for each in sorted(folder.rglob("*")) if each.is_file() and folder / DATA not in each.parents)
        files = {str(run.folder / each.relative_to(folder)): _text(each) for each in written}
        in_code = user_code.variables_in_code(folder, os.environ)
        place = inputs.place_of(info, run, 1, base, folder)
    plan: Plan = engines.of_kind(resolved.kind).plan.plan(resolved.config, place, resolved.published, resolved.origins)
    plan = msgspec.structs.replace(plan if target else jobs.on_this_machine(plan), files={**plan.files, **files})
    if target:
        plan = jobs.preview(plan, run, info, place, pinned(prepared.environment), target)
        with noted(missing, SetupError):
            submitting.try_job(plan, run, info, target, report)
    else:
        step = msgspec.structs.replace(plan.step, env={**in_code, **plan.step.env})
        processes.report_removed(step, os.environ, report, user_code.UNLESS)
    is_complete = is_file(base.folder / "config.json")  # a download that was broken off has none
    shape = sizes.of_folder(base.folder) if is_complete else sizes.of_base(stages.root_of(resolved), request.workspace)
    needed = estimate(resolved.config, shape, resolved.config.longest) if shape else None
    lack = None
    if shape and needed:
        result = prepared.checked
        of_rows = estimate(resolved.config, shape, result.longest) if result else needed
        lack = fits.over_target(resolved.config, shape, of_rows, resolved.system.overlays)
    judge_gpus = 0
    if isinstance(target, Site):
        if judge := judge_of(info.settings, target):
            judge_gpus = judge.gpus or resolved.config.devices
        with noted(missing):
            host_gib = needed.host_gib if needed else 0.0
            submitting.check_need(target, str(info.site_file), info.settings, host_gib)
    here = None if target else hardware.find(request.workspace)
    over = fits.refusal(lack) if lack else None
    return Preview(resolved, plan, shape, needed, here, missing, prepared.checked, over, judge_gpus)


def _text(file: Path) -> str:
    size = file.stat().st_size
    return file.read_text("utf-8", "replace") if size < _MAX_SHOWN else f"({sized(size)})"
