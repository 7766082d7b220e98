"""What a stage needs: memory of a device, main memory, disk and time, each term the product of its factors.

The formulas follow what LLaMA-Factory 0.9.5 with DeepSpeed 0.19, and verl 0.9.1 with FSDP2 and vLLM 0.24, keep in
memory, and when. Terms that are always small are left out. Memory of a device is the sum of state (weights, gradients,
Adam's moments), of what the forward pass keeps for the backward pass (`activations_kept`), and of the largest of what
exists for a moment only (`moments`).
"""

import math
from collections.abc import Iterable

import msgspec

from virc.families import registry as families
from virc.models.sizes import Shape
from virc.reasoning.resize import Tiles
from virc.stages import dpo, rl, sft

GIB = 2**30
OVERHEAD = {"cuda": 2.0, "cpu": 1.2}
"""GiB of a process besides tensors: libraries, workspaces, CUDA's context, memory in pieces; measured on the CPU."""
UTILISATION = 0.35
"""Share of a GPU's peak that such training reaches."""
PEAK = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "A6000": 155, "4090": 165, "3090": 71, "A10": 125}
"""GPU -> bf16 TFLOP/s without sparsity, as its vendor states it."""
USUAL = "A100"  # the GPU that is assumed if the machine has none

_PROCESS, _LOADER = 4.0, 0.5  # GiB of main memory of a process that drives a GPU, and of one that reads images
_HELPERS, _HELPER = {"cuda": 26, "cpu": 5}, 0.78  # processes of Ray and verl besides those of the devices, GiB of one
_SAMPLER = {"transformers": 0.8, "cpu": 3.4, "cuda": 3.0}  # GiB of a sampler besides its weights (and cache, on CUDA)
_LIVE = 10**9  # parameters: DeepSpeed's stage3_max_live_parameters


class Term(msgspec.Struct, frozen=True):
    """One part of a need; `formula` is its product as people read it, such as `2 billion parameters x 2 bytes / 8`."""

    name: str
    gib: float
    formula: str


class Estimate(msgspec.Struct, frozen=True):
    """What a stage needs.

    Args:
        terms: of one device, the largest first.
        host: terms of the main memory of one machine; if the device is the CPU, its processes.
        disk: terms of the run's folder; None if the number of checkpoints is not known.
        gpu_hours: of all GPUs together; None without rows, without a GPU, or if its speed is not known.
        steps: optimizer steps; None if the rows are not known.
        judge_calls: fewest and most questions to the judge in a step; None if there is no judge.
    """

    terms: tuple[Term, ...]
    device_gib: float
    host: tuple[Term, ...]
    host_gib: float
    disk: tuple[Term, ...] | None
    disk_gib: float | None
    gpu_hours: float | None
    assumed: str | None
    steps: int | None
    judge_calls: tuple[int, int] | None = None


class Work:
    """A micro-batch of prompts (of RL) or rows of `prompt` tokens on one device.

    Attributes:
        longest: tokens of one row.
        tokens, patches: of all rows; each has one image of the most pixels that are allowed.
        trained, parameters: how many there are, those of an adapter included.
        width: bytes of one number in matrix multiplications.
        frozen_bytes: of one frozen weight without ZeRO; the mean where `engine.quantization_bit` makes some smaller.
        quantizes: whether it does.
        casts: whether weights are float32 and cast for each multiplication.
        fused: whether liger's kernels run.
        vision_learns: whether gradients pass through the vision tower.
    """

    def __init__(self, config: sft.Config | rl.Config, shape: Shape, prompt: int) -> None:
        self.config, self.shape = config, shape
        self.longest = prompt + (config.response_length if isinstance(config, rl.Config) else 0)
        # LLaMA-Factory's collator puts both sides of each pair into one batch.
        rows = config.micro_batch_size_per_device * (config.sides if isinstance(config, dpo.Config) else 1)
        grid, cell = shape.grid, shape.vision.patch_size**2 * shape.vision.merged
        seen = min(grid.max_pixels, config.max_pixels) // cell
        if isinstance(grid, Tiles):
            seen = grid.side**2 * (grid.most if grid.fills or grid.most == 1 else grid.most + 1) // cell
        self.tokens, self.patches = rows * self.longest, rows * min(prompt, seen) * shape.vision.merged
        self.trained = sum(shape.trained(config.lora, config.frozen, config.never_adapted).values())
        self.parameters = sum(shape.parameters().values()) + (self.trained if config.lora else 0)
        self.width = 2 if config.precision == "bf16" else 4
        # `llamafactory.start` makes frozen weights float32 on a CPU, and keeps gradients out of a frozen tower.
        self.frozen_bytes: float = max(shape.weight_bytes, self.width if config.device == "cpu" else 0)
        if bits := int(config.engine.get("quantization_bit") or 0):  # all layers but the last; not embeddings, experts
            linear = sum(each.parameters for each in shape.linears() if not each.name.endswith("lm_head"))
            kept = sum(shape.parameters().values()) - linear
            # with double quantization, the scales of 64 weights take 8.13 bits
            self.frozen_bytes = (linear * (bits + 8.13 / 64) / 8 + kept * self.frozen_bytes) / (linear + kept)
        self.quantizes = bits > 0
        self.casts = self.width == 2 and isinstance(config, sft.Config) and not config.zero and not config.lora
        self.fused = config.use_liger and any(shape.family in each.liger for each in families.discover().values())
        self.vision_learns = "vision" not in config.frozen


