"""From rows as they were published to a stage: train names the command that converts them, and reads what it writes."""

from pathlib import Path

import pytest
from support import published_rows, workspaces
from support.called import virc

from virc.data.formats.registry import only_source
from virc.systems import registry as systems

CASES = {
    "visual-rft-detect": published_rows.visual_rft_detect,
    "visual-rft-classify": published_rows.visual_rft_classify,
    "visual-rft-ground": published_rows.visual_rft_ground,
    "virgo-visual": published_rows.virgo_visual,
    "vlm-r3-instruct": published_rows.vlm_r3_sft,
    "vlm-r3-rl": published_rows.vlm_r3_rl,
}
"""Systems and stages, and what writes their rows as published."""
FEW = ("vlm-r3-rl",)
"""What is tried at every change."""


def train(system: str, stage: str, data: object) -> tuple[int, str]:
    """The exit code and messages of a dry run."""
    sizes = ["train_batch_size", "micro_batch_size_per_device"]
    sizes += ["ppo_mini_batch_size"] if systems.get(system).stages[stage].kind == "rl" else []
    words = ["--from", "tiny", "--with", "cpu", "--data", data, *workspaces.sets(dict.fromkeys(sizes, 1))]
    done = virc("train", system, "--stage", stage, *words, "--dry-run")
    return done.code, done.out + done.err


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in FEW else pytest.mark.integration) for case in CASES]
)
def test_published_rows_are_trained_on(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    system, _, stage = case.rpartition("-")
    file = CASES[case](tmp_path / "published").relative_to(tmp_path)
    code, said = train(system, stage, file)
    assert code == 0, said
    target = {"rl": "batch", "dpo": "pairs"}.get(systems.get(system).stages[stage].kind, "sft")
    done = virc("data", "convert", file, "--system", system, "--to", "data/NEW", "--format", target)
    assert done.code == 0, done.err
    assert virc("data", "check", "data/NEW", "--system", system, "--workers", 1).code == 0
    code, said = train(system, stage, only_source(Path("data/NEW")).file)
    assert code == 0, said


@pytest.mark.parametrize(
    ("case", "named", "words"),
    [("visual-rft-detect", "train.parquet", ("--to", "data/detect", "--name", "train", "--format", "batch"))],
)
def test_converted_rows_are_found_by_the_name_that_the_stage_has(
    case: str, named: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    system, _, stage = case.rpartition("-")
    file = CASES[case](tmp_path / "published")
    file = file.rename(file.with_name(named)) if file.is_file() else file
    done = virc("data", "convert", file, "--system", system, *words)
    assert done.code == 0, done.err
    sizes = dict.fromkeys(("train_batch_size", "ppo_mini_batch_size", "micro_batch_size_per_device"), 1)
    given = ("--from", "tiny", "--with", "cpu", "--set", "trackers=[]", *workspaces.sets(sizes), "--dry-run")
    done = virc("train", system, "--stage", stage, *given)
    assert done.code == 0, done.err
    assert "there is no file" not in done.err + done.out
