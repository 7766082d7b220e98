"""A folder of the Qwen-VL families as two GGUF files for llama.cpp: the language model, and its vision tower.

Keys and tensor names are those that llama.cpp's `conversion/qwenvl.py` and `conversion/qwen3vl.py` write; the names
come from the package `gguf`, which llama.cpp's authors publish. torch is not needed.
"""

import json
import logging
import math
import re
import struct
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from virc.backends import checkpoint
from virc.backends.gguf.model import MAX_PIXELS, MIN_PIXELS, PROTOCOL, SUFFIX
from virc.core.errors import ConfigError, SetupError
from virc.core.extras import install
from virc.core.files import contents, is_file
from virc.core.text import clause
from virc.families import registry as families
from virc.reasoning.protocol import FILE_NAME

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

_ARCHITECTURES = {"qwen2_vl": "qwen2vl", "qwen2_5_vl": "qwen2vl", "qwen3_vl": "qwen3vl"}
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How the tokenizers of these families split text before they merge bytes (tokenizer.json of Qwen/Qwen2.5-VL-7B)."""
_ODD = (AttributeError, KeyError, TypeError, ValueError, IndexError, struct.error)
"""What a config or tokenizer of another shape than expected raises."""
_WINDOW = 112
"""Side of llama.cpp's windows of attention, in pixels."""
_SMALL = 100_000_000
_MAX_BYTES = 256 * 2**20


class Tensor(msgspec.Struct, frozen=True):
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    def read(self) -> "np.ndarray[Any, Any]":
        import numpy as np

        kind = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[self.dtype]
        raw = np.memmap(self.file, kind, "r", self.start, (math.prod(self.shape),)).reshape(self.shape)
        if self.dtype == "BF16":  # numpy has no such type: it is the upper half of a float32
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32)


class Source(msgspec.Struct, frozen=True):
    folder: Path
    kind: str
    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def text(self) -> Mapping[str, Any]:
        """Settings of the language model, which older configs keep at the top."""
        return {**self.config, **self.config.get("text_config", {})}

    @property
    def vision(self) -> Mapping[str, Any]:
        return self.config["vision_config"]  # type: ignore[no-any-return]


def check(folder: Path) -> None:
    """Refuse what cannot be written: a model of another family, or if the package `gguf` is missing."""
    if find_spec("gguf") is None:
        raise SetupError("writing GGUF needs the package gguf", install("local"))
    kind = checkpoint.model_type(folder)
    if kind not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise ConfigError(
            f"{folder} is of type {kind}; virc writes as GGUF: {known}", "llama.cpp's convert_hf_to_gguf.py writes more"
        )


