"""verl 0.9.1: the keys, files and command of a stage of reinforcement learning.

`keys` says why they differ from those of the published script, which is for verl 0.5. The setting `max_grad_norm`
is `actor.optim.clip_grad`: nothing reads `actor.grad_clip`.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from virc.config import dotted
from virc.core.plan import Plan, Step
from virc.engines import environment as engines
from virc.engines.key_table import under
from virc.engines.verl.keys import KEYS
from virc.families import registry as families
from virc.families.parts import pattern
from virc.stages import token_weights
from virc.stages.context import Place
from virc.stages.rl import Config

NAME = "verl"
ACTOR, ROLLOUT, MODEL, REF = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model", "ref"))
SETTINGS = "engine.yaml"
AGENTS = "agents.yaml"
METRICS = "verl.jsonl"
START = "virc.engines.verl.start"
LOOP = {"name": "virc", "_target_": "virc.engines.verl.agent.VircLoop"}
SAMPLER = {"path": "pkg://virc.engines.verl.agent_failures", "name": "Strict"}
"""What gathers a batch: verl's own pads groups whose rollouts or rewards failed, and goes on."""

REPLY = 1_024
"""Tokens of one of several replies, if the chat protocol does not limit them; as in `virc solve`."""

MODEL_LIB = "virc.engines.verl.external"
"""The module that verl imports in each process that builds a model."""

PLUG_IN = "virc.engines.verl.positions,virc.engines.verl.processors"
"""The modules that verl imports in each of its processes; without an accelerator `start` adds that of an extra."""

LOGICAL_CPUS = 16
"""CPUs that Ray is told of, even if there are two: each of verl's dozen processes asks for one, and mostly waits."""


def plan(config: Config, place: Place, published: Mapping[str, Any], origins: Mapping[str, str]) -> Plan:
    given = flat(config, place, published)
    nested_keys: dict[str, Any] = {}
    for key, value in given.items():
        dotted.put(nested_keys, tuple(key.split(".")), value)
    files = {
        str(place.files / SETTINGS): _yaml(nested_keys),
        str(place.files / AGENTS): _yaml([LOOP | _loop(config, place)]),
    }
    argv = (str(place.python), "-m", START, str(place.files / SETTINGS))
    step = Step(argv, "train with verl", environment(config, place), is_engine=True)
    return Plan(step, files, KEYS.changes(given, published, origins))


def flat(config: Config, place: Place, published: Collection[str] = ()) -> dict[str, Any]:
    """Every key that verl gets; those with verl's own default only if they are in `published`."""
    given = {
        "data.train_files": str(place.data),
        # Without a validation verl still reads a file of some: it gets one row of those to learn from.
        "data.val_files": str(place.validation or place.data),
        "data.val_max_samples": None if place.validation else 1,
        "data.filter_overlong_prompts": False,
        "data.shuffle": config.order == "shuffled",
        **KEYS.same(config),
        "algorithm.adv_estimator": "grpo",
        "algorithm.use_kl_in_reward": False,
        **_model(config, place),
        **_actor(config),
        **_rollout(config, place),
        "reward.custom_reward_function.path": "pkg://virc.rewards.verl",
        "reward.custom_reward_function.reward_kwargs.settings": str(place.reward),
        **_trainer(config, place),
        **(_on_cpu(config) if config.device == "cpu" else {}),
    }
    ours = {
        key: value
        for key, value in given.items()
        if value is not None and (key in published or value != KEYS.default(key))
    }
    return ours | KEYS.leaves(config.engine)


def needs(config: Config) -> dict[str, str]:
    return engines.needs(config, config.use_liger)


def environment(config: Config, place: Place) -> dict[str, str]:
    run, weights = place.output.parent, token_weights.resolved(config.token_weights)
    env = {
        **engines.environment(place.recipes),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONSAFEPATH": "1",  # or a folder named like a package, where it is started, would be that package
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VERL_USE_EXTERNAL_MODULES": ",".join((PLUG_IN, *weights)),
        token_weights.VARIABLE: json.dumps(weights) if weights else None,
        "VERL_FILE_LOGGER_PATH": str(place.files.parent / METRICS),
        **engines.of_trackers(config, run),
        "VIRC_PATH": str(run / "code"),
        "VIRC_ROLLOUTS": f"{config.rollouts}:{run / 'rollouts'}" if config.rollouts else "",
        "VIRC_FROZEN": ",".join(config.frozen),
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, config.gpus)) if config.gpus else None,
    }
    if config.device == "cpu":
        env |= {
            "VERL_PLATFORM": "cpu",
            # The name under which verl registers FSDP; the processes still compute on CPUs.
            "VERL_ENGINE_DEVICE": "cuda",
            # One for each GPU of `num_gpus`: Ray counts them.
            "CUDA_VISIBLE_DEVICES": ",".join(["-1"] * config.devices),
            # A second thread makes a step of a small model ten times slower if other work runs at the same time.
            "OMP_NUM_THREADS": "1",
            "RAY_worker_niceness": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; it would take nearly all memory
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }
    return {name: value for name, value in env.items() if value is not None}


