"""What a stage needs: memory of a device, main memory, disk and time, each with how it is counted.

The formulas of supervised training and of preferences are those of LLaMA-Factory 0.9.5 with transformers 5.6 and
DeepSpeed 0.19, those of RL verl 0.9.1's with FSDP2 and vLLM 0.24: what those keep, and when.
"""

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from virc.models.sizes import Shape
from virc.stages import dpo, rl, sft
from virc.training.estimate.terms import Term, Work, constant, kept, logits, moments, term

OVERHEAD = {"cuda": 2.0, "cpu": 1.2}
"""GiB of a process beside all tensors: libraries, workspaces, CUDA's context, memory in pieces; measured on the CPU."""
PROCESS, LOADER = 4.0, 0.5
"""GiB of main memory of a process that drives a GPU, and of one that reads images."""
HELPERS, HELPER = {"cuda": 26, "cpu": 5}, 0.78
"""Processes of Ray and verl beside those of the devices (8 each of agents, rewards and stores, and Ray's own; on a CPU
one each), and GiB of one; measured on a CPU."""
SAMPLER = {"vllm": 2.4, "transformers": 0.8}
"""GiB of a process that writes rollouts, beside its weights and cache; measured on a CPU."""
UTILISATION = 0.35
"""Share of a GPU's peak that such training reaches."""
PEAK = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "A6000": 155, "4090": 165, "3090": 71, "A10": 125}
"""GPU -> bf16 TFLOP/s without sparsity, as its vendor states it."""
USUAL = "A100"

_LIVE = 10**9  # parameters: DeepSpeed's stage3_max_live_parameters and sub_group_size, as given to it
_GRADIENTS = 5 * 10**8  # parameters: DeepSpeed's reduce_bucket_size where none is given
_ROOM = 3.0  # GiB that vLLM works in beside weights and cache: 8,192 tokens at a time, and its image encoder
_BUCKET = 2.0  # GiB: verl's update_weights_bucket_megabytes
_CPU_CACHE = 1.0  # GiB of keys and values that vLLM gets on a CPU


