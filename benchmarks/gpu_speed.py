"""Speed of the in-process backend beside plain `generate` of transformers, as ratios of one run.

    PYTHONPATH=.:recipes:tests python benchmarks/gpu_speed.py [MODEL|tiny [TOKENS [ROUNDS]]]

It prints tokens a second, medians of the rounds, for one conversation, and for a turn behind a
history of six crops whose keys and values are kept or read again; then, with each implementation of attention that this
machine has, the time to read and to draw. On a GPU a model has random weights of its real size in bfloat16; without one
`tiny` is asked, and seconds are those of the processor, as others may use the machine. Both draw the same number of
tokens greedily: no reply ends before.
"""

import gc
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from PIL import Image
from support import sized

from virc.backends.interface import Sampling
from virc.backends.local import LocalBackend, load
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message

CROPS = 6
ATTENTION = ("sdpa", "eager", "flash_attention_2")


def opened(name: str, attention: str = "sdpa") -> LocalBackend:
    """The backend of a model, whose replies do not end by themselves."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "tiny":
        made = load(EMBEDDED_FOLDER, device)
        made.cached.network.set_attn_implementation(attention)
    else:
        made = sized.backend(name, device, "bfloat16" if device == "cuda" else "float32", device == "cpu", attention)
    made._ends = set()
    return made


def conversation(backend: LocalBackend, number: int, crops: int = 0) -> Ask:
    """A question about a picture, behind so many turns that each showed a crop of it."""
    picture = Image.effect_noise((448, 448), 40 + number).convert("RGB")
    images, messages = [show(picture, backend.grid)], [Message("user", "What is the angle at H?", (0,))]
    for crop in range(crops):
        images.append(show(picture.crop((20 * crop, 20 * crop, 20 * crop + 224, 20 * crop + 224)), backend.grid))
        messages += [Message("assistant", "I look closer."), Message("user", "This is the crop.", (crop + 1,))]
    return Ask(messages, images)


def generate(backend: LocalBackend, ask: Ask, tokens: int) -> int:
    """Tokens that plain `generate` draws for a conversation."""
    cached = backend.cached
    ids = torch.tensor([backend._render(ask.messages, ask.images).ids], device=cached.network.device)
    patches = cached._patches(ask.images)
    kinds = (ids == cached.network.config.image_token_id).int()
    wanted: dict[str, Any] = {"do_sample": False, "max_new_tokens": tokens, "min_new_tokens": tokens}
    out = cached.network.generate(input_ids=ids, mm_token_type_ids=kinds, **patches, **wanted)
    return int(out[:, ids.shape[1] :].numel())


def ours(backend: LocalBackend, ask: Ask, tokens: int) -> int:
    """Tokens that the backend draws for it."""
    return backend.reply(ask, Sampling(max_tokens=tokens)).completion_tokens or 0


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, on a CPU of its processor time, and what it returned."""
    on_gpu = torch.cuda.is_available()
    clock = time.perf_counter if on_gpu else time.process_time
    gc.collect()  # what was made before shall not be collected while the clock runs
    if on_gpu:
        torch.cuda.synchronize()
    began = clock()
    result = work()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - began, result


def compare(name: str, ways: dict[str, Callable[[], int]], rounds: int) -> None:
    """Print tokens a second of two ways, in turns, and the ratio of the first to the second."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, work in ways.items():
            seconds, tokens = timed(work)
            if number:  # the first warms up
                rates[way].append(tokens / seconds)
    first, second = (median(each) for each in rates.values())
    each = ", ".join(f"{way} {median(rate):.1f}" for way, rate in rates.items())
    print(f"{name}: {each} tokens/s; ratio {first / second:.2f}", flush=True)


def beside_generate(name: str, tokens: int, rounds: int) -> None:
    """Ours and plain `generate`: a first turn, and one behind six crops."""
    backend = opened(name)
    one, history = conversation(backend, 0), conversation(backend, 0, CROPS)

    def anew(ask: Ask) -> int:
        backend.cached.clear()
        return ours(backend, ask, tokens)

    plain = partial(generate, backend, tokens=tokens)
    compare("alone", {"ours": lambda: anew(one), "generate": lambda: plain(one)}, rounds)
    ours(backend, history, tokens)
    kept = {"ours, history kept": lambda: ours(backend, history, tokens), "generate": lambda: plain(history)}
    compare("behind six crops", kept, rounds)
    compare("behind six crops, kept or not", {"kept": kept["ours, history kept"], "not": lambda: anew(history)}, rounds)


def attentions(name: str, tokens: int, rounds: int) -> None:
    """Seconds to read a history of six crops and to draw, by implementation of attention."""
    for attention in ATTENTION:
        try:
            backend = opened(name, attention)
        except (ImportError, ValueError) as error:
            print(f"{attention}: not here ({str(error).partition('.')[0]})")
            continue
        ask, reading, drawing = conversation(backend, 0, CROPS), [], []
        for number in range(rounds + 1):
            backend.cached.clear()
            first, _ = timed(lambda: backend.reply(ask, Sampling(max_tokens=1)))  # noqa: B023
            whole, _ = timed(lambda: backend.reply(ask, Sampling(max_tokens=tokens)))  # noqa: B023
            if number:
                reading.append(first)
                drawing.append(whole / tokens)
        print(f"{attention}: {median(reading):.3f} s to read, {1000 * median(drawing):.1f} ms a token", flush=True)
        backend.close()


def main(name: str = "", tokens: int = 32, rounds: int = 3) -> None:
    """Print all of it."""
    name = name or (sized.NAMES[0] if torch.cuda.is_available() else "tiny")
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    print(f"{name}, {where}, torch {torch.__version__}, {tokens} tokens a reply")
    beside_generate(name, tokens, rounds)
    attentions(name, tokens, rounds)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
