"""What llama.cpp calls the settings and weights of each type of model, and how it wants the weights laid out.

The names are those that llama.cpp's `conversion/` writes (of llama-cpp-python 0.3.36); what is not named here has the
name that the package `gguf` knows. A setting that is None is not written.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from virc.core.errors import ConfigError

Config = Mapping[str, Any]
Parts = Mapping[str, Callable[[Any], Any] | None]
"""What stands in place of a piece of a tensor's name -> what is made of its numbers; None: nothing."""
_WINDOW = 112
"""Side of llama.cpp's windows of attention, in pixels."""


class Layout(NamedTuple):
    """A model as two GGUF files.

    Args:
        architecture: of the language model.
        text: its settings, without the architecture before each.
        vision: settings of the tower, without `clip.` before each.
        weights: a regular expression in the names of tensors -> their parts; they are applied in this order.
    """

    architecture: str
    text: dict[str, Any]
    vision: dict[str, Any]
    weights: dict[str, Parts]


def layout(kind: str, tower: str, config: Config, images: Config) -> Layout:
    """The layout of a model of that type.

    Args:
        tower: what llama.cpp calls its vision tower.
        config: its `config.json`, with the settings of its language model at the top, too.
        images: settings of its image processor.
    """
    vision = config["vision_config"]
    found = LAYOUTS[kind](config, vision)
    seen = _tower(config, vision, images) | {"projector_type": tower} | found.vision
    return found._replace(text=_text(config) | found.text, vision=seen)


