"""A model's folder as two GGUF files for llama.cpp: the language model, and its vision tower.

Keys and names of tensors are those of `layouts`, and of the package `gguf`, which llama.cpp's authors publish. torch is
not needed.
"""

import json
import logging
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from virc.families.chat_marks import ChatMarks
from virc.reasoning.protocol import FILE_NAME
from virc_extras.gguf_writer.layouts import LAYOUTS, Layout, layout

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How the tokenizers of Qwen2 split text before they merge bytes (tokenizer.json of Qwen/Qwen2.5-VL-7B)."""
_SPLITS = {
    (_WORDS, False): "qwen2",
    (_WORDS.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"\s\p{L}\p{N}", r"\s\p{L}\p{M}\p{N}"), False): "qwen35",
    (_WORDS.replace(r"|\p{N}|", r"|\p{N}{1,3}|"), False): "chatglm-bpe",
    (_WORDS.replace(r"|\p{N}|", r"|\p{N}{1,3}|"), True): "llama-bpe",
}
"""Pattern, and whether a word that is a token stays whole -> llama.cpp's name for that (`llama-vocab.cpp`)."""
_ODD = (AttributeError, KeyError, TypeError, ValueError, IndexError, struct.error)
"""What a config or tokenizer of another shape than expected raises."""
_EXACT = re.compile("patch_embd|position_embd|conv1d|shortconv.conv")
"""Names of weights that llama.cpp wants as float32, other than vectors."""
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


Part = tuple[Tensor, Sequence[Callable[[Any], Any]]]
"""A tensor, and what is made of its numbers, in this order."""


def check(folder: Path) -> None:
    """Refuse what cannot be written: a model of another family, or if the package `gguf` is missing."""
    if find_spec("gguf") is None:
        raise SetupError("writing GGUF needs the package gguf", install("local"))
    kind = checkpoint.model_type(folder)
    if kind not in LAYOUTS:
        known = ", ".join(LAYOUTS)
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
    config: dict[str, Any] = checkpoint.read_json(folder / "config.json")
    try:
        tensors = dict(_tensors(folder))
        small = sum(math.prod(each.shape) for each in tensors.values()) < _SMALL
        text, vision = ("F16", "F32") if small else ("Q8_0", "F16")
        file = to / f"{name}-{text}{SUFFIX}"
        kind = str(config["model_type"])
        family = families.by_model_type(kind)
        assert family
        config = {**family.unstated, **config, **config.get("text_config", {})}  # older configs keep it at the top
        found = layout(kind, family.towers[kind], config, checkpoint.image_settings(folder))
        _write_text(folder, name, config, found, tensors, file, text)
        _write_vision(found, tensors, to / f"mmproj-{name}-{vision}{SUFFIX}", vision)
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
            plain = re.sub(r"^(model\.)?language_model\.(model\.)?(lm_head)?", lambda each: each[3] or "model.", name)
            plain = re.sub(r"^model\.(?!layers|embed_tokens|norm|embedding_norm|per_layer)", "", plain)
            yield plain, Tensor(folder / file, dtype, shape, start)


def _is_text(name: str) -> bool:
    return name.startswith(("model.", "lm_head."))


def _write_text(
    folder: Path,
    name: str,
    config: Mapping[str, Any],
    found: Layout,
    tensors: Mapping[str, Tensor],
    to: Path,
    dtype: str,
) -> None:
    import gguf

    logging.getLogger("gguf").setLevel(logging.ERROR)  # it tells of each special token that a small model lacks
    writer = gguf.GGUFWriter(to, found.architecture)
    writer.add_name(name)
    _add(writer, f"{found.architecture}.", found.text)
    _add_vocabulary(writer, folder, config)
    grid = checkpoint.image_grid(checkpoint.image_settings(folder))
    writer.add_uint32(MIN_PIXELS, grid.min_pixels)  # these are for virc
    writer.add_uint32(MAX_PIXELS, grid.max_pixels)
    if is_file(folder / FILE_NAME):
        writer.add_string(PROTOCOL, contents(folder / FILE_NAME, _MAX_BYTES).decode())
    kind = next(each for each, known in gguf.MODEL_ARCH_NAMES.items() if known == found.architecture)
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    chosen = {each: tensor for each, tensor in tensors.items() if _is_text(each)}
    if config.get("tie_word_embeddings"):
        chosen.pop("lm_head.weight", None)
    _write(writer, dict(_parts(names, chosen, found)), dtype)


def _add(writer: "GGUFWriter", before: str, settings: Mapping[str, Any]) -> None:
    """Write settings, each with the type that its value has in Python."""
    import gguf

    kinds = {bool: "BOOL", int: "UINT32", float: "FLOAT32", str: "STRING", list: "ARRAY"}
    for key, value in settings.items():
        if value is not None:
            writer.add_key_value(before + key, value, gguf.GGUFValueType[kinds[type(value)]])


