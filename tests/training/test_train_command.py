"""`virc train` up to the moment an engine would start."""

import json
import re
import shlex
from pathlib import Path

import pytest
from support.called import virc
from support.servers import dead_url, serve
from support.solving import answer
from support.tables import cases_of
from support.workspaces import without_cluster

from virc.core import entry_points
from virc.models.registry import EMBEDDED_FOLDER
from virc.systems import registry as systems
from virc.tools import registry as tools

CASES = cases_of(__file__)

NOBODY = dead_url().removesuffix("/v1")
TINY = ("tiny", "--stage", "instruct")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return without_cluster(monkeypatch, tmp_path)


@pytest.fixture
def rows(workspace: Path) -> Path:
    assert virc("data", "synth", "--to", "data/polygons", "--count", 4, "--formats", "sft").code == 0
    return workspace / "data" / "polygons" / "trajectories.json"


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(("words", "code", "said"), CASES["a_mistake_is_one_sentence_and_leaves_nothing"])
def test_a_mistake_is_one_sentence_and_leaves_nothing(workspace: Path, words: list[str], code: int, said: str) -> None:
    done = virc("train", *words)
    assert done.code == code, done.err
    assert said in done.err
    assert done.err.count("error:") == 1
    assert "Traceback" not in done.err
    assert not [path for path in everything(workspace) if path.is_file()]


@pytest.mark.usefixtures("workspace")
def test_rounds_without_their_extra_end_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "own", lambda group: {})
    assert systems.load(systems.PACKAGE / "tiny.yaml").rounds  # read as they stand
    done = virc("train", "tiny", "--rounds", 2)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: the extra of virc train --rounds is not installed\n")


def test_a_dry_run_says_what_is_missing_and_writes_nothing(workspace: Path) -> None:
    done = virc("train", "--stage", "instruct", "--dry-run", "--json")
    assert done.code == 0, done.err
    said = done.json
    assert said["schema"] == "virc.train.plan/1"
    assert [error["kind"] for error in said["missing"]] == ["config", "environment", "data"]
    assert {change["key"] for change in said["changes"]} >= {"flash_attn", "save_only_model", "trust_remote_code"}
    assert "--nproc-per-node" in said["command"]
    assert f"{workspace}/models/Qwen2.5-VL-7B-Instruct" in said["files"][said["command"][-1]]
    pairs = virc("train", "tiny", "--stage", "dpo", "--from", "tiny", "--dry-run", "--json").json["files"]
    (entry,) = (text for name, text in pairs.items() if name.endswith("dataset_info.json"))
    assert f'"{workspace}/data/polygons/pairs.jsonl"' in entry
    assert not everything(workspace)


def test_a_dry_run_before_the_download_estimates_or_says_what_does(workspace: Path) -> None:
    unknown = virc("train", "--stage", "practice", "--with", "lora,1x24g", "--from", "ViRC-3B", "--dry-run").out
    ways = re.search(r"\nnot known: .*: --with (.*), without --from\n", unknown)
    assert ways
    assert ways[1].split(" | ") == ["7b,lora,1x24g", "3b,lora,1x24g"]
    for base, template in (("Qwen/Qwen3-VL-4B-Instruct", "qwen3_vl_nothink"), ("ViRC-3B", "qwen2_vl")):
        assert f"\ntemplate: {template}\n" in virc("train", *TINY, "--from", base, "--dry-run").out
    assert virc("systems", "new", "gauges").code == 0  # its base is in the package
    for words in (("./gauges.yaml",), *(("--with", way) for way in ways[1].split(" | "))):
        assert " GiB  a device\n" in virc("train", *words, "--stage", "practice", "--dry-run").out


def test_a_dry_run_is_the_plan_of_this_workspace(workspace: Path, rows: Path) -> None:
    words = ("--set", "steps=7", "--name", "mine", "--with", "lora", "--set", "engine.use_rslora=true")
    said = virc("train", *TINY, "--dry-run", "--json", *words).json
    import yaml

    keys = yaml.safe_load(said["files"][said["command"][-1]])
    assert keys["model_name_or_path"] == str(EMBEDDED_FOLDER.with_name("tiny-base"))
    assert keys["output_dir"] == str(workspace / "runs" / "mine" / "checkpoints")
    assert (keys["max_steps"], keys["use_rslora"]) == (7, True)
    assert "num_train_epochs" not in keys
    info = json.loads(said["files"][str(Path(said["command"][-1]).with_name("dataset_info.json"))])
    assert info["trajectories"]["file_name"] == str(rows)
    assert said["environment"]["HF_HUB_OFFLINE"] == "1"
    assert said["environment"]["DO_NOT_TRACK"] == "1"
    assert not (workspace / "runs").exists()


