"""What a stage needs: memory of a device, main memory, disk and time, each term the product of its factors.

The formulas follow what LLaMA-Factory 0.9.5 with DeepSpeed 0.19, and verl 0.9.1 with FSDP2 and vLLM 0.24, keep in
memory, and when. Terms that are always small are left out. Memory of a device is the sum of state (weights, gradients,
Adam's moments), of what the forward pass keeps for the backward pass (`kept`), and of the largest of what exists for a
moment only (`logits`, `moments`).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

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
_BUCKET = 2.0  # GiB: verl's update_weights_bucket_megabytes
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
    """A micro-batch on one device: `tokens` and `patches` of all its rows, each of which has `longest` tokens."""

    config: sft.Config
    shape: Shape
    longest: int
    tokens: int
    patches: int

    @classmethod
    def of(cls, config: sft.Config, shape: Shape, longest: int, image_tokens: int | None) -> "Work":
        """The work for rows of `longest` tokens; `image_tokens` None: one image of `max_pixels`."""
        largest_image = config.max_pixels // (shape.vision.patch_size**2 * shape.vision.merged)
        images = min(longest, largest_image if image_tokens is None else image_tokens)
        # LLaMA-Factory's collator puts both sides of each pair into one batch.
        rows = config.micro_batch_size_per_device * (config.sides if isinstance(config, dpo.Config) else 1)
        return cls(config, shape, longest, rows * longest, rows * images * shape.vision.merged)

    @property
    def trained(self) -> int:
        return sum(self.shape.trained(self.config.lora, self.config.frozen_modules).values())

    @property
    def parameters(self) -> int:
        """Number of parameters of the model, those of an adapter included."""
        return sum(self.shape.parameters().values()) + (self.trained if self.config.lora else 0)

    @property
    def width(self) -> int:
        """Bytes of one number in matrix multiplications."""
        return 2 if self.config.precision == "bf16" else 4

    @property
    def casts(self) -> bool:
        """Whether weights are float32 and cast for each multiplication."""
        return self.width == 2 and not self.config.zero and not self.config.lora

    @property
    def frozen_bytes(self) -> int:
        """Bytes of one frozen weight without ZeRO; `llamafactory.start` makes frozen weights float32 on a CPU."""
        return max(self.shape.weight_bytes, self.width if self.config.device == "cpu" else 0)

    @property
    def fused(self) -> bool:
        """Whether liger's kernels run, which compute the loss a chunk at a time."""
        return self.config.use_liger and self.shape.family in _LIGER

    @property
    def vision_learns(self) -> bool:
        """Whether gradients pass through the vision tower; `llamafactory.start` keeps them out of a frozen one."""
        return "vision" not in self.config.frozen_modules


def estimate(
    config: sft.Config | rl.Config, shape: Shape, longest_tokens: int, rows: int | None = None,
    total_tokens: int | None = None, image_tokens: int | None = None, gpu: str = USUAL,
) -> Estimate:  # fmt: skip
    """Count what a stage needs; `image_tokens` are of the images of one row, None: one image of `max_pixels`."""
    longest = min(longest_tokens, config.longest)
    mean = total_tokens / rows if rows and total_tokens else None
    steps, calls = config.steps if rows is None else optimizer_steps(config, rows), None
    if isinstance(config, rl.Config):
        work, mean, calls = _rl_work(config, shape, longest, image_tokens), mean or longest / 2, _judge_calls(config)
        terms, host = _memory_of_rl(config, work, mean)
        disk, flops = _disk_of_rl(config, work, steps), _flops_of_rl(config, work, steps, mean)
    else:
        work = Work.of(config, shape, longest, image_tokens)
        terms, host = _memory(config, work)
        known = steps / _epoch(config, rows) if rows and steps is not None else None
        passes = config.epochs if steps is None else known
        disk = _disk(config, work, steps, passes)
        # A reference model's forward pass costs a third; in KTO both models also pass over a second, unrelated reply.
        compared = isinstance(config, dpo.Config) and config.referred
        cost = (2 if config.loss == "kto" else 4 / 3) if isinstance(config, dpo.Config) and compared else 1
        flops = passes * cost * _flops(work, rows * mean, mean) if rows and mean is not None and passes else None
    hours = assumed = None
    name = next((each for each in PEAK if each in gpu.upper().replace(" ", "")), "")
    if flops is not None and config.device == "cuda" and name:
        hours = flops / (PEAK[name] * 1e12 * UTILISATION) / 3600
        assumed = f"{UTILISATION:.0%} of the {PEAK[name]} TFLOP/s of one {name}"
        if isinstance(config, rl.Config):
            assumed += ", replies half as long as they may be, rollouts that take as long as learning, and a judge "
            assumed += "nobody waits for"
    of_device, of_host, of_disk = _in_order(terms), _in_order(host), None if disk is None else _in_order(disk)
    return Estimate(
        of_device, _total(of_device), of_host, _total(of_host), of_disk, None if of_disk is None else _total(of_disk),
        hours, assumed, steps, calls,
    )  # fmt: skip


