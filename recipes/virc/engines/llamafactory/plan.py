"""LLaMA-Factory 0.9.5: the keys, files and command of a stage of supervised fine-tuning, or of preferences."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.config.validation import Fault
from virc.core.plan import Plan, Step
from virc.engines import environment as engines
from virc.engines.llamafactory.keys import KEYS, LORA, PREFERENCE_KEYS
from virc.families import registry as families
from virc.runs.checkpoint_formats.llamafactory import RESUME
from virc.stages import dpo
from virc.stages.context import Place
from virc.stages.sft import Config

NAME = "LLaMA-Factory"
OTHER_ROWS = frozenset({"max_samples", "neat_packing", "packing", "streaming", "val_size"})
"""With one of these the engine counts other rows than there are in the file."""

SETTINGS = "engine.yaml"
DEEPSPEED = "deepspeed.json"
INFO = "dataset_info.json"
START, PREFERENCES = "virc.engines.llamafactory.start", "virc.engines.llamafactory.preferences.start"

READS: Mapping[str, tuple[str, ...]] = {
    "sigmoid": ("pref_loss", "pref_beta", "dpo_label_smoothing"),
    "kto": ("pref_beta", "kto_chosen_weight", "kto_rejected_weight"),
    "orpo": ("pref_loss", "pref_beta"),
    "simpo": ("pref_loss", "pref_beta", "simpo_gamma"),
}
"""Loss -> the keys of preferences that LLaMA-Factory reads for it."""


def contradictions(config: Config) -> Iterator[Fault]:
    """Keys of `engine` that LLaMA-Factory refuses, or ignores, with the other settings once it has begun."""
    given = {name for name, value in config.engine.items() if value}
    if config.lora is None:
        whole = "and this stage trains whole weights"
        for name in sorted(given & LORA):
            yield Fault(
                ("engine", name), f"engine.{name} is for LoRA adapters, {whole}", "«--with lora», or leave it out"
            )
        if "quantization_bit" in given:
            wrong = f"of quantized weights only an adapter is trained, {whole}"
            yield Fault(("engine", "quantization_bit"), wrong, "«--with lora», or leave it out")
    if "streaming" in given:
        if config.steps is None:
            wrong = "with engine.streaming nobody counts the rows, so that an epoch has no end"
            yield Fault(("engine", "streaming"), wrong, "«--set steps=N»")
        if "max_samples" in given:
            wrong = "engine.max_samples does not go with engine.streaming"
            yield Fault(("engine", "max_samples"), wrong, "leave one of them out")


def plan(config: Config, place: Place, published: Mapping[str, Any], origins: Mapping[str, str]) -> Plan:
    """Raises ConfigError: the settings do not fit together."""
    import yaml

    given = settings(config, place)
    info = {place.dataset: {**place.entry, "file_name": str(place.data)}}
    files = {
        str(place.files / SETTINGS): yaml.safe_dump(given, sort_keys=False, allow_unicode=True),
        str(place.files / INFO): _json(info),
    }
    if config.zero:
        files[str(place.files / DEEPSPEED)] = _json(deepspeed(config))
    folder = resume_folder(config, place)
    keys = PREFERENCE_KEYS if isinstance(config, dpo.Config) else KEYS
    return Plan(
        step=_step(config, place),
        files=files,
        changes=keys.changes(given, published, origins),
        loadable=(place.resume, folder) if place.resume and folder and folder != place.resume else None,
    )


def _json(content: object) -> str:
    return msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"


def settings(config: Config, place: Place) -> dict[str, Any]:
    """Every key that LLaMA-Factory gets, in the order of its parser; a run of another version may have further ones.

    Raises:
        ConfigError: the batch cannot be divided, or no template fits the base.
    """
    given = {
        **KEYS.same(config),
        "model_name_or_path": str(place.base if config.lora else place.resume or place.base),
        "adapter_name_or_path": str(place.adapter) if place.adapter else None,
        "trust_remote_code": False,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora" if config.lora else "full",
        "freeze_vision_tower": "vision" in config.frozen_modules,
        "freeze_multi_modal_projector": "projector" in config.frozen_modules,
        "freeze_language_model": "language" in config.frozen_modules,
        "lora_rank": config.lora and config.lora.rank,
        "lora_alpha": config.lora and config.lora.alpha,
        "lora_dropout": config.lora and config.lora.dropout,
        "lora_target": config.lora and ",".join(config.lora.targets),
        "deepspeed": str(place.files / DEEPSPEED) if config.zero else None,
        "dataset": place.dataset,
        "dataset_dir": str(place.files),
        "media_dir": str(place.media),
        "template": families.template(place.model_type),
        **families.sft_keys(place.model_type),
        "overwrite_cache": True,
        "disable_shuffling": True if config.order == "written" else None,
        "preprocessing_num_workers": 2 * config.loaders or None,
        "output_dir": str(place.output),
        "overwrite_output_dir": True,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": "epoch" if config.save_steps == "epoch" else "steps",
        "save_steps": None if config.save_steps == "epoch" else config.save_steps,
        "save_only_model": False,
        "report_to": list(config.trackers) or "none",
        "run_name": place.output.parent.name if config.trackers else None,
        "include_num_input_tokens_seen": "non_padding",
        "gradient_accumulation_steps": config.accumulation(),
        **({"max_steps": config.steps} if config.steps else {"num_train_epochs": config.epochs}),
        "lr_scheduler_type": "constant_with_warmup" if config.schedule == "constant" else config.schedule,
        "bf16": config.precision == "bf16",
        # With DeepSpeed this key makes LLaMA-Factory see one process of several.
        "use_cpu": True if config.device == "cpu" and not config.zero else None,
        "ddp_timeout": 180_000_000,
        "disable_gradient_checkpointing": None if config.gradient_checkpointing else True,
        "resume_from_checkpoint": str(resume_folder(config, place)) if place.resume else None,
        **config.engine,
    }  # fmt: skip
    in_order = {name: given[name] for name in KEYS.keys if name in given} | given
    found = {name: value for name, value in in_order.items() if value is not None}
    return {**found, **_of_preferences(config, place), **config.engine} if isinstance(config, dpo.Config) else found


def _of_preferences(config: dpo.Config, place: Place) -> dict[str, Any]:
    """The keys of the loss, and the model that it compares with if LLaMA-Factory would take another one.

    By itself it takes `model_name_or_path`, which on resuming is the checkpoint; and with an adapter that training
    goes on with, the model without one.
    """
    values = {**PREFERENCE_KEYS.same(config), "pref_loss": config.loss}
    found = {"stage": "kto" if config.loss == "kto" else "dpo", **{name: values[name] for name in READS[config.loss]}}
    if config.referred and (place.adapter or not config.lora):
        found["ref_model"] = str(place.base)
        found |= {"ref_model_adapters": str(place.adapter)} if place.adapter else {}
    return found


def resume_folder(config: Config, place: Place) -> Path | None:
    """The folder of the checkpoint to go on from, as the trainer can load it: see `llamafactory_resume`.

    An adapter it loads by itself, and so does DeepSpeed its own state.
    """
    return place.files / RESUME if place.resume and not (config.lora or config.zero) else place.resume


def deepspeed(config: Config) -> dict[str, Any]:
    """DeepSpeed's settings (its documentation, 'ZeRO Optimizations'); `auto` is filled in by the trainer."""
    zero: dict[str, Any] = {"stage": config.zero, "overlap_comm": False, "contiguous_gradients": True}
    if config.zero == 3:
        zero |= {
            "sub_group_size": 1_000_000_000,
            "reduce_bucket_size": "auto",
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_max_reuse_distance": 1_000_000_000,
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    if config.offload:
        parts = ("offload_optimizer", "offload_param") if config.zero == 3 else ("offload_optimizer",)
        zero |= {part: {"device": "cpu", "pin_memory": True} for part in parts}
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": "auto"},
        "zero_optimization": zero,
    }


