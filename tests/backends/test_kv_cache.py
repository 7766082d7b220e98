import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from virc.backends.chatml import Rendered, render
from virc.backends.kv_cache import CachedModel
from virc.backends.local import LocalBackend, load
from virc.core.errors import EngineError
from virc.families.registry import run_here
from virc.reasoning.images import Shown, show
from virc.reasoning.resize import Tiles
from virc.reasoning.session import Message

pytestmark = pytest.mark.filterwarnings("error::FutureWarning")  # of arguments that transformers is to drop

FAMILIES = pytest.mark.parametrize("family", run_here())
RECURRENT = ("qwen3_5", "qwen3_5_moe", "minicpmv4_6", "minicpmv4_7")
TOLERANCE = {
    "qwen3_vl_moe": 1e-3,
    "gemma4": 1e-3,
    "ovis2": 1e-3,
    "glm4v": 1e-3,
    "glm4v_moe": 1e-3,
    "glm46v": 1e-3,
    "qwen3_5": 2e-3,
    "qwen3_5_moe": 2e-3,
    "minicpmv4_6": 1e-3,
    "minicpmv4_7": 1e-3,
}
"""Of logits that spread by 8 to 11, elsewhere 1e-4. Gated delta nets round otherwise in chunks of 64 than id by id."""
SIZES = ((230, 170), (60, 90), (150, 31), (90, 90))


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Coloured noise that is the same for the same seed."""
    import numpy as np

    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels, "RGB")


def talk(turns: int) -> list[Message]:
    """A conversation whose user turns each show one more image; the assistant's ids are any text ids."""
    messages = [Message("system", "You look closer.")]
    for turn in range(turns):
        messages.append(Message("user", f"Image {turn}: what is it?", (turn,)))
        messages.append(Message("assistant", "", token_ids=tuple(range(20 + turn, 29 + 2 * turn))))
    return messages[:-1]


def rendered(backend: LocalBackend, messages: Sequence[Message], images: Sequence[Shown]) -> Rendered:
    views = [backend.cached.views(shown) for shown in images]
    return render(messages, views, backend._tokenizer, generate=True, marks=backend._marks)


def shown_to(cached: CachedModel, ids: Any, pictures: Sequence[Image.Image]) -> dict[str, Any]:
    """What the network gets of pictures: patches and which ids stand for them, or tiles."""
    if isinstance(cached.grid, Tiles):
        if cached._types:
            is_image = {cached._types: (ids == cached.network.config.image_token_id).int()}
            made = cached.processor(list(pictures), return_tensors="pt")
            return {name: made[name] for name in ("pixel_values", "image_position_ids") if name in made} | is_image
        tiles = cached.processor(images=list(pictures), return_tensors="pt", **cached._given)
        types = {"mm_token_type_ids": (ids == cached.network.config.image_token_id).int()} if cached._rotary else {}
        return {name: tiles[name] for name in ("pixel_values", "target_sizes") if name in tiles} | types
    if cached.network.config.model_type == "lfm2_vl":
        return dict(cached.processor(list(pictures), do_resize=False, max_num_patches=64, return_tensors="pt"))
    patches = cached.processor(images=list(pictures), do_resize=False, return_tensors="pt")
    return {"mm_token_type_ids": (ids == cached.network.config.image_token_id).int(), **patches}


def fresh(cached: CachedModel, ids: list[int], pictures: Sequence[Image.Image]) -> Any:
    """Logits of the next token by one forward over everything, positions left to the model."""
    import torch

    tokens = torch.tensor([ids])
    with torch.inference_mode():
        return cached.network(input_ids=tokens, **shown_to(cached, tokens, pictures)).logits[0, -1]


@pytest.fixture
def backend(tiny: Callable[..., Path]) -> LocalBackend:
    return load(tiny(), device="cpu")


