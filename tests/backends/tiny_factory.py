"""Random models of the real architectures, small enough to build in a test, with a tokenizer of their own."""

import json
import re
from pathlib import Path
from typing import Any

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
MORE = {
    "internvl": ("<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
    "gemma3": (
        "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<image_soft_token>", "<end_of_image>",
    ),
    "lfm2": ("<|startoftext|>", "<|image_start|>", "<image>", "<|image_end|>"),
    "ovis2": ("<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"),
    "gemma4": (
        "<bos>", "<|turn>", "<turn|>", "<|image>", "<|image|>", "<image|>", "<|think|>", "<|channel>", "<channel|>",
        "<|audio>", "<|audio|>", "<audio|>", "<|video|>", "<|tool_response>",
    ),
    "minicpmv": ("<image>", "</image>", "<slice>", "</slice>", "<image_id>", "</image_id>"),
    "glm": (
        "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|begin_of_image|>",
        "<|end_of_image|>", "<|image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|video|>",
    ),
}  # fmt: skip
"""Beginning of a family's name -> its special tokens, where they are not those of Qwen-VL alone."""
PROCESSORS = {"internvl": "InternVLProcessor", "gemma3": "Gemma3Processor", "lfm2_vl": "Lfm2VlProcessor",
              "minicpmv4_6": "MiniCPMV4_6Processor", "minicpmv4_7": "MiniCPMV4_7Processor",
              "ovis2": "Ovis2Processor", "glm_ocr": "Glm46VProcessor"}  # fmt: skip
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GLM_TEMPLATE = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|begin_of_image|><|image|><|end_of_image|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
GEMMA_TEMPLATE = (
    "<bos>{% set at = namespace(prefix='') %}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{% set at.prefix = (m['content'] if m['content'] is string else m['content'][0]['text']) + '\\n\\n' %}"
    "{% else %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ at.prefix }}"
    "{% set at.prefix = '' %}{% if m['content'] is string %}{{ m['content'] | trim }}"
    "{% else %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ c['text'] | trim }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_turn>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA4_TEMPLATE = (
    "<bos>{% for m in messages %}<|turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|image|>{% else %}{{ c['text'] | trim }}{% endif %}{% endfor %}{% endif %}<turn|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn>model\n<|channel>thought\n<channel|>{% endif %}"
)
MINICPM_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] | trim }}"
    "{% else %}{% set parts = namespace(all=[]) %}{% for c in m['content'] %}"
    "{% set parts.all = parts.all + ['<|image_pad|>' if c['type'] == 'image' else c['text']] %}{% endfor %}"
    "{{ parts.all | join('\n') | trim }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
)
THINKING = "<think>\n{% endif %}".join(TEMPLATE.rsplit("{% endif %}", 1))
"""The template of a model whose replies all begin with a thought."""
_TEMPLATES = {
    "internvl": TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<IMG_CONTEXT>"),
    "gemma3": GEMMA_TEMPLATE,
    "lfm2_vl": "<|startoftext|>" + TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>"),
    "gemma4": GEMMA4_TEMPLATE,
    "minicpmv4_6": MINICPM_TEMPLATE,
    "minicpmv4_7": MINICPM_TEMPLATE,
    "ovis2": TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>"),
    "glm4v": GLM_TEMPLATE,
    "glm4v_moe": GLM_TEMPLATE,
    "glm46v": GLM_TEMPLATE,
    "glm_ocr": GLM_TEMPLATE,
    "qwen3_5": THINKING,
    "qwen3_5_moe": THINKING,
}
EXPERTS = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "moe_intermediate_size": 96,
    "shared_expert_intermediate_size": 96,
}
WIDE = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "head_dim": 32}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
HYBRID = {  # three layers of four keep a recurrent state, as in the real models
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "intermediate_size": 384,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "head_dim": 32,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 100.0,
        "partial_rotary_factor": 0.5,
        "mrope_section": [4, 2, 2],
    },
}
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CORPUS = [
    "system\nuser\nassistant\nQuestion: In triangle BLA, find the angle. Image 0: 224 x 224.\n\nReason.",
    '{"name": "crop_image", "arguments": {"bbox_2d": [0, 1, 2, 3], "image_index": 0}}\n\n',
]


