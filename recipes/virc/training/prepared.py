"""What `prepare` makes of a request: everything that a stage needs, found and checked."""

from pathlib import Path

import msgspec

from virc.cluster.jobs import Target
from virc.core.errors import SetupError, VircError
from virc.core.plan import Plan
from virc.data.formats.registry import RowsFile
from virc.envs.hardware import Machine
from virc.envs.pins import Environment
from virc.models.sizes import Shape
from virc.runs.run import Run
from virc.stages.resolve import Resolved
from virc.stages.sft import Part
from virc.training.estimate.needs import Estimate, estimate
from virc.training.inputs import Base
from virc.training.preflight.types import Result
from virc.training.request import TrainRequest


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage needs, found, and checked as far as it is on this machine.

    Args:
        run: the run to be; `folder` has its files until it begins.
        python: interpreter of the engine's environment; in a dry run where it would be.
        recipes: folder with the code of virc that the engine gets; in a dry run where it would be.
        added_tools: names or files of tools that rows of RL are offered in addition to those of their chat protocol.
        missing: of a dry run, errors about what is not here; None: a run begins, and they are raised.
        checked: what the check of the rows found; None: a dry run without them, or without the base.
        machine: this one, which starts the stage or submits its job.
        shape: sizes of the base; None: a dry run that does not know them.
        over: of a dry run, the error if the stage needs more than `device_gib`, by the longest row that was checked.
        plan: of a dry run, the first attempt as the engine would get it.
    """

    request: TrainRequest
    resolved: Resolved
    run: Run
    folder: Path
    base: Base
    source: RowsFile
    validation: RowsFile | None = None
    target: Target | None = None
    environment: Environment
    python: Path
    recipes: Path
    added_tools: tuple[str, ...] = ()
    missing: list[VircError] | None = None
    checked: Result | None = None
    machine: Machine | None = None
    shape: Shape | None = None
    over: SetupError | None = None
    plan: Plan | None = None

    @property
    def sources(self) -> list[Path]:
        """The files that its rows come from."""
        found = [each for each in (self.source, self.validation) if each]
        return [file for each in found for file in each.shards or (each.file,)]

    @property
    def needed(self) -> Estimate | None:
        """The estimate for rows as long as the stage allows; a run estimates from its rows when it begins."""
        config = self.resolved.config
        return estimate(config, self.shape, config.longest) if self.shape else None

    @property
    def trained(self) -> dict[Part, int]:
        config = self.resolved.config
        return self.shape.trained(config.lora, config.frozen, config.never_adapted) if self.shape else {}