def optimizer_steps(config: sft.Config | rl.Config, rows: int) -> int:
    if isinstance(config, rl.Config):
        return config.steps or rows // config.train_batch_size * config.epochs
    return config.steps or math.ceil(config.epochs * _epoch(config, rows))


def _epoch(config: sft.Config, rows: int) -> int:
    """Optimizer steps of one epoch."""
    batches = math.ceil(rows / config.at_a_time)
    return max(1, math.ceil(batches / max(1, config.train_batch_size // config.at_a_time)))


def _judge_calls(config: rl.Config) -> tuple[int, int] | None:
    """Fewest and most questions to the judge in a step: one for an answer, two for a call of a tool."""
    if config.reward.judge.endpoint is None and not config.judge_gpus:
        return None
    replies = config.train_batch_size * config.n
    return replies, replies * 2 * (config.max_turns if config.rollout == "multi_turn" else 1)


def _rl_work(config: rl.Config, shape: Shape, prompt: int, image_tokens: int | None) -> Work:
    """The micro-batch of a learning step of RL: the same pass as in a stage of kind `sft` under ZeRO-3."""
    names = ("data", "learning_rate", "micro_batch_size_per_device", "lora", "precision", "attention",
             "gradient_checkpointing", "device", "devices", "nodes", "max_pixels", "use_liger")  # fmt: skip
    shared: dict[str, Any] = {name: getattr(config, name) for name in names}
    largest_image = config.max_pixels // (shape.vision.patch_size**2 * shape.vision.merged)
    images = min(prompt, largest_image if image_tokens is None else image_tokens)
    of_sft = sft.Config(**shared, frozen_modules=config.frozen, zero=3)
    return Work.of(of_sft, shape, prompt + config.response_length, images)


def _memory(config: sft.Config, work: Work) -> tuple[list[Term], list[Term]]:
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
        gathered = (min(work.parameters, _LIVE), "parameters at a time")
        terms.append(term("weights brought together", gathered, (width, "bytes")))
    if isinstance(config, dpo.Config) and config.referred and not config.lora:
        terms.append(_weights("reference weights", work.parameters, work.frozen_bytes, spread))
    momentary = [logits(work), *moments(work)]
    if zero and not offloads and width == 2:
        count = min(work.trained // devices, _LIVE if zero == 3 else work.trained)
        momentary.append(_weights("float32 gradients", count, 4, note="while the optimizer steps"))
    terms += [*activations_kept(work), max(momentary, key=_size), constant("framework", OVERHEAD[config.device])]
    readers = constant("image readers", _LOADER, config.devices * config.loaders)
    if config.device == "cpu":
        return terms, [_processes(config.devices, terms), readers]
    host = [constant("training processes", _PROCESS, config.devices), readers]
    if zero == 3:
        read = work.shape.weight_bytes
        host.append(_weights("weights while they are read", work.parameters, read, note="once on each machine"))
    if offloads:  # float32 weights, gradients and two moments, and under ZeRO-3 all weights
        state = 16 * work.trained + (width * work.parameters if zero == 3 else 0)
        host.append(term("offloaded state", (state, "bytes"), over=config.nodes, by="nodes"))
    return terms, host


def _memory_of_rl(config: rl.Config, work: Work, mean: float) -> tuple[list[Term], list[Term]]:
    """The terms of a device, and those of main memory.

    A device first learns, then takes over the new weights, then samples; its terms are those of the largest phase.
    """
    devices, nodes, text = config.devices * config.nodes, config.nodes, work.shape.text
    state = _state(work, 4, 4, 4, devices, devices)  # verl makes all weights float32; each device has its share
    framework, sampler = constant("framework", OVERHEAD[config.device]), _sampler(config, work)
    embeddings = text.vocab_size * text.hidden_size * (1 if work.shape.tied else 2)
    layers = 2 * (work.shape.parameters()["language"] - embeddings) / text.num_hidden_layers
    together = _weights("weights brought together", embeddings + layers, work.width, note="two layers and the words")
    # Copies from logits to the loss, gradients included; a test counts them in verl's code.
    copies = 7 if config.entropy else 5 if config.precision == "bf16" else 6
    words = (work.tokens, "tokens"), (text.vocab_size, "words")
    momentary = max([term("logits", *words, (copies * work.width, "bytes")), *moments(work)], key=_size)
    terms = [*state, together, *activations_kept(work), momentary, framework]
    helpers = constant("helpers", _HELPER, _HELPERS[config.device])
    if config.device == "cpu":  # nothing is moved away: all of it is there at the same time
        terms += sampler
        return terms, [helpers, _processes(config.devices, terms)]
    others, share = [framework, *(() if config.offload else state)], config.sampler_memory
    # The device must be so large that the sampler fits into its share of it, and all else into the other part.
    unused = max(_total(sampler) / share, _total(others) / (1 - share)) - _total(sampler) - _total(others)
    rest = Term("left unused", unused, f"vLLM is given {share:.0%} of the device (sampler_memory)")
    vision, replies = work.shape.vision, config.train_batch_size * config.n
    image_tokens = min(mean, work.patches / config.micro_batch_size_per_device / vision.merged)
    pixels = (image_tokens * vision.merged * vision.pixels * 4, "bytes of pixels")
    copied = (config.devices if work.shape.tied else 1, "copies")
    host = [
        helpers,
        constant("training processes", _PROCESS, 2 * config.devices),  # an actor and a vLLM on each device
        term("weights while they are read", copied, (work.parameters, "parameters"), (4, "bytes")),
        term("images of a step", (replies, "replies"), pixels, over=nodes, by="nodes"),  # in Ray's store
    ]
    if config.offload:
        offloaded = (4 * work.parameters + 8 * work.trained, "bytes")
        host.append(term("offloaded state", offloaded, over=nodes, by="nodes"))
    if config.lora and config.rollout_engine == "vllm":
        note = f"of {config.devices} devices: with an adapter vLLM keeps them while it sleeps"
        host.append(Term("sampler's weights asleep", config.devices * sampler[0].gib, note))
    if config.kl_loss_coef and not config.lora:
        host.append(_weights("reference model", work.parameters, 4, nodes, "nodes", "verl keeps it off the devices"))
    actor = [_weights("actor", work.parameters, 4, devices)] if config.offload else state
    taking_over = [*actor, sampler[0], constant("weights on their way", _BUCKET), framework]
    return max(terms, taking_over, [*sampler, *others, rest], key=_total), host


def _sampler(config: rl.Config, work: Work) -> list[Term]:
    """What rollouts are drawn with on one device; the weights come first."""
    kind: str = config.device
    over, width = config.tensor_parallel, work.width
    if config.rollout_engine == "transformers":  # in float64 if float32 is asked for: virc_extras/rl_cpu/rollout.py
        kind, over, width = "transformers", 1, 8 if config.precision == "float32" else width
    terms = [_weights("sampler's weights", work.parameters, width, over), constant("sampler", _SAMPLER[kind])]
    if kind == "cuda":
        tokens = (config.prompt_length + config.response_length, "tokens of a reply")
        keys = (2 * work.shape.text.num_hidden_layers * work.shape.text.keys * width, "bytes")
        terms.insert(1, term("sampler's keys and values", tokens, keys, over=over))
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


def activations_kept(work: Work) -> Iterator[Term]:
    """What is held from the forward to the backward pass, in bytes a token or a patch; tests measure these numbers."""
    config, text, vision = work.config, work.shape.text, work.shape.vision
    recomputes, residual = config.gradient_checkpointing, 4 if work.casts else work.width
    a_layer = residual * text.hidden_size if recomputes else _layer(work)
    note = f"{'the input' if recomputes else 'all that is computed'} of each layer"
    layers, tokens = (text.num_hidden_layers, "layers"), (work.tokens, "tokens")
    yield term("activations", layers, tokens, (a_layer, "bytes"), note=note)
    if work.casts and not recomputes:
        yield _weights("bf16 copies", work.trained, 2, note="of autocast")
    if work.vision_learns:
        inner = (4 if work.shape.family == "qwen2_5_vl" else 3) * work.width * vision.inner
        block = (2 * (4 + residual) + 6 * work.width) * vision.width + inner
        a_patch = vision.depth * (residual * vision.width if recomputes else block) + 6 * vision.pixels
        yield term("vision tower", (work.patches, "patches"), (a_patch, "bytes"))
    if config.attention == "sdpa" and not recomputes:
        a_pair = (1 + text.num_hidden_layers * work.width, "bytes")
        yield term("attention mask", tokens, (work.longest, "tokens"), a_pair)


def moments(work: Work) -> Iterator[Term]:
    """What exists for a moment of a pass, in addition to `logits`; only the largest of them counts."""
    config, vision = work.config, work.shape.vision
    if config.gradient_checkpointing:  # with its gradients, and copies of the inputs of layers with an adapter
        inputs = work.shape.adapter_inputs(config.lora, config.frozen_modules) if config.lora else 0
        mask = work.longest if config.attention == "sdpa" else 0
        a_token = 1.5 * _layer(work) + work.width * (inputs + mask)
        yield term("one layer recomputed", (work.tokens, "tokens"), (a_token, "bytes"))
        if work.casts:
            at_the_end = 2 * work.trained + (0 if work.fused else 10 * work.tokens * work.shape.text.vocab_size)
            yield term("bf16 copies", (at_the_end, "bytes"), note="of autocast, at the end of forward, and logits")
    if not work.vision_learns:
        a_patch = 18 * work.width * vision.width + 6 * vision.pixels
        yield term("vision tower", (work.patches, "patches"), (a_patch, "bytes"), note="in one block")


def logits(work: Work) -> Term:
    """The last layer's numbers and what the loss makes of them, held for a moment."""
    text, config = work.shape.text, work.config
    if work.fused and not isinstance(config, dpo.Config):  # LLaMA-Factory turns liger's fused loss off for pairs
        gradient = 0 if config.lora else text.vocab_size * text.hidden_size * work.width
        chunk = 3 * work.width * text.hidden_size * work.tokens + gradient
        return term("logits, a chunk at a time", (chunk, "bytes"))
    width = 12  # bytes of all copies of one logit, those of the reference included
    if isinstance(config, dpo.Config):
        width = 16 if config.referred else 14
    return term("logits", (work.tokens, "tokens"), (text.vocab_size, "words"), (width, "bytes"))


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


def _flops(work: Work, tokens: float, mean: float) -> float:
    """Floating-point operations of one pass over rows with `tokens` tokens in total and `mean` tokens each.

    Each parameter takes 6 operations a token: 2 forward and 4 backward. A frozen part that gradients pass through
    takes 4, a frozen part before all trained parts takes 2. Gradient checkpointing computes the forward pass twice.
    """
    parts, text, config = work.shape.parameters(), work.shape.text, work.config
    operations = 4 if config.lora or "language" in config.frozen_modules else 6
    operations += 2 if config.gradient_checkpointing else 0
    # Input embeddings are looked up, not multiplied; tied ones are multiplied as the output layer.
    embeddings = 0 if work.shape.tied else text.vocab_size * text.hidden_size
    attention = text.num_hidden_layers * text.queries * mean
    language = operations * (parts["language"] - embeddings + attention)
    vision = (8 if work.vision_learns else 2) * parts["vision"] * work.patches / work.tokens
    return (language + vision) * tokens


def _flops_of_rl(config: rl.Config, work: Work, steps: int | None, mean: float) -> float | None:
    if steps is None:
        return None
    row = mean + config.response_length / 2
    # Besides the pass that learns there are forward passes for the old probabilities and for the reference.
    forward_passes, of_a_pass = 2 if config.kl_loss_coef else 1, 2 / (8 if config.gradient_checkpointing else 6)
    learning = 1 + forward_passes * of_a_pass
    return 2 * _flops(work, steps * config.train_batch_size * config.n * row, row) * learning  # rollouts take as long


def _disk(config: sft.Config, work: Work, steps: int | None, passes: float | None) -> list[Term] | None:
    done = passes if config.save_steps == "epoch" else steps and steps / config.save_steps
    if done is None:
        return None
    frozen, spread = work.parameters - work.trained, work.parameters * work.width
    weights = spread if config.zero else work.trained * 4 + frozen * work.frozen_bytes
    # ZeRO stage -> bytes that only resuming needs: moments, and of DeepSpeed its own weights.
    state = {0: 8 * work.trained, 2: 12 * work.trained + spread, 3: 12 * work.trained + frozen * work.width}
    saves = math.ceil(done)
    stay = min(saves, config.save_total_limit or saves) + 1  # the weights at the end are saved once more
    return _checkpoints(stay, saves, work.trained * 4 if config.lora else weights, state[config.zero])


def _disk_of_rl(config: rl.Config, work: Work, steps: int | None) -> list[Term] | None:
    if steps is None:
        return None
    saves, best = math.ceil(steps / config.save_steps), 1 if config.test_freq else 0
    stay = saves if config.save_total_limit is None else min(saves, config.save_total_limit + best + 1)
    return _checkpoints(stay, saves, work.parameters * 4, work.trained * 8)


def _checkpoints(stay: int, saves: int, weights: int, state: int) -> list[Term]:
    """Weights of all `stay` checkpoints; the resume state of the newest two and of the one being written."""
    states = (min(saves, 3), "checkpoints")
    return [term("weights", (stay, "checkpoints"), (weights, "bytes")), term("resume state", states, (state, "bytes"))]


def term(name: str, *factors: tuple[float, str], over: int = 1, by: str = "devices", note: str = "") -> Term:
    """The product of factors, each a number and its unit, the last in bytes; `over` devices (or nodes) share it."""
    text = " x ".join(f"{_number_text(number)} {unit}" for number, unit in factors)
    text += (f" / {over} {by}" if over > 1 else "") + (f": {note}" if note else "")
    return Term(name, math.prod(number for number, _ in factors) / over / GIB, text)


def _weights(name: str, count: float, width: int, over: int = 1, by: str = "devices", note: str = "") -> Term:
    """So many parameters, each of so many bytes."""
    return term(name, (count, "parameters"), (width, "bytes"), over=over, by=by, note=note)


def constant(name: str, gib: float, processes: int = 1) -> Term:
    return Term(name, processes * gib, f"{processes} x {gib:g} GiB, a constant")


def _processes(devices: int, terms: Iterable[Term]) -> Term:
    return Term("training processes", devices * _total(terms), f"{devices} x what one of them needs")


def _number_text(number: float) -> str:
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{round(number, 2):,}".removesuffix(".0")


def _in_order(terms: Iterable[Term]) -> tuple[Term, ...]:
    return tuple(sorted((each for each in terms if each.gib > 0), key=_size, reverse=True))


def _size(each: Term) -> float:
    return each.gib


def _total(terms: Iterable[Term]) -> float:
    return math.fsum(each.gib for each in terms)
