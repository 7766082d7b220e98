"""Rows and a base for tests of the preflight: those that `virc data synth` draws, and the embedded model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from support import preflight
from support.called import virc

from virc.data.formats.registry import only_source
from virc.envs import making
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.runs.run import Run
from virc.stages.resolve import Resolved
from virc.training import inputs
from virc.training.preflight.types import Result, SftRequest
from virc.training.prepared import Prepared
from virc.training.request import TrainRequest

COUNT = 16
Rows = list[dict[str, Any]]


def drawn(folder: Path, formats: str = "sft") -> Path:
    """A folder of `COUNT` rows in pixels, with their chat protocol."""
    words = ("--count", COUNT, "--seed", 3, "--workers", 1, "--drawing", 1, "--formats", formats)
    assert virc("data", "synth", "--to", folder, *words).code == 0
    return folder / "trajectories.json"


def copied(file: Path, folder: Path, change: Callable[[Rows], object] = lambda rows: None) -> Path:
    """A copy of a dataset whose rows were changed."""
    shutil.copytree(file.parent, folder)
    new = folder / file.name
    rows = json.loads(file.read_text())
    change(rows)
    new.write_text(json.dumps(rows))
    return new


def request(file: Path, kind: type[SftRequest] = SftRequest, **values: Any) -> Any:
    """A look at a file's rows for the embedded model, which finds nothing wrong with those drawn."""
    source = msgspec.structs.replace(only_source(file), trusted=True)  # rows that a stage wrote name any images
    return preflight.request(kind, **{"source": source, "base": EMBEDDED_FOLDER, **values})


def prepared(run: Run, folder: Path, stage: Resolved, found: Result) -> Prepared:
    """A stage of RL whose rows were checked, with its base and rows in the run's workspace."""
    return Prepared(
        request=TrainRequest(system="tiny", stage="rl"), resolved=stage, run=run, folder=folder,
        base=inputs.base(stage, run.workspace), source=inputs.rows(stage, run.workspace),
        environment=making.find("rl", "cpu"), python=Path(), recipes=Path(), checked=found,
    )  # fmt: skip


def base_of_type(folder: Path, model_type: str) -> Path:
    """The embedded model's files under another `model_type`, without its weights."""
    folder.mkdir()
    for file in EMBEDDED_FOLDER.glob("*.json"):
        shutil.copy(file, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": model_type}))
    return folder


def chat_protocol(folder: Path, **values: Any) -> Path:
    """A file with the embedded model's chat protocol, changed."""
    protocol = msgspec.structs.replace(read_protocol(EMBEDDED_FOLDER / FILE_NAME), **values)
    file = folder / "chat_protocol.json"
    file.write_bytes(msgspec.json.encode(protocol))
    return file
