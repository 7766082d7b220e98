"""llama.cpp against transformers: the same models, the same conversations, the same texts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from test_kv_cache import FAMILIES, SIZES, picture

from virc.backends import llamacpp, local
from virc.backends.gguf import convert, model
from virc.backends.interface import Sampling
from virc.backends.llamacpp import LlamaCppBackend
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message

pytestmark = pytest.mark.integration

GREEDY = Sampling(max_tokens=12)


def converted(folder: Path, to: Path) -> LlamaCppBackend:
    file = model.read(convert.convert(folder, to, "random"))
    assert file.grid
    return llamacpp.load(file, "cpu", file.grid)


@FAMILIES
def test_greedy_texts_equal_those_of_transformers_at_every_turn(
    tiny: Callable[..., Path], family: str, tmp_path: Path
) -> None:
    here, there = local.load(tiny(family), device="cpu"), converted(tiny(family), tmp_path)
    assert there.grid == here.grid
    ask = Ask(
        [Message("system", "You look closer."), Message("user", "What is it?", (0,))],
        [show(picture(SIZES[0], 0), here.grid)],
    )
    for turn in range(1, 5):
        ours, theirs = here.reply(ask, GREEDY), there.reply(ask, GREEDY)
        assert theirs.prompt_tokens == ours.prompt_tokens
        assert theirs.text == ours.text
        images = [*ask.images, show(picture(SIZES[turn % len(SIZES)], turn), here.grid)]
        said = [Message("assistant", ours.text), Message("user", "Go on.", (turn,))]
        ask = Ask([*ask.messages, *said], images)
