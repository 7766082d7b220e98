"""What a stage of kind `sft` needs: memory of a device, main memory, disk and time, each with how it is counted.

The formulas are those of LLaMA-Factory 0.9.5 with transformers 5.6 and DeepSpeed 0.19: what those keep, and when.
Bytes of activations are what autograd holds for the code of transformers; tests measure them.
"""

import math

import msgspec

from virc.models.sizes import Shape
from virc.stages.sft import Config
from virc.training.estimate.activations import Moment, Work, kept, logits, moments

GIB = 2**30
OVERHEAD = {"cuda": 2.0, "cpu": 1.2}
"""GiB of a process beside all tensors: libraries, workspaces, CUDA's context, memory in pieces; measured on the CPU."""
PROCESS, LOADER = 4.0, 0.5
"""GiB of main memory of a process that drives a GPU, and of one that reads images."""
UTILISATION = 0.35
"""Share of a GPU's peak that such training reaches."""
PEAK = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "A6000": 155, "4090": 165, "3090": 71, "A10": 125}
"""GPU -> bf16 TFLOP/s without sparsity, as its vendor states it."""
USUAL = "A100"

_LIVE = 10**9  # parameters: DeepSpeed's stage3_max_live_parameters and sub_group_size, as given to it
_BUCKET = 5 * 10**8  # parameters: DeepSpeed's reduce_bucket_size where none is given


class Term(msgspec.Struct, frozen=True):
    """A part of an estimate: what it is, its size, and how that is counted, in words."""

    name: str
    gib: float
    formula: str


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


def longest(config: Config) -> int:
    """Tokens of the longest row that a stage takes."""
    return config.cutoff_len


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
        longest_tokens: of the longest row, images included; `config.cutoff_len` bounds it.
        rows: to train on; None: not known yet.
        total_tokens: of all those rows.
        image_tokens: of the images of one row; None: one image of `max_pixels`.
        gpu: name of the GPUs, for the hours.
    """
    work = Work.of(config, shape, min(longest_tokens, config.cutoff_len), image_tokens)
    terms = largest_first([*_state(work), *_kept(work), _moment(work), _overhead(config)])
    device = math.fsum(term.gib for term in terms)
    host = largest_first(_host(work, device))
    steps, passes = _steps(config, rows)
    disk = _disk(work, _saves(config, steps, passes))
    hours = _hours(work, rows, total_tokens, passes, gpu)
    assumed = f"{UTILISATION:.0%} of the {PEAK.get(known_gpu(gpu), 0)} TFLOP/s of one {known_gpu(gpu)}"
    return Estimate(
        terms=terms,
        device_gib=device,
        host=host,
        host_gib=math.fsum(term.gib for term in host),
        disk=disk,
        disk_gib=None if disk is None else math.fsum(term.gib for term in disk),
        gpu_hours=hours,
        assumed=None if hours is None else assumed,
        steps=steps,
    )


def largest_first(terms: list[Term]) -> tuple[Term, ...]:
    """Terms that are not nothing, the largest first."""
    return tuple(sorted((term for term in terms if term.gib > 0), key=lambda term: -term.gib))


def term_of(name: str, size: float, formula: str) -> Term:
    """A term of so many bytes."""
    return Term(name, size / GIB, formula)


def _kept(work: Work) -> list[Term]:
    return [term_of(each.name, each.size, each.formula) for each in kept(work)]


def _moment(work: Work) -> Term:
    """What is held for a moment only: the largest of all such moments, for no two are at the same time."""
    found = [logits(work), *moments(work), *_optimizer_moment(work)]
    largest = max(found, key=lambda each: each.size)
    return term_of(largest.name, largest.size, largest.formula)


def _overhead(config: Config) -> Term:
    return Term("framework", OVERHEAD[config.device], f"a constant: {OVERHEAD[config.device]} GiB a process")


def _state(work: Work) -> list[Term]:
    """Weights, gradients and the optimizer, on the device."""
    if work.config.zero == 0:
        return _state_alone(work)
    return _state_spread(work)


def _state_alone(work: Work) -> list[Term]:
    trained, wide = work.trained, work.frozen_bytes
    each = f"{people(trained)} parameters x 4 bytes"
    as_are = ", as in their files" if wide == work.shape.weight_bytes else ": float32, as it computes"
    frozen = f"{people(work.frozen)} parameters x {wide} bytes{as_are}"
    terms = [
        term_of("frozen weights", work.frozen * wide, frozen),
        term_of("trained weights", trained * 4, f"{each}: LLaMA-Factory makes them float32"),
        term_of("gradients", trained * 4, each),
        term_of("Adam moments", trained * 8, f"{people(trained)} parameters x 2 moments x 4 bytes"),
    ]
    if work.devices > 1:
        terms.append(term_of("gradient buckets", trained * 4, f"{each}: on their way to other devices"))
    return terms


def _state_spread(work: Work) -> list[Term]:
    """With DeepSpeed: ZeRO-2 spreads gradients and optimizer over the devices, ZeRO-3 the weights too."""
    width, over, trained = work.width, work.devices, work.trained
    by_weights = over if work.config.zero == 3 else 1
    among = f" / {over} devices" if over > 1 else ""
    of_weights = among if by_weights > 1 else ""
    terms = []
    if not (work.offloads and work.config.zero == 3):
        for name, count in (("frozen weights", work.frozen), ("trained weights", trained)):
            what = f"{people(count)} parameters x {width} bytes{of_weights}"
            terms.append(term_of(name, count * width / by_weights, what))
    if not work.offloads:
        terms += [
            term_of("float32 weights", _master(work), f"{people(trained)} trained parameters x 4 bytes{among}"),
            term_of("gradients", trained * width / over, f"{people(trained)} parameters x {width} bytes{among}"),
            term_of("Adam moments", trained * 8 / over, f"{people(trained)} parameters x 2 moments x 4 bytes{among}"),
        ]  # fmt: skip
    if work.config.zero == 3:
        live = min(trained + work.frozen, _LIVE)
        what = f"at most {people(live)} parameters at a time x {width} bytes"
        return [*terms, term_of("weights brought together", live * width, what)]
    bucket = min(trained, _BUCKET)
    what = f"a bucket of {people(bucket)} parameters x {width} bytes"
    return [*terms, term_of("gradients brought together", bucket * width, what)]


def _master(work: Work) -> float:
    """DeepSpeed's float32 copy of trained weights: ZeRO-3 makes none where the weights are float32 themselves."""
    needed = work.width == 2 or work.config.zero == 2
    return work.trained * 4 / work.devices if needed else 0.0