class Estimate(msgspec.Struct, frozen=True):
    """What a stage needs.

    Args:
        terms: of one device, the largest first.
        device_gib: their sum.
        host: terms of the main memory of one machine; where the device is the CPU, its processes.
        host_gib: their sum.
        disk: terms of the run's folder; None where the number of checkpoints is not known.
        disk_gib: their sum.
        gpu_hours: of all GPUs together; None without rows, without a GPU, or where its speed is not known.
        assumed: what the hours assume.
        steps: optimizer steps; None where the rows are not known.
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


def estimate(
    config: sft.Config | rl.Config, shape: Shape, longest_tokens: int, rows: int | None = None,
    total_tokens: int | None = None, image_tokens: int | None = None, gpu: str = USUAL,
) -> Estimate:  # fmt: skip
    """Count what a stage needs.

    Args:
        config: of a stage of any kind.
        shape: of the base.
        longest_tokens: of the longest row, prompt or side of a pair, images included; the stage's limit bounds it.
        rows: to train on; None: not known yet.
        total_tokens: of all those rows.
        image_tokens: of the images of one row; None: one image of `max_pixels`.
        gpu: name of the GPUs, for the hours.
    """
    longest = min(longest_tokens, config.longest)
    if isinstance(config, rl.Config):
        return _of_rl(config, shape, longest, rows, total_tokens, image_tokens, gpu)
    work = Work.of(config, shape, longest, image_tokens)
    held = _held(work)
    passes_more = 1.0
    if isinstance(config, dpo.Config) and config.referred:
        if not config.lora:
            over, each = work.devices if config.zero == 3 else 1, (work.frozen_bytes, "bytes")
            held.append(term("reference weights", (work.parameters, "parameters"), each, over=over))
        # The reference passes forward, a third of all; in KTO both models pass over another reply besides.
        passes_more += 1 if config.loss == "kto" else 1 / 3
    momentary = [logits(work), *moments(work)]
    if config.zero and not work.offloads and work.width == 2:
        count = min(work.trained // work.devices, _LIVE if config.zero == 3 else work.trained)
        note = "while the optimizer steps"
        momentary.append(term("float32 gradients", (count, "parameters"), (4, "bytes"), note=note))
    terms = [*held, *kept(work), _largest(momentary), constant("framework", OVERHEAD[config.device])]
    steps, passes = _steps(config, rows)
    if config.save_steps == "epoch":
        saves = None if passes is None else math.ceil(passes)
    else:
        saves = None if steps is None else math.ceil(steps / config.save_steps)
    flops = None
    if rows and total_tokens is not None and passes is not None:
        flops = passes * passes_more * work.flops(total_tokens, total_tokens / rows)
    disk = None
    if saves is not None:  # and the end's weights
        disk = _checkpoints(min(saves, config.save_total_limit or saves) + 1, saves, _saved(work), _resumed(work))
    return _estimate(terms, _host(work, total(terms)), disk, _hours(flops, config.device, gpu), assumption(gpu), steps)


def _estimate(
    terms: list[Term], host: list[Term], disk: list[Term] | None, hours: float | None, assumed: str,
    steps: int | None, judge_calls: tuple[int, int] | None = None,
) -> Estimate:  # fmt: skip
    device, in_host, on_disk = _in_order(terms), _in_order(host), None if disk is None else _in_order(disk)
    return Estimate(
        device, total(device), in_host, total(in_host), on_disk, None if on_disk is None else total(on_disk), hours,
        None if hours is None else assumed, steps, judge_calls,
    )  # fmt: skip


def total(terms: Iterable[Term]) -> float:
    """GiB of several terms."""
    return math.fsum(each.gib for each in terms)


def _largest(terms: Iterable[Term]) -> Term:
    """Of what is held for a moment only: no two such moments are at the same time."""
    return max(terms, key=lambda each: each.gib)


def _state(work: Work, frozen: int, trained: int, gradients: int, over: int = 1, weights_over: int = 1) -> list[Term]:
    """Weights, gradients and Adam's two moments of one device.

    Args:
        frozen, trained, gradients: bytes of one.
        over: devices that share gradients and moments; `weights_over` those that share the weights.
    """
    learnt = (work.trained, "parameters")
    return [
        term("frozen weights", (work.frozen, "parameters"), (frozen, "bytes"), over=weights_over),
        term("trained weights", learnt, (trained, "bytes"), over=weights_over),
        term("gradients", learnt, (gradients, "bytes"), over=over),
        term("Adam moments", learnt, (8, "bytes"), over=over),
    ]


def _held(work: Work) -> list[Term]:
    """Weights, gradients and optimizer: ZeRO-2 spreads the last two over the devices, ZeRO-3 the weights too."""
    if not work.config.zero:  # LLaMA-Factory makes trained weights float32
        buckets = term(
            "gradient buckets", (work.trained, "parameters"), (4, "bytes"), note="on their way to other devices"
        )
        return [*_state(work, work.frozen_bytes, 4, 4), *[buckets] * (work.devices > 1)]
    width, over, zero_3 = work.width, work.devices, work.config.zero == 3
    terms = _state(work, width, width, width, over, over if zero_3 else 1)
    if work.offloads:
        terms = [] if zero_3 else terms[:2]
    # DeepSpeed's float32 copy of trained weights: ZeRO-3 makes none where the weights are float32 themselves.
    elif width == 2 or not zero_3:
        terms.append(term("float32 weights", (work.trained, "parameters"), (4, "bytes"), over=over))
    name, most = "weights brought together", min(work.parameters, _LIVE)
    if not zero_3:
        name, most = "gradients brought together", min(work.trained, _GRADIENTS)
    return [*terms, term(name, (most, "parameters at a time"), (width, "bytes"))]


def _host(work: Work, device_gib: float) -> list[Term]:
    config = work.config
    loading = constant("image readers", LOADER, config.devices * config.loaders)
    if config.device == "cpu":
        return [_processes_on_cpu(config.devices, device_gib), loading]
    terms = [constant("training processes", PROCESS, config.devices), loading]
    everything = (work.parameters, "parameters")
    if config.zero == 3:
        each = (work.shape.weight_bytes, "bytes")
        terms.append(term("weights while they are read", everything, each, note="once on each machine"))
    if work.offloads:  # the machine's share
        note = "float32 weights, gradients and two moments"
        learnt = (work.trained, "parameters")
        terms.append(term("offloaded optimizer", learnt, (16, "bytes"), over=config.nodes, by="nodes", note=note))
        if config.zero == 3:
            terms.append(term("offloaded weights", everything, (work.width, "bytes"), over=config.nodes, by="nodes"))
    return terms


def _processes_on_cpu(devices: int, device_gib: float) -> Term:
    return Term("training processes", devices * device_gib, f"{devices} x what one of them needs")


def optimizer_steps(config: sft.Config | rl.Config, rows: int) -> int:
    """How many optimizer steps a stage takes for so many rows."""
    if isinstance(config, rl.Config):
        return config.steps or rows // config.train_batch_size * config.epochs
    return _steps(config, rows)[0] or 0


def _steps(config: sft.Config, rows: int | None) -> tuple[int | None, float | None]:
    if rows is None:
        return config.steps, None if config.steps else config.epochs
    an_epoch = max(
        1, math.ceil(math.ceil(rows / config.at_a_time) / max(1, config.train_batch_size // config.at_a_time))
    )
    steps = config.steps or math.ceil(config.epochs * an_epoch)
    return steps, steps / an_epoch


def _saved(work: Work) -> int:
    if work.config.lora:
        return work.trained * 4
    if work.config.zero:
        return work.parameters * work.width
    return work.trained * 4 + work.frozen * work.frozen_bytes


def _resumed(work: Work) -> int:
    """Bytes of the state of one checkpoint that only resuming needs: of DeepSpeed with its own weights."""
    if work.config.zero == 0:
        return work.trained * 8
    return work.trained * 12 + (work.parameters if work.config.zero == 2 else work.frozen) * work.width


def _checkpoints(stay: int, saves: int, weights: int, state: int) -> list[Term]:
    """Of disk: the weights of `stay` checkpoints, and the resume state of the newest two and the one being written."""
    return [
        term("weights", (stay, "checkpoints"), (weights, "bytes")),
        term("resume state", (min(saves, 3), "checkpoints"), (state, "bytes")),
    ]


def _in_order(terms: Iterable[Term]) -> tuple[Term, ...]:
    return tuple(sorted((each for each in terms if each.gib > 0), key=lambda each: -each.gib))


def _hours(flops: float | None, device: str, gpu: str) -> float | None:
    peak = PEAK.get(_known_gpu(gpu))
    return None if flops is None or device == "cpu" or peak is None else flops / (peak * 1e12 * UTILISATION) / 3600


def _known_gpu(gpu: str) -> str:
    return next((name for name in PEAK if name in gpu.upper().replace(" ", "")), gpu)


def assumption(gpu: str) -> str:
    """How fast a GPU is taken to be, in words."""
    return f"{UTILISATION:.0%} of the {PEAK.get(_known_gpu(gpu), 0)} TFLOP/s of one {_known_gpu(gpu)}"


def _of_rl(
    config: rl.Config, shape: Shape, prompt: int, rows: int | None, total_tokens: int | None,
    image_tokens: int | None, gpu: str,
) -> Estimate:  # fmt: skip
    """One device in turn learns, takes over new weights and samples; the terms are those of the turn with the most."""
    work = rl_work(config, shape, prompt, image_tokens)
    # verl makes all weights float32; each device has its share.
    state = _state(work, 4, 4, 4, work.devices, work.devices)
    sampler = _sampler(config, work)
    framework = constant("framework", OVERHEAD[config.device])
    learning = [*state, _gathered(work), *kept(work), _largest([_rl_logits(config, work), *moments(work)]), framework]
    if config.device == "cpu":  # nothing is moved away: all of it is there at the same time
        terms = [*learning, *sampler]
    else:
        alone = term("actor", (work.parameters, "parameters"), (4, "bytes"), over=work.devices)
        actor = [alone] if config.offload else state
        taking_over = [*actor, sampler[0], constant("weights on their way", _BUCKET), framework]
        terms = max(learning, taking_over, _sampling(config, work, sampler, state), key=total)
    mean = total_tokens / rows if rows and total_tokens else prompt / 2
    steps = config.steps if rows is None else optimizer_steps(config, rows)
    flops = disk = None
    if steps is not None:
        row = mean + config.response_length / 2
        tokens = steps * config.train_batch_size * config.n * row
        # Forward for the old probabilities and the reference, forward and backward to learn; rollouts as long again.
        more = 2 * (2 if config.kl_loss_coef else 1) / (8 if config.gradient_checkpointing else 6)
        flops = 2 * work.flops(tokens, row) * (1 + more)
        saves, best = math.ceil(steps / config.save_steps), 1 if config.test_freq else 0
        stay = saves if config.save_total_limit is None else min(saves, config.save_total_limit + best + 1)
        disk = _checkpoints(stay, saves, work.parameters * 4, work.trained * 8)
    assumed = (
        f"{assumption(gpu)}, replies half as long as they may be, rollouts that take as long as learning, and a judge "
        "nobody waits for"
    )
    hours = _hours(flops, config.device, gpu)
    return _estimate(terms, _rl_host(config, work, terms, mean), disk, hours, assumed, steps, judge_calls(config))


def judge_calls(config: rl.Config) -> tuple[int, int] | None:
    """Fewest and most questions to the judge in a step: one for an answer, two for a call of a tool."""
    if config.reward.judge.endpoint is None and not config.judge_gpus:
        return None
    replies = config.train_batch_size * config.n
    return replies, replies * 2 * (config.max_turns if config.rollout == "multi_turn" else 1)


def rl_work(config: rl.Config, shape: Shape, prompt: int, image_tokens: int | None) -> Work:
    """What a device learns from at a time: the same pass as in a stage of kind `sft` under ZeRO-3."""
    names = ("data", "learning_rate", "micro_batch_size_per_device", "lora", "precision", "attention",
             "gradient_checkpointing", "device", "devices", "nodes", "max_pixels")  # fmt: skip
    same: dict[str, Any] = {name: getattr(config, name) for name in names}
    same_pass = sft.Config(**same, frozen_modules=config.frozen, use_liger=config.liger, zero=3)
    one = config.max_pixels // (shape.vision.patch_size**2 * shape.vision.merged)
    images = min(prompt, one if image_tokens is None else image_tokens)
    return Work.of(same_pass, shape, prompt + config.response_length, images)


def _gathered(work: Work) -> Term:
    """FSDP2 brings one layer together while the next is on its way; what is in no layer stays together."""
    text = work.shape.text
    words = text.vocab_size * text.hidden_size * (1 if work.shape.tied else 2)
    layers = (work.shape.parameters()["language"] - words) / text.num_hidden_layers * 2
    note = "two layers and the words"
    return term("weights brought together", (layers + words, "parameters"), (work.width, "bytes"), note=note)


def _rl_logits(config: rl.Config, work: Work) -> Term:
    """What verl's way from logits to the loss holds, gradients included; a test counts the copies in its own code."""
    copies = 7 if config.entropy else 5 if config.precision == "bf16" else 6
    factors = (work.tokens, "tokens"), (work.shape.text.vocab_size, "words"), (copies, "copies"), (work.width, "bytes")
    return term("logits", *factors)


