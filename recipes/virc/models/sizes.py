"""The sizes of a model, read from its config.json, and how many parameters follow from them; no engine is asked.

`shapes/` holds those fields of the config.json of the published bases, so that a model can be judged before it is
downloaded: layers, widths, heads, vocabulary, and the same of the vision tower. Models of families whose layers are
not written down here are counted by the shapes of their weights, which must be here.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from virc.backends.checkpoint import folder_grid, weight_files
from virc.backends.checkpoint import tensors as tensors_of
from virc.core.errors import UNREADABLE, ConfigError, errors_as
from virc.core.files import contents
from virc.families import registry as families
from virc.families.parts import PARTS, part_of
from virc.reasoning.resize import QWEN2, Grid
from virc.stages.sft import Lora, Part

_FOLDER = Path(__file__).parent / "shapes"
_MAX_BYTES = 2**20

Size = Annotated[int, Meta(ge=1, le=2**24)]
Known = Literal["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
"""Model types whose layers follow from their config.json."""


class Text(msgspec.Struct, frozen=True):
    """The language model, by the names of config.json."""

    vocab_size: Size
    hidden_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    num_key_value_heads: Size
    intermediate_size: Size | None = None
    head_dim: Size | None = None
    num_kv_shared_layers: int = 0
    moe_intermediate_size: Size | None = None
    num_experts_per_tok: Size | None = None
    top_k_experts: Size | None = None
    n_shared_experts: int = 0
    shared_expert_intermediate_size: int = 0

    @property
    def head(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def experts(self) -> int:
        """Of a layer, those that a token is sent to."""
        return self.num_experts_per_tok or self.top_k_experts or 0

    @property
    def inner(self) -> int:
        """Width of all that a token passes between attention and the next layer; Gemma 4 has experts in addition."""
        routed = (self.experts + self.n_shared_experts) * (self.moe_intermediate_size or 0)
        dense = self.intermediate_size or 0
        return dense + routed if self.top_k_experts else max(dense, routed + self.shared_expert_intermediate_size)

    @property
    def queries(self) -> int:
        return self.head * self.num_attention_heads

    @property
    def keys(self) -> int:
        """Width of the keys of all their heads, and of the values."""
        return self.head * self.num_key_value_heads


class Vision(msgspec.Struct, frozen=True):
    """The vision tower, by the names of config.json; what it leaves out is as transformers has it."""

    hidden_size: Size
    depth: Size = 32
    embed_dim: Size | None = None
    mlp_ratio: Size = 4
    intermediate_size: Size | None = None
    out_hidden_size: Size | None = None
    patch_size: Size = 14
    spatial_merge_size: Size = 2
    temporal_patch_size: Size = 2
    num_position_embeddings: Size = 2304
    deepstack_visual_indexes: tuple[int, ...] = (8, 16, 24)

    @property
    def width(self) -> int:
        """Of a patch inside the tower; Qwen2-VL alone writes it as `embed_dim`."""
        return self.embed_dim or self.hidden_size

    @property
    def inner(self) -> int:
        return self.intermediate_size or self.width * self.mlp_ratio

    @property
    def out(self) -> int:
        return self.out_hidden_size or self.hidden_size

    @property
    def merged(self) -> int:
        return self.spatial_merge_size**2

    @property
    def pixels(self) -> int:
        """Numbers in one patch."""
        return 3 * self.temporal_patch_size * self.patch_size**2


class Linear(msgspec.Struct, frozen=True):
    """Layers that are alike: the end of their name, their part, how many there are, and their size."""

    name: str
    part: Part
    count: int
    inputs: int
    outputs: int
    bias: bool

    @property
    def parameters(self) -> int:
        return self.count * self.outputs * (self.inputs + self.bias)


class Shape(msgspec.Struct, frozen=True):
    """The sizes of a model.

    Args:
        family: its model type.
        tied: the embedding of tokens is the last layer too.
        weight_bytes: of one parameter in its files.
        grid: on which it sees images.
        layers, counts: linear layers and parameters of each part, where they were counted by its weights.
        idle: parameters of the language model that a token is not multiplied with: of other experts, of lookups.
        norms: of the language model's width, in a layer.
        normed: queries and keys are normalized.
    """

    family: str
    text: Text
    vision: Vision
    tied: bool
    weight_bytes: int
    grid: Grid = QWEN2
    layers: tuple[Linear, ...] = ()
    counts: Mapping[Part, int] = {}
    idle: int = 0
    norms: int = 2
    normed: bool = False

    def linears(self) -> Iterator[Linear]:
        """Every linear layer; those of blocks that are alike together."""
        if self.layers:
            yield from self.layers
            return
        text = self.text
        biased = self.family != "qwen3_vl"
        for name, inputs, outputs, bias in (
            ("self_attn.q_proj", text.hidden_size, text.queries, biased),
            ("self_attn.k_proj", text.hidden_size, text.keys, biased),
            ("self_attn.v_proj", text.hidden_size, text.keys, biased),
            ("self_attn.o_proj", text.queries, text.hidden_size, False),
            ("mlp.gate_proj", text.hidden_size, text.inner, False),
            ("mlp.up_proj", text.hidden_size, text.inner, False),
            ("mlp.down_proj", text.inner, text.hidden_size, False),
        ):
            yield Linear(name, "language", text.num_hidden_layers, inputs, outputs, bias)
        if not self.tied:
            yield Linear("lm_head", "language", 1, text.hidden_size, text.vocab_size, False)
        yield from self._vision_linears()

    def _vision_linears(self) -> Iterator[Linear]:
        vision = self.vision
        width, inner, wide = vision.width, vision.inner, vision.width * vision.merged
        yield Linear("attn.qkv", "vision", vision.depth, width, 3 * width, True)
        yield Linear("attn.proj", "vision", vision.depth, width, width, True)
        if self.family == "qwen2_5_vl":
            for name in ("mlp.gate_proj", "mlp.up_proj"):
                yield Linear(name, "vision", vision.depth, width, inner, True)
            yield Linear("mlp.down_proj", "vision", vision.depth, inner, width, True)
        else:
            first, second = ("fc1", "fc2") if self.family == "qwen2_vl" else ("linear_fc1", "linear_fc2")
            yield Linear(f"mlp.{first}", "vision", vision.depth, width, inner, True)
            yield Linear(f"mlp.{second}", "vision", vision.depth, inner, width, True)
        names = ("linear_fc1", "linear_fc2") if self.family == "qwen3_vl" else ("mlp.0", "mlp.2")
        mergers: list[tuple[str, Part, int]] = [("merger", "projector", 1)]
        if self.family == "qwen3_vl":
            mergers.append(("deepstack_merger_list", "vision", len(vision.deepstack_visual_indexes)))
        for merger, part, count in mergers:
            yield Linear(f"{merger}.{names[0]}", part, count, wide, wide, True)
            yield Linear(f"{merger}.{names[1]}", part, count, wide, vision.out, True)

    def parameters(self) -> dict[Part, int]:
        """Number of parameters of each part, as transformers builds it."""
        if self.counts:
            return dict(self.counts)
        counted: dict[Part, int] = {"vision": 0, "projector": 0, "language": 0}
        for linear in self.linears():
            counted[linear.part] += linear.parameters
        text, vision = self.text, self.vision
        norms = 2 * text.hidden_size + (2 * text.head if self.family == "qwen3_vl" else 0)
        counted["language"] += text.vocab_size * text.hidden_size  # the embedding
        counted["language"] += text.num_hidden_layers * norms + text.hidden_size
        norm_vectors = 1 if self.family == "qwen2_5_vl" else 2  # an RMSNorm has weights; a LayerNorm has a bias, too
        counted["vision"] += vision.pixels * vision.width + 2 * norm_vectors * vision.width * vision.depth
        counted["projector"] += norm_vectors * vision.width
        if self.family == "qwen3_vl":
            deep = len(vision.deepstack_visual_indexes)
            counted["vision"] += vision.width * (1 + vision.num_position_embeddings)  # bias of the patches
            counted["vision"] += 2 * vision.width * vision.merged * deep
        return counted

    def trained(
        self, lora: Lora | None, frozen: tuple[Part, ...], never_adapted: tuple[Part, ...] = ("projector",)
    ) -> dict[Part, int]:
        """Number of trained parameters of each part: its own, or those of an adapter.

        LLaMA-Factory puts adapters on layers whose names contain a target, verl on those whose names end in one. Both
        are the same layers for targets that `without_layer` does not return.

        Args:
            never_adapted: parts whose layers the target `all` does not name.
        """
        if lora is None:
            return {part: 0 if part in frozen else count for part, count in self.parameters().items()}
        counted: dict[Part, int] = {"vision": 0, "projector": 0, "language": 0}
        for each in self._adapted(lora, frozen, never_adapted):
            counted[each.part] += each.count * lora.rank * (each.inputs + each.outputs)
        return counted

    def without_layer(self, lora: Lora, frozen: tuple[Part, ...]) -> dict[str, list[str]]:
        """Targets that are the end of no layer's name, each with the ends that there are; frozen parts do not count."""
        names = {each.name for each in self.linears() if each.part not in frozen}
        words = [name.split(".") for name in names]
        ends = {".".join(each[first:]) for each in words for first in range(len(each))}
        targets = () if lora.targets == ("all",) else lora.targets
        return {target: sorted(ends) for target in targets if target not in ends}

    def adapter_inputs(self, lora: Lora, frozen: tuple[Part, ...]) -> int:
        """Width of the inputs of all layers with an adapter in one block of the language model, added up."""
        return sum(linear.inputs for linear in self._adapted(lora, frozen, ()) if linear.part == "language")

    def _adapted(self, lora: Lora, frozen: tuple[Part, ...], never_adapted: tuple[Part, ...]) -> Iterator[Linear]:
        linears = list(self.linears())
        targets = set(lora.targets)
        if targets == {"all"}:
            left_out = {*never_adapted, *({"vision"} & set(frozen))}
            offered = (each for each in linears if not each.name.endswith("lm_head") and each.part not in left_out)
            targets = {each.name.rsplit(".", 1)[-1] for each in offered}
        for linear in linears:
            is_named = any(target in linear.name for target in targets)
            if linear.part not in frozen and is_named and not (never_adapted and "patch_embed" in linear.name):
                yield linear


