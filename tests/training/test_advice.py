"""What advice says to type can be typed: its overlays and settings are those of the system and the stage."""

import re
from collections.abc import Iterator

import pytest

from virc.models import sizes
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.training.estimate import fits
from virc.training.estimate.needs import estimate

STAGES = [(name, stage) for name in ("virc", "tiny", "visual-rft") for stage in systems.get(name).stages]


def advice(system: str, stage: str) -> Iterator[str]:
    """Every way that is named for a stage."""
    found = systems.get(system)
    resolved = stages.resolve(found, stage)
    shape = sizes.published("Qwen/Qwen2.5-VL-7B-Instruct")
    assert shape
    needed = estimate(resolved.config, shape, resolved.config.longest)
    for term in (*needed.terms, *needed.host, *(needed.disk or ())):
        yield fits.cure(term.name, resolved.config, found.overlays) or ""
    if found.stages[stage].kind == "rl":
        yield fits.judges(found.overlays)


def test_a_stage_takes_what_advice_says_to_type() -> None:
    for system, stage, way in [(*each, way) for each in STAGES for way in advice(*each)]:
        overlays = [name for names in re.findall(r"--with ([\w-]+(?:,[\w-]+)*)", way) for name in names.split(",")]
        settings = re.findall(r"--set (\S+?)[,;]?(?= |$)", way)
        for overlay in overlays:
            stages.resolve(systems.get(system), stage, [overlay])
        stages.resolve(systems.get(system), stage, assignments=settings)


def test_no_overlay_is_named_that_only_another_system_has() -> None:
    assert "--with" not in fits.judges(())
    assert "--with rules" in fits.judges(systems.get("virc").overlays)
    assert "--set reward.total=outcome" in fits.judges(())
    config = stages.resolve(systems.get("virc"), "instruct").config
    assert fits.cure("gradients", config, ()) == "--set lora={}"


@pytest.mark.parametrize(("stage", "weighs"), [("instruct", True), ("dpo", False), ("rl", False)])
def test_a_smaller_micro_batch_is_advised_with_what_it_changes(stage: str, weighs: bool) -> None:
    settings = ["micro_batch_size_per_device=4", "gradient_checkpointing=true", "device=cpu"]
    config = stages.resolve(systems.get("tiny"), stage, assignments=settings).config
    way = str(fits.cure("activations", config))
    assert way.startswith("--set micro_batch_size_per_device=2")
    assert ("short rows weigh more" in way) == weighs