def estimate(
    config: sft.Config | rl.Config, shape: Shape, longest_tokens: int, rows: int | None = None,
    total_tokens: int | None = None, gpu: str = USUAL,
) -> Estimate:  # fmt: skip
    """Count what a stage needs; each row is taken to have an image of `max_pixels`."""
    longest = min(longest_tokens, config.longest)
    work, mean = Work(config, shape, longest), total_tokens / rows if rows and total_tokens else None
    steps = config.steps if rows is None else optimizer_steps(config, rows)
    calls, assumptions = None, ""
    if isinstance(config, rl.Config):
        mean = mean or longest / 2
        (terms, host), calls = _memory_of_rl(config, work, mean), _judge_calls(config)
        assumptions = ", replies half as long as they may be, rollouts that take as long as learning, and a judge "
        assumptions += "nobody waits for"
    else:
        terms, host = _memory_of_sft(config, work)
    if rows and config.steps is None and isinstance(config, sft.Config):
        seen: float = config.epochs * rows  # the last batch of an epoch may be smaller
    else:
        seen = (steps or 0) * config.train_batch_size
    hours = assumed = None
    name = next((each for each in PEAK if each in gpu.upper().replace(" ", "")), "")
    if seen and mean and config.device == "cuda" and name:
        hours = seen * _flops(work, mean) / (PEAK[name] * 1e12 * UTILISATION) / 3600
        assumed = f"{UTILISATION:.0%} of the {PEAK[name]} TFLOP/s of one {name}{assumptions}"
    saves = _saves(config, steps, rows)
    disk, disk_gib = (None, None) if saves is None else _summed(_disk(config, work, saves))
    return Estimate(*_summed(terms), *_summed(host), disk, disk_gib, hours, assumed, steps, calls)


def optimizer_steps(config: sft.Config | rl.Config, rows: int) -> int:
    if isinstance(config, rl.Config):
        return config.steps or rows // config.train_batch_size * config.epochs
    return config.steps or math.ceil(config.epochs * math.ceil(rows / config.train_batch_size))


def _saves(config: sft.Config | rl.Config, steps: int | None, rows: int | None) -> int | None:
    """How many checkpoints are written in all; None: not known."""
    if config.save_steps != "epoch":
        return None if steps is None else math.ceil(steps / config.save_steps)
    if config.steps is None:
        return math.ceil(config.epochs)
    return math.ceil(config.steps * config.train_batch_size / rows) if rows else None


def _judge_calls(config: rl.Config) -> tuple[int, int] | None:
    """Fewest and most questions to the judge in a step: one for an answer, two for a call of a tool."""
    if config.reward.judge.endpoint is None and not config.judge_gpus:
        return None
    replies = config.train_batch_size * config.n
    return replies, replies * 2 * (config.max_turns if config.rollout == "multi_turn" else 1)