def needs(config: Config) -> dict[str, str]:
    return engines.needs(config, config.use_liger) | ({"deepspeed": "zero=0"} if config.zero else {})


def _step(config: Config, place: Place) -> Step:
    start = PREFERENCES if isinstance(config, dpo.Config) else START
    module = ("-m", start, str(place.files / SETTINGS))
    alone = config.devices == config.nodes == 1 and not config.zero
    spread = (
        "-m", "torch.distributed.run", "--nnodes", str(config.nodes), "--nproc-per-node", str(config.devices),
        *(("--standalone",) if config.nodes == 1 else ()),
    )  # fmt: skip
    argv = (str(place.python), *(module if alone else (*spread, *module)))
    return Step(argv, "train with LLaMA-Factory", environment(config, place), through=not alone, is_engine=True)


def environment(config: Config, place: Place) -> dict[str, str]:
    env = {
        **engines.environment(place.recipes),
        "TOKENIZERS_PARALLELISM": "false",
        **engines.of_trackers(config, place.output.parent),
        # Rows have neither: `<video>` in a reply about a page is text, which LLaMA-Factory would count as a video.
        **{f"{medium}_PLACEHOLDER": f"<|no {medium.lower()}|>" for medium in ("VIDEO", "AUDIO")},
        "RECORD_VRAM": "1" if config.device == "cuda" else "",
        **({"CUDA_VISIBLE_DEVICES": ",".join(map(str, config.gpus))} if config.gpus else {}),
    }
    if config.device == "cpu":
        # A second thread makes a step of a small model ten times slower if other work runs at the same time.
        env |= {"CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu" if config.zero else ""}
    return env