def _sampling(config: rl.Config, work: Work, sampler: list[Term], state: list[Term]) -> list[Term]:
    """vLLM takes its share of the device; what it needs must fit into that, what else is there beside it."""
    beside = [constant("framework", OVERHEAD[config.device]), *(() if config.offload else state)]
    inside, outside, share = total(sampler), total(beside), config.sampler_memory
    device = max(inside / share, outside / (1 - share))
    rest = f"vLLM is given {share:.0%} of the device (sampler_memory)"
    return [*sampler, *beside, Term("left unused", device - inside - outside, rest)]


def _sampler(config: rl.Config, work: Work) -> list[Term]:
    count = sum(work.shape.parameters().values()) + (work.trained if config.lora else 0)
    over, width = config.tensor_parallel, work.width
    if by_transformers := config.rollout_engine == "transformers":
        # It computes in float64 where float32 is asked for: engines/verl/rollout.py.
        over, width = 1, 8 if config.precision == "float32" else work.width
    weights = term("sampler's weights", (count, "parameters"), (width, "bytes"), over=over)
    if by_transformers:
        return [weights, constant("sampler", SAMPLER["transformers"])]
    if config.device == "cpu":
        return [weights, constant("sampler", SAMPLER["vllm"] + _CPU_CACHE)]
    tokens, text = config.prompt_length + config.response_length, work.shape.text
    each = 2 * text.num_hidden_layers * text.keys * work.width
    factors = (tokens, "tokens of a reply"), (each, "bytes")
    cache = term("sampler's keys and values", *factors, over=config.tensor_parallel)
    return [weights, cache, constant("sampler", _ROOM)]