def _optimizer_moment(work: Work) -> list[Moment]:
    if work.config.zero == 0 or work.offloads or work.width == 4:
        return []
    count = min(work.trained // work.devices, _LIVE if work.config.zero == 3 else work.trained)
    what = f"{people(count)} parameters x 4 bytes, while the optimizer steps"
    return [Moment("float32 gradients", count * 4, what)]


def _host(work: Work, device_gib: float) -> list[Term]:
    config = work.config
    readers = config.devices * config.loaders
    loading = Term("image readers", readers * LOADER, f"{readers} processes x {LOADER} GiB, a constant")
    if config.device == "cpu":
        each = f"{config.devices} x what one of them needs"
        return [Term("training processes", config.devices * device_gib, each), loading]
    processes = f"{config.devices} x {PROCESS:.0f} GiB, a constant"
    terms = [Term("training processes", config.devices * PROCESS, processes), loading]
    weights = (work.trained + work.frozen) * work.shape.weight_bytes
    if config.zero == 3:
        terms.append(term_of("weights while they are read", weights, "all of them, once on each machine"))
    if work.offloads:
        share = config.devices / work.devices
        what = "of the trained parameters: float32 weights, gradients and two moments, 16 bytes each"
        terms.append(term_of("offloaded optimizer", work.trained * 16 * share, what))
    if work.offloads and config.zero == 3:
        size = (work.trained + work.frozen) * work.width * share
        terms.append(term_of("offloaded weights", size, f"all parameters x {work.width} bytes"))
    return terms


def _steps(config: Config, rows: int | None) -> tuple[int | None, float | None]:
    """Optimizer steps as transformers counts them, and passes over the rows."""
    if rows is None:
        return config.steps, None if config.steps else config.epochs
    an_epoch = max(
        1, math.ceil(math.ceil(rows / config.at_a_time) / max(1, config.train_batch_size // config.at_a_time))
    )
    steps = config.steps or math.ceil(config.epochs * an_epoch)
    return steps, steps / an_epoch


def _saves(config: Config, steps: int | None, passes: float | None) -> int | None:
    if config.save_steps == "epoch":
        return None if passes is None else math.ceil(passes)
    return None if steps is None else math.ceil(steps / config.save_steps)


def _disk(work: Work, saves: int | None) -> tuple[Term, ...] | None:
    if saves is None:
        return None
    config = work.config
    stay = min(saves, config.save_total_limit or saves) + 1
    states = min(saves, 3)
    size, formula = work.saved()
    state, why = work.resumed()
    which = "the newest two, and the one being written" if states == 3 else "one a checkpoint"
    sizes = (
        ("weights", stay, size, formula, "checkpoints, and the end's"),
        ("resume state", states, state, why, which),
    )
    return largest_first(
        [
            term_of(name, count * each, f"{count} x {each / GIB:.2f} GiB ({what}): {of}")
            for name, count, each, what, of in sizes
        ]
    )


def _hours(work: Work, rows: int | None, tokens: int | None, passes: float | None, gpu: str) -> float | None:
    peak = PEAK.get(known_gpu(gpu))
    if work.config.device == "cpu" or not rows or tokens is None or passes is None or peak is None:
        return None
    return passes * work.flops(tokens, tokens / rows) / (peak * 1e12 * UTILISATION) / 3600


def known_gpu(gpu: str) -> str:
    """The name in `PEAK` that a GPU's own name holds, else that name."""
    return next((name for name in PEAK if name in gpu.upper().replace(" ", "")), gpu)


def people(parameters: float) -> str:
    """A number of parameters as people read it."""
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if parameters >= size:
            return f"{parameters / size:.2f} {unit}"
    return f"{parameters:,.0f}"
