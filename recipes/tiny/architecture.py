"""The real Qwen2.5-VL architecture at about 1.5 million parameters, and its tokenizer."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.reasoning.protocol import FILE_NAME, Protocol, as_fields

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
TOOL_TAGS = ("<tool_call>", "</tool_call>")
PATCH, MERGE = 14, 2
MIN_PIXELS, MAX_PIXELS = 4 * 28 * 28, 252 * 252
# White paper becomes zero: characters are learned much faster than with the statistics of photographs.
IMAGE_MEAN, IMAGE_STD = (1.0, 1.0, 1.0), (0.35, 0.35, 0.35)
VOCABULARY = 512
_WIDTH, _LAYERS, _HEADS, _KV_HEADS = 128, 4, 4, 2
_VISION_WIDTH, _VISION_LAYERS, _VISION_HEADS = 96, 3, 3
# Qwen2.5-VL uses the lowest rotary frequencies for the width of the page: at this head size the usual 10,000 leaves
# neighbouring columns .003 rad apart, and the model does not learn positions. A probe for the column of an image token
# is right in 53 of 100 cases after 90 steps with 100, in 96 with 10.
_ROPE_THETA = 10.0

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' or 'image' in c or 'image_url' in c %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c['type'] == 'video' or 'video' in c %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer(constants: Sequence[str], words: Iterable[str]) -> Any:
    """Byte-level BPE in which digits and capitals are single tokens, and each constant is one token.

    Args:
        constants: texts that become one token each.
        words: texts whose frequent character sequences become tokens.

    Returns:
        A `PreTrainedTokenizerFast` with Qwen's special tokens and chat template.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    added = [AddedToken(text, special=False, normalized=False) for text in (*TOOL_TAGS, *constants)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}|\p{Lu}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(added),
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(words, trainer)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
        model_max_length=32768,
    )
    tokenizer.add_tokens(added)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(tokenizer: Any) -> Any:
    """A randomly initialised `Qwen2_5_VLForConditionalGeneration`; torch's seed decides the weights."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    rotary = _WIDTH // _HEADS // 2
    spatial = rotary * 3 // 8
    sections = [rotary - 2 * spatial, spatial, spatial]
    rope = {"type": "mrope", "rope_type": "default", "mrope_section": sections, "rope_theta": _ROPE_THETA}
    text = {
        "hidden_size": _WIDTH, "intermediate_size": _WIDTH * 3, "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS, "num_key_value_heads": _KV_HEADS, "vocab_size": len(tokenizer),
        "max_position_embeddings": 32768, "rope_theta": _ROPE_THETA, "rope_scaling": rope, "rope_parameters": rope,
        "tie_word_embeddings": True, "use_sliding_window": False, "sliding_window": 32768,
        "max_window_layers": _LAYERS, "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }  # fmt: skip
    vision = {
        "depth": _VISION_LAYERS, "hidden_size": _VISION_WIDTH, "intermediate_size": _VISION_WIDTH * 3,
        "num_heads": _VISION_HEADS, "in_channels": 3, "in_chans": 3, "patch_size": PATCH,
        "spatial_merge_size": MERGE, "temporal_patch_size": 2, "window_size": 336, "out_hidden_size": _WIDTH,
        "fullatt_block_indexes": list(range(_VISION_LAYERS)), "tokens_per_second": 2,
    }  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True,
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    model = Qwen2_5_VLForConditionalGeneration(config)  # type: ignore[no-untyped-call]
    _widen(model)
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model


def _widen(model: Any) -> None:
    """Initialise matrices with std 1 / sqrt(inputs): the usual 0.02 is too small for narrow models."""
    import torch

    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "embed" not in name and "lm_head" not in name:
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


def save(folder: Path, model: Any, tokenizer: Any, protocol: Protocol) -> None:
    """Write bf16 weights, tokenizer and preprocessor settings as every engine reads them, and the chat protocol."""
    import copy

    import torch

    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": MIN_PIXELS, "max_pixels": MAX_PIXELS, "patch_size": PATCH, "merge_size": MERGE,
        "temporal_patch_size": 2, "image_mean": IMAGE_MEAN, "image_std": IMAGE_STD,
    }  # fmt: skip
    trained = as_fields(msgspec.structs.replace(protocol, name="trained"))
    for name, content in (("preprocessor_config.json", preprocessor), (FILE_NAME, trained)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