def of_folder(folder: Path) -> Shape:
    """Raises ConfigError: its config.json cannot be read, or is of another kind of model."""
    return _read(folder / "config.json")


def published(hub_id: str) -> Shape | None:
    """The shape of a published base, without its files; None where it is not known."""
    file = next((each for each in _FOLDER.glob("*.json") if each.stem == hub_id.replace("/", "--")), None)
    return _read(file) if file else None


def of_base(name: str, workspace: Path) -> Shape | None:
    """The shape of a base by any name it has; None where neither its files nor its sizes are here."""
    from virc.models import registry as models

    known = published(name)
    if known:
        return known
    try:
        folder = models.find(name, workspace).folder
    except ConfigError:
        return None
    return of_folder(folder)


_UNUSED = re.compile(r"^mtp\.|(?:e_score_correction_bias|layer_scalar|std_bias|std_scale|put_min|put_max)$")
"""Tensors in files of weights that no training counts: of layers for drafts, and those that are no parameters."""
_BLOCK = re.compile(r"language_model\.layers\.(\d+)\.")
_SHARED = re.compile(r"language_model\..*\.(\d+)\.self_attn\.(?:k_proj|v_proj|k_norm)\.")
_LOOKUP = re.compile(r"(?:embed_tokens|_per_layer|pos_embed|position_embeddings?|\.gate)$|\.experts\.")
_DIGITS = re.compile(r"\.\d+(?=\.)")


