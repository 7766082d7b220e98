"""What we say of LLaMA-Factory's keys is what the installed engine does."""

import ast
import json
import os
import subprocess
from pathlib import Path

import engine_keys
import engine_source
import pytest
from support.called import virc
from support.engine_python import interpreter

from virc.engines.llamafactory.plan import KEYS as ENGINE
from virc.engines.llamafactory.plan import TEMPLATES

KEYS = ENGINE.accepted
RECIPES = engine_keys.FOLDER.parents[1]

# Where dead keys are read without effect.
WITHOUT_EFFECT = {
    # made of text a mapping or a list, or looked at for other stages
    "llamafactory/hparams/model_args.py:VllmArguments.__post_init__": {"VllmArguments"},
    "llamafactory/hparams/model_args.py:SGLangArguments.__post_init__": {"SGLangArguments"},
    "llamafactory/hparams/training_args.py:RayArguments.__post_init__": {"RayArguments"},
    "llamafactory/hparams/finetuning_args.py:FinetuningArguments.__post_init__": {
        "OFTArguments", "RLHFArguments", "freeze_trainable_modules", "freeze_extra_modules",
    },
    "llamafactory/hparams/parser.py:get_train_args": {"RLHFArguments", "infer_backend", "shift_attn", "use_mca"},
    "llamafactory/hparams/parser.py:_check_extra_dependencies": {"infer_backend"},
    # for a method, a kind of model or a tracker that a stage does not have
    "llamafactory/model/adapter.py:_setup_freeze_tuning": {"freeze_trainable_modules", "freeze_extra_modules"},
    "llamafactory/model/adapter.py:_setup_lora_tuning": {"OFTArguments", "offload_folder"},
    "llamafactory/model/model_utils/longlora.py:configure_longlora": {"shift_attn"},
    "llamafactory/model/model_utils/moe.py:configure_moe": {"moe_aux_loss_coef"},
    "llamafactory/model/patcher.py:patch_processor": {
        "audio_sampling_rate", "crop_to_patches", "image_do_pan_and_scan", "use_audio_in_video",
    },
    "llamafactory/data/collator.py:MultiModalDataCollatorForSeq2Seq._compute_rope_position_ids": {"use_audio_in_video"},
    "llamafactory/data/mm_plugin.py:MMPluginMixin._get_mm_inputs": {"audio_sampling_rate", "image_do_pan_and_scan"},
    "llamafactory/data/mm_plugin.py:Gemma3Plugin.process_messages": {"image_do_pan_and_scan"},
    "llamafactory/data/mm_plugin.py:Gemma4Plugin._get_mm_inputs": {"audio_sampling_rate"},
    "llamafactory/data/mm_plugin.py:InternVLPlugin._get_mm_inputs": {"crop_to_patches"},
    "llamafactory/data/mm_plugin.py:MiniCPMVPlugin._get_mm_inputs": {"audio_sampling_rate"},
    "llamafactory/data/mm_plugin.py:MiniCPMV4_6Plugin._get_mm_inputs": {"audio_sampling_rate"},
    "llamafactory/data/mm_plugin.py:Qwen2OmniPlugin._get_mm_inputs": {"audio_sampling_rate"},
    "llamafactory/data/mm_plugin.py:Qwen2OmniPlugin.process_messages": {"use_audio_in_video"},
    "llamafactory/data/template.py:get_template_and_fix_tokenizer": {"enable_thinking", "preserve_thinking"},
    "llamafactory/train/trainer_utils.py:get_swanlab_callback": {"SwanLabArguments"},
    # only where a model is not trained, or is loaded in parts
    "llamafactory/model/patcher.py:patch_config": {"infer_dtype", "offload_folder"},
    "llamafactory/model/model_utils/kv_cache.py:configure_kv_cache": {"use_kv_cache"},
    "llamafactory/train/sft/workflow.py:run_sft": {"GeneratingArguments"},
    # a warning
    "transformers/training_args.py:TrainingArguments.__post_init__": {"logging_dir"},
    # after it has been overwritten
    "llamafactory/train/tuner.py:_training_function": {"use_mca"},
    "transformers/trainer.py:Trainer._get_collator_with_removed_columns": {"remove_unused_columns"},
    "transformers/trainer.py:Trainer._remove_unused_columns": {"remove_unused_columns"},
}  # fmt: skip