def _rl_host(config: rl.Config, work: Work, terms: list[Term], mean: float) -> list[Term]:
    helpers = constant("helpers", HELPER, HELPERS[config.device])
    if config.device == "cpu":
        return [helpers, _processes_on_cpu(config.devices, total(terms))]
    everything = (work.parameters, "parameters")
    copies = config.devices if work.shape.tied else 1
    vision, replies = work.shape.vision, config.train_batch_size * config.n
    image = min(mean, work.patches / config.micro_batch_size_per_device / vision.merged)  # tokens
    pixels = (image * vision.merged * vision.pixels * 4, "bytes of pixels")
    found = [
        helpers,
        constant("training processes", PROCESS, 2 * config.devices),  # an actor and a vLLM on each device
        term("weights while they are read", (copies, "copies"), everything, (4, "bytes")),
        term("images of a step", (replies, "replies"), pixels, over=config.nodes, by="nodes"),  # in Ray's store
    ]
    if config.offload:
        size = work.parameters * 4 + work.trained * 8
        note = "weights and two moments of the trained ones"
        found.append(term("offloaded state", (size, "bytes"), over=config.nodes, by="nodes", note=note))
    if config.lora and config.rollout_engine == "vllm":
        asleep = config.devices * _sampler(config, work)[0].gib
        note = f"of {config.devices} devices: with an adapter vLLM keeps them while it sleeps"
        found.append(Term("sampler's weights asleep", asleep, note))
    if config.kl_loss_coef and not config.lora:
        note = "verl keeps it off the devices"
        found.append(term("reference model", everything, (4, "bytes"), over=config.nodes, by="nodes", note=note))
    return found
