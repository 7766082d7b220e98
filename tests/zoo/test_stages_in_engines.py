"""Each stage of each system for a step or two in its real engine, on the CPU: `tiny` stands for the published base, a
script for the judge, and rows are a few in the layout that the authors publish, or in this package's own.

A supervised stage has losses that are numbers, and its weights change. A stage of RL rewards each rollout, and each
term of its reward was seen: in these rollouts, or in the recorded cases of `test_rewards.py`.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from backends import tiny_factory
from support import (
    preference_rows,
    published_crops,
    published_pairs,
    published_rewards,
    published_rows,
    row_files,
    rows_of_frames,
    rows_of_thinkers,
    stage_rows,
    tool_rows,
    workspaces,
)
from support.servers import serve
from zoo.test_rewards import HAS_NO_PROGRAM

from virc.models.registry import EMBEDDED_FOLDER
from virc.rewards import registry as rewards
from virc.stages.resolve import resolve
from virc.systems import registry as systems
from virc.tools import registry
from virc_zoo.openthinkimg.tools._servers import CONTROLLER

STEPS = 2  # of a supervised stage
SAMPLES = 2
SMALL = {"steps": STEPS, "save_steps": STEPS, "train_batch_size": 2, "micro_batch_size_per_device": 1, "log_every": 1}
RL = {"steps": 1, "save_steps": 1, "train_batch_size": 1, "ppo_mini_batch_size": 1, "micro_batch_size_per_device": 1,
      "n": SAMPLES, "rollouts": 1, "prompt_length": 1024, "response_length": 512}  # fmt: skip
UNCHECKED = {"validation": "null", "test_freq": "null"}
"""Of a stage that validates on rows which are not here."""
ALIKE = {"dynamic_sampling": "false"}
"""Of a stage that draws groups anew whose rewards are equal, as all of `tiny` are on rows that it never learnt."""


class Case(NamedTuple):
    """What a stage is given.

    Args:
        write: what writes its rows into a folder, as they are published.
        form: the format that they are converted into; None: the stage reads them as they are.
        more: settings beside those of all.
        judge: what the judge says.
        wide: whether its images are larger than `tiny` is shown.
        data: rows by their name in `dataset_info.json`, in place of their file.
        family: whose random model stands for the base, in place of `tiny`.
    """

    write: Callable[[Path], Path]
    form: str | None = None
    more: Mapping[str, object] = {}
    judge: str | None = None
    wide: bool = False
    data: str | None = None
    family: str | None = None


def drawn(formats: str) -> Callable[[Path], Path]:
    """Diagrams of this package."""

    def write(folder: Path) -> Path:
        workspaces.synth(folder.parents[1], 8, formats)
        file = {"sft": "trajectories.json", "rl": "rl.parquet"}[formats]
        return folder.parents[1] / "data" / "polygons" / file

    return write


def drawn_pairs(folder: Path) -> Path:
    workspaces.synth(folder.parents[1], 8)
    return preference_rows.write(folder.parents[1] / "data" / "polygons")


thinkers, rows, crops, tools = rows_of_thinkers, published_rows, published_crops, tool_rows
frames = rows_of_frames
LONG = {"prompt_length": 2304}
VERDICT = '{"Correctness": 0, "Consistency": 1}'
TABLE: Mapping[tuple[str, str], Case] = {
    ("tiny", "instruct"): Case(drawn("sft")),
    ("tiny", "practice"): Case(drawn("sft")),
    ("tiny", "dpo"): Case(drawn_pairs),
    ("tiny", "rl"): Case(drawn("rl")),
    ("virc", "instruct"): Case(drawn("sft")),
    ("virc", "practice"): Case(drawn("sft")),
    ("virc", "rl"): Case(drawn("rl"), more={"reward.total": "virc"}, judge=r"\boxed{1}"),
    ("actial", "inject"): Case(stage_rows.actial_sft),
    ("actial", "rl"): Case(rows.actial_rl, "prompts", UNCHECKED),
    ("adareasoner", "instruct"): Case(crops.adareasoner_sft, "sft", wide=True),
    ("adareasoner", "rl"): Case(crops.adareasoner, "prompts", {"prompt_length": 2048}, "Judgement: 1"),
    **{
        ("autotool", stage): Case(crops.deepeyes, "prompts", {"prompt_length": 1536}, "Judgement: 1")
        for stage in ("rl", "free")
    },
    ("chain-of-focus", "instruct"): Case(crops.chain_of_focus_sft, "sft"),
    ("chain-of-focus", "rl"): Case(crops.chain_of_focus_rl, "prompts", {"prompt_length": 1536}, "Judgement: 1"),
    ("code-as-thought", "rl"): Case(thinkers.code_as_thought, "prompts", {"prompt_length": 3072}),
    ("critic-v", "critic"): Case(published_pairs.critique_vqa, "pairs"),
    ("curr-reft", "judge"): Case(partial(thinkers.curr_reft, stage="judge"), "batch"),
    ("curr-reft", "choice"): Case(partial(thinkers.curr_reft, stage="choice"), "batch"),
    ("curr-reft", "open"): Case(partial(thinkers.curr_reft, stage="open"), "batch"),
    ("curr-reft", "reject"): Case(thinkers.curr_reft_reject, "sft"),
    ("deepeyes", "rl"): Case(crops.deepeyes, "prompts", {"prompt_length": 1536}, "Judgement: 1"),
    ("deepeyes-v2", "cold-start"): Case(partial(stage_rows.code_sft, "deepeyes-v2"), "sft", wide=True),
    ("deepeyes-v2", "rl"): Case(
        partial(stage_rows.code_rl, "deepeyes-v2"), "prompts", {"prompt_length": 3400}, r"\boxed{Yes}"
    ),
    ("framethinker", "rl"): Case(thinkers.framethinker, "prompts", {"prompt_length": 2048}),
    ("glm-4.1v-thinking", "cold-start"): Case(thinkers.grip_sft, "sft", family="glm4v"),
    ("glm-4.1v-thinking", "rl"): Case(thinkers.skywork_r1v3, "prompts", ALIKE, "1.0", family="glm4v"),
    ("grip", "instruct"): Case(thinkers.grip_sft, "sft"),
    ("grip", "rl"): Case(thinkers.grip, "prompts", UNCHECKED, "A"),
    ("grit", "rl"): Case(thinkers.grit, "prompts", UNCHECKED, '{"score": 0.5}'),
    ("honeybee", "instruct"): Case(thinkers.honeybee, "sft"),
    ("internvl3.5", "mpo"): Case(published_pairs.mmpr, "pairs", {"train_batch_size": 3}, family="internvl"),
    ("internvl3.5", "rl"): Case(rows.internvl3_5, "prompts", UNCHECKED, family="internvl"),
    ("mini-o3", "cold-start"): Case(crops.mini_o3_cold_start, "sft"),
    ("mini-o3", "rl"): Case(
        crops.mini_o3_figures, "prompts", {"prompt_length": 1536, **UNCHECKED, **ALIKE}, "Score: 1"
    ),
    ("mpcc", "rl"): Case(rows.mpcc, "prompts"),
    ("openthinkimg", "instruct"): Case(partial(tools.openthinkimg_sft, pictures=1), "sft", wide=True),
    ("openthinkimg", "rl"): Case(
        partial(tools.openthinkimg_rl, pictures=1), "prompts", {"prompt_length": 2048}, wide=True
    ),
    ("openvlthinker", "instruct"): Case(thinkers.openvlthinker_sft, "sft"),
    ("openvlthinker", "medium"): Case(rows.easy_r1, "prompts", UNCHECKED),
    ("openvlthinker", "hard"): Case(rows.easy_r1, "prompts", UNCHECKED),
    ("perception-r1", "rl"): Case(thinkers.perception_r1, "prompts", UNCHECKED, "<info0>1</info0>\n<info1>1</info1>"),
    ("pixel-reasoner", "instruct"): Case(frames.pixel_reasoner_sft, "sft"),
    ("pixel-reasoner", "rl"): Case(frames.pixel_reasoner_rl, "prompts", ALIKE | {"prompt_length": 2048}),
    ("pyvision-rl", "rl"): Case(stage_rows.pyvision_rl, "prompts", ALIKE | {"prompt_length": 2048}, "Judgement: 1"),
    **{("reason-rft", f"{task}-sft"): Case(thinkers.reason_rft_sft, "sft") for task in ("count", "structure")},
    ("reason-rft", "transform-sft"): Case(thinkers.reason_rft_sft, "sft"),
    ("reason-rft", "count-rl"): Case(thinkers.reason_rft_count, "batch", UNCHECKED),
    ("reason-rft", "structure-rl"): Case(thinkers.reason_rft_structure, "batch", UNCHECKED),
    ("reason-rft", "transform-rl"): Case(thinkers.reason_rft_transform, "batch", LONG | UNCHECKED),
    ("revisor", "spans"): Case(partial(thinkers.revisor, spans=True), "prompts", {"prompt_length": 2048}),
    ("revisor", "rl"): Case(partial(thinkers.revisor, spans=False), "prompts", {"prompt_length": 2048}),
    ("rewardmap", "rl"): Case(thinkers.rewardmap, "prompts", UNCHECKED),
    ("rrvf", "instruct"): Case(partial(stage_rows.code_sft, "rrvf"), "sft", wide=True),
    ("rrvf", "rl"): Case(partial(stage_rows.code_rl, "rrvf"), "prompts", {"prompt_length": 2048}, "10"),
    ("skywork-r1v3", "cold-start"): Case(thinkers.grip_sft, "sft", family="internvl"),
    ("skywork-r1v3", "rl"): Case(thinkers.skywork_r1v3, "prompts", judge=r"\boxed{1}", family="internvl"),
    ("skywork-r1v3", "connector"): Case(thinkers.grip_sft, "sft", family="internvl"),
    ("ssl4rl", "rl"): Case(rows.ssl4rl, "prompts", UNCHECKED),
    ("star-r1", "rl"): Case(thinkers.star_r1, "prompts", UNCHECKED),
    ("temporal-r1", "rl"): Case(thinkers.temporal_r1, "prompts", {"prompt_length": 2048}),
    ("thinklite-vl", "rl"): Case(rows.thinklite_vl, "prompts"),
    ("thyme", "instruct"): Case(partial(stage_rows.code_sft, "thyme"), "sft", wide=True),
    ("thyme", "compute"): Case(partial(stage_rows.code_sft, "thyme"), "sft", wide=True),
    ("thyme", "rl"): Case(partial(stage_rows.code_rl, "thyme"), "prompts", {"prompt_length": 2048}, VERDICT),
    ("v-thinker", "perception"): Case(partial(stage_rows.code_sft, "v-thinker"), "sft", wide=True),
    ("v-thinker", "instruct"): Case(partial(stage_rows.code_sft, "v-thinker"), "sft", wide=True),
    ("v-thinker", "rl"): Case(partial(stage_rows.code_rl, "v-thinker"), "prompts", {"prompt_length": 2048}, VERDICT),
    ("verltool", "rl"): Case(frames.verltool, "prompts", UNCHECKED | {"prompt_length": 2048}),
    ("vicrit", "rl"): Case(thinkers.vicrit, "prompts", UNCHECKED),
    ("video-com", "instruct"): Case(thinkers.video_com_sft, "sft"),
    ("video-com", "rl"): Case(thinkers.video_com_rl, "prompts", {"prompt_length": 2048}),
    ("videorft", "instruct"): Case(partial(thinkers.videorft, name="CoT"), "sft"),
    ("videorft", "rl"): Case(partial(thinkers.videorft, name="RL"), "prompts", {"prompt_length": 2048}, "no"),
    ("vigorl", "instruct"): Case(crops.vigorl_sft, "sft", wide=True),
    ("vigorl", "search"): Case(crops.vigorl_rl, "prompts", {"prompt_length": 2048}, wide=True),
    ("vppo", "rl"): Case(rows.easy_r1, "prompts", UNCHECKED | ALIKE),
    ("vilasr", "cold-start"): Case(frames.vilasr_sft, "sft"),
    ("vilasr", "reflect"): Case(frames.vilasr_sft, "sft"),
    ("vilasr", "rl"): Case(frames.vilasr_rl, "prompts", {"prompt_length": 2048}),
    ("virgo", "text"): Case(rows.virgo_text),
    ("virgo", "visual"): Case(rows.virgo_visual, "sft"),
    ("vision-g1", "round-1"): Case(rows.vision_g1, "prompts", ALIKE),
    ("vision-g1", "round-2"): Case(rows.vision_g1, "prompts", ALIKE),
    ("visreason", "instruct"): Case(tools.visreason),
    ("visreason", "pro"): Case(tools.visreason),
    ("visrl", "boxes"): Case(stage_rows.visrl_boxes, data="visrl/demo_sft_data"),
    ("visrl", "box-pairs"): Case(published_pairs.visrl, data="visrl/demo_rl_data_stage1"),
    ("visrl", "both-pairs"): Case(published_pairs.visrl, "pairs"),
    ("visual-rft", "detect"): Case(rows.visual_rft_detect, "batch"),
    ("visual-rft", "classify"): Case(rows.visual_rft_classify, "batch"),
    ("visual-rft", "ground"): Case(rows.visual_rft_ground, "batch"),
    ("visualwebinstruct", "instruct"): Case(thinkers.visualwebinstruct, "sft", family="internvl"),
    ("visurf", "rl"): Case(rows.visurf, "prompts", {"prompt_length": 1300}),
    ("vitar", "instruct"): Case(partial(tools.vitar_sft, pictures=1), wide=True),
    ("vitar", "rl"): Case(partial(tools.vitar_rl, pictures=1), "prompts", wide=True),
    ("vla-r1", "rl"): Case(thinkers.vla_r1, "prompts", UNCHECKED),
    ("vlaa-thinking", "rl"): Case(thinkers.vlaa_thinking, "prompts", UNCHECKED),
    ("vlm-r1", "rl"): Case(rows.vlm_r1, "prompts"),
    ("vlm-r1-plain", "glm"): Case(rows.vlm_r1, "prompts", family="glm4v"),
    ("vlm-r1-plain", "internvl"): Case(rows.vlm_r1, "prompts", family="internvl"),
    ("vlm-r3", "instruct"): Case(rows.vlm_r3_sft, "sft"),
    ("vlm-r3", "rl"): Case(rows.vlm_r3_rl, "batch", judge="1.0"),
    ("vrag-rl", "instruct"): Case(stage_rows.vrag_sft, "sft", wide=True),
    ("vrag-rl", "rl"): Case(stage_rows.vrag_rl, "prompts", judge="<judge>True</judge>"),
    ("vts-v", "instruct"): Case(stage_rows.vts_v, "sft", {"cutoff_len": 2304}),
}


@pytest.fixture
def _servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What tools of rollouts ask: pages of the tool `search`, vision models, and a teacher."""
    (pages := tmp_path / "pages").mkdir()
    for at, (name, text) in enumerate(stage_rows.PAGES.items()):
        row_files.picture(at % 2).save(pages / f"{name}.jpg")
        (pages / f"{name}.txt").write_text(text)
    monkeypatch.setenv("VIRC_PAGES", str(pages))
    with ExitStack() as stack:
        monkeypatch.setenv(CONTROLLER, stack.enter_context(tool_rows.tool_servers(tool_rows.POINT)).address)
        monkeypatch.setenv("TEACHER_ENDPOINT", stack.enter_context(serve(lambda _: "10")).url)
        yield