def tokenizer(family: str = "") -> Any:
    """A byte-level BPE tokenizer with Qwen2's word pattern, ChatML's special tokens, and those of a family."""
    import transformers
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(_CORPUS * 20, trainer)
    wrap: Any = transformers.PreTrainedTokenizerFast
    fast = wrap(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    if family == "internvl":
        named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
        fast = wrap(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                    extra_special_tokens={**named, "video_token": "<video>"})  # fmt: skip
    if family == "gemma3":
        named = {"boi_token": "<start_of_image>", "image_token": "<image_soft_token>", "eoi_token": "<end_of_image>"}
        fast = wrap(tokenizer_object=bpe, bos_token="<bos>", eos_token="<end_of_turn>", pad_token="<|endoftext|>",
                    extra_special_tokens=named)  # fmt: skip
    if family == "gemma4":
        named = {"boi_token": "<|image>", "image_token": "<|image|>", "eoi_token": "<image|>", "boa_token": "<|audio>",
                 "audio_token": "<|audio|>", "eoa_token": "<audio|>"}  # fmt: skip
        fast = wrap(tokenizer_object=bpe, bos_token="<bos>", eos_token="<turn|>", pad_token="<|endoftext|>",
                    extra_special_tokens=named)  # fmt: skip
    if family.startswith("minicpmv"):
        pads = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
        marks = {f"{name}_{end}_token": f"<{'/' * (end == 'end')}{name}>"
                 for name in ("image", "slice", "image_id") for end in ("start", "end")}  # fmt: skip
        fast = wrap(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                    extra_special_tokens=pads | marks)  # fmt: skip
    more = next((tokens for begins, tokens in MORE.items() if family.startswith(begins)), ())
    fast.add_tokens([AddedToken(name, special=True) for name in (*SPECIAL, *more)], special_tokens=True)
    lines = ["\n" * count for count in range(1, 5)] if family == "gemma3" else []  # of which it has one token each
    fast.add_tokens([AddedToken(name, special=False, normalized=False) for name in (*TAGS, *lines)])
    fast.chat_template = _TEMPLATES.get(family, TEMPLATE)
    return fast


def build(folder: Path, family: str = "qwen2_5_vl", seed: int = 0, for_vllm: bool = False) -> Path:
    """Write a random model of one family with its tokenizer and preprocessor settings to `folder`.

    Those with experts or recurrent layers have 1 to 2 million parameters, the others fewer.

    Args:
        for_vllm: give attention heads at least 32 numbers and recurrent ones 128: vLLM has no smaller ones on a CPU.
    """
    import torch

    torch.manual_seed(seed)
    words = tokenizer(family)
    model = _model(family, words.get_vocab(), len(words), for_vllm)
    assert model.config.model_type == family, f"there is no random model of {family} here"
    _widen(model)
    ends = ["<|endoftext|>", "<|user|>", "<|observation|>"] if family.startswith("glm") else [words.eos_token]
    named = words.convert_tokens_to_ids(ends)
    model.generation_config.eos_token_id = named if len(named) > 1 else named[0]
    model.generation_config.pad_token_id = words.convert_tokens_to_ids("<|endoftext|>")
    model.save_pretrained(folder, save_original_format=family != "qwen3_5_moe")  # it has its experts in one tensor
    if family in ("gemma3", "lfm2_vl", "qwen3_vl_moe"):
        _named_as_published(folder / "model.safetensors")
    words.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_preprocessor(family)))
    if family == "gemma4":
        _written_as_published(folder / "config.json")
        sampled = {"feature_extractor_type": "Gemma4AudioFeatureExtractor"}
        moving = {"video_processor_type": "Gemma4VideoProcessor"}
        given = {"image_processor": _preprocessor(family), "feature_extractor": sampled, "video_processor": moving}
        (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Gemma4Processor", **given}))
    elif family in PROCESSORS:
        named = {"processor_class": PROCESSORS[family]}
        named |= {"image_seq_length": 4} if family in ("internvl", "gemma3", "ovis2") else {}
        (folder / "processor_config.json").write_text(json.dumps(named))
    return folder


def _of_another_tower(family: str, ids: dict[str, int], text: dict[str, object], hybrid: dict[str, object]) -> Any:
    """A model of InternVL, whose tower sees tiles, of Gemma, or of GLM-V."""
    import transformers

    if family == "internvl":
        config = transformers.InternVLConfig(
            text_config=text
            | WIDE
            | {"model_type": "qwen3", "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
            vision_config=TOWER | {"image_size": [56, 56], "patch_size": [14, 14]},
            image_token_id=ids["<IMG_CONTEXT>"],
            image_seq_length=4,
            tie_word_embeddings=True,
        )
        return transformers.InternVLForConditionalGeneration(config).eval()
    if family == "gemma3":
        text.pop("rope_parameters")
        text |= WIDE | {"query_pre_attn_scalar": 32, "sliding_window": 24, "sliding_window_pattern": 2}
        config = transformers.Gemma3Config(
            text_config=text | {"pad_token_id": ids["<|endoftext|>"], "bos_token_id": ids["<bos>"]},
            vision_config=TOWER
            | {"model_type": "siglip_vision_model", "image_size": 56, "patch_size": 14, "vision_use_head": False},
            mm_tokens_per_image=4,
            boi_token_index=ids["<start_of_image>"],
            eoi_token_index=ids["<end_of_image>"],
            image_token_index=ids["<image_soft_token>"],
        )
        return transformers.Gemma3ForConditionalGeneration(config).eval()
    if family == "lfm2_vl":
        text |= WIDE | {"layer_types": ["conv", "full_attention"] * 2, "block_auto_adjust_ff_dim": False}
        text |= {"block_dim": 128, "conv_dim": 128}  # which vLLM reads, and makers write
        text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}
        text.pop("head_dim")
        config = transformers.Lfm2VlConfig(
            text_config=text | {"pad_token_id": ids["<|endoftext|>"], "bos_token_id": ids["<|startoftext|>"]},
            vision_config=TOWER | {"num_patches": 64, "vision_use_head": False},
            projector_hidden_size=64,
            projector_use_layernorm=False,
            image_token_id=ids["<image>"],
        )
        return transformers.Lfm2VlForConditionalGeneration(config).eval()
    if family.startswith("minicpmv"):
        name, marks = f"MiniCPMV4_{family[-1]}", {}
        if family == "minicpmv4_7":
            named = {
                "image_start": "<image>",
                "image_end": "</image>",
                "slice_start": "<slice>",
                "slice_end": "</slice>",
            }
            marks = {f"{key}_id": ids[mark] for key, mark in {**named, "newline": "Ċ"}.items()}
        config = getattr(transformers, f"{name}Config")(
            text_config=text | hybrid | {"model_type": "qwen3_5_text"},
            vision_config=TOWER | {"image_size": 112, "patch_size": 14},
            insert_layer_id=0,
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            tie_word_embeddings=True,
            **marks,
        )
        return getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
    if family == "gemma4":  # with all that its sizes have but experts and sound
        text |= WIDE | {"sliding_window": 24, "global_head_dim": 64, "use_bidirectional_attention": "vision"}
        text |= {"num_kv_shared_layers": 2, "hidden_size_per_layer_input": 16, "final_logit_softcapping": 30.0}
        text |= {"layer_types": ["sliding_attention", "full_attention"] * 2, "rope_parameters": None}
        config = transformers.Gemma4Config(
            text_config=text | {"pad_token_id": ids["<|endoftext|>"], "vocab_size_per_layer_input": text["vocab_size"]},
            vision_config=TOWER | {"num_key_value_heads": 2, "head_dim": 16, "position_embedding_size": 128},
            boi_token_id=ids["<|image>"],
            eoi_token_id=ids["<image|>"],
            image_token_id=ids["<|image|>"],
            video_token_id=ids["<|video|>"],
            audio_token_id=ids["<|audio|>"],
        )
        return transformers.Gemma4ForConditionalGeneration(config).eval()
    tower = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 128}
    text |= WIDE | {"pad_token_id": ids["<|endoftext|>"]}
    text["rope_parameters"] = HYBRID["rope_parameters"]
    text["tie_word_embeddings"] = is_tied = family not in ("glm4v_moe", "glm_ocr")
    name = {"glm4v": "Glm4v", "glm46v": "Glm46V", "glm_ocr": "GlmOcr"}.get(family, "Glm4vMoe")
    if family == "glm_ocr":
        text["intermediate_size"] = 3 * 128  # as wide as the projector, where vLLM reads its width
    if family == "glm4v_moe":
        text |= {
            "moe_intermediate_size": 96,
            "n_routed_experts": 8,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "n_group": 1,
            "topk_group": 1,
            "use_qk_norm": False,
        }
    config = getattr(transformers, f"{name}Config")(
        text_config=text,
        vision_config=tower | {"image_size": 112},
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        image_start_token_id=ids["<|begin_of_image|>"],
        image_end_token_id=ids["<|end_of_image|>"],
        video_start_token_id=ids["<|begin_of_video|>"],
        video_end_token_id=ids["<|end_of_video|>"],
        tie_word_embeddings=is_tied,
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()


def _ovis2(ids: dict[str, int], text: dict[str, object]) -> Any:
    """A model of Ovis2, in whose prompts marks stand between tiles."""
    import transformers

    text |= WIDE | {"model_type": "qwen2", "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}
    text.pop("head_dim")
    config = transformers.Ovis2Config(
        text_config=text,
        vision_config=TOWER | {"image_size": 56, "hidden_stride": 2, "vocab_size": 64},
        image_token_id=ids["<IMG_ATOM>"],
        visual_indicator_token_ids=[ids[name] for name in MORE["ovis2"][1:]],
        vocab_size=text["vocab_size"],
        hidden_size=text["hidden_size"],
    )
    return transformers.Ovis2ForConditionalGeneration(config).eval()


def _model(family: str, ids: dict[str, int], vocabulary: int, for_vllm: bool) -> Any:
    import transformers

    text: dict[str, object] = {
        "vocab_size": (vocabulary + 63) // 64 * 64,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]},
        "eos_token_id": ids["<|im_end|>"],
        "tie_word_embeddings": True,
    }
    hybrid: dict[str, Any] = HYBRID | ({"linear_key_head_dim": 128, "linear_value_head_dim": 128} if for_vllm else {})
    if family == "ovis2":
        return _ovis2(ids, text)
    if not family.startswith("qwen"):
        return _of_another_tower(family, ids, text, hybrid)
    vision: dict[str, object] = {"depth": 2, "num_heads": 2, "patch_size": 14}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64}
    if family == "qwen2_vl":
        name, vision = "Qwen2VL", vision | {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
    elif family == "qwen2_5_vl":
        name, vision = "Qwen2_5_VL", vision | sizes | {"window_size": 56, "fullatt_block_indexes": [1]}
    else:
        name = {"qwen3_vl": "Qwen3VL", "qwen3_vl_moe": "Qwen3VLMoe", "qwen3_5": "Qwen3_5"}.get(family, "Qwen3_5Moe")
        vision |= sizes | {"patch_size": 16, "num_position_embeddings": 64}
        text |= {"head_dim": 16}
    if family.startswith("qwen3_vl"):
        vision |= {"deepstack_visual_indexes": [0]}
    if for_vllm:
        text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
        text["rope_parameters"] = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [6, 5, 5]}
    if family.startswith("qwen3_5"):
        text |= hybrid
    if family.endswith("_moe"):
        text |= EXPERTS | {"hidden_size": 128, "num_hidden_layers": 4}
    vision |= {"out_hidden_size": text["hidden_size"]}
    config = getattr(transformers, f"{name}Config")(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()


def _named_as_published(file: Path) -> None:
    """Give the weights of SigLIP's tower the names of their makers, and turn experts in one tensor as they have them.

    transformers reads these and does not write them.
    """
    from safetensors.torch import load_file, save_file

    named = {re.sub("vision_tower", r"\g<0>.vision_model", name): each for name, each in load_file(file).items()}
    turned = {name: each.mT.contiguous() for name, each in named.items() if "experts" in name}
    save_file(named | turned, file, metadata={"format": "pt"})


def _written_as_published(file: Path) -> None:
    """Write sizes of Gemma 4 as its makers do, and as transformers before 5.24 reads them."""
    config = json.loads(file.read_bytes())
    config["vision_config"]["rope_parameters"]["rope_type"] = "default"
    config["vision_config"]["default_output_length"] = 70
    config["text_config"]["global_head_dim"] = config["text_config"].pop("per_layer_config")["1"]["head_dim"]
    file.write_text(json.dumps(config))


def _widen(model: Any) -> None:
    """Draw weights wide enough that what is said next depends on everything said and shown before."""
    import torch

    is_gemma = model.config.model_type.startswith("gemma")
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            fan_in = weight.shape[-1] if ".experts." in name else weight[0].numel()
            # the embedding of Gemma, which is scaled and the head too, would say its own token again
            table = 0.03 if is_gemma and "embed_tokens." in name else 1.0
            width = table if "embed" in name and "patch" not in name else 2.0 * fan_in**-0.5
            torch.nn.init.normal_(weight, std=width)
        elif is_gemma and name.endswith("language_model.norm.weight"):
            torch.nn.init.constant_(weight, 9.0)  # for the smaller embedding


def _preprocessor(family: str) -> dict[str, object]:
    shared = {"temporal_patch_size": 2, "merge_size": 2, "image_processor_type": "Qwen2VLImageProcessor"}
    statistics = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    if family in ("internvl", "ovis2"):
        tiles = {"size": {"height": 56, "width": 56}, "min_patches": 1, "max_patches": 12}
        of_ovis = {"image_processor_type": "Ovis2ImageProcessor", "crop_to_patches": True}
        of_internvl = {"image_processor_type": "GotOcr2ImageProcessorFast"}
        return statistics | tiles | (of_ovis if family == "ovis2" else of_internvl)
    if family == "gemma3":
        square = {"size": {"height": 56, "width": 56}, "do_pan_and_scan": None, "image_seq_length": 4}
        return statistics | square | {"image_processor_type": "Gemma3ImageProcessor"}
    if family.startswith(("lfm2_vl", "gemma4", "minicpmv")):
        few: dict[str, object] = {"min_image_tokens": 4, "max_image_tokens": 16}
        of_gemma = {"image_processor_type": "Gemma4ImageProcessor", "patch_size": 16, "max_soft_tokens": 70}
        slices = {"scale_resolution": 112, "max_slice_nums": 9, "patch_size": 14, "use_image_id": True}
        of_minicpm = statistics | slices | {"image_processor_type": "MiniCPMV4_6ImageProcessor"}
        of_lfm = statistics | few | {"image_processor_type": "Lfm2VlImageProcessorFast"}
        return {"lfm2_vl": of_lfm, "gemma4": of_gemma}.get(family, of_minicpm)
    if family.startswith("glm"):
        kind = "Glm46VImageProcessor" if family in ("glm46v", "glm_ocr") else "Glm4vImageProcessor"
        size = {"shortest_edge": 4 * 2 * 28 * 28, "longest_edge": 4096 * 2 * 28 * 28}
        return shared | statistics | {"image_processor_type": kind, "patch_size": 14, "size": size}
    if family.startswith("qwen3"):
        size = {"shortest_edge": 4 * 32 * 32, "longest_edge": 4096 * 32 * 32}
        return shared | statistics | {"patch_size": 16, "size": size}
    return shared | statistics | {"patch_size": 14, "min_pixels": 4 * 28 * 28, "max_pixels": 4096 * 28 * 28}