def _of_weights(shape: Shape, folder: Path) -> Shape:
    """A shape with what the weights of its folder say: those with two dimensions are linear layers or embeddings."""
    text, files = shape.text, [tensors_of(folder / file) for file in weight_files(folder)]
    own = text.num_hidden_layers - text.num_kv_shared_layers  # layers with keys and values of their own
    tensors = {
        name: size for file in files for name, (_, size, _) in file.items()
        if not _UNUSED.search(name) and not ((of := _SHARED.search(name)) and int(of[1]) >= own)
        and not ((of := _BLOCK.search(name)) and int(of[1]) >= text.num_hidden_layers)  # for drafts, of GLM
    }  # fmt: skip
    counts: dict[Part, int] = dict.fromkeys(PARTS, 0)
    layers: Counter[Linear] = Counter()
    norms = idle = 0
    for name, size in tensors.items():
        part = part_of(name, shape.family)
        counts[part] += math.prod(size)
        module = _DIGITS.sub("", name.removesuffix(".weight"))
        norms += part == "language" and size == (text.hidden_size,) and name.endswith("norm.weight")
        idle += math.prod(size) if re.search(r"\.experts\.|_per_layer\.weight$", name) else 0
        if len(size) == 2 and name.endswith(".weight") and not _LOOKUP.search(module):
            bias = f"{name.removesuffix('weight')}bias" in tensors
            layers[Linear(module, part, 1, size[1], size[0], bias)] += 1
    alike = (msgspec.structs.replace(layer, count=count) for layer, count in layers.items())
    routed = len({name.partition(".experts.")[0] for name in tensors if ".experts." in name})  # layers with experts
    return msgspec.structs.replace(
        shape, layers=tuple(alike), counts=counts, norms=norms // text.num_hidden_layers,
        tied=not any(name.endswith("lm_head.weight") for name in tensors),
        idle=idle - routed * text.experts * 3 * text.hidden_size * (text.moe_intermediate_size or 0),
        normed=any(re.search(r"language_model.*\.q_(layer)?norm\.", name) for name in tensors),
    )  # fmt: skip


