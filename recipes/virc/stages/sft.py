"""Supervised fine-tuning: the settings of a stage. `engines/llamafactory/plan.py` turns them into the engine's keys."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from virc.config.placeholders import filled
from virc.core.errors import ConfigError

Part = Literal["vision", "projector", "language"]
Tracker = Literal["mlflow", "swanlab", "tensorboard", "trackio", "wandb"]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
GpuNumbers = tuple[Annotated[int, Meta(ge=0)], ...]
Supervised = Literal["loss", "gradient"]
OfPairs = Literal["loss", "gradient", "pairs", "chosen"]
OfRollouts = Literal[
    "tools", "tool_failures", "variance", "length", "format", "judge", "correlation", "entropy", "kl", "reward",
    "gradient",
]  # fmt: skip
Health = Literal[OfPairs, OfRollouts]
SIGNS: Mapping[str, tuple[Health, ...]] = {
    "sft": get_args(Supervised), "dpo": get_args(OfPairs), "rl": get_args(OfRollouts)
}  # fmt: skip
"""What a run is watched for, by the kind of its stage; `training.health` says when each is amiss."""


class Lora(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A low-rank adapter (Hu et al., 2021) instead of full fine-tuning.

    Args:
        rank: of each update.
        alpha: the update is scaled by alpha / rank.
        dropout: share of inputs dropped before it.
        targets: names of the layers that get one; `all`: every linear layer of the parts that are not frozen.
    """

    rank: Count = 16
    alpha: Count = 32
    dropout: Share = 0.0
    targets: tuple[str, ...] = ("all",)


class StageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings that stages of every kind have; each kind documents those that mean something else there.

    Args:
        base: model it starts from: short name, hub id, folder or run; None where `after` names a stage.
        after: stage whose newest finished run it starts from.
        order: `shuffled`: in another order in each epoch; `written`: as the file has them.
        steps: optimizer steps instead of `epochs`.
        max_grad_norm: longest gradient; longer ones are shortened to it.
        lora: train an adapter instead of the weights.
        gradient_checkpointing: recompute activations in the backward pass: less memory, about a third more time.
        device: where it runs.
        devices: processes a node, one for each GPU.
        device_gib: memory of the GPUs that the stage is for; a plan that is estimated over it is refused. None: any.
        nodes: machines.
        gpus: numbers of the GPUs that are taken on each node, among those that it shows; None: the first ones.
        stop_on: signs of ill health that end the run.
    """

    base: str | None = None
    after: str | None = None
    data: str
    variant: dict[str, str] = {}
    order: Literal["shuffled", "written"] = "shuffled"
    stop_on: tuple[Health, ...] = ()
    steps: Count | None = None
    train_batch_size: Count = 64
    micro_batch_size_per_device: Count = 1
    max_grad_norm: Annotated[float, Meta(gt=0)] = 1.0
    filter_overlong: bool = False
    max_pixels: Count = 12_845_056
    lora: Lora | None = None
    precision: Literal["bf16", "float32"] = "bf16"
    attention: Literal["sdpa", "fa2"] = "sdpa"
    gradient_checkpointing: bool = True
    device: Literal["cuda", "cpu"] = "cuda"
    devices: Count = 8
    device_gib: Positive | None = None
    nodes: Count = 1
    gpus: GpuNumbers | None = None
    save_total_limit: Count | None = None
    trackers: tuple[Tracker, ...] = ()
    seed: Annotated[int, Meta(ge=0)] = 42
    engine: dict[str, Any] = {}

    def data_name(self) -> str:
        return filled(self.data, self.variant)

    def validation_name(self) -> str | None:
        """As `data_name`, of rows that are only tried; None: the stage has none."""
        return None


class Config(StageConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage of kind `sft`.

    Args:
        data: `FOLDER/NAME`: the dataset NAME of `data/FOLDER/dataset_info.json`; or a file of rows.
        variant: words for the {…} in `data`, so that overlays can choose one each.
        learning_rate: at its peak.
        schedule: how it falls after the warm-up.
        warmup_ratio: share of all steps over which it rises.
        epochs: passes over the data.
        train_batch_size: rows an optimizer step, over all devices of all nodes.
        micro_batch_size_per_device: rows a device takes at a time.
        cutoff_len: longest row in tokens, images included.
        filter_overlong: leave out longer rows; else the stage is refused.
        mixed_coordinates: take rows whose boxes are in units that the base was not trained to write.
        min_pixels, max_pixels: pixels an image is shown with; `max_pixels` and `cutoff_len` move together.
        frozen_modules: parts of the model that stay as they are.
        precision: of the forward pass; `bf16` needs half the memory of `float32` for activations.
        attention: `sdpa` is PyTorch's own, `fa2` needs flash-attn in the environment.
        use_liger: fused kernels, among them a cross-entropy that never holds all logits.
        zero: DeepSpeed ZeRO stage; 3 spreads weights, gradients and optimizer over the devices. 0: none.
        offload: ZeRO keeps optimizer and weights in main memory: far less GPU memory, far slower.
        loaders: processes that read images, for each device.
        save_steps: optimizer steps between checkpoints, or `epoch`.
        save_total_limit: newest checkpoints to keep; None: all. The newest two can be resumed from.
        log_every: optimizer steps between two lines of metrics.
        trackers: where LLaMA-Factory also reports: mlflow, swanlab, tensorboard, trackio, wandb.
        seed: of the order of rows and of dropout.
        engine: further keys for LLaMA-Factory, by its own names.
    """

    learning_rate: Annotated[float, Meta(gt=0)]
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    epochs: Annotated[float, Meta(gt=0)] = 1.0
    cutoff_len: Count = 65_536
    mixed_coordinates: bool = False
    min_pixels: Count = 3_136
    frozen_modules: tuple[Part, ...] = ("vision", "projector")
    use_liger: bool = True
    zero: Literal[0, 2, 3] = 3
    offload: bool = False
    loaders: Annotated[int, Meta(ge=0)] = 8
    save_steps: Count | Literal["epoch"] = "epoch"
    log_every: Count = 10
    stop_on: tuple[Supervised, ...] = ()

    @property
    def frozen(self) -> tuple[Part, ...]:
        return self.frozen_modules

    @property
    def never_adapted(self) -> tuple[Part, ...]:
        """Parts whose layers `lora.targets: all` does not name, frozen or not; LLaMA-Factory has it so."""
        return ("projector",)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return self.cutoff_len

    @property
    def at_a_time(self) -> int:
        """Rows that all devices of all nodes take at a time."""
        return self.micro_batch_size_per_device * self.devices * self.nodes

    def accumulation(self) -> int:
        """Micro-batches whose gradients a device adds up for one optimizer step."""
        if self.train_batch_size % self.at_a_time:
            raise ConfigError(
                f"train_batch_size {self.train_batch_size} is no multiple of the {self.at_a_time} rows that are taken "
                "at a time (micro_batch_size_per_device x devices x nodes)",
                f"«--set train_batch_size={max(1, round(self.train_batch_size / self.at_a_time)) * self.at_a_time}»",
            )
        return self.train_batch_size // self.at_a_time


