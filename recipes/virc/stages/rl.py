"""Reinforcement learning: the settings of a stage. `engines/verl/plan.py` turns them into the engine's keys."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, get_args

from msgspec import Meta

from virc.config.placeholders import filled
from virc.stages import token_weights
from virc.stages.sft import (
    Contradiction,
    Count,
    NotNegative,
    OfRollouts,
    Part,
    Positive,
    StageConfig,
    of_machine,
    refused,
)
from virc.systems.registry import Reward


class Config(StageConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage of kind `rl`: GRPO (Shao et al., 2024) with the refinements of DAPO (Yu et al., 2025) as knobs.

    Args:
        data: a file of rows, or its name under `data/`.
        validation: rows that are rolled out and scored without learning from them, named as `data` is; None: none.
        variant: words for the {…} in `data` and `validation`, so that overlays can choose one each.
        rollout: `per_cru`: each row is a prefix of a solution, and the model writes its next unit (as published);
            `multi_turn`: each row is a problem, and the model solves it with its tools.
        sources: further systems, for `multi_turn`: a row whose `data_source` is the name of one is put
            in its words, solved with its tools in as many turns as its own stage has, and rewarded as it says.
        rollout_engine: vLLM, or transformers in the process of the actor, which is slower.
        frozen_modules: parts of the model that stay as they are; with `lora`, those without an adapter. None: of an
            adapter `vision` and `projector`, else none.
        use_liger: fused kernels.
        learning_rate: constant.
        warmup_ratio: share of all steps over which it rises.
        epochs: passes over the data.
        train_batch_size: prompts a step.
        ppo_mini_batch_size: prompts an update of the weights; a batch of several is partly off-policy.
        micro_batch_size_per_device: replies a device takes at a time.
        n: replies to each prompt: the group whose rewards are compared.
        temperature, top_p, top_k: of the rollouts; a `top_k` of 0 is off.
        prompt_length: longest prompt in tokens, images included.
        response_length: longest response in tokens; of several turns together, what tools show included.
        max_turns: units of a solution, for `multi_turn`.
        filter_overlong: leave out longer prompts; else the stage is refused.
        max_pixels: pixels that an image is shown with at most; it lowers the base's own limit.
        clip_low, clip_high: how far the probability ratio may fall or rise before it is clipped.
        loss_agg_mode: mean of the loss: over all tokens; over responses, each its token mean; or over responses, each
            its sum divided by `response_length` (Dr. GRPO).
        norm_adv_by_std: divide an advantage by the standard deviation of its group.
        token_weights: what multiplies the advantages of single tokens: an extra's weights by name, and their settings.
        kl_loss_coef: weight of the KL divergence from the base in the loss; 0: none, and no reference model is loaded.
            With an adapter the base is the weights without it, also where the adapter was trained before.
        entropy: weight of the entropy in the loss.
        dynamic_sampling: draw again until a batch is full of groups whose rewards differ.
        precision: of the forward pass.
        attention: `sdpa` is PyTorch's own, `fa2` needs flash-attn in the environment and takes no padding along.
        offload: weights and optimizer wait in main memory while the rollouts are written.
        tensor_parallel: devices that share one copy of the sampler.
        sampler_memory: share of a device's memory that vLLM takes.
        max_images: images of a prompt and its tools together.
        judge_gpus: GPUs that the judge takes in addition to the policy's; they count in what the stage needs.
        save_steps: steps between checkpoints.
        save_total_limit: newest checkpoints to keep with the best; None: all. The newest two can be resumed from.
        test_freq: steps between validations; None: never.
        validate_first: validate before the first step, too.
        rollouts: steps between two that leave their rollouts as traces in the run's folder; None: none does.
        max_tool_failures: share of a step's tool calls that may fail by the tool's own fault; more end the run.
        reward: what replies are rewarded for; it goes over the system's.
        trackers: where verl also reports, with rollouts: mlflow, swanlab, tensorboard, trackio, wandb.
        seed: of the order of rows and of the sampling. On CPUs runs of one seed are equal with `rollout_engine:
            transformers`, unless a judge or `dynamic_sampling` decides by time. vLLM's replies differ from run to run.
        engine: further keys for verl, by its own dotted names.
    """

    validation: str | None = None
    rollout: Literal["per_cru", "multi_turn"] = "per_cru"
    sources: tuple[str, ...] = ()
    rollout_engine: Literal["vllm", "transformers"] = "vllm"
    frozen_modules: tuple[Part, ...] | None = None
    use_liger: bool = False
    learning_rate: Positive = 1e-6
    warmup_ratio: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    epochs: Count = 1
    ppo_mini_batch_size: Count = 64
    n: Annotated[int, Meta(ge=2)] = 8
    temperature: Positive = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=0)] = 0
    prompt_length: Count = 8_192
    response_length: Count = 512
    max_turns: Count = 16
    clip_low: Positive = 0.2
    clip_high: Positive = 0.28
    loss_agg_mode: Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"] = "token-mean"
    norm_adv_by_std: bool = True
    token_weights: Mapping[str, Mapping[str, float]] = {}
    kl_loss_coef: NotNegative = 0.0
    entropy: float = 0.0
    dynamic_sampling: bool = False
    offload: bool = True
    tensor_parallel: Count = 4
    sampler_memory: Annotated[float, Meta(gt=0, lt=1)] = 0.6
    max_images: Count = 64
    judge_gpus: Annotated[int, Meta(ge=0)] = 0
    save_steps: Count = 10
    test_freq: Count | None = None
    validate_first: bool = True
    rollouts: Count | None = 10
    max_tool_failures: Annotated[float, Meta(ge=0, le=1)] = 0.1
    stop_on: tuple[OfRollouts, ...] = ()
    reward: Reward = Reward()

    def validation_name(self) -> str | None:
        return self.validation and filled(self.validation, self.variant, "validation")

    @property
    def longest(self) -> int:
        return self.prompt_length

    @property
    def frozen(self) -> tuple[Part, ...]:
        if self.frozen_modules is None:
            return ("vision", "projector") if self.lora else ()
        return self.frozen_modules

    @property
    def never_adapted(self) -> tuple[Part, ...]:
        return ()  # verl leaves out the last layer alone