def _named_alike(vision: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of another vision tower by the names of Qwen-VL's."""
    patch = vision.get("patch_size", 14)
    depth = vision.get("depth", vision.get("num_hidden_layers", 1))
    return {**vision, "depth": depth, "patch_size": patch[0] if isinstance(patch, list) else patch}


def _read(file: Path) -> Shape:
    with errors_as(ConfigError, f"{file} does not say how large the model is", caught=UNREADABLE):
        config = msgspec.json.decode(contents(file, _MAX_BYTES), type=dict[str, Any])
        nested = msgspec.convert(config.get("text_config") or {}, dict[str, Any])
        family = msgspec.convert(config.get("model_type"), str)
        known = families.by_model_type(family)
        text = msgspec.convert({**(known.unstated if known else {}), **config, **nested}, Text)
        towers = msgspec.convert(config.get("vision_config"), dict[str, Any])
        is_known = family in get_args(Known)
        vision = msgspec.convert(towers if is_known else _named_alike(towers), Vision)
        tied = msgspec.convert(config.get("tie_word_embeddings", nested.get("tie_word_embeddings", False)), bool)
    kind = config.get("dtype") or config.get("torch_dtype") or nested.get("dtype")
    grid = known.grid if known else QWEN2
    with suppress(ConfigError):
        grid = grid if is_known else folder_grid(file.parent)
    shape = Shape(family, text, vision, tied, 4 if kind == "float32" else 2, grid, normed=family == "qwen3_vl")
    return shape if is_known else _of_weights(shape, file.parent)