def _add_vocabulary(writer: "GGUFWriter", folder: Path, text: Mapping[str, Any]) -> None:
    import gguf

    read = json.loads(contents(folder / "tokenizer.json", _MAX_BYTES))
    added = {each["id"]: each for each in read["added_tokens"]}
    known = {id: token for token, id in read["model"]["vocab"].items()}
    bytes_apart = read["model"].get("byte_fallback")  # as Gemma has it: merges of letters, with U+2581 for a space
    tokens, kinds = [], []
    for id in range(text["vocab_size"]):
        if bytes_apart and re.fullmatch(r"<0x[0-9A-F]{2}>", known.get(id, "")):
            tokens.append(known[id])
            kinds.append(gguf.TokenType.BYTE)
        elif id in added:
            tokens.append(added[id]["content"])
            kinds.append(gguf.TokenType.CONTROL if added[id]["special"] else gguf.TokenType.USER_DEFINED)
        else:
            tokens.append(known.get(id, f"[PAD{id}]"))
            kinds.append(gguf.TokenType.NORMAL if id in known else gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gemma4" if bytes_apart else "gpt2")
    if bytes_apart:
        writer.add_token_scores([0.0] * len(tokens))  # which are read and not used
        writer.add_add_space_prefix(False)
    else:
        writer.add_tokenizer_pre(_pre_tokenizer(folder, read))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=len(tokens))
    marks = families.of(checkpoint.model_type(folder)).marks
    if marks.around:
        special.chat_template = _template(marks)
    special.add_to_gguf(writer, quiet=True)
    if (end := tokens.index(marks.stop)) != special.special_token_ids.get("eos"):
        writer.add_eot_token_id(end)
    writer.add_add_bos_token(False)


def _template(marks: ChatMarks) -> str:
    """A chat template with the text around pictures, for which llama.cpp puts `<__media_...__>` into contents."""
    openings = json.dumps({role: marks.opening(role) for role in ("system", "user", "assistant")})
    around, end = json.dumps(marks.around), json.dumps((marks.end or "") + marks.after)
    said = f"m.content | replace('<__media_', {around} ~ '<__media_') | replace('__>', '__>' ~ {around})"
    joined = "{% if m.role == 'system' %}{% set at.before = m.content ~ '\n\n' %}{% else %}" * marks.is_joined
    return (
        f"{''.join(marks.begin)}{{% set at = namespace(before='') %}}{{% set openings = {openings} %}}"
        f"{{% for m in messages %}}{joined}{{{{ openings[m.role] ~ at.before ~ ({said}) ~ {end} }}}}"
        f"{{% set at.before = '' %}}{'{% endif %}' * marks.is_joined}{{% endfor %}}"
        "{% if add_generation_prompt %}{{ openings.assistant }}{% endif %}"
    )


def _pre_tokenizer(folder: Path, tokenizer: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a tokenizer splits text before it merges bytes.

    Raises:
        ConfigError: llama.cpp has none that gives the same tokens.
    """
    steps = tokenizer["pre_tokenizer"]["pretokenizers"]
    pattern = steps[0]["pattern"]["Regex"]
    whole = bool(tokenizer["model"].get("ignore_merges"))
    if (pattern, whole) in _SPLITS:
        return _SPLITS[pattern, whole]
    merged = "".join(part for pair in tokenizer["model"]["merges"] for part in pair)
    if pattern == r"\p{N}|\p{Lu}" and not re.search("[0-9A-Z]", merged):
        return "superbpe"  # it splits at numbers alone; what stands next to a capital is never merged with it anyway
    raise ConfigError(f"llama.cpp has no name for the pre-tokenizer of {folder}: {pattern[:200]}")


def _write_vision(found: Layout, tensors: Mapping[str, Tensor], to: Path, dtype: str) -> None:
    import gguf

    writer = gguf.GGUFWriter(to, "clip")
    writer.add_type("mmproj")
    _add(writer, "clip.", found.vision)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, found.vision["vision.block_count"])
    chosen = {name: each for name, each in tensors.items() if not _is_text(name)}
    _write(writer, dict(_parts(names, chosen, found)), dtype)


def _parts(names: Any, tensors: Mapping[str, Tensor], found: Layout) -> Iterator[tuple[str, Part]]:
    """What is written of each tensor, by its name in GGUF."""
    for name, each in tensors.items():
        made: dict[str, tuple[Callable[[Any], Any], ...]] = {name: ()}
        for pattern, parts in found.weights.items():
            matched = [before for before in made if re.search(pattern, before)]
            for before in matched:
                changes = made.pop(before)
                for after, change in parts.items():
                    made[re.sub(pattern, after, before)] = (*changes, change) if change else changes
        for after, changes in made.items():
            yield after if after.startswith(("v.", "mm.", "rope_freqs.")) else _named(names, after), (each, changes)


def _named(names: Any, name: str) -> str:
    """The name in GGUF of a tensor of transformers."""
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise ConfigError(f"llama.cpp has no name for the weights {name}")
    return str(found)


def _write(writer: "GGUFWriter", parts: Mapping[str, Part], dtype: str) -> None:
    """Write the file, one tensor in memory at a time; vectors, embeddings of positions and patches stay float32."""
    import gguf
    import numpy as np

    kinds = gguf.GGMLQuantizationType
    writer.add_file_type(int(gguf.LlamaFileType[{"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}[dtype]]))
    chosen: dict[str, Any] = {}
    for name, (each, changes) in parts.items():
        shape = _changed(np.broadcast_to(np.int8(0), each.shape), changes).shape  # without reading the tensor
        kind = kinds.F32 if len(shape) == 1 or _EXACT.search(name) else kinds[dtype]
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
    for name, (each, changes) in parts.items():
        numbers = np.ascontiguousarray(_changed(each.read(), changes))
        writer.write_tensor_data(gguf.quants.quantize(numbers, chosen[name]))
    writer.close()


def _changed(numbers: Any, changes: Sequence[Callable[[Any], Any]]) -> Any:
    for change in changes:
        numbers = change(numbers)
    return numbers
