"""Pictures of all kinds reach the processor in verl as solving shows them."""

import hashlib
import json
from pathlib import Path

import pytest
from rl_engine import TINY, child
from support import preflight
from support.picture_kinds import KINDS, write

from virc.data.formats.registry import only_source
from virc.engines.verl.agent_ids import speech
from virc.models.chat_protocol import read_protocol
from virc.reasoning.opening.pictures import shown
from virc.reasoning.protocol import FILE_NAME
from virc.systems.registry import Reward
from virc.training.preflight import rl
from virc.training.preflight.types import RlRequest


@pytest.mark.engine
def test_the_processor_in_verl_gets_the_pixels_of_solving(tmp_path: Path) -> None:
    names = write(tmp_path / "rows")
    rows = [{"id": name, "image": file, "question": "Which?", "answer": "7"} for name, file in names.items()]
    file = tmp_path / "rows" / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    protocol, grid = read_protocol(TINY / FILE_NAME), speech(str(TINY)).grid
    run = tmp_path / "run"
    found = rl.check(preflight.request(
        RlRequest, source=only_source(file), base=TINY, folder=run, home=run, chat_protocol=protocol,
        rollout="multi_turn", train_batch_size=1, reward=Reward("outcome"),
    ))  # fmt: skip
    loop = {"protocol": str(TINY / FILE_NAME), "folder": str(found.media), "max_turns": 1}
    end = speech(str(TINY)).end
    cases = {
        name: {"room": 64, "file": str(found.file), "at": at, "replies": [[end]], "loop": loop}
        for at, name in enumerate(names)
    }
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    done = child("loop_child.py", tmp_path / "cases.json", TINY)
    for name, kind in KINDS.items():
        ours = shown(kind.data, name, protocol, grid).pixels
        assert done[name]["sizes"] == [[*ours.size]], name
        assert done[name]["pixels"] == [hashlib.sha256(ours.tobytes()).hexdigest()], name
