"""Which setting of ours each key of verl follows from, and why its value is not the published one (D11)."""

from collections.abc import Mapping

from virc.engines.changed import Reasons

_ACTOR, _ROLLOUT, _MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))
_REF = "actor_rollout_ref.ref"


def _of(prefix: str, keys: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}.{key}": value for key, value in keys.items()}


_PRECISION = {
    f"fsdp_config.mixed_precision.{part}_dtype": "precision" for part in ("param", "reduce", "buffer")
}
_OURS: Mapping[str, str] = {
    **_of("data", {
        "train_files": "data", "val_files": "validation", "val_max_samples": "validation", "train_batch_size": "train_batch_size",
        "max_prompt_length": "prompt_length", "max_response_length": "response_length", "seed": "seed",
    }),
    **_of("algorithm", {"norm_adv_by_std_in_grpo": "norm_adv_by_std", "filter_groups.enable": "dynamic_sampling"}),
    **_of(_MODEL, {
        "path": "base", "use_remove_padding": "attention", "override_config.attn_implementation": "attention",
        "enable_gradient_checkpointing": "gradient_checkpointing", "use_liger": "use_liger", "external_lib": "frozen_modules",
        "lora_rank": "lora.rank", "lora_alpha": "lora.alpha", "target_modules": "lora.targets",
        "exclude_modules": "lora.targets", "lora_adapter_path": "base", "lora.merge": "rollout_engine",
    }),
    **_of(_ACTOR, {
        "ppo_mini_batch_size": "ppo_mini_batch_size", "ppo_micro_batch_size_per_gpu": "micro_batch_size_per_device",
        "clip_ratio_low": "clip_low", "clip_ratio_high": "clip_high", "loss_agg_mode": "loss_agg_mode",
        "loss_scale_factor": "loss_agg_mode", "entropy_coeff": "entropy", "use_kl_loss": "kl_loss_coef", "kl_loss_coef": "kl_loss_coef",
        "optim.lr": "learning_rate", "optim.lr_warmup_steps_ratio": "warmup_ratio", "optim.clip_grad": "max_grad_norm",
        "fsdp_config.param_offload": "offload", "fsdp_config.optimizer_offload": "offload", **_PRECISION,
    }),
    **_of(_REF, {"log_prob_micro_batch_size_per_gpu": "micro_batch_size_per_device", **_PRECISION}),
    **_of(_ROLLOUT, {
        "name": "rollout_engine", "n": "n", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k",
        "seed": "seed", "dtype": "precision", "tensor_model_parallel_size": "tensor_parallel",
        "log_prob_micro_batch_size_per_gpu": "micro_batch_size_per_device", "gpu_memory_utilization": "sampler_memory",
        "max_model_len": "response_length", "max_num_batched_tokens": "prompt_length", "limit_images": "max_images",
    }),
    **_of("trainer", {
        "logger": "trackers", "nnodes": "nodes", "n_gpus_per_node": "devices", "total_epochs": "epochs",
        "total_training_steps": "steps", "save_freq": "save_steps", "test_freq": "test_freq",
        "val_before_train": "test_freq", "device": "device", "max_actor_ckpt_to_keep": "save_total_limit",
    }),
    **_of("trainer.v1.sampler.sampler_kwargs", {
        "filter_groups_metric": "dynamic_sampling", "train_batch_size": "train_batch_size", "gen_batch_size": "dynamic_sampling",
        "max_inflight_gen_batches": "dynamic_sampling", "poll_interval": "device",
    }),
    "ray_kwargs.ray_init.num_cpus": "device", "ray_kwargs.ray_init.num_gpus": "devices",
}  # fmt: skip
YOURS: Mapping[str, str] = {
    **_of(_ROLLOUT, dict.fromkeys(
        ("free_cache_engine", "enable_sleep_mode", "enforce_eager", "agent.num_workers",
         "checkpoint_engine.update_weights_bucket_megabytes"),
        "device",
    )),
    f"{_ACTOR}.fsdp_config.use_torch_compile": "device", "data.dataloader_num_workers": "device",
    "reward.num_workers": "device", "transfer_queue.backend.SimpleStorage.num_data_storage_units": "device",
}  # fmt: skip
"""Engine key -> the setting of ours that it follows from where a user does not set it."""

_FIXED: Mapping[str, str] = {
    "algorithm.adv_estimator": "a stage is GRPO, whose groups the other settings are about",
    "algorithm.use_kl_in_reward": "the distance to the base is in the loss, `kl_loss_coef`",
    "data.filter_overlong_prompts": "the setting `filter_overlong` says what becomes of longer prompts",
    "trainer.v1.sampler.custom_sampler.path": "a batch with failed rollouts stops the run",
    "trainer.v1.sampler.custom_sampler.name": "a batch with failed rollouts stops the run",
    f"{_ROLLOUT}.agent.default_agent_loop": "the setting `rollout` says what a rollout is",
    f"{_ROLLOUT}.agent.agent_loop_config_path": "the setting `rollout` says what a rollout is",
    f"{_ACTOR}.strategy": "FSDP1 does not run without GPUs, and a stage is the same everywhere",
    f"{_ROLLOUT}.enable_chunked_prefill": "the longest batch is that of the longest prompt",
    f"{_ROLLOUT}.engine_kwargs.vllm.mm_processor_cache_gb": "images of a rollout are seen once",
    "reward.custom_reward_function.path": "the reward is the setting `reward`",
    "reward.custom_reward_function.reward_kwargs.settings": "the reward is the setting `reward`",
    "trainer.project_name": "runs are known by their names",
    "trainer.experiment_name": "it is the run's name",
    "trainer.resume_mode": "virc train --resume finds it",
    "trainer.resume_from_path": "virc train --resume finds it",
    "trainer.default_local_dir": "it is the run's folder",
    "ray_kwargs.ray_init.include_dashboard": "a run opens no port for its pages",
    "ray_kwargs.ray_init._temp_dir": "virc takes it away when a run ends",
    "ray_kwargs.ray_init.address": "the launcher knows the cluster",
}  # fmt: skip
OWN: Mapping[str, str] = {**_OURS, **_FIXED}
"""Engine key -> the setting of ours that it follows from, or why it is not to be set."""

