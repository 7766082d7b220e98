"""What a user asks to be trained, and the settings that follow from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.config import dotted
from virc.core.errors import ConfigError, UsageError
from virc.core.files import expanded
from virc.data.formats.registry import RowsFile
from virc.engines import registry as engines
from virc.models import chat_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.stages.resolve import Resolved
from virc.systems import registry as systems
from virc.systems.registry import System


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What replaces parts of what is trained, be it a stage or rounds.

    Args:
        system: a system's name, or its YAML.
        base: a model or run to start from.
        data: file of rows to train on; the system's validation rows are then left out.
        assignments: `KEY=VALUE` each.
        name: of the run.
        judge_endpoint: address of the reward's judge, which then takes no GPU of this stage.
        judge_endpoints: of further judges, by the names that the rewards have for them, also those of `sources`.
        stop_on: signs of ill health that end the run.
        workspace: folder with `runs/`, `models/` and `data/`.
    """

    system: str
    overlays: tuple[str, ...] = ()
    base: str | None = None
    data: Path | None = None
    assignments: tuple[str, ...] = ()
    name: str | None = None
    judge_endpoint: str | None = None
    judge_endpoints: Mapping[str, str] = {}
    stop_on: tuple[str, ...] = ()
    workspace: Path = msgspec.field(default_factory=Path.cwd)


class TrainRequest(Choices, frozen=True, kw_only=True):
    """A stage to train, and what replaces parts of it.

    Args:
        config: YAML of settings, which `assignments` replace, and those the mapping `settings`.
        protocol: file with the chat protocol of the rows.
        ignore: columns of the rows that are left out, though they hold a part of the problem.
        trust_rows: whether rows may name images outside of the folder of their file.
        tools: `+NAME` each: tools to add to those of the rows' chat protocol.
        fit: train all weights, an adapter, or one on quantized weights: the first that fits.
        launcher: `local`, `slurm` or `ray`; a `site` file implies `slurm`, and `ray_address` is where Ray takes jobs.
    """

    stage: str
    config: Path | None = None
    settings: Mapping[str, Any] = {}
    protocol: Path | None = None
    ignore: tuple[str, ...] = ()
    trust_rows: bool = False
    tools: tuple[str, ...] = ()
    fit: bool = False
    launcher: str = "local"
    site: Path | None = None
    ray_address: str | None = None

    @classmethod
    def of_run(cls, run: Run, system: str | None = None) -> "TrainRequest":
        """What a run was begun with of which its rows are read; `system`: its file, if it is not installed."""
        info = runs.info(run)
        protocol = None if info.kind == "rl" else run.folder / FILE_NAME
        return cls(
            system=system or info.system, stage=info.stage, ignore=info.ignore, trust_rows=info.trust_rows,
            workspace=run.workspace, protocol=protocol,
        )  # fmt: skip

    def reading(self, source: RowsFile) -> RowsFile:
        return msgspec.structs.replace(source, ignore=self.ignore, trusted=self.trust_rows)

    def resolve(self) -> Resolved:
        """The stage's settings, its engine's own keys and its system's chat protocol checked too."""
        system = systems.get(self.system)
        chat_protocol.of_system(system)
        given = self._given(kind := stages.stage(system, self.stage).kind)
        for name in (each.partition("=")[0].partition(".")[0].strip() for each in self.assignments):
            if name in System.__struct_fields__ and name not in stages.config_type(kind).__struct_fields__:
                hint = f"write {name} into a copy of its YAML, then virc train ./COPY.yaml --stage {self.stage}"
                raise UsageError(f"{name} is a key of the system, not a setting of a stage", hint)
        found = stages.resolve(system, self.stage, self.overlays, self.config, self.assignments, given)
        if self.data and found.kind == "rl":
            found = _for_other_rows(found)
        for fault in engines.faults(found.kind, found.config, found.origins):
            raise ConfigError(fault.message, fault.hint)
        keys = engines.of_kind(found.kind).keys.leaves(found.config.engine)
        return msgspec.structs.replace(found, config=msgspec.structs.replace(found.config, engine=keys))

    def _given(self, kind: str) -> dict[str, Any]:
        of_rl = {"«--judge-endpoint»": self.judge_endpoint or self.judge_endpoints, "«--tools»": self.tools}
        foreign = next((name for name, value in of_rl.items() if value and kind != "rl"), None)
        if foreign:
            raise UsageError(f"{foreign} is for stages of kind rl, and {self.stage} is of kind {kind}")
        given: dict[str, Any] = {}
        for key, value in self.settings.items():
            dotted.put(given, tuple(key.split(".")), value)
        if self.base:
            given |= {"base": self.base, "after": None}
        if self.data:
            given |= {"data": str(expanded(self.data).absolute())}
        if self.judge_endpoint:
            dotted.put(given, ("reward", "judge", "endpoint"), self.judge_endpoint)
            given["judge_gpus"] = 0
        for name, url in self.judge_endpoints.items():
            dotted.put(given, ("reward", "judges", name, "endpoint"), url)
        if self.stop_on:
            given |= {"stop_on": list(self.stop_on)}
        return given


def _for_other_rows(found: Resolved) -> Resolved:
    """Settings that the system has for its own rows, which may not be here, as they are for rows that a user names.

    Named validation rows stay. Rows that are too long are an error, whatever a published script does with its own.
    """
    own = {name for name in ("validation", "test_freq", "filter_overlong")
           if found.origins.get(name) == found.system.name}  # fmt: skip
    if "validation" not in own:
        own.discard("test_freq")
    values = {name: False if name == "filter_overlong" else None for name in own}
    config = msgspec.structs.replace(found.config, **values)
    return msgspec.structs.replace(found, config=config, origins={**found.origins, **dict.fromkeys(own, "option")})