def rows_of(case: Case, system: str, workspace: Path) -> str:
    """The rows that a stage is given, by their place in the workspace, or by their name in its `data`."""
    file = case.write(workspace / "data" / (system if case.data else "published"))
    if case.form is None:
        return case.data or str(file.relative_to(workspace))
    words = ("--system", system, "--to", "data/rows", "--name", "rows", "--format", case.form, "--workers", "1")
    done = workspaces.run(workspace, "data", "convert", str(file), *words)
    assert done.returncode == 0, done.stderr
    return str(next((workspace / "data" / "rows").glob("rows.*")).relative_to(workspace))


def based(case: Case, folder: Path) -> str:
    """The model that a stage begins with, where it is made in a folder."""
    if case.family:
        return str(tiny_factory.build(folder, case.family))
    return str(published_crops.wide_base(folder)) if case.wide else "tiny"


@pytest.mark.engine
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("_servers")
@pytest.mark.parametrize(("system", "stage"), TABLE, ids=map("-".join, TABLE))
def test_a_stage_runs_in_its_engine(system: str, stage: str, tmp_path: Path) -> None:
    case, kind = TABLE[system, stage], systems.get(system).stages[stage].kind
    (workspace := tmp_path / "workspace").mkdir()
    registry.load(systems.get(system).offered)
    data = rows_of(case, system, workspace)
    base = based(case, workspace / "base")
    overlay = () if system == "tiny" else ("--with", "cpu")
    named = ("--set", f"data={data}") if case.data else ("--data", data)
    words = ["--from", base, *named, *overlay, "--set", "trackers=[]"]
    with serve(lambda _: case.judge or "") as judge:
        words += ["--judge-endpoint", judge.url] if case.judge else []
        run = workspaces.trained(workspace, system, stage, *words, **{**(RL if kind == "rl" else SMALL), **case.more})
    assert workspaces.state(run)["progress"] == "finished"
    if kind == "rl":
        assert_rewarded(run, system, stage)
    else:
        assert_learnt(run, EMBEDDED_FOLDER if base == "tiny" else Path(base))


