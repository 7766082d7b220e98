"""Published rows of systems that answer in one reply: they are checked, converted, and every stage takes them."""

import json
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support import published_crops, published_rows, rows_of_thinkers, workspaces
from support.called import virc

from virc.data.formats.registry import only_source
from virc.data.rows.record import MARK
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems
from virc.systems.registry import System

Write = Callable[[Path], Path]
CASES: tuple[tuple[str, str, Write], ...] = (
    ("openvlthinker", "instruct", rows_of_thinkers.openvlthinker_sft),
    ("openvlthinker", "medium", published_rows.easy_r1),
    ("openvlthinker", "hard", published_rows.easy_r1),
    ("vppo", "rl", published_rows.easy_r1),
    ("rewardmap", "rl", rows_of_thinkers.rewardmap),
    ("vlaa-thinking", "rl", rows_of_thinkers.vlaa_thinking),
    ("star-r1", "rl", rows_of_thinkers.star_r1),
    ("vicrit", "rl", rows_of_thinkers.vicrit),
    ("code-as-thought", "rl", rows_of_thinkers.code_as_thought),
    ("honeybee", "instruct", rows_of_thinkers.honeybee),
    ("internvl3.5", "rl", published_rows.internvl3_5),
    *(("reason-rft", f"{task}-sft", rows_of_thinkers.reason_rft_sft) for task in ("count", "structure", "transform")),
    ("reason-rft", "count-rl", rows_of_thinkers.reason_rft_count),
    ("reason-rft", "structure-rl", rows_of_thinkers.reason_rft_structure),
    ("reason-rft", "transform-rl", rows_of_thinkers.reason_rft_transform),
    *(("curr-reft", stage, partial(rows_of_thinkers.curr_reft, stage=stage)) for stage in rows_of_thinkers.CURR_REFT),
    ("curr-reft", "reject", rows_of_thinkers.curr_reft_reject),
    ("vla-r1", "rl", rows_of_thinkers.vla_r1),
    ("grit", "rl", rows_of_thinkers.grit),
    ("perception-r1", "rl", rows_of_thinkers.perception_r1),
    ("ssl4rl", "rl", published_rows.ssl4rl),
    ("grip", "instruct", rows_of_thinkers.grip_sft),
    ("grip", "rl", rows_of_thinkers.grip),
    ("visual-rft", "detect", published_rows.visual_rft_detect),
    ("visual-rft", "classify", published_rows.visual_rft_classify),
    ("visual-rft", "ground", published_rows.visual_rft_ground),
    ("virgo", "visual", published_rows.virgo_visual),
    ("vlm-r3", "instruct", published_rows.vlm_r3_sft),
    ("vlm-r3", "rl", published_rows.vlm_r3_rl),
    ("thinklite-vl", "rl", published_rows.thinklite_vl),
    *(("vision-g1", stage, published_rows.vision_g1) for stage in ("round-1", "round-2")),
    ("actial", "rl", published_rows.actial_rl),
    ("mini-o3", "cold-start", published_crops.mini_o3_cold_start),
    ("mini-o3", "rl", published_crops.mini_o3_rl),
)


def assert_asked_as_published(system: System, *files: Path) -> None:
    """Question and answer are those of the rows, in the words of the system."""
    published, made = ([row.known() for row in only_source(file, system).rows()] for file in files)
    spoken = of_system(system).protocol
    for before, after in zip(published, made, strict=True):
        assert (after.question, after.answer) == (before.question, before.answer)
        shown = "\n".join([MARK] * len(before.images))
        first = spoken.first.replace("{images}", shown).replace("{question}", before.question or "")
        assert [each.content for each in after.messages] == [spoken.system, first]


FEW = {("openvlthinker", "medium"), ("reason-rft", "count-sft"), ("mini-o3", "cold-start"), ("mini-o3", "rl")}
"""What is tried at every change."""
JUDGED = {("grit", "rl"), ("perception-r1", "rl"), ("grip", "rl"), ("mini-o3", "rl")}


@pytest.mark.parametrize(
    ("system", "stage", "write"),
    [pytest.param(*case, marks=[] if case[:2] in FEW else pytest.mark.integration) for case in CASES],
)
def test_a_stage_takes_published_rows_once_converted(
    system: str, stage: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "published")
    kind = systems.get(system).stages[stage].kind
    checked = virc("data", "check", file, "--system", system, "--workers", 1)
    assert (checked.code, "3 good" in checked.out + checked.err) == (0, True), checked.out + checked.err
    form = "sft" if kind == "sft" else "prompts" if systems.get(system).coordinates != "thousand" else "batch"
    words = ("--system", system, "--to", tmp_path / "data" / "own", "--format", form)
    done = virc("data", "convert", file, *words)
    assert done.code == 0, done.err
    converted = only_source(tmp_path / "data" / "own").file
    if form == "prompts" and system != "curr-reft":  # whose rows have those words already
        assert_asked_as_published(systems.get(system), file, converted)
    assert virc("data", "check", converted, "--system", system, "--workers", 1).code == 0
    monkeypatch.chdir(tmp_path)
    sizes = {"train_batch_size": 2, "micro_batch_size_per_device": 1}
    sizes |= {"ppo_mini_batch_size": 2} if kind == "rl" else {}
    more = {"validation": "null", "test_freq": "null"} if kind == "rl" else {}
    judge = ("--judge-endpoint", "http://127.0.0.1:9/v1") if (system, kind) in JUDGED else ()
    changed = workspaces.sets({**sizes, **more})
    words = ("--from", "tiny", "--with", "cpu", "--data", converted, *changed, *judge, "--dry-run")
    done = virc("train", system, "--stage", stage, *words)
    assert (done.code, "the rows were not checked" in done.err) == (0, False), done.out + done.err


TRIED = (
    *("--from", "tiny", "--with", "cpu", "--dry-run"),
    *workspaces.sets({"train_batch_size": 1, "ppo_mini_batch_size": 1, "micro_batch_size_per_device": 1}),
)


def test_rewardmap_takes_its_rows_by_difficulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("virc_extras")  # of which is `virc data make`
    monkeypatch.chdir(tmp_path)
    words = ("--system", "rewardmap", "--to", "all", "--format", "batch", "--name", "rows")
    assert virc("data", "convert", rows_of_thinkers.rewardmap(tmp_path / "published"), *words).code == 0
    lines = Path("all/rows.jsonl").read_text().splitlines()
    Path("all/rows.jsonl").write_text("\n".join(reversed(lines)))
    (note,) = (each for each in systems.get("rewardmap").stages["rl"].notes if each.startswith("rows: "))
    made = virc(*shlex.split(note.partition("then virc ")[2].rpartition(": the order")[0]))
    assert made.code == 0, made.err
    file = Path("data/rewardmap/rows.jsonl")
    assert [json.loads(line)["type"] for line in file.read_text().splitlines()] == ["TorF1", "Counting2", "planning"]
    done = virc("train", "rewardmap", "--stage", "rl", *TRIED)  # the stage finds it by its own name
    assert done.code == 0, done.err
    assert "rows are taken in the order of the file" in done.err
