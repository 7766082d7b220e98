"""Prompts and logits of the families are those of transformers' own classes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_kv_cache import FAMILIES, RECURRENT, TOLERANCE, picture

from virc.backends.interface import Sampling
from virc.backends.local import LocalBackend, load
from virc.reasoning.images import Shown, show
from virc.reasoning.session import Ask, Message

pytestmark = pytest.mark.integration

HYBRID = pytest.mark.parametrize("family", RECURRENT)
BOXES = ((20, 30, 110, 100), (0, 0, 150, 31), (140, 60, 230, 150))
FIRST, AGAIN = (Sampling(temperature=1.0, seed=seed, max_tokens=10) for seed in (1, 2))


class Untiled:
    """In place of LFM2-VL's image processor, which needs torchvision: the same for pictures that it does not cut."""

    downsample_factor, encoder_patch_size, tile_size, use_thumbnail = 2, 16, 512, True

    def __call__(self, images: Any, **_: Any) -> Any:
        ways = {"do_resize": False, "max_num_patches": 256, "return_tensors": "pt"}
        found = super().__call__(images, **ways)  # type: ignore[misc]
        sizes = (found["spatial_shapes"] * self.encoder_patch_size).tolist()
        return found | {"image_rows": [1] * len(sizes), "image_cols": [1] * len(sizes), "image_sizes": sizes}


class Whole:
    """The processor and the model of a folder as transformers has them, without a cache."""

    def __init__(self, folder: Path, backend: LocalBackend) -> None:
        import transformers

        config: Any = transformers.AutoConfig.from_pretrained(folder)
        name = {"internvl": "InternVLProcessor", "glm4v": "Glm4vProcessor", "glm4v_moe": "Glm4vProcessor"}
        name |= {"glm46v": "Glm46VProcessor", "gemma3": "Gemma3Processor", "lfm2_vl": "Lfm2VlProcessor"}
        name |= {"glm_ocr": "Glm46VProcessor", "gemma4": "Gemma4Processor", "minicpmv4_6": "MiniCPMV4_6Processor"}
        name |= {"minicpmv4_7": "MiniCPMV4_7Processor", "ovis2": "Ovis2Processor"}

        class Processor(getattr(transformers, name.get(config.model_type, "Qwen3VLProcessor"))):  # type: ignore[misc]  # its part for videos needs torchvision
            def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
                if argument not in (None, images):
                    return super().check_argument_for_proper_class(argument_name, argument)
                return None

        words = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        images = type(backend.cached.processor).from_pretrained(folder)
        if config.model_type == "lfm2_vl":
            images.__class__ = type("Untiled", (Untiled, type(images)), {})
            Processor.images_kwargs = {}
        make: Any = Processor
        counted = ("internvl", "gemma3", "ovis2")
        more = {"image_seq_length": 4} if config.model_type in counted else {"video_processor": None}
        more = {} if config.model_type == "lfm2_vl" else more
        more |= {"feature_extractor": None} if config.model_type == "gemma4" else {}
        more |= {"video_processor": images} if config.model_type.startswith("minicpmv") else {}
        self.processor = make(image_processor=images, tokenizer=words, chat_template=words.chat_template, **more)
        self.model: Any = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()

    def inputs(self, ask: Ask) -> Any:
        """What the processor makes of a conversation; it counts the images' ids and cuts patches by itself."""
        talk = [
            {
                "role": message.role,
                "content": [{"type": "image", "image": ask.images[index].pixels} for index in message.images]
                + [{"type": "text", "text": message.text}],
            }
            for message in ask.messages
        ]
        given = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
        return self.processor.apply_chat_template(talk, **given)

    def logits(self, inputs: Any, said: Sequence[int]) -> Any:
        """Logits after every id of the inputs and of what was said then, shape (ids, vocabulary)."""
        import torch

        ids = torch.cat([inputs["input_ids"], torch.tensor([said], dtype=torch.long)], 1)
        names = ("pixel_values", "image_grid_thw", "spatial_shapes", "pixel_attention_mask", "image_position_ids",
                 "target_sizes")  # fmt: skip
        patches = {name: inputs[name] for name in names if name in inputs}
        types = "token_type_ids" if "token_type_ids" in inputs else "mm_token_type_ids"
        if types in inputs and self.model.config.model_type not in ("internvl", "lfm2_vl", "ovis2"):
            patches[types] = torch.nn.functional.pad(inputs[types], (0, len(said)))
        with torch.inference_mode():
            return self.model(input_ids=ids, **patches).logits[0]