def test_a_dry_run_counts_the_rows_as_the_run_does(workspace: Path, rows: Path) -> None:
    words = ("train", "tiny", "--stage", "instruct", "--dry-run")
    done = virc(*words, "--json")
    assert (done.code, done.json["rows"]) == (0, 4), done.err
    longest = done.json["longest"]
    refused = virc(*words, "--set", f"cutoff_len={longest - 1}")
    assert (refused.code, f"--set cutoff_len={longest} holds all" in refused.err) == (5, True), refused.err
    fewer = virc(*words, "--set", f"cutoff_len={longest - 1}", "--set", "filter_overlong=true", "--json")
    info = next(text for name, text in fewer.json["files"].items() if name.endswith("dataset_info.json"))
    assert fewer.json["rows"] < 4
    smaller = virc(*words, "--set", "max_pixels=9000")
    assert (smaller.code, "boxes in pixels would not fit them" in smaller.err) == (5, True), smaller.err
    assert " --to DIR --format sft --max-pixels 9000" in smaller.err
    packed = virc(*words, "--set", "engine.packing=true")
    assert (packed.code, "--set engine.neat_packing=true packs rows" in packed.err) == (3, True), packed.err
    assert virc(*words, "--set", "engine.packing=true", "--set", "engine.neat_packing=true").code == 0
    assert f"{workspace}/runs/tiny-instruct/data/" in info
    assert not (workspace / "runs").exists()


def test_a_dry_run_prints_the_code_of_rewards_and_tools(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_CUSTOM", {})
    words = ("data", "synth", "--to", "data/polygons", "--count", 8, "--formats", "sft,rl,prompts")
    assert virc(*words).code == 0
    monkeypatch.setenv("VIRC_PATH", str(workspace))
    source = Path(tools.get("display_image").__file__ or "").read_text()
    (workspace / "spin.py").write_text(source.replace("display_image", "spin"))
    reward = 'TERMS = ("format",)\n\n\ndef total(t):\n    return float(t.format)\n'
    (workspace / "mine.py").write_text(reward)
    total = ("--set", f"reward.total={workspace / 'mine.py'}", "--set", "prompt_length=2048")
    words = ("train", "tiny", *total, "--stage", "rl", "--with", "multi-turn", "--from", "tiny", "--tools", "+spin")
    rows = ("--data", "data/polygons/prompts.parquet")
    for given in (("--data", "gone.parquet"), rows):  # the code is known without the rows
        done = virc(*words, *given, "--dry-run", "--json")
        assert done.code == 0, done.err
        files = {name.removeprefix(f"{workspace}/runs/tiny-rl/"): text for name, text in done.json["files"].items()}
        assert files["code/mine.py"] == reward
        assert files["code/spin.py"] == (workspace / "spin.py").read_text()
    assert json.loads(files["virc_protocol.json"])["tools"][-1] == "spin"
    assert json.loads(files["reward.json"])["reward"]["total"] == f"{workspace}/runs/tiny-rl/code/mine.py"


@pytest.mark.integration
def test_rows_in_another_chat_protocol_are_named_with_what_mends_them(workspace: Path, rows: Path) -> None:
    assert virc("data", "convert", rows, "--to", "foreign", "--format", "sft", "--system", "deepeyes").code == 0
    words = ("train", "tiny", "--stage", "instruct", "--from", "tiny", "--dry-run", "--data")
    done = virc(*words, "foreign/trajectories.json")
    assert "the rows are in another chat protocol than tiny was trained with" in done.err
    problems, mend = re.findall(r"hint: virc (data convert .*), then virc (.*)", done.err)[0]
    assert "--tools" not in mend
    assert virc(*shlex.split(problems.replace("DIR", "problems"))).code == 0
    (file,) = Path("problems").glob("*.jsonl")
    row = json.loads(file.read_text().splitlines()[0])
    file.write_text(json.dumps(row) + "\n")
    with serve([answer(row["answer"])]) as server:
        made = mend.replace("DIR", "problems").replace("NEW", "mended").replace("URL", server.url)
        mended = virc(*shlex.split(made), "--samples", 1)
    assert mended.code == 0, mended.err
    again = virc(*words, "mended/trajectories.jsonl")
    assert (again.code, "another chat protocol" in again.err) == (0, False), again.err


@pytest.mark.parametrize(
    ("stage", "file", "said", "hint"),
    [
        (
            "practice",
            "problems.jsonl",
            "batch, which has problems without solutions",
            "solve them: virc data sample {}",
        ),
        ("rl", "problems.jsonl", "batch, which has no single turns", "--with multi-turn rolls out whole problems; or"),
    ],
)
def test_rows_that_a_stage_does_not_take_are_refused_with_what_makes_them(
    workspace: Path, stage: str, file: str, said: str, hint: str
) -> None:
    assert virc("data", "synth", "--to", "own", "--count", 2, "--formats", "sft,rl,prompts,batch").code == 0
    (workspace / "own" / "empty.jsonl").touch()
    done = virc("train", "tiny", "--stage", stage, "--data", f"own/{file}", "--from", "tiny")
    assert (done.code, said in done.err) == (5, True), done.err
    assert hint.format(shlex.quote(str(workspace / "own" / file))) in done.err
