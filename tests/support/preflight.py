"""The check of a stage's rows in this process, in place of one in the engine's interpreter."""

from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from virc.core.events import Reporter
from virc.stages import dpo
from virc.stages import rl as rl_stage
from virc.stages import sft as sft_stage
from virc.training import prepare
from virc.training.preflight import pairs, rl, sft
from virc.training.preflight.types import PairsRequest, Request, Result, RlRequest, SftRequest


def in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Let dry runs check rows here, and leave out what takes long and is of no rows."""
    patch.setattr(prepare, "counted", _counted)
    for name in ("recipes_place", "recipes_in"):
        patch.setattr(prepare.environments, name, lambda environment: Path("code"))


def _counted(asked: Request, python: Path, recipes: Path, report: Reporter) -> Result:
    asked = msgspec.structs.replace(asked, workers=1)
    if isinstance(asked, RlRequest):
        return rl.check(asked)
    return (pairs.check if isinstance(asked, PairsRequest) else sft.check)(asked)


_NUMBERS = count()
_KINDS: dict[type[Request], tuple[type[sft_stage.StageConfig], dict[str, Any]]] = {
    SftRequest: (sft_stage.Config, {"learning_rate": 1e-5, "cutoff_len": 2048, "order": "written"}),
    PairsRequest: (dpo.Config, {"learning_rate": 1e-5, "cutoff_len": 2048, "order": "written"}),
    RlRequest: (rl_stage.Config, {"prompt_length": 2048, "train_batch_size": 4, "order": "written"}),
}


def request(kind: type[Any], **values: Any) -> Any:
    """What the check of rows is asked; `values` are of it, or settings of the stage."""
    config, settings = _KINDS[kind]
    names = {*config.__struct_fields__} - {*kind.__struct_fields__}
    given = {name: values.pop(name) for name in [*values] if name in names}
    values.setdefault("folder", values["source"].file.with_name(f"checked-{next(_NUMBERS)}"))
    return kind(config=config(**{"data": "rows", **settings, **given}), name=values.pop("name", "tiny"), **values)
