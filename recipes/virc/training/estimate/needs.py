"""What a stage needs: memory of a device, main memory, disk and time, each term the product of its factors.

The formulas follow what LLaMA-Factory 0.9.5 with DeepSpeed 0.19, and verl 0.9.1 with FSDP2 and vLLM 0.24, keep in
memory, and when. Terms that are always small are left out. Memory of a device is the sum of state (weights, gradients,
Adam's moments), of what the forward pass keeps for the backward pass (`activations_kept`), and of the largest of what
exists for a moment only (`moments`).
"""

import math
from collections.abc import Iterable, Iterator

import msgspec

from virc.models.sizes import Shape
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
_LIGER = {"qwen2_vl", "qwen2_5_vl"}  # the families to which LLaMA-Factory 0.9.5 applies liger's kernels


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


class Work(msgspec.Struct, frozen=True):
    """A micro-batch on one device.

    Args:
        longest: tokens of one row.
        tokens, patches: of all rows; each has one image of the most pixels that are allowed.
        trained, parameters: how many there are, those of an adapter included.
        width: bytes of one number in matrix multiplications.
        frozen_bytes: of one frozen weight without ZeRO.
        casts: whether weights are float32 and cast for each multiplication.
        fused: whether liger's kernels run.
        vision_learns: whether gradients pass through the vision tower.
    """

    config: sft.Config | rl.Config
    shape: Shape
    longest: int
    tokens: int
    patches: int
    trained: int
    parameters: int
    width: int
    frozen_bytes: int
    casts: bool
    fused: bool
    vision_learns: bool

    @classmethod
    def of(cls, config: sft.Config | rl.Config, shape: Shape, prompt: int) -> "Work":
        """The work for prompts (of RL) or rows of `prompt` tokens."""
        longest = prompt + (config.response_length if isinstance(config, rl.Config) else 0)
        # LLaMA-Factory's collator puts both sides of each pair into one batch.
        rows = config.micro_batch_size_per_device * (config.sides if isinstance(config, dpo.Config) else 1)
        image_tokens = min(prompt, config.max_pixels // (shape.vision.patch_size**2 * shape.vision.merged))
        trained = sum(shape.trained(config.lora, config.frozen).values())
        width = 2 if config.precision == "bf16" else 4
        return cls(
            config, shape, longest,
            tokens=rows * longest,
            patches=rows * image_tokens * shape.vision.merged,
            trained=trained,
            parameters=sum(shape.parameters().values()) + (trained if config.lora else 0),
            width=width,
            # `llamafactory.start` makes frozen weights float32 on a CPU, and keeps gradients out of a frozen tower.
            frozen_bytes=max(shape.weight_bytes, width if config.device == "cpu" else 0),
            casts=width == 2 and isinstance(config, sft.Config) and not config.zero and not config.lora,
            fused=config.use_liger and shape.family in _LIGER,
            vision_learns="vision" not in config.frozen,
        )  # fmt: skip


def estimate(
    config: sft.Config | rl.Config, shape: Shape, longest_tokens: int, rows: int | None = None,
    total_tokens: int | None = None, gpu: str = USUAL,
) -> Estimate:  # fmt: skip
    """Count what a stage needs; each row is taken to have an image of `max_pixels`."""
    longest = min(longest_tokens, config.longest)
    work, mean = Work.of(config, shape, longest), total_tokens / rows if rows and total_tokens else None
    steps, assumptions = config.steps if rows is None else optimizer_steps(config, rows), ""
    seen = None if steps is None else float(steps * config.train_batch_size)  # rows, or prompts, in the whole stage
    if isinstance(config, rl.Config):
        mean = mean or longest / 2
        (terms, host), calls = _memory_of_rl(config, work, mean), _judge_calls(config)
        assumptions = ", replies half as long as they may be, rollouts that take as long as learning, and a judge "
        assumptions += "nobody waits for"
    else:
        (terms, host), calls = _memory_of_sft(config, work), None
        if rows and config.steps is None:  # the last batch of an epoch may be smaller
            seen = config.epochs * rows
    saves = _saves(config, steps, rows)
    disk = None if saves is None else _disk(config, work, saves)
    hours = assumed = None
    name = next((each for each in PEAK if each in gpu.upper().replace(" ", "")), "")
    if seen and mean and config.device == "cuda" and name:
        hours = seen * _flops(work, mean) / (PEAK[name] * 1e12 * UTILISATION) / 3600
        assumed = f"{UTILISATION:.0%} of the {PEAK[name]} TFLOP/s of one {name}{assumptions}"
    return Estimate(
        _in_order(terms), _total(terms), _in_order(host), _total(host),
        None if disk is None else _in_order(disk), None if disk is None else _total(disk),
        hours, assumed, steps, calls,
    )  # fmt: skip


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
    zero, devices, width = config.zero, config.devices * config.nodes, work.width
    offloads, spread = config.offload and zero > 0 and config.device == "cuda", devices if zero == 3 else 1
    if zero == 0:  # LLaMA-Factory makes trained weights float32; gradients wait in buckets for other devices
        terms = _state(work, work.frozen_bytes, 4, 4 if devices == 1 else 8, 1, 1)
    else:
        terms = _state(work, width, width, width, spread, devices)
        if offloads:  # the state is in main memory; under ZeRO-2 the weights, its first two terms, stay on the device
            terms = terms[: 0 if zero == 3 else 2]
        elif width == 2 or zero == 2:  # ZeRO-3 has no float32 copy of float32 weights
            terms.append(_weights("float32 weights", work.trained, 4, devices))
    if zero == 3:
        terms.append(_weights("weights brought together", min(work.parameters, _LIVE), width))
    if isinstance(config, dpo.Config) and config.referred and not config.lora:
        terms.append(_weights("reference weights", work.parameters, work.frozen_bytes, spread))
    steps_in_float32 = zero and not offloads and width == 2
    count = min(work.trained // devices, _LIVE if zero == 3 else work.trained) if steps_in_float32 else 0
    terms += _of_a_pass(work, _weights("float32 gradients", count, 4))
    readers = _constant("image readers", _LOADER, config.devices * config.loaders)
    if config.device == "cpu":
        return terms, [_constant("training processes", _total(terms), config.devices), readers]
    host = [_constant("training processes", _PROCESS, config.devices), readers]
    if zero == 3:
        read = work.shape.weight_bytes
        host.append(_weights("weights while they are read", work.parameters, read))
    if offloads:  # float32 weights, gradients and two moments, and under ZeRO-3 all weights
        state = 16 * work.trained + (width * work.parameters if zero == 3 else 0)
        host.append(_term("offloaded state", (state, "bytes"), over=config.nodes, by="nodes"))
    return terms, host


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
        return [*learning, *sampler], [
            helpers,
            _constant("training processes", _total([*learning, *sampler]), config.devices),
        ]
    others = [_constant("framework", OVERHEAD["cuda"]), *(() if config.offload else state)]
    # The device must be so large that the sampler fits into its share of it, and all else into the other part.
    share, taken = config.sampler_memory, _total(sampler) + _total(others)
    unused = max(_total(sampler) / share, _total(others) / (1 - share)) - taken
    rest = Term("left unused", unused, f"vLLM is given {share:.0%} of the device (sampler_memory)")
    replies, words = (config.train_batch_size * config.n, "replies"), (work.parameters, "parameters")
    patches = min(mean * vision.merged, work.patches / config.micro_batch_size_per_device)
    pixels = (patches * vision.pixels * 4, "bytes of pixels")
    host = [
        helpers,
        _constant("training processes", _PROCESS, 2 * config.devices),  # an actor and a vLLM on each device
        _term("weights while they are read", (config.devices if work.shape.tied else 1, "copies"), words, (4, "bytes")),
        _term("images of a step", replies, pixels, over=nodes, by="nodes"),  # in Ray's store
    ]
    if config.offload:
        offloaded = (4 * work.parameters + 8 * work.trained, "bytes")
        host.append(_term("offloaded state", offloaded, over=nodes, by="nodes"))
    if config.lora and config.rollout_engine == "vllm":  # with an adapter vLLM keeps them while it sleeps
        copies = (config.devices / config.tensor_parallel, "copies")
        host.append(_term("sampler's weights asleep", copies, words, (work.width, "bytes")))
    if config.kl_loss_coef and not config.lora:
        host.append(_weights("reference model", work.parameters, 4, nodes, "nodes"))
    return max(learning, [*sampler, *others, rest], key=_total), host


def _sampler(config: rl.Config, work: Work) -> list[Term]:
    """What rollouts are drawn with on one device; the weights come first."""
    kind: str = config.device
    over, width = config.tensor_parallel, work.width
    if config.rollout_engine == "transformers":  # in float64 if float32 is asked for: virc_extras/rl_cpu/rollout.py
        kind, over, width = "transformers", 1, 8 if config.precision == "float32" else width
    terms = [_weights("sampler's weights", work.parameters, width, over), _constant("sampler", _SAMPLER[kind])]
    if kind == "cuda":
        tokens = (config.prompt_length + config.response_length, "tokens of a reply")
        keys = (2 * work.shape.text.num_hidden_layers * work.shape.text.keys * width, "bytes")
        terms.append(_term("sampler's keys and values", tokens, keys, over=over))
    return terms


def _state(work: Work, frozen: int, trained: int, gradients: int, weights_over: int, over: int) -> list[Term]:
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


def activations_kept(work: Work) -> Iterator[Term]:
    """What is held from the forward to the backward pass, in bytes a token or a patch; tests measure these numbers."""
    config, text, vision = work.config, work.shape.text, work.shape.vision
    recomputes, residual = config.gradient_checkpointing, 4 if work.casts else work.width
    a_layer = residual * text.hidden_size if recomputes else _layer(work)
    layers, tokens = (text.num_hidden_layers, "layers"), (work.tokens, "tokens")
    yield _term("activations", layers, tokens, (a_layer, "bytes"))
    if work.casts and not recomputes:
        yield _weights("bf16 copies", work.trained, 2)
    if work.vision_learns:
        inner = (4 if work.shape.family == "qwen2_5_vl" else 3) * work.width * vision.inner
        block = (2 * (4 + residual) + 6 * work.width) * vision.width + inner
        a_patch = vision.depth * (residual * vision.width if recomputes else block) + 6 * vision.pixels
        yield _term("vision tower", (work.patches, "patches"), (a_patch, "bytes"))
    if config.attention == "sdpa" and not recomputes:
        a_pair = (1 + text.num_hidden_layers * work.width, "bytes")
        yield _term("attention mask", tokens, (work.longest, "tokens"), a_pair)


def moments(work: Work) -> Iterator[Term]:
    """What exists for a moment of a pass; only the largest of them counts."""
    config, text, vision, tokens = work.config, work.shape.text, work.shape.vision, (work.tokens, "tokens")
    yield _term("logits", tokens, (text.vocab_size, "words"), (_logit(work), "bytes"))
    if config.gradient_checkpointing:  # with its gradients, and copies of the inputs of layers with an adapter
        inputs = work.shape.adapter_inputs(config.lora, config.frozen) if config.lora else 0
        mask = work.longest if config.attention == "sdpa" else 0
        a_token = 1.5 * _layer(work) + work.width * (inputs + mask)
        yield _term("one layer recomputed", tokens, (a_token, "bytes"))
        if work.casts:
            at_the_end = 2 * work.trained + (0 if work.fused else 10 * work.tokens * text.vocab_size)
            yield _term("bf16 copies", (at_the_end, "bytes"))
    if not work.vision_learns:
        a_patch = 18 * work.width * vision.width + 6 * vision.pixels
        yield _term("vision tower", (work.patches, "patches"), (a_patch, "bytes"))


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
    if work.shape.family == "qwen3_vl":  # it normalizes queries and keys
        heads += (4 + width) * (text.queries + text.keys)
    mlp = (3 if work.fused else 4) * width * text.intermediate_size
    return (2 * norm + inputs) * text.hidden_size + heads + mlp


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
    embeddings = 0 if work.shape.tied else text.vocab_size * text.hidden_size
    attention = text.num_hidden_layers * text.queries * tokens
    language = operations * (parts["language"] - embeddings + attention)
    vision = (8 if work.vision_learns else 2) * parts["vision"] * work.patches / work.tokens
    return times * tokens * (language + vision)


def _disk(config: sft.Config | rl.Config, work: Work, saves: int) -> list[Term]:
    """Weights of all checkpoints that stay; the resume state of the newest two and of the one being written."""
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
        _term("weights", (stay, "checkpoints"), (weights, "bytes")),
        _term("resume state", (min(saves, 3), "checkpoints"), (state, "bytes")),
    ]


def _term(name: str, *factors: tuple[float, str], over: int = 1, by: str = "devices") -> Term:
    """The product of factors, each a number and its unit, the last in bytes; `over` devices (or nodes) share it."""
    text = " x ".join(f"{_number_text(number)} {unit}" for number, unit in factors)
    text += f" / {over} {by}" if over > 1 else ""
    return Term(name, math.prod(number for number, _ in factors) / over / GIB, text)


def _weights(name: str, count: float, width: int, over: int = 1, by: str = "devices") -> Term:
    """So many parameters, each of so many bytes."""
    return _term(name, (count, "parameters"), (width, "bytes"), over=over, by=by)


def _constant(name: str, gib: float, processes: int = 1) -> Term:
    return Term(name, processes * gib, f"{processes} x {gib:.3g} GiB")


def _number_text(number: float) -> str:
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{round(number, 2):,}".removesuffix(".0")


def _in_order(terms: Iterable[Term]) -> tuple[Term, ...]:
    return tuple(sorted((each for each in terms if each.gib > 0), key=lambda each: each.gib, reverse=True))


def _total(terms: Iterable[Term]) -> float:
    return math.fsum(each.gib for each in terms)