def _memory_of_sft(config: sft.Config, work: Work) -> tuple[list[Term], list[Term]]:
    """The terms of a device, and those of main memory.

    ZeRO-2 spreads gradients and moments over the devices, ZeRO-3 the weights too.
    """
    devices, width, cuda = config.devices * config.nodes, work.width, config.device == "cuda"
    zero, zero3, offloads = config.zero, config.zero == 3, config.offload and config.zero > 0 and cuda
    spread = devices if zero3 else 1
    if zero == 0:  # LLaMA-Factory makes trained weights float32; gradients wait in buckets for other devices
        state = _state(work, work.frozen_bytes, 4, 4 if devices == 1 else 8, 1, 1)
    else:
        state = _state(work, work.frozen_bytes if work.quantizes else width, width, width, spread, devices)
        if width == 2 or zero == 2:  # ZeRO-3 has no float32 copy of float32 weights
            state.append(_weights("float32 weights", work.trained, 4, devices))
    if offloads:  # the state is in main memory; under ZeRO-2 the weights, its first two terms, stay on the device
        state = state[: 0 if zero3 else 2]
    refers = isinstance(config, dpo.Config) and config.referred and not config.lora
    casts_gradients = zero and not offloads and width == 2
    cast = min(work.trained // devices, _LIVE if zero3 else work.trained) if casts_gradients else 0
    terms = [
        *state,
        _weights("weights brought together", min(work.parameters, _LIVE) if zero3 else 0, width),
        _weights("reference weights", work.parameters if refers else 0, work.frozen_bytes, spread),
        *_of_a_pass(work, _weights("float32 gradients", cast, 4)),
    ]
    # Offloaded are float32 weights, gradients and two moments, and under ZeRO-3 all weights.
    offloaded = 16 * work.trained + (width * work.parameters if zero3 else 0)
    return terms, [
        _constant("training processes", _PROCESS if cuda else _summed(terms)[1], config.devices),
        _constant("image readers", _LOADER, config.devices * config.loaders),
        _weights("weights while they are read", work.parameters if cuda and zero3 else 0, work.shape.weight_bytes),
        _term("offloaded state", nodes=config.nodes, bytes=offloaded if offloads else 0),
    ]


def _memory_of_rl(config: rl.Config, work: Work, mean: float) -> tuple[list[Term], list[Term]]:
    """The terms of a device in the larger phase, learning or sampling; and those of main memory."""
    devices, nodes, text, vision = config.devices * config.nodes, config.nodes, work.shape.text, work.shape.vision
    state = _state(work, 4, 4, 4, devices, devices)  # verl makes all weights float32; each device has its share
    embeddings = text.vocab_size * text.hidden_size * (1 if work.shape.tied else 2)
    layers = 2 * (work.shape.parameters()["language"] - embeddings) / text.num_hidden_layers
    together = _weights("weights brought together", embeddings + layers, work.width)
    learning, sampler = [*state, together, *_of_a_pass(work)], _sampler(config, work)
    helpers = _constant("helpers", _HELPER, _HELPERS[config.device])
    if config.device == "cpu":  # nothing is moved away: all of it is there at the same time
        terms = [*learning, *sampler]
        return terms, [helpers, _constant("training processes", _summed(terms)[1], config.devices)]
    others = [_constant("framework", OVERHEAD["cuda"]), *(() if config.offload else state)]
    # The device must be so large that the sampler fits into its share of it, and all else into the other part.
    share, of_sampler, of_others = config.sampler_memory, _summed(sampler)[1], _summed(others)[1]
    unused = max(of_sampler / share, of_others / (1 - share)) - of_sampler - of_others
    rest = Term("left unused", unused, f"vLLM is given {share:.0%} of the device (sampler_memory)")
    patches = min(mean * vision.merged, work.patches / config.micro_batch_size_per_device)
    replies, asleep = config.train_batch_size * config.n, config.lora and config.rollout_engine == "vllm"
    moved = 4 * work.parameters + 8 * work.trained if config.offload else 0
    reference = work.parameters if config.kl_loss_coef and not config.lora else 0
    host = [
        helpers,
        _constant("training processes", _PROCESS, 2 * config.devices),  # an actor and a vLLM on each device
        _term(
            "weights while they are read",
            copies=config.devices if work.shape.tied else 1, parameters=work.parameters, bytes=4,
        ),
        # in Ray's store
        _term("images of a step", nodes=nodes, replies=replies, bytes_of_pixels=patches * vision.pixels * 4),
        _term("offloaded state", nodes=nodes, bytes=moved),
        # with an adapter vLLM keeps them while it sleeps
        _term(
            "sampler's weights asleep",
            copies=config.devices / config.tensor_parallel if asleep else 0, parameters=work.parameters,
            bytes=work.width,
        ),
        _term("reference model", nodes=nodes, parameters=reference, bytes=4),
    ]  # fmt: skip
    return max(learning, [*sampler, *others, rest], key=lambda terms: _summed(terms)[1]), host


def _sampler(config: rl.Config, work: Work) -> list[Term]:
    """What rollouts are drawn with on one device; the weights come first."""
    kind: str = config.device
    over, width = config.tensor_parallel, work.width
    if config.rollout_engine == "transformers":  # in float64 if float32 is asked for: virc_extras/rl_cpu/rollout.py
        kind, over, width = "transformers", 1, 8 if config.precision == "float32" else width
    tokens = config.prompt_length + config.response_length if kind == "cuda" else 0
    keys = 2 * work.shape.text.num_hidden_layers * work.shape.text.keys * width
    return [
        _weights("sampler's weights", work.parameters, width, over),
        _constant("sampler", _SAMPLER[kind]),
        _term("sampler's keys and values", devices=over, tokens_of_a_reply=tokens, bytes=keys),
    ]


def _state(work: Work, frozen: float, trained: int, gradients: int, weights_over: int, over: int) -> list[Term]:
    """Weights, gradients and moments of one device, by the bytes of one number of each.

    `weights_over` devices share the weights, `over` devices the gradients and moments.
    """
    return [
        _weights("frozen weights", work.parameters - work.trained, frozen, weights_over),
        _weights("trained weights", work.trained, trained, weights_over),
        _weights("gradients", work.trained, gradients, over),
        _weights("Adam moments", work.trained, 8, over),
    ]


def _of_a_pass(work: Work, *moments_of_the_step: Term) -> list[Term]:
    """What a forward and backward pass adds to the state, and the process that runs it."""
    largest = max((*moments(work), *moments_of_the_step), key=lambda each: each.gib)
    return [*activations_kept(work), largest, _constant("framework", OVERHEAD[work.config.device])]


def activations_kept(work: Work) -> list[Term]:
    """What is held from the forward to the backward pass, in bytes a token or a patch; tests measure these numbers."""
    config, text, vision, width = work.config, work.shape.text, work.shape.vision, work.width
    recomputes, residual = config.gradient_checkpointing, 4 if work.casts else width
    a_layer = residual * text.hidden_size if recomputes else _layer(work)
    inner = (4 if work.shape.family == "qwen2_5_vl" else 3) * width * vision.inner
    block = residual * vision.width if recomputes else (2 * (4 + residual) + 6 * width) * vision.width + inner
    pairs = work.longest if config.attention == "sdpa" and not recomputes else 0
    return [
        _term("activations", layers=text.num_hidden_layers, tokens=work.tokens, bytes=a_layer),
        _weights("bf16 copies", work.trained if work.casts and not recomputes else 0, 2),
        _vision_tower(work, vision.depth * block, learns=True),
        _term("attention mask", tokens=work.tokens, tokens_=pairs, bytes=1 + text.num_hidden_layers * width),
    ]


def moments(work: Work) -> list[Term]:
    """What exists for a moment of a pass; only the largest of them counts."""
    config, text, recomputes = work.config, work.shape.text, work.config.gradient_checkpointing
    # A layer is recomputed with its gradients, and copies of the inputs of layers with an adapter.
    inputs = work.shape.adapter_inputs(config.lora, config.frozen) if config.lora else 0
    mask = work.longest if config.attention == "sdpa" else 0
    at_the_end = 2 * work.trained + (0 if work.fused else 10 * work.tokens * text.vocab_size)
    return [
        _term("logits", tokens=work.tokens, words=text.vocab_size, bytes=_logit(work)),
        _term(
            "one layer recomputed",
            tokens=work.tokens if recomputes else 0, bytes=1.5 * _layer(work) + work.width * (inputs + mask),
        ),
        _term("bf16 copies", bytes=at_the_end if recomputes and work.casts else 0),
        _vision_tower(work, 18 * work.width * work.shape.vision.width, learns=False),
    ]  # fmt: skip


def _vision_tower(work: Work, a_patch: float, learns: bool) -> Term:
    """Nothing for a tower that does not learn as `learns` says; `a_patch`: bytes besides its pixels."""
    patches = work.patches if work.vision_learns == learns else 0
    return _term("vision tower", patches=patches, bytes=a_patch + 6 * work.shape.vision.pixels)


def _logit(work: Work) -> int:
    """Bytes of all copies of one logit, from the last layer to the loss, gradients included."""
    config = work.config
    if isinstance(config, rl.Config):  # a test counts them in verl's code
        return work.width * (7 if config.entropy else 5 if config.precision == "bf16" else 6)
    if isinstance(config, dpo.Config):
        return 16 if config.referred else 14
    return 0 if work.fused else 12  # liger computes the loss of SFT a chunk at a time


def _layer(work: Work) -> int:
    """Bytes a token that autograd keeps of one layer."""
    text, width = work.shape.text, work.width
    norm, inputs = (4, 5 * width) if work.casts else (width, 2 * width)  # bytes of one hidden number in each
    norm += 0 if work.fused else 4
    # PyTorch's attention (sdpa) repeats keys and values for every query head.
    heads = 2 * width * text.queries + 2 * width * (text.queries if work.config.attention == "sdpa" else text.keys)
    if work.shape.normed:
        heads += (4 + width) * (text.queries + text.keys)
    mlp = (3 if work.fused else 4) * width * text.inner
    return (work.shape.norms * norm + inputs) * text.hidden_size + heads + mlp


def _flops(work: Work, mean: float) -> float:
    """Floating-point operations for one row, or prompt of RL, of `mean` tokens.

    Each parameter takes 6 operations a token: 2 forward and 4 backward. A frozen part that gradients pass through
    takes 4, a frozen part before all trained parts takes 2. Gradient checkpointing computes the forward pass twice.
    """
    parts, text, config = work.shape.parameters(), work.shape.text, work.config
    tokens, times = mean, 1.0
    if isinstance(config, rl.Config):  # forward passes for old probabilities and the reference; rollouts take as long
        forward = (2 if config.kl_loss_coef else 1) * 2 / (8 if config.gradient_checkpointing else 6)
        tokens, times = mean + config.response_length / 2, config.n * 2 * (1 + forward)
    elif isinstance(config, dpo.Config) and config.referred:  # forward passes of the reference; KTO has a second reply
        times = 2 if config.loss == "kto" else 4 / 3
    operations = 4 if config.lora or "language" in config.frozen else 6
    operations += 2 if config.gradient_checkpointing else 0
    # Input embeddings are looked up, not multiplied; tied ones are multiplied as the output layer.
    embeddings = work.shape.idle + (0 if work.shape.tied else text.vocab_size * text.hidden_size)
    attention = text.num_hidden_layers * text.queries * tokens
    language = operations * (parts["language"] - embeddings + attention)
    vision = (8 if work.vision_learns else 2) * parts["vision"] * work.patches / work.tokens
    return times * tokens * (language + vision)


def _disk(config: sft.Config | rl.Config, work: Work, saves: int) -> list[Term]:
    """Weights of all checkpoints that stay; the resume state of the newest two and of the one being written."""
    weights: float
    if isinstance(config, rl.Config):
        weights, state, stay = work.parameters * 4, work.trained * 8, saves
        if config.save_total_limit is not None:  # one is being written, and the best stays
            stay = min(saves, config.save_total_limit + 1 + bool(config.test_freq))
    else:
        frozen, spread = work.parameters - work.trained, work.parameters * work.width
        weights = spread if config.zero else work.trained * 4 + frozen * work.frozen_bytes
        weights = work.trained * 4 if config.lora else weights
        # ZeRO stage -> bytes that only resuming needs: moments, and of DeepSpeed its own weights.
        of_deepspeed = {0: 0, 2: 4 * work.trained + spread, 3: 4 * work.trained + frozen * work.width}
        state = 8 * work.trained + of_deepspeed[config.zero]
        stay = min(saves, config.save_total_limit or saves) + 1  # the weights at the end are saved once more
    return [
        _term("weights", checkpoints=stay, bytes=weights),
        _term("resume state", checkpoints=min(saves, 3), bytes=state),
    ]


def _term(name: str, *, devices: int = 1, nodes: int = 1, **factors: float) -> Term:
    """The product of factors by their units, the last in bytes; `devices` or `nodes` share it."""
    text = " x ".join(f"{_number_text(number)} {unit.strip('_').replace('_', ' ')}" for unit, number in factors.items())
    text += f" / {devices} devices" if devices > 1 else f" / {nodes} nodes" if nodes > 1 else ""
    return Term(name, math.prod(factors.values()) / devices / nodes / GIB, text)


def _weights(name: str, count: float, width: float, devices: int = 1) -> Term:
    return _term(name, devices=devices, parameters=count, bytes=width)


def _constant(name: str, gib: float, processes: int = 1) -> Term:
    return Term(name, processes * gib, f"{processes} x {gib:.3g} GiB")


def _number_text(number: float) -> str:
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{round(number, 2):,}".removesuffix(".0")


def _summed(terms: Iterable[Term]) -> tuple[tuple[Term, ...], float]:
    """The terms that are not zero, the largest first; and their sum in GiB."""
    in_order = sorted((each for each in terms if each.gib > 0), key=lambda each: each.gib, reverse=True)
    return tuple(in_order), math.fsum(each.gib for each in in_order)