def dead() -> list[str]:
    """Every key of which we say that a stage does not read it."""
    return [name for name in KEYS if (ENGINE.verdict(name) or ("",))[0] == "dead"]


@pytest.fixture(scope="module")
def readers() -> dict[str, set[str]]:
    """Key -> the functions of the installed engine that read it in a stage."""
    return engine_source.readers(frozenset(KEYS))


@pytest.mark.engine
def test_no_stage_reads_a_dead_key_to_any_effect(readers: dict[str, set[str]]) -> None:
    alive = {
        (name, place)
        for name in dead()
        for place in readers.get(name, ())
        if not {name, KEYS[name].group} & WITHOUT_EFFECT.get(place, set())
    }
    assert not alive


@pytest.mark.engine
def test_every_key_that_no_stage_reads_is_called_dead_or_refused(readers: dict[str, set[str]]) -> None:
    assert not [name for name in KEYS if not readers.get(name) and not ENGINE.verdict(name)]


@pytest.mark.engine
def test_the_table_of_places_holds_no_more_than_there_is(readers: dict[str, set[str]]) -> None:
    found = {(place, each) for name in dead() for place in readers.get(name, ()) for each in (name, KEYS[name].group)}
    assert not [
        (place, each) for place, names in WITHOUT_EFFECT.items() for each in names if (place, each) not in found
    ]


@pytest.mark.engine
def test_the_engine_overwrites_what_we_say_it_does() -> None:
    overwritten = engine_source.stored("llamafactory/hparams/parser.py", "get_train_args")
    assert {"remove_unused_columns": False, "use_mca": False}.items() <= overwritten.items()


@pytest.mark.engine
def test_the_templates_of_a_stage_do_not_think() -> None:
    source = (engine_source.packages() / "llamafactory/data/template.py").read_text()
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    named = {
        ast.literal_eval(given["name"]): given
        for call in calls
        if ast.unparse(call.func) == "register_template"
        and "name" in (given := {word.arg: word.value for word in call.keywords})
    }
    assert "ReasoningTemplate" in source
    assert not [template for template in TEMPLATES.values() if "template_class" in named[template]]


@pytest.mark.engine
def test_the_list_is_what_the_engine_accepts(tmp_path: Path) -> None:
    command = [str(interpreter("sft")), engine_keys.__file__, "llamafactory", str(tmp_path / "keys.json")]
    env = {**os.environ, "PYTHONPATH": str(RECIPES), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, env=env, check=True, timeout=240)
    file = engine_keys.FOLDER / "llamafactory" / "keys.json"
    assert (tmp_path / "keys.json").read_bytes() == file.read_bytes(), f"write it anew: {engine_keys.__doc__}"


@pytest.mark.engine
def test_rows_split_off_for_evaluation_are_evaluated_and_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert virc("data", "synth", "--to", "data/polygons", "--count", 16, "--seed", 1, "--formats", "sft").code == 0
    given = ("steps=2", "train_batch_size=4", "engine.val_size=4", "engine.eval_strategy=steps", "engine.eval_steps=1")
    sets = [word for each in given for word in ("--set", each)]
    done = virc("train", "tiny", "--stage", "instruct", "--name", "run", *sets)
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in Path("runs/run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line.get("eval_loss")] == [1, 2]


@pytest.mark.engine
def test_the_private_method_that_is_changed_writes_its_lines_of_metrics() -> None:
    source = (engine_source.packages() / "llamafactory" / "train" / "callbacks.py").read_text()
    assert "def _write_log(self, output_dir: str, logs: dict[str, Any]) -> None:" in source
    assert "self.thread_pool.submit(self._write_log, args.output_dir, logs)" in source
