"""What a stage starts from: the run of the stage before, an adapter, and rows that are not those it learns from."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import small_lora
from support.made import make

from virc.core.errors import ConfigError, DataError, SetupError
from virc.data.formats.registry import Source
from virc.engines import registry as engines
from virc.runs import run as runs
from virc.stages.resolve import Resolved
from virc.training import inputs, prepare
from virc.training.request import TrainRequest


def stage(name: str, *sets: str, **fields: Any) -> Resolved:
    return TrainRequest(system="tiny", stage=name, assignments=sets, **fields).resolve()


def test_a_stage_starts_from_the_newest_run_before_it_of_its_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_base_of", lambda name, *_: name)
    runs_before = (("first", "tiny-base"), ("newest", "tiny-base"), ("others", "qwen"), ("running", "tiny-base"))
    for day, (name, root) in enumerate(runs_before, 1):
        run = make(tmp_path, name, created=f"2026-01-0{day}T00:00:00+00:00", root=root)
        runs.write_state(run, progress="stopped" if name == "running" else "finished")
    assert inputs.base(stage("practice"), tmp_path) == "newest"


@pytest.mark.parametrize(
    ("asked", "said", "hint"),
    [
        (stage("practice", overlays=("lora",)),
         "no run of the stage instruct that began with tiny-base has finished in WORK/runs",
         "virc train tiny --stage instruct --with lora, or name what to start from: --from"),
        (stage("practice", "after=null"), "tiny-practice names neither `base` nor `after`", "--from MODEL"),
        (stage("practice", base="adapter"), "adapter is a LoRA adapter, and tiny-practice trains whole weights",
         "virc merge adapter, then --from the folder that it prints; or go on with the adapter: --with lora"),
    ],
    ids=["no run", "no base", "an adapter"],
)  # fmt: skip
def test_a_base_that_cannot_be_is_one_sentence(
    asked: Resolved, said: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small_lora.describe(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").touch()
    with pytest.raises(ConfigError) as refused:
        inputs.base(asked, tmp_path)
    assert (refused.value.message, refused.value.hint) == (said.replace("WORK", str(tmp_path)), hint)


def test_a_kind_of_another_version_is_named() -> None:
    with pytest.raises(ConfigError, match="stages of kind 'distill' are not of this version of virc"):
        engines.of_kind("distill")


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"model_type"'])
def test_a_config_without_a_type_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=f"{tmp_path}/config.json names no model_type: "):
        inputs.model_type(tmp_path)


DRAWN = "virc data synth --to data/polygons --count 2000 --seed 1 --formats"
SAMPLE = "virc data sample data/polygons/problems.jsonl --pairs right --to data/polygons/pairs.jsonl"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (stage("dpo", base="tiny"), f"{DRAWN} batch, then {SAMPLE}"),
        (stage("rl", base="tiny"), f"{DRAWN} sft,rl,prompts"),
        (stage("rl", "data=mine/rows", base="tiny"),
         "rows of your own: --data FILE; to validate with: --set validation=FILE"),
    ],
)  # fmt: skip
def test_rows_that_are_not_here_are_named_with_what_makes_them(asked: Resolved, hint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file ") as refused:
        inputs.rows(asked, tmp_path)
    assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("rows", None, None),
        ("row", "INFO has no dataset 'row'", "did you mean 'rows'?"),
        ("gone", "INFO names gone.json for gone, which is not there", "virc data check FOLDER"),
    ],
)
def test_rows_of_a_folder_go_by_their_entry(name: str, said: str | None, hint: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    columns = {"formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"}}
    entries = {"rows": {"file_name": "solved.json", **columns}, "gone": {"file_name": "gone.json", **columns}}
    (folder / "dataset_info.json").write_text(json.dumps(entries))
    (folder / "solved.json").write_text("[]")
    if said is None:
        assert inputs._of_dataset(f"mine/{name}", stage("instruct"), tmp_path).file == folder / "solved.json"
        return
    with pytest.raises(DataError) as refused:
        inputs._of_dataset(f"mine/{name}", stage("instruct"), tmp_path)
    place = {"INFO": str(folder / "dataset_info.json"), "FOLDER": str(folder)}
    for word, path in place.items():
        said, hint = said.replace(word, path), str(hint).replace(word, path)
    assert (refused.value.message, refused.value.hint) == (said, hint)


def test_of_files_of_one_name_the_table_is_taken(tmp_path: Path) -> None:
    for ending in (".jsonl", ".parquet"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"rows{ending}").write_text("{}\n")
        with pytest.raises(DataError, match=f"rows{ending}"):
            inputs.rows(stage("instruct", "data=rows"), tmp_path)


def test_rows_are_those_of_the_chosen_variant_and_a_path_from_here_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = json.dumps({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "a"}]})
    for place in ("data/of-big.jsonl", "data/of-small.jsonl", "mine.jsonl", "folder/only.jsonl"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(line)
    for words, found in (
        (("data=of-{size}", "variant.size=big"), "data/of-big.jsonl"),
        (("data=mine.jsonl",), "mine.jsonl"), (("data=folder",), "folder/only.jsonl"),
    ):  # fmt: skip
        assert inputs.rows(stage("instruct", *words), tmp_path).file.absolute() == tmp_path / found


@pytest.mark.parametrize(
    ("name", "hint"),
    [("row", "did you mean 'rows'?"), ("row.parquet", "virc download CRUX"), ("gone", "virc download CRUX")],
)
def test_rows_of_a_fetched_dataset_that_are_not_there_are_fetched(name: str, hint: str, tmp_path: Path) -> None:
    asked = TrainRequest(system="virc", stage="instruct").resolve()
    folder = next(iter(asked.system.datasets))
    (tmp_path / "data" / folder).mkdir(parents=True)
    entries = {each: {"file_name": f"{each}.json"} for each in ("rows", "gone")}
    (tmp_path / "data" / folder / "dataset_info.json").write_text(json.dumps(entries))
    with pytest.raises(DataError) as refused:
        inputs._of_dataset(f"{folder}/{name}", asked, tmp_path)
    assert refused.value.hint == hint.replace("CRUX", folder)


def test_pairs_are_no_rows_of_rl() -> None:
    pairs = Source(Path("/pairs.jsonl"), "pairs", "pairs")
    for rollout, content in (("multi_turn", "pairs of replies, not whole problems"), ("per_cru", "no single units")):
        asked = stage("rl", f"rollout={rollout}", "response_length=768", base="tiny")
        with pytest.raises(DataError, match=f"/pairs.jsonl is of the format pairs, which has {content}") as refused:
            inputs._check_format(pairs, asked)
        batch = "virc data convert /pairs.jsonl --to DIR --format batch"
        assert refused.value.hint == f"{batch} writes their problems, which need an `answer` each"


def test_a_package_that_a_setting_needs_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = prepare.environment_of(stage("instruct"))
    own = type(environment)(**{**{f: getattr(environment, f) for f in environment.__struct_fields__}, "extra": ("x",)})
    asked = stage("instruct", "trackers=[wandb]")
    for printed, refused in (('{"wandb": "1"}', False), ('{"torch": "2"}', True)):
        monkeypatch.setattr(prepare.processes, "output", lambda _, printed=printed: printed)
        if not refused:
            prepare._check_packages(asked, own, Path("python"))
            continue
        with pytest.raises(SetupError, match="tiny-instruct needs wandb, which the environment") as error:
            prepare._check_packages(asked, own, Path("python"))
        assert str(error.value.hint).startswith("--set trackers=[], or your own environment that has it: virc env")