def convert(folder: Path, to: Path, name: str) -> Path:
    """Write a model's folder as `NAME-TYPE.gguf`, which is returned, and `mmproj-NAME-TYPE.gguf` into the folder `to`.

    A model of under 100 million parameters is written as float16 with a vision tower of float32 (of `tiny`, 500 answers
    stay equal; with a tower of float16 one did not), a larger one as llama.cpp's usual Q8_0 (8.5 bits a number) with a
    vision tower of float16. The chat protocol next to the weights, and the smallest and largest area of
    an image, go into the first file.
    """
    check(folder)
    checkpoint.check_checkpoint(folder)
    config = checkpoint.read_json(folder / "config.json")
    try:
        tensors = dict(_tensors(folder))
        small = sum(math.prod(each.shape) for each in tensors.values()) < _SMALL
        text, vision = ("F16", "F32") if small else ("Q8_0", "F16")
        file = to / f"{name}-{text}{SUFFIX}"
        source = Source(folder, str(config["model_type"]), name, config, tensors)
        _write_text(source, file, text)
        _write_vision(source, to / f"mmproj-{name}-{vision}{SUFFIX}", vision)
    except _ODD as error:
        reason = f"{type(error).__name__}: {clause(error)}"
        raise ConfigError(f"{folder} cannot be written as GGUF: {reason}") from error
    return file


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors by name, of which older and newer checkpoints differ in what stands in front."""
    for file in checkpoint.weight_files(folder):
        for name, (dtype, shape, start) in checkpoint.tensors(folder / file).items():
            if dtype not in ("F32", "F16", "BF16"):
                raise ConfigError(f"{folder / file} holds numbers of type {dtype}: only F32, F16, BF16")
            plain = name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
            yield plain, Tensor(folder / file, dtype, shape, start)


def _write_text(source: Source, to: Path, dtype: str) -> None:
    import gguf

    logging.getLogger("gguf").setLevel(logging.ERROR)  # it tells of each special token that a small model lacks
    architecture = _ARCHITECTURES[source.kind]
    writer = gguf.GGUFWriter(to, architecture)
    text = source.text
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    writer.add_name(source.name)
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_rope_freq_base(rope.get("rope_theta") or text["rope_theta"])
    writer.add_rope_dimension_sections([*rope["mrope_section"], 0])
    if text.get("head_dim"):
        writer.add_key_length(text["head_dim"])
        writer.add_value_length(text["head_dim"])
    if source.kind == "qwen3_vl":
        writer.add_num_deepstack_layers(len(source.vision["deepstack_visual_indexes"]))
    _add_vocabulary(writer, source.folder, text)
    grid = checkpoint.image_grid(checkpoint.image_settings(source.folder))
    writer.add_uint32(MIN_PIXELS, grid.min_pixels)  # these are for virc
    writer.add_uint32(MAX_PIXELS, grid.max_pixels)
    if is_file(source.folder / FILE_NAME):
        writer.add_string(PROTOCOL, contents(source.folder / FILE_NAME, _MAX_BYTES).decode())
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], text["num_hidden_layers"])
    chosen = {name: each for name, each in source.tensors.items() if not name.startswith("visual.")}
    if text.get("tie_word_embeddings"):
        chosen.pop("lm_head.weight", None)
    _write(writer, {_named(names, name): (each, ...) for name, each in chosen.items()}, dtype)


def _add_vocabulary(writer: "GGUFWriter", folder: Path, text: Mapping[str, Any]) -> None:
    import gguf

    read = json.loads(contents(folder / "tokenizer.json", _MAX_BYTES))
    added = {each["id"]: each for each in read["added_tokens"]}
    known = {id: token for token, id in read["model"]["vocab"].items()}
    tokens, kinds = [], []
    for id in range(text["vocab_size"]):
        if id in added:
            tokens.append(added[id]["content"])
            kinds.append(gguf.TokenType.CONTROL if added[id]["special"] else gguf.TokenType.USER_DEFINED)
        else:
            tokens.append(known.get(id, f"[PAD{id}]"))
            kinds.append(gguf.TokenType.NORMAL if id in known else gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(folder, read))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    gguf.SpecialVocab(folder, load_merges=True, n_vocab=len(tokens)).add_to_gguf(writer, quiet=True)
    writer.add_add_bos_token(False)


def _pre_tokenizer(folder: Path, tokenizer: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a tokenizer splits text before it merges bytes.

    Raises:
        ConfigError: llama.cpp has none that gives the same tokens.
    """
    steps = tokenizer["pre_tokenizer"]["pretokenizers"]
    pattern = steps[0]["pattern"]["Regex"]
    if pattern == _QWEN2:
        return "qwen2"
    merged = "".join(part for pair in tokenizer["model"]["merges"] for part in pair)
    if pattern == r"\p{N}|\p{Lu}" and not re.search("[0-9A-Z]", merged):
        return "superbpe"  # it splits at numbers alone; what stands next to a capital is never merged with it anyway
    raise ConfigError(f"llama.cpp has no name for the pre-tokenizer of {folder}: {pattern[:200]}")


def _write_vision(source: Source, to: Path, dtype: str) -> None:
    import gguf

    writer = gguf.GGUFWriter(to, "clip")
    vision: Mapping[str, Any] = source.vision
    images: Mapping[str, Any] = checkpoint.image_settings(source.folder)
    width = vision.get("embed_dim") or vision["hidden_size"]
    patch = vision["patch_size"]
    side = int(math.sqrt(vision.get("num_position_embeddings", 0))) * patch or 560
    writer.add_type("mmproj")
    writer.add_clip_has_vision_encoder(True)
    family = families.by_model_type(source.kind)
    assert family
    writer.add_clip_projector_type(family.towers[source.kind])
    writer.add_vision_projection_dim(source.text["hidden_size"])
    writer.add_vision_image_size(side)
    writer.add_vision_patch_size(patch)
    writer.add_vision_embedding_length(width)
    writer.add_vision_feed_forward_length(vision.get("intermediate_size") or int(width * vision["mlp_ratio"]))
    writer.add_vision_block_count(vision["depth"])
    writer.add_vision_head_count(vision["num_heads"])
    writer.add_vision_image_mean(images["image_mean"])
    writer.add_vision_image_std(images["image_std"])
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_spatial_merge_size(vision["spatial_merge_size"])
    if source.kind == "qwen2_5_vl":
        writer.add_vision_use_silu(True)
        writer.add_vision_n_wa_pattern(_window_pattern(vision))
    if source.kind == "qwen3_vl":
        writer.add_vision_use_gelu(True)
        deep = vision["deepstack_visual_indexes"]
        writer.add_vision_is_deepstack_layers([layer in deep for layer in range(vision["depth"])])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, vision["depth"])
    parts: dict[str, tuple[Tensor, Any]] = {}
    for name, each in source.tensors.items():
        if name.startswith("visual."):
            parts.update(_vision_parts(names, name, each, source))
    _write(writer, parts, dtype)


