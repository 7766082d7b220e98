"""LLaMA-Factory 0.9.5: the keys that virc sets, in the order of its parser, and those that a user may not set."""

from collections.abc import Mapping

from virc.engines.key_table import Key, KeyTable

_KEYS: Mapping[str, Key] = {
    "model_name_or_path": Key(follows=("base",), why="a path on this machine"),
    "adapter_name_or_path": Key(follows=("base",), why="a path on this machine"),
    "flash_attn": Key(
        same="attention", why="the tested environment has no flash-attn; PyTorch computes the same", default="auto"
    ),
    "enable_liger_kernel": Key(same="use_liger", default=False),
    "disable_gradient_checkpointing": Key(follows=("gradient_checkpointing",)),
    "trust_remote_code": Key(fixed="code that comes with weights is not run", default=False),
    "image_max_pixels": Key(same="max_pixels", default=589824),
    "image_min_pixels": Key(same="min_pixels", default=1024),
    "video_max_pixels": Key(why="a stage has no videos", default=65536),
    "template": Key(fixed="it follows from the base"),
    "default_system": Key(fixed="a model's chat protocol is that of its rows"),
    "crop_to_patches": Key(fixed="it follows from the base", default=False),
    "dataset": Key(follows=("data", "variant"), why="the name in the file that is given"),
    "dataset_dir": Key(follows=("data",), why="a path on this machine", default="data"),
    "media_dir": Key(follows=("data",), why="a path on this machine"),
    "cutoff_len": Key(same="cutoff_len", default=2048),
    "overwrite_cache": Key(fixed="rows are always read again", default=False),
    "preprocessing_num_workers": Key(follows=("loaders",), why="more than 16 gain nothing"),
    "max_samples": Key(why="every row of the file is trained on"),
    "val_size": Key(why="nothing is evaluated while training", default=0.0),
    "output_dir": Key(fixed="it is the run's folder"),
    "per_device_train_batch_size": Key(same="micro_batch_size_per_device", default=8),
    "num_train_epochs": Key(follows=("epochs",), default=3.0),
    "max_steps": Key(follows=("steps",), default=-1),
    "learning_rate": Key(same="learning_rate", default=5e-05),
    "lr_scheduler_type": Key(follows=("schedule",), default="linear"),
    "warmup_steps": Key(same="warmup_ratio", why="a share of the steps, in place of warmup_ratio", default=0),
    "optim": Key(default="adamw_torch_fused"),
    "weight_decay": Key(default=0.0),
    "adam_beta2": Key(default=0.999),
    "gradient_accumulation_steps": Key(
        follows=("train_batch_size", "micro_batch_size_per_device", "devices", "nodes"), default=1
    ),
    "max_grad_norm": Key(same="max_grad_norm", default=1.0),
    "bf16": Key(follows=("precision",), default=False),
    "bf16_full_eval": Key(why="nothing is evaluated while training", default=False),
    "gradient_checkpointing": Key(instead="gradient_checkpointing"),
    "gradient_checkpointing_kwargs": Key(instead="gradient_checkpointing"),
    "use_liger_kernel": Key(instead="use_liger"),
    "liger_kernel_config": Key(instead="use_liger"),
    "auto_find_batch_size": Key(instead="micro_batch_size_per_device"),
    "logging_strategy": Key(instead="log_every"),
    "logging_steps": Key(same="log_every", default=500),
    "logging_first_step": Key(fixed="the first line says how many steps there are"),
    "logging_nan_inf_filter": Key(fixed="a loss that is not a number ends the run"),
    "include_num_input_tokens_seen": Key(fixed="metrics.jsonl has the tokens a second", default="no"),
    "report_to": Key(follows=("trackers",), why="metrics.jsonl is always written; trackers are opt-in", default="none"),
    "run_name": Key(fixed="it is the run's name in the trackers"),
    "eval_strategy": Key(why="nothing is evaluated while training", default="no"),
    "eval_steps": Key(why="nothing is evaluated while training"),
    "per_device_eval_batch_size": Key(why="nothing is evaluated while training", default=8),
    "save_only_model": Key(fixed="a run can be resumed", default=False),
    "save_strategy": Key(follows=("save_steps",), default="steps"),
    "save_steps": Key(follows=("save_steps",), why="not read when saving by epoch", default=500),
    "save_total_limit": Key(same="save_total_limit"),
    "enable_jit_checkpoint": Key(fixed="virc saves when a run is asked to stop"),
    "seed": Key(same="seed", default=42),
    "use_cpu": Key(follows=("device",)),
    "dataloader_num_workers": Key(same="loaders", default=0),
    "dataloader_pin_memory": Key(default=True),
    "ddp_timeout": Key(fixed="the other devices wait while one reads the rows", default=1800),
    "fsdp": Key(instead="zero"),
    "fsdp_config": Key(instead="zero"),
    "deepspeed": Key(follows=("zero",), why="the same settings, written into the run's folder"),
    "do_train": Key(fixed="a stage trains", default=False),
    "resume_from_checkpoint": Key(fixed="virc train --resume sets it"),
    "warmup_ratio": Key(follows=("warmup_ratio",), why="deprecated in transformers 5; see warmup_steps"),
    "overwrite_output_dir": Key(fixed="a run's folder is its own", default=False),
    "lora_alpha": Key(follows=("lora.alpha",)),
    "lora_dropout": Key(follows=("lora.dropout",), default=0.0),
    "lora_rank": Key(follows=("lora.rank",), default=8),
    "lora_target": Key(follows=("lora.targets",), default="all"),
    "use_swanlab": Key(instead="trackers"),
    "stage": Key(fixed="a stage of kind sft is sft", default="sft"),
    "finetuning_type": Key(follows=("lora",), default="lora"),
    "freeze_vision_tower": Key(follows=("frozen_modules",), default=True),
    "freeze_multi_modal_projector": Key(follows=("frozen_modules",), default=True),
    "freeze_language_model": Key(follows=("frozen_modules",), default=False),
    "disable_shuffling": Key(follows=("order",)),
    "plot_loss": Key(why="virc runs plot draws it from metrics.jsonl", default=False),
    "train_mm_proj_only": Key(why="LLaMA-Factory 0.9.5 has no such key: what is frozen says it"),
}
_SECRET = "settings, which are kept, are no place for a secret"
_READ_HERE = f"weights and rows are read from this machine, and {_SECRET}"
_ONE_SET = "a run knows one set of rows"
_CHANGED_BASE = "its adapter is of a changed base, which neither virc merge nor virc solve takes"
_OTHER_TOKENS = "the model would have other tokens than its base, which neither virc merge nor virc solve takes"
_OF_FREEZE = "it is for the method freeze, and a stage trains whole weights or a LoRA adapter"
_REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("resize_vocab", "add_tokens", "add_special_tokens", "new_special_tokens_config"), _OTHER_TOKENS),
    **dict.fromkeys(("hf_hub_token", "ms_hub_token", "om_hub_token"), _READ_HERE),
    "eval_dataset": f"{_ONE_SET}, val_size splits off some for evaluation",
    "eval_on_each_dataset": f"{_ONE_SET}, val_size splits off some for evaluation",
    **dict.fromkeys(("mix_strategy", "interleave_probs"), _ONE_SET),
    "tokenized_path": "rows read from it are not the ones that were checked",
    "push_to_hub": "a run uploads nothing, `hf upload` does when it has finished",
    "hub_token": f"a run uploads nothing, and {_SECRET}",
    "create_new_adapter": "the new adapter would be of a base that nothing keeps; merge the old one first: virc merge",
    "use_dora": "its adapter is more than products of low rank, which neither virc merge nor virc solve takes",
    **dict.fromkeys(("pissa_init", "pissa_iter", "pissa_convert"), _CHANGED_BASE),
    "swanlab_api_key": f"{_SECRET}; SwanLab reads SWANLAB_API_KEY",
    **dict.fromkeys(("swanlab_lark_webhook_url", "swanlab_lark_secret"), _SECRET),
    "logging_dir": "this version only warns about it; TensorBoard reads the variable TENSORBOARD_LOGGING_DIR",
    **dict.fromkeys(("freeze_trainable_modules", "freeze_extra_modules"), _OF_FREEZE),
}
_OF_PREFERENCES: Mapping[str, Key] = {
    "pref_beta": Key(same="beta"),
    "pref_loss": Key(follows=("loss",)),
    "dpo_label_smoothing": Key(same="label_smoothing"),
    "kto_chosen_weight": Key(same="chosen_weight"),
    "kto_rejected_weight": Key(same="rejected_weight"),
    "simpo_gamma": Key(same="simpo_gamma"),
    "ref_model": Key(
        follows=("base",),
        fixed="it is what the stage starts from",
        why="named, since a resumed run would compare with its own checkpoint",
    ),
    "ref_model_adapters": Key(
        follows=("base",),
        fixed="it is what the stage starts from",
        why="else an adapter would be compared with the model without it",
    ),
    "stage": Key(follows=("loss",)),
}
_OF_SUPERVISED = (
    "train_on_prompt",
    "mask_history",
    "packing",
    "neat_packing",
    "use_dft_loss",
    "use_asft_loss",
    "asft_alpha",
    "use_eaft_loss",
    "eaft_alpha",
    "compute_accuracy",
)
LORA = frozenset({"additional_target", "loraplus_lr_ratio", "loraplus_lr_embedding", "use_rslora"})
"""Keys for LoRA adapters alone that a user may set."""

KEYS = KeyTable(
    _KEYS,
    {
        **_REFUSED,
        **dict.fromkeys(
            (*_OF_PREFERENCES, "pref_ftx", "pref_bco_weight"),
            "it is for preferences, which a stage of kind dpo learns from",
        ),
    },
)
PREFERENCE_KEYS = KeyTable(
    {**_KEYS, **_OF_PREFERENCES},
    {
        **_REFUSED,
        **dict.fromkeys(_OF_SUPERVISED, "it is for supervised training"),
        "ref_model_quantization_bit": "the reference is the model that the stage starts from, as it is",
        "ld_alpha": (
            "LLaMA-Factory 0.9.5 weighs the model by it and not the reference, so that nothing has a margin of 0"
        ),
    },
)
