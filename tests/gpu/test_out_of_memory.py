"""Memory that runs out: one sentence and exit code 4.

On a GPU the process gets less memory than the work takes; on the CPU, and through the command line, a layer of the
network refuses more tokens than that.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support import sized
from support.called import virc

from virc.backends.interface import Sampling
from virc.core.errors import SetupError
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message

if TYPE_CHECKING:
    import torch

    from virc.backends.local import LocalBackend

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("gpu_memory")]

DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
TRIANGLE = Path(__file__).parents[1] / "pictures" / "triangle.png"
QUESTION = "What is m∠B in triangle MBH?"
SAID = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.09 GiB is "
    "free. Process 1 has 78.02 GiB memory in use."
)
GREEDY = Sampling(max_tokens=4)
WORDS = {"cpu": 10, "cuda": 1200}  # of a question; on a GPU so many that a step takes hundreds of MiB


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has the layers of Qwen2.5-VL refuse more than so many tokens at a time."""
    import torch
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLDecoderLayer as Layer

    before = Layer.forward

    def plant(most: int) -> None:
        def forward(self: Any, hidden_states: "torch.Tensor", *args: Any, **named: Any) -> Any:
            if hidden_states.shape[0] * hidden_states.shape[1] > most:
                raise torch.OutOfMemoryError(SAID)
            return before(self, hidden_states, *args, **named)

        monkeypatch.setattr(Layer, "forward", forward)

    return plant


@contextmanager
def room(device: str, spare: float) -> Iterator[None]:
    """On a GPU: this process gets so many bytes more than it holds now."""
    import torch

    if device == "cpu":
        yield
        return
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + spare) / whole))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def ask(backend: "LocalBackend", number: int, words: int) -> Ask:
    picture = Image.effect_noise((112 + 28 * (number % 3), 112), 40 + number).convert("RGB")
    text = "What is it? " * (words // 4 + number)
    return Ask([Message("system", "You look closer."), Message("user", text, (0,))], [show(picture, backend.grid)])


@DEVICES
def test_memory_that_runs_out_is_one_sentence_and_exit_4(device: str, refuse: Callable[[int], None]) -> None:
    refuse(64)
    words = ["solve", TRIANGLE, QUESTION, "--model", "tiny", "--device", device, "-q"]
    failed = virc(*words)
    assert failed.code == 4
    first, *hint = failed.err.splitlines()
    assert first.startswith("error: out of memory while reading ")
    assert first.endswith(" tokens: 2.00 GiB could not be allocated")
    assert hint == ["hint: lower --max-pixels"]
    assert virc(*words, "--json").json["error"]["kind"] == "environment"


@DEVICES
def test_a_conversation_that_does_not_fit_leaves_the_backend_usable(
    device: str, refuse: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = sized.backend(sized.NAMES[0], device, "float32", scaled=True)
    short, long = ask(backend, 0, 10), ask(backend, 1, 20 * WORDS[device])
    expected = backend.reply(short, GREEDY)
    backend.cached.clear()
    if device == "cpu":
        refuse(100)
    with room(device, 32 * 2**20), pytest.raises(SetupError, match="out of memory while reading") as caught:
        backend.reply(long, GREEDY)
    assert caught.value.code == 4
    assert "\n" not in caught.value.message
    monkeypatch.undo()
    assert backend.reply(short, GREEDY) == expected
