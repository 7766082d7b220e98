"""What a stage starts from and what it trains: the run before, an adapter, its rows, and the weights that learn."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import small_lora
from support.made import make

from virc.core.errors import ConfigError, EngineError
from virc.engines.llamafactory import log as llamafactory_log
from virc.engines.verl import log as verl_log
from virc.models import sizes
from virc.models.registry import EMBEDDED_FOLDER, Weights
from virc.runs import run as runs
from virc.runs.run import Info
from virc.stages import resolve as stages
from virc.stages.resolve import Resolved
from virc.systems import registry as systems
from virc.training import inputs
from virc.training.inputs import Base
from virc.training.request import TrainRequest


def stage(name: str, *sets: str, **fields: Any) -> Resolved:
    return TrainRequest(system="tiny", stage=name, assignments=sets, **fields).resolve()


def test_a_stage_starts_from_the_newest_run_before_it_of_its_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Weights("it", EMBEDDED_FOLDER)
    monkeypatch.setattr(inputs.models, "find", lambda *_: found)
    runs_before = (("first", "tiny-base"), ("newest", "tiny-base"), ("others", "qwen"), ("running", "tiny-base"))
    for day, (name, root) in enumerate(runs_before, 1):
        run = make(tmp_path, name, created=f"2026-01-0{day}T00:00:00+00:00", root=root)
        runs.write_state(run, progress="stopped" if name == "running" else "finished")
    assert inputs.base(stage("practice"), tmp_path).name == "newest"


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


TRAINED = 854_144  # parameters of the language model of tiny, as LLaMA-Factory logs it


def resolved(stage: str, *assignments: str) -> Resolved:
    return stages.resolve(systems.get("tiny"), stage, assignments=assignments)


def base(adapter: Path | None = None, folder: Path = EMBEDDED_FOLDER) -> Base:
    return Base("tiny", folder, "tiny", adapter)


@pytest.mark.parametrize(
    ("assignments", "trained"),
    [
        (("frozen_modules=[]",), {"language": TRAINED, "vision": 476_064, "projector": 197_216}),
        (("lora.targets=[q_proj, v_proj]", "lora.rank=8"), {"language": 14_336}),
        (("lora.targets=[attn.qkv]", "lora.rank=2", "frozen_modules=[language]"), {"vision": 2 * (96 + 3 * 96) * 3}),
    ],
)
def test_what_is_trained_is_counted_by_part(assignments: tuple[str, ...], trained: dict[str, int]) -> None:
    config = inputs.with_adapter(resolved("instruct", *assignments), base()).config
    found = sizes.of_folder(EMBEDDED_FOLDER).trained(config.lora, config.frozen)
    assert {part: count for part, count in found.items() if count} == trained


@pytest.mark.integration
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), None),
        (("lora.rank=8",), r"the adapter tiny has rank 4, .* \(lora.rank, --set\)"),
        (("lora.alpha=8",), "has alpha 64"),
    ],
)
def test_a_continued_adapter_keeps_its_rank_and_alpha(asked: tuple[str, ...], said: str | None, tmp_path: Path) -> None:
    stage, of = resolved("instruct", "lora={}", *asked), base(small_lora.write(tmp_path / "a"))
    if said:
        with pytest.raises(ConfigError, match=said) as refused:
            inputs.with_adapter(stage, of)
        assert str(refused.value.hint).startswith("--set lora.")
        return
    found = inputs.with_adapter(stage, of)
    assert (found.config.lora.rank, found.config.lora.alpha) == (4, 64)
    assert found.origins["lora.alpha"] == "the adapter tiny"


@pytest.mark.integration
def test_an_adapter_on_a_frozen_part_is_not_continued_by_rl(tmp_path: Path) -> None:
    import torch

    qkv = f"{small_lora.PREFIX}model.visual.blocks.0.attn.qkv.lora"
    seen = {f"{qkv}_A.weight": torch.zeros(4, 96), f"{qkv}_B.weight": torch.zeros(288, 4)}
    of = base(small_lora.write(tmp_path / "a", small_lora.tensors() | seen))
    with pytest.raises(ConfigError, match=r"on parts that are frozen: vision \(frozen_modules\)") as refused:
        inputs.with_adapter(resolved("rl", "lora={}"), of)
    hint = "--set 'frozen_modules=[projector]', or virc merge tiny, then --from the folder that it prints"
    assert refused.value.hint == hint
    assert inputs.with_adapter(resolved("rl", "lora={}", "frozen_modules=[projector]"), of).config.lora


def test_a_setting_of_an_earlier_version_that_a_run_left_out_is_no_fault() -> None:
    was = info()
    assert inputs.config_of(msgspec.structs.replace(was, settings=was.settings | {"curriculum": None})).epochs == 1.0
    with pytest.raises(ConfigError, match="are not of this version of virc"):
        inputs.config_of(msgspec.structs.replace(was, settings=was.settings | {"curriculum": {"column": "type"}}))


def info(**settings: Any) -> Info:
    stage = resolved("instruct", *(f"{name}={value}" for name, value in settings.items()))
    return Info(
        name="r", system="tiny", stage="instruct", kind="sft", overlays=(), created="", base=str(EMBEDDED_FOLDER),
        root="tiny", data="rows.json", dataset="rows", rows=1, longest=9, python="python", origins={},
        environment="e", recipes="", device="cpu", settings=msgspec.to_builtins(stage.config),
    )  # fmt: skip


LLAMAFACTORY = "llamafactory.model.loader:144 >> trainable params: {:,} || all params: 1,527,424 || trainable%: 55.9\n"


VERL = "(WorkerDict pid=7) virc: {:,} parameters are trained\n"


@pytest.mark.parametrize(("reader", "line"), [(llamafactory_log, LLAMAFACTORY), (verl_log, VERL)])
def test_an_engine_that_trains_something_else_is_ended(reader: Any, line: str, tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("no count")
    inputs.check_trained(info(), reader.trained(log))
    log.write_text("before\n" + line.format(TRAINED))
    inputs.check_trained(info(), reader.trained(log))
    for count in (TRAINED + 1, TRAINED + 476_064, 14_336):
        log.write_text(line.format(count) + "after")
        with pytest.raises(EngineError, match=f"the engine trains {count:,} parameters, and the settings say 854,144"):
            inputs.check_trained(info(), reader.trained(log))
    adapter = small_lora.write(tmp_path / "a")  # of rank 4, on one layer in each of four blocks: 384 to 128
    continued = msgspec.structs.replace(info(), adapter=str(adapter))
    inputs.check_trained(continued, 4 * 4 * (384 + 128))
    with pytest.raises(EngineError, match="and the settings say 8,192"):
        inputs.check_trained(continued, TRAINED)