@pytest.mark.integration
@FAMILIES
def test_logits_equal_a_fresh_forward_at_every_turn_also_after_a_rejected_try(
    tiny: Callable[..., Path], family: str
) -> None:
    import torch

    backend = load(tiny(family), device="cpu")
    cached, near = backend.cached, {"atol": TOLERANCE.get(family, 1e-4), "rtol": 1e-4}
    images = [show(picture(size, seed), backend.grid) for seed, size in enumerate(SIZES)]
    seen = []
    for turn in range(1, 5):
        pictures = [shown.pixels for shown in images[:turn]]
        conversation = rendered(backend, talk(turn), images[:turn])
        for tried in ((30, 31, 32), talk(turn + 1)[-2].token_ids):
            ids = list(conversation.ids)
            logits = cached.read(conversation, images[:turn])
            for token in tried or ():
                torch.testing.assert_close(logits, fresh(cached, ids, pictures), **near)
                logits = cached.append(token)
                ids.append(token)
            torch.testing.assert_close(logits, fresh(cached, ids, pictures), **near)
            seen.append(logits)
    assert all(not torch.allclose(one, other, atol=0.1) for one, other in itertools.pairwise(seen))


def test_an_equal_picture_keeps_the_cache_and_another_of_its_size_does_not(backend: LocalBackend) -> None:
    import torch

    cached = backend.cached
    first, equal, other = (show(picture((84, 84), seed), backend.grid) for seed in (1, 1, 2))
    conversation = rendered(backend, talk(1), [first])
    logits = cached.read(conversation, [first])
    torch.testing.assert_close(cached.read(conversation, [equal]), logits, atol=1e-4, rtol=1e-4)
    assert cached.vision_encodings == 1
    expected = fresh(cached, conversation.ids, [other.pixels])
    torch.testing.assert_close(cached.read(conversation, [other]), expected, atol=1e-4, rtol=1e-4)
    assert cached.vision_encodings == 2
    for size in ((56, 84), (84, 56)):  # as many tokens, and the same bytes
        white = Shown(Image.new("RGB", size, "white"))
        found = cached.read(rendered(backend, talk(1), [white]), [white])
    torch.testing.assert_close(found, fresh(cached, cached._cached_ids, [white.pixels]), atol=1e-4, rtol=1e-4)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("family", "layer"), [("qwen2_5_vl", 0), ("qwen2_5_vl", 1), ("qwen3_5", 0), ("qwen3_5", 3), ("lfm2_vl", 2)]
)
@pytest.mark.parametrize("step", ["read", "append"])
def test_an_interrupt_in_any_layer_leaves_the_cache_right(
    tiny: Callable[..., Path], family: str, layer: int, step: str
) -> None:
    import torch

    backend = load(tiny(family), device="cpu")
    cached = backend.cached
    images = [show(picture(size, seed), backend.grid) for seed, size in enumerate(SIZES[:2])]
    cached.read(rendered(backend, talk(1), images[:1]), images[:1])
    conversation = rendered(backend, talk(2), images)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    hook = cached.network.model.language_model.layers[layer].register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        cached.read(conversation, images) if step == "read" else cached.append(40)
    hook.remove()
    expected = fresh(cached, conversation.ids, [shown.pixels for shown in images])
    near = TOLERANCE.get(family, 1e-4)
    torch.testing.assert_close(cached.read(conversation, images), expected, atol=near, rtol=1e-4)


def test_an_image_off_the_grid_is_seen_as_the_image_processor_would_size_it(backend: LocalBackend) -> None:
    import torch

    shown = Shown(picture((112, 200)))  # its height alone is off
    assert backend.cached.views(shown) == [[(7, 4)]]
    ours = backend.cached._patches([shown])
    theirs = backend.cached.processor(images=[shown.pixels], return_tensors="pt")
    torch.testing.assert_close(ours["pixel_values"], theirs["pixel_values"])
    assert ours["image_grid_thw"].tolist() == [[1, 14, 8]]


def test_weights_that_are_not_numbers_are_an_engine_error(backend: LocalBackend) -> None:
    import torch

    with torch.no_grad():
        backend.cached.network.model.language_model.norm.weight.fill_(float("nan"))
    shown = show(picture((84, 84)), backend.grid)
    with pytest.raises(EngineError, match="not a number"):
        backend.cached.read(rendered(backend, talk(1), [shown]), [shown])