def recorded(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Gets the logits of every step the backend takes."""
    seen: list[Any] = []

    def record(step: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*given: Any) -> Any:
            seen.append(step(*given))
            return seen[-1]

        return taken

    for name in ("read", "append"):
        monkeypatch.setattr(backend.cached, name, record(getattr(backend.cached, name)))
    return seen


def pictures(backend: LocalBackend) -> list[Shown]:
    """A picture and three crops of it."""
    whole = picture((230, 170))
    return [show(each, backend.grid) for each in (whole, *(whole.crop(box) for box in BOXES))]


def problem(backend: LocalBackend, draw: Callable[[Ask, int], Message]) -> Iterator[Ask]:
    """The asks of a problem of four turns with a crop at each but the first; `draw` makes the turn after each."""
    images = pictures(backend)
    messages = [Message("system", "You look closer."), Message("user", "What is it?", (0,))]
    for turn in range(4):
        ask = Ask(messages, images[: turn + 1])
        yield ask
        messages = [*messages, draw(ask, turn), Message("user", "Go on.", (turn + 1,))]


@FAMILIES
def test_prompts_and_logits_are_those_of_processor_and_model(
    tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    import torch

    backend = load(tiny(family), device="cpu", stock=True)
    whole = Whole(tiny(family), backend)
    assert whole.model.num_parameters() < 3e6
    seen = recorded(backend, monkeypatch)
    compared: list[Any] = []
    head, positions = backend.cached.network.get_output_embeddings(), set[int]()
    head.register_forward_hook(lambda head, given, logits: positions.add(logits.shape[1]))

    def draw(ask: Ask, turn: int) -> Message:
        for sampling in (FIRST, AGAIN) if turn in (1, 2) else (FIRST,):  # the first try is rejected
            seen.clear()
            reply = backend.reply(ask, sampling)
            inputs = whole.inputs(ask)
            prompt, said = inputs["input_ids"][0].tolist(), reply.token_ids or ()
            header, drawn = len(prompt) - len(backend._opening), said[len(backend._opening) :]
            read = header + len(seen) - 1  # the last id is read where the turn ends with the one after it
            assert backend.cached._cached_ids == [*prompt, *drawn][:read]
            assert said == (*prompt[header:], *drawn)
            assert len(seen) == len(said) + (reply.finish == "stop")
            expected = whole.logits(inputs, drawn)[header - 1 : read]
            torch.testing.assert_close(torch.stack(seen), expected, atol=TOLERANCE.get(family, 1e-4), rtol=0)
            compared.extend(seen)
        return Message("assistant", f"I cut out part {turn}.")  # as a stock model gets its reply back

    for _ in problem(backend, draw):
        pass
    assert positions == {1}  # logits of all ids of a prompt would fill the memory
    spread = torch.stack(compared).std(0).mean()
    assert spread > 100 * TOLERANCE.get(family, 1e-4)  # what was said and shown before changes every logit by far more


@HYBRID
def test_a_reply_that_comes_back_without_its_thought_is_read_again_alone(
    tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    import torch

    backend = load(tiny(family), device="cpu", stock=True)
    whole, images = Whole(tiny(family), backend), pictures(backend)
    first = Ask([Message("user", "What is it?", (0,))], images[:1])
    backend.reply(first, FIRST)
    asked = len(backend._render(first.messages, first.images).ids)
    second = Ask([*first.messages, Message("assistant", "crop"), Message("user", "Go on.", (1,))], images[:2])
    seen, before = recorded(backend, monkeypatch), backend.cached.tokens_fed
    backend.reply(second, Sampling(max_tokens=1))
    inputs = whole.inputs(second)
    assert backend.cached.tokens_fed - before == inputs["input_ids"].shape[1] - asked
    expected = whole.logits(inputs, ())[-len(seen) :]
    torch.testing.assert_close(torch.stack(seen), expected, atol=TOLERANCE.get(family, 1e-4), rtol=0)
