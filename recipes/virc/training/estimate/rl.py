"""What a stage of kind `rl` needs: memory of a device, main memory, disk, steps and questions to the judge.

The formulas are those of verl 0.9.1 with FSDP2 and vLLM 0.24. One device in turn writes rollouts, takes over new
weights and learns; what it needs is the most that any of the three takes, and the terms are those of that one.
"""

import math

from virc.models.sizes import Shape
from virc.stages import sft
from virc.stages.rl import Config
from virc.training.estimate.activations import Term, Work, kept, moments, term_of
from virc.training.estimate.sft import (
    PROCESS,
    USUAL,
    UTILISATION,
    Estimate,
    among,
    assumption,
    disk_terms,
    framework,
    largest_first,
    peak_of,
    people,
    state,
    total,
)

HELPERS, HELPER = {"cuda": 26, "cpu": 5}, 0.78
"""Processes of Ray and verl beside those of the devices (8 each of agents, rewards and stores, and Ray's own; on a CPU
one each), and GiB of one; measured on a CPU."""
SAMPLER = {"vllm": 2.4, "transformers": 0.8}
"""GiB of a process that writes rollouts, beside its weights and cache; measured on a CPU."""

_ROOM = 3.0  # GiB that vLLM works in beside weights and cache: 8,192 tokens at a time, and its image encoder
_BUCKET = 2.0  # GiB: verl's update_weights_bucket_megabytes
_CPU_CACHE = 1.0  # GiB of keys and values that vLLM gets on a CPU