_SEVERAL: Mapping[str, tuple[str, ...]] = {
    "data.train_files": ("data", "variant"),
    "data.val_files": ("validation", "variant"),
    f"{_MODEL}.use_liger": ("use_liger", "fidelity"),
    f"{_MODEL}.external_lib": ("frozen_modules", "fidelity"),
    f"{_MODEL}.exclude_modules": ("lora",),
    f"{_ROLLOUT}.gpu_memory_utilization": ("sampler_memory", "rollout_engine"),
    f"{_ROLLOUT}.limit_images": ("max_images", "rollout_engine"),
    f"{_ROLLOUT}.enable_chunked_prefill": ("rollout_engine",),
    f"{_ROLLOUT}.max_model_len": ("prompt_length", "response_length", "rollout_engine"),
    f"{_ROLLOUT}.max_num_batched_tokens": ("prompt_length", "response_length", "rollout_engine"),
    "trainer.total_epochs": ("epochs", "steps"),
}
"""Keys that follow from several settings."""

_GONE = "verl 0.9.1 has no such key"
_WHY: Mapping[str, str] = {
    "+actor_rollout_ref.actor.freeze_vision_tower": "no code of verl reads it, then or now: --set fidelity=as_written "
    "freezes the tower",
    "+model.use_liger": "nothing reads it there, then or now: --set fidelity=as_written turns liger on",
    f"{_ROLLOUT}.engine_kwargs.vllm.disable_mm_preprocessor_cache": f"{_GONE}: mm_processor_cache_gb",
    f"{_ROLLOUT}.engine_kwargs.vllm.mm_processor_cache_gb": "what disable_mm_preprocessor_cache is called today",
    "reward_model.launch_reward_fn_async": f"{_GONE}: rewards are always found beside the rollouts",
    "reward_model.reward_manager": "verl 0.9.1 has no manager `prime`: its own `naive` asks the same function",
    "data.truncation": "nothing reads it",
    "data.filter_overlong_prompts": "virc has left longer prompts out before, and said which",
    "data.val_max_samples": "verl reads a file of such rows even where it never looks at them",
    "data.seed": "runs can be repeated",
    f"{_ROLLOUT}.seed": "runs can be repeated",
    f"{_MODEL}.use_remove_padding": "the tested environment holds no flash-attn, which it needs",
    f"{_MODEL}.override_config.attn_implementation": "the tested environment holds no flash-attn; the same sums by "
    "PyTorch",
    f"{_MODEL}.external_lib": "frozen parts, which no key of verl does",
    f"{_MODEL}.lora.merge": "the sampler takes no adapters",
    f"{_MODEL}.exclude_modules": "vLLM puts adapters on the language model alone",
    f"{_ACTOR}.strategy": "PyTorch's newer wrapping; the older does not run without GPUs",
    f"{_ROLLOUT}.max_model_len": "a prompt and its response; verl would take the model's 128,000",
    f"{_ROLLOUT}.max_num_batched_tokens": "a whole prompt and response, else verl takes the model's 128,000",
    f"{_ROLLOUT}.log_prob_micro_batch_size_per_gpu": "verl 0.9.1 must be told; it is that of the update",
    f"{_ROLLOUT}.limit_images": "images of a prompt",
    "reward.custom_reward_function.path": "the published script is a file written over verl's own reward",
    "reward.custom_reward_function.reward_kwargs.settings": "the reward's settings in the run's folder",
    "trainer.v1.sampler.custom_sampler.path": "verl's own pads groups whose rollouts failed, and goes on",
    "trainer.v1.sampler.custom_sampler.name": "verl's own pads groups whose rollouts failed, and goes on",
    f"{_ROLLOUT}.agent.default_agent_loop": "our loop writes and reads the very ids of `virc solve`",
    f"{_ROLLOUT}.agent.agent_loop_config_path": "our loop writes and reads the very ids of `virc solve`",
    "trainer.logger": "metrics.jsonl is always written; trackers are asked for by name",
    "trainer.resume_mode": "given when there is something to resume",
    "trainer.resume_from_path": "given when there is something to resume",
    "ray_kwargs.ray_init.include_dashboard": "a run opens no port for its pages",
    **dict.fromkeys(
        ("data.train_files", "data.val_files", f"{_MODEL}.path", f"{_MODEL}.lora_adapter_path",
         "trainer.default_local_dir", "trainer.project_name", "trainer.experiment_name"),
        "where it lies here",
    ),
}  # fmt: skip

REASONS = Reasons({**OWN, **YOURS}, _SEVERAL, _WHY)
