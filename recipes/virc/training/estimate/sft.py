"""What a stage of kind `sft` needs: memory of a device, main memory, disk and time, each with how it is counted.

The formulas are those of LLaMA-Factory 0.9.5 with transformers 5.6 and DeepSpeed 0.19: what those keep, and when.
Bytes of activations are what autograd holds for the code of transformers; tests measure them.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

from virc.models.sizes import Shape
from virc.stages.sft import Config
from virc.training.estimate.activations import GIB, Term, Work, kept, logits, moments, term_of

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

    @classmethod
    def of(
        cls,
        terms: tuple[Term, ...],
        host: list[Term],
        disk: list[Term] | None,
        hours: float | None,
        assumed: str,
        steps: int | None,
        judge_calls: tuple[int, int] | None = None,
    ) -> "Estimate":
        """The estimate of these terms, of which those of `host` and `disk` may be in any order."""
        in_host = largest_first(host)
        on_disk = None if disk is None else largest_first(disk)
        disk_gib = None if on_disk is None else total(on_disk)
        assumed_if = None if hours is None else assumed
        return cls(
            terms, total(terms), in_host, total(in_host), on_disk, disk_gib, hours, assumed_if, steps, judge_calls
        )


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
    return of_work(work, logits(work), config, rows, total_tokens, gpu)


def of_work(
    work: Work, loss: Term, config: Config, rows: int | None, total_tokens: int | None, gpu: str,
    further: Sequence[Term] = (), passes_more: float = 1.0,
) -> Estimate:  # fmt: skip
    """What a stage needs in which a device does that at a time; other arguments as of `estimate`.

    Args:
        loss: what the loss holds for a moment.
        config: of the stage, from which steps and saves follow.
        further: what is held beside.
        passes_more: computation, as a multiple of forward and backward passes over the rows.
    """
    held = _state_spread(work) if config.zero else _state_alone(work)
    # What is held for a moment only: the largest of all such moments, for no two are at the same time.
    largest = max([loss, *moments(work), *_optimizer_moment(work)], key=lambda each: each.gib)
    terms = largest_first([*held, *kept(work), largest, *further, framework(config.device)])
    steps, passes = _steps(config, rows)
    if config.save_steps == "epoch":
        saves = None if passes is None else math.ceil(passes)
    else:
        saves = None if steps is None else math.ceil(steps / config.save_steps)
    disk = None if saves is None else _disk(work, saves)
    hours, peak = None, peak_of(gpu)
    if config.device != "cpu" and rows and total_tokens is not None and passes is not None and peak:
        hours = (
            passes * passes_more * work.flops(total_tokens, total_tokens / rows) / (peak * 1e12 * UTILISATION) / 3600
        )
    return Estimate.of(terms, _host(work, total(terms)), disk, hours, assumption(gpu), steps)


def total(terms: Iterable[Term]) -> float:
    """GiB of several terms."""
    return math.fsum(term.gib for term in terms)


def framework(device: str) -> Term:
    """What a process takes beside its tensors."""
    return Term("framework", OVERHEAD[device], f"a constant: {OVERHEAD[device]} GiB a process")


def largest_first(terms: list[Term]) -> tuple[Term, ...]:
    """Terms that are not nothing, the largest first."""
    return tuple(sorted((term for term in terms if term.gib > 0), key=lambda term: -term.gib))


def state(
    work: Work, weights: tuple[float, float], gradients: float, over: int = 1, weights_over: int = 1,
    notes: tuple[str, str] = ("", ""),
) -> list[Term]:  # fmt: skip
    """Weights, gradients and Adam's moments of one device.

    Args:
        weights: bytes of a frozen and of a trained weight.
        gradients: bytes of one.
        over: devices that share gradients and moments; `weights_over` those that share the weights.
        notes: what the formulas of frozen and trained weights end with.
    """
    parts = (
        ("frozen weights", work.frozen, weights[0], weights_over, notes[0]),
        ("trained weights", work.trained, weights[1], weights_over, notes[1]),
        ("gradients", work.trained, gradients, over, ""),
        ("Adam moments", work.trained * 2, 4, over, ": two of each"),
    )
    return [
        term_of(name, count * each / by, f"{people(count)} parameters x {each:g} bytes{among(by)}{note}")
        for name, count, each, by, note in parts
    ]


def among(devices: int) -> str:
    """What a formula says of a term that so many devices share."""
    return f" / {devices} devices" if devices > 1 else ""


def _state_alone(work: Work) -> list[Term]:
    """Weights, gradients and the optimizer, on the device."""
    wide = work.frozen_bytes
    as_are = ", as in their files" if wide == work.shape.weight_bytes else ": float32, as it computes"
    terms = state(work, (wide, 4), 4, notes=(as_are, ": LLaMA-Factory makes them float32"))
    if work.devices > 1:
        each = f"{people(work.trained)} parameters x 4 bytes"
        terms.append(term_of("gradient buckets", work.trained * 4, f"{each}: on their way to other devices"))
    return terms


def _state_spread(work: Work) -> list[Term]:
    """With DeepSpeed: ZeRO-2 spreads gradients and optimizer over the devices, ZeRO-3 the weights too."""
    width, over, trained, zero_3 = work.width, work.devices, work.trained, work.config.zero == 3
    terms = state(work, (width, width), width, over, over if zero_3 else 1)
    if work.offloads:
        terms = [] if zero_3 else terms[:2]
    # DeepSpeed's float32 copy of trained weights: ZeRO-3 makes none where the weights are float32 themselves.
    elif width == 2 or not zero_3:
        what = f"{people(trained)} trained parameters x 4 bytes{among(over)}"
        terms.append(term_of("float32 weights", trained * 4 / over, what))
    if zero_3:
        live = min(trained + work.frozen, _LIVE)
        what = f"at most {people(live)} parameters at a time x {width} bytes"
        return [*terms, term_of("weights brought together", live * width, what)]
    bucket = min(trained, _BUCKET)
    what = f"a bucket of {people(bucket)} parameters x {width} bytes"
    return [*terms, term_of("gradients brought together", bucket * width, what)]


def _optimizer_moment(work: Work) -> list[Term]:
    if work.config.zero == 0 or work.offloads or work.width == 4:
        return []
    count = min(work.trained // work.devices, _LIVE if work.config.zero == 3 else work.trained)
    what = f"{people(count)} parameters x 4 bytes, while the optimizer steps"
    return [term_of("float32 gradients", count * 4, what)]


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


def _disk(work: Work, saves: int) -> list[Term]:
    stay = min(saves, work.config.save_total_limit or saves) + 1
    return disk_terms(stay, saves, *work.saved(), "checkpoints, and the end's", *work.resumed())


def disk_terms(
    stay: int, saves: int, weights: float, of_weights: str, which: str, state: float, of_state: str
) -> list[Term]:
    """What checkpoints take: the weights of `stay` of them, bytes each, and the resume state of three at most."""
    states = min(saves, 3)
    newest = "the newest two, and the one being written" if states == 3 else "one a checkpoint"
    sizes = (("weights", stay, weights, of_weights, which), ("resume state", states, state, of_state, newest))
    return [
        term_of(name, count * each, f"{count} x {each / GIB:.2f} GiB ({what}): {of}")
        for name, count, each, what, of in sizes
    ]


def _known_gpu(gpu: str) -> str:
    """The name in `PEAK` that a GPU's own name holds, else that name."""
    return next((name for name in PEAK if name in gpu.upper().replace(" ", "")), gpu)


def peak_of(gpu: str) -> int | None:
    """TFLOP/s of a GPU by its own name; None: not known."""
    return PEAK.get(_known_gpu(gpu))


def assumption(gpu: str) -> str:
    """How fast a GPU is taken to be, in words."""
    return f"{UTILISATION:.0%} of the {peak_of(gpu) or 0} TFLOP/s of one {_known_gpu(gpu)}"


def people(parameters: float) -> str:
    """A number of parameters as people read it."""
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if parameters >= size:
            return f"{parameters / size:.2f} {unit}"
    return f"{parameters:,.0f}"
