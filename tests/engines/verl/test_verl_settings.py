"""Settings of RL that no golden file has: which of verl's keys each becomes, and which make no sense together."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from virc.engines.environment import place_before
from virc.engines.verl import plan as verl
from virc.stages.context import Place
from virc.stages.rl import Config
from virc.stages.sft import Lora, Part

RUN = Path("/w/runs/r")
ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))
VLLM = f"{ROLLOUT}.engine_kwargs.vllm"


def place(**changed: Any) -> Place:
    """Where a run would lie."""
    given = {
        "base": Path("/w/base"), "model_type": "qwen2_5_vl", "media": Path("/w/data"), "data": RUN / "train.parquet",
        "output": RUN / "checkpoints", "files": RUN / "logs/attempt_1", "python": Path("/env/python"),
        "recipes": Path("/r"), "protocol": RUN / "virc_protocol.json", "reward": RUN / "reward.json",
    }  # fmt: skip
    return Place(**{**given, **changed})


def keys(config: Config, **changed: Any) -> dict[str, Any]:
    """What verl gets of a stage."""
    return verl.flat(config, place(**changed))


def config(**given: Any) -> Config:
    """Eight GPUs, and what is given."""
    return Config(data="d", **given)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(
            {"loss_agg_mode": "seq-mean-token-sum-norm", "response_length": 300},
            {f"{ACTOR}.loss_agg_mode": "seq-mean-token-sum-norm", f"{ACTOR}.loss_scale_factor": 300},
        ),
        ({"top_k": 50, "top_p": 0.9}, {f"{ROLLOUT}.top_k": 50, f"{ROLLOUT}.top_p": 0.9}),
        ({"order": "shuffled"}, {"data.shuffle": None}),
        ({"prompt_length": 900, "response_length": 100},
         {"data.max_prompt_length": 900, "data.max_response_length": 100, f"{ROLLOUT}.max_model_len": 1000,
          f"{ROLLOUT}.max_num_batched_tokens": 1000}),
        ({"dynamic_sampling": True, "train_batch_size": 128}, {"algorithm.filter_groups.enable": True,
         "trainer.v1.sampler.sampler_kwargs.train_batch_size": 128}),
        ({"test_freq": None}, {"data.val_max_samples": 1, "trainer.val_before_train": False,
        "trainer.test_freq": None}),
        ({"engine": {ACTOR: {"ppo_epochs": 2}}}, {f"{ACTOR}.ppo_epochs": 2}),
        (
            {"engine": {f"{VLLM}.max_logprobs": 5}},
            {f"{VLLM}.max_logprobs": 5, f"{VLLM}.mm_processor_cache_gb": 0},
        )],
)  # fmt: skip
def test_a_setting_becomes_verls_key(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = keys(config(**given))
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(("kind", "is_packed"), [("qwen2_5_vl", True), ("lfm2_vl", False)])
def test_rows_are_packed_where_no_convolution_sees_the_one_before(kind: str, is_packed: bool) -> None:
    found = keys(config(attention="fa2"), model_type=kind)
    assert found.get(f"{MODEL}.use_remove_padding", True) == is_packed  # verl's own default
    assert (f"{MODEL}.override_config.attn_implementation" in found) != is_packed


def test_an_adapter_is_vllms_own_and_goes_on_from_one() -> None:
    lora = Lora(rank=4, alpha=8)
    found = keys(config(lora=lora), adapter=Path("/w/adapter"))
    assert found[f"{MODEL}.lora_adapter_path"] == "/w/adapter"
    assert f"{MODEL}.lora.merge" not in found
    assert keys(config(lora=lora, rollout_engine="transformers"))[f"{MODEL}.lora.merge"] is True
    named = keys(config(lora=msgspec.structs.replace(lora, targets=("q_proj",))))
    assert named[f"{MODEL}.target_modules"] == ["q_proj"]


def test_a_run_goes_on_from_the_checkpoint_it_is_given() -> None:
    found = keys(config(), resume=RUN / "checkpoints/global_step_20")
    assert found["trainer.resume_mode"] == "resume_path"
    assert found["trainer.resume_from_path"] == "/w/runs/r/checkpoints/global_step_20"
    assert found[f"{MODEL}.path"] == "/w/base"
    assert keys(config())["trainer.resume_mode"] == "disable"


def test_a_reply_of_several_is_bounded_and_one_alone_is_not() -> None:
    for rollout, turns, whole in (
        ("per_cru", 16, {}),
        ("multi_turn", 16, {"max_turns": 16, "max_tokens": 1024}),
        ("multi_turn", 1, {"max_turns": 1}),
    ):
        planned = verl.plan(config(rollout=rollout, max_turns=turns), place(), {}, {})
        (loop,) = yaml.safe_load(planned.files[str(RUN / "logs/attempt_1" / verl.AGENTS)])
        assert {name: loop[name] for name in ("max_turns", "max_tokens") if name in loop} == whole


def test_nothing_leaves_the_machine_unless_a_tracker_is_asked_for() -> None:
    env = verl.environment(config(), place())
    assert (env["RAY_USAGE_STATS_ENABLED"], env["VLLM_NO_USAGE_STATS"], env["DO_NOT_TRACK"]) == ("0", "1", "1")
    assert "wandb" not in keys(config())["trainer.logger"]
    assert not [name for name in env if name.startswith(("WANDB", "SWANLAB", "TENSORBOARD", "MLFLOW", "TRACKIO"))]


def test_trackers_write_into_the_runs_folder_unless_the_user_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = config(trackers=("mlflow", "swanlab", "tensorboard", "trackio", "wandb"))
    assert keys(chosen)["trainer.logger"] == ["console", "file", *chosen.trackers]
    names = ("MLFLOW_TRACKING_URI", "_MLFLOW_SERVER_ARTIFACT_ROOT", "SWANLAB_LOG_DIR", "TENSORBOARD_DIR", "TRACKIO_DIR",
             "WANDB_DIR")  # fmt: skip
    for name in names:
        monkeypatch.delenv(name, raising=False)
    env = verl.environment(chosen, place())
    assert [env[name] for name in names] == [
        "sqlite:////w/runs/r/mlflow.db", "/w/runs/r/mlflow", "/w/runs/r/swanlog", "/w/runs/r/tensorboard",
        "/w/runs/r/trackio", "/w/runs/r",
    ]  # fmt: skip
    assert env["MLFLOW_DISABLE_TELEMETRY"] == "true"  # it heeds no DO_NOT_TRACK of 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("TRACKIO_DIR", "/tracked")
    assert not {"TRACKIO_DIR", *names[:2]} & verl.environment(chosen, place()).keys()


LAYERS = {
    "vision": ("model.visual.blocks.0.attn.qkv", "model.visual.patch_embed.proj"),
    "projector": ("model.visual.merger.mlp.0", "model.visual.merger.linear_fc2"),
    "language": ("model.language_model.layers.0.self_attn.q_proj",),
}


@pytest.mark.parametrize(
    ("named", "adapted"),
    [
        (None, {"language"}),
        (("vision", "projector"), {"language"}),
        (("vision",), {"language", "projector"}),
        (("language",), {"vision", "projector"}),
        ((), {"vision", "projector", "language"}),
    ],
)
def test_an_adapter_is_on_the_parts_that_are_not_frozen(named: tuple[Part, ...] | None, adapted: set[str]) -> None:
    """As PEFT reads `exclude_modules`; vLLM takes the part of images where there is one."""
    found = keys(config(lora=Lora(), frozen_modules=named))
    excluded = found.get(f"{MODEL}.exclude_modules") or "(?!)"
    assert {part: {not re.fullmatch(excluded, name) for name in names} for part, names in LAYERS.items()} == {
        part: {part in adapted} for part in LAYERS
    }
    assert found.get(f"{VLLM}.enable_tower_connector_lora", False) == bool(adapted - {"language"})


def test_without_an_adapter_every_part_is_trained() -> None:
    assert config().frozen == ()
    assert f"{VLLM}.enable_tower_connector_lora" not in keys(config())


def test_what_is_published_is_compared_before_anything_is_here() -> None:
    given = {"data": "d/of_{size}", "validation": "v/of_{size}", "variant": {"size": "big"}, "after": "x"}
    found = place_before(Config(**given, test_freq=5), "mine")  # type: ignore[arg-type]
    assert (found.base, found.data, found.dataset) == (Path("the newest run of x"), Path("data/d/of_big"), "of_big")
    assert (found.media, found.validation) == (Path("data/d"), Path("data/v/of_big"))
    assert (found.output, found.files) == (Path("runs/mine/checkpoints"), Path("runs/mine/logs/attempt_1"))
    assert place_before(config(), "mine").validation is None
