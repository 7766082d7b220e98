"""Which overlays fit a machine: whose base is counted, which further ones are advised, and how sizes are written."""

import pytest

from virc.envs.hardware import Machine
from virc.systems import registry as systems
from virc.training.estimate import fits
from virc.training.estimate.fits import Verdict

HERE = Machine(cores=2, memory_gib=24, free_gib=20, disk_gib=100, gpus=())


def test_a_stage_after_another_is_judged_by_the_first_base() -> None:
    asked: list[str] = []
    fits.verdict(systems.get("virc"), "practice", (), HERE, asked.append)
    assert asked == ["Qwen/Qwen2.5-VL-7B-Instruct"]


def test_the_fewest_further_overlays_are_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ((), ("a", "b"), ("c",), ("d", "e"))
    monkeypatch.setattr(fits, "combinations", lambda system, stage: iter(chosen))
    monkeypatch.setattr(fits, "verdict", lambda system, stage, names, *_: Verdict(names, bool(names), ""))
    found = fits.judge(systems.get("virc"), "instruct", HERE, lambda name: None)
    assert [each.helps for each in found] == ["add c", None, None, None]
