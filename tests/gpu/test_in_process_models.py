"""The in-process backend in the sizes of published models: turns, the kept KV cache, crops."""

import gc
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import sized

from virc.reasoning.images import open_file
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Ask, Reply, Session
from virc.tools import registry as tools

if TYPE_CHECKING:
    import torch

    from virc.backends.local import LocalBackend

DTYPES = ("bfloat16", "float32")
NEAR = {"float32": 0.02, "bfloat16": 0.5}
"""How far logits may be off, as a share of what another picture changes in them."""
GIB = 2**30
WORKSPACE = 10 * GIB  # beside the weights: keys and values and a picture of 12 megapixels
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