def contradictions(config: Config) -> Iterator[Contradiction]:
    """Settings that each are fine and together make no sense."""
    yield from refused(
        ("data", config.data_name),
        ("validation", config.validation_name),
        ("token_weights", lambda: token_weights.resolved(config.token_weights)),
    )
    for part in (_of_batches, _of_devices, _of_sampling, _of_model, _of_run):
        yield from part(config)


def _of_batches(config: Config) -> Iterator[Contradiction]:
    """verl fills up what cannot be divided with made-up replies, which count in the loss's mean."""
    if config.train_batch_size % config.ppo_mini_batch_size:
        batch, mini = config.train_batch_size, config.ppo_mini_batch_size
        wrong = f"train_batch_size {batch} is no multiple of ppo_mini_batch_size {mini}"
        yield "ppo_mini_batch_size", wrong, f"«--set ppo_mini_batch_size={batch}»"
    at_a_time = config.micro_batch_size_per_device * config.devices * config.nodes
    if config.ppo_mini_batch_size * config.n % at_a_time:
        yield (
            "micro_batch_size_per_device",
            f"{config.ppo_mini_batch_size} x {config.n} replies (ppo_mini_batch_size x n) are no multiple of the "
            f"{at_a_time} that are taken at a time (micro_batch_size_per_device x devices x nodes)",
            "«--set micro_batch_size_per_device=1», or other devices",
        )


def _of_devices(config: Config) -> Iterator[Contradiction]:
    if config.devices % config.tensor_parallel:
        wrong = f"{config.devices} devices are no multiple of tensor_parallel {config.tensor_parallel}"
        most = max(n for n in range(1, config.devices + 1) if config.devices % n == 0 and n <= 8)
        yield "tensor_parallel", wrong, f"«--set tensor_parallel={most}»"
    yield from of_machine(config)
    if config.device == "cpu" and config.tensor_parallel > 1:
        yield "tensor_parallel", "a sampler on CPUs is not shared, and device is cpu", "«--set tensor_parallel=1»"
    if config.device == "cpu" and config.judge_gpus:
        yield "judge_gpus", "judge_gpus counts GPUs, and device is cpu", "«--set judge_gpus=0»"


def _of_sampling(config: Config) -> Iterator[Contradiction]:
    if config.rollout_engine == "transformers" and config.tensor_parallel > 1:
        yield "tensor_parallel", "the sampler transformers runs on one device", "«--set tensor_parallel=1»"
    if {*config.reward.group} == {"over_mean"} and config.norm_adv_by_std:
        wrong = "over_mean changes nothing where rewards are divided by their standard deviation"
        yield "norm_adv_by_std", wrong, "«--set norm_adv_by_std=false»"
    if config.clip_low >= 1:
        yield "clip_low", "the probability ratio cannot fall by 1 or more", "«--set clip_low=0.2»"
    if config.rollout == "per_cru":
        if config.sources:
            yield "sources", "sources are of whole problems, and rollout is per_cru", "«--set rollout=multi_turn»"
        return
    if config.max_images <= config.max_turns:
        yield (
            "max_images",
            f"{config.max_turns} turns can show {config.max_turns} images, the problem has one, and max_images is "
            f"{config.max_images}",
            f"«--set max_images={config.max_turns + 1}»",
        )
    if config.response_length < _TURN * config.max_turns:
        yield (
            "response_length",
            f"{config.max_turns} turns with what tools show do not fit into {config.response_length} tokens",
            f"«--set response_length={4096 if config.max_turns > 4 else 1024}», or fewer max_turns",
        )


_TURN = 32
"""Tokens of the shortest turn: a thought, a call, and a small image in return."""


def _of_model(config: Config) -> Iterator[Contradiction]:
    if config.lora and config.lora.dropout:
        yield "lora", "verl trains adapters without dropout", "«--set lora.dropout=0»"
    if {*config.frozen} == {*get_args(Part)}:
        yield (
            "frozen_modules",
            "every part of the model is frozen, so nothing is trained",
            "«--set 'frozen_modules=[vision]'»",
        )


def _of_run(config: Config) -> Iterator[Contradiction]:
    if config.test_freq and not config.validation:
        wrong = f"test_freq is {config.test_freq}, and there are no rows to validate with"
        yield "test_freq", wrong, "«--set validation=FILE», or «--set test_freq=null»"
    if config.validation and not config.test_freq:
        wrong = "validation names rows that are never looked at, since test_freq is not set"
        yield "validation", wrong, "«--set test_freq=10»"
