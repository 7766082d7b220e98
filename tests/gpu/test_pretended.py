"""What runs on a GPU, on one that is pretended: code that forgets to move a tensor fails without a GPU too."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import sized
from test_in_process_models import asks, at_once, question

from virc.backends.batched import Batch
from virc.backends.interface import Sampling
from virc.reasoning.session import Reply

GREEDY, DRAWN = Sampling(max_tokens=3), Sampling(max_tokens=4, temperature=1.0, seed=3, repetition_penalty=1.1)


@pytest.fixture
def pretended() -> Any:
    """The module, where this torch can pretend."""
    from torch.utils import backend_registration

    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch has no devices in Python")
    from support import pretended_gpu

    return pretended_gpu


@pytest.mark.integration
@pytest.mark.parametrize("name", [sized.NAMES[0], sized.NAMES[2]])
def test_the_backend_leaves_no_tensor_behind(
    pretended: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photograph = sized.photograph(tmp_path / "0.jpg")
    with Image.open(photograph) as opened:
        picture = opened.convert("RGB")
    step = Batch._step

    def stepped(batch: Batch, group: Any) -> None:
        with pretended.here():  # a thread of its own
            step(batch, group)

    monkeypatch.setattr(Batch, "_step", stepped)

    def replies(device: str) -> list[Reply]:
        with pretended.here():
            backend = sized.backend(name, device, "float32", scaled=True)
            turns = [backend.reply(ask, how) for ask in asks(photograph, backend) for how in (GREEDY, DRAWN)]

            def drawn(number: int) -> Reply:
                with pretended.here():
                    return backend.reply(question(backend, picture, number), GREEDY)

            backend.draw_together()
            return turns + at_once([partial(drawn, number) for number in range(3)])

    assert replies(str(pretended.GPU)) == replies("cpu")