def _text(of: Config) -> dict[str, Any]:
    rope: Any = of.get("rope_parameters") or of.get("rope_scaling") or {}
    far, near = rope.get("full_attention", rope), rope.get("sliding_attention", {})
    is_linear = (far.get("rope_type") or far.get("type")) == "linear"
    return {
        "block_count": of["num_hidden_layers"], "context_length": of["max_position_embeddings"],
        "embedding_length": of["hidden_size"], "feed_forward_length": of["intermediate_size"],
        "attention.head_count": of["num_attention_heads"], "attention.head_count_kv": of["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": of.get("rms_norm_eps") or of["norm_eps"],
        "rope.freq_base": float(far.get("rope_theta") or of["rope_theta"]),
        "rope.dimension_sections": [*rope["mrope_section"], 0] if "mrope_section" in rope else None,
        "attention.key_length": of.get("head_dim"), "attention.value_length": of.get("head_dim"),
        "rope.freq_base_swa": near.get("rope_theta") or of.get("rope_local_base_freq"),
        "rope.scaling.type": "linear" if is_linear else None,
        "rope.scaling.factor": float(far["factor"]) if is_linear else None,
        "final_logit_softcapping": of.get("final_logit_softcapping"),
    }  # fmt: skip


def _tower(config: Config, of: Config, images: Config) -> dict[str, Any]:
    act, width = str(of.get("hidden_act")), of.get("embed_dim") or of["hidden_size"]
    return {
        "has_vision_encoder": True, "projector_type": None, "vision.projection_dim": config["hidden_size"],
        "vision.image_size": _side(of.get("image_size", 560)), "vision.patch_size": _side(of["patch_size"]),
        "vision.embedding_length": width,
        "vision.feed_forward_length": of.get("intermediate_size") or int(width * of["mlp_ratio"]),
        "vision.block_count": of.get("depth") or of["num_hidden_layers"],
        "vision.attention.head_count": of.get("num_heads") or of["num_attention_heads"],
        "vision.image_mean": [*map(float, images.get("image_mean") or (0, 0, 0))],
        "vision.image_std": [*map(float, images.get("image_std") or (1, 1, 1))],
        "vision.attention.layer_norm_epsilon": of.get("layer_norm_eps") or of.get("rms_norm_eps", 1e-6),
        "vision.spatial_merge_size": of.get("spatial_merge_size"),
        "vision.preproc_min_tiles": images.get("min_patches"), "vision.preproc_max_tiles": images.get("max_patches"),
        "use_silu": act == "silu" or None, "use_gelu": act.startswith("gelu") or None,
    }  # fmt: skip


def _side(size: Any) -> int:
    return int(size[0] if isinstance(size, list) else size)


def _as_convolution(side: int, weights: Any) -> Any:
    return weights.reshape(-1, side, side, 3).transpose(0, 3, 1, 2)


def _third(number: int, weights: Any) -> Any:
    return weights.reshape(3, -1, *weights.shape[1:])[number]


def _halves(heads: int, turned: int, weights: Any) -> Any:
    """Rows of each head whose pairs of rotary numbers are neighbours, with all first ones before all second ones."""
    each = weights.reshape(heads, -1, *weights.shape[1:])
    order = [*range(0, turned, 2), *range(1, turned, 2), *range(turned, each.shape[1])]
    return each[:, order].reshape(weights.shape)


def _tiled(config: Config, width: int, before: int, weights: Any, axis: int = 0) -> Any:
    """Value heads of a recurrent layer in turn for each key head, after `before` other rows; in files, by key head."""
    keys, values = config["linear_num_key_heads"], config["linear_num_value_heads"]
    heads = [key * (values // keys) + value for value in range(values // keys) for key in range(keys)]
    order = [before + head * width + row for head in heads for row in range(width)]
    return weights.take([*range(before), *order], axis)


def _tiler(of: Config) -> Callable[..., Any]:
    return lambda *sizes, **axis: partial(_tiled, of, *sizes, **axis)


_ONE_MORE: Parts = {r"\g<0>": lambda each: each + 1}
_SQUEEZED: Parts = {r"\g<0>": lambda each: each.squeeze()}
_FRAMES: dict[str, Parts] = {
    r".*patch_embed\.proj\.weight": {
        "v.patch_embd.weight": lambda each: each[:, :, 0], "v.patch_embd.weight.1": lambda each: each[:, :, 1]
    }
}  # fmt: skip
_SIGLIP: dict[str, Parts] = {r"vision_tower\.(?!vision_model)": {"vision_tower.vision_model.": None}}
_MERGER: dict[str, Parts] = {
    rf"visual\.merger\.{name}": {short: None}
    for name, short in (("linear_fc1", "mm.0"), ("linear_fc2", "mm.2"), ("norm", "v.post_ln"), ("mlp", "mm"))
}


def _qwen2_vl(config: Config, vision: Config) -> Layout:
    split: dict[str, Parts] = {r"attn\.qkv": {f"attn.{part}": partial(_third, at) for at, part in enumerate("qkv")}}
    tower = {"vision.image_size": 560, "use_silu": None, "use_gelu": None, "vision.attention.layer_norm_epsilon": 1e-6}
    return Layout("qwen2vl", {}, tower, _FRAMES | split | _MERGER)


def _qwen2_5_vl(config: Config, vision: Config) -> Layout:
    found = _qwen2_vl(config, vision)
    return found._replace(vision=found.vision | {"use_silu": True, "vision.n_wa_pattern": _window_pattern(vision)})


def _window_pattern(vision: Config) -> int:
    """N if every Nth block attends to the whole image, and others to windows; 0: all blocks do.

    Raises:
        ConfigError: these blocks are not at one distance, which llama.cpp cannot do.
    """
    whole = list(vision["fullatt_block_indexes"])
    if whole == list(range(vision["depth"])):
        return 0
    if vision["window_size"] != _WINDOW:
        raise ConfigError(f"llama.cpp attends to windows of {_WINDOW} pixels, this model to {vision['window_size']}")
    pattern = int(whole[0]) + 1
    if whole != list(range(pattern - 1, vision["depth"], pattern)):
        raise ConfigError(f"llama.cpp has no vision tower with whole attention in the blocks {whole}")
    return pattern


def _qwen3_vl(config: Config, vision: Config) -> Layout:
    deep = vision.get("deepstack_visual_indexes", [])
    tower = {
        "vision.image_size": math.isqrt(vision["num_position_embeddings"]) * vision["patch_size"],
        "vision.is_deepstack_layers": [layer in deep for layer in range(vision["depth"])],
    }
    each: dict[str, Parts] = {
        rf"visual\.deepstack_merger_list\.{number}\.(linear_)?": {f"v.deepstack.{layer}.": None}
        for number, layer in enumerate(deep)
    }
    return Layout("qwen3vl", {"n_deepstack_layers": len(deep)}, tower, _FRAMES | _MERGER | each)


def _qwen3_5(of: Config, vision: Config) -> Layout:
    kinds, width, values = of["layer_types"], of["linear_value_head_dim"], of["linear_num_value_heads"]
    keys, tiled = 2 * of["linear_num_key_heads"] * of["linear_key_head_dim"], _tiler(of)
    text = {
        "ssm.conv_kernel": of["linear_conv_kernel_dim"], "ssm.state_size": of["linear_key_head_dim"],
        "ssm.group_count": of["linear_num_key_heads"], "ssm.time_step_rank": values, "ssm.inner_size": values * width,
        "attention.recurrent_layers": [kind == "linear_attention" for kind in kinds],
        "full_attention_interval": kinds.index("full_attention") + 1,
        "rope.dimension_count": int(of["head_dim"] * of["rope_parameters"]["partial_rotary_factor"]),
    }  # fmt: skip
    weights: dict[str, Parts] = {
        r"^(model\.norm|.*layernorm|.*[qk]_norm)\.weight": _ONE_MORE,
        r"in_proj_qkv": {r"\g<0>": tiled(width, keys)}, r"in_proj_z": {r"\g<0>": tiled(width, 0)},
        r"in_proj_[ab]": {r"\g<0>": tiled(1, 0)}, r"\.dt_bias": {".dt_proj.bias": tiled(1, 0)},
        r"A_log": {r"\g<0>": lambda each: -(math.e ** tiled(1, 0)(each))},
        r"conv1d": {r"\g<0>": lambda each: tiled(width, keys)(each.squeeze())},
        r"linear_attn\.out_proj": {r"\g<0>": tiled(width, 0, axis=1)},
        r"^mtp\.": {},
    }  # fmt: skip
    found = _qwen3_vl(of, vision)
    return Layout("qwen35", text, found.vision, weights | found.weights)


def _gemma3(of: Config, vision: Config) -> Layout:
    near = [kind == "sliding_attention" for kind in of["layer_types"]]
    text = {"attention.sliding_window": of["sliding_window"], "attention.sliding_window_pattern": near}
    scale = vision["image_size"] // vision["patch_size"] // math.isqrt(of.get("mm_tokens_per_image", 256))
    weights: dict[str, Parts] = {
        r"^model.*norm\.weight|soft_emb_norm\.weight": _ONE_MORE,
        r"_projection_weight": {"_projection.weight": None},
    }
    tower = {"vision.projector.scale_factor": scale, "use_gelu": True}
    return Layout("gemma3", text, tower, weights | _SIGLIP)


def _gemma4(of: Config, vision: Config) -> Layout:
    near, shared = [kind == "sliding_attention" for kind in of["layer_types"]], of["num_kv_shared_layers"]
    far, width, heads = of["global_head_dim"], of["head_dim"], of["num_key_value_heads"]
    few = of.get("num_global_key_value_heads") or heads
    wider = [at >= len(near) - shared and of.get("use_double_wide_mlp", False) for at in range(len(near))]
    turned = int(far * of["rope_parameters"]["full_attention"]["partial_rotary_factor"] / 2)
    text = {
        "attention.sliding_window": of["sliding_window"], "attention.sliding_window_pattern": near,
        "attention.shared_kv_layers": shared, "attention.key_length": far, "attention.value_length": far,
        "attention.key_length_swa": width, "attention.value_length_swa": width,
        "rope.dimension_count": far, "rope.dimension_count_swa": width,
        "attention.head_count_kv": [heads if is_near else few for is_near in near] if few != heads else heads,
        "embedding_length_per_layer_input": of.get("hidden_size_per_layer_input") or 0,
    }  # fmt: skip
    if any(wider):
        text["feed_forward_length"] = [of["intermediate_size"] * (1 + is_wide) for is_wide in wider]
    # without `use_gelu`, which its converter leaves out, llama.cpp computes another GELU; the size is not used
    tower = {"vision.image_size": 224, "vision.projector.scale_factor": vision["pooling_kernel_size"], "use_gelu": True}
    # what the frequencies of layers without a window are divided by
    still = [1.0] * turned + [1e30] * (far // 2 - turned)
    weights: dict[str, Parts] = {
        r"^model\.norm\.weight": {
            r"\g<0>": None,
            "rope_freqs.weight": lambda each: each.astype("f4").take(0) * 0 + still,
        },
        r"^(audio_tower|embed_audio).*": {},
        r"(layer_scalar|position_embedding_table)$": {r"\1.weight": None},
        r"\.linear\.weight": {".weight": None},
        r"vision_tower\.encoder": {"vision_model.model": None},
        r"patch_embedder\.input_proj\.weight": {r"\g<0>": partial(_as_convolution, vision["patch_size"])},
        r"^(vision_tower|embed_vision)": {r"model.\1": None},
    }
    return Layout("gemma4", text, tower, weights)


def _internvl(of: Config, vision: Config) -> Layout:
    if (kind := of["text_config"]["model_type"]) not in ("qwen2", "qwen3"):
        raise ConfigError(f"virc writes InternVL as GGUF with a language model of type qwen2 or qwen3, not {kind}")
    weights: dict[str, Parts] = {
        r".*\.cls_token": {"v.class_embd": lambda each: each.squeeze()},
        # llama.cpp puts the class token last
        r".*\.position_embeddings$": {"v.position_embd.weight": lambda each: each[0, [*range(1, each.shape[1]), 0]]},
        r"(\.lambda_[12])$": {r"\1.weight": None},
        r"multi_modal_projector\.layer_norm": {"mm.model.mlp.0": None},
        r"multi_modal_projector\.linear_1": {"mm.model.mlp.1": None},
        r"multi_modal_projector\.linear_2": {"mm.model.mlp.3": None},
        r"^vision_tower": {"model.vision_tower": None},
    }
    return Layout(kind, {}, {"vision.projector.scale_factor": round(1 / of["downsample_ratio"])}, weights)


def _lfm2_vl(of: Config, vision: Config) -> Layout:
    inner, step = of["intermediate_size"], of["block_multiple_of"]
    if of.get("block_auto_adjust_ff_dim", True):
        inner = -(-int(int(2 * inner / 3) * of["block_ffn_dim_multiplier"]) // step) * step
    text = {
        "feed_forward_length": inner, "vocab_size": of["vocab_size"], "shortconv.l_cache": of["conv_L_cache"],
        "attention.head_count_kv": [of["num_key_value_heads"] * (kind != "conv") for kind in of["layer_types"]],
    }  # fmt: skip
    scale = of.get("downsample_factor", 2)
    tower = {"vision.image_size": 256, "vision.projector.scale_factor": scale, "use_gelu": True}
    weights: dict[str, Parts] = {
        r"conv\.conv\.weight": _SQUEEZED,
        r"patch_embedding\.weight": {r"\g<0>": partial(_as_convolution, vision["patch_size"])},
        r"multi_modal_projector\.linear_": {"mm.": None},
        r"multi_modal_projector\.layer_norm": {"mm.input_norm": None},
    }
    return Layout("lfm2", text, tower, weights | _SIGLIP)


def _glm4v(of: Config, vision: Config) -> Layout:
    turned = int(of["head_dim"] * of["rope_parameters"]["partial_rotary_factor"])
    weights: dict[str, Parts] = {
        rf"{part}_proj\.(weight|bias)": {r"\g<0>": partial(_halves, of[f"num_{name}_heads"], turned)}
        for part, name in (("q", "attention"), ("k", "key_value"))
    }
    return Layout("glm4", {"rope.dimension_count": turned}, {}, _FRAMES | weights)


LAYOUTS: Mapping[str, Callable[[Config, Config], Layout]] = {
    "qwen2_vl": _qwen2_vl, "qwen2_5_vl": _qwen2_5_vl, "qwen3_vl": _qwen3_vl, "qwen3_5": _qwen3_5, "gemma3": _gemma3,
    "gemma4": _gemma4, "internvl": _internvl, "lfm2_vl": _lfm2_vl, "glm4v": _glm4v,
}  # fmt: skip