def _window_pattern(vision: Mapping[str, Any]) -> int:
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


def _vision_parts(names: Any, name: str, each: Tensor, source: Source) -> Iterator[tuple[str, tuple[Tensor, Any]]]:
    """The names that a tensor of the vision tower has in GGUF, each with the part of it: an index, `...` for all."""
    if ".qkv." in name and source.kind != "qwen3_vl":
        third = each.shape[0] // 3
        for number, letter in enumerate("qkv"):
            yield _named(names, name.replace("qkv", letter)), (each, slice(number * third, (number + 1) * third))
    elif name == "visual.patch_embed.proj.weight":  # the two frames of a pair
        yield "v.patch_embd.weight", (each, (slice(None), slice(None), 0))
        yield "v.patch_embd.weight.1", (each, (slice(None), slice(None), 1))
    elif name.startswith("visual.deepstack_merger_list."):
        which, part, suffix = name.split(".")[2:]
        layer = source.vision["deepstack_visual_indexes"][int(which)]
        short = {"norm": "norm", "linear_fc1": "fc1", "linear_fc2": "fc2"}[part]
        yield f"v.deepstack.{layer}.{short}.{suffix}", (each, ...)
    elif name.startswith("visual.merger.mlp."):  # `gguf` knows no more of these than there are blocks
        yield name.replace("visual.merger.mlp", "mm"), (each, ...)
    elif name.startswith(("visual.merger.linear_fc", "visual.merger.norm")):  # of Qwen3-VL
        part, suffix = name.split(".")[2:]
        short = {"linear_fc1": "mm.0", "linear_fc2": "mm.2", "norm": "v.post_ln"}[part]
        yield f"{short}.{suffix}", (each, ...)
    else:
        yield _named(names, name), (each, ...)


def _named(names: Any, name: str) -> str:
    """The name in GGUF of a tensor of transformers."""
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise ConfigError(f"llama.cpp has no name for the weights {name}")
    return str(found)


def _write(writer: "GGUFWriter", parts: Mapping[str, tuple[Tensor, Any]], dtype: str) -> None:
    """Write the file, one tensor in memory at a time; vectors, embeddings of positions and patches stay float32."""
    import gguf
    import numpy as np

    kinds = gguf.GGMLQuantizationType
    writer.add_file_type(int(gguf.LlamaFileType[{"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}[dtype]]))
    chosen: dict[str, Any] = {}
    for name, (each, part) in parts.items():
        shape = np.broadcast_to(np.int8(0), each.shape)[part].shape  # of the part, without reading the tensor
        stays_float32 = len(shape) == 1 or "patch_embd" in name or "position_embd" in name
        kind = kinds.F32 if stays_float32 else kinds[dtype]
        if kind == kinds.Q8_0 and shape[-1] % 32:
            kind = kinds.F16
        chosen[name] = kind
        raw_kind = kind if kind == kinds.Q8_0 else None  # which is stored as bytes
        stored = gguf.quant_shape_to_byte_shape(shape, kind) if raw_kind else shape
        number: np.dtype[Any] = np.dtype({kinds.F32: "f4", kinds.F16: "f2"}.get(kind, "u1"))
        writer.add_tensor_info(name, stored, number, math.prod(stored) * number.itemsize, raw_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, (each, part) in parts.items():
        writer.write_tensor_data(gguf.quants.quantize(np.ascontiguousarray(each.read()[part]), chosen[name]))
    writer.close()