def estimate(
    config: Config,
    shape: Shape,
    longest_tokens: int,
    rows: int | None = None,
    total_tokens: int | None = None,
    image_tokens: int | None = None,
    gpu: str = USUAL,
) -> Estimate:
    """Count what a stage needs.

    Args:
        shape: of the base.
        longest_tokens: of the longest prompt, images included; `config.prompt_length` bounds it.
        rows: prompts; None: not known yet.
        total_tokens: of all those prompts.
        image_tokens: of the images of one prompt; None: one image of `max_pixels`.
        gpu: name of the GPUs, for the hours.
    """
    prompt = min(longest_tokens, config.prompt_length)
    work = _work(config, shape, prompt, image_tokens)
    if config.device == "cpu":  # nothing is moved away: all of it is there at the same time
        terms = largest_first([*_learning(config, work), *_sampler(config, work)])
    else:
        terms = largest_first(
            max(_learning(config, work), _taking_over(config, work), _sampling(config, work), key=total)
        )
    mean = total_tokens / rows if rows and total_tokens else prompt / 2
    steps = config.steps or (None if rows is None else rows // config.train_batch_size * config.epochs)
    disk = None if steps is None else _disk(config, work, math.ceil(steps / config.save_steps))
    hours = _hours(config, work, steps, mean, gpu)
    assumed = (
        f"{assumption(gpu)}, replies half as long as they may be, rollouts that take as long as learning, and a judge "
        "nobody waits for"
    )
    host = _host(config, work, total(terms), mean)
    return Estimate.of(terms, host, disk, hours, assumed, steps, judge_calls(config))


def judge_calls(config: Config) -> tuple[int, int] | None:
    """Fewest and most questions to the judge in a step: one for an answer, two for a call of a tool."""
    if config.reward.judge.endpoint is None and not config.judge_gpus:
        return None
    replies = config.train_batch_size * config.n
    return replies, replies * 2 * (config.max_turns if config.rollout == "multi_turn" else 1)


def _work(config: Config, shape: Shape, prompt: int, image_tokens: int | None) -> Work:
    """What a device learns from at a time: the same pass as in a stage of kind `sft` under ZeRO-3."""
    same = sft.Config(
        data=config.data, learning_rate=config.learning_rate, frozen_modules=config.frozen,
        micro_batch_size_per_device=config.micro_batch_size_per_device,
        lora=config.lora, precision=config.precision, attention=config.attention, use_liger=config.liger,
        gradient_checkpointing=config.gradient_checkpointing, zero=3, device=config.device, devices=config.devices,
        nodes=config.nodes, max_pixels=config.max_pixels,
    )  # fmt: skip
    one = config.max_pixels // (shape.vision.patch_size**2 * shape.vision.merged)
    images = min(prompt, one if image_tokens is None else image_tokens)
    return Work.of(same, shape, prompt + config.response_length, images)


def _learning(config: Config, work: Work) -> list[Term]:
    """While weights are learnt vLLM sleeps, and all of the actor is on the device."""
    largest = max([_logits(config, work), *moments(work)], key=lambda each: each.gib)
    return [*_state(work), _gathered(work), *kept(work), largest, framework(config.device)]


def _state(work: Work) -> list[Term]:
    """Weights, gradients and the optimizer: float32, each device with its share."""
    return state(work, (4, 4), 4, work.devices, work.devices, (": verl makes all weights float32", ""))


def _gathered(work: Work) -> Term:
    """FSDP2 brings one layer together while the next is on its way; what is in no layer stays together."""
    text = work.shape.text
    words = text.vocab_size * text.hidden_size * (1 if work.shape.tied else 2)
    layers = (work.shape.parameters()["language"] - words) / text.num_hidden_layers * 2
    what = f"two layers and the words, {people(layers + words)} parameters x {work.width} bytes"
    return term_of("weights brought together", (layers + words) * work.width, what)


def _logits(config: Config, work: Work) -> Term:
    """What verl's way from logits to the loss holds, gradients included; a test counts the copies in its own code."""
    copies = 7 if config.entropy else 5 if config.precision == "bf16" else 6
    words = work.shape.text.vocab_size
    what = f"{work.tokens:,} tokens x {words:,} words x {work.width} bytes x {copies} copies"
    return term_of("logits", copies * work.width * work.tokens * words, what)


def _taking_over(config: Config, work: Work) -> list[Term]:
    """The actor's weights and vLLM's, which get them in pieces."""
    count, over = work.trained + work.frozen, work.devices
    what = f"{people(count)} parameters x 4 bytes{among(over)}"
    actor = [term_of("actor", count * 4 / over, what)] if config.offload else _state(work)
    pieces = Term("weights on their way", _BUCKET, f"a bucket of {_BUCKET:.0f} GiB")
    return [*actor, _sampler_weights(config, work), pieces, framework(config.device)]


def _sampling(config: Config, work: Work) -> list[Term]:
    """vLLM takes its share of the device; what it needs must fit into that, what else is there beside it."""
    needed = _sampler(config, work)
    beside = [framework(config.device), *(() if config.offload else _state(work))]
    inside, outside = total(needed), total(beside)
    share = config.sampler_memory
    device = max(inside / share, outside / (1 - share))
    rest = f"vLLM is given {share:.0%} of the device (sampler_memory)"
    return [*needed, *beside, Term("left unused", device - inside - outside, rest)]


def _sampler(config: Config, work: Work) -> list[Term]:
    weights = _sampler_weights(config, work)
    if config.rollout_engine == "transformers":
        return [weights, Term("sampler", SAMPLER["transformers"], "a constant, of one process")]
    if config.device == "cpu":
        return [weights, Term("sampler", SAMPLER["vllm"] + _CPU_CACHE, "a constant, and its keys and values")]
    text, tokens = work.shape.text, config.prompt_length + config.response_length
    layers = text.num_hidden_layers
    size = 2 * layers * text.keys * work.width * tokens / config.tensor_parallel
    one = f"one reply: {tokens:,} tokens x {layers} layers x 2 x {text.keys} x {work.width} bytes"
    room = Term("sampler", _ROOM, f"a constant: {_ROOM:.0f} GiB to work in")
    return [weights, term_of("sampler's keys and values", size, one + among(config.tensor_parallel)), room]


def _sampler_weights(config: Config, work: Work) -> Term:
    parts = work.shape.parameters()
    count = sum(parts.values()) + (work.trained if config.lora else 0)
    over = config.tensor_parallel if config.rollout_engine == "vllm" else 1
    # The sampler by transformers computes in float64 where float32 is asked for: engines/verl/rollout.py.
    width = 8 if config.rollout_engine == "transformers" and config.precision == "float32" else work.width
    what = f"{people(count)} parameters x {width} bytes{among(over)}"
    return term_of("sampler's weights", count * width / over, what)


def _host(config: Config, work: Work, device_gib: float, mean: float) -> list[Term]:
    count = work.trained + work.frozen
    helpers = HELPERS[config.device]
    terms = [Term("helpers", helpers * HELPER, f"{helpers} processes of Ray and verl x {HELPER} GiB, a constant")]
    if config.device == "cpu":
        each = f"{config.devices} x what one of them needs, with its sampler"
        return [*terms, Term("training processes", config.devices * device_gib, each)]
    copies = config.devices if work.shape.tied else 1
    both = "an actor and a vLLM on each device"
    terms += [
        Term("training processes", 2 * config.devices * PROCESS, f"{both}, {PROCESS:.0f} GiB each, a constant"),
        term_of("weights while they are read", copies * count * 4, f"{copies} x {people(count)} parameters x 4 bytes"),
        _images(config, work, mean),
    ]  # fmt: skip
    if config.offload:
        size = (count * 4 + work.trained * 8) / config.nodes
        terms.append(term_of("offloaded state", size, "weights x 4 bytes, and two moments of the trained ones"))
    if config.lora and config.rollout_engine == "vllm":
        asleep = config.devices * _sampler_weights(config, work).gib
        what = f"of {config.devices} devices: with an adapter vLLM keeps them while it sleeps"
        terms.append(Term("sampler's weights asleep", asleep, what))
    if config.kl_loss_coef and not config.lora:
        what = f"{people(count)} parameters x 4 bytes: verl keeps it off the devices"
        terms.append(term_of("reference model", count * 4 / config.nodes, what))
    return terms


def _images(config: Config, work: Work, mean: float) -> Term:
    """Pixels of a step's images as the model gets them, which wait in Ray's store."""
    vision, replies = work.shape.vision, config.train_batch_size * config.n
    tokens = min(mean, work.patches / work.config.micro_batch_size_per_device / vision.merged)
    row = tokens * vision.merged * vision.pixels * 4
    what = f"{replies} replies x {row / 2**20:.0f} MiB, images that take a mean prompt"
    return term_of("images of a step", replies * row / config.nodes, what)


def _disk(config: Config, work: Work, saves: int) -> list[Term]:
    best = 1 if config.test_freq else 0
    stay = saves if config.save_total_limit is None else min(saves, config.save_total_limit + best + 1)
    which = "checkpoints" if config.save_total_limit is None else "those kept, the best, and the one being written"
    weights, what = (work.trained + work.frozen) * 4, "Adam moments, 8 bytes a trained parameter"
    return disk_terms(stay, saves, weights, "all parameters x 4 bytes", which, work.trained * 8, what)


def _hours(config: Config, work: Work, steps: int | None, mean: float, gpu: str) -> float | None:
    """Forward for the old probabilities and the reference, forward and backward to learn; rollouts as long again."""
    peak = peak_of(gpu)
    if config.device == "cpu" or steps is None or peak is None:
        return None
    row = mean + config.response_length / 2
    tokens = steps * config.train_batch_size * config.n * row
    passes = 8 if config.gradient_checkpointing else 6
    more = 2 * (2 if config.kl_loss_coef else 1)
    return 2 * work.flops(tokens, row) * (1 + more / passes) / (peak * 1e12 * UTILISATION) / 3600