Contradiction = tuple[str, str, str | None]
"""The setting to change, what is wrong, what to do."""


def refused(*checks: tuple[str, Callable[[], object]]) -> Iterator[Contradiction]:
    for setting, check in checks:
        try:
            check()
        except ConfigError as error:
            yield setting, error.args[0], error.unspelled_hint


def of_machine(config: Any) -> Iterator[Contradiction]:
    """What a stage of any kind asks of a CPU that needs a GPU, and which GPUs it must not name."""
    if config.device == "cpu":
        if config.offload:
            yield "offload", "offload spares the memory of GPUs, and device is cpu", "«--set offload=false»"
        if config.use_liger:
            yield "use_liger", "the kernels of liger need a GPU, and device is cpu", "«--set use_liger=false»"
        if config.attention == "fa2":
            yield "attention", "flash-attn needs a GPU, and device is cpu", "«--set attention=sdpa»"
        if config.gpus is not None:
            yield "gpus", "gpus names GPUs, and device is cpu", "«--set gpus=null»"
    elif config.gpus is not None:
        different = len(set(config.gpus))
        wrong = f"gpus names {different} different GPUs, and devices is {config.devices}"
        hint = f"«--set devices={different}»"
        if different < len(config.gpus):  # CUDA shows no GPU at all if one is named twice
            wrong, hint = f"{wrong}; each is named once", f"«--set 'gpus={[*dict.fromkeys(config.gpus)]}'»"
        if not len(config.gpus) == different == config.devices:
            yield "gpus", wrong, hint


def contradictions(config: Config) -> Iterator[Contradiction]:
    """Settings that each are fine and together make no sense."""
    yield from refused(("data", config.data_name), ("train_batch_size", config.accumulation))
    if config.zero and config.devices * config.nodes == 1 and not config.offload:
        yield "zero", f"zero {config.zero} spreads over devices, and there is only one", "«--set zero=0»"
    if config.offload and not config.zero:
        yield "offload", "offload is done by DeepSpeed ZeRO, and zero is 0", "«--set zero=3», or «--set offload=false»"
    if config.device == "cpu" and config.devices * config.nodes > 1 and not config.zero:
        yield "zero", "several processes on CPUs cannot be resumed without DeepSpeed ZeRO", "«--set zero=3»"
    yield from of_machine(config)
    if config.min_pixels > config.max_pixels:
        wrong = f"min_pixels {config.min_pixels} is over max_pixels {config.max_pixels}"
        yield "min_pixels", wrong, f"«--set min_pixels={min(3136, config.max_pixels)}»"
    if {*config.frozen_modules} == {*get_args(Part)}:
        wrong = "every part of the model is frozen, so nothing is trained"
        yield "frozen_modules", wrong, "«--set 'frozen_modules=[vision, projector]'»"