def assert_learnt(run: Path, base: Path) -> None:
    """The losses of all steps are numbers, and the weights or the adapter have changed."""
    from safetensors.torch import load_file

    losses = workspaces.losses(run)
    assert [*losses] == [*range(1, STEPS + 1)]
    assert all(map(math.isfinite, losses.values()))
    adapter = run / "checkpoints" / f"checkpoint-{STEPS}" / "adapter_model.safetensors"
    if adapter.exists():
        assert any(weight.any() for name, weight in load_file(adapter).items() if "lora_B" in name)  # begin at zero
    else:
        before = {name: weight.float() for name, weight in load_file(base / "model.safetensors").items()}
        assert not workspaces.same(before, workspaces.weights(run, STEPS))


def assert_rewarded(run: Path, system: str, stage: str) -> None:
    """Each rollout has a reward by the terms of the stage, and each of these was seen."""
    traces = [json.loads(file.read_bytes()) for file in (run / "rollouts").glob("step_*/*/trace.json")]
    assert len(traces) == SAMPLES
    assert all(math.isfinite(trace["reward"]) for trace in traces)
    found = systems.get(system)
    reward = resolve(found, stage).config.reward
    total = rewards.find("virc") if system == "virc" else rewards.of(reward, found.file.parent)
    terms = {each.name for each in total.terms}
    seen = {name for trace in traces for name, value in trace["terms"].items() if value is not None}
    assert seen
    assert seen <= terms
    if system not in ("virc", *HAS_NO_PROGRAM):  # whose terms are counted by hand
        assert terms - seen <= seen_in_cases(system)


def seen_in_cases(system: str) -> set[str]:
    """The terms of a system that recorded cases see."""
    names = [name for name in published_rewards.FILES if published_rewards.read(name).system == system]
    return {term for name in names for term, values in published_rewards.compare(name).values.items() if values}


def test_every_stage_of_a_supported_system_runs_in_its_engine() -> None:
    stages = {(name, stage) for name, system in systems.discover().items() if system.support for stage in system.stages}
    assert {*TABLE} == stages
