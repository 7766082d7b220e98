"""What the engine tests say of stages that ran: `systems/catalog/tested.json`, from which `virc systems ls` computes
what works. With VIRC_RECORD=1 it is written, else held against what runs.
"""

import json
import os
from pathlib import Path

import msgspec

from virc.envs import pins as envs
from virc.systems import registry as systems
from virc.systems.catalog import support as state
from virc.systems.catalog.support import Ran, Record


def record(system: str, stage: str, engine: str, steps: int, file: Path = state.TESTED) -> None:
    """Say that a stage of a system ran in its engine, with the YAML as it is now.

    Args:
        system: its name, of this package.
        stage: its name. Its words, grammar, turns and reward ran, on a small model and on rows of ours. A test says in
            which run: of the stage itself, with its settings but for those that the test sets, or of another stage
            that has the system among its `sources`, with the learning settings of that one.
        engine: as `engine` gives it.
        steps: optimizer steps that it ran.
        file: where it is written; stages recorded with another content of the YAML are dropped from it.
    """
    told = msgspec.json.decode(file.read_bytes(), type=dict[str, Record])
    now, ran = state.digest(systems.get(system)), Ran(engine, steps)
    entry = told.get(system)
    if os.environ.get("VIRC_RECORD") != "1":
        found = entry.stages.get(stage) if entry and entry.digest == now else None
        again = f"of {system}, {stage} ran; run this test with VIRC_RECORD=1 and commit {file.name}"
        assert found == ran, again
        return
    kept = dict(entry.stages) if entry and entry.digest == now else {}
    order = list(systems.get(system).stages)
    stages = dict(sorted({**kept, stage: ran}.items(), key=lambda each: order.index(each[0])))
    written = dict(sorted({**told, system: Record(now, stages)}.items()))
    text = json.dumps(msgspec.to_builtins(written), indent=2) + "\n"
    file.write_text(text, encoding="utf-8")


def engine(kind: str) -> str:
    """The engine of stages of a kind (`sft`, `rl`) and its version, as its environment pins it."""
    return envs.discover()[kind].what.partition(" with ")[0]
