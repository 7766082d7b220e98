"""verl 0.9.1: the keys that virc sets or compares, and those that a user may not set."""

from collections.abc import Mapping

from virc.engines.key_table import Key, KeyTable, under

_COUNTS = "the loop of a stage counts turns and tokens itself, by its settings"
_PROMPTS = "the loop of a stage makes its prompts itself, from the rows"
_IDS = "rollouts have the token ids of `virc solve`; see the setting `rollout`"
_BATCHES = "batches have one size, as verl has them by default"
_SAMPLER = "verl's own fills up groups whose rollouts failed; a run stops"
_LENGTH = "a prompt and its response; verl would take the model's 128,000"
_UNVALIDATED = "without rows to validate on there is no validation"
_DEFAULT = "it is verl's own default"
_PATH = "a path on this machine"

_ACTOR: Mapping[str, Key] = {
    "checkpoint.save_contents": Key(
        why="a checkpoint holds what a run goes on from", default=["model", "optimizer", "extra"]
    ),
    "clip_ratio": Key(instead="clip_low"),
    "clip_ratio_c": Key(default=3.0),
    "clip_ratio_high": Key(same="clip_high", default=0.2),
    "clip_ratio_low": Key(same="clip_low", default=0.2),
    "entropy_coeff": Key(same="entropy", default=0),
    "freeze_vision_tower": Key(instead="frozen_modules"),
    "fsdp_config.dtype": Key(instead="precision"),
    "fsdp_config.fsdp_size": Key(default=-1),
    "fsdp_config.model_dtype": Key(why="weights are float32, as verl has them by default", default="fp32"),
    "fsdp_config.optimizer_offload": Key(same="offload", default=False),
    "fsdp_config.param_offload": Key(same="offload", default=False),
    "fsdp_config.use_torch_compile": Key(preset="device", default=True),
    "grad_clip": Key(instead="max_grad_norm", default=1.0),
    "kl_loss_coef": Key(follows=("kl_loss_coef",), why="left out where there is no such loss", default=0.001),
    "kl_loss_type": Key(why=_DEFAULT, default="low_var_kl"),
    "loss_agg_mode": Key(same="loss_agg_mode", default="token-mean"),
    "loss_scale_factor": Key(follows=("loss_agg_mode",)),
    "optim.betas": Key(default=[0.9, 0.999]),
    "optim.clip_grad": Key(same="max_grad_norm", default=1.0),
    "optim.grad_clip": Key(instead="max_grad_norm"),
    "optim.lr": Key(same="learning_rate", default=1e-06),
    "optim.lr_scheduler_type": Key(default="constant"),
    "optim.lr_warmup_steps": Key(default=-1),
    "optim.lr_warmup_steps_ratio": Key(same="warmup_ratio", default=0.0),
    "optim.weight_decay": Key(default=0.01),
    "policy_loss.loss_mode": Key(preset="token_weights", why="the loss of its token weights", default="vanilla"),
    "ppo_max_token_len_per_gpu": Key(default=16384),
    "ppo_micro_batch_size": Key(instead="micro_batch_size_per_device"),
    "ppo_micro_batch_size_per_gpu": Key(same="micro_batch_size_per_device"),
    "ppo_mini_batch_size": Key(same="ppo_mini_batch_size", default=256),
    "strategy": Key(fixed="FSDP1 does not run without GPUs, and a stage is the same everywhere", default="fsdp"),
    "ulysses_sequence_parallel_size": Key(why=_DEFAULT, default=1),
    "use_dynamic_bsz": Key(why=_DEFAULT, default=False),
    "use_kl_loss": Key(follows=("kl_loss_coef",), default=False),
    "fsdp_config.mixed_precision.param_dtype": Key(follows=("precision",)),
    "fsdp_config.mixed_precision.reduce_dtype": Key(follows=("precision",)),
    "fsdp_config.mixed_precision.buffer_dtype": Key(follows=("precision",)),
}
_MODEL: Mapping[str, Key] = {
    "enable_activation_offload": Key(
        why="activations stay on the device; the setting `gradient_checkpointing`", default=False
    ),
    "enable_gradient_checkpointing": Key(same="gradient_checkpointing", default=True),
    "exclude_modules": Key(follows=("frozen_modules", "lora.targets"), why="frozen parts get no adapter"),
    "external_lib": Key(
        follows=("frozen_modules",), fixed="verl cannot compute rows without pictures, nor freeze a part"
    ),
    "lora.alpha": Key(instead="lora.alpha"),
    "lora.merge": Key(follows=("rollout_engine",), why="the sampler takes no adapters", default=False),
    "lora.rank": Key(instead="lora.rank"),
    "lora_adapter_path": Key(follows=("base",), why=_PATH),
    "lora_alpha": Key(follows=("lora.alpha",), default=16),
    "lora_rank": Key(follows=("lora.rank",), default=0),
    "path": Key(follows=("base",), why=_PATH, default="~/models/deepseek-llm-7b-chat"),
    "target_modules": Key(follows=("lora.targets",), default="all-linear"),
    "trust_remote_code": Key(why="no code that comes with a model is run", default=False),
    "use_liger": Key(same="use_liger", default=False),
    "use_remove_padding": Key(
        follows=("attention",), why="it needs flash-attn, which the tested environment does not have", default=True
    ),
    "override_config.attn_implementation": Key(
        follows=("attention",), why="the tested environment has no flash-attn; PyTorch computes the same"
    ),
}
_REF: Mapping[str, Key] = {
    "fsdp_config.param_offload": Key(why="the base stays where verl puts it by default", default=False),
    "log_prob_micro_batch_size_per_gpu": Key(
        follows=("micro_batch_size_per_device",),
        why="as for the update; none without a loss of distance, which alone needs the base",
    ),
    "log_prob_use_dynamic_bsz": Key(why=_BATCHES, default=False),
    "ulysses_sequence_parallel_size": Key(why="each device computes whole rows, as verl has it by default", default=1),
    "fsdp_config.mixed_precision.param_dtype": Key(follows=("precision",)),
    "fsdp_config.mixed_precision.reduce_dtype": Key(follows=("precision",)),
    "fsdp_config.mixed_precision.buffer_dtype": Key(follows=("precision",)),
}
_ROLLOUT: Mapping[str, Key] = {
    "agent.agent_loop_config_path": Key(fixed=_IDS),
    "agent.default_agent_loop": Key(fixed=_IDS, default="single_turn_agent"),
    "agent.num_workers": Key(preset="device", default=8),
    "calculate_log_probs": Key(
        why="verl 0.9.1 keeps those of the sampler, to report how far they are off", default=True
    ),
    "checkpoint_engine.update_weights_bucket_megabytes": Key(preset="device", default=2048),
    "do_sample": Key(why=_DEFAULT, default=True),
    "dtype": Key(follows=("precision",), default="bfloat16"),
    "enable_chunked_prefill": Key(
        follows=("rollout_engine",), fixed="the longest batch is that of the longest prompt", default=True
    ),
    "enable_sleep_mode": Key(preset="device", default=True),
    "enforce_eager": Key(preset="device", why="on GPUs as verl has it, false", default=False),
    "free_cache_engine": Key(preset="device", why="on GPUs as verl has it: an update has the memory", default=True),
    "gpu_memory_utilization": Key(follows=("sampler_memory", "rollout_engine"), default=0.5),
    "limit_images": Key(follows=("max_images", "rollout_engine"), why="images of a prompt; it was limit_mm_per_prompt"),
    "log_prob_micro_batch_size": Key(instead="micro_batch_size_per_device"),
    "log_prob_micro_batch_size_per_gpu": Key(same="micro_batch_size_per_device", why="as for the update"),
    "log_prob_use_dynamic_bsz": Key(why=_BATCHES, default=False),
    "max_model_len": Key(follows=("response_length", "prompt_length", "rollout_engine"), why=_LENGTH),
    "max_num_batched_tokens": Key(
        follows=("prompt_length", "response_length", "rollout_engine"), why=_LENGTH, default=8192
    ),
    "max_num_seqs": Key(why="replies that are drawn together: verl 0.9.1 has another default", default=256),
    "mode": Key(why="verl 0.9.1 samples in servers of their own alone", default="async"),
    "multi_turn.enable": Key(why=_COUNTS, instead="rollout", default=False),
    "multi_turn.max_assistant_turns": Key(why=_COUNTS, instead="max_turns"),
    "multi_turn.max_user_turns": Key(why=_COUNTS),
    "multi_turn.tokenization_sanity_check_mode": Key(why=_COUNTS, default="strict"),
    "n": Key(same="n", default=1),
    "name": Key(follows=("rollout_engine",), why="vLLM samples, and the loop of tool calls is that of `virc solve`"),
    "prompt_length": Key(instead="prompt_length"),
    "response_length": Key(instead="response_length"),
    "seed": Key(same="seed", why="of the sampling", default=42),
    "temperature": Key(same="temperature", default=1.0),
    "tensor_model_parallel_size": Key(same="tensor_parallel", default=2),
    "top_k": Key(follows=("top_k",), default=-1),
    "top_p": Key(same="top_p", default=1),
    "val_kwargs.n": Key(default=1),
    "val_kwargs.temperature": Key(default=0),
    "agent.max_turns": Key(why=_COUNTS),
    "agent.single_response_max_tokens": Key(why=_COUNTS),
    "engine_kwargs.vllm.mm_processor_cache_gb": Key(fixed="images are seen once; it was disable_mm_preprocessor_cache"),
    "engine_kwargs.vllm.enable_tower_connector_lora": Key(fixed="rollouts are drawn with the whole adapter"),
    "engine_kwargs.vllm.disable_mm_preprocessor_cache": Key(why="verl 0.9.1 has no such key: mm_processor_cache_gb"),
}
_ALGORITHM: Mapping[str, Key] = {
    "adv_estimator": Key(fixed="a stage is GRPO", default="gae"),
    "filter_groups.enable": Key(same="dynamic_sampling", default=False),
    "filter_groups.max_num_gen_batches": Key(why="groups are drawn until a batch is full", default=0),
    "filter_groups.metric": Key(why="groups are compared by their rewards", default="reward"),
    "kl_ctrl.kl_coef": Key(
        why="it acts on nothing: the distance to the base is in the loss, `kl_loss_coef`", default=0.001
    ),
    "kl_penalty": Key(instead="kl_loss_coef"),
    "norm_adv_by_std_in_grpo": Key(same="norm_adv_by_std", default=True),
    "use_kl_in_reward": Key(fixed="the distance to the base is in the loss, `kl_loss_coef`", default=False),
    "kl_ctrl": Key(instead="kl_loss_coef"),
}
_DATA: Mapping[str, Key] = {
    "dataloader_num_workers": Key(preset="device", default=8),
    "filter_overlong_prompts": Key(
        fixed="virc counts prompts before verl does; see the setting `filter_overlong`", default=False
    ),
    "filter_overlong_prompts_workers": Key(why="virc counts the rows itself", default=1),
    "gen_batch_size": Key(why="prompts are drawn until a batch is full; see the setting `dynamic_sampling`"),
    "image_key": Key(why=_DEFAULT, default="images"),
    "max_pixels": Key(why="pictures have the size of the setting `max_pixels`, or of the chat protocol"),
    "max_prompt_length": Key(same="prompt_length", default=512),
    "min_pixels": Key(why="pictures have the size of the chat protocol"),
    "max_response_length": Key(same="response_length", why="of a whole rollout, with what tools show", default=512),
    "return_multi_modal_inputs": Key(why=_PROMPTS, default=True),
    "return_raw_chat": Key(why=_PROMPTS, default=True),
    "seed": Key(same="seed", why="of the order of rows"),
    "shuffle": Key(follows=("order",), default=True),
    "train_batch_size": Key(same="train_batch_size", default=1024),
    "train_files": Key(follows=("data", "variant"), why=_PATH, default="~/data/rlhf/gsm8k/train.parquet"),
    "truncation": Key(why="nothing reads it", default="error"),
    "trust_remote_code": Key(why="no code that comes with a model is run", default=False),
    "val_files": Key(follows=("validation", "variant"), why=_PATH, default="~/data/rlhf/gsm8k/test.parquet"),
    "val_max_samples": Key(
        follows=("validation",), why="verl reads a file of them even where it does not validate", default=-1
    ),
}
_TRAINER: Mapping[str, Key] = {
    "critic_warmup": Key(why="GRPO has no critic", default=0),
    "default_local_dir": Key(fixed="it is the run's folder", default="checkpoints/verl_examples/gsm8k"),
    "device": Key(follows=("device",), default="cuda"),
    "experiment_name": Key(fixed="it is the run's name", default="gsm8k"),
    "log_val_generations": Key(why="rollouts are left as traces; see the setting `rollouts`", default=0),
    "logger": Key(
        follows=("trackers",), why="metrics.jsonl is always written; trackers are opt-in", default=["console", "wandb"]
    ),
    "max_actor_ckpt_to_keep": Key(follows=("save_total_limit",), why="virc deletes older checkpoints itself"),
    "n_gpus_per_node": Key(same="devices", default=8),
    "nnodes": Key(same="nodes", default=1),
    "project_name": Key(fixed="runs are known by their names", default="verl_examples"),
    "resume_from_path": Key(fixed="virc train --resume sets it"),
    "resume_mode": Key(fixed="virc train --resume sets it", default="auto"),
    "rollout_data_dir": Key(instead="rollouts"),
    "save_freq": Key(same="save_steps", default=-1, why="checkpoints that stay on the disk"),
    "test_freq": Key(follows=("test_freq",), why=_UNVALIDATED, default=-1),
    "total_epochs": Key(follows=("epochs", "steps"), default=30, why="`steps` end a run, where they are set"),
    "total_training_steps": Key(same="steps"),
    "v1.sampler.custom_sampler.name": Key(fixed=_SAMPLER),
    "v1.sampler.custom_sampler.path": Key(fixed=_SAMPLER),
    "val_before_train": Key(follows=("validate_first", "test_freq"), why=_UNVALIDATED, default=True),
    "v1.sampler.sampler_kwargs.filter_groups_metric": Key(follows=("dynamic_sampling",)),
    "v1.sampler.sampler_kwargs.train_batch_size": Key(follows=("train_batch_size",)),
    "v1.sampler.sampler_kwargs.gen_batch_size": Key(follows=("dynamic_sampling",)),
    "v1.sampler.sampler_kwargs.max_inflight_gen_batches": Key(follows=("dynamic_sampling",)),
    "v1.sampler.sampler_kwargs.poll_interval": Key(follows=("device",)),
}
_OTHERS = {
    "reward.custom_reward_function.path": Key(fixed="the reward is the setting `reward`"),
    "reward.num_workers": Key(preset="device", default=8),
    "reward_model.reward_manager": Key(why="verl 0.9.1 has no manager `prime`: its own `naive` asks the same function"),
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": Key(preset="device", default=8),
    "+actor_rollout_ref.actor.freeze_vision_tower": Key(why="verl does not read it; see the setting `frozen_modules`"),
    "+model.use_liger": Key(why="verl does not read it; see the setting `use_liger`"),
    "+actor_rollout_ref.rollout.engine_kwargs.vllm.limit_mm_per_prompt": Key(
        why="verl 0.9.1 has a key of its own: limit_images"
    ),
    "reward_model.launch_reward_fn_async": Key(why="verl 0.9.1 has no such key, and always does so"),
    "reward.custom_reward_function.reward_kwargs.settings": Key(fixed="the reward is the setting `reward`"),
    "ray_kwargs.ray_init.num_cpus": Key(follows=("device",)),
    "ray_kwargs.ray_init.num_gpus": Key(follows=("devices",)),
    "ray_kwargs.ray_init.include_dashboard": Key(fixed="a run opens no port for its pages"),
    "ray_kwargs.ray_init._temp_dir": Key(fixed="virc takes it away when a run ends"),
    "ray_kwargs.ray_init.address": Key(fixed="the launcher knows the cluster"),
    "custom_reward_function": Key(instead="reward.total"),
    "reward.custom_reward_function": Key(instead="reward.total"),
}
_SECTIONS = {
    "actor_rollout_ref.actor": _ACTOR,
    "actor_rollout_ref.model": _MODEL,
    "actor_rollout_ref.ref": _REF,
    "actor_rollout_ref.rollout": _ROLLOUT,
    "algorithm": _ALGORITHM,
    "data": _DATA,
    "trainer": _TRAINER,
}
"""Section of verl's configuration -> its keys."""
_KEYS = {name: key for prefix, keys in _SECTIONS.items() for name, key in under(prefix, keys).items()} | _OTHERS
_REFUSED: Mapping[str, str] = {
    # code of others, and what leaves the machine
    "actor_rollout_ref.model.trust_remote_code": "code that comes with weights is not run",
    "data.trust_remote_code": "code that comes with weights is not run",
    "trainer.default_hdfs_dir": "a run uploads nothing",
    "transfer_queue.metrics": "a run opens no port for figures",
    # rewards and rollouts that would not be those of the settings
    "actor_rollout_ref.model.custom_chat_template": "a model's chat protocol is that of its rows",
    "actor_rollout_ref.rollout.agent.agent_loop_manager_class": "rollouts are led by the setting rollout",
    "actor_rollout_ref.rollout.calculate_log_probs": "the health of a run is read from them",
    "actor_rollout_ref.rollout.multi_turn": "verl's own tools are not used, see the setting rollout",
    "algorithm.filter_groups": "groups are drawn again by their reward, see the setting dynamic_sampling",
    "data.apply_chat_template_kwargs": "a model's chat protocol is that of its rows",
    "data.custom_cls": "rows are read by verl's own class",
    "data.gen_batch_size": "it follows from the setting train_batch_size",
    "reward.reward_manager": "a reward is the setting `reward`, which verl's own manager asks; `prime` is gone",
    "reward.reward_model": "a judge is the setting reward.judge, and runs outside of verl",
    "reward_model": "verl 0.9.1 calls it reward, and the setting `reward` stands for that",
    # runs that could not be resumed or merged, or do not train
    "actor_rollout_ref.actor.checkpoint": "a run can be resumed and merged, of old checkpoints only the weights stay",
    "actor_rollout_ref.actor.fsdp_config.qat": "weights are trained as they are, not as quantized ones",
    "actor_rollout_ref.actor.qat": "weights are trained as they are, not as quantized ones",
    "actor_rollout_ref.model.lora": "adapters of a stage are the setting lora",
    "actor_rollout_ref.model.target_parameters": "adapters of a stage are the setting lora",
    "actor_rollout_ref.ref": "the reference model is held as the policy is, see the setting kl_loss_coef",
    "critic": "GRPO has no critic",
    "distillation": "a stage has no teacher",
    "trainer.critic_warmup": "GRPO has no critic, and verl would leave out its first steps",
    "trainer.del_local_ckpt_after_load": "virc looks after checkpoints",
    "trainer.use_v1": "verl takes its older trainer away, and virc knows the other",
    "trainer.v1": "it is for trainers that are not in step with their rollouts, which resume otherwise",
    "trainer.val_only": "a stage trains",
    # what published scripts set, and verl 0.9.1 does not read
    "actor_rollout_ref.hybrid_engine": "it is for trainers with a pool of samplers of their own",
    "data.reward_fn_key": "nothing in this version reads it",
    "data.return_raw_input_ids": "nothing in this version reads it",
    "data.truncation": "this version stores it and looks at it no more; longer prompts are left out before",
    "trainer.balance_batch": "this version always balances",
}
KEYS = KeyTable(_KEYS, _REFUSED, is_nested=True)
