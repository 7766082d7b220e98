"""The in-process backend in the sizes of published models: turns, the kept KV cache, several conversations, crops."""

import gc
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from PIL import Image
from support import sized

from virc.backends.interface import Sampling
from virc.reasoning.images import open_file, show
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Ask, Message, Reply, Session
from virc.tools import registry as tools

if TYPE_CHECKING:
    import torch

    from virc.backends.local import LocalBackend

TOGETHER = 16
DTYPES = ("bfloat16", "float32")
NEAR = {"float32": 0.02, "bfloat16": 0.5}
"""How far logits may be off, as a share of what another picture changes in them."""
ALIKE = {"float32": TOGETHER, "bfloat16": TOGETHER // 2}
"""Replies together that must be those alone on the CPU."""
TIE = {"float32": 0.01, "bfloat16": 1.0}
"""How much less likely an id drawn in a batch may be alone, in standard deviations of the logits: a batch rounds
otherwise, and near ties fall otherwise. Ids of the next conversation are off by 3 and more, in one of 16 at least."""
ROUGH = {sized.NAMES[1]: 2.0}
"""The same in bfloat16 where that moves logits by 0.3, not by 0.03 to 0.11 as in the others: two ids that the same
weights in float32 had 0.14 apart were 1.15 apart (docs/performance.md)."""
GREEDY = Sampling(max_tokens=4)
GIB = 2**30
WORKSPACE = 10 * GIB  # beside the weights: keys and values, a picture of 12 megapixels, sixteen conversations
BOXES = ([0.1, 0.1, 0.4, 0.5], [0.5, 0.2, 0.9, 0.6])  # of crops, in shares of the sides


class Case(NamedTuple):
    """A model on a device."""

    name: str
    device: str
    dtype: str

    @property
    def scaled(self) -> bool:
        """Whether it has few layers."""
        return self.device == "cpu"

    @property
    def tie(self) -> float:
        """How far apart two ids may be that are taken for a near tie."""
        return ROUGH.get(self.name, TIE[self.dtype]) if self.dtype == "bfloat16" else TIE[self.dtype]

    @property
    def slow(self) -> bool:
        """Whether 12 megapixels would take it minutes or 30 GiB of attention scores: all but the 3B in float32."""
        return self.dtype == "float32" and not self.scaled and self.name != sized.NAMES[0]


def cases() -> Iterator[Any]:
    """Every size and dtype in full on a GPU, and three of them with few layers on the CPU."""
    on_cpu = [(sized.NAMES[0], "float32"), (sized.NAMES[2], "bfloat16"), (sized.NAMES[3], "float32")]
    on_gpu = list(product(sized.NAMES, DTYPES))
    for device, mark, chosen in (("cpu", "integration", on_cpu), ("cuda", "gpu", on_gpu)):
        for name, dtype in chosen:
            short = name.removeprefix("Qwen/").removesuffix("-Instruct")
            mark_of = getattr(pytest.mark, mark)
            yield pytest.param(Case(name, device, dtype), id=f"{device}-{short}-{dtype}", marks=mark_of)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    # of 12 megapixels, and others that are read sooner: attention in float32 takes many seconds for the first
    few = (1000, 750)
    return [sized.photograph(folder / "0.jpg", 0), *(sized.photograph(folder / f"{at}.jpg", at, few) for at in (1, 2))]


@pytest.fixture(scope="module", params=list(cases()))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def backend(case: Case) -> "Iterator[LocalBackend]":
    import torch

    if case.device == "cuda" and torch.cuda.is_available():
        needed, free = sized.weight_bytes(case.name, case.dtype) + WORKSPACE, torch.cuda.mem_get_info()[0]
        if needed > free:
            pytest.skip(f"needs {needed / GIB:.0f} GiB, and {free / GIB:.0f} GiB are free on this GPU")
    made = sized.backend(case.name, case.device, case.dtype, case.scaled)
    yield made
    made.close()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def crop(session: Session, box: list[float]) -> str:
    """A reply that cuts this part of the photograph."""
    width, height = session.images[0].size
    corners = [round(side * share) for side, share in zip((width, height, width, height), box, strict=True)]
    call = {"name": "crop_image", "arguments": {"bbox_2d": corners, "image_index": 0}}
    return f"<think>\nI look closer.\n</think>\n<tool_call>\n{json.dumps(call)}\n</tool_call>"


def asks(photograph: Path, backend: "LocalBackend") -> list[Ask]:
    """The turns of a conversation that cuts twice from a photograph of 12 megapixels."""
    protocol = own_protocol(tools.schemas(["crop_image"]))
    picture = open_file(photograph, photograph.name)
    session = Session(protocol, "What is written there?", [picture], backend.grid, tools=tools.known())
    found = []
    for box in (*BOXES, None):
        ask = session.next()
        assert isinstance(ask, Ask)
        found.append(ask)
        if box:
            session.feed(Reply(crop(session, box)))
    return found


def read(backend: "LocalBackend", ask: Ask, anew: bool = False) -> "torch.Tensor":
    """Logits of the first id that a reply would have."""
    if anew:
        backend.cached.clear()
    return backend.cached.read(backend._render(ask.messages, ask.images), ask.images).float()


def test_turns_with_crops_go_on_from_what_is_kept(case: Case, backend: "LocalBackend", photographs: list[Path]) -> None:
    turns, other = asks(photographs[2 if case.slow else 0], backend), asks(photographs[1], backend)[-1]
    backend.cached.clear()
    fed, seen = backend.cached.tokens_fed, backend.cached.vision_encodings
    kept = [read(backend, ask) for ask in turns][-1]
    assert backend.cached.tokens_fed - fed == len(backend._render(turns[-1].messages, turns[-1].images).ids)
    assert backend.cached.vision_encodings - seen == len(turns[-1].images) == 3
    whole = read(backend, turns[-1], anew=True)
    moved = (read(backend, other, anew=True) - whole).norm()
    assert moved > 0.02 * whole.norm(), "what is shown must matter, or nothing is tested"
    assert (kept - whole).norm() < NEAR[case.dtype] * moved


def question(backend: "LocalBackend", photograph: Image.Image, number: int) -> Ask:
    """One of several questions of different lengths about pictures of different sizes."""
    left, top, side = 100 * number, 50 * number, backend.grid.factor * 4
    cut = photograph.crop((left, top, left + side * (1 + number % 3), top + side))
    text = "What is it? " * (1 + number)
    return Ask([Message("system", "You look closer."), Message("user", text, (0,))], [show(cut, backend.grid)])


def at_once(works: Sequence[Callable[[], Reply]]) -> list[Reply]:
    """What each of them returns, all begun together."""
    begin = threading.Barrier(len(works))

    def run(work: Callable[[], Reply]) -> Reply:
        begin.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def drawn(backend: "LocalBackend", reply: Reply) -> list[int]:
    """Ids of a reply, with that of its end."""
    return [*reply.token_ids, *(min(backend._ends) for _ in range(reply.finish == "stop"))]


def tie(backend: "LocalBackend", ask: Ask, alone: Reply, found: Reply) -> float:
    """How much likelier alone the first id is that was drawn otherwise, in standard deviations; 0: none was."""
    ids = zip(drawn(backend, alone), drawn(backend, found), strict=False)
    differ = next(((at, *pair) for at, pair in enumerate(ids) if len(set(pair)) > 1), None)
    if differ is None:
        return 0.0
    at, expected, other = differ
    prompt = backend._render(ask.messages, ask.images)
    prompt = msgspec.structs.replace(prompt, ids=[*prompt.ids, *drawn(backend, alone)[:at]])
    logits = backend.cached.read(prompt, ask.images).float()
    return float((logits[expected] - logits[other]) / logits.std())


def test_sixteen_conversations_together_reply_as_alone(
    case: Case, backend: "LocalBackend", photographs: list[Path]
) -> None:
    with Image.open(photographs[0]) as opened:
        picture = opened.convert("RGB")
    several = [question(backend, picture, number) for number in range(TOGETHER)]
    alone = [backend.reply(ask, GREEDY) for ask in several]
    backend.cached.clear()
    backend.draw_together()
    found = at_once([partial(backend.reply, ask, GREEDY) for ask in several])
    assert [reply.completion_tokens for reply in found if reply.finish == "length"]
    ties = [tie(backend, *each) for each in zip(several, alone, found, strict=True)]
    print(f"{case}: {[round(each, 4) for each in ties if each]} of {TOGETHER} fell otherwise")
    assert max(ties) < case.tie
    alike = sum(one.token_ids == other.token_ids for one, other in zip(alone, found, strict=True))
    assert not case.scaled or alike >= ALIKE[case.dtype], f"{alike} of {TOGETHER} as alone"
    assert len({reply.token_ids for reply in found}) > 1