def _model(config: Config, place: Place) -> dict[str, Any]:
    packed = config.attention == "fa2" and families.of(place.model_type).is_packed
    lora = config.lora and {
        "lora_rank": config.lora.rank,
        "lora_alpha": config.lora.alpha,
        "target_modules": "all-linear" if config.lora.targets == ("all",) else list(config.lora.targets),
        "exclude_modules": "|".join(pattern(part, place.model_type) for part in config.frozen) or None,
        "lora_adapter_path": str(place.adapter) if place.adapter else None,
        # Only vLLM takes an adapter with the weights.
        "lora.merge": config.rollout_engine == "transformers",
    }
    return under(
        MODEL,
        {
            "path": str(place.base),
            "override_config.attn_implementation": None if packed else "sdpa",
            "use_remove_padding": packed,
            "use_liger": config.use_liger,
            "external_lib": MODEL_LIB,
            **(lora or {}),
        },
    )


def _actor(config: Config) -> dict[str, Any]:
    full = dict.fromkeys((f"mixed_precision.{part}_dtype" for part in ("param", "reduce", "buffer")), "fp32")
    precision = full if config.precision == "float32" else {}
    reference = {
        "log_prob_micro_batch_size_per_gpu": config.micro_batch_size_per_device,
        **under("fsdp_config", precision),
    }
    actor = {
        "strategy": "fsdp2",
        "loss_scale_factor": config.response_length if config.loss_agg_mode == "seq-mean-token-sum-norm" else None,
        "policy_loss.loss_mode": next(iter(config.token_weights), None),
        "use_kl_loss": config.kl_loss_coef > 0,
        "kl_loss_coef": config.kl_loss_coef or None,
        **under("fsdp_config", precision),
    }
    return {**under(ACTOR, actor), **(under(REF, reference) if config.kl_loss_coef else {})}


def _rollout(config: Config, place: Place) -> dict[str, Any]:
    longest = config.prompt_length + config.response_length
    adapts_vision = config.lora and not {"vision", "projector"} <= set(config.frozen)
    vllm = {
        "gpu_memory_utilization": config.sampler_memory,
        "max_model_len": longest,
        # Without chunks, a prompt and its response are one batch.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": longest,
        "limit_images": config.max_images,
        "engine_kwargs.vllm.mm_processor_cache_gb": 0,
        # Without it vLLM 0.24 leaves the vision part of an adapter out, in silence.
        "engine_kwargs.vllm.enable_tower_connector_lora": True if adapts_vision else None,
        # On a CPU its profiling of images reads numbers of adapters that are not set yet.
        "engine_kwargs.vllm.skip_mm_profiling": True if adapts_vision and config.device == "cpu" else None,
    }
    return under(
        ROLLOUT,
        {
            "name": "vllm" if config.rollout_engine == "vllm" else "virc",
            "top_k": config.top_k or -1,
            "dtype": "float32" if config.precision == "float32" else "bfloat16",
            **(vllm if config.rollout_engine == "vllm" else {}),
            "agent.default_agent_loop": LOOP["name"],
            "agent.agent_loop_config_path": str(place.files / AGENTS),
        },
    )


def _loop(config: Config, place: Place) -> dict[str, Any]:
    """The settings of the agent loop; verl's own gives a conversation other token ids than `virc solve`."""
    whole = {"max_turns": config.max_turns} if config.rollout == "multi_turn" else {}
    if whole and config.max_turns > 1:  # a single reply is all of the response
        whole["max_tokens"] = REPLY
    of_extra = token_weights.loop_of(config.token_weights)
    return {
        **({"_target_": of_extra} if of_extra else {}),
        "protocol": str(place.protocol),
        "folder": str(place.media),
        "rollout": config.rollout,
        **whole,
        "max_pixels": config.max_pixels,
        **({"sources": {name: str(file) for name, file in place.sources.items()}} if place.sources else {}),
    }


def _trainer(config: Config, place: Place) -> dict[str, Any]:
    return under(
        "trainer",
        {
            "project_name": "virc",
            "experiment_name": place.output.parent.name,
            "logger": ["console", "file", *config.trackers],
            # An epoch is at least one step, so these epochs are enough.
            "total_epochs": config.steps or config.epochs,
            "test_freq": config.test_freq or -1,
            "val_before_train": config.test_freq is not None and config.validate_first and place.untried,
            "resume_mode": "resume_path" if place.resume else "disable",
            "resume_from_path": str(place.resume) if place.resume else None,
            "default_local_dir": str(place.output),
            **under("v1.sampler", _sampler(config)),
        },
    ) | {"ray_kwargs.ray_init.include_dashboard": False}


def _sampler(config: Config) -> dict[str, Any]:
    """What gathers a batch; a custom one gets its own settings of which groups are drawn again."""
    again = {
        "filter_groups_metric": "reward",
        "train_batch_size": config.train_batch_size,
        "gen_batch_size": 1,
        "max_inflight_gen_batches": 1,
    }
    return {**under("custom_sampler", SAMPLER), **(under("sampler_kwargs", again) if config.dynamic_sampling else {})}


def _on_cpu(config: Config) -> dict[str, Any]:
    vllm = {"free_cache_engine": False, "enable_sleep_mode": False, "enforce_eager": True}
    return {
        "trainer.device": "cpu",
        "trainer.v1.sampler.sampler_kwargs.poll_interval": 0.1,  # seconds; a step may take one
        "data.dataloader_num_workers": 0,
        f"{ACTOR}.fsdp_config.use_torch_compile": False,
        **under(ROLLOUT, vllm),
        f"{ROLLOUT}.agent.num_workers": 1,
        f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes": 64,
        "reward.num_workers": 1,
        "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
        "ray_kwargs.ray_init.num_cpus": LOGICAL_CPUS,
        "ray_kwargs.ray_init.num_gpus": config.devices,
    }


def _yaml(content: object) -> str:
    import yaml

    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
