"""Which setting of ours each key of LLaMA-Factory follows from, and why its value is not the published one (D11)."""

from collections.abc import Mapping

from virc.engines.changed import Reasons

_OURS: Mapping[str, str] = {
    "model_name_or_path": "base", "adapter_name_or_path": "base", "finetuning_type": "lora",
    "freeze_vision_tower": "frozen_modules", "freeze_multi_modal_projector": "frozen_modules", "freeze_language_model": "frozen_modules",
    "lora_rank": "lora.rank", "lora_alpha": "lora.alpha", "lora_dropout": "lora.dropout", "lora_target": "lora.targets",
    "deepspeed": "zero", "dataset": "data", "dataset_dir": "data", "media_dir": "data", "cutoff_len": "cutoff_len",
    "image_min_pixels": "min_pixels", "image_max_pixels": "max_pixels", "preprocessing_num_workers": "loaders",
    "dataloader_num_workers": "loaders", "logging_steps": "log_every", "save_strategy": "save_steps", "save_steps": "save_steps",
    "save_total_limit": "save_total_limit", "report_to": "trackers", "per_device_train_batch_size": "micro_batch_size_per_device",
    "gradient_accumulation_steps": "train_batch_size", "learning_rate": "learning_rate", "num_train_epochs": "epochs",
    "max_steps": "steps", "lr_scheduler_type": "schedule", "warmup_steps": "warmup_ratio", "warmup_ratio": "warmup_ratio",
    "bf16": "precision", "use_cpu": "device", "max_grad_norm": "max_grad_norm", "flash_attn": "attention",
    "enable_liger_kernel": "use_liger", "disable_gradient_checkpointing": "gradient_checkpointing", "seed": "seed",
}  # fmt: skip
_FIXED: Mapping[str, str] = {
    "stage": "a stage of kind sft is sft", "do_train": "a stage trains", "template": "it follows from the base",
    "trust_remote_code": "code that comes with weights is not run", "overwrite_cache": "rows are read anew",
    "output_dir": "it is the run's folder", "overwrite_output_dir": "a run's folder is its own",
    "resume_from_checkpoint": "virc train --resume finds it", "save_only_model": "a run can be resumed",
    "enable_jit_checkpoint": "virc saves when a run is asked to stop",
    "include_num_input_tokens_seen": "it is measured",
    "logging_first_step": "a first line says how many steps there are",
    "ddp_timeout": "the other devices wait while one reads the rows",
}  # fmt: skip
OWN: Mapping[str, str] = {**_OURS, **_FIXED}
"""Engine key -> the setting of ours that it follows from, or why it is not to be set."""

_SEVERAL: Mapping[str, tuple[str, ...]] = {
    "dataset": ("data", "variant"),
    "gradient_accumulation_steps": ("train_batch_size", "micro_batch_size_per_device", "devices", "nodes"),
}
"""Keys that follow from several settings."""

_WHY: Mapping[str, str] = {
    "trust_remote_code": "Qwen2.5-VL needs none, and code of strangers is not run",
    "deepspeed": "the same settings, written into the run's folder",
    "dataset": "the name in the file that is given",
    "flash_attn": "the tested environment holds no flash-attn; the same sums by PyTorch",
    "preprocessing_num_workers": "more than 16 gain nothing",
    "plot_loss": "virc runs plot draws it from metrics.jsonl",
    "save_only_model": "a run can be resumed; of old checkpoints only the weights stay",
    "report_to": "metrics.jsonl is always written; trackers are asked for by name",
    "warmup_ratio": "deprecated in transformers 5: warmup_steps takes the same share",
    "save_steps": "not read when saving by epoch",
    "resume_from_checkpoint": "given when there is something to resume",
    "weight_decay": "the engine's own default",
    "train_mm_proj_only": "LLaMA-Factory 0.9.5 has no such key: what is frozen says it",
    "max_samples": "every row of the file is trained on",
    "val_size": "nothing is evaluated while training",
    "per_device_eval_batch_size": "nothing is evaluated while training",
    "eval_strategy": "nothing is evaluated while training",
    "eval_steps": "nothing is evaluated while training",
    "warmup_steps": "a share of the steps, in place of warmup_ratio",
    "include_num_input_tokens_seen": "metrics.jsonl says how many tokens a second",
    "logging_first_step": "a first line says how many steps there are, also where they are few",
    "seed": "the engine's own default, written down",
    **dict.fromkeys(
        ("model_name_or_path", "adapter_name_or_path", "media_dir", "dataset_dir", "output_dir"),
        "where it lies here",
    ),
}

REASONS = Reasons(OWN, _SEVERAL, _WHY)
