"""Every phase of the training loop takes up the weights of another and leaves a model that virc can ask."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiny import loop
from virc.models.load import Choice, open_model

if TYPE_CHECKING:
    import torch


def taught(out: Path, phase: str, start: Path | None = None) -> dict[str, "torch.Tensor"]:
    """Two steps of a phase; returns the weights it leaves."""
    from safetensors.torch import load_file

    begin = ["--from", str(start)] if start else []
    loop.main([str(out), "--phase", phase, "--steps", "2", *begin])
    (line,) = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    assert line["task"] in ({phase} if phase == "sight" else loop.PHASES[phase][0])
    assert math.isfinite(line["loss"])
    return load_file(out / "model.safetensors")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_phase_goes_on_from_another_and_teaches_what_it_should(tmp_path: Path) -> None:
    import torch

    before, start = taught(tmp_path / "read", "read"), tmp_path / "read"
    for phase in ("sight", "place", "skills", "compare", "sft", "direct"):
        after = taught(tmp_path / phase, phase, start)
        changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
        seeing = {name for name in changed if "visual" in name}
        if phase != "compare":  # it begins without pictures
            assert bool(seeing) is (phase != "place"), "where a thing is, is learnt behind the eye"
        assert bool(changed - seeing) is (phase != "sight"), "sight alone teaches the eye alone"
        before, start = after, tmp_path / phase
    assert open_model(Choice(model=str(start), device="cpu")).chat_protocol.name == "trained"
